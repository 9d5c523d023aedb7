"""What ingest promises: once, whole, and nothing lost."""

import json
from datetime import UTC, datetime

import duckdb
import ibis
import pandas as pd
import pytest

from configs import load
from configs.errors import ConfigError, EventsError, SourceError
from features.engine import connect
from features.events import COLUMNS, content_hash, read_entities, read_events, span
from features.ingest import ingest
from features.ledger import Ledger

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
MAPPING = {
    "read": {"kind": "csv"},
    "columns": {
        "user_id": "who",
        "event_type": "what",
        "event_at": '"when"',
        "order_id": "bill",
        "amount": "paid",
    },
    "dedup": "none",
}
HEADER = "who,what,when,bill,paid\n"
LINES = [
    "u1,purchase,2024-01-01 08:00:00,b1,10.5\n",
    "u1,purchase,2024-01-01 08:00:00,b1,3\n",
    "u2,visit,2024-01-02,,\n",
]


@pytest.fixture
def config(tmp_path):
    return load(home=tmp_path / "home", now=NOW)


@pytest.fixture
def mapping(tmp_path):
    def write(name="till.yaml", **change):
        path = tmp_path / name
        path.write_text(json.dumps({**MAPPING, **change}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def export(tmp_path):
    def write(lines, name="export.csv", header=HEADER):
        path = tmp_path / name
        path.write_bytes("".join([header, *lines]).encode() if isinstance(lines, list) else lines)
        return path

    return write


def events(config):
    return read_events(connect(config), config).order_by("event_at", "event_id").execute()


def quarantine(config):
    files = [str(stored.path) for stored in Ledger(config).quarantine_files()]
    if not files:
        return pd.DataFrame(columns=["line", "rule"])
    return duckdb.execute("SELECT * FROM read_parquet(?) ORDER BY file, line", [files]).df()


def test_lines_become_events(config, mapping, export):
    report = ingest(config, mapping(), export(LINES))
    assert (report.read, report.accepted, report.quarantined, report.duplicates) == (3, 3, 0, 0)
    assert (report.source, report.files) == ("till", 1)
    found = read_events(connect(config), config)
    assert found.schema() == ibis.schema(COLUMNS)
    frame = events(config)
    assert sorted(frame["amount"].dropna()) == [3, 10.5]
    assert frame["event_at"].iloc[0] == pd.Timestamp("2024-01-01 08:00", tz="UTC")
    assert set(frame["ingested_at"]) == {pd.Timestamp(NOW)}, "by default an event is known from its ingestion on"
    assert frame["channel"].isna().all()
    assert frame["event_id"].is_unique
    assert span(config) == (report.first_event_at, report.last_event_at)
    assert span(config) == (datetime(2024, 1, 1, 8, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))


def test_the_same_file_twice_adds_nothing(config, mapping, export, tmp_path):
    bad = ["u3,purchase,someday,b9,1\n"]
    ingest(config, mapping(), export(LINES + bad))
    before = (content_hash(config), len(quarantine(config)))
    for path in (export(LINES + bad), export(LINES + bad, "copy.csv"), export([*bad, *LINES[::-1]], "shuffled.csv")):
        report = ingest(config, mapping(), path)
        assert (report.read, report.accepted, report.quarantined, report.duplicates) == (4, 0, 0, 4)
        assert report.by_rule == {}
    assert (content_hash(config), len(quarantine(config))) == before


@pytest.mark.parametrize("dedup", ["none", "exact", ["who", "bill", "paid"]])
def test_a_grown_export_adds_only_its_new_lines(config, mapping, export, dedup):
    path = mapping(dedup=dedup)
    ingest(config, path, export([*LINES, "u3,purchase,someday,b9,1\n"]))
    new = ["u4,purchase,2024-02-01,b4,4\n", "u4,purchase,never,b4,5\n"]
    report = ingest(config, path, export(new[:1] + LINES + ["u3,purchase,someday,b9,1\n"] + new[1:]))
    assert (report.read, report.accepted, report.quarantined, report.duplicates) == (6, 1, 1, 4)
    assert len(events(config)) == 4
    assert list(quarantine(config)["line"]) == [5, 7]


def test_equal_lines_are_what_dedup_says(config, mapping, export):
    twice = export([LINES[0], LINES[0], LINES[1]])
    report = ingest(config, mapping("none.yaml", dedup="none"), twice)
    assert (report.accepted, report.duplicates) == (3, 0), "equal lines are distinct events"
    assert events(config)["event_id"].is_unique
    report = ingest(config, mapping("none.yaml", dedup="none"), export([LINES[0]] * 3 + [LINES[1]], "grown.csv"))
    assert (report.accepted, report.duplicates) == (1, 3), "a third equal line is a third event"


def test_exact_drops_lines_that_are_equal_in_every_column(config, mapping, export):
    other_column = LINES[0].replace("10.5", "10.50")  # the same event to us, another line
    report = ingest(config, mapping(dedup="exact"), export([LINES[0], LINES[0], other_column]))
    assert (report.accepted, report.duplicates) == (2, 1)


def test_nothing_and_an_empty_text_are_not_equal(config, mapping, tmp_path):
    line = {"who": "u", "what": "visit", "when": "2024-01-01", "bill": "b", "paid": 1.0}
    frame = pd.DataFrame([{**line, "note": note, "by": by} for note, by in (("", None), (None, ""), ("", None))])
    frame.to_parquet(tmp_path / "export.parquet")
    report = ingest(config, mapping(dedup="exact", read={"kind": "parquet"}), tmp_path / "export.parquet")
    assert (report.accepted, report.duplicates) == (2, 1)


def test_keys_name_the_event_and_the_first_good_line_wins(config, mapping, export):
    path = mapping(dedup=["bill"])
    lines = ["u1,purchase,never,b1,1\n", "u1,purchase,2024-01-01,b1,2\n", "u1,purchase,2024-01-01,b1,3\n"]
    report = ingest(config, path, export(lines))
    assert (report.accepted, report.quarantined, report.duplicates) == (1, 1, 1)
    assert list(events(config)["amount"]) == [2]
    corrected = ["u1,purchase,2024-01-05,b1,9\n"]
    assert ingest(config, path, export(corrected)).duplicates == 1, "the key was read before, on whatever day"


def test_a_line_without_its_key_is_refused_and_not_taken_for_another(config, mapping, export):
    lines = ["u1,visit,2024-01-01,,1\n", "u2,visit,2024-01-01,,\n", "u3,visit,2024-01-01,,\n"]
    report = ingest(config, mapping(dedup=["bill", "paid"]), export(lines))
    assert (report.accepted, report.by_rule) == (1, {"key_missing": 2})
    assert "(change till.yaml: dedup)" in report.examples["key_missing"]


def test_files_of_one_folder_count_as_they_would_one_by_one(config, mapping, export, tmp_path):
    (tmp_path / "in").mkdir()
    export(LINES, "in/1.csv")
    export([LINES[0], *LINES], "in/2.csv")
    report = ingest(config, mapping(), tmp_path / "in")
    assert (report.files, report.read, report.accepted, report.duplicates) == (2, 7, 4, 3)
    again = load(home=tmp_path / "other", now=NOW)
    for name in ("1.csv", "2.csv"):
        ingest(again, mapping(), tmp_path / "in" / name)
    assert content_hash(again) == content_hash(config)
    export(["u9,visit,2024-01-09,,\n"], "in/3.csv")
    report = ingest(config, mapping(), tmp_path / "in" / "*.csv")
    assert (report.files, report.read, report.accepted, report.duplicates) == (3, 8, 1, 7)


@pytest.mark.parametrize(
    ("line", "rule", "value"),
    [
        (" ,visit,2024-01-01,,", "user_id_missing", "who= "),
        ("u,buy,2024-01-01,,", "event_type_unknown", "what=buy"),
        ("u,,2024-01-01,,", "event_type_unknown", "what=NULL"),
        ("u,visit,31.12.2023,,", "event_at_unreadable", "when=31.12.2023"),
        ("u,visit,,,", "event_at_missing", "when=NULL"),
        ("u,visit,1969-12-31 23:59:59,,", "event_at_before_1970", "when=1969-12-31 23:59:59"),
        ("u,visit,2024-03-02 12:00:01,,", "event_at_in_future", "when=2024-03-02 12:00:01"),
        ("u,visit,infinity,,", "event_at_in_future", "when=infinity"),
        ("u,visit,2024-01-01,,free", "amount_unreadable", "paid=free"),
        ("u,visit,2024-01-01,,-0.01", "amount_negative", "paid=-0.01"),
        ("u,visit,2024-01-01,,nan", "amount_not_finite", "paid=nan"),
        ("u,visit,2024-01-01,,inf", "amount_not_finite", "paid=inf"),
        ("u,visit,2024-01-01,,1000.01", "amount_too_large", "paid=1000.01"),
        ("u,visit,2024-01-01,test,", "not_a_test", "bill=test"),
        ("u,visit", "number_of_values", "2 values in 5 columns"),
        ("u,visit,2024-01-01,,\xff", "encoding", "bytes FF at character 21 are not utf-8"),
    ],
)
def test_a_refused_line_is_kept_whole_with_its_rule(config, mapping, export, line, rule, value):
    path = mapping(limits={"amount": 1000}, filters={"not_a_test": "coalesce(bill, '') <> 'test'"})
    content = HEADER.encode() + LINES[0].encode() + line.encode("latin-1") + b"\n" + LINES[2].encode()
    report = ingest(config, path, export(content))
    assert (report.read, report.accepted, report.quarantined) == (3, 2, 1)
    assert report.by_rule == {rule: 1}
    [row] = quarantine(config).to_dict("records")
    assert (row["file"], row["line"], row["rule"], row["value"]) == ("export.csv", 3, rule, value)
    assert row["batch_id"] == report.batch_id
    raw = json.loads(row["raw"])
    if "line" in raw:
        assert raw["line"].startswith("u,visit")
    else:
        assert [raw[name] or "" for name in ("who", "what", "when", "bill", "paid")] == line.split(",")
    example = report.examples[rule]
    assert example.startswith(f"export.csv line 3: {rule}: {value} (change till.yaml: ")


def test_rules_of_columns_that_other_mappings_have(config, mapping, export):
    columns = {
        "user_id": "u",
        "event_type": "'purchase'",
        "event_at": "t",
        "ingested_at": "k",
        "quantity": "q",
        "props": "p",
    }
    header = "u|t|k|q|p\n"
    lines = [
        "1|2024-01-02|2024-01-01 00:00:00|1|{}\n",  # a day early is a clock gone wrong
        '2|2024-01-02|2024-01-05|1|{"discount": 2}\n',
        "3|2024-01-02|2023-12-31 23:59:59|1|\n",
        "4|2024-01-02||1|\n",
        "5|2024-01-02|2024-03-03|1|\n",
        "6|2024-01-02|2024-01-02|-1|\n",
        "7|2024-01-02|2024-01-02|1|[1]\n",
        "8|2024-01-02|2024-01-02|1|{\n",
        "9|2024-01-02|2024-01-02|2e9|\n",
    ]
    path = mapping(columns=columns, read={"kind": "csv", "delim": "|", "quote": ""})
    report = ingest(config, path, export(lines, header=header))
    rules = dict(zip(quarantine(config)["line"], quarantine(config)["rule"], strict=True))
    assert rules == {
        4: "ingested_at_before_event",
        5: "ingested_at_missing",
        6: "ingested_at_in_future",
        7: "quantity_negative",
        8: "props_not_object",
        9: "props_not_object",
        10: "quantity_too_large",
    }
    assert report.accepted == 2
    frame = events(config).set_index("user_id")
    assert frame.loc["1", "ingested_at"] == frame.loc["1", "event_at"], "never known before it happened"
    assert frame.loc["2", "ingested_at"] == pd.Timestamp("2024-01-05", tz="UTC")
    assert json.loads(frame.loc["2", "props"]) == {"discount": 2}


def test_a_line_from_the_future_is_looked_at_again_when_its_day_has_come(tmp_path, mapping, export):
    path = export([*LINES, "u1,visit,2024-03-05,,\n"])
    assert ingest(load(home=tmp_path / "home", now=NOW), mapping(), path).by_rule == {"event_at_in_future": 1}
    later = load(home=tmp_path / "home", now=datetime(2024, 3, 6, tzinfo=UTC))
    report = ingest(later, mapping(), path)
    assert (report.accepted, report.quarantined, report.duplicates) == (1, 0, 3)


def test_instants_without_a_zone_are_those_of_the_source(config, mapping, export):
    ingest(config, mapping(timezone="Asia/Shanghai"), export(["u1,visit,2024-01-02 07:00:00,,\n"]))
    assert span(config)[0] == datetime(2024, 1, 1, 23, tzinfo=UTC)
    assert [stored.event_date for stored in Ledger(config).event_files()] == ["2024-01-01"], "partitions are UTC days"


def test_a_parquet_and_a_query_give_the_same_events_as_the_csv(config, mapping, export, tmp_path):
    path = export(LINES)
    frame = pd.read_csv(path)
    frame.to_parquet(tmp_path / "export.parquet")
    ingest(config, mapping(), path)
    report = ingest(config, mapping("p.yaml", read={"kind": "parquet"}), tmp_path / "export.parquet")
    assert report.duplicates == 3, "the same mapped line is the same event, whoever read it"
    sql = "SELECT * FROM read_csv('{data}', all_varchar = true)"
    report = ingest(config, mapping("q.yaml", read={"kind": "sql", "sql": sql}), path)
    assert report.duplicates == 3
    with duckdb.connect(tmp_path / "shop.duckdb") as database:
        database.execute("CREATE TABLE lines AS SELECT * FROM frame")
    sql = "SELECT * FROM data.lines WHERE paid IS NOT NULL"
    report = ingest(config, mapping("d.yaml", read={"kind": "sql", "sql": sql}), tmp_path / "shop.duckdb")
    assert (report.read, report.duplicates) == (2, 2)


def test_whole_numbers_are_keys_without_a_fraction(config, mapping, tmp_path):
    frame = pd.DataFrame({"who": [13085.0, None, 1.5], "what": "visit", "when": "2024-01-01", "bill": 7.0, "paid": 2.0})
    frame.to_parquet(tmp_path / "export.parquet")
    users = {"users": {"columns": {"user_id": "coalesce(who, 1)"}}}
    report = ingest(config, mapping(read={"kind": "parquet"}, entities=users), tmp_path / "export.parquet")
    assert report.by_rule == {"user_id_missing": 1}
    assert set(events(config)["user_id"]) == {"13085", "1.5"}
    assert set(events(config)["order_id"]) == {"7"}
    assert set(read_entities(connect(config), config, "users").execute()["user_id"]) == {"1", "1.5", "13085"}


def test_refused_lines_of_parquet_have_row_numbers_and_valid_json(config, mapping, tmp_path):
    frame = pd.DataFrame(
        {"who": ["u", None], "what": "visit", "when": "2024-01-01", "bill": b"\xff", "paid": [1, float("nan")]}
    )
    frame.to_parquet(tmp_path / "export.parquet")
    mapped = {**MAPPING["columns"], "order_id": "'b'", "amount": "'nan'::DOUBLE"}
    ingest(config, mapping(read={"kind": "parquet"}, columns=mapped), tmp_path / "export.parquet")
    rows = quarantine(config)
    assert list(rows["line"]) == [1, 2]
    assert list(rows["rule"]) == ["amount_not_finite", "user_id_missing"]
    assert json.loads(rows["raw"][0])["who"] == "u"


def test_a_changed_mapping_does_not_count_old_lines_again(config, mapping, export):
    path = export(LINES)
    ingest(config, mapping(), path)
    other = {**MAPPING["columns"], "amount": "CAST(paid AS DOUBLE) * 2"}
    with pytest.raises(ConfigError, match="has changed") as caught:
        ingest(config, mapping(columns=other), path)
    assert "--replace" in caught.value.run
    assert len(events(config)) == 3
    ingest(config, mapping("second.yaml"), export(["u8,visit,2024-01-03,,\n"], "second.csv"))
    report = ingest(config, mapping(columns=other), path, replace=True)
    assert (report.read, report.accepted) == (3, 3)
    assert sorted(events(config)["amount"].dropna()) == [6, 21]
    assert len(events(config)) == 4, "other sources stay"


def test_replacing_with_the_same_file_keeps_the_events(config, mapping, export):
    path = export([*LINES, "u3,visit,never,,\n"])
    ingest(config, mapping(), path)
    before = content_hash(config)
    report = ingest(config, mapping(), path, replace=True)
    assert (report.accepted, report.quarantined) == (3, 1)
    assert content_hash(config) == before
    ingest(config, mapping(), path)  # sweeps
    assert len(events(config)) == 3
    assert len(quarantine(config)) == 1


def test_another_filter_is_no_other_event(config, mapping, export):
    path = export(LINES)
    ingest(config, mapping(filters={"paid_known": "paid IS NOT NULL"}), path)
    report = ingest(config, mapping(), path)
    assert (report.read, report.accepted, report.duplicates) == (3, 1, 2)


def test_the_content_hash_is_of_the_events_alone(mapping, export, tmp_path):
    hashes = set()
    for name, order, now in (("a", [0, 1, 2], NOW), ("b", [2, 1, 0], datetime(2025, 1, 1, tzinfo=UTC))):
        config = load(home=tmp_path / name, now=now)
        for index in order:
            ingest(config, mapping(), export([LINES[index]], f"{index}.csv"))
        hashes.add(content_hash(config))
    assert len(hashes) == 1
    assert ingest(config, mapping(), export(["u7,visit,2024-01-01,,\n"], "more.csv")).accepted == 1
    assert content_hash(config) not in hashes


def test_reading_before_there_is_anything(config):
    for read in (lambda: read_events(connect(config), config), lambda: span(config)):
        with pytest.raises(EventsError, match="holds no events"):
            read()
    assert read_entities(connect(config), config, "users") is None
    assert content_hash(config).startswith("sha256:")


def test_a_file_that_was_damaged_is_noticed(config, mapping, export):
    ingest(config, mapping(), export(LINES))
    Ledger(config).event_files()[0].path.write_bytes(b"PAR1")
    with pytest.raises(EventsError, match="damaged"):
        read_events(connect(config), config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "export.csv is empty"),
        (HEADER.encode(), "export.csv: no lines to ingest"),
        (b"PAR1....", "export.csv is Parquet, not CSV"),
        (b"\x00\x01\x02", "export.csv is not text"),
        (b"who;what;when;bill;paid\nu;visit;2024-01-01;;\n", "export.csv has no column 'who'"),
        (b"who,what,at,bill,paid\nu,visit,2024-01-01,,\n", "export.csv has no column 'when'"),
    ],
)
def test_what_is_wrong_with_a_whole_file_stops_the_ingest(config, mapping, export, content, message):
    ingest(config, mapping(), export(LINES))
    before = content_hash(config)
    with pytest.raises(SourceError) as caught:
        ingest(config, mapping(), export(content))
    assert caught.value.what == message
    if "no column" in message:
        assert caught.value.got, "what the file has"
        assert caught.value.run.startswith("change till.yaml: columns.")
    assert content_hash(config) == before
    assert not any(Ledger(config).staging.iterdir())


