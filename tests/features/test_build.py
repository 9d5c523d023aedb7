from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import Config, load
from configs.errors import EventsError, FeatureError
from features import build as build_module
from features.benchmark_features import benchmark_features
from features.build import TABLES, build, snapshot_path
from features.catalog import NAMES
from features.events import COLUMNS

NOW = datetime(2012, 1, 1, tzinfo=UTC)
AS_OF = datetime(2011, 9, 10, tzinfo=UTC)
DAY = timedelta(days=1)
SCHEMA = pa.schema(
    [
        (name, {"s": pa.string(), "t": pa.timestamp("us", tz="UTC"), "f": pa.float64()}[kind[0]])
        for name, kind in COLUMNS.items()
    ]
)


def event(user: str, kind: str, days: float, *, learned: float | None = None, **columns: Any) -> dict[str, Any]:
    """An event ``days`` before AS_OF, learned ``learned`` days before it."""
    at = AS_OF - timedelta(days=days)
    ingested_at = at if learned is None else AS_OF - timedelta(days=learned)
    number = f"{user}{kind}{days}"
    return {
        "event_id": number,
        "user_id": user,
        "event_type": kind,
        "event_at": at,
        "ingested_at": ingested_at,
        **columns,
    }


EVENTS = [
    event("a", "register", 200),
    event("a", "view", 21.5, item_id="i1", category_id="c1"),
    event("a", "purchase", 20, item_id="i1", category_id="c1", order_id="o1", quantity=2.0, amount=10.0),
    event("a", "purchase", 6, item_id="i1", category_id="c1", order_id="o2", quantity=1.0, amount=6.0),
    event("a", "return", 3, item_id="i1", category_id="c1", order_id="o2", quantity=1.0, amount=6.0),
    event("b", "purchase", 100, item_id="i2", category_id="c2", order_id="o3", quantity=1.0, amount=4.0),
    event("b", "purchase", 40, item_id="i1", category_id="c1", order_id="o4", quantity=1.0, amount=5.0),
    event("c", "visit", 5),
]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(home=tmp_path, now=NOW)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A home with the tables of EVENTS at AS_OF; no test writes into it."""
    config = load(home=tmp_path_factory.mktemp("built"), now=NOW)
    build(config, [AS_OF], tables=("user_category", "item"), source_events=table(EVENTS))
    return config


def table(events: list[dict[str, Any]]) -> ibis.Table:
    return ibis.memtable(pa.Table.from_pylist(events, SCHEMA))


def read(config: Config, name: str, as_of: datetime, *keys: str) -> dict[Any, dict[str, Any]]:
    rows = pq.read_table(snapshot_path(config, name, as_of)).to_pylist()
    found = {tuple(row[key] for key in keys or ("user_id",)): row for row in rows}
    assert len(found) == len(rows)
    return found


def values(config: Config, as_of: datetime = AS_OF) -> dict[Any, dict[str, Any]]:
    return {key: {name: row[name] for name in NAMES} for key, row in read(config, "user", as_of).items()}


def test_a_snapshot_file_has_the_columns_of_the_contract(config: Config) -> None:
    messages: list[tuple[str, float]] = []
    report = build(config, [AS_OF], source_events=table(EVENTS), progress=lambda *said: messages.append(said))
    schema = pq.read_schema(snapshot_path(config, "user", AS_OF))
    assert schema.names == ["user_id", "as_of", "built_at", *NAMES]
    assert schema.field("user_id").type == pa.string()
    assert schema.field("as_of").type == schema.field("built_at").type == pa.timestamp("us", tz="UTC")
    assert {str(schema.field(name).type) for name in NAMES} == {"double"}
    row = read(config, "user", AS_OF)["a",]
    assert (row["as_of"], row["built_at"]) == (AS_OF, NOW)
    assert report.tables["user"] == {
        "rows": 3,
        "files": 1,
        "bytes": snapshot_path(config, "user", AS_OF).stat().st_size,
    }
    assert report.events == len(EVENTS)
    assert [fraction for _, fraction in messages] == sorted(fraction for _, fraction in messages)
    assert messages[-1][1] == 1.0


def test_all_tables_see_only_the_past(config: Config) -> None:
    later = [event("a", "purchase", -1, item_id="i1", category_id="c9", order_id="o9", quantity=1.0, amount=99.0)]
    as_ofs = [AS_OF - 7 * DAY, AS_OF]
    build(config, as_ofs, tables=tuple(TABLES), source_events=table(EVENTS))
    before = {name: pq.read_table(snapshot_path(config, name, at)).to_pylist() for name in TABLES for at in as_ofs[1:]}
    build(config, [*as_ofs, AS_OF + 7 * DAY], tables=tuple(TABLES), source_events=table(EVENTS + later))
    for name, rows in before.items():
        again = pq.read_table(snapshot_path(config, name, AS_OF)).to_pylist()
        assert sorted(map(repr, again)) == sorted(map(repr, rows)), name
    assert read(config, "user", AS_OF + 7 * DAY)["a",]["spend_7d"] == 99.0


def test_many_snapshots_equal_one_by_one_also_at_two_times_of_day(config: Config) -> None:
    as_ofs = [AS_OF, AS_OF - 7 * DAY, AS_OF - 5 * DAY, AS_OF - 1.25 * DAY, AS_OF - 3 * DAY, AS_OF - 10 * DAY]
    assert build(config, as_ofs, source_events=table(EVENTS)).tables["user"]["files"] == 6
    together = {as_of: values(config, as_of) for as_of in as_ofs}
    for as_of in as_ofs[2:4]:
        build(config, [as_of], source_events=table(EVENTS))
        assert values(config, as_of) == together[as_of]


def test_what_was_learned_later_changes_nothing_as_known_then(config: Config) -> None:
    late = [
        event("a", "purchase", 3.5, learned=1, order_id="late", quantity=1.0, amount=50.0),
        event("d", "visit", 9, learned=-30),
    ]
    as_ofs = [AS_OF, AS_OF - 2 * DAY]  # at one time of day: one pass
    build(config, as_ofs, source_events=table(EVENTS))
    clean = [values(config, as_of) for as_of in as_ofs]
    build(config, as_ofs, known="as_of", source_events=table(EVENTS + late))
    known_then = [values(config, as_of) for as_of in as_ofs]
    assert known_then[1] == clean[1]
    assert known_then[0]["a",]["spend_7d"] == 56.0  # learned one day before AS_OF
    assert ("d",) not in known_then[0]
    build(config, as_ofs, known=AS_OF - 2 * DAY, source_events=table(EVENTS + late))
    assert [values(config, as_of) for as_of in as_ofs] == clean
    build(config, as_ofs, source_events=table(EVENTS + late))
    assert values(config, as_ofs[1])["a",]["spend_7d"] == 56.0  # hindsight
    assert ("d",) in values(config, as_ofs[1])


def test_user_category_says_what_was_bought_and_when_it_is_due(built: Config) -> None:
    rows = read(built, "user_category", AS_OF, "user_id", "category_id")
    assert set(rows) == {("a", "c1"), ("b", "c1"), ("b", "c2")}
    row = rows["a", "c1"]
    assert row["interest"] == pytest.approx(1 * 0.5 ** (21 / 30) + 5 * 0.5 ** (20 / 30) + 5 * 0.5 ** (6 / 30), rel=1e-5)
    assert row["interest_share"] == 1.0
    assert (row["lines_90d"], row["lines_life"], row["spend_life"], row["events_30d"]) == (2, 2, 16.0, 3)
    assert (row["days_since_last_purchase"], row["days_since_last_event"]) == (6.0, 6.0)
    assert (row["purchase_gap_mean_days"], row["purchase_gap_ratio"]) == (14.0, pytest.approx(6 / 14))
    assert rows["b", "c2"]["purchase_gap_mean_days"] is None
    assert rows["b", "c1"]["interest_share"] + rows["b", "c2"]["interest_share"] == pytest.approx(1)


def test_interest_is_forgotten_after_180_days_whatever_else_is_built(config: Config) -> None:
    shown = [event("a", "view", days, category_id=f"c{days}") for days in (166, 179.5, 180, 187.5)]
    as_ofs = [AS_OF - 14 * DAY, AS_OF]
    build(config, as_ofs, tables=("user", "user_category"), source_events=table(shown))
    rows = read(config, "user_category", AS_OF, "user_id", "category_id")
    assert {c for (_, c), row in rows.items() if row["interest"] > 0} == {"c166", "c179.5"}
    assert 0 < values(config, AS_OF)["a",]["affinity_second_share"] < 0.5
    # 14 days earlier all four were younger than 180 days: the pass reaches back far enough for its first snapshot.
    assert values(config, as_ofs[0])["a",]["affinity_entropy"] > 1.3


def test_item_says_how_it_sells(built: Config) -> None:
    row = read(built, "item", AS_OF, "item_id")["i1",]
    assert (row["lines_7d"], row["lines_30d"], row["lines_90d"], row["lines_life"]) == (1, 2, 3, 3)
    assert (row["buyers_life"], row["repeat_share"], row["return_share"]) == (
        2,
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    )
    assert (row["price"], row["views_30d"], row["category_id"]) == (pytest.approx(21 / 4), 1, "c1")
    assert read(built, "item", AS_OF, "item_id")["i2",]["price"] is None


def test_profile_shows_state_last_events_and_favourites(config: Config) -> None:
    more = [event("n", "visit", 2), event("r", "visit", 120), event("r", "visit", 1), event("q", "register", 50)]
    build(config, [AS_OF], tables=("profile",), source_events=table(EVENTS + more))
    profiles = {user: json.loads(row["profile"]) for (user,), row in read(config, "profile", AS_OF).items()}
    assert {user: p["lifecycle_state"] for user, p in profiles.items()} == {
        "a": "active", "b": "dormant", "c": "new", "n": "new", "r": "reactivated", "q": "dormant",
    }  # fmt: skip
    assert [e["event_type"] for e in profiles["a"]["last_events"]] == ["return", "purchase", "purchase"]
    assert profiles["a"]["last_events"][0] == {
        "event_type": "return", "event_at": "2011-09-07T00:00:00.000000Z", "item_id": "i1", "category_id": "c1",
    }  # fmt: skip
    assert [c["category_id"] for c in profiles["b"]["top_categories"]] == ["c1", "c2"]
    assert profiles["q"]["last_events"] == profiles["q"]["top_categories"] == []
    assert profiles["a"]["value"]["spend_life"] == 16.0


def test_impossible_builds_are_refused_in_words(config: Config) -> None:
    with pytest.raises(FeatureError, match="lies in the future"):
        build(config, [NOW + timedelta(microseconds=1)], source_events=table(EVENTS))
    with pytest.raises(FeatureError, match="no such feature table"):
        build(config, [AS_OF], tables=("users",), source_events=table(EVENTS))
    with pytest.raises(FeatureError, match="at least one snapshot"):
        build(config, [], source_events=table(EVENTS))
    with pytest.raises(EventsError, match="no event is known"):
        build(config, [AS_OF - 900 * DAY], source_events=table(EVENTS))
    with pytest.raises(EventsError, match="no events"):
        build(config, [AS_OF])
    assert not list((config.home / "features").rglob("*.parquet*"))


def test_a_failed_build_leaves_the_old_snapshot_and_no_debris(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    build(config, [AS_OF], source_events=table(EVENTS))
    before = snapshot_path(config, "user", AS_OF).read_bytes()

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(build_module.os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        build(config, [AS_OF], source_events=table([*EVENTS, event("z", "visit", 1)]))
    assert snapshot_path(config, "user", AS_OF).read_bytes() == before
    assert [path.name for path in snapshot_path(config, "user", AS_OF).parent.iterdir()] == [
        "2011-09-10T000000Z.parquet"
    ]
    assert not list((config.home / "tmp").iterdir())


def test_a_quote_in_the_home_folder_does_no_harm(tmp_path: Path) -> None:
    config = load(home=tmp_path / "o'clock", now=NOW)
    build(config, [AS_OF], source_events=table(EVENTS))
    assert len(read(config, "user", AS_OF)) == 3


def test_the_benchmark_reports_in_the_common_shape(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    # What six more processes would say of the twenty features: tests/features/test_benchmark_frames.py asks them.
    told = {way: {"seconds": [1.0], "peak_mb": 100.0} for way in ("ours", "pandas", "polars")}
    monkeypatch.setattr("features.benchmark_features.frames", lambda *asked: told)
    report = benchmark_features(config, events=4_000, snapshots=3, frame_events=4_000)
    assert set(report) == {"benchmark", "metrics", "baselines", "ratios", "settings", "versions", "seconds", "peak_mb"}
    assert report["settings"]["events"] == pytest.approx(4_000, rel=0.1)
    wanted = {
        "events_per_second",
        "seconds_one_snapshot",
        "seconds_3_snapshots",
        "ratio_3_vs_1",
        "seconds_per_extra_snapshot",
    }
    assert wanted <= set(report["metrics"])
    assert all(set(metric) == {"value", "ci"} for metric in report["metrics"].values())
    json.dumps(report, allow_nan=False)
