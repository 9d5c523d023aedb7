"""Occasions written out as events: the rows a shop's logs would hold.

Outside of their own visits users cause nothing: a return, a call or a survey happens during a visit, so a silent user
is silent in every kind. What *we* do (coupons sent, offers shown) goes to registered users at random, dead or alive.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from features.events import KINDS
from features.simulate.assortment import CATEGORIES, ERA_DAYS, ITEMS_PER_CATEGORY, STORES, Assortment
from features.simulate.occasions import CHANNELS, MINUTE, Habits, Occasions
from features.simulate.people import People

__all__ = ["Journal", "write_journal"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STORE, _WECOM = CHANNELS.index("store"), CHANNELS.index("wecom")
_ORDER = 2
_LOYAL_SHARE = 0.4  # of choices within a category fall on the user's own item
_RETURN_SHARE, _RETURN_DAYS = 0.08, 21.0
_SECOND = MINUTE / 60
_TOPICS = ("delivery", "how_to_use", "refund", "invoice")


@dataclass(frozen=True)
class Journal:
    """Event rows as columns of equal length; codes are positions, -1 is null. ``at`` is in days."""

    user: Ints
    kind: Ints
    at: Floats
    channel: Ints
    category: Ints
    item: Ints
    store: Ints
    order: Ints
    quantity: Floats
    amount: Floats
    discount: Floats
    note: Ints
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.user)


class _Pages:
    """Collects blocks of rows; a column not given is null (channel and store: those of the occasion)."""

    def __init__(self, occasions: Occasions, store: Ints) -> None:
        self.occasions, self.store, self.blocks = occasions, store, []  # type: ignore[var-annotated]
        self.notes: dict[str, int] = {}

    def note(self, text: str) -> int:
        return self.notes.setdefault(text, len(self.notes))

    def of(self, rows: Ints, kind: str, after: Floats | float, **columns: Ints | Floats | int) -> None:
        """Events of the occasions in ``rows``, ``after`` days later."""
        o = self.occasions
        self.add(
            kind,
            user=o.user[rows],
            at=o.at[rows] + after,
            **{"channel": o.channel[rows], "store": self.store[rows]} | columns,
        )

    def add(self, kind: str, user: Ints, at: Floats, **columns: Ints | Floats | int) -> None:
        count = len(user)
        block = {name: np.broadcast_to(value, count) for name, value in columns.items()}
        self.blocks.append({"user": user, "at": at, "kind": np.full(count, KINDS.index(kind)), **block})

    def bind(self) -> Journal:
        columns = {}
        for field in fields(Journal)[:-1]:
            real = field.name in {"at", "quantity", "amount", "discount"}
            empty = np.nan if real else -1
            parts = [block.get(field.name, np.broadcast_to(empty, len(block["user"]))) for block in self.blocks]
            columns[field.name] = np.concatenate(parts).astype(float if real else np.int64)
        order = np.lexsort((columns["kind"], columns["user"], columns["at"]))
        return Journal(**{name: value[order] for name, value in columns.items()}, notes=tuple(self.notes))


def write_journal(
    people: People, habits: Habits, occasions: Occasions, goods: Assortment, source: Ints, rng: np.random.Generator
) -> Journal:
    """All events, oldest first."""
    o = occasions
    channel = np.where((o.kind == 1) & (o.channel == _STORE), 0, o.channel)  # nobody leaves a basket behind in a store
    o = Occasions(o.user, o.kind, o.at, channel, o.categories, o.lines)
    at_home = rng.random(len(o.user)) < 0.85
    store = np.where(at_home, habits.store[o.user], rng.integers(0, len(STORES), len(o.user)))
    pages = _Pages(o, np.where(channel == _STORE, store, -1))
    items = _Shelf(people, goods, rng)
    everyone = np.arange(len(people.registered))
    pages.add("register", everyone, people.registered, channel=source)
    _visits(pages, o, items, rng)
    _orders(pages, o, items, goods, rng)
    _ours(pages, people, rng)
    return pages.bind()


class _Shelf:
    """Chooses items of a category, on sale at the time."""

    def __init__(self, people: People, goods: Assortment, rng: np.random.Generator) -> None:
        self.loyal = rng.integers(0, ITEMS_PER_CATEGORY, (len(people.registered), len(CATEGORIES)))
        self.cumulative, self.rng = goods.cumulative, rng

    def choose(self, user: Ints, category: Ints, at: Floats) -> Ints:
        era = (at // ERA_DAYS).astype(np.int64)
        chances = self.cumulative[era, category]
        drawn = (self.rng.random(len(user))[:, None] > chances).sum(axis=1)
        own = self.loyal[user, category]
        rows = np.arange(len(user))
        on_sale = chances[rows, own] > np.where(own > 0, chances[rows, own - 1], 0.0)
        loyal = on_sale & (self.rng.random(len(user)) < _LOYAL_SHARE)
        return np.asarray(category * ITEMS_PER_CATEGORY + np.where(loyal, own, drawn))


def _visits(pages: _Pages, o: Occasions, items: _Shelf, rng: np.random.Generator) -> None:
    count = len(o.user)
    everything = np.arange(count)
    online = np.flatnonzero(o.channel != _STORE)
    pages.of(everything, "visit", 0.0)
    pushed = online[rng.random(len(online)) < np.where(o.channel[online] == _WECOM, 0.3, 0.04)]
    offer = np.array([pages.note(f'{{"offer": "{c.category_id}"}}') for c in CATEGORIES])
    about = o.categories[pushed, 0]
    for kind, after in (("impression", 1), ("click", 4)):
        pages.of(pushed, kind, after * _SECOND, category=about, note=offer[about])
    searching = online[rng.random(len(online)) < 0.35]
    query = np.array([pages.note(f'{{"query": "{c.category_id.replace("_", " ")}"}}') for c in CATEGORIES])
    about = o.categories[searching, 0]
    pages.of(searching, "search", rng.uniform(10, 50, len(searching)) * _SECOND, category=about, note=query[about])
    looks = 1 + rng.poisson(1.8, len(online))
    viewing = np.repeat(online, looks)
    aside = rng.random(len(viewing)) < 0.25
    category = o.categories[viewing, aside.astype(np.int64)]
    item = items.choose(o.user[viewing], category, o.at[viewing])
    pages.of(viewing, "view", rng.uniform(60, 700, len(viewing)) * _SECOND, category=category, item=item)
    left = np.flatnonzero(o.kind == 1)
    item = items.choose(o.user[left], o.categories[left, 0], o.at[left])
    pages.of(left, "cart", 720 * _SECOND, category=o.categories[left, 0], item=item, quantity=1)
    calling = everything[rng.random(count) < 0.015]
    topics = np.array([pages.note(f'{{"topic": "{topic}"}}') for topic in _TOPICS])
    pages.of(calling, "contact", 900 * _SECOND, note=rng.choice(topics, len(calling), p=[0.2, 0.5, 0.2, 0.1]))


def _orders(pages: _Pages, o: Occasions, items: _Shelf, goods: Assortment, rng: np.random.Generator) -> None:
    orders = np.flatnonzero(o.kind == _ORDER)
    number = np.empty(len(o.user), dtype=np.int64)
    number[orders[np.argsort(o.at[orders], kind="stable")]] = np.arange(len(orders))
    coupon = np.zeros(len(o.user), dtype=bool)
    coupon[orders] = rng.random(len(orders)) < 0.12
    row = np.repeat(orders, o.lines[orders])
    line = np.arange(len(row)) - np.repeat(np.cumsum(o.lines[orders]) - o.lines[orders], o.lines[orders])
    category = o.categories[row, line]
    item = items.choose(o.user[row], category, o.at[row])
    quantity = 1.0 + rng.poisson(np.where(np.array([c.price for c in CATEGORIES])[category] < 20, 0.5, 0.05))
    full = goods.items["price"].to_numpy()[item] * quantity
    offer = np.where(rng.random(len(row)) < 0.2, rng.choice([0.1, 0.2, 0.3], len(row)), 0.0)
    discount = (full * (1 - (1 - offer) * np.where(coupon[row], 0.85, 1.0))).round(2)
    amount = (full - discount).round(2)
    what = {"category": category, "item": item, "quantity": quantity}
    online = o.channel[row] != _STORE
    pages.of(row[online], "cart", 720 * _SECOND, **{name: column[online] for name, column in what.items()})
    pages.of(row, "purchase", 800 * _SECOND, **what, order=number[row], amount=amount, discount=discount)
    redeemed = pages.note('{"action": "redeemed"}')
    used = orders[coupon[orders]]
    pages.of(used, "coupon", 799 * _SECOND, note=redeemed, order=number[used])
    asked = orders[rng.random(len(orders)) < 0.04]
    scores = np.array([pages.note(f'{{"score": {score}}}') for score in range(1, 6)])
    pages.of(asked, "survey", 840 * _SECOND, note=rng.choice(scores, len(asked), p=[0.05, 0.1, 0.2, 0.35, 0.3]))
    _returns(pages, o, row, number, what | {"amount": amount}, rng)


def _returns(
    pages: _Pages, o: Occasions, row: Ints, number: Ints, what: dict[str, Floats | Ints], rng: np.random.Generator
) -> None:
    """A line is given back at the user's next visit, when that is one to 21 days later."""
    following = np.append(o.user[1:] == o.user[:-1], False)
    gap = np.append(np.diff(o.at), 0.0)[row]
    back = following[row] & (gap >= 1.0) & (gap <= _RETURN_DAYS) & (rng.random(len(row)) < _RETURN_SHARE)
    columns = {name: column[back] for name, column in what.items()}
    pages.of(row[back] + 1, "return", 300 * _SECOND, **columns, order=number[row[back]])


def _ours(pages: _Pages, people: People, rng: np.random.Generator) -> None:
    """Offers shown and coupons sent: every registered user alike, whatever they do."""
    days = people.counts.shape[2]
    for kind, rate in (("impression", 0.03), ("coupon", 0.01)):
        ahead = np.maximum(days - people.first_day - 1, 0)
        user = np.repeat(np.arange(len(ahead)), rng.poisson(rate * ahead))
        day = people.first_day[user] + 1 + (rng.random(len(user)) * ahead[user]).astype(np.int64)
        at = day + rng.uniform(10 / 24, 11 / 24, len(user))
        if kind == "coupon":
            pages.add(kind, user, at, channel=_WECOM, note=pages.note('{"action": "received"}'))
        else:
            category = rng.integers(0, len(CATEGORIES), len(user))
            offers = np.array([pages.note(f'{{"offer": "{c.category_id}"}}') for c in CATEGORIES])
            pages.add(kind, user, at, channel=_WECOM, category=category, note=offers[category])
