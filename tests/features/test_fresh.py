"""A refresh of a few users puts online what a whole build at that instant, with the live events ingested, would."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs import load
from configs.errors import CatalogueMismatch, FeatureError
from configs.history import KINDS as LINES
from configs.history import code, unpack
from features import by_user, fresh, online
from features.behaviour.user import snapshots_arrow
from features.build import TABLES, Pass, build, snapshot_path
from features.catalog import NAMES
from features.engine import connect
from features.events import KINDS, read_events
from features.few_users import FewUsers
from features.fresh import Refresher
from features.history import code_table
from features.ingest import ingest
from features.live_events import Judge, LiveLine, drain, lines_table
from features.periods import upto
from features.publish import publish
from features.store import Store

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 6, 1, 9, 30, 7, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
USERS = [f"u{number}" for number in range(12)]
RANDOM_SEED = 5


def us(at):
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def line(event_id, user, kind, at, **columns):
    names = ("channel", "category_id", "item_id", "store_id", "order_id", "quantity", "amount", "props")
    return LiveLine(event_id, user, kind, us(at), *(columns.get(name) for name in names), us(at + SECOND))


def history(seed, events, until=NOW):
    """Events of all kinds over 17 months, ties and nulls among them."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(events):
        at = START + (until - START) * float(random.random())
        if number % 3 == 0:
            at = at.replace(hour=9, minute=30, second=7, microsecond=int(random.integers(0, 2)))  # at the tiles' edges
        item = None if number % 7 == 0 else f"i{random.integers(9)}"
        rows.append(
            {
                "user_id": str(random.choice(USERS[:9])),
                "event_type": str(random.choice(KINDS)),
                "event_at": min(at, until),
                "ingested_at": until,
                "channel": [None, "app", "web", "卖场"][number % 4],
                "category_id": None if number % 5 == 0 else f"c{random.integers(4)}",
                "item_id": item,
                "store_id": None,
                "order_id": None if number % 4 == 0 else f"o{random.integers(60)}",
                "quantity": [None, 1.0, 2.5][number % 3],
                "amount": [None, 9.99, 100.0][number % 3],
                "props": '{"discount": 1.5}' if number % 6 == 0 else None,
            }
        )
    return rows


