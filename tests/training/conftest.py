"""Customers whose truth is known, and their features worked out from their purchases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.catalog import NAMES

FIRST_DAY = 19_723.0  # 2024-01-01


def buy(users, days, seed, leave=400.0):
    """Purchases of customers who come at gamma rates until they leave, each with a mean amount of his own."""
    rng = np.random.default_rng(seed)
    rate, mean = rng.gamma(1.0, 1 / 30, users) + 1 / 300, rng.lognormal(3, 0.6, users)
    first = rng.uniform(0, days * 0.6, users)
    gone = first + rng.exponential(leave, users)
    who, at = [], []
    for n in range(users):
        steps = np.cumsum(rng.exponential(1 / rate[n], 400))
        times = np.concatenate([[first[n]], first[n] + steps])
        times = np.ceil(times[(times <= gone[n]) & (times <= days)])
        who.append(np.full(len(times), n))
        at.append(times)
    who, at = np.concatenate(who), np.concatenate(at)
    return who, at, rng.gamma(4, mean[who] / 4)


def describe(who, at, amount, users, day):
    """The columns that the smooth models read, as of ``day``."""
    frame = pd.DataFrame(np.nan, index=range(users), columns=list(NAMES))
    past = pd.DataFrame({"who": who, "at": at, "amount": amount})[at <= day].sort_values("at")
    one = past.groupby("who")
    last, first = one["at"].max(), one["at"].min()
    frame["orders_life"] = one["at"].size().reindex(range(users)).fillna(0)
    frame["purchase_days_life"] = one["at"].nunique().reindex(range(users))
    frame["days_since_last_purchase"] = day - last.reindex(range(users))
    frame["days_since_first_purchase"] = day - first.reindex(range(users))
    frame["spend_life"] = one["amount"].sum().reindex(range(users))
    frame["basket_amount_mean"] = one["amount"].mean().reindex(range(users))
    for name, window in (("orders_30d", 30), ("purchase_days_90d", 90), ("orders_180d", 180)):
        frame[name] = past[past["at"] > day - window].groupby("who").size().reindex(range(users)).fillna(0)
    later = pd.DataFrame({"who": who, "at": at})[at > day].groupby("who")["at"].min()
    frame["purchase_wait_days"] = later.reindex(range(users)) - day
    frame["user_id"] = [f"u{n}" for n in range(users)]
    frame["as_of"] = pd.Timestamp("1970-01-01", tz="UTC") + pd.Timedelta(days=FIRST_DAY + day)
    return frame


@pytest.fixture(scope="session")
def customers():
    """Purchases of simulated customers: (users, days, seed) -> who, day, amount of each."""
    return buy


@pytest.fixture(scope="session")
def features():
    """The rows of a training set as of a day: (who, day, amount, users, day) -> frame."""
    return describe