def test_what_is_wrong_with_parquet_stops_the_ingest(config, mapping, tmp_path):
    path = tmp_path / "export.parquet"
    for content, message in ((b"", "is empty"), (b"who,what\n", "cannot be read"), (b"PAR1....PAR1", "cannot be read")):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=f"export.parquet {message}"):
            ingest(config, mapping(read={"kind": "parquet"}), path)
    pd.DataFrame({"who": []}).to_parquet(path)
    with pytest.raises(SourceError, match="has no column 'what'"):
        ingest(config, mapping(read={"kind": "parquet"}), path)


def test_missing_files(config, mapping, tmp_path):
    (tmp_path / "in").mkdir()
    for path in (tmp_path / "none.csv", tmp_path / "in", tmp_path / "in" / "*.csv"):
        with pytest.raises(SourceError, match="holds nothing to read"):
            ingest(config, mapping(), path)
    with pytest.raises(SourceError, match="does not exist"):
        ingest(config, mapping(read={"kind": "sql", "sql": "FROM '{data}'"}), tmp_path / "none.csv")


def test_an_expression_that_does_not_fit_names_its_entry(config, mapping, export):
    for columns, entry in (({"amount": "nosuch(paid)"}, "amount"), ({"amount": "paid[1][2] + [3]"}, "amount")):
        with pytest.raises(ConfigError, match=rf"till\.yaml: columns\.{entry} does not fit export\.csv"):
            ingest(config, mapping(columns={**MAPPING["columns"], **columns}), export(LINES))
    with pytest.raises(SourceError, match="has no column 'nobody'"):
        ingest(config, mapping(filters={"real": "nobody"}), export(LINES))
    with pytest.raises(SourceError, match="has no column 'line_no'"):
        ingest(config, mapping(dedup=["line_no"]), export(LINES))