def shop_of(home, rows, now=NOW):
    config = load(home, now=now)
    home.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), home / "events.parquet")
    ingest(config, "shop", home / "events.parquet")
    return config


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A home whose last snapshot is online; no test may ingest into it."""
    config = shop_of(tmp_path_factory.mktemp("home"), history(RANDOM_SEED, 1500))
    build(config, [NOW - DAY], tables=("user", "history"))
    publish(config, NOW)
    return config


class Oracle:
    """The build's own tables, over all events at once: compiled for one instant, run over any set of events."""

    def __init__(self, config, as_of):
        self.as_of, self.backend = as_of, connect(config)
        self.hold(lines_table([]))
        self.arrow("at_instant", snapshots_arrow([as_of]))
        events, at = self.backend.table("events"), self.backend.table("at_instant")
        self.tables = {}
        tiles = Pass(upto(events, as_of), [as_of], self.keep, self.codes)
        for name in ("user", "profile", "history"):
            self.tables[name] = self.backend.compile(TABLES[name](tiles, at))

    def keep(self, name, table):
        self.tables[f"kept_{name}"] = query = self.backend.compile(table)
        self.backend.raw_sql(f"CREATE OR REPLACE TABLE kept_{name} AS {query}")
        return self.backend.table(f"kept_{name}")

    def codes(self, ids):
        self.ids = self.backend.compile(ids)
        self.arrow("codes", code_table(pa.array([], pa.string())))
        return self.backend.table("codes")

    def arrow(self, name, table):
        self.backend.con.register("given", table)
        self.backend.raw_sql(f"CREATE OR REPLACE TABLE {name} AS FROM given")

    def hold(self, events):
        self.arrow("events", events)

    def rows(self, *tables):
        """As `built` gives them, of these events."""
        self.hold(pa.concat_tables(tables))
        found = {}
        for name, query in self.tables.items():
            if name.startswith("kept_"):
                self.backend.raw_sql(f"CREATE OR REPLACE TABLE {name} AS {query}")
        self.arrow("codes", code_table(self.backend.con.execute(self.ids).to_arrow_table().column(0).combine_chunks()))
        for name in ("user", "profile", "history"):
            table = self.backend.con.execute(self.tables[name]).to_arrow_table()
            found[name] = {row["user_id"]: row for row in table.to_pylist()}
        return found


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """Compiling the queries of a refresh takes a second: these tests share them; each learns its shop anew."""
    few = FewUsers(load(tmp_path_factory.mktemp("few")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh, "FewUsers", lambda config: few)
        yield


@pytest.fixture(scope="module")
def events(shop):
    return stored(shop)


@pytest.fixture(scope="module")
def oracle(shop):
    return Oracle(shop, NOW)


def stored(config):
    backend = connect(config)
    return read_events(backend, config).to_pyarrow().cast(lines_table([]).schema)


def judged(*lines):
    return Judge().events(lines, NOW + DAY)


def check(config, expected, users, as_of):
    """What the service reads of ``users`` is, to the bit, what the build wrote."""
    store = Store(config)
    for user in users:
        row = store.decision_row(user)
        wanted = expected["user"].get(user)
        assert row.found == (wanted is not None), user
        if wanted is None:
            continue
        assert row.as_of_us == us(as_of)
        served = {n: None if np.isnan(value) else value for n, value in zip(NAMES, row.vector.tolist(), strict=True)}
        assert served == {name: wanted[name] for name in NAMES}, user
        assert row.profile == json.loads(expected["profile"][user]["profile"])
        assert row.history.tolist() == expected["history"].get(user, {"history": []})["history"]


KIND = st.sampled_from(["view", "cart", "purchase", "purchase", "return", "visit", "click", "register"])
PUSH = st.tuples(
    st.sampled_from(USERS),
    KIND,
    st.integers(0, 3 * 86_400_000_000),  # microseconds before NOW
    st.sampled_from([None, "i1", "i2", "new"]),
    st.sampled_from([None, "c1", "fresh"]),
    st.sampled_from([None, "o1", "o2", "o61"]),
    st.sampled_from([None, 1.0, 2.5, -3.0]),  # the last is refused
    st.sampled_from([None, 12.34, 0.0]),
    st.sampled_from([None, "app", "wecom"]),
)


@pytest.mark.usefixtures("either_online_store")
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pushes=st.lists(PUSH, min_size=1, max_size=12), turns=st.integers(1, 2))
def test_online_after_a_push_equals_a_build_at_that_instant(shop, oracle, events, pushes, turns):
    lines = [
        line(
            f"live{number}", user, kind, NOW - timedelta(microseconds=before),
            item_id=item, category_id=category, order_id=order, quantity=quantity, amount=amount, channel=channel,
        )
        for number, (user, kind, before, item, category, order, quantity, amount, channel) in enumerate(pushes)
    ]  # fmt: skip
    Store(shop).published.erase()
    refresher = Refresher(shop)
    users = sorted({one.user_id for one in lines} | {USERS[0]})
    size = -(-len(lines) // turns)
    for start in range(0, len(lines), size):  # what is known of the first pushes counts for the last
        refresher.refresh([], lines[start : start + size])
    as_of = NOW
    refresher.refresh(users, lines, as_of)
    check(shop, oracle.rows(events, judged(*lines)), users, as_of)


def test_a_push_changes_what_the_whole_shop_says_of_the_next_user(shop, oracle, events):
    """The buyer of a first push is among the buyers that the second user's vector counts."""
    refresher = Refresher(shop)
    first = [line("b1", "newcomer", "purchase", NOW - SECOND, order_id="x1", amount=5.0)]
    second = [line("b2", USERS[1], "view", NOW - SECOND, item_id="i1")]
    refresher.refresh([], first)
    refresher.refresh([], second)
    expected = oracle.rows(events, judged(*first, *second))
    assert expected["user"][USERS[1]] != oracle.rows(events, judged(*second))["user"][USERS[1]]
    check(shop, expected, [USERS[1]], NOW)
    assert unpack(Store(shop).decision_row(USERS[1]).history).item[-1] == code("i1")


def test_an_instant_before_some_events_leaves_them_out(tmp_path):
    """The slow way, for a snapshot in the past: later events of anybody count for nothing."""
    config = shop_of(tmp_path / "home", history(7, 400, NOW - DAY))
    as_of = (NOW - 40 * DAY).replace(microsecond=0)
    Refresher(config).refresh(USERS, [line("l", USERS[2], "purchase", NOW - DAY, amount=3.0)], as_of)
    check(config, Oracle(config, as_of).rows(stored(config)), USERS, as_of)


def test_what_is_drained_meanwhile_counts_once(tmp_path):
    """Live, then stored as well, with a batch of others beside it and a restart between: the same row."""
    config = shop_of(tmp_path / "home", history(11, 300, NOW - DAY))
    lines = [
        line("d1", USERS[0], "purchase", NOW - 2 * SECOND, order_id="o1", amount=2.0, item_id="i1", category_id="c1"),
        line("d2", USERS[0], "view", NOW - 2 * SECOND, item_id="i2"),
        line("d3", "newcomer", "cart", NOW - SECOND, item_id="i2"),
    ]
    refresher = Refresher(config)
    rows = refresher.refresh([], lines, NOW).rows[0]
    for refresh in (refresher, Refresher(config)):
        report = drain(config, lines)
        assert report.read == report.accepted + report.duplicates == 3
        again = refresh.refresh([], lines, NOW).rows[0]
        assert again.user.drop(["as_of"]).equals(rows.user.drop(["as_of"]))
        assert again.history.equals(rows.history)
        assert again.profile.equals(rows.profile)
    # The very files that `userops features build` writes from now on.
    build(config, [NOW], tables=("user", "profile", "history"))
    tables = {name: pq.read_table(snapshot_path(config, name, NOW)) for name in ("user", "profile", "history")}
    rows_of = {name: {row["user_id"]: row for row in table.to_pylist()} for name, table in tables.items()}
    check(config, rows_of, [USERS[0], "newcomer"], NOW)


def test_drained_events_are_in_the_next_build_and_never_twice(tmp_path):
    config = shop_of(tmp_path, history(3, 50, NOW - DAY))
    lines = [
        line("e1", "u0", "purchase", NOW - SECOND, amount=2.0, order_id="n"),
        line("e1", "u0", "purchase", NOW - SECOND, amount=2.0, order_id="n"),
        line("e2", "u0", "purchase", NOW - SECOND, amount=-2.0),
        line("e3", "u0", "dance", NOW - SECOND),
    ]
    first = drain(config, lines)
    assert (first.read, first.accepted, first.quarantined, first.duplicates) == (4, 1, 2, 1)
    assert drain(config, lines).accepted == 0  # the same rows
    assert drain(config, [*lines, line("e4", "u0", "view", NOW)]).accepted == 1  # other rows, the same events
    assert drain(config, []) is None
    build(config, [NOW])
    rows = {row["user_id"]: row for row in pq.read_table(snapshot_path(config, "user", NOW)).to_pylist()}
    assert rows["u0"]["spend_7d"] == pytest.approx(2.0 + sum_of_week(config))


def sum_of_week(config):
    events = read_events(connect(config), config).execute()
    week = events[(events.user_id == "u0") & (events.event_type == "purchase") & (events.event_at > NOW - 7 * DAY)]
    return week[week.order_id != "n"].amount.sum()


@pytest.mark.usefixtures("either_online_store")
def test_the_instant_is_the_whole_second_at_or_after_clock_and_events(shop):
    clock = NOW + 100 * DAY
    refresher = Refresher(load(shop.home, now=clock + timedelta(microseconds=1)))
    ahead = line("ahead", "early", "view", clock + 30.5 * SECOND, item_id="i1")
    made = refresher.refresh([USERS[3]], [ahead])
    assert [rows.as_of for rows in made.rows] == [clock + SECOND, clock + 31 * SECOND]
    assert (made.users, made.rows_written) == (2, 6)
    # A later event with a right clock does not fall behind what is online.
    again = refresher.refresh([], [line("right", "early", "view", clock + 2 * SECOND, item_id="i1")])
    assert again.rows_written == 3
    assert len(unpack(Store(shop).decision_row("early").history)) == 2
    with pytest.raises(FeatureError, match="whole second"):
        refresher.refresh([USERS[3]], as_of=clock + timedelta(milliseconds=1))


@pytest.mark.usefixtures("either_online_store")
def test_a_row_never_gives_way_to_an_older_one(shop):
    at = NOW + 200 * DAY
    assert Refresher(shop).refresh([USERS[4]], as_of=at).rows_written > 0
    assert Refresher(shop).refresh([USERS[4]], as_of=at - SECOND).rows_written == 0
    publish(shop, NOW)
    assert Store(shop).decision_row(USERS[4]).as_of_us == us(at)


@pytest.mark.usefixtures("either_online_store")
def test_nothing_is_written_beside_another_catalogue(shop):
    store = Store(shop)
    with store.published.publication() as writer:
        writer.record(online.VECTOR.view, "sha256:" + "f" * 64, 0, 0, 1)
    with pytest.raises(CatalogueMismatch):
        Refresher(shop).refresh([USERS[0]])
    with store.published.publication() as writer:
        writer.record(online.VECTOR.view, store.digest, 0, 0, 1)


@pytest.mark.usefixtures("either_online_store")
def test_a_home_without_events_begins_with_the_first_one(tmp_path):
    config = load(tmp_path, now=NOW)
    refresher = Refresher(config)
    assert refresher.refresh(["nobody"]).rows_written == 0
    assert refresher.refresh([], [line("a", "first", "purchase", NOW, amount=1.0)]).users == 1
    row = Store(config).decision_row("first")
    assert row.vector[NAMES.index("orders_life")] == 1.0
    assert row.vector[NAMES.index("buyers_share_30d")] == 1.0


def test_the_copy_by_user_follows_the_ledger(tmp_path, monkeypatch):
    rows = history(2, 300, NOW - DAY)
    config = shop_of(tmp_path, rows)
    monkeypatch.setattr(by_user, "FEW", 20)
    monkeypatch.setattr(fresh, "MANY", 3)
    index = by_user.ByUser(config)
    assert index.files() == [str(index.path)]
    drain(config, [line("x", "u1", "view", NOW, item_id="i1")])
    assert len(index.files()) == 2  # a few more: read beside it
    drain(config, [line(f"y{number}", "u1", "view", NOW, item_id="i1") for number in range(40)])
    assert index.files() == [str(index.path)]  # sorted anew
    refresher = Refresher(config)
    before = refresher.refresh(["u1"], as_of=NOW).rows[0].user["views_7d"].to_pylist()
    index.path.write_bytes(b"damaged")
    assert Refresher(config).refresh(["u1"], as_of=NOW).rows[0].user["views_7d"].to_pylist() == before
    # Another reading of the source takes the old batch away: nothing of it may be left.
    pq.write_table(pa.Table.from_pylist(rows[:30]), tmp_path / "events.parquet")
    ingest(config, "shop", tmp_path / "events.parquet", replace=True)
    users = sorted({row["user_id"] for row in rows})
    left = refresher.refresh(users, as_of=NOW).rows[0].user
    first = {user: min((r["event_at"] for r in rows[:30] if r["user_id"] == user), default=NOW) for user in users}
    for row in left.to_pylist():
        assert row["user_id"] == "u1" or row["tenure_days"] == (NOW - first[row["user_id"]]) / DAY


def test_a_history_line_needs_an_item_or_a_category(shop):
    as_of = NOW - DAY
    table = {r["user_id"]: r for r in pq.read_table(snapshot_path(shop, "history", as_of)).to_pylist()}
    events = read_events_of(shop)
    for user, row in table.items():
        own = events[(events.user_id == user) & events.event_type.isin(LINES) & (events.event_at <= as_of)]
        own = own[own.item_id.notna() | own.category_id.notna()].sort_values(["event_at", "event_id"])[-256:]
        lines = unpack(np.array(row["history"]))
        assert lines.item.tolist() == [code(one if isinstance(one, str) else None) for one in own.item_id]
        assert lines.category.tolist() == [code(one if isinstance(one, str) else None) for one in own.category_id]
        assert lines.order.tolist() == [code(one if isinstance(one, str) else None) for one in own.order_id]
        assert lines.kind.tolist() == [LINES[kind] for kind in own.event_type]
        assert lines.at_us.tolist() == [us(at.to_pydatetime()) for at in own.event_at]
        assert lines.quantity.tolist() == own.quantity.fillna(1.0).tolist()


def read_events_of(config):
    return read_events(connect(config), config).execute()


@pytest.mark.usefixtures("either_online_store")
def test_inspection_compares_a_refreshed_user_at_his_instant(tmp_path):
    config = shop_of(tmp_path, history(9, 200, NOW - DAY))
    build(config, [NOW - DAY], tables=("user",))
    publish(config, NOW)
    lines = [line("n", "u1", "purchase", NOW - SECOND, amount=4.0)]
    Refresher(config).refresh([], lines, NOW)
    store = Store(config)
    assert "spend_7d" in store.inspect("u1").differing  # the event store does not know it yet
    drain(config, lines)
    seen = store.inspect("u1")
    assert (seen.as_of, seen.differing) == (NOW, ())
