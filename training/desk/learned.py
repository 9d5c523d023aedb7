"""What a version has learned, as ``learned/<head>.json``: exact contributions on a stated sample of today's cohort.

A value model explains two scores, and no contribution adds up to expected spend itself, their product:
``<head>.json`` explains the raw score of a purchase, ``<head>.amount.json`` the log of the mean amount.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config
from serving.scoring.interest.model import InterestModel
from serving.scoring.treeshap import TreeShap
from serving.scoring.value.model import ValueModel
from training.desk.files import desk_folder, write
from training.desk.flips import directions, flips_of
from training.desk.groups import groups_of
from training.desk.parts import by_part, parts_of, parts_of_pairs
from training.desk.stability import NOT_MEASURED, stability_of
from training.explain import Scorer, asked_at, booster_of, contributions, features_of, interactions
from training.segments import home_stores

__all__ = ["ROWS", "drawn", "learned_of", "write_learned"]

Floats = NDArray[np.float64]
Again = Mapping[str, Mapping[int, lgb.Booster]]

ROWS, ROWS_OF_PAIRS = 400, 100
SHOWN = 20  # features whose values are kept row by row
MATRIX, MOST_PAIRS = 10, 20  # all pairs of so many features, and so many pairs of any
STEPS = 33  # of the curve from raw score to probability
DIGITS = 5
LATER = {
    "en": "; drawn later, from other events than those of training",
    "zh": "；抽样晚于训练，所用事件与训练时不同",
}
FLIPPED = "reasons_flipped"  # the tag of a version whose reasons changed their direction


@dataclass(frozen=True)
class Asked:
    """Whom one head is explained for: the sample ``x`` (float64[n, f]) of ``of`` rows, and the parts of each row."""

    x: Floats
    of: int
    as_of: datetime
    parts: Mapping[str, NDArray[np.object_]]
    pairs: bool  # of user and item, and not users
    other_events: bool = False  # than those of training


def write_learned(
    config: Config,
    model: Scorer,
    version: str,
    sample: Mapping[str, Floats],
    *,
    as_of: datetime,
    users: Mapping[str, NDArray[np.object_]] | None = None,
    categories: Mapping[str, NDArray[np.object_]] | None = None,
    again: Again | None = None,
    against: tuple[str, Scorer] | None = None,
    other_events: bool = False,
) -> dict[str, str]:
    """Write ``learned/*.json`` of a version; returns its tags: which reasons flipped since the version before.

    The tags are about all files that are there then: some may have been written before.

    Parameters
    ----------
    sample
        By head all rows of today's cohort, float64[n, f], in a fixed order: at most `ROWS` of them are drawn evenly.
    users
        The user of each row; without them nothing is said of stores.
    categories
        Of pairs of a user and an item, the category of each row; without them nothing is said of parts.
    again
        By booster, and by seed, the same boosters grown from other seeds; without them stability is not measured.
    against
        The number and the model of the version before, for flips.
    other_events
        Whether ``sample`` was drawn from other events than those of training: the file says so.
    """
    pairs = isinstance(model, InterestModel)
    home = None if pairs or users is None else home_stores(config, as_of)
    for head, x in sample.items():
        rows = drawn(len(x), ROWS)
        names = features_of(model, head)
        stores = (
            None if home is None or users is None else np.array([home.get(str(one)) for one in users[head]], object)
        )
        own = (categories or {}).get(head)
        parts = parts_of(names, x, stores) if not pairs else {} if own is None else parts_of_pairs(own)
        asked = Asked(x[rows], len(x), as_of, {by: part[rows] for by, part in parts.items()}, pairs, other_events)
        for amount in (False, True) if isinstance(model, ValueModel) else (False,):
            content = learned_of(model, version, head, asked, again, against, amount=amount)
            write(config.home, model.name, version, f"learned/{f'{head}.amount' if amount else head}.json", content)
    told = "; ".join(_flipped(desk_folder(config.home, model.name, version) / "learned"))
    return {FLIPPED: told[:5000]} if told else {}


def _flipped(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("[!.]*.json")):
        if features := json.loads(path.read_text(encoding="utf-8"))["flips"]["features"]:
            yield f"{path.stem}: {', '.join(one['feature'] for one in features)}"


def learned_of(
    model: Scorer,
    version: str,
    head: str,
    asked: Asked,
    again: Again | None = None,
    against: tuple[str, Scorer] | None = None,
    *,
    amount: bool = False,
) -> dict[str, Any]:
    """The content of one file: what moves one score of one head, on the rows of ``asked``."""
    names, x = features_of(model, head), asked.x
    phi, base = contributions(model, head, x, amount=amount)
    mean_abs = np.abs(phi).mean(axis=0)
    share = mean_abs / max(float(mean_abs.sum()), 1e-300)
    order = [int(k) for k in np.argsort(-mean_abs, kind="stable") if mean_abs[k] > 0]
    now = directions(x, phi)
    groups = groups_of(x[:, order], [names[k] for k in order], share[order].tolist())
    group_of = {name: one["id"] for one in groups for name in one["features"]}
    shown = order[:SHOWN]
    weights = {"mean_abs": mean_abs, "share": share}
    told = {
        "schema": 1,
        "model": model.name,
        "version": version,
        "head": head,
        "unit": "log_amount" if amount else "log_odds",
        "sample": _sample(asked),
        "base": float(base.mean()),
        "curve": _curve(model, head, phi.sum(axis=1) + base, amount),
        "bars": [
            {
                "feature": names[k],
                **{key: float(one[k]) for key, one in weights.items()},
                "direction": now[k],
                "group": group_of.get(names[k]),
            }
            for k in order
        ],
        "features": [names[k] for k in shown],
        "values": {names[k]: x[:, k] for k in shown},
        "contributions": {names[k]: phi[:, k] for k in shown},
        "parts": asked.parts,
        "by_segment": by_part(names, phi, asked.parts),
        "interactions": _pairs(model, head, names, order, asked.x, amount),
        "interactions_rows": min(len(x), ROWS_OF_PAIRS),
        "groups": groups,
        "stability": _stability(model, head, names, groups, x, phi, again, amount),
        "flips": _flips(head, names, x, now, share, against, amount),
    }
    rounded: dict[str, Any] = _rounded(told)
    return rounded


def drawn(n: int, most: int) -> NDArray[np.intp]:
    """At most ``most`` of n rows, evenly spaced: the same rows for the same cohort.

    Examples
    --------
    >>> drawn(10, 4).tolist(), drawn(3, 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp)) if n else np.zeros(0, np.intp)


def _sample(asked: Asked) -> dict[str, Any]:
    rows, day = len(asked.x), f"{asked.as_of:%Y-%m-%d}"
    what = {"en": "pairs of a user and a candidate", "zh": "个“用户-候选”组合"}
    who = what if asked.pairs else {"en": "users of the cohort", "zh": "位该人群用户"}
    words = {
        "en": f"{rows:,} of the {asked.of:,} {who['en']} as of {day} (UTC), evenly drawn in the order of their ids",
        "zh": f"截至 {day}（UTC）的 {asked.of:,} {who['zh']}中，按编号顺序等距抽取 {rows:,} {who['zh'][0]}",
    }
    if asked.other_events:
        words = {lang: words[lang] + LATER[lang] for lang in words}
    return {"rows": rows, "of": asked.of, "as_of": asked.as_of.isoformat(), "words": words}


def _curve(model: Scorer, head: str, raw: Floats, amount: bool) -> dict[str, Any]:
    """From the raw score to what is answered, where the sample lies: ``raw``, ``answer`` and the sample's quantiles."""
    span = max(float(np.ptp(raw)), 1e-6) * 0.05
    grid = np.linspace(raw.min() - span, raw.max() + span, STEPS)
    calibrator = model.heads[head].calibrator
    answer = np.exp(grid) if amount else calibrator(grid)
    return {"raw": grid, "answer": answer, "quantiles": np.quantile(raw, [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])}


def _pairs(
    model: Scorer, head: str, names: list[str], order: list[int], x: Floats, amount: bool
) -> list[dict[str, Any]]:
    """What two features say together beyond what each says alone: both halves of their interaction value.

    The strongest pairs, and all pairs of the heaviest features; ``share`` is that of all that is said, alone or in
    pairs.
    """
    frame = pd.DataFrame(x[drawn(len(x), ROWS_OF_PAIRS)], columns=names)
    mean_abs = np.abs(interactions(model, frame, head, amount=amount)).mean(axis=0)
    alone = mean_abs.diagonal().sum()
    pairs = 2 * np.triu(mean_abs, 1)
    whole = max(float(alone + pairs.sum()), 1e-300)
    place = {k: rank for rank, k in enumerate([*order, *(k for k in range(len(names)) if k not in order)])}
    listed = [(int(a), int(b)) for a, b in np.argwhere(pairs > 0)]
    listed.sort(key=lambda one: (-pairs[one], one))
    kept = [one for rank, one in enumerate(listed) if rank < MOST_PAIRS or max(map(place.__getitem__, one)) < MATRIX]
    told = []
    for one in kept:
        a, b = sorted(one, key=place.__getitem__)
        size = float(pairs[one])
        told.append({"a": names[a], "b": names[b], "mean_abs": size, "share": size / whole})
    return told


def _stability(
    model: Scorer,
    head: str,
    names: list[str],
    groups: list[dict[str, Any]],
    x: Floats,
    phi: Floats,
    again: Again | None,
    amount: bool,
) -> dict[str, Any]:
    if amount:
        return {"status": "not_measured", "words": NOT_MEASURED["amount"]}
    _, horizon = booster_of(model, head)
    grown = (again or {}).get(str(model.meta["heads"][head]["booster"]), {})
    if not grown:
        return {"status": "not_measured", "words": NOT_MEASURED["later"]}
    width, asked = x.shape[1], asked_at(x, horizon)
    return stability_of(names, groups, phi, {seed: _explained(one, asked)[:, :width] for seed, one in grown.items()})


def _explained(booster: lgb.Booster, x: Floats) -> Floats:
    if (shap := TreeShap.of(booster)) is not None:
        return shap(x)[0]
    return np.asarray(booster.predict(x, pred_contrib=True, num_threads=1), dtype=np.float64)[:, :-1]


def _flips(
    head: str,
    names: list[str],
    x: Floats,
    now: list[float | None],
    share: Floats,
    against: tuple[str, Scorer] | None,
    amount: bool,
) -> dict[str, Any]:
    """Both versions are asked about the same rows: what differs is the model, and not who was asked."""
    if against is None or head not in against[1].heads:
        return {"against": None, "features": []}
    number, before = against
    theirs = features_of(before, head)
    if missing := [name for name in theirs if name not in names]:
        words = {
            "en": f"Version {number} reads features that this one does not know, {missing[0]} among them.",
            "zh": f"第 {number} 版使用了本版本没有的特征，例如 {missing[0]}。",
        }
        return {"against": number, "features": [], "status": "not_measured", "words": words}
    column = {name: k for k, name in enumerate(names)}
    own = [column[name] for name in theirs]
    phi = contributions(before, head, x[:, own], amount=amount)[0]
    mean_abs = np.abs(phi).mean(axis=0)
    shares = mean_abs / max(float(mean_abs.sum()), 1e-300)
    was = directions(x[:, own], phi)
    found = flips_of(theirs, was, [now[k] for k in own], shares.tolist(), share[own].tolist())
    return {"against": number, "features": found}


def _rounded(content: Any) -> Any:
    """Numbers to `DIGITS` significant digits: a page embeds them."""
    if isinstance(content, Mapping):
        return {key: _rounded(one) for key, one in content.items()}
    if isinstance(content, np.ndarray | list | tuple):
        return [_rounded(one) for one in (content.tolist() if isinstance(content, np.ndarray) else content)]
    if isinstance(content, float):
        return float(f"{content:.{DIGITS}g}") if np.isfinite(content) else None
    return content
