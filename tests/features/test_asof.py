"""The point-in-time join against an oracle of ten lines that knows no SQL."""

from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import FeatureError
from features import asof
from features.asof import History, connect, join, parquet_files, rows_between

T0 = datetime(2024, 3, 1, tzinfo=UTC)
SLOTS = 4  # few instants, so that ties, equal timestamps and late arrivals are the rule


def at(slot: int | None) -> datetime | None:
    return None if slot is None else T0 + timedelta(hours=slot)


def oracle(asked, rows, ttl, as_known_then, known_at):
    answers = []
    for key, t in asked:
        visible = [
            (stamp, created or datetime.min.replace(tzinfo=UTC), place, value)
            for place, (own, stamp, created, value) in enumerate(rows)
            if None not in key and own == key and t is not None and stamp <= t
            if not as_known_then or (created is not None and created <= t)
            if known_at is None or (created is not None and created <= known_at)
        ]
        stamp, _, _, value = max(visible, default=(None, None, None, None), key=lambda row: row[:3])
        answers.append(None if stamp is None or (ttl and stamp + ttl < t) else value)
    return answers


keys = st.sampled_from([("1", "11"), ("1", "11"), ("11", "1"), ("11", "1"), ("é", ""), (None, "1"), ("1", None)])
slots = st.integers(0, SLOTS)
history_rows = st.lists(
    st.tuples(keys, slots, st.one_of(st.none(), slots), st.one_of(st.none(), st.integers(0, 99))), max_size=16
)
asked_rows = st.lists(st.tuples(keys, slots), min_size=1, max_size=12)


def write(path, rows):
    columns = {
        "a": pa.array([key[0] for key, *_ in rows], pa.string()),
        "b": pa.array([key[1] for key, *_ in rows], pa.string()),
        "stamp": pa.array([at(row[1]) for row in rows], pa.timestamp("us", "UTC")),
        "created": pa.array([at(row[2]) for row in rows], pa.timestamp("us", "UTC")),
        "value_y": pa.array([row[3] for row in rows], pa.float64()),
    }
    pq.write_table(pa.table(columns), path)


def history_of(path, ttl=None):
    keys = (("a", "left"), ("b", "right"))
    return History(parquet_files(path), keys, "stamp", "created", ttl, {"value_y": 'h."value_y"'})


def frame_of(asked):
    frame = pd.DataFrame(
        {
            "label": range(len(asked)),
            "left": pd.Series([key[0] for key, _ in asked], dtype=object),
            "right": pd.Series([key[1] for key, _ in asked], dtype=object),
            "t": pd.Series([at(slot) for _, slot in asked], dtype="datetime64[us, UTC]"),
        }
    )
    return frame.set_axis([7] * len(asked))  # nothing may rely on the index


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=history_rows,
    asked=asked_rows,
    ttl_hours=st.sampled_from([None, 0, 1, 3]),
    as_known_then=st.booleans(),
    known=st.one_of(st.none(), slots),
    files=st.integers(1, 3),
)
def test_join_gives_the_oracles_answer(tmp_path, rows, asked, ttl_hours, as_known_then, known, files):
    for old in tmp_path.glob("*.parquet"):
        old.unlink()
    bounds = [len(rows) * number // files for number in range(files + 1)]
    for number in range(files):
        write(tmp_path / f"{number}.parquet", rows[bounds[number] : bounds[number + 1]])
    ttl = None if ttl_hours is None else timedelta(hours=ttl_hours)
    with connect(threads=1) as connection:
        answer = join(
            connection,
            frame_of(asked),
            "t",
            [history_of(tmp_path, ttl)],
            as_known_then=as_known_then,
            known_at=at(known),
        )
    expected = oracle(
        [(key, at(slot)) for key, slot in asked],
        [(key, at(stamp), at(created), value) for key, stamp, created, value in rows],
        ttl,
        as_known_then,
        at(known),
    )
    assert answer["value_y"].to_pylist() == expected
    assert answer["label"].to_pylist() == list(range(len(asked)))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=history_rows, later=history_rows, asked=asked_rows, as_known_then=st.booleans())
