"""Why a model says what it says, as frames and as `shap.Explanation`: the same exact numbers that the service tells.

Contributions are in log-odds, before calibration: those of a row and the base value add up to its raw score.
This module is the only door to the shap package, whose plots take an `Explanation`; nothing here computes with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config
from serving.scoring.interest.model import InterestModel
from serving.scoring.model import Model
from serving.scoring.value.model import ValueModel
from training.desk.groups import groups_of
from training.desk.interactions import interaction_values
from training.registry import CHAMPION, Registry

if TYPE_CHECKING:
    import shap

__all__ = [
    "Scorer",
    "asked_at",
    "booster_of",
    "cohort_of",
    "contributions",
    "explanation",
    "features_of",
    "groups",
    "interactions",
    "reasons",
    "version_of",
    "weights",
]

Floats = NDArray[np.float64]
Scorer = Model | InterestModel


def version_of(config: Config, model: str, version: str = CHAMPION) -> Scorer:
    """The model of a registered version, a number or an alias, verified file by file."""
    return Registry(config).model(model, version)


def cohort_of(model: Model, frame: pd.DataFrame, head: str) -> pd.DataFrame:
    """The rows of ``frame``, which holds the model's features by name, for whom the head has an answer."""
    return frame[model.in_cohort(frame[list(model.features)].to_numpy(np.float64), head)]


def weights(model: Scorer, samples: Mapping[str, Floats]) -> pd.DataFrame:
    """How much each feature moves each head: ``head``, ``feature``, ``mean_abs``, ``share``, the heaviest first.

    Parameters
    ----------
    samples
        For each head the rows to ask about, float64[n, f], the columns in the model's order.
    """
    parts = []
    for head, x in samples.items():
        mean_abs = np.abs(contributions(model, head, x)[0]).mean(axis=0)
        share = mean_abs / max(float(mean_abs.sum()), 1e-300)
        one = pd.DataFrame({"feature": features_of(model, head), "mean_abs": mean_abs, "share": share})
        parts.append(one.sort_values("share", ascending=False, kind="stable").assign(head=head))
    return pd.concat(parts, ignore_index=True)[["head", "feature", "mean_abs", "share"]]


def reasons(
    model: Scorer, frame: pd.DataFrame, head: str, most: int | None = None, *, amount: bool = False
) -> pd.DataFrame:
    """One row per row of ``frame`` and feature, the strongest first.

    Parameters
    ----------
    frame
        The model's features by name; other columns, ``user_id`` among them, are left alone.
    most
        At most so many features of each row; all when absent.
    amount
        Of a value model, explain the log of the mean amount and not the raw score of a purchase.

    Returns
    -------
    DataFrame
        The index of ``frame`` as ``row``, ``user_id`` where ``frame`` has it, ``feature``, ``value``,
        ``contribution`` in log-odds, ``rank`` from 1, ``base`` and ``raw``: the contributions of a row and its base
        add up to its raw score.
    """
    names = features_of(model, head)
    x = frame[names].to_numpy(np.float64)
    phi, base = contributions(model, head, x, amount=amount)
    order = np.argsort(-np.abs(phi), axis=1, kind="stable")[:, :most]
    n, k = order.shape
    row = np.repeat(np.arange(n), k)
    tidy = {
        "row": frame.index.to_numpy()[row],
        **({"user_id": frame["user_id"].to_numpy()[row]} if "user_id" in frame else {}),
        "feature": np.array(names, dtype=object)[order.ravel()],
        "value": np.take_along_axis(x, order, axis=1).ravel(),
        "contribution": np.take_along_axis(phi, order, axis=1).ravel(),
        "rank": np.tile(np.arange(1, k + 1), n),
        "base": base[row],
        "raw": (phi.sum(axis=1) + base)[row],
    }
    return pd.DataFrame(tidy)


