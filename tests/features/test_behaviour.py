"""Every user feature against plain Python, on histories made to sit on the ends of the windows."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.behaviour.facts import WINDOWS
from features.behaviour.user import snapshots_arrow, user_features, user_vectors
from features.catalog import NAMES, USER_FEATURES
from features.events import COLUMNS
from features.tiles import clock_of, cut

AS_OFS = {
    "midnight": datetime(2011, 9, 10, tzinfo=UTC),
    "odd": datetime(2012, 2, 29, 7, 59, 30, 250_001, tzinfo=UTC),
}
DAY = timedelta(days=1)
INTEREST = {"view": 1, "search": 1, "click": 2, "cart": 3, "purchase": 5}
CHANNELS = ("app", "web", "store", "wecom")
SCHEMA = pa.schema(
    [
        (
            name,
            pa.timestamp("us", tz="UTC") if name.endswith("_at") else pa.float64() if "float" in kind else pa.string(),
        )
        for name, kind in COLUMNS.items()
    ]
)


# ---------------------------------------------------------------------------------------------------- the oracle
def oracle(events: list[dict[str, Any]], as_of: datetime) -> dict[str, dict[str, float | None]]:
    """user_id -> every feature, computed from the definition with no regard to speed."""
    known = [e | {"age": as_of - e["event_at"]} for e in events if e["event_at"] <= as_of]
    users = {e["user_id"] for e in known}
    return {user: _vector([e for e in known if e["user_id"] == user], _shop(known), as_of) for user in users}


def _orders(lines: list[dict[str, Any]]) -> list[timedelta]:
    """The age of each order: that of its first line."""
    first: dict[Any, timedelta] = {}
    for e in lines:
        key = (e["user_id"], e["order_id"] or e["event_at"])
        first[key] = max(first.get(key, e["age"]), e["age"])
    return list(first.values())


def _shop(known: list[dict[str, Any]]) -> dict[str, Any]:
    lines = [e for e in known if e["event_type"] == "purchase"]
    last: dict[str, timedelta] = {}
    for e in lines:
        last[e["user_id"]] = min(last.get(e["user_id"], e["age"]), e["age"])
    orders = _orders(lines)
    has = {e["event_type"] for e in known}
    active = [e for e in known if e["event_type"] not in ("register", "coupon", "impression")]
    has |= {"activity" for _ in active} | {"channel" for e in active if e["channel"]}
    has |= {"clock" for e in active if e["event_at"].timetuple()[3:6] != (0, 0, 0) or e["event_at"].microsecond}
    has |= {"amount" for e in lines if e["amount"] is not None} | {
        "quantity" for e in lines if e["quantity"] is not None
    }
    has |= {"item" for e in lines if e["item_id"]} | {"discount" for e in lines if e["props"]}
    has |= {"category" for e in known if e["category_id"] and e["event_type"] in INTEREST}
    history = max(e["age"] // DAY for e in known) + 1
    season = sum(275 * DAY <= age < 365 * DAY for age in orders), sum(365 * DAY <= age < 455 * DAY for age in orders)
    return {
        "has": has,
        "history": history,
        "season_index": season[0] / season[1] if history >= 455 and season[1] else None,
        **{f"buyers_{w}": sum(a < w * DAY for a in last.values()) / len(last) if last else None for w in (30, 90)},
    }


def _vector(mine: list[dict[str, Any]], shop: dict[str, Any], as_of: datetime) -> dict[str, float | None]:
    def within(events: list[dict[str, Any]], window: int | None) -> list[dict[str, Any]]:
        return [e for e in events if window is None or as_of - window * DAY < e["event_at"]]

    def of(*kinds: str) -> list[dict[str, Any]]:
        return [e for e in mine if e["event_type"] in kinds]

    def total(events: list[dict[str, Any]], what: str) -> float:
        return math.fsum(e[what] or 0 for e in events)

    def ratio(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    def last(events: list[dict[str, Any]]) -> float | None:
        return min((e["age"] / DAY for e in events), default=None)

    lines, returns = of("purchase"), of("return")
    active = [e for e in mine if e["event_type"] not in ("register", "coupon", "impression")]
    orders, need = _orders(lines), shop["has"]
    buying_days = sorted({e["age"] // DAY for e in lines}, reverse=True)
    gaps = [a - b for a, b in itertools.pairwise(buying_days)]
    active_days = sorted({e["age"] // DAY for e in active})
    tenure = max(e["age"] / DAY for e in mine)
    first_purchase = max((e["age"] / DAY for e in lines), default=None)
    out: dict[str, float | None] = {}

    def put(name: str, value: float | None, *needs: str) -> None:
        out[name] = value if set(needs) <= need else None

    for what, events in {
        "purchase": lines, "activity": active, "visit": of("visit"), "view": of("view"), "cart": of("cart"),
        "return": returns,
    }.items():  # fmt: skip
        age = last(events)
        whole = what in ("visit", "view", "cart") and age is not None
        put(f"days_since_last_{what}", math.floor(age) if whole else age, what)  # type: ignore[arg-type]
    for w in (7, 14, 30, 60, 90, 180, 365, None):
        name = "life" if w is None else f"{w}d"
        age = timedelta.max if w is None else w * DAY
        put(f"orders_{name}", sum(a < age for a in orders), "purchase")
        put(f"spend_{name}", total(within(lines, w), "amount"), "purchase", "amount")
        put(f"purchase_days_{name}", sum(w is None or d < w for d in buying_days), "purchase")
        put(f"active_days_{name}", sum(w is None or d < w for d in active_days), "activity")
        for kind, plural in {
            "visit": "visits", "view": "views", "search": "searches", "cart": "carts", "click": "clicks",
            "contact": "contacts", "return": "returns",
        }.items():  # fmt: skip
            put(f"{plural}_{name}", len(within(of(kind), w)), kind)
    put("purchase_gap_mean_days", statistics.mean(gaps) if gaps else None, "purchase")
    put("purchase_gap_median_days", statistics.median(gaps) if gaps else None, "purchase")
    put("purchase_gap_sd_days", statistics.stdev(gaps) if len(gaps) > 1 else None, "purchase")
    put("purchase_gap_last_days", gaps[-1] if gaps else None, "purchase")
    put("purchase_gap_ratio", last(lines) / statistics.mean(gaps) if gaps else None, "purchase")  # type: ignore[operator]
    put("orders_per_day", (len(orders) + 1) / (tenure + 30), "purchase")
    put("recency_of_tenure", ratio(last(lines) or 0, tenure) if lines else None, "purchase")
    put("orders_trend_90d", ratio(sum(a < 90 * DAY for a in orders), sum(a < 180 * DAY for a in orders)), "purchase")
    put(
        "spend_trend_90d",
        ratio(total(within(lines, 90), "amount"), total(within(lines, 180), "amount")),
        "purchase",
        "amount",
    )
    put("active_days_trend_30d", ratio(sum(d < 30 for d in active_days), sum(d < 60 for d in active_days)), "activity")
    put("views_trend_30d", ratio(len(within(of("view"), 30)), len(within(of("view"), 60))), "view")
    mean_gap = (active_days[-1] - active_days[0]) / (len(active_days) - 1) if len(active_days) > 1 else None
    put("activity_gap_ratio", last(active) / mean_gap if mean_gap else None, "activity")  # type: ignore[operator]
    # the basket
    spend = total(lines, "amount")
    newest = [e for e in lines if e["age"] // DAY == buying_days[-1]]
    put("basket_amount_mean", ratio(spend, len(orders)), "purchase", "amount")
    put("basket_amount_last", total(newest, "amount") if lines else None, "purchase", "amount")
    put("basket_lines_mean", ratio(len(lines), len(orders)), "purchase")
    put("piece_price_mean", ratio(spend, total(lines, "quantity")), "purchase", "amount", "quantity")
    off = math.fsum(json.loads(e["props"])["discount"] for e in within(lines, 365) if e["props"])
    put("discount_share_365d", ratio(off, off + total(within(lines, 365), "amount")), "purchase", "amount", "discount")
    put("return_share_life", ratio(total(returns, "amount"), spend), "purchase", "amount", "return")
    # taste
    first: dict[str, timedelta] = {}
    for e in lines:
        if e["item_id"]:
            first[e["item_id"]] = max(first.get(e["item_id"], e["age"]), e["age"])
    put("items_life", len(first), "purchase", "item")
    put("new_items_365d", sum(a < 365 * DAY for a in first.values()), "purchase", "item")
    itemised = [e["item_id"] for e in lines if e["item_id"]]
    put("item_repeat_share", 1 - len(set(itemised)) / len(itemised) if itemised else None, "purchase", "item")
    shown = [e for e in mine if e["category_id"] and e["event_type"] in INTEREST]
    put("categories_90d", len({e["category_id"] for e in within(shown, 90)}), "category")
    interest: dict[str, float] = {}
    for e in within(shown, 180):
        decayed = INTEREST[e["event_type"]] * 0.5 ** ((e["age"] // DAY) / 30)
        interest[e["category_id"]] = interest.get(e["category_id"], 0) + decayed
    shares = sorted((x / sum(interest.values()) for x in interest.values()), reverse=True)
    put("affinity_top_share", shares[0] if shares else None, "category")
    put("affinity_second_share", (shares[1] if len(shares) > 1 else 0) if shares else None, "category")
    put("affinity_entropy", -sum(p * math.log(p) for p in shares) if shares else None, "category")
    # habits
    year, half = within(active, 365), [e for e in within(active, 180) if e["channel"]]
    for name, hours in {"morning": range(6, 12), "evening": range(18, 24)}.items():
        put(f"{name}_share_365d", ratio(sum(e["event_at"].hour in hours for e in year), len(year)), "clock")
    put("weekend_share_365d", ratio(sum(e["event_at"].isoweekday() > 5 for e in year), len(year)), "activity")
    for c in CHANNELS:
        put(f"{c}_share_180d", ratio(sum(e["channel"] == c for e in half), len(half)), "channel")
    put("channels_180d", len({e["channel"] if e["channel"] in CHANNELS else "other" for e in half}), "channel")
    # tenure, calendar, season
    put("tenure_days", tenure)
    put("days_since_first_purchase", first_purchase, "purchase")
    put("days_to_first_purchase", tenure - first_purchase if first_purchase is not None else None, "purchase")
    angle = 2 * math.pi * (as_of - datetime(as_of.year, 1, 1, tzinfo=UTC)).total_seconds() / 86400 / 365.2425
    put("year_sin", math.sin(angle))
    put("year_cos", math.cos(angle))
    month_end = datetime(as_of.year + as_of.month // 12, as_of.month % 12 + 1, 1, tzinfo=UTC)
    put("days_to_month_end", (month_end - as_of) / DAY)
    season = sum(275 * DAY <= age < 365 * DAY for age in orders)
    put("orders_same_season_last_year", season if shop["history"] >= 365 else None, "purchase")
    put("season_index", shop["season_index"], "purchase")
    put("buyers_share_30d", shop["buyers_30"], "purchase")
    put("buyers_share_90d", shop["buyers_90"], "purchase")
    return {name: out[name] for name in NAMES}


# ------------------------------------------------------------------------------------------------- the histories
KINDS = ("purchase", "purchase", "purchase", "return", "visit", "view", "view", "cart", "search", "click", "contact",
         "register", "coupon", "impression", "survey")  # fmt: skip
EDGES = [0, 1, *WINDOWS]


@st.composite
def histories(draw: st.DrawFn, as_of: datetime) -> list[dict[str, Any]]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=10))
    full = draw(st.booleans())  # whether the source knows channels, categories, amounts, ... at all
    edge = st.builds(lambda d, us: d * DAY + timedelta(microseconds=us), st.sampled_from(EDGES), st.integers(-1, 1))
    ages = st.one_of(edge, st.builds(lambda h: timedelta(hours=h), st.integers(-48, 800 * 24)))

    def maybe(*values: Any) -> st.SearchStrategy[Any]:
        return st.sampled_from((None, *values)) if full else st.none()

    line = st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["u1", "u2", "u3", "ü4"]),
            "event_type": st.sampled_from(kinds),
            "event_at": ages.map(lambda age: as_of - age),
            "channel": maybe(*CHANNELS, "kiosk", "mini"),
            "category_id": maybe("c1", "c2", "c3"),
            "item_id": maybe("i1", "i2", "i3"),
            "store_id": maybe("s1"),
            "order_id": maybe("o1", "o2", "o3"),
            "quantity": maybe(0.0, 1.0, 2.5),
            "amount": maybe(0.0, 0.01, 9.99, 120.0),
            "props": maybe('{"discount": 1.5}', '{"discount": 0, "note": "x"}'),
        }
    )
    events = draw(st.lists(line, min_size=1, max_size=40))
    for number, event in enumerate(events):
        if event["event_type"] not in ("purchase", "return"):
            event |= {"order_id": None, "quantity": None, "amount": None, "props": None}
        event |= {"event_id": str(number), "ingested_at": event["event_at"]}
    return events


@pytest.fixture(scope="module", params=sorted(AS_OFS))
def engine(request: pytest.FixtureRequest) -> tuple[datetime, Callable[..., dict[Any, dict[str, Any]]]]:
    """An instant, and a query compiled once that gives (user_id, as_of) -> vector for any events."""
    as_of = AS_OFS[request.param]
    connection = ibis.duckdb.connect(threads=2)
    connection.raw_sql("SET TimeZone = 'UTC'")
    connection.con.register("events", pa.Table.from_pylist([], SCHEMA))
    connection.con.register("snapshot", snapshots_arrow([as_of]))
    tiles = cut(connection.table("events"), clock_of(as_of))
    query = connection.compile(user_vectors(tiles, connection.table("snapshot")))

    def run(events: list[dict[str, Any]], *as_ofs: datetime) -> dict[Any, dict[str, Any]]:
        connection.con.register("events", pa.Table.from_pylist(events, SCHEMA))
        connection.con.register("snapshot", snapshots_arrow(list(as_ofs)))
        rows = connection.con.execute(query).to_arrow_table().to_pylist()
        assert len({(r["user_id"], r["as_of"]) for r in rows}) == len(rows)
        return {(r.pop("user_id"), r.pop("as_of")): r for r in rows}

    return as_of, run


def assert_equal(got: dict[str, Any], expected: dict[str, Any], where: object) -> None:
    assert list(got) == list(NAMES)
    for name in NAMES:
        # Decayed interest is held in whole 2^-20 of a view.
        tolerance = 1e-4 if name.startswith("affinity") else 1e-9
        wanted = None if expected[name] is None else pytest.approx(expected[name], rel=tolerance, abs=tolerance)
        assert got[name] == wanted, (name, where)


def assert_in_range(vector: dict[str, Any]) -> None:
    for feature in USER_FEATURES:
        value = vector[feature.name]
        if value is not None:
            assert math.isfinite(value)
            assert feature.low is None or value >= feature.low - 1e-12, feature.name
            assert feature.high is None or value <= feature.high + 1e-12, feature.name


# ----------------------------------------------------------------------------------------------------- the tests
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_feature_equals_plain_python_and_stays_in_its_declared_range(engine: Any, data: st.DataObject) -> None:
    as_of, run = engine
    events = data.draw(histories(as_of))
    as_ofs = [as_of, as_of - 7 * DAY, as_of - 400 * DAY]
    got = run(events, *as_ofs)
    expected = {(user, at): vector for at in as_ofs for user, vector in oracle(events, at).items()}
    assert set(got) == set(expected)
    for key, vector in expected.items():
        assert_equal(got[key], vector, key)
        assert_in_range(got[key])


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_happens_after_as_of_changes_nothing_at_as_of(engine: Any, data: st.DataObject) -> None:
    as_of, run = engine
    events = data.draw(histories(as_of))
    later = [e | {"event_at": as_of + abs(as_of - e["event_at"]) + timedelta(microseconds=1)} for e in events]
    more = data.draw(st.lists(st.sampled_from(later), max_size=30))
    assert run(events + more, as_of) == run([e for e in events if e["event_at"] <= as_of], as_of)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_snapshots_at_once_equal_one_by_one(engine: Any, data: st.DataObject) -> None:
    as_of, run = engine
    events = data.draw(histories(as_of))
    as_ofs = [as_of - k * DAY for k in (0, 6, 365)]
    assert run(events, *as_ofs) == {key: row for at in as_ofs for key, row in run(events, at).items()}


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_order_of_the_rows_changes_nothing(engine: Any, data: st.DataObject) -> None:
    as_of, run = engine
    events = data.draw(histories(as_of))
    assert run(data.draw(st.permutations(events)), as_of) == run(events, as_of)


def _event(as_of: datetime, kind: str, days: float = 1.0, **columns: Any) -> dict[str, Any]:
    at = as_of - timedelta(days=days)
    return {"user_id": "u", "event_type": kind, "event_at": at, "ingested_at": at, "event_id": "x", **columns}


def test_an_entropy_near_0_keeps_its_digits(engine: Any) -> None:
    """Of one category it is 0, not a hair beside it; of next to one it is right to ten digits."""
    as_of, run = engine
    one = [_event(as_of, "view", k + 0.5, category_id="c") | {"user_id": f"one{k:02}"} for k in range(60)]
    next_to_one = [_event(as_of, "purchase", 0.5, category_id="c")] * 900
    got = run([*one, *next_to_one, _event(as_of, "view", 179.5, category_id="d")], as_of)
    assert {got[f"one{k:02}", as_of]["affinity_entropy"] for k in range(60)} == {0.0}
    p = round(2 ** (20 - 179 / 30)) / (900 * 5 * 2**20 + round(2 ** (20 - 179 / 30)))
    expected = -p * math.log(p) - (1 - p) * math.log1p(-p)
    assert expected < 1e-4
    assert got["u", as_of]["affinity_entropy"] == pytest.approx(expected, rel=1e-10, abs=0)


def test_a_user_with_one_event_has_counts_and_no_rhythm(engine: Any) -> None:
    as_of, run = engine
    vector = run([_event(as_of, "purchase", 0, amount=5.0, order_id="o")], as_of)["u", as_of]
    assert vector["orders_7d"] == vector["orders_life"] == vector["purchase_days_life"] == 1
    assert vector["spend_7d"] == 5.0
    assert vector["days_since_last_purchase"] == vector["tenure_days"] == 0
    assert vector["purchase_gap_mean_days"] is None
    assert vector["purchase_gap_ratio"] is None


def test_a_source_without_a_kind_gives_null_and_one_with_it_gives_zero(engine: Any) -> None:
    as_of, run = engine
    bought = _event(as_of, "purchase", 3, amount=5.0)
    alone = run([bought], as_of)["u", as_of]
    assert alone["orders_7d"] == 1
    assert alone["views_7d"] is None
    assert alone["returns_365d"] is None
    assert alone["categories_90d"] is None
    # Another user's view shows that the source has views: this user then has none.
    view = _event(as_of, "view", 30) | {"user_id": "v"}
    assert run([bought, view], as_of)["u", as_of]["views_7d"] == 0
    # But only from the view on: 40 days before as_of nothing showed it.
    old = _event(as_of, "purchase", 50, amount=5.0)
    assert run([old, view], as_of - 40 * DAY)["u", as_of - 40 * DAY]["views_7d"] is None


def test_a_date_only_source_has_no_hours() -> None:
    as_of = AS_OFS["midnight"]
    events = ibis.memtable(pa.Table.from_pylist([_event(as_of, "purchase", d) for d in (1, 5)], SCHEMA))
    row = ibis.duckdb.connect().to_pyarrow(user_features(events, [as_of])).to_pylist()[0]
    assert row["evening_share_365d"] is None
    assert row["weekend_share_365d"] == 0.0
    assert row["purchase_gap_mean_days"] == 4.0


def test_last_years_season_ends_where_the_coming_90_days_end(engine: Any) -> None:
    as_of, run = engine
    tick = 1e-6 / 86400
    # Ahead: (365 d, 275 d] before as_of. Before it: (455 d, 365 d].
    ahead, before, outside = (275, 364.9, 365 - 2 * tick), (365, 455 - 2 * tick), (275 - 2 * tick, 455)
    lines = [_event(as_of, "purchase", days) for days in (*ahead, *before, *outside)]
    vector = run(lines, as_of)["u", as_of]
    assert vector["season_index"] == 3 / 2
    assert vector["orders_same_season_last_year"] == 3
    young = run([_event(as_of, "purchase", days) for days in (300, 400)], as_of)["u", as_of]
    assert young["season_index"] is None
    assert young["orders_same_season_last_year"] == 1


def test_an_order_is_counted_once_and_at_its_first_line(engine: Any) -> None:
    as_of, run = engine
    lines = [_event(as_of, "purchase", d, order_id="o", amount=1.0) for d in (6.5, 7.5)]
    vector = run(lines, as_of)["u", as_of]
    assert vector["orders_7d"] == 0
    assert vector["orders_14d"] == vector["orders_life"] == 1
    assert vector["spend_7d"] == 1.0
    without = run([line | {"order_id": None} for line in lines], as_of)["u", as_of]
    assert without["orders_life"] == 2
