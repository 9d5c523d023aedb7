"""What happened since the features were published, as lines of the history: it acts on the very next decision."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np

from configs.history import KINDS, PURCHASE, WIDTH, History, code, merge, unpack
from serving.decision.inputs import Action
from serving.log import LiveEvent

__all__ = ["NO_HISTORY", "forget", "last_events", "lines_of", "nothing", "nowhere", "up_to_now"]

NO_HISTORY = unpack(np.empty(0))
_Line = tuple[int, int, int, int, float, int]


def up_to_now(
    published: History,
    events: Iterable[LiveEvent],
    orders: Iterable[Action],
    target_of: Callable[[str], tuple[tuple[str, ...], tuple[str, ...]]],
    category_of: Callable[[str | None], str | None],
) -> History:
    """``published`` with what came after it.

    Parameters
    ----------
    events
        Live events after the published history's ``as_of``.
    orders
        Feedback of type ``order`` after it: the item of an offer about one item, otherwise its one category, counts as
        bought, unless a live event already says so.
    target_of
        Items and categories of an offer.
    category_of
        The category of an item, for events that name none.
    """
    lines: list[_Line] = []
    for event in events:
        if event.event_type in KINDS and (event.item_id or event.category_id):
            category = event.category_id or category_of(event.item_id)
            quantity = 1.0 if event.quantity is None else event.quantity
            kind = KINDS[event.event_type]
            lines.append((code(event.item_id), code(category), event.event_at_us, kind, quantity, code(event.order_id)))
    bought_items = {line[0] for line in lines if line[3] == PURCHASE}
    bought_categories = {line[1] for line in lines if line[3] == PURCHASE}
    for order in orders:
        items, categories = target_of(order.offer_id)
        if len(items) == 1 and code(items[0]) not in bought_items:
            lines.append((code(items[0]), code(category_of(items[0])), order.at_us, PURCHASE, 1.0, 0))
        elif not items and len(categories) == 1 and code(categories[0]) not in bought_categories:
            lines.append((0, code(categories[0]), order.at_us, PURCHASE, 1.0, 0))
    return merge(published, History.of(lines)) if lines else published


def forget(history: History, categories: Collection[int], category_of: Callable[[int], int]) -> History:
    """The history without what says something about these categories (codes)."""
    if not categories or not len(history):
        return history
    own = np.where(history.category == 0, [category_of(int(item)) for item in history.item], history.category)
    kept = ~np.isin(own, list(categories))
    return history if kept.all() else History(*(getattr(history, name)[kept] for name in History.__slots__))


def last_events(events: Collection[LiveEvent], published: Iterable[dict[str, str | None]], most: int = 3) -> list[str]:
    """The newest things the user did, newest first, as ``view:85123A``.

    Examples
    --------
    >>> last_events([], [{"event_type": "view", "item_id": None, "category_id": "tea"}, {"event_type": "visit"}])
    ['view:tea', 'visit']
    """
    newest = sorted(events, key=lambda event: event.event_at_us, reverse=True)
    live = [_text(event.event_type, event.item_id or event.category_id) for event in newest[:most]]
    old = [_text(str(one.get("event_type")), one.get("item_id") or one.get("category_id")) for one in published]
    return [*live, *old][:most]


def _text(kind: str, what: str | None) -> str:
    return f"{kind}:{what}" if what else kind


def lines_of(flat: bytes) -> History:
    """The history that the decision log kept: little-endian float64, ``WIDTH`` per line."""
    numbers = np.frombuffer(flat, "<f8")
    return unpack(numbers.astype(np.float64)[: len(numbers) // WIDTH * WIDTH])


def nothing(offer_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The target of an offer where no catalogue says it."""
    return (), ()


def nowhere(item_id: str | None) -> str | None:
    """The category of an item where no assortment says it."""
    return None