def explanation(model: Scorer, frame: pd.DataFrame, head: str, *, amount: bool = False) -> shap.Explanation:
    """The contributions of ``frame`` as shap's own plots take them (``shap.plots.beeswarm``, ``waterfall``, ...)."""
    with warnings.catch_warnings():
        # shap 0.51 makes its colours by a way that matplotlib is about to take away.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        import shap

    names = features_of(model, head)
    x = frame[names].to_numpy(np.float64)
    phi, base = contributions(model, head, x, amount=amount)
    return shap.Explanation(values=phi, base_values=base, data=x, feature_names=names)


def interactions(model: Scorer, frame: pd.DataFrame, head: str, *, amount: bool = False) -> Floats:
    """Exact SHAP interaction values of ``frame``, float64[n, f, f], as ``shap.summary_plot`` takes them.

    Row i of a person's matrix adds up to the contribution of feature i. The horizon is the question and not a reason:
    what a feature says together with it is counted as the feature's own, on the diagonal.
    """
    x = np.ascontiguousarray(frame[features_of(model, head)].to_numpy(np.float64))
    booster, horizon = booster_of(model, head, amount=amount)
    if horizon is None:
        return interaction_values(booster, x)
    both = interaction_values(booster, asked_at(x, horizon))
    values = np.ascontiguousarray(both[:, :-1, :-1])
    place = np.arange(x.shape[1])
    values[:, place, place] += both[:, :-1, -1]
    return values


def groups(model: Scorer, frame: pd.DataFrame, head: str, *, amount: bool = False) -> pd.DataFrame:
    """The features of ``frame`` that say nearly the same (`training.desk.groups`), a row for each: read them together.

    Returns
    -------
    DataFrame
        ``group``, ``feature``, ``share`` of the feature, and of its group ``group_share`` and ``least_correlation``.
    """
    names = features_of(model, head)
    x = frame[names].to_numpy(np.float64)
    mean_abs = np.abs(contributions(model, head, x, amount=amount)[0]).mean(axis=0)
    share = dict(zip(names, (mean_abs / max(float(mean_abs.sum()), 1e-300)).tolist(), strict=True))
    used = [k for k in np.argsort(-mean_abs, kind="stable") if mean_abs[k] > 0]
    found = groups_of(x[:, used], [names[k] for k in used], [share[names[k]] for k in used])
    rows = [
        (one["id"], name, share[name], one["share"], one["least_correlation"])
        for one in found
        for name in one["features"]
    ]
    return pd.DataFrame(rows, columns=["group", "feature", "share", "group_share", "least_correlation"])


def contributions(model: Scorer, head: str, x: Floats, *, amount: bool = False) -> tuple[Floats, Floats]:
    """The model's own exact contributions, float64[n, f], and the base values, float64[n].

    They add up to the raw score in log-odds or, with ``amount``, to the log of a value model's mean amount.
    """
    x = np.ascontiguousarray(x, dtype=np.float64)
    if amount:
        return _value_model(model).amount_explained(x, [head])[head]
    return model.contributions(head, x) if isinstance(model, InterestModel) else model.contributions(x, head)


def booster_of(model: Scorer, head: str, *, amount: bool = False) -> tuple[lgb.Booster, float | None]:
    """The booster behind a head, and the horizon that stands in its last column, None where there is none."""
    if isinstance(model, InterestModel):
        return model.heads[head].booster, None
    name = _value_model(model).meta["amount"]["booster"] if amount else model.heads[head].booster
    stands = bool(model.meta["boosters"][name].get("horizon_column"))
    return model.boosters[name], float(model.heads[head].horizon_days or 0.0) if stands else None


def asked_at(x: Floats, horizon: float | None) -> Floats:
    """The rows as a booster reads them: the horizon is its last column, where it has one."""
    return x if horizon is None else np.column_stack([x, np.full(len(x), horizon)])


def features_of(model: Scorer, head: str) -> list[str]:
    """The columns that a head reads, in the order of its ``x``."""
    return list(model.heads[head].features if isinstance(model, InterestModel) else model.features)


def _value_model(model: Scorer) -> ValueModel:
    if not isinstance(model, ValueModel):
        raise TypeError(f"{model.name} says no amounts: only a value model explains one")
    return model
