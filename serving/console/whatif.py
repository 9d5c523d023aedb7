"""What the model would say of this user with other values: a question to the model, not to the world.

``?w.<feature>=<value>`` changes a feature; several may change at once. What the catalogue and training have not seen is
refused with the range. ``absent`` takes the value away, where the catalogue knows users without one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving.answer import scored_users
from serving.console.explained import CATALOGUE
from serving.errors.problem import Problem, shown
from serving.schemas import Explain
from serving.scoring.value.model import ValueModel
from serving.value import valued_users

if TYPE_CHECKING:
    from serving.answer import ServedModel
    from serving.batch import Batch

__all__ = [
    *("ABSENT", "PREFIX", "Range", "can_be_absent", "changed", "changes", "curve", "explained_user", "is_counted"),
    *("on_steps", "range_of", "related", "score_of", "step_of"),
]

PREFIX, ABSENT = "w.", "absent"
POINTS = 121
_MOST = 40
# Parts of a source that say what an event holds; two features that need one of them need not share events.
_ATTRIBUTES = {"channel", "category", "item", "amount", "quantity", "discount", "clock"}


@dataclass(frozen=True)
class Range:
    """What a feature may be set to, both ends included (None: open), and what of that a slider and a curve span.

    ``trained``: the span is what training saw; else what users have today.
    """

    low: float | None
    high: float | None
    span: tuple[float, float]
    trained: bool

    def holds(self, value: float) -> bool:
        """Whether the value may be asked about.

        Examples
        --------
        >>> one = Range(0.0, None, (0.0, 9.0), True)
        >>> one.holds(9.5), one.holds(-0.1), one.holds(float("nan"))
        (True, False, False)
        """
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
        )


def can_be_absent(feature: str) -> bool:
    """Whether there are users without a value of the feature.

    Examples
    --------
    >>> can_be_absent("days_since_last_purchase"), can_be_absent("tenure_days")
    (True, False)
    """
    return CATALOGUE[feature].absent != "never null"


def is_counted(feature: str) -> bool:
    """Whether a feature is a number of things, of which there is no half.

    Examples
    --------
    >>> is_counted("orders_30d"), is_counted("basket_lines_mean"), is_counted("spend_30d")
    (True, False, False)
    """
    return CATALOGUE[feature].unit == "count" and not feature.endswith("_mean")


def step_of(unit: str, span: float) -> float:
    """How far a slider over ``span`` goes at once: 1, 2 or 5 of a power of ten, about 200 steps; of days at most 1.

    Examples
    --------
    >>> step_of("share", 0.97), step_of("currency", 1234.5), step_of("days", 394.0), step_of("rate", 0.0)
    (0.002, 5.0, 1.0, 0.01)
    """
    if not span > 0:
        return 0.01
    power = 10.0 ** math.floor(math.log10(span / 200))
    step = next(times for times in (5, 2, 1) if times * power <= span / 200 * (1 + 1e-9)) * power
    return float(f"{min(step, 1.0) if unit == 'days' else step:.1g}")


def on_steps(low: float, high: float, step: float) -> tuple[float, float]:
    """The ends of a slider whose every place is a multiple of the step; as they are where none lies between.

    Examples
    --------
    >>> on_steps(0.0137, 0.9731, 0.002), on_steps(0.3, 0.3, 0.5)
    ((0.014, 0.972), (0.3, 0.3))
    """
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return (float(f"{first * step:.9g}"), float(f"{last * step:.9g}")) if first < last else (low, high)


def range_of(
    feature: str, present: float | None, card: Mapping[str, Any] | None, everybody: Mapping[str, tuple[float, float]]
) -> Range:
    """The catalogue's range; an end that it leaves open is the last value seen, or this user's own beyond it.

    Parameters
    ----------
    card
        The version's ``card.json``, which says what training saw.
    everybody
        By feature the least and the greatest value among the users of today, for versions without a card.
    """
    known = CATALOGUE[feature]
    listed = [one for one in (card or {}).get("features", []) if one.get("name") == feature and one.get("seen")]
    seen = tuple(map(float, listed[0]["seen"])) if listed else everybody.get(feature)
    own = [] if present is None else [present]
    if seen is None:  # nothing to go by but the catalogue: what it leaves open stays open
        left = known.low if known.low is not None else min([0.0, *own])
        right = known.high if known.high is not None else max([left + 1.0, *(2 * one for one in own)])
        return Range(known.low, known.high, (left, right), False)
    left, right = min([seen[0], *own]), max([seen[1], *own])
    low = known.low if known.low is not None else left
    high = known.high if known.high is not None else right
    return Range(low, high, (left, right if right > left else left + 1.0), bool(listed))


def changes(given: Mapping[str, str], served: ServedModel) -> dict[str, float | None]:
    """The changed features of a query string, as numbers, None for `ABSENT`; what is empty changes nothing."""
    asked = {key.removeprefix(PREFIX): text.strip() for key, text in given.items() if key.startswith(PREFIX)}
    asked = {feature: text for feature, text in asked.items() if text}
    if len(asked) > _MOST:
        raise Problem(422, "too-many-changes", "too many features changed", expected=f"at most {_MOST}", got=len(asked))
    found: dict[str, float | None] = {}
    for feature, text in asked.items():
        if feature not in served.model.features:
            detail = "the model reads no such feature"
            raise Problem(422, "unknown-feature", detail, field="feature", got=shown(feature))
        try:
            found[feature] = None if text == ABSENT else float(text)
        except ValueError:
            raise Problem(422, "not-a-number", "not a number", field=feature, got=shown(text)) from None
    return found


def changed(batch: Batch, served: ServedModel, new: Mapping[str, float | None]) -> Batch:
    """The same user with other values, None for no value."""
    values = batch.values.copy()
    for feature, value in new.items():
        values[0, served.place[feature]] = math.nan if value is None else value
    return replace(batch, values=values)


def explained_user(served: ServedModel, batch: Batch, lang: str) -> dict[str, Any]:
    """The one user of a batch as ``POST /v1/score/<model>`` answers with everything explained."""
    answer = valued_users if isinstance(served.model, ValueModel) else scored_users
    explain = Explain.model_validate({"level": "full", "top_n": 20, "lang": lang})
    return answer(served, batch, explain)[0][0]


def curve(
    served: ServedModel, head: str, batch: Batch, feature: str, within: Range, also: list[float]
) -> tuple[list[float], list[float | None]]:
    """The score along a feature's whole range, everything else as in ``batch``: values rising, and a score for each.

    A score is a probability, or of the value model the expected spend; None where the user would leave the cohort.
    """
    points = np.unique([*np.linspace(*within.span, POINTS), *also])
    rows = np.repeat(batch.values[:1], len(points), axis=0)
    rows[:, served.place[feature]] = points
    return points.tolist(), _asked(served, head, rows)


def score_of(served: ServedModel, head: str, batch: Batch) -> float | None:
    """One point of `curve`: the score of the one user of a batch."""
    return _asked(served, head, batch.values[:1])[0]


def _asked(served: ServedModel, head: str, rows: NDArray[np.float64]) -> list[float | None]:
    model, x = served.model, np.ascontiguousarray(rows[:, served.columns])
    inside, scores = model.in_cohort(x, head), np.full(len(x), np.nan)
    if inside.any():
        scores[inside] = _scores(model, head, x[inside])
    return [None if np.isnan(score) else score for score in scores.tolist()]


def _scores(model: Any, head: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    if isinstance(model, ValueModel):
        return model.spend(x, [head])[head].expected
    found: NDArray[np.float64] = model.probability(x, head)
    return found


def related(new: Mapping[str, float | None], served: ServedModel) -> list[str]:
    """The features that keep their values though they are computed from the events of a changed one."""
    kinds = {kind for feature in new for kind in CATALOGUE[feature].needs} - _ATTRIBUTES
    return [
        feature
        for feature in served.model.features
        if feature not in new and feature in CATALOGUE and kinds & set(CATALOGUE[feature].needs)
    ]
