"""Every line of a CSV file is a record, a part of one, blank, or refused; and DuckDB reads what is left."""

import csv
import gzip
import io

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import SourceError
from features import csv_text
from features.csv_lines import MOST_LINES_IN_A_RECORD, csv_pieces
from features.csv_text import csv_header
from features.inputs import _read_csv
from features.sources import Read

GENERATED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@pytest.fixture(scope="module")
def duck():
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def read_all(duck, folder, content, read=None, piece_bytes=1 << 20):
    """What DuckDB gets, as (line, values...) rows, and what was refused."""
    read = read or Read("csv")
    path = folder / "some.csv"
    path.write_bytes(content)
    names, _ = csv_header(path, read, "m.yaml: read")
    rows, refused = [], []
    for piece, _ in csv_pieces(path, read, folder, "m.yaml: read", piece_bytes):
        found = duck.execute(f"SELECT * FROM {_read_csv(piece.path, read, names)}").fetchall()
        assert len(found) == piece.records
        rows += sorted(found)
        refused += piece.refused
    return rows, refused


@GENERATED
@given(
    body=st.lists(
        st.sampled_from(
            [b"a", b",", b",", b'"', b'"', b"\n", b"\n", b" ", b"\r\n", b"\r", b"\xff", b"\0", b"\xc3\xa9"]
        ),
        max_size=40,
    ).map(b"".join),
    chunk=st.integers(min_value=1, max_value=50),
)
def test_no_line_is_lost_or_used_twice(duck, tmp_path, monkeypatch, body, chunk):
    monkeypatch.setattr(csv_text, "CHUNK", chunk)
    rows, refused = read_all(duck, tmp_path, b"x,y\n" + body, piece_bytes=chunk)
    # Values hold line breaks only inside quotes: so many more lines belong to the record.
    used = [
        line + more for line, *values in rows for more in range(1 + sum((value or "").count("\n") for value in values))
    ]
    used += [one.line for one in refused]
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    blank = {number for number, line in enumerate(lines, start=2) if not line.strip(b" ")}
    assert len(used) == len(set(used))
    assert set(used) - blank == {number for number, line in enumerate(lines, start=2) if line.strip(b" ")}


@GENERATED
@given(
    table=st.lists(
        st.lists(st.text(st.sampled_from("ab,\"\n'; é𝄞\t\\"), min_size=1, max_size=6), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ends=st.sampled_from(["\n", "\r\n"]),
    chunk=st.integers(min_value=1, max_value=50),
)
def test_what_a_csv_writer_wrote_comes_back_with_the_lines_of_an_editor(
    duck, tmp_path, monkeypatch, table, quoting, ends, chunk
):
    monkeypatch.setattr(csv_text, "CHUNK", chunk)
    table = [row for row in table if not row[0].startswith(" ") and not row[1].startswith(" ")]
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=quoting, lineterminator=ends)
    expected = []
    writer.writerow(["x", "y"])
    for row in table:
        expected.append((out.getvalue().count("\n") + 1, *row))
        writer.writerow(row)
    rows, refused = read_all(duck, tmp_path, out.getvalue().encode(), piece_bytes=chunk)
    assert refused == []
    assert rows == expected


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"1,2,3", "number_of_values"),
        (b"1", "number_of_values"),
        (b'"1",2,3', "number_of_values"),
        (b'1,"2" 3', "quotes"),
        (b'1,"2', "quotes"),
        (b"1,\xff", "encoding"),
        (b"1,2\0", "control_character"),
        (b"1,2\r3", "control_character"),
        (b"1," + b"2" * 1_000_001, "line_too_long"),
    ],
)
def test_a_bad_line_does_not_take_its_neighbours_with_it(duck, tmp_path, line, rule):
    rows, refused = read_all(duck, tmp_path, b"x,y\nfirst,1\n" + line + b"\nlast,2\n")
    assert rows == [(2, "first", "1"), (4, "last", "2")]
    assert [(one.line, one.rule) for one in refused] == [(3, rule)]


