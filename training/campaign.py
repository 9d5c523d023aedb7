"""Learn from the decision log whom an offer changes, and what it would be worth to choose by that.

The log holds, of every offer shown, what was known (``context``), with which probability it was drawn (``pscore``) and
what followed (``reward``): an experiment whose odds differ between people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.errors import TrainingError
from training.qini import policy_contributions
from training.uplift import LEAST_PER_ARM, Uplift, fit_uplift

__all__ = ["Experiment", "experiment_of_log", "practice_log", "uplift_of_log"]

Floats = NDArray[np.float64]

NEEDED = ("user_id", "context", "action_id", "position", "pscore")
RESAMPLES = 500
OTHER_FEATURES = "(vectors of other features)"


@dataclass(frozen=True)
class Experiment:
    """One row per decision that showed an offer first: what was known, what was drawn and how likely, what followed."""

    user: NDArray[np.object_]
    x: Floats = field(repr=False)
    arm: NDArray[np.str_]
    outcome: Floats
    probability: Floats
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.arm)

    def where(self, mask: NDArray[np.bool_]) -> Experiment:
        """The rows of ``mask``."""
        return Experiment(
            self.user[mask], self.x[mask], self.arm[mask], self.outcome[mask], self.probability[mask], self.left_out
        )


def experiment_of_log(frame: pd.DataFrame, outcome: str = "reward", least: int = LEAST_PER_ARM) -> Experiment:
    """The experiment in a frame that ``userops decisions export`` wrote.

    Parameters
    ----------
    outcome
        ``reward`` (0 or 1) or ``value`` (money).
    least
        Offers shown first fewer times are left out, and counted in ``left_out``. So are, as `OTHER_FEATURES`, decisions
        whose vector is not as wide as that of the newest one: features were added or removed in between.

    Raises
    ------
    TrainingError
        When a column is missing.
    """
    if missing := sorted({*NEEDED, outcome} - set(frame)):
        raise TrainingError(
            "not a log of decisions", got=sorted(map(str, frame)), expected=missing, run="userops decisions export"
        )
    first = frame[(frame["position"] == 0) & frame["context"].notna()]
    first, others = _of_one_width(first)
    shown = first["action_id"].value_counts()
    kept = first[first["action_id"].map(shown) >= least]
    x = np.array(kept["context"].tolist(), dtype=np.float64) if len(kept) else np.empty((0, 0))
    return Experiment(
        kept["user_id"].to_numpy(object),
        x,
        kept["action_id"].to_numpy(str),
        kept[outcome].to_numpy(np.float64),
        kept["pscore"].to_numpy(np.float64),
        {str(name): int(count) for name, count in shown.items() if count < least}
        | ({OTHER_FEATURES: others} if others else {}),
    )


def _of_one_width(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows whose vector is as wide as that of the newest, and how many others there are."""
    if rows.empty:
        return rows, 0
    widths = rows["context"].map(len).to_numpy()
    newest = int(rows["timestamp"].to_numpy().argmax()) if "timestamp" in rows else -1
    ours = widths == widths[newest]
    return rows[ours], int((~ours).sum())


