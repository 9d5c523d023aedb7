"""Ids, columns and file names may be any text: they are values and names in SQL, and never more than that."""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from configs import load
from configs.errors import UseropsError
from features import forgotten, online, vectors
from features.by_user import ByUser
from features.engine import connect
from features.events import read_events
from features.forget import forget_events
from features.ingest import ingest
from features.inputs import identifier, literal

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
HOSTILE = (
    "'; DROP TABLE good; --",
    "' OR '1'='1",
    '"; DROP TABLE x; --',
    "a'b",
    'a"b',
    "a`b",
    "a\\'b",
    "a;b",
    "$1",
    "?",
    "%s",
    "{data}",
    "{0}",
    "getvariable('forgotten')",
    "*",
    "a/*b*/--c",
    "\u202e\u0301茶\U0001f375",
    "NULL",
    "1.0",
    "../../etc/passwd",
)
#: No NUL and no half of a pair: no database holds them (`serving.log.values`); blanks at the ends are trimmed.
texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=30),
)
ids = texts.filter(lambda text: text == text.strip(" \t\r\n\f") and text == text.strip())
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SLOW = settings(QUICK, max_examples=4, phases=[Phase.explicit, Phase.generate])
CONNECTION = duckdb.connect()


@given(texts)
@QUICK
def test_a_literal_is_the_text_and_an_identifier_the_name(text):
    assert CONNECTION.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]
    cursor = CONNECTION.execute(f"SELECT {identifier('x')} AS {identifier(text)} FROM (SELECT 1 AS x)")
    assert [column[0] for column in cursor.description] == [text]


@given(st.lists(ids, min_size=1, max_size=5, unique=True), ids)
@QUICK
def test_the_list_means_these_people_and_nobody_else(people, other):
    for those in (forgotten.Named(tuple(people)), forgotten.Forgotten("salt'", dict.fromkeys(map(digest, people), ""))):
        forgotten.with_list(CONNECTION, those)
        rows = CONNECTION.execute(
            f"SELECT {those.sql('u')} FROM (SELECT unnest(?) AS u)", [[*people, other]]
        ).fetchall()
        assert [row[0] for row in rows] == [True] * len(people) + [other in people]
        raw = [json.dumps({"a'\"b": one, "n": 1}, ensure_ascii=False) for one in people]
        rows = CONNECTION.execute(f"SELECT {those.sql_naming('r')} FROM (SELECT unnest(?) AS r)", [raw]).fetchall()
        assert all(row[0] for row in rows)


def digest(text):
    return forgotten.Forgotten("salt'").digest(text)


@given(
    people=st.lists(ids, min_size=2, max_size=4, unique=True),
    columns=st.lists(texts, min_size=3, max_size=3, unique_by=str.lower),
    file=st.sampled_from(["a'b", 'a"b', "a;b", "--", "a b", "茶", "$(x)", "a%b", "{data}", "' OR 1=1", "a\\b"]),
)
@example(people=list(HOSTILE[:12]), columns=["who'; --", 'wh"at', "{data}"], file="x'; DROP TABLE good; --")
@SLOW
def test_ingest_takes_any_id_column_and_file_for_what_it_is(people, columns, file):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = load(home=folder / "ho'me", now=NOW)
        who, what, when = columns
        lines = {who: people, what: ["visit"] * len(people), when: ["2024-01-01T00:00:00Z"] * len(people)}
        pq.write_table(pa.table(lines), folder / f"{file}.parquet")
        entry = {"user_id": identifier(who), "event_type": identifier(what), "event_at": identifier(when)}
        mapping = {"read": {"kind": "parquet"}, "columns": entry, "dedup": "none"}
        (folder / "map.yaml").write_text(json.dumps(mapping), encoding="utf-8")
        report = ingest(config, folder / "map.yaml", folder / f"{file}.parquet")
        assert (report.accepted, report.quarantined) == (len(people), 0)
        assert set(read_events(connect(config), config).execute()["user_id"]) == set(people)
        query, values = ByUser(config).select(people[:1])
        assert {row[1] for row in CONNECTION.execute(query, values).fetchall()} == set(people[:1])
        assert forget_events(config, people[:1], lambda what, share: None).events == 1
        assert set(read_events(connect(config), config).execute()["user_id"]) == set(people[1:])
        assert ingest(config, folder / "map.yaml", folder / f"{file}.parquet").forgotten == 1


@pytest.mark.parametrize("column", [one for one in HOSTILE if "\\" not in one])
def test_a_header_of_csv_is_a_name(tmp_path, column):
    config = load(home=tmp_path / "home", now=NOW)
    quoted = column.replace('"', '""')
    (tmp_path / "x.csv").write_text(f'"{quoted}",t\n"u\'1",2024-01-01\n', encoding="utf-8")
    entry = {"user_id": identifier(column), "event_type": "'visit'", "event_at": "t"}
    mapping = {"read": {"kind": "csv"}, "columns": entry, "dedup": [column]}
    (tmp_path / "map.yaml").write_text(json.dumps(mapping), encoding="utf-8")
    assert ingest(config, tmp_path / "map.yaml", tmp_path / "x.csv").accepted == 1


@pytest.mark.parametrize(
    "expression",
    [
        "who); DROP TABLE good; --",
        "who) FROM (SELECT 1",
        "1; SELECT 2",
        "(SELECT 1); ATTACH '/tmp/x.db'",
        "who) UNION SELECT (1",
        "COPY x TO '/tmp/x'",
        "",
    ],
)
@pytest.mark.parametrize("place", ["columns", "filters", "entities"])
def test_an_entry_of_a_mapping_is_one_expression(tmp_path, expression, place):
    entry = {"user_id": "who", "event_type": "what", "event_at": "t"}
    mapping = {"read": {"kind": "csv"}, "columns": entry, "dedup": "none"}
    mapping |= {
        "columns": {"columns": {**entry, "item_id": expression}},
        "filters": {"filters": {"fair": expression}},
        "entities": {"entities": {"users": {"columns": {"user_id": "who", "x": expression}}}},
    }[place]
    (tmp_path / "map.yaml").write_text(json.dumps(mapping), encoding="utf-8")
    (tmp_path / "x.csv").write_text("who,what,t\nu,visit,2024-01-01\n", encoding="utf-8")
    with pytest.raises(UseropsError, match="expression"):
        ingest(load(home=tmp_path / "home", now=NOW), tmp_path / "map.yaml", tmp_path / "x.csv")


@given(st.lists(ids, min_size=2, max_size=5, unique=True))
@SLOW
def test_the_online_store_finds_each_by_its_id_alone(people):
    with tempfile.TemporaryDirectory() as scratch:
        store = online.SqliteStore(Path(scratch) / "on'line.db")
        keys = vectors.entity_keys(people)
        cell = online.Cell("user'\"x", "vec'tor")
        with store.publication() as writer:
            writer.create(cell.view)
            writer.write({cell: [(key, b"%d" % n, 1, 1) for n, key in enumerate(keys)]})
        assert [row[0][0] for row in store.read(keys, (cell,))] == [b"%d" % n for n in range(len(people))]
        assert people[0].encode() in store.beginning(cell, people[0].encode()[:4], 10)
        with store.publication() as writer:
            assert writer.forget(keys[:1]) == 1
        assert [row[0] is not None for row in store.read(keys, (cell,))] == [False] + [True] * (len(people) - 1)
        store.close()
