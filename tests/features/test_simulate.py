"""The simulated shop: what its files hold, and that its truth is the truth."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.stats import poisson
from sklearn.metrics import log_loss, roc_auc_score

from configs.errors import ConfigError, FeatureError
from features.events import COLUMNS, KINDS
from features.simulate import Shop, simulate, true_probability
from features.simulate.filtering import filtered, nothing_happens
from features.simulate.people import draw_people
from features.simulate.process import Process
from features.simulate.truth import LABELS, HiddenSide

END = datetime(2026, 11, 21, tzinfo=UTC)
SHOP = Shop(users=2500, days=300, seed=7, end=END)
OURS = {"register", "impression", "coupon"}  # kinds that need no act of the user on that day

# Two rates of each kind, so that every path of a few days can be written out.
TINY = Process(
    order_rates=(0.1, 0.8),
    visit_rates=(0.2, 1.1),
    visit_weights=(0.3, 0.7),
    fade_rates=(0.25,),
    fade_weights=(1.0,),
    first_order_factor=0.4,
)
TINY_SEASONS = np.array([[1.0, 0.8, 1.3, 1.1, 0.9], [1.0, 0.7, 1.2, 1.0, 1.0], [1.5, 0.9, 1.0, 2.0, 0.5]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("simulated") / "shop", SHOP)


@pytest.fixture(scope="module")
def events(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "events.parquet")


def realised(events: pd.DataFrame, users: pd.Series, label: str, start: datetime, end: datetime) -> NDArray[np.bool_]:
    kinds = set(KINDS) - OURS if label == "inactive" else {"purchase"}
    inside = events[(events["event_at"] > start) & (events["event_at"] <= end) & events["event_type"].isin(kinds)]
    happened = users.isin(inside["user_id"].unique()).to_numpy()
    return ~happened if label == "inactive" else happened


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


# ---- the truth ------------------------------------------------------------------------------------------------------


def paths(days: int) -> itertools.product[tuple[int, ...]]:
    return itertools.product(range(4), repeat=days)


def tiny_rates(order: float, visit: float, state: int, day: int, has_bought: bool) -> tuple[float, float, float]:
    browse = visit * (0.9, 2.5, 0.15, 0.0)[state] * TINY_SEASONS[0, day]
    basket = visit * (0.08, 0.6, 0.02, 0.0)[state] * TINY_SEASONS[1, day]
    bought = order * (0.6, 4.0, 0.08, 0.0)[state] * TINY_SEASONS[2, day] * (1.0 if has_bought else 0.4)
    return browse, basket, bought


def tiny_step(state: int, to: int) -> float:
    table = (
        (1 - 0.03 - 0.25, 0.03, 0.25, 0.0),
        (0.2, 0.8, 0.0, 0.0),
        (0.03, 0.0, 1 - 0.03 - 0.025, 0.025),
        (0.0, 0.0, 0.0, 1.0),
    )
    return table[state][to]


def tiny_classes() -> list[tuple[float, float, float]]:
    return [(order, visit, 0.5 * w) for order in (0.1, 0.8) for visit, w in ((0.2, 0.3), (1.1, 0.7))]


@pytest.mark.parametrize("first_day", [0, 1])
def test_the_filter_equals_the_sum_over_all_paths(first_day: int) -> None:
    # counts of days 0..3: (browses, baskets, orders); the user orders for the first time on day 2
    seen = [(1, 0, 0), (0, 0, 0), (2, 1, 1), (0, 0, 2)]
    if first_day:
        seen[0] = (0, 0, 0)
    rows = [(0, day, *counts) for day, counts in enumerate(seen) if any(counts)]
    counts = pd.DataFrame(rows, columns=["user", "day", "browses", "baskets", "orders"])
    answer = filtered(TINY, TINY_SEASONS, np.array([first_day]), counts, [2, 4])
    for until in (2, 4):
        expected = np.zeros((4, 4))
        for k, (order, visit, prior) in enumerate(tiny_classes()):
            for path in paths(until - first_day + 1):  # the states of days first_day..until
                p = prior * (0.7, 0.3, 0.0, 0.0)[path[0]]
                has_bought = False
                for day, (state, to) in enumerate(itertools.pairwise(path), start=first_day):
                    rates = tiny_rates(order, visit, state, day, has_bought)
                    p *= float(np.prod(poisson.pmf(seen[day], rates))) * tiny_step(state, to)
                    has_bought |= seen[day][2] > 0
                expected[k, path[-1]] += p
        belief, bought = answer[until]
        np.testing.assert_allclose(belief[0], expected / expected.sum(), rtol=1e-10)
        assert bought.tolist() == [until == 4]


@pytest.mark.parametrize("wait", [0, 2])
@pytest.mark.parametrize("orders_only", [False, True])
def test_the_outlook_equals_the_sum_over_all_paths(wait: int, orders_only: bool) -> None:
    which = (not orders_only, not orders_only, True)
    answer = nothing_happens(TINY, TINY_SEASONS[:, :4], which, wait)
    for bought, (k, (order, visit, _)), start in itertools.product((0, 1), enumerate(tiny_classes()), range(4)):
        expected = 0.0
        for path in paths(3):
            states, p = (start, *path), 1.0
            for state, to in itertools.pairwise(states):
                p *= tiny_step(state, to)
            for day in range(wait, 4):
                rates = tiny_rates(order, visit, states[day], day, bool(bought))
                p *= np.exp(-rates[2] if orders_only else -sum(rates))
            expected += p
        assert answer[bought, k, start] == pytest.approx(expected, rel=1e-10)


def test_the_events_say_exactly_what_the_process_drew(folder: Path) -> None:
    stream = np.random.default_rng(np.random.SeedSequence(SHOP.seed).spawn(6)[0])
    seasons = SHOP.process.seasons(SHOP.first.date(), SHOP.days)
    people = draw_people(SHOP.process, seasons, SHOP.users, stream)
    counts = HiddenSide(folder).counts(END)
    drawn = np.zeros_like(people.counts)
    number = counts["user_id"].str[1:].astype(int).to_numpy() - 1
    drawn[:, number, counts["day"]] = counts[["browses", "baskets", "orders"]].to_numpy().T
    np.testing.assert_array_equal(drawn, people.counts)


QUESTIONS = [
    ("inactive", 14),
    ("inactive", 60),
    ("repurchase", 30),
    ("repurchase_next_month", None),
    ("first_order", 30),
]


@pytest.mark.parametrize("given", ["events", "state"])
@pytest.mark.parametrize("back", [90, 120])
def test_the_truth_is_calibrated(folder: Path, events: pd.DataFrame, back: int, given: str) -> None:
    as_of = END - timedelta(days=back)
    for label, horizon in QUESTIONS:
        answer = true_probability(folder, as_of, label, horizon, given=given)  # type: ignore[arg-type]
        p = answer["p"].to_numpy()
        start, end = as_of, as_of + timedelta(days=horizon or 0)
        if horizon is None:  # 2026-08-23 -> September; 2026-07-24 -> August
            start = datetime(2026, as_of.month + 1, 1, tzinfo=UTC)
            end = datetime(2026, as_of.month + 2, 1, tzinfo=UTC)
        y = realised(events, answer["user_id"], label, start, end)
        # Overall and in each fifth of the predictions, within 4 standard errors of a sum of independent trials.
        fifth = np.minimum(np.argsort(np.argsort(p)) * 5 // len(p), 4)
        for part in [np.full(len(p), True), *(fifth == k for k in range(5))]:
            error = np.sqrt((p[part] * (1 - p[part])).sum()) + 1e-9
            assert abs((y[part] - p[part]).sum()) < 4 * error + 0.5, (label, horizon, y[part].mean(), p[part].mean())
        assert log_loss(y, p.clip(1e-12, 1 - 1e-12)) < 0.9 * log_loss(y, np.full(len(y), y.mean()))
        assert roc_auc_score(y, p) > 0.72


def test_who_sees_the_state_knows_more(folder: Path, events: pd.DataFrame) -> None:
    as_of = END - timedelta(days=90)
    losses = {}
    for given in ("events", "state"):
        answer = true_probability(folder, as_of, "inactive", 30, given=given)  # type: ignore[arg-type]
        y = realised(events, answer["user_id"], "inactive", as_of, as_of + timedelta(days=30))
        losses[given] = log_loss(y, answer["p"].clip(1e-12, 1 - 1e-12))
    assert losses["state"] < 0.8 * losses["events"]


def test_nothing_else_in_the_events_improves_the_truth(folder: Path, events: pd.DataFrame) -> None:
    # If categories, prices, returns, ... told more about the future than the filter uses, what the truth leaves
    # unexplained would be correlated with them.
    as_of = END - timedelta(days=90)
    past = events[events["event_at"] <= as_of]
    recent = past[past["event_at"] > as_of - timedelta(days=30)]
    tables = {
        f"{kind}_{name}": frame[frame["event_type"] == kind]
        for kind in KINDS
        for name, frame in (("all", past), ("30d", recent))
    }
    tables |= {f"{c}_seen": past[past["category_id"] == c] for c in ("groceries", "cosmetics", "electronics")}
    tables |= {"store": past[past["channel"] == "store"], "big": past[past["amount"] > 100]}
    signals = {name: frame.groupby("user_id").size() for name, frame in tables.items() if "register" not in name}
    signals["recency"] = (as_of - past.groupby("user_id")["event_at"].max()).dt.total_seconds()
    signals["lines"] = past.groupby("user_id")["order_id"].count() / past.groupby("user_id")["order_id"].nunique()
    for label, horizon in (("inactive", 30), ("repurchase", 30)):
        answer = true_probability(folder, as_of, label, horizon)
        p = answer["p"].to_numpy()
        y = realised(events, answer["user_id"], label, as_of, as_of + timedelta(days=horizon))
        for name, signal in signals.items():
            x = np.log1p(signal.reindex(answer["user_id"]).fillna(0.0).to_numpy())
            x -= x.mean()
            z = ((y - p) * x).sum() / np.sqrt((p * (1 - p) * x**2).sum())
            assert abs(z) < 4, (label, name, z)


def test_playing_the_future_many_times_gives_the_same_share(folder: Path) -> None:
    # Another road to the same number: draw class and state from the belief, then day by day with plain draws.
    as_of, horizon, plays = END - timedelta(days=45), 20, 4000
    truth = HiddenSide(folder)
    day = (as_of - SHOP.first).days
    belief, bought = truth.belief(as_of, day, "events")
    seasons = SHOP.process.seasons(SHOP.first.date(), day + horizon)
    rng = np.random.default_rng(3)
    inactive = true_probability(folder, as_of, "inactive", horizon).set_index("user_id")["p"]
    names = truth.users["user_id"]
    middling = [k for k in range(len(bought)) if 0.1 < inactive[names[k]] < 0.9]
    for user in [*middling[:2], *middling[-2:]]:
        cell = rng.choice(belief[user].size, size=plays, p=belief[user].reshape(-1))
        kind, state = cell // 4, cell % 4
        quiet, orders, had = np.full(plays, True), np.zeros(plays), np.full(plays, bool(bought[user]))
        for k in range(day, day + horizon):
            rates = SHOP.process.intensities[:, kind, state] * seasons[:, k, None]
            rates[2] *= np.where(had, 1.0, SHOP.process.first_order_factor)
            counts = rng.poisson(rates)
            quiet &= counts.sum(axis=0) == 0
            orders += counts[2]
            had |= counts[2] > 0
            roll = rng.random(plays)[:, None]
            state = (roll > SHOP.process.transitions[kind, state].cumsum(axis=1)[:, :3]).sum(axis=1)
        label = "repurchase" if bought[user] else "first_order"
        buys = true_probability(folder, as_of, label, horizon).set_index("user_id")["p"]
        for p, share in ((inactive[names[user]], quiet.mean()), (buys[names[user]], (orders > 0).mean())):
            assert abs(p - share) < 4 * np.sqrt(p * (1 - p) / plays) + 1e-6


def test_the_truth_does_not_see_the_future(folder: Path, events: pd.DataFrame, tmp_path: Path) -> None:
    as_of = END - timedelta(days=200)
    shutil.copytree(folder, tmp_path / "cut")
    events[events["event_at"] <= as_of].to_parquet(tmp_path / "cut" / "events.parquet")
    for label in ("inactive", "repurchase"):
        whole = true_probability(folder, as_of, label, 30)
        pd.testing.assert_frame_equal(whole, true_probability(tmp_path / "cut", as_of, label, 30))


def test_the_populations_are_those_of_the_labels(folder: Path, events: pd.DataFrame) -> None:
    as_of = END - timedelta(days=90)
    known = set(events.loc[events["event_at"] <= as_of, "user_id"])
    buyers = set(events.loc[(events["event_at"] <= as_of) & (events["event_type"] == "purchase"), "user_id"])
    asked = {label: set(true_probability(folder, as_of, label, 30)["user_id"]) for label in LABELS}
    assert asked["inactive"] == known
    assert asked["repurchase"] == asked["repurchase_next_month"] == buyers
    assert asked["first_order"] == known - buyers


def test_longer_horizons_are_surer(folder: Path) -> None:
    inactive, again = (
        [true_probability(folder, END - timedelta(days=90), label, days)["p"].to_numpy() for days in (1, 14, 30, 90)]
        for label in ("inactive", "repurchase")
    )
    assert all((a > b - 1e-12).all() for a, b in itertools.pairwise(inactive))
    assert all((a < b + 1e-12).all() for a, b in itertools.pairwise(again))


def test_questions_without_an_answer_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="midnight"):
        true_probability(folder, END - timedelta(hours=5), "inactive", 30)
    with pytest.raises(FeatureError, match="midnight"):
        true_probability(folder, SHOP.first, "inactive", 30)
    with pytest.raises(FeatureError, match="no such label"):
        true_probability(folder, END, "joy", 30)
    with pytest.raises(FeatureError, match="whole days"):
        true_probability(folder, END, "inactive", 7.5)
    with pytest.raises(FeatureError, match="no simulated shop"):
        true_probability(tmp_path, END, "inactive", 30)
    with pytest.raises(FeatureError, match="given"):
        true_probability(folder, END, "inactive", 30, given="luck")  # type: ignore[arg-type]