def test_rows_after_the_instant_change_nothing(tmp_path, rows, later, asked, as_known_then):
    last = max(slot for _, slot in asked)
    later = [(key, last + 1 + stamp, created, value) for key, stamp, created, value in later]
    answers = []
    for more in ([], later):
        write(tmp_path / "history.parquet", rows + more)
        with connect(threads=1) as connection:
            answer = join(connection, frame_of(asked), "t", [history_of(tmp_path)], as_known_then=as_known_then)
        answers.append(answer["value_y"].to_pylist())
    assert answers[0] == answers[1]


def test_one_microsecond_decides(tmp_path):
    stamp = datetime(2024, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
    table = {"a": ["u"], "b": ["v"], "stamp": [stamp], "created": [stamp], "value_y": [1.0]}
    pq.write_table(pa.table(table), tmp_path / "history.parquet")
    asked = pd.DataFrame({"left": ["u"] * 2, "right": ["v"] * 2, "t": [stamp - timedelta(microseconds=1), stamp]})
    with connect() as connection:
        answer = join(connection, asked, "t", [history_of(tmp_path)])
    assert answer["value_y"].to_pylist() == [None, 1.0]


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.timestamp("ns", "UTC"), pa.timestamp("ms", "Asia/Tokyo")])
def test_instants_of_any_unit_and_zone_mean_the_same(tmp_path, kind):
    """Naive instants in files mean UTC, whatever the zone of the machine."""
    stamps = pa.array([T0, T0 + timedelta(hours=2)], pa.timestamp("us", "UTC")).cast(kind)
    table = {"a": ["u"] * 2, "b": ["v"] * 2, "stamp": stamps, "created": stamps, "value_y": [1.0, 2.0]}
    pq.write_table(pa.table(table), tmp_path / "history.parquet")
    asked = pd.DataFrame({"left": ["u"], "right": ["v"], "t": pd.to_datetime(["2024-03-01T01:30:00Z"])})
    with connect() as connection:
        for as_known_then in (False, True):
            answer = join(connection, asked, "t", [history_of(tmp_path)], as_known_then=as_known_then)
            assert answer["value_y"].to_pylist() == [1.0]


def test_several_histories_of_different_keys_keep_every_row(tmp_path):
    write(tmp_path / "pair.parquet", [(("x", "q"), 1, 1, 10), (("x", "r"), 1, 1, 20)])
    pair = history_of(tmp_path / "pair.parquet")
    single = History(pair.files, (("a", "left"),), "stamp", None, None, {"of_a": "h.value_y"})
    asked = frame_of([(("x", "q"), 2), (("x", "r"), 2), (("x", "q"), 2)])
    with connect() as connection:
        answer = join(connection, asked, "t", [single, pair])
    assert answer["value_y"].to_pylist() == [10, 20, 10]
    assert answer["of_a"].to_pylist() == [20, 20, 20]  # equal in timestamp: the last one written
    assert answer.num_rows == 3


def answers_of(path, *asked, **options):
    with connect() as connection:
        return join(connection, frame_of(list(asked)), "t", [history_of(path)], **options)["value_y"].to_pylist()


def test_of_rows_equal_in_timestamp_the_newest_written_answers(tmp_path):
    write(tmp_path / "a.parquet", [(("x", "q"), 1, 2, 10), (("x", "q"), 1, 3, 20), (("x", "q"), 1, None, 30)])
    assert answers_of(tmp_path, (("x", "q"), 4)) == [20]
    # Equal in both: the later file, then the later row; row 0 of b.parquet comes after row 1 of a.parquet.
    write(tmp_path / "b.parquet", [(("x", "q"), 1, 3, 40)])
    assert answers_of(tmp_path, (("x", "q"), 4)) == [40]


def test_rows_that_become_visible_together_answer_with_the_newest(tmp_path):
    rows = [(("x", "q"), stamp, 4, stamp) for stamp in (2, 0, 3, 1)] * 5
    write(tmp_path / "history.parquet", rows)
    assert answers_of(tmp_path, (("x", "q"), 3), (("x", "q"), 4), as_known_then=True) == [None, 3]


def test_null_keys_alone_are_asked_in_vain(tmp_path):
    write(tmp_path / "history.parquet", [(("x", "q"), 1, 1, 10)] * 3)
    assert answers_of(tmp_path, ((None, None), 3), ((None, None), 4)) == [None, None]


