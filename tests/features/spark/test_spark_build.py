"""Features by a real cluster beside DuckDB's of the same events: nothing collected, one file each, the same numbers."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from configs import Config, load, with_engine
from features import snapshots, verbs
from features.build import TABLES, build, snapshot_path
from features.catalog import USER_FEATURES, digest
from features.events import COLUMNS, read_events
from features.ingest import ingest
from features.simulate import Shop, simulate

DATA = Path(os.environ.get("USEROPS_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
END = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = {
    "user": ["user_id"],
    "user_category": ["user_id", "category_id"],
    "item": ["item_id"],
    "profile": ["user_id"],
    "history": ["user_id"],
}
#: Each table's files: DuckDB's, Spark's.
Both = dict[str, tuple[Path, Path]]


class Collected(AssertionError):
    """Rows came to the driver."""


def refused(*_: Any, **__: Any) -> Any:
    raise Collected


@pytest.fixture(scope="module")
def nothing_collected(spark: str) -> Any:
    """Every way of pyspark and of ibis to bring rows to the driver raises."""
    from ibis.backends.pyspark import Backend
    from pyspark.rdd import RDD
    from pyspark.sql.classic.dataframe import DataFrame

    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "collect",
            "toPandas",
            "toArrow",
            "toLocalIterator",
            "take",
            "tail",
            "head",
            "first",
            "count",
            "foreach",
        ):
            patch.setattr(DataFrame, name, refused)
        for name in ("collect", "take", "first", "toLocalIterator", "count", "collectAsMap"):
            patch.setattr(RDD, name, refused)
        for name in ("execute", "to_pyarrow", "to_pyarrow_batches"):
            patch.setattr(Backend, name, refused)
        yield


def odd(number: int, user: str, kind: str, ago: timedelta, **columns: Any) -> dict[str, Any]:
    at = END - ago
    return {
        "event_id": f"odd{number:03}", "user_id": user, "event_type": kind, "event_at": at, "ingested_at": at, **columns
    }  # fmt: skip


def odd_events() -> list[dict[str, Any]]:
    """What engines may understand differently: nulls, ties, ends of days, odd JSON, odd names."""
    day, hour, us = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
    texts = ['{"discount": 1.5}', '{"discount": "2.5"}', '{"discount": 3}', '{"discount": null}', '{"discount": true}',
             '{"discount": 1e2, "x": "\\u00fc"}', '{"other": 1}', "{}", None]  # fmt: skip
    made = [
        odd(k, "Ü", "purchase", k * day + hour, props=text, amount=0.1 + k, quantity=k / 3, item_id="i'1", order_id="o")
        for k, text in enumerate(texts)
    ]
    made += [
        odd(20, "🙂", "view", timedelta(0), category_id="c", item_id="x", channel=None),
        odd(21, "🙂", "view", us, category_id="c", item_id="x"),
        odd(22, "🙂", "visit", day, channel="fax"),
        odd(23, "🙂", "visit", day - us, channel=None),
        odd(24, "🙂", "purchase", 30 * day, category_id=None, item_id=None, amount=None, quantity=None),
        odd(25, "🙂", "purchase", 30 * day, category_id="c", item_id=None, amount=1e9, quantity=1e6),
        odd(26, "only registered", "register", 400 * day),
        odd(27, "only shown", "impression", 3 * day, item_id="x", category_id="c"),
        odd(28, 'a"b\\c,d\n', "cart", 5 * day, item_id='"', category_id="\\"),
        odd(29, 'a"b\\c,d\n', "return", 4 * day, item_id='"', category_id="\\", amount=2.005, quantity=1.0),
        odd(30, "later", "visit", -us),
        odd(31, "", "view", 7 * day, item_id="", category_id=""),
    ]
    # More lines than a history keeps, all at one instant.
    made += [odd(100 + k, "much", "view", 2 * day, item_id=f"i{k % 7}", category_id=f"k{k % 7}") for k in range(300)]
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated shop, ingested."""
    folder = tmp_path_factory.mktemp("spark_home")
    simulate(folder / "shop", Shop(users=80, days=470, end=END))
    ingest(load(home=folder, now=END), "shop", folder / "shop")
    return folder


def schema() -> pa.Schema:
    kinds = {"string": pa.string(), "float64": pa.float64()}
    return pa.schema([(name, kinds.get(kind, pa.timestamp("us", tz="UTC"))) for name, kind in COLUMNS.items()])