def test_the_text_of_a_refused_line_is_whole_and_its_bad_bytes_are_named(duck, tmp_path):
    _, [refused] = read_all(duck, tmp_path, b"x,y\n\xe9t\xe9,1\n")
    assert refused.text == "\\xe9t\\xe9,1"
    assert refused.value == "bytes E9 at character 1 are not utf-8"


def test_a_quote_that_never_ends_costs_one_line(duck, tmp_path):
    lines = b"".join(b"%d,ok\n" % number for number in range(2 * MOST_LINES_IN_A_RECORD))
    rows, refused = read_all(duck, tmp_path, b'x,y\n1,"stray\n' + lines)
    assert [one.line for one in refused] == [2]
    assert rows[0] == (3, "0", "ok")
    assert len(rows) == 2 * MOST_LINES_IN_A_RECORD


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "cp1252", "gb18030"])
def test_encodings(duck, tmp_path, encoding):
    text = "x,y\né,1\nü,2\n"
    read = Read("csv", encoding="utf-8" if encoding == "utf-8-sig" else encoding)
    rows, refused = read_all(duck, tmp_path, text.encode(encoding), read)
    assert rows == [(2, "é", "1"), (3, "ü", "2")]
    assert refused == []


def test_a_bad_byte_in_another_encoding_costs_one_line(duck, tmp_path):
    content = "x,y\n中,1\n".encode("gb18030") + b"\xff,2\n" + "文,3\n".encode("gb18030")
    rows, refused = read_all(duck, tmp_path, content, Read("csv", encoding="gb18030"))
    assert rows == [(2, "中", "1"), (4, "文", "3")]
    assert [(one.line, one.rule) for one in refused] == [(3, "encoding")]


def test_dialects(duck, tmp_path):
    rows, _ = read_all(duck, tmp_path, b" x  y\n\n 01   a \r\n 02\t b\r\n", Read("csv", delim="whitespace"))
    assert rows == [(3, "01", "a"), (4, "02", "b")]
    rows, _ = read_all(duck, tmp_path, b"x;y\n'a;b';'it''s'\n", Read("csv", delim=";", quote="'", escape="'"))
    assert rows == [(2, "a;b", "it's")]
    rows, _ = read_all(duck, tmp_path, b'x,y\n"a\\"b",c\n', Read("csv", escape="\\"))
    assert rows == [(2, 'a"b', "c")]
    rows, _ = read_all(duck, tmp_path, b'x\ty\n"a\tb"\n', Read("csv", delim="\t", quote=""))
    assert rows == [(2, '"a', 'b"')]
    rows, _ = read_all(duck, tmp_path, b"# made by the till\n\nx,y\nNULL,1\n", Read("csv", skip=1, nulls=("NULL",)))
    assert rows == [(4, None, "1")]
    rows, _ = read_all(duck, tmp_path, b"1,2\n", Read("csv", header=False, names=("x", "y")))
    assert rows == [(1, "1", "2")]
    rows, _ = read_all(duck, tmp_path, b"\xef\xbb\xbf1,2\n", Read("csv", header=False, names=("x", "y")))
    assert rows == [(1, "1", "2")], "a byte order mark is no part of the first value"
    rows, _ = read_all(duck, tmp_path, gzip.compress(b"x,y\n1,2\n"))
    assert rows == [(2, "1", "2")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PAR1\x15\x04", "is Parquet, not CSV"),
        (b"\x7fELF\0\0\0\n\0", "is not text"),
        ("x,y\n1,2\n".encode("utf-16"), "is not text"),
        (b"x,X\n1,2\n", "names a column twice"),
        (gzip.compress(b"x,y\n" * 1000, mtime=0)[:-9], "cannot be read to its end"),
    ],
)
def test_a_file_that_is_no_csv_is_an_error_that_names_it(duck, tmp_path, content, message):
    with pytest.raises(SourceError, match=f"some.csv .*{message}|some.csv {message}"):
        read_all(duck, tmp_path, content)
