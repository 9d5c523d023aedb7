"""What the shop sells and where: categories with their repeat-purchase intervals, items, stores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["CATEGORIES", "CITIES", "STORES", "Assortment", "Category", "draw_assortment"]

ITEMS_PER_CATEGORY = 20
ERA_DAYS = 30  # items come and go at multiples of 30 days after the shop's first midnight


@dataclass(frozen=True)
class Category:
    """A category: how often the same customer needs it again, how wanted it is, what it costs."""

    category_id: str
    interval_days: float
    wanted: float
    price: float
    margin: float


CATEGORIES: tuple[Category, ...] = (
    Category("groceries", 7, 3.0, 6, 0.18),
    Category("fresh_fruit", 7, 2.4, 5, 0.22),
    Category("bakery", 7, 1.8, 4, 0.35),
    Category("drinks", 10, 1.8, 8, 0.28),
    Category("snacks", 12, 2.0, 5, 0.32),
    Category("baby", 21, 1.0, 28, 0.24),
    Category("pet_food", 25, 1.0, 22, 0.26),
    Category("household", 30, 1.4, 9, 0.30),
    Category("health", 40, 0.9, 25, 0.45),
    Category("cosmetics", 45, 1.4, 32, 0.55),
    Category("hair_care", 50, 0.9, 14, 0.48),
    Category("books", 60, 0.8, 15, 0.35),
    Category("stationery", 75, 0.5, 7, 0.50),
    Category("toys", 90, 0.7, 20, 0.42),
    Category("clothing", 90, 1.5, 45, 0.52),
    Category("shoes", 120, 0.9, 70, 0.48),
    Category("kitchen", 150, 0.6, 38, 0.44),
    Category("sports", 160, 0.6, 50, 0.40),
    Category("electronics", 200, 0.9, 180, 0.15),
    Category("furniture", 300, 0.3, 240, 0.38),
)

CITIES: tuple[str, ...] = ("Shanghai", "Hangzhou", "Nanjing", "Suzhou", "Ningbo")
STORES: tuple[tuple[str, str], ...] = tuple((f"s{k + 1:02d}", CITIES[k % len(CITIES)]) for k in range(10))


@dataclass(frozen=True)
class Assortment:
    """The items, and how likely each is chosen once its category is.

    ``items`` has one row per item, category by category. ``cumulative`` is ``[era, category, item of the category]``:
    the cumulative probability of each item on sale in that era.
    """

    items: pd.DataFrame
    cumulative: NDArray[np.float64]


def draw_assortment(first: pd.Timestamp, days: int, rng: np.random.Generator) -> Assortment:
    """400 items in 20 categories: prices around the category's, popularity by rank, a tail of slow movers."""
    shape = (len(CATEGORIES), ITEMS_PER_CATEGORY)
    count = shape[0] * shape[1]
    rank = rng.permuted(np.tile(np.arange(ITEMS_PER_CATEGORY), (shape[0], 1)), axis=1)
    weight = (rank + 1.0) ** -0.8
    slow = rank >= ITEMS_PER_CATEGORY - 4
    weight[slow] *= 0.15
    price = np.array([c.price for c in CATEGORIES])[:, None] * rng.lognormal(-0.08, 0.4, shape)
    margin = (np.array([c.margin for c in CATEGORIES])[:, None] + rng.normal(0, 0.05, shape)).clip(0.03, 0.8)
    eras = days // ERA_DAYS + 1
    # Of every twenty items two are news, two are taken off the shelf; the others are on sale throughout.
    starts = np.where((rank % 10) == 4, rng.integers(1, max(eras, 2), shape), 0)
    ends = np.where((rank % 10) == 7, rng.integers(1, max(eras, 2), shape), eras)
    era = np.arange(eras)[:, None, None]
    on_sale = weight * ((era >= starts) & (era < ends))
    cumulative = on_sale.cumsum(axis=2) / on_sale.sum(axis=2, keepdims=True)
    number = np.arange(count)
    names = [f"{c.category_id.replace('_', ' ')} no. {k + 1}" for c in CATEGORIES for k in range(ITEMS_PER_CATEGORY)]
    valid_to = pd.Series(first + pd.to_timedelta(ends.reshape(-1) * ERA_DAYS, unit="D"))
    items = pd.DataFrame(
        {
            "item_id": [f"i{k + 1:04d}" for k in number],
            "category_id": np.repeat([c.category_id for c in CATEGORIES], ITEMS_PER_CATEGORY),
            "name": names,
            "price": (price.reshape(-1)).round(2).clip(0.5),
            "margin": margin.reshape(-1).round(3),
            "stock": rng.poisson(np.where(slow, 60, 200 * weight + 10).reshape(-1)).astype(np.int64),
            "is_slow_moving": slow.reshape(-1),
            "valid_from": first + pd.to_timedelta(starts.reshape(-1) * ERA_DAYS, unit="D"),
            "valid_to": valid_to.where(ends.reshape(-1) < eras).to_numpy(),
        }
    )
    items["valid_to"] = pd.to_datetime(items["valid_to"], utc=True)
    return Assortment(items, cumulative)