def test_nobody_asked_nobody_answered(tmp_path):
    write(tmp_path / "history.parquet", [(("x", "q"), 1, 1, 10)])
    with connect() as connection:
        answer = join(connection, frame_of([]), "t", [history_of(tmp_path, timedelta(days=1))])
    assert answer.num_rows == 0
    assert "value_y" in answer.column_names


def test_a_file_replaced_while_reading_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "history.parquet"
    write(path, [(("x", "q"), 1, 1, 10)])
    choose = asof._choose

    def then_replace(*arguments):
        choose(*arguments)
        write(path, [(("y", "z"), 3, 3, 99)])

    monkeypatch.setattr(asof, "_choose", then_replace)
    with connect() as connection, pytest.raises(FeatureError, match="changed while they were read"):
        join(connection, frame_of([(("x", "q"), 2)]), "t", [history_of(path)])


def test_a_name_that_is_taken_is_refused(tmp_path):
    write(tmp_path / "history.parquet", [(("x", "q"), 1, 1, 10)])
    asked = frame_of([(("x", "q"), 2)]).assign(value_y=0)
    with connect() as connection, pytest.raises(FeatureError, match="'value_y' is there already"):
        join(connection, asked, "t", [history_of(tmp_path)])


def test_files_are_listed_in_order_without_those_being_written(tmp_path):
    for name in ("b.parquet", "a.parquet", ".c.parquet", "d.parquet.tmp"):
        (tmp_path / name).touch()
    assert [file.rsplit("/")[-1] for file in parquet_files(tmp_path)] == ["a.parquet", "b.parquet"]
    with pytest.raises(FeatureError, match="no feature rows"):
        parquet_files(tmp_path / "nothing")


def test_rows_between_takes_both_ends_and_the_newest_of_each_key(tmp_path):
    rows = [
        (("x", "q"), 1, 5, 1),
        (("x", "q"), 2, 4, 2),
        (("x", "q"), 2, 3, 3),
        (("y", "q"), 3, 3, 4),
        (("z", "q"), 4, 4, 5),
    ]
    write(tmp_path / "history.parquet", rows)
    with connect() as connection:

        def between(latest):
            sql, parameters = rows_between(history_of(tmp_path), at(1), at(3), latest=latest)
            return sorted(connection.execute(sql, parameters).to_arrow_table()["value_y"].to_pylist())

        assert between(latest=False) == [1, 2, 3, 4]
        assert between(latest=True) == [2, 4]


def test_connect_holds_duckdb_to_its_settings(tmp_path):
    with connect("200MB", 1, str(tmp_path / "it's")) as connection:
        assert isinstance(connection, duckdb.DuckDBPyConnection)
        told = connection.execute(
            "SELECT current_setting('threads'), current_setting('TimeZone'), current_setting('temp_directory')"
        ).fetchall()
    assert told == [(1, "UTC", str(tmp_path / "it's"))]


def test_a_large_load_matches_a_search_in_sorted_arrays(tmp_path):
    random = np.random.default_rng(5)
    users, days = 40, 60
    values = random.normal(size=(days, users))
    stamps = np.repeat(np.arange(days), users)
    table = pa.table(
        {
            "a": np.tile(np.arange(users).astype(str), days),
            "b": ["-"] * (users * days),
            "stamp": pa.array(stamps * 86_400_000_000, pa.timestamp("us", "UTC")),
            "created": pa.array((stamps + 10) * 86_400_000_000, pa.timestamp("us", "UTC")),
            "value_y": values.ravel(),
        }
    ).take(random.permutation(users * days))
    pq.write_table(table, tmp_path / "history.parquet", row_group_size=500)
    who, when = random.integers(users, size=5000), random.integers(days * 86_400, size=5000)
    asked = pd.DataFrame({"left": who.astype(str), "right": "-", "t": pd.to_datetime(when, unit="s", utc=True)})
    with connect() as connection:
        hindsight = join(connection, asked, "t", [history_of(tmp_path)])["value_y"].to_numpy()
        then = join(connection, asked, "t", [history_of(tmp_path)], as_known_then=True)["value_y"].to_numpy()
    assert np.array_equal(hindsight, values[when // 86_400, who])
    late = when // 86_400 - 10
    assert np.array_equal(then, np.where(late < 0, np.nan, values[np.maximum(late, 0), who]), equal_nan=True)