def test_progress_goes_up_to_one(config, mapping, export):
    shares = []
    ingest(config, mapping(), export(LINES), progress=lambda what, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_entities_are_merged_by_key_and_the_last_row_wins(config, mapping, export, tmp_path):
    entities = {
        "users": {"read": {"kind": "csv", "files": "users.csv"}, "columns": {"user_id": "id", "city": "town"}},
        "items": {"columns": {"item_id": "bill", "payer": "who"}},
    }
    path = mapping(entities=entities, filters={"known": "who IS NOT NULL"})
    bills = [line for line in LINES if ",b" in line]
    ingest(config, path, export(bills))
    assert read_entities(connect(config), config, "users") is None, "the file is optional"
    export(["u1,Rome\n", "u2,Oslo\n", "u1,Bonn\n"], "users.csv", header="id,town\n")
    ingest(config, path, export(bills))
    export(["u2,Kiel\n", "u3,Wien\n"], "users.csv", header="id,town\n")
    ingest(config, path, export(bills))
    table = read_entities(connect(config), config, "users").order_by("user_id").execute()
    assert table.to_dict("list") == {"user_id": ["u1", "u2", "u3"], "city": ["Bonn", "Kiel", "Wien"]}
    assert read_entities(connect(config), config, "items").execute().to_dict("list") == {
        "item_id": ["b1"],
        "payer": ["u1"],
    }
    export([",Rome\n"], "users.csv", header="id,town\n")
    with pytest.raises(SourceError, match="users: 1 lines without user_id, the first is line 2"):
        ingest(config, path, export(bills))
    export(["u1\n"], "users.csv", header="id,town\n")
    with pytest.raises(SourceError, match=r"users\.csv line 2: number_of_values"):
        ingest(config, path, export(bills))
    with pytest.raises(EventsError, match="no such entity table"):
        read_entities(connect(config), config, "orders")
