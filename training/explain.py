"""Why a model says what it says, as frames and as `shap.Explanation`: the same exact numbers that the service tells.

Contributions are in log-odds, before calibration: those of a row and the base value add up to its raw score.
This module is the only door to the shap package, whose plots take an `Explanation`; nothing here computes with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config
from serving.scoring.interest.model import InterestModel
from serving.scoring.model import Model
from training.registry import CHAMPION, Registry

if TYPE_CHECKING:
    import shap

__all__ = ["Scorer", "cohort_of", "explanation", "features_of", "reasons", "version_of", "weights"]

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
        mean_abs = np.abs(_contributions(model, head, x)[0]).mean(axis=0)
        share = mean_abs / max(float(mean_abs.sum()), 1e-300)
        one = pd.DataFrame({"feature": features_of(model, head), "mean_abs": mean_abs, "share": share})
        parts.append(one.sort_values("share", ascending=False, kind="stable").assign(head=head))
    return pd.concat(parts, ignore_index=True)[["head", "feature", "mean_abs", "share"]]


def reasons(model: Scorer, frame: pd.DataFrame, head: str, most: int | None = None) -> pd.DataFrame:
    """One row per row of ``frame`` and feature, the strongest first.

    Parameters
    ----------
    frame
        The model's features by name; other columns, ``user_id`` among them, are left alone.
    most
        At most so many features of each row; all when absent.

    Returns
    -------
    DataFrame
        The index of ``frame`` as ``row``, ``user_id`` where ``frame`` has it, ``feature``, ``value``,
        ``contribution`` in log-odds, ``rank`` from 1, ``base`` and ``raw``: the contributions of a row and its base
        add up to its raw score.
    """
    names = features_of(model, head)
    x = frame[names].to_numpy(np.float64)
    phi, base = _contributions(model, head, x)
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


def explanation(model: Scorer, frame: pd.DataFrame, head: str) -> shap.Explanation:
    """The contributions of ``frame`` as shap's own plots take them (``shap.plots.beeswarm``, ``waterfall``, ...)."""
    with warnings.catch_warnings():
        # shap 0.51 makes its colours by a way that matplotlib is about to take away.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        import shap

    names = features_of(model, head)
    x = frame[names].to_numpy(np.float64)
    phi, base = _contributions(model, head, x)
    return shap.Explanation(values=phi, base_values=base, data=x, feature_names=names)


def _contributions(model: Scorer, head: str, x: Floats) -> tuple[Floats, Floats]:
    x = np.ascontiguousarray(x, dtype=np.float64)
    return model.contributions(head, x) if isinstance(model, InterestModel) else model.contributions(x, head)


def features_of(model: Scorer, head: str) -> list[str]:
    """The columns that a head reads, in the order of its ``x``."""
    return list(model.heads[head].features if isinstance(model, InterestModel) else model.features)
