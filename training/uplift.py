"""Whom does a message change? S-, T- and X-learner on LightGBM, for any randomised campaign of one or more arms.

The uplift of an arm for a person is what the person does under it minus what the person does under the control. Nobody
is ever seen under both, so a learner compares people who resemble each other (Künzel, Sekhon, Bickel and Yu 2019,
PNAS 116(10)):

``s``
    one model of the outcome that is told the arm; the uplift is the difference between two of its answers.
``t``
    one model of the outcome per arm; the uplift is the difference between two models.
``x``
    what each person would have done under the other arm is filled in by the other arm's model of ``t``, and the
    differences are learned directly, once from the treated and once from the untreated.

What is needed is the table of an experiment: features known before the arm was drawn, the arm, the outcome, and, where
the odds differed between people (the decision log's ``action_probability``), the probability of the arm that was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs.errors import TrainingError

__all__ = ["DEFAULTS", "LEARNERS", "Uplift", "fit_uplift"]

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

LEARNERS = ("s", "t", "x")
# Effects are small beside what people differ in anyway: few leaves, many rows in each.
DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 200,
    "lambda_l2": 10.0,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 127,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
TREES = 150
LEAST_PER_ARM = 100


@dataclass(frozen=True)
class Uplift:
    """A fitted learner; ``arms`` are all but the ``control``, in the order of the columns of `predict`."""

    learner: str
    control: str
    arms: tuple[str, ...]
    predictors: tuple[Callable[[Floats], Floats], ...]

    def predict(self, x: Floats) -> Floats:
        """The uplift of each arm over the control, float64[n, arms], in the unit of the outcome."""
        return np.column_stack([predictor(x) for predictor in self.predictors])

    def choose(self, x: Floats, cost: Floats | float = 0.0) -> NDArray[np.str_]:
        """The arm with the largest uplift less its ``cost`` for each person; the control where that is not above 0."""
        gain = np.column_stack([np.zeros(len(x)), self.predict(x) - cost])
        chosen: NDArray[np.str_] = np.asarray([self.control, *self.arms], dtype=np.str_)[gain.argmax(axis=1)]
        return chosen


def fit_uplift(
    x: Floats,
    arm: Sequence[str] | NDArray[Any],
    outcome: Floats,
    *,
    control: str,
    learner: str,
    probability: Floats | None = None,
    seed: int = 0,
    threads: int = 1,
    overrides: Mapping[str, Any] | None = None,
) -> Uplift:
    """Learn the uplift of every arm over ``control`` from people whose arm was drawn by lot.

    Parameters
    ----------
    x
        What was known before the arm was drawn, float64[n, f]; NaN where a value is absent.
    arm
        The arm of each person, shape (n,).
    outcome
        What followed, shape (n,): 0 or 1, or an amount.
    learner
        ``s``, ``t`` or ``x``.
    probability
        With which probability each person's arm was drawn, in (0, 1]; equal odds for all when absent. Rows count by
        its inverse.

    Raises
    ------
    TrainingError
        When the control or an arm has fewer than 100 people, or the learner is unknown.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, sent = rng.normal(size=(4000, 1)), rng.random(4000) < 0.5
    >>> y = (rng.random(4000) < 0.2 + 0.3 * sent * (x[:, 0] > 0)).astype(float)
    >>> fitted = fit_uplift(x, np.where(sent, "mail", "none"), y, control="none", learner="x")
    >>> low, high = fitted.predict(np.array([[-1.0], [1.0]]))[:, 0]
    >>> fitted.arms, bool(abs(low) < 0.1), bool(abs(high - 0.3) < 0.1)
    (('mail',), True, True)
    """
    if learner not in LEARNERS:
        raise TrainingError(f"there is no uplift learner {learner!r}", got=learner, expected=LEARNERS)
    names, code = _arms(arm, control)
    y = np.asarray(outcome, dtype=np.float64)
    weight = _weights(code, len(names), probability)
    params = {**DEFAULTS, "seed": seed, "num_threads": threads, **(overrides or {})}
    if learner == "s":
        predictors = _single(x, code, y, weight, len(names), params)
    else:
        outcomes = [_learn(x[code == k], y[code == k], weight[code == k], params) for k in range(len(names))]
        pairs = [(outcomes[0], outcomes[k]) for k in range(1, len(names))]
        if learner == "t":
            predictors = [_difference(none, some) for none, some in pairs]
        else:
            predictors = [_crossed(x, code, y, weight, k, pairs[k - 1], params) for k in range(1, len(names))]
    return Uplift(learner, control, tuple(names[1:]), tuple(predictors))


def _single(
    x: Floats, code: Codes, y: Floats, weight: Floats, arms: int, params: Mapping[str, Any]
) -> list[Callable[[Floats], Floats]]:
    flags = np.eye(arms)[:, 1:]
    model = _learn(np.column_stack([x, flags[code]]), y, weight, params)

    def under(k: int, asked: Floats) -> Floats:
        return model(np.column_stack([asked, np.tile(flags[k], (len(asked), 1))]))

    return [lambda asked, k=k: under(k, asked) - under(0, asked) for k in range(1, arms)]  # type: ignore[misc]


def _difference(none: Callable[[Floats], Floats], some: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    return lambda asked: some(asked) - none(asked)


def _crossed(
    x: Floats,
    code: Codes,
    y: Floats,
    weight: Floats,
    k: int,
    outcomes: tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]],
    params: Mapping[str, Any],
) -> Callable[[Floats], Floats]:
    none, some = outcomes
    treated, untreated = code == k, code == 0
    from_treated = _learn(x[treated], y[treated] - none(x[treated]), weight[treated], params, amounts=True)
    from_untreated = _learn(x[untreated], some(x[untreated]) - y[untreated], weight[untreated], params, amounts=True)
    # Whichever side was filled in by the model with more people behind it is believed more.
    share = float(weight[treated].sum() / (weight[treated].sum() + weight[untreated].sum()))
    return lambda asked: share * from_untreated(asked) + (1 - share) * from_treated(asked)


def _learn(
    x: Floats, y: Floats, weight: Floats, params: Mapping[str, Any], amounts: bool = False
) -> Callable[[Floats], Floats]:
    binary = not amounts and bool(np.isin(y, (0.0, 1.0)).all())
    if np.ptp(y) == 0:
        only = float(y[0])
        return lambda asked: np.full(len(asked), only)
    objective = "binary" if binary else "regression"
    booster = lgb.train({**params, "objective": objective}, lgb.Dataset(x, y, weight=weight), TREES)
    return lambda asked: np.asarray(booster.predict(asked), dtype=np.float64)


def _arms(arm: Sequence[str] | NDArray[Any], control: str) -> tuple[list[str], Codes]:
    given = np.asarray(arm, dtype=str)
    found, counts = np.unique(given, return_counts=True)
    number = dict(zip(found.tolist(), counts.tolist(), strict=True))
    if len(found) < 2 or min(number.get(control, 0), *number.values()) < LEAST_PER_ARM:
        raise TrainingError(
            "too few people to learn an uplift from",
            got=number,
            expected=f"the control {control!r} and at least one arm, {LEAST_PER_ARM} people in each",
        )
    names = [control, *(name for name in found.tolist() if name != control)]
    place = {name: k for k, name in enumerate(names)}
    return names, np.array([place[name] for name in given.tolist()], dtype=np.intp)


def _weights(code: Codes, arms: int, probability: Floats | None) -> Floats:
    if probability is None:
        return np.ones(len(code))
    p = np.asarray(probability, dtype=np.float64)
    if not ((p > 0) & (p <= 1)).all():
        raise TrainingError("probabilities of arms", got=[float(p.min()), float(p.max())], expected="in (0, 1]")
    # On average 1 within each arm, so that the regularisation means the same as without weights.
    inverse = 1 / p
    return np.asarray(inverse / (np.bincount(code, inverse, arms) / np.bincount(code, minlength=arms))[code])
