"""``accepted + quarantined + duplicates == read`` for files of all kinds of dirt, against an independent count."""

import json
from datetime import UTC, datetime

import duckdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs import load
from features import csv_text, inputs
from features.engine import connect
from features.events import read_events
from features.ingest import ingest
from features.ledger import Ledger

MAPPING = {
    "read": {"kind": "csv"},
    "columns": {"user_id": "u", "event_type": "k", "event_at": "t", "amount": "a"},
    "filters": {"no_test": "u IS NULL OR u NOT LIKE 'test%'"},
}

# Records by what must become of them; blanks are no lines.
GOOD = [
    b"u1,visit,2024-01-01 10:00:00,",
    b"u1,purchase,2024-01-01 10:00:00,5",
    b'"u1",purchase,2024-01-01 10:00:00,5',
    b" u1 ,purchase,2024-01-01 10:00:00,5.0",
    b'"u\n2",visit,2024-01-03,"1"',
    b'"u""3",visit,2024-01-03,1',
    "é,visit,2024-01-04,2".encode(),
]
BAD = [
    b",visit,2024-01-01,",
    b"test1,visit,2024-01-01,",
    b"u1,jump,2024-01-01,",
    b"u1,visit,,",
    b"u1,visit,noon,",
    b"u1,visit,2199-01-01,",
    b"u1,visit,2024-01-01,-1",
    b"u1,visit,2024-01-01,1e99",
    b"u1,visit,2024-01-01,lots",
    b"u1,visit",
    b"u1,visit,2024-01-01,1,2",
    b"u1,visit,2024-01-01,\xff",
    b"u1,visit,2024-01-01,\0",
    b'u1,"visit" ,"2024-01-01"x,',
]
BLANK = [b"", b"  "]

lines = st.lists(st.sampled_from([*GOOD, *GOOD, *BAD, *BLANK]), max_size=25)


def events_of(records, dedup):
    """How many events the records of one file are, told by hand."""
    good = [record for record in records if record in GOOD]
    if dedup == "none":
        return len(good)
    raw = {record.replace(b'"u1"', b"u1") for record in good}  # quotes are not part of a value
    return len(raw)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(lines, min_size=1, max_size=3),
    dedup=st.sampled_from(["none", "exact"]),
    ends=st.sampled_from([b"\n", b"\r\n"]),
    chunk=st.sampled_from([7, 64, 1 << 20]),
)
def test_every_line_is_accounted_for(tmp_path_factory, monkeypatch, files, dedup, ends, chunk):
    folder = tmp_path_factory.mktemp("dirty")
    monkeypatch.setattr(csv_text, "CHUNK", chunk)
    pieces = inputs.csv_pieces
    monkeypatch.setattr(inputs, "csv_pieces", lambda *given: pieces(*given, piece_bytes=chunk))
    (folder / "m.yaml").write_text(json.dumps({**MAPPING, "dedup": dedup}), encoding="utf-8")
    config = load(home=folder / "home", now=datetime(2024, 6, 1, tzinfo=UTC))
    for number, records in enumerate(files):
        records = [*records, GOOD[0]]  # a file without lines is an error of its own
        (folder / f"{number}.csv").write_bytes(b"u,k,t,a" + ends + ends.join(records))
        count = sum(record not in BLANK for record in records)
        report = ingest(config, folder / "m.yaml", folder / f"{number}.csv")
        assert report.read == count
        assert report.accepted + report.quarantined + report.duplicates == report.read
        assert report.quarantined == sum(report.by_rule.values())
        if number == 0:
            assert report.accepted == events_of(records, dedup)
            refused = [record for record in records if record in BAD]
            assert report.quarantined == (len(refused) if dedup == "none" else len(set(refused)))
    monkeypatch.undo()
    stored = sum(batch.accepted for batch in Ledger(config).batches())
    assert read_events(connect(config), config).count().execute() == stored
    refused = [str(one.path) for one in Ledger(config).quarantine_files()]
    kept = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [refused]).fetchone()[0] if refused else 0
    assert kept == sum(batch.quarantined for batch in Ledger(config).batches())
    again = ingest(config, folder / "m.yaml", folder)
    assert (again.accepted, again.quarantined) == (0, 0)
    assert again.files == len(files)
