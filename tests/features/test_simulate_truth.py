"""The simulated shop's truth is the truth: by enumeration, by calibration, by replay."""

from __future__ import annotations

import itertools
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import poisson
from sklearn.metrics import log_loss, roc_auc_score

from configs.errors import FeatureError
from features.events import KINDS
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
    start=(0.7, 0.3, 0.0, 0.0),
    to_shopping=0.03,
    shopping_over=0.2,
    back_from_fading=0.03,
    fading_over=0.025,
    order_by_state=(0.6, 4.0, 0.08, 0.0),
    visit_by_state=(0.9, 2.5, 0.15, 0.0),
    basket_by_state=(0.08, 0.6, 0.02, 0.0),
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
