"""One batch in the making: the lines are mapped into staged files, told apart, and written as they will be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pyarrow as pa

from configs.errors import SourceError
from features import forgotten
from features.csv_lines import Refused
from features.events import COLUMNS
from features.inputs import Input, Piece, literal
from features.ledger import Ledger, StoredFile
from features.rules import MAPPED, entry_of, judged, sql_type
from features.sources import Source

__all__ = ["Staging"]

_MAPPED = ", ".join(MAPPED)


class Staging:
    """The files of one batch before it is committed, in ``folder``, and the DuckDB that makes them.

    The steps, in order: ``add`` every piece, ``tell_apart``, ``write_events``, ``write_quarantine``.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: Source,
        ledger: Ledger,
        batch_id: str,
        replace: bool,
        people: forgotten.Forgotten | None = None,
    ) -> None:
        self.connection, self.source, self.ledger, self.batch_id = connection, source, ledger, batch_id
        self.folder = ledger.staging / batch_id
        self.leaving = source.name if replace else None  # the source whose older batches will not count
        self.inputs: list[str] = []
        self.lines: list[int] = []
        self.people = people or forgotten.Forgotten()
        self.forgotten: list[int] = []  # of the lines of each input, those of people whom nobody may know any more
        forgotten.with_list(connection, self.people)
        self.parts = 0
        for name in ("lines", "pieces", "quarantine"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def add(self, one: Input, piece: Piece) -> None:
        """Map and judge the lines of a piece; every one of them must come out again."""
        if not self.inputs or self.inputs[-1] != one.name:
            self.inputs.append(one.name)
            self.lines.append(0)
            self.forgotten.append(0)
        target = self.folder / "lines" / f"{self.parts:06d}.parquet"
        number = len(self.inputs) - 1
        query = judged(self.connection, self.source, piece.relation, piece.columns, one.name)
        self.connection.execute("SET TimeZone = ?", [self.source.timezone])
        try:
            self._copy(f"SELECT {number} AS input, * FROM ({query})", target)
        except duckdb.Error as error:
            because = str(error).split("\n")[0]
            raise SourceError(f"{one.name} cannot be read to its end", because=because) from None
        finally:
            self.connection.execute("SET TimeZone = 'UTC'")
        came = self._one(f"SELECT count(*) FROM read_parquet({literal(target)})")
        if came != piece.lines:
            raise SourceError(f"{one.name}: lines were lost in reading", got=came, expected=piece.lines)
        self._leave_out(target)
        self.parts += 1
        if piece.refused:
            self._add_refused(number, piece.refused)
        self.lines[-1] += piece.lines + len(piece.refused)

    def _add_refused(self, number: int, refused: list[Refused]) -> None:
        """Lines that are no records; their text is the whole of them."""
        table = pa.table(
            {
                "line": pa.array([one.line for one in refused], pa.int64()),
                "rule": pa.array([one.rule for one in refused], pa.string()),
                "value": pa.array([one.value for one in refused], pa.string()),
                "raw": pa.array([json.dumps({"line": one.text}, ensure_ascii=False) for one in refused], pa.string()),
            }
        )
        self.connection.register("not_records", table)
        nulls = ", ".join(f"CAST(NULL AS {sql_type(name)}) AS {name}" for name in MAPPED)
        hashes = "md5(raw) AS raw_hash, CAST(NULL AS VARCHAR) AS identity"
        target = self.folder / "lines" / f"{self.parts:06d}.parquet"
        self._copy(f"SELECT {number} AS input, line, rule, value, raw, {hashes}, {nulls} FROM not_records", target)
        self.connection.unregister("not_records")
        self._leave_out(target)
        self.parts += 1

    def _leave_out(self, lines: Path) -> None:
        """Take the lines of people who were forgotten, and refused ones that name them, out of a staged file."""
        if not self.people.digests:
            return
        scan = f"FROM read_parquet({literal(lines)})"
        theirs = f"({self.people.sql('user_id')} OR (rule IS NOT NULL AND {self.people.sql_naming('raw')}))"
        count = self._one(f"SELECT count(*) {scan} WHERE {theirs}")
        if count:
            rest = lines.with_suffix(".rest")
            self._copy(f"SELECT * {scan} WHERE NOT {theirs}", rest)
            rest.replace(lines)
            self.forgotten[-1] += count

    def tell_apart(self) -> None:
        """Number equal lines and mark the first of each: tables ``good_numbers`` and ``refused_numbers``.

        Among equal events of one input the k-th has the number k; with ``dedup: exact`` equal lines are one line,
        with keys equal keys are one event. The same id in two inputs, or in the store, is the same event.
        Only lines whose hash occurs twice are ordered, because a window over all of them would sort the whole batch.
        """
        lines = f"read_parquet({literal(self.folder / 'lines' / '*.parquet')})"
        self.connection.execute(f"CREATE VIEW good AS SELECT * FROM {lines} WHERE rule IS NULL")
        line_id = f"md5(concat_ws('|', {literal(self.source.name)}, rule, md5(raw)))"
        self.connection.execute(
            f"CREATE VIEW refused AS SELECT * REPLACE ({line_id} AS identity) FROM {lines} WHERE rule IS NOT NULL"
        )
        for name in ("good", "refused"):
            if self.source.dedup == "exact":
                nth_copy = "row_number() OVER (PARTITION BY raw_hash, identity ORDER BY input, line)"
            elif self.source.dedup == "none" or name == "refused":
                nth_copy = "1"
            else:
                nth_copy = "row_number() OVER (PARTITION BY identity ORDER BY input, line)"
            self.connection.execute(f"""
CREATE TEMP TABLE {name}_numbers AS
WITH suspects AS (SELECT hash(identity) AS suspect FROM {name} GROUP BY 1 HAVING count(*) > 1),
crowd AS (SELECT input, line, identity, raw_hash FROM {name} SEMI JOIN suspects ON hash({name}.identity) = suspect),
copies AS (SELECT *, {nth_copy} AS copy FROM crowd),
numbered AS (
    SELECT *, row_number() OVER (PARTITION BY input, identity, copy > 1 ORDER BY line) AS number FROM copies)
SELECT input, line, number,
    copy = 1 AND row_number() OVER (PARTITION BY identity, number, copy > 1 ORDER BY input, line) = 1 AS first
FROM numbered""")

    def write_events(self) -> int:
        """Write the new events by date; how many good lines there were, known ones included."""
        good, first, last = self.connection.execute(
            "SELECT count(*), strftime(min(event_at), '%Y-%m-%d'), strftime(max(event_at), '%Y-%m-%d') FROM good"
        ).fetchall()[0]
        if not good:
            return 0
        # An event id tells the date, unless it comes from keys: then any date may hold it.
        span = (first, last) if isinstance(self.source.dedup, str) else ("", "9999-99-99")
        known = self._known("event_id", self.ledger.event_files(span[0], span[1], self.leaving))
        columns = ", ".join(COLUMNS)
        # In the order of the dates, so that few partitions are open at a time and memory stays bounded.
        self.connection.execute(f"""
COPY (SELECT {columns}, CAST(event_at AS DATE) AS event_date FROM (
        SELECT {self._id("good")} AS event_id, {_MAPPED} FROM good
        LEFT JOIN good_numbers USING (input, line) WHERE coalesce(first, true)) AS new
    {known} ORDER BY event_date)
TO {literal(self.folder / "data")}
(FORMAT parquet, PARTITION_BY (event_date), COMPRESSION zstd, FILENAME_PATTERN {literal(self.batch_id + "-{i}")})""")
        return int(good)

    def write_quarantine(self) -> dict[str, int]:
        """Write the newly refused lines; how many there are by rule."""
        known = self._known("line_id", self.ledger.quarantine_files(self.leaving))
        files = " ".join(f"WHEN {number} THEN {literal(name)}" for number, name in enumerate(self.inputs))
        target = self.folder / "quarantine" / f"{self.batch_id}.parquet"
        self._copy(
            f"""
SELECT {literal(self.batch_id)} AS batch_id, {literal(self.source.name)} AS source, new.* FROM (
    SELECT {self._id("refused")} AS line_id, CASE input {files} END AS file, line, rule, value, raw FROM refused
    LEFT JOIN refused_numbers USING (input, line) WHERE coalesce(first, true)) AS new
{known} ORDER BY file, line""",
            target,
        )
        rows = self.connection.execute(
            f"SELECT rule, count(*) FROM read_parquet({literal(target)}) GROUP BY rule ORDER BY 2 DESC, rule"
        ).fetchall()
        if not rows:
            target.unlink()
        return dict(rows)

    def examples(self) -> dict[str, str]:
        """By rule, the first refused line of this batch: file, line, value, and the mapping entry to change."""
        target = self.folder / "quarantine" / f"{self.batch_id}.parquet"
        if not target.exists():
            return {}
        rows = self.connection.execute(
            f"SELECT rule, file, line, value FROM read_parquet({literal(target)}) "
            "QUALIFY row_number() OVER (PARTITION BY rule ORDER BY file, line) = 1"
        ).fetchall()
        return {
            r: f"{file} line {line}: {r}: {value} (change {entry_of(self.source, r)})" for r, file, line, value in rows
        }

    def again(self) -> set[str]:
        """The inputs with a line that was refused because of the hour: reading them later may end differently."""
        rows = self.connection.execute(
            "SELECT DISTINCT input FROM refused WHERE ends_with(rule, '_in_future')"
        ).fetchall()
        return {self.inputs[row[0]] for row in rows}

    def summary(self) -> tuple[int, int | None, int | None, str]:
        """Of the new events: count, first and last ``event_at`` in microseconds, and the order-free digest."""
        if not any((self.folder / "data").glob("*/*.parquet")):
            return 0, None, None, "0" * 32
        # An id is the hash of its event, unless it comes from keys.
        columns = ["event_id"] if isinstance(self.source.dedup, str) else [c for c in COLUMNS if c != "ingested_at"]
        texts = [f"epoch_us({name})" if COLUMNS[name].startswith("timestamp") else name for name in columns]
        row = self.connection.execute(
            f"SELECT count(*), epoch_us(min(event_at)), epoch_us(max(event_at)), "
            f"printf('%032x', bit_xor(md5_number(concat_ws('|', {', '.join(texts)})))) "
            f"FROM read_parquet({literal(self.folder / 'data' / '*' / '*.parquet')}, hive_partitioning = false)"
        ).fetchall()[0]
        return row[0], row[1], row[2], row[3]

    def discard(self) -> None:
        """Remove the folder of the batch."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _known(self, key: str, stored: list[StoredFile]) -> str:
        """The join that leaves out what the store holds."""
        if not stored:
            return ""
        self.connection.execute("SET VARIABLE stored = ?", [[str(file.path) for file in stored]])
        scan = f"SELECT {key} FROM read_parquet(getvariable('stored'), hive_partitioning = false)"
        return f"ANTI JOIN ({scan}) AS old USING ({key})"

    @staticmethod
    def _id(name: str) -> str:
        return f"{name}.identity || CASE WHEN number > 1 THEN '-' || number ELSE '' END"

    def _copy(self, query: str, target: Path) -> None:
        self.connection.execute(f"COPY ({query}) TO {literal(target)} (FORMAT parquet)")

    def _one(self, query: str) -> int:
        return int(self.connection.execute(query).fetchall()[0][0])
