"""P(the user buys something of an offer's target), from the interest model: one call for all items, one for categories.

An offer about several items is taken when any of them is: ``1 - product(1 - p)``, as if they were independent; so for
several categories. About both: the larger of the two, for the items usually belong to the categories. About nothing in
particular (the whole shop): the most likely category. Bounds are combined in the same way, which keeps their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.history import History, code
from serving.decision.result import Propensity, Target
from serving.scoring.interest.model import InterestModel, Scored

__all__ = ["InterestScorer", "Row"]


class Row(NamedTuple):
    """The likeliest member of a target as the model saw it: what an explanation is about. ``text`` is its id."""

    scored: Scored
    place: int
    text: str

    @property
    def head(self) -> str:
        """``item`` or ``category``."""
        return self.scored.head

    @property
    def code(self) -> int:
        """Of the id."""
        return int(self.scored.codes[self.place])

    @property
    def raw(self) -> float:
        """The margin in log-odds."""
        return float(self.scored.raw[self.place])

    @property
    def x(self) -> NDArray[np.float64]:
        """The features, float64[f]."""
        own: NDArray[np.float64] = self.scored.x[self.place]
        return own


class _Scores:
    """What the model said of some ids."""

    def __init__(self, names: Sequence[str], scored: Scored | None) -> None:
        self.scored = scored
        if scored is None:
            self.rows: dict[str, int] = {}
            return
        place = {one: row for row, one in enumerate(scored.codes.tolist())}
        self.rows = {name: row for name in names if (row := place.get(code(name))) is not None}
        self.p, self.low, self.high = scored.p.tolist(), scored.p_low.tolist(), scored.p_high.tolist()

    def any_of(self, names: Sequence[str]) -> Propensity | None:
        """At least one of these, None when the model knows none of them."""
        if self.scored is None:
            return None
        known = [(name, self.rows[name]) for name in names if name in self.rows]
        if not known:
            return None
        name, best = known[0] if len(known) == 1 else max(known, key=lambda one: self.p[one[1]])
        row = Row(self.scored, best, name)
        if len(known) == 1:
            return Propensity(self.p[best], self.low[best], self.high[best], self.scored.calibrated, row=row)
        none = [1.0, 1.0, 1.0]
        for _, place in known:
            none[0] *= 1.0 - self.p[place]
            none[1] *= 1.0 - self.low[place]
            none[2] *= 1.0 - self.high[place]
        return Propensity(1.0 - none[0], 1.0 - none[1], 1.0 - none[2], self.scored.calibrated, row=row)


# The model knows nothing of what the offer is about. No observation stands behind it, so the offer's prior counts.
_UNKNOWN = Propensity(0.0, 0.0, 1.0, calibrated=False, n=0.0)


class InterestScorer:
    """Scores targets for one user at one instant: same model, history and instant, same numbers.

    ``categories`` are scores of the same model, history and instant that were made already; a row of a score does not
    depend on the other rows.
    """

    def __init__(self, model: InterestModel, history: History, at_us: int, categories: Scored | None = None) -> None:
        self.model, self.history, self.at_us, self.known = model, history, at_us, categories

    def __call__(self, targets: Sequence[Target], /) -> list[Propensity]:
        """One propensity per target, in their order."""
        # Sorted: a set has another order in every process, and the same decision must come out.
        item_ids = sorted({item for target in targets for item in target.item_ids})
        category_ids = sorted({category for target in targets for category in target.category_ids})
        items = _Scores(item_ids, self._items(item_ids))
        categories = _Scores(category_ids, self._categories(category_ids))
        told = []
        whole: Propensity | None = None
        for target in targets:
            if target.item_ids or target.category_ids:
                one = items.any_of(target.item_ids) if target.item_ids else None
                other = categories.any_of(target.category_ids) if target.category_ids else None
                if one is None or (other is not None and other.p > one.p):
                    one = other
                told.append(_UNKNOWN if one is None else one)
            else:
                whole = whole or self._whole_shop()
                told.append(whole)
        return told

    def _items(self, ids: Sequence[str]) -> Scored | None:
        codes = np.array([code(name) for name in ids], np.int64)
        return self.model.score_items(self.history, self.at_us, codes) if len(codes) else None

    def _categories(self, ids: Sequence[str]) -> Scored | None:
        codes = np.array([code(name) for name in ids], np.int64)
        if not len(codes):
            return None
        if self.known is not None and set(codes.tolist()) <= set(self.known.codes.tolist()):
            return self.known
        return self.model.score_categories(self.history, self.at_us, codes)

    def _whole_shop(self) -> Propensity:
        scored = self.model.score_categories(self.history, self.at_us)
        if not len(scored.codes):
            return _UNKNOWN
        best = int(np.argmax(scored.p))
        row = Row(scored, best, self.model.text(int(scored.codes[best])) or "")
        p, low, high = float(scored.p[best]), float(scored.p_low[best]), float(scored.p_high[best])
        return Propensity(p, low, high, scored.calibrated, row=row)