def stored_events(config: Config) -> pa.Table:
    from features.engine import connect

    connection = connect(config)
    return connection.to_pyarrow(read_events(connection, config)).cast(schema())


def both(folder: Path, events: pa.Table, as_of: datetime) -> Both:
    """Each table as DuckDB and as Spark build it of the same file of events."""
    from features.engine import connect, engine_of

    file = folder / "events.parquet"
    pq.write_table(events, file)
    homes = {}
    for name in ("duckdb", "spark"):
        config = with_engine(load(home=folder / name, now=as_of), name)
        connection = connect(config) if name == "duckdb" else engine_of(config).backend
        build(config, [as_of], tables=tuple(TABLES), source_events=connection.read_parquet(file))
        homes[name] = config
    return {table: tuple(snapshot_path(homes[name], table, as_of) for name in homes) for table in TABLES}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, home: Path, nothing_collected: None) -> Both:
    simulated = stored_events(load(home=home, now=END))
    events = pa.concat_tables([simulated, pa.Table.from_pylist(odd_events(), schema())])
    return both(tmp_path_factory.mktemp("both"), events, END)


def compared(table: str, paths: tuple[Path, Path]) -> None:
    ours, theirs = (pq.read_table(path).sort_by([(key, "ascending") for key in KEYS[table]]) for path in paths)
    assert [(one.name, one.type) for one in ours.schema] == [(one.name, one.type) for one in theirs.schema]
    assert len(ours) == len(theirs) > 0
    for name in ours.column_names:
        one, other = ours[name].combine_chunks(), theirs[name].combine_chunks()
        if name == "profile":
            assert [json.loads(text) for text in one.to_pylist()] == [json.loads(text) for text in other.to_pylist()]
        elif pa.types.is_floating(one.type) and not exact(table, name):
            assert one.is_null().equals(other.is_null()), name
            np.testing.assert_allclose(
                one.drop_null().to_numpy(), other.drop_null().to_numpy(), rtol=1e-9, atol=0, err_msg=name
            )
        elif name != "built_at":
            assert one.equals(other), (name, pc.sum(pc.invert(pc.equal(one, other))))


def exact(table: str, name: str) -> bool:
    """Counts and times; the rest are sums of money, shares and means of them."""
    units = {feature.name: feature.unit for feature in USER_FEATURES}
    return (
        units.get(name) in ("count", "days", "flag")
        if table == "user"
        else name.startswith(("lines", "days", "events"))
    )


@pytest.mark.parametrize("table", list(TABLES))
def test_spark_says_what_duckdb_says(built: Both, table: str) -> None:
    compared(table, built[table])


def test_odd_events_are_among_those_compared(built: Both) -> None:
    rows = {row["user_id"]: row for row in pq.read_table(built["user"][1]).to_pylist()}
    assert {"Ü", "🙂", "", "only shown", 'a"b\\c,d\n'} < rows.keys()
    assert "later" not in rows
    # 1.5 + 3 + 100 off 9 lines; the text "2.5" is no number.
    spent = sum(0.1 + k for k in range(9))
    assert rows["Ü"]["discount_share_365d"] == pytest.approx(104.5 / (104.5 + spent))
    histories = {row["user_id"]: row["history"] for row in pq.read_table(built["history"][1]).to_pylist()}
    assert len(histories["much"]) == 256 * 6


def test_a_snapshot_is_one_file_as_every_reader_wants_it(built: Both) -> None:
    for table, (one, other) in built.items():
        assert [path.name for path in other.parent.iterdir()] == [one.name], table
        told, ours = snapshots.metadata(other), snapshots.metadata(one)
        told.pop("ARROW:schema", None), ours.pop("ARROW:schema", None)
        assert told == ours
        assert told["catalogue_digest"] == digest()
        footer = pq.read_metadata(other)
        assert {footer.row_group(0).column(k).compression for k in range(footer.num_columns)} == {"ZSTD"}
    path = built["user"][1]
    assert pq.read_table(path)["user_id"].to_pylist() == pq.read_table(built["user"][0])["user_id"].to_pylist()
    assert not list((path.parents[2] / "tmp").iterdir())