def uplift_of_log(
    frame: pd.DataFrame,
    *,
    control: str | None = None,
    learner: str = "x",
    outcome: str = "reward",
    seed: int = 0,
    threads: int = 1,
) -> tuple[Uplift, dict[str, Any]]:
    """Learn on one half of the users, judge on the other: the learner, and what each policy would be worth.

    Parameters
    ----------
    control
        The offer that uplift is measured against; the one shown most when absent.

    Returns
    -------
    Uplift, dict
        ``policies``: the mean outcome of choosing by the learner, of showing each offer to everybody, and of what was
        shown, each as ``{"value", "ci"}`` with users resampled; ``gain``: the learner's less the best constant's;
        ``beats``: whether that interval lies above 0; ``rows``, ``control``, ``left_out``.

    Notes
    -----
    Inverse probability weighting, normalised by the weights. An offer that was never possible for somebody has no
    probability in the log: what a policy would earn by showing it there cannot be known, and is not counted.

    Raises
    ------
    TrainingError
        When fewer than two offers were shown first 100 times to either half.
    """
    whole = experiment_of_log(frame, outcome, 2 * LEAST_PER_ARM)
    names, code = np.unique(whole.user.astype(str), return_inverse=True)
    learns = (np.random.default_rng(seed).permutation(len(names)) % 2 == 0)[code]
    arms, counts = np.unique(whole.arm, return_counts=True)
    if len(arms) < 2:
        raise TrainingError(
            "no experiment in this log",
            got={**dict(zip(arms.tolist(), counts.tolist(), strict=True)), **whole.left_out},
            expected=f"two offers, each shown first {2 * LEAST_PER_ARM} times",
            because="too few decisions, or a policy without exploration",
        )
    against = control or str(arms[counts.argmax()])
    past, later = whole.where(learns), whole.where(~learns)
    fitted = fit_uplift(
        past.x, past.arm, past.outcome, control=against, learner=learner, probability=past.probability, seed=seed,
        threads=threads,
    )  # fmt: skip
    policies = {"learner": fitted.choose(later.x), **{str(arm): np.full(len(later), arm) for arm in arms}}
    return fitted, {**_worth(later, policies, seed), "rows": len(whole), "control": against, "left_out": whole.left_out}


def practice_log(helps: float, hurts: float, users: int = 1500, each: int = 2, seed: int = 3) -> pd.DataFrame:
    """A log of two offers whose truth is known, in the columns of an export: to practise on, and to test with.

    Without an offer's effect the reward's chance lies around 0.25. Offer ``b`` adds ``helps`` for those whose first
    feature is above 0 (half of all) and ``hurts`` for the others; ``a`` adds nothing. The odds of ``b`` rise with the
    second feature, and so does the reward, so that the plain means of the two offers mislead.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(users * each, 3))
    odds = 1 / (1 + np.exp(-x[:, 1]))
    drawn = rng.random(len(x)) < odds
    chance = 0.25 + 0.1 * x[:, 1].clip(-1, 1) + drawn * np.where(x[:, 0] > 0, helps, hurts)
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"u{k}" for k in range(users)], each),
            "context": list(x),
            "action_id": np.where(drawn, "b", "a"),
            "position": 0,
            "pscore": np.where(drawn, odds, 1 - odds),
            "reward": (rng.random(len(x)) < np.clip(chance, 0, 1)).astype(float),
        }
    )


def _worth(later: Experiment, policies: dict[str, NDArray[np.str_]], seed: int) -> dict[str, Any]:
    _, code = np.unique(later.user.astype(str), return_inverse=True)
    users, ones = int(code.max()) + 1, np.ones(len(later))
    sums = {"shown": (np.bincount(code, later.outcome, users), np.bincount(code, ones, users))}
    for name, chosen in policies.items():
        earned = policy_contributions(later.outcome, later.arm, chosen, later.probability)
        weight = policy_contributions(ones, later.arm, chosen, later.probability)
        sums[name] = (np.bincount(code, earned, users), np.bincount(code, weight, users))
    rng = np.random.default_rng(seed)
    draws = [np.bincount(rng.integers(0, users, users), minlength=users) for _ in range(RESAMPLES)]
    value = {name: float(top.sum() / max(below.sum(), 1e-300)) for name, (top, below) in sums.items()}
    drawn = {
        name: np.array([(d @ top) / max(float(d @ below), 1e-300) for d in draws])
        for name, (top, below) in sums.items()
    }
    best = max((name for name in policies if name != "learner"), key=value.__getitem__)
    gain = _interval(value["learner"] - value[best], drawn["learner"] - drawn[best])
    return {
        "policies": {name: _interval(value[name], drawn[name]) for name in value},
        "best_constant": best,
        "gain": gain,
        "beats": gain["ci"][0] > 0,
    }


def _interval(value: float, drawn: Floats) -> dict[str, Any]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": value, "ci": [float(low), float(high)]}
