"""The simulated shop: what its files hold and how its customers behave."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from configs.errors import ConfigError
from features.events import COLUMNS, KINDS
from features.simulate import Shop, simulate

END = datetime(2026, 11, 21, tzinfo=UTC)
SHOP = Shop(users=2500, days=300, seed=7, end=END)
OURS = {"register", "impression", "coupon"}  # kinds that need no act of the user on that day


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("simulated") / "shop", SHOP)


@pytest.fixture(scope="module")
def events(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "events.parquet")


# ---- the files ------------------------------------------------------------------------------------------------------


def test_files_have_the_columns_and_types_of_the_event_tuple(folder: Path) -> None:
    schema = pq.read_schema(folder / "events.parquet")
    assert schema.names == [name for name in COLUMNS if name != "event_id"]
    wanted = {"string": "string", "float64": "double", "timestamp('UTC', 6)": "timestamp[us, tz=UTC]"}
    assert {name: str(schema.field(name).type) for name in schema.names} == {
        name: wanted[kind] for name, kind in COLUMNS.items() if name != "event_id"
    }
    names = {path.stem: pq.read_schema(path).names for path in folder.glob("*.parquet")}
    assert names["users"] == ["user_id", "registered_at", "city", "source_channel"]
    assert names["stores"] == ["store_id", "city"]
    assert names["items"] == [
        *("item_id", "category_id", "name", "price", "margin", "stock", "is_slow_moving", "valid_from", "valid_to")
    ]
    assert str(pq.read_schema(folder / "users.parquet").field("registered_at").type) == "timestamp[us, tz=UTC]"


def test_every_kind_happens_and_every_code_is_known(folder: Path, events: pd.DataFrame) -> None:
    assert set(events["event_type"]) == set(KINDS)
    users, items, stores = (pd.read_parquet(folder / f"{name}.parquet") for name in ("users", "items", "stores"))
    assert len(items) == 400
    assert len(stores) == 10
    assert users["user_id"].is_unique
    assert set(events["user_id"]) == set(users["user_id"])  # everybody registers, so everybody has an event
    of_item = events.dropna(subset="item_id")
    category = of_item["item_id"].map(items.set_index("item_id")["category_id"])
    assert (category == of_item["category_id"]).all()
    assert set(events["store_id"].dropna()) == set(stores["store_id"])
    visited = events[~events["event_type"].isin(OURS)]  # a redeemed coupon knows its store, a sent one has none
    assert ((visited["channel"] == "store") == visited["store_id"].notna()).all()
    online = visited["event_type"].isin({"view", "search", "cart", "click"})
    assert not (visited.loc[online, "channel"] == "store").any()
    assert {*events["props"].dropna().map(lambda text: next(iter(json.loads(text))))} == {
        *("offer", "query", "topic", "discount", "action", "score")
    }


def test_times_are_in_order(folder: Path, events: pd.DataFrame) -> None:
    first = pd.Timestamp(SHOP.first)
    assert events["event_at"].is_monotonic_increasing
    assert events["event_at"].between(first, pd.Timestamp(END), inclusive="neither").all()
    assert (events["ingested_at"] >= events["event_at"]).all()
    assert events["ingested_at"].max() <= pd.Timestamp(END)
    hours = (events["ingested_at"] - events["event_at"]).dt.total_seconds() / 3600
    assert hours.median() < 0.1
    assert 0.01 < (hours > 2).mean() < 0.05
    registered = pd.read_parquet(folder / "users.parquet").set_index("user_id")["registered_at"]
    own = events.groupby("user_id")["event_at"].min()
    assert (own == registered.loc[own.index]).all()


def test_lines_are_priced_and_on_sale(folder: Path, events: pd.DataFrame) -> None:
    lines = events[events["event_type"] == "purchase"].merge(
        pd.read_parquet(folder / "items.parquet"), on=["item_id", "category_id"]
    )
    discount = lines["props"].map(lambda text: json.loads(text)["discount"], na_action="ignore").fillna(0.0)
    assert np.allclose(lines["amount"] + discount.astype(float), lines["price"] * lines["quantity"], atol=0.011)
    assert 0.2 < (discount > 0).mean() < 0.5
    assert (lines["valid_from"] <= lines["event_at"]).all()
    assert (lines["valid_to"].isna() | (lines["event_at"] < lines["valid_to"])).all()
    assert not lines.duplicated(["order_id", "item_id"]).any()
    assert lines.groupby("order_id")["user_id"].nunique().max() == 1
    slow = lines["is_slow_moving"].mean()
    assert 0 < slow < 0.15


def test_nothing_is_returned_that_was_not_bought(events: pd.DataFrame) -> None:
    keys = ["user_id", "order_id", "item_id", "quantity", "amount"]
    returns, bought = (events[events["event_type"] == kind] for kind in ("return", "purchase"))
    both = returns.merge(bought, on=keys, suffixes=("", "_bought"))
    assert len(both) == len(returns) > 100
    assert not returns.duplicated(keys[:3]).any()
    assert (both["event_at"] - both["event_at_bought"] >= timedelta(hours=23)).all()


def test_users_act_only_during_visits(events: pd.DataFrame) -> None:
    # So "no activity" means the same whichever of these kinds a label counts.
    acts = events[~events["event_type"].isin(OURS)]
    day = acts["event_at"].dt.floor("D")
    visited = acts["event_type"].eq("visit").groupby([acts["user_id"], day]).any()
    assert visited.all()


def test_the_same_shop_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def digests(name: str, shop: Shop) -> dict[str, str]:
        folder = simulate(tmp_path / name, shop)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    small = Shop(users=60, days=50, end=END)
    once = digests("once", small)
    assert digests("twice", small) == once
    other = digests("other", Shop(users=60, days=50, end=END, seed=1))
    assert other["events.parquet"] != once["events.parquet"]
    earlier = digests("earlier", Shop(users=60, days=50, end=END - timedelta(days=1)))
    assert earlier["events.parquet"] != once["events.parquet"]


def test_the_clock_says_when_the_shop_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USEROPS_NOW", "2024-03-08T15:30:00+00:00")
    assert Shop(days=7).last == datetime(2024, 3, 8, tzinfo=UTC)
    with pytest.raises(ConfigError, match="midnight"):
        Shop(end=datetime(2024, 3, 8, 1, tzinfo=UTC))
    with pytest.raises(ConfigError, match="users and days"):
        Shop(users=0)


def test_a_shop_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    small = Shop(users=30, days=30, end=END)
    folder = simulate(tmp_path / "shop", small)
    before = (folder / "events.parquet").read_bytes()

    def crash(what: str, share: float) -> None:
        if what == "files":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(folder, Shop(users=40, days=30, end=END), progress=crash)
    assert (folder / "events.parquet").read_bytes() == before
    simulate(folder, Shop(users=40, days=30, end=END))
    assert (folder / "events.parquet").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(ConfigError, match="holds no simulated shop"):
        simulate(tmp_path, Shop(users=10, days=10, end=END))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# ---- the behaviour --------------------------------------------------------------------------------------------------


def test_some_never_buy_and_some_leave(events: pd.DataFrame) -> None:
    buyers = events.loc[events["event_type"] == "purchase", "user_id"].nunique()
    assert 0.6 < buyers / SHOP.users < 0.9
    acts = events[~events["event_type"].isin(OURS)]
    silent = pd.Timestamp(END) - acts.groupby("user_id")["event_at"].max() > timedelta(days=60)
    assert 0.15 < silent.mean() < 0.6


def test_week_and_sales_are_seen(events: pd.DataFrame) -> None:
    orders = events[events["event_type"] == "purchase"].drop_duplicates("order_id")
    by_day = orders.groupby(orders["event_at"].dt.floor("D")).size()
    saturday, tuesday = (by_day[by_day.index.dayofweek == k].iloc[10:].mean() for k in (5, 1))
    assert saturday > 1.25 * tuesday
    sale, usual = by_day["2026-11-09":"2026-11-12"].mean(), by_day["2026-10-05":"2026-10-25"].mean()  # type: ignore[misc]
    assert sale > 1.6 * usual


def test_categories_return_at_their_intervals(folder: Path, events: pd.DataFrame) -> None:
    # Only for users whose orders are frequent enough to show the interval.
    intervals = pd.read_parquet(folder / "truth" / "categories.parquet").set_index("category_id")["interval_days"]
    lines = events[events["event_type"] == "purchase"].sort_values(["user_id", "category_id", "event_at"])
    span = lines.groupby("user_id")["event_at"].agg(np.ptp).dt.days / lines.groupby("user_id")["order_id"].nunique()
    gap = lines.groupby(["user_id", "category_id"])["event_at"].diff().dt.total_seconds() / 86400
    shown = lines["user_id"].map(span) * 3 < lines["category_id"].map(intervals)
    middle = gap[shown].groupby(lines["category_id"]).median()
    for category, days in intervals[(intervals >= 20) & (intervals <= 100)].items():
        assert 0.75 * days < middle[category] < 1.5 * days, category


def test_tastes_drift_and_purchases_follow(folder: Path, events: pd.DataFrame) -> None:
    tastes = pd.read_parquet(folder / "truth" / "tastes.parquet").set_index(["user_id", "category_id"])
    assert np.allclose(tastes.groupby("user_id").sum(), 1.0)
    lines = events[events["event_type"] == "purchase"]
    part = (lines["event_at"] - pd.Timestamp(SHOP.first)) / timedelta(days=SHOP.days)
    taste = tastes.reindex(pd.MultiIndex.from_frame(lines[["user_id", "category_id"]]))
    early, late = taste[(part < 0.3).to_numpy()].mean(), taste[(part > 0.7).to_numpy()].mean()
    assert early["first"] / early["last"] > 1.25 * late["first"] / late["last"]