def test_groups_of_users_stay_small_and_parts_keep_their_order(
    spark: str, tmp_path: Path, nothing_collected: None
) -> None:
    from features.engine import USER_GROUP
    from features.spark.engine import Spark

    many, path = 2 * USER_GROUP + 10, tmp_path / "users.parquet"
    engine = Spark(with_engine(load(home=tmp_path), "spark"))
    query = f"SELECT lpad(id, 6, '0') AS user_id FROM range(0, {many}, 1, 3) ORDER BY user_id"
    assert engine.write(query, path, True, {"known": "it's"}) == many
    footer = pq.read_metadata(path)
    assert max(footer.row_group(k).num_rows for k in range(footer.num_row_groups)) <= USER_GROUP
    assert pq.read_table(path)["user_id"].to_pylist() == [f"{k:06}" for k in range(many)]
    assert snapshots.metadata(path)["known"] == "it's"
    assert [one.name for one in tmp_path.iterdir() if one.name != "spark.log"] == ["users.parquet"]


def test_the_verb_builds_what_was_ingested(
    home: Path, spark: str, nothing_collected: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("USEROPS_HOME", str(home))
    monkeypatch.setenv("USEROPS_NOW", END.isoformat())
    monkeypatch.setattr("features.build.TABLES", {"item": TABLES["item"]})
    verbs.build(engine="spark", json_file=tmp_path / "spark.json")
    path = snapshot_path(load(), "item", END)
    there = pq.read_table(path)
    verbs.build(engine="duckdb", json_file=tmp_path / "duckdb.json")
    reports = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("spark", "duckdb")]
    assert reports[0]["events"] == reports[1]["events"] > 1000
    assert reports[0]["tables"]["item"]["rows"] == reports[1]["tables"]["item"]["rows"] == len(there) > 0


@pytest.mark.skipif(not (DATA / "online_retail").exists(), reason="no online_retail: set USEROPS_DATA to its folder")
def test_online_retail_agrees(tmp_path: Path, nothing_collected: None) -> None:
    raw = pq.read_table(DATA / "online_retail" / "online_retail_II.parquet")
    pq.write_table(raw.filter(pc.less(pc.cast(raw["Customer ID"], pa.float64()), 12_500.0)), tmp_path / "some.parquet")
    config = load(home=tmp_path / "home")
    ingest(config, "online_retail", tmp_path / "some.parquet")
    events = stored_events(config)
    assert len(events) > 10_000
    for table, paths in both(tmp_path, events, datetime(2011, 9, 10, 8, 30, tzinfo=UTC)).items():
        compared(table, paths)


def test_both_know_at_each_snapshot_what_was_known_then(tmp_path: Path, nothing_collected: None) -> None:
    """Late news divide the build into a pass per snapshot."""
    from features.engine import connect, engine_of

    at = [END - timedelta(days=10), END]
    made = [
        odd(k, f"u{k % 3}", "purchase", timedelta(days=20 - k), item_id=f"i{k % 2}", amount=1.0 + k, quantity=1.0)
        for k in range(20)
    ]
    made[3]["ingested_at"] = END - timedelta(days=1)  # known to the second alone
    made[5]["ingested_at"] = END + timedelta(days=1)  # to none
    pq.write_table(pa.Table.from_pylist(made, schema()), tmp_path / "events.parquet")
    lines = []
    for name in ("duckdb", "spark"):
        config = with_engine(load(home=tmp_path / name, now=END), name)
        connection = connect(config) if name == "duckdb" else engine_of(config).backend
        events = connection.read_parquet(tmp_path / "events.parquet")
        build(config, at, known="as_of", tables=("item",), source_events=events)
        rows = [pq.read_table(snapshot_path(config, "item", one)).sort_by("item_id") for one in at]
        lines.append([table.drop(["built_at"]).to_pylist() for table in rows])
    assert lines[0] == lines[1]
    assert [sum(row["lines_life"] for row in rows) for rows in lines[1]] == [9.0, 19.0]


def test_a_worker_says_the_code_of_every_id(spark: str, tmp_path: Path, nothing_collected: None) -> None:
    from configs.history import code
    from features.spark.engine import Spark

    engine = Spark(with_engine(load(home=tmp_path), "spark"))
    ids = engine.backend.raw_sql("SELECT concat('ü', id) AS id FROM range(50)")
    ids.createOrReplaceTempView("some_ids")
    engine.codes(engine.backend.table("some_ids"), tmp_path)
    rows = pa.concat_tables([pq.read_table(path) for path in (tmp_path / "codes").glob("*.parquet")]).to_pylist()
    assert {row["id"]: row["code"] for row in rows} == {f"ü{k}": float(code(f"ü{k}")) for k in range(50)}
