"""What one decision knows: the user's row of the online store, the user's state in the log, the shop from memory."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from configs.history import unpack
from features.catalog import NAMES
from serving.decision.inputs import Action
from serving.log import DAY_US, DecisionLog, UserState
from serving.nbo import fresh, gather
from serving.nbo.gather import Known
from serving.nbo.shop import Shop
from serving.reader import DecisionRow

if TYPE_CHECKING:
    from serving.live import Live, Release

__all__ = ["Memory", "known", "nobody"]

_LOOK_S = 5.0  # how often a newer assortment is looked for
_COUNT_S = 30.0  # how old the response rates of channels may be
_RESPONSES_US = 93 * DAY_US


class Memory:
    """What a worker keeps between decisions: the assortment until a newer one is published, and response rates."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.kept: Shop | None = None
        self._stamp: str | None = None
        self._look_at = self._count_at = 0.0
        self._responses: Mapping[str, tuple[int, int]] = {}

    def shop(self) -> Shop | None:
        """The published assortment; None while there is none."""
        if monotonic() >= self._look_at:
            reader = self._live.reader()
            stamp = reader.assortment_stamp()
            if stamp != self._stamp:
                self.kept = None if stamp is None else Shop(reader.assortment())
                self._stamp = stamp
            self._look_at = monotonic() + _LOOK_S
        return self.kept

    def responses(self, log: DecisionLog, at_us: int) -> Mapping[str, tuple[int, int]]:
        """Per channel, offers decided and answered in the last 93 days."""
        if monotonic() >= self._count_at:
            self._responses = log.response_counts(at_us - _RESPONSES_US)
            self._count_at = monotonic() + _COUNT_S
        return self._responses


def known(
    row: DecisionRow, state: UserState, release: Release, shop: Shop | None, at_us: int, max_age_s: float
) -> Known:
    """Everything about one user at one instant."""
    remembered = unpack(row.history)
    orders = [Action(*one) for one in state.actions if one.event == "order" and one.at_us > row.as_of_us]
    if state.fresh or orders:
        target_of = fresh.nothing if release.rules is None else release.rules.target_of
        category_of = fresh.nowhere if shop is None else shop.category_of
        remembered = fresh.up_to_now(remembered, state.fresh, orders, target_of, category_of)
    age_s = max(0, (at_us - row.as_of_us) // 1_000_000) if row.found else 0
    return Known(
        user_id=state.user_id,
        personal=True,
        found=row.found,
        as_of_us=row.as_of_us,
        vector=row.vector,
        profile=row.profile,
        history=gather.without(remembered, state, release.bundle.interest),
        remembered=remembered,
        state=state,
        age_s=age_s,
        stale=row.found and age_s > max_age_s,
    )


def nobody(state: UserState, personal: bool) -> Known:
    """A user of whom nothing can be known, or (``personal`` False) nothing may be used."""
    return Known(
        user_id=state.user_id,
        personal=personal,
        found=False,
        as_of_us=0,
        vector=np.full(len(NAMES), np.nan),
        profile=None,
        history=fresh.NO_HISTORY,
        remembered=fresh.NO_HISTORY,
        state=state,
        age_s=0,
        stale=False,
    )
