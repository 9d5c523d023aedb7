"""DuckDB's meaning in Spark's SQL, and what is said where there is no Spark: no Java is needed."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ibis
import pyarrow as pa
import pytest

from configs import load, with_engine
from configs.errors import ConfigError, FeatureError, UseropsError
from features.engine import DuckDB, engine_of
from features.events import COLUMNS
from features.spark.cluster import cluster, missing
from features.spark.compiler import Compiler
from features.spark.session import cut

T = ibis.table({"x": "float64", "s": "string", "at": "timestamp('UTC', 6)", "k": "int64"}, name="t")


class Options(ibis.config.Config):  # type: ignore[misc]
    """What ibis registers when it connects to Spark."""

    treat_nan_as_null: bool = False


@pytest.fixture(autouse=True)
def options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ibis.options, "pyspark", Options())


def sql(**columns: ibis.Value) -> str:
    return str(Compiler().to_sqlglot(T.select(**columns)).sql(dialect="spark")).removesuffix(" FROM `t` AS `t0`")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (T.s.cast("json")["d"].float, "FROM_JSON(`t0`.`s`, '`d` DOUBLE', MAP('allowNonNumericNumbers', 'false')).`d`"),
        (T.x.round(4), "ROUND((`t0`.`x`) * CAST(10000.0 AS DOUBLE), 0) / CAST(10000.0 AS DOUBLE)"),
        (T.x + 0.5, "`t0`.`x` + CAST(0.5 AS DOUBLE)"),
        (T.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), r"'yyyy\'-\'MM\'-\'dd\'T\'HH\':\'mm\':\'ss\'.\'SSSSSS\'Z\''"),
        (ibis.struct({"a": T.x}).cast("json"), "MAP('ignoreNullFields', 'false')"),
        (ibis.array([T.k])[-3:], "SLICE(ARRAY(`t0`.`k`), GREATEST(SIZE(ARRAY(`t0`.`k`)) - 3, 0) + 1, 3)"),
        (T.k.bit_or(), "BIT_OR(`t0`.`k`)"),
        (T.count(where=T.x > T.k), "COUNT_IF(`t0`.`x` > `t0`.`k`)"),
    ],
)
def test_each_operation_means_what_duckdb_means(value: ibis.Value, said: str) -> None:
    assert said in sql(found=value)


def test_a_list_in_an_order_is_sorted_after_it_is_collected() -> None:
    line = ibis.struct({"s": T.s}).collect(order_by=T.k)
    assert "TRANSFORM(ARRAY_SORT(COLLECT_LIST(STRUCT(`t0`.`k` AS k0" in sql(found=line)


def test_the_events_decide_who_computes(tmp_path: Path) -> None:
    config = with_engine(load(home=tmp_path), "duckdb")
    assert isinstance(engine_of(config), DuckDB)
    lies = ibis.duckdb.connect().create_table("e", schema=ibis.schema(COLUMNS))
    # Also where the configuration says Spark: events of a DuckDB are there and nowhere else.
    assert isinstance(engine_of(dataclasses.replace(config, engine="spark"), lies), DuckDB)
    with pytest.raises(ConfigError, match="who computes"):
        with_engine(config, "pandas")


def test_shuffles_are_cut_by_the_size_of_the_events_unless_somebody_said_otherwise() -> None:
    set_to: dict[str, int] = {}
    said: set[str] = set()
    context = SimpleNamespace(getConf=lambda: SimpleNamespace(contains=said.__contains__), defaultParallelism=3)
    running: Any = SimpleNamespace(sparkContext=context, conf=SimpleNamespace(set=set_to.__setitem__))
    cut(running, 0)
    assert set_to == {}  # nobody knows how much there is
    cut(running, 80_000_000)
    assert set_to == {"spark.sql.shuffle.partitions": 10}
    said.add("spark.sql.shuffle.partitions")
    cut(running, 800_000_000)
    assert set_to == {"spark.sql.shuffle.partitions": 10}


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.parametrize("master", ["spark://127.0.0.1:{port}", "local[2]", "spark://nowhere"])
def test_a_master_that_does_not_answer_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, master: str
) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("USEROPS_SPARK", master.format(port=taken.getsockname()[1]))
        with pytest.raises(FeatureError, match="no Spark master answers"):
            engine_of(with_engine(load(home=tmp_path), "spark"))


def test_without_java_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(UseropsError, match="Spark cannot run here"), cluster():
        pass
    with pytest.raises(FeatureError, match="Spark cannot run here"):
        engine_of(with_engine(load(home=tmp_path), "spark"))


def test_a_write_that_fails_leaves_neither_file_nor_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import features.spark.engine as module

    class Half:
        _session = None

        def write_parquet(self, query: str, folder: Path, rows: int | None = None) -> None:
            folder.mkdir()
            (folder / "part-00000-a.parquet").write_bytes(b"half")

    def broken(*_: Any) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(module, "join_parts", broken)
    engine = module.Spark(load(home=tmp_path), Half())
    with pytest.raises(OSError, match="disk full"):
        engine.write("SELECT 1", tmp_path / "one.parquet", False, {})
    assert list(tmp_path.iterdir()) == []


def test_duckdb_keeps_writes_and_counts_as_a_build_wants(tmp_path: Path) -> None:
    engine = DuckDB(ibis.duckdb.connect())
    kept = engine.keep("users", ibis.memtable(pa.table({"user_id": ["b", "a"]})), tmp_path)
    assert engine.count(kept) == 2
    assert engine.count(kept.filter(kept.user_id > "b")) == 0
    assert engine.number(kept).order_by("user_id").to_pyarrow()["user_no"].to_pylist() == [0, 1]
