"""What each feature is good for: how many rows have it, how much of the scores it moves, what goes when it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.catalog import NAMES, USER_FEATURES
from training.boost import DEFAULTS
from training.checks.clustered import Estimate, losses, mean
from training.stack import Rows

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["Ablation", "Use", "ablated", "uses"]

Floats = NDArray[np.float64]

EXPLAINED_ROWS = 400
# A small booster on some of the rows: what matters is the difference between two that are alike but for a few features.
LEARNED_ROWS, TREES = 8_000, 60
SMALL: dict[str, Any] = {"boost_from_average": True, "learning_rate": 0.1, "feature_fraction": 1.0}


@dataclass(frozen=True)
class Use:
    """One feature: ``coverage`` is the share of learned rows with a value, ``share`` its part of all contributions.

    ``status`` is ``used``, ``absent`` (the source gives it to nobody), ``constant`` (one value in every row) or
    ``unused`` (it moves no score).
    """

    name: str
    group: str
    coverage: float
    share: float
    status: str

    def as_json(self) -> dict[str, Any]:
        """The numbers."""
        return asdict(self)


@dataclass(frozen=True)
class Ablation:
    """By how much the log-loss of one head grows when a booster learns without ``names``; below 0 it is better so."""

    what: str
    head: str
    names: tuple[str, ...]
    growth: Estimate

    def as_json(self, alpha: float = 0.05) -> dict[str, Any]:
        """The numbers."""
        return {"what": self.what, "head": self.head, "names": list(self.names), "growth": self.growth.as_json(alpha)}


def uses(subject: Subject, least: float) -> list[Use]:
    """Every feature that the version may see, the most used first; one that moves less than ``least`` is unused."""
    total = np.zeros(len(NAMES))
    learned = np.concatenate([rows.x[:, : len(NAMES)] for rows in subject.learned.values()])
    for head in subject.learned:
        if head in subject.scorer.heads:
            x = _some(subject.judged[head], EXPLAINED_ROWS, subject.config.seed).x[:, : len(NAMES)]
            phi, _ = subject.scorer.contributions(x[:, subject.scorer.columns(NAMES)], head)
            mass = np.zeros(len(NAMES))
            mass[subject.scorer.columns(NAMES)] = np.abs(phi).mean(axis=0)
            total += mass / max(float(mass.sum()), 1e-12)
    share = total / max(float(total.sum()), 1e-12)
    found = []
    for k in np.argsort(-share, kind="stable"):
        known = learned[:, k][~np.isnan(learned[:, k])]
        one_value = len(known) == len(learned) and bool((known == known[0]).all())
        status = "absent" if not len(known) else "constant" if one_value else "unused" if share[k] < least else "used"
        found.append(Use(NAMES[k], USER_FEATURES[k].group, len(known) / len(learned), float(share[k]), status))
    return found


def ablated(subject: Subject, sets: dict[str, Sequence[str]]) -> list[Ablation]:
    """Learn one head of each family with all features and without each of ``sets``, and judge both at the same origin.

    The head is the one with the most labels of the rarer kind. Users are paired, so the interval is that of the
    difference.
    """
    found = []
    for family in subject.families:
        heads = [head for head in family.heads if head in subject.learned]
        if not heads:
            continue
        head = max(heads, key=lambda one: _rarer(subject.judged[one]))
        learn, judged = _some(subject.learned[head], LEARNED_ROWS, subject.config.seed), subject.judged[head]
        whole = _losses(subject, learn, judged, ())
        for what, names in sets.items():
            growth = mean(_losses(subject, learn, judged, names) - whole, judged.user)
            found.append(Ablation(what, head, tuple(names), growth))
    return found


def _losses(subject: Subject, learn: Rows, judged: Rows, without: Sequence[str]) -> Floats:
    kept = [k for k, name in enumerate(NAMES) if name not in without]
    params = {**DEFAULTS, **SMALL, "seed": subject.config.seed, "num_threads": subject.config.threads}
    booster = lgb.train(params, lgb.Dataset(learn.x[:, kept], learn.y), TREES)
    return losses(judged.y, np.asarray(booster.predict(judged.x[:, kept]), dtype=np.float64))


def _rarer(rows: Rows) -> float:
    return min(float(rows.y.sum()), float(len(rows) - rows.y.sum()))


def _some(rows: Rows, most: int, seed: int) -> Rows:
    if len(rows) <= most:
        return rows
    return rows.where(np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False)))
