"""CSV as bytes: every record gets the number of its line, and what cannot be a record is set aside whole.

DuckDB parses CSV fast but does not say which line a row came from, and one broken line stops it or swallows its
neighbours. So each file is first copied, a piece at a time, into a clean one whose first column is the line number
(counted from 1, header included, as an editor shows it). What DuckDB then reads cannot fail.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from features.csv_text import BLANKS, Undecodable, chunks, csv_header, lines_of, opened
from features.sources import Read

__all__ = ["CsvPiece", "Refused", "csv_pieces"]

LONGEST_RECORD = 1_000_000  # bytes
MOST_LINES_IN_A_RECORD = 1_000
MOST_REFUSED_AT_ONCE = 100_000  # lines held in memory


@dataclass(frozen=True)
class Refused:
    """A line that is no record: its number, the rule it breaks, what is wrong there, and its text."""

    line: int
    rule: str
    value: str
    text: str


@dataclass
class CsvPiece:
    """A clean part of the file, on disk, with the number of records in it, and what was refused on the way."""

    path: Path
    records: int = 0
    refused: list[Refused] = field(default_factory=list)
    good: list[bytes] = field(default_factory=list)

    def flush(self, out: IO[bytes]) -> None:
        """Write the records that are held in memory."""
        self.records += len(self.good)
        out.write(b"".join(self.good))
        self.good.clear()


def csv_pieces(
    path: Path, read: Read, folder: Path, where: str, piece_bytes: int = 128 << 20
) -> Iterator[tuple[CsvPiece, float]]:
    """Clean pieces of about ``piece_bytes``, and the share of the file that is behind each."""
    names, before = csv_header(path, read, where)
    numbering = _Numbering(read, len(names), before)
    total = path.stat().st_size
    with path.open("rb") as raw:
        rest = chunks(opened(raw, read), path)
        for index in itertools.count():
            piece = CsvPiece(folder / f"piece-{index:06d}.csv")
            chunk: bytes | None = b""
            with piece.path.open("wb") as out:
                while chunk is not None and out.tell() < piece_bytes and len(piece.refused) < MOST_REFUSED_AT_ONCE:
                    chunk = next(rest, None)
                    if chunk is not None:
                        numbering.feed(chunk, piece, out)
                if chunk is None:
                    numbering.finish(piece, out)
            yield piece, min(1.0, raw.tell() / total)
            piece.path.unlink()
            if chunk is None:
                return


class _Numbering:
    """Copies records with their line numbers; remembers a quoted record that is still open."""

    def __init__(self, read: Read, width: int, before: int) -> None:
        self.read, self.width, self.before = read, width, before
        self.line = 1  # the number of the next line
        self.open: list[bytes] = []  # lines of a record whose quote is not closed yet
        self.delim = b"\x1f" if read.delim == BLANKS else read.delim.encode()
        self.quote = b"" if read.delim == BLANKS else read.quote.encode()
        if self.quote:
            self.exact, self.closed, self.unfinished = _patterns(read, width)

    def feed(self, chunk: bytes, piece: CsvPiece, out: IO[bytes]) -> None:
        """Take whole lines; only the last of the file may lack its line break."""
        if self.line == 1:
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")
        lines, sound = lines_of(chunk, self.read)
        plain = sound and self.width > 1 and self.read.delim != BLANKS
        plain = plain and chunk.count(b"\r") == chunk.count(b"\r\n") and b"\0" not in chunk
        plain = plain and not (self.quote and self.quote in chunk)
        delim, delims, good = self.delim, self.width - 1, piece.good
        for line in lines:
            # Nearly every line of nearly every file goes this way: it has to be short.
            if plain and isinstance(line, bytes) and line.count(delim) == delims and self._fits(line):
                good.append(b"%d%b%b\n" % (self.line, delim, line))
                self.line += 1
            else:
                self.take(line, piece)
        piece.flush(out)

    def _fits(self, line: bytes) -> bool:
        return len(line) <= LONGEST_RECORD and not self.open and self.line > self.before

    def finish(self, piece: CsvPiece, out: IO[bytes]) -> None:
        """End of file: a record that is still open never closes."""
        while self.open:
            for line in self._give_up(piece):
                self.take(line, piece)
        piece.flush(out)

    def take(self, line: bytes | Undecodable, piece: CsvPiece) -> None:
        """One line, with all that can be wrong with it."""
        queue: deque[bytes | Undecodable] = deque([line])
        while queue:
            queue.extendleft(reversed(self._step(queue.popleft(), piece)))

    def _step(self, line: bytes | Undecodable, piece: CsvPiece) -> list[bytes | Undecodable]:
        """Use one line; the lines that have to be looked at again."""
        if self.line <= self.before:
            self.line += 1
            return []
        if isinstance(line, Undecodable) or b"\0" in line or b"\r" in line:
            if self.open:
                return [*self._give_up(piece), line]
            if isinstance(line, Undecodable):
                return self._refuse(piece, "encoding", line.why, line.text)
            return self._refuse(piece, "control_character", "a zero byte or a lone carriage return", _text(line))
        if self.open:
            return self._continue(line, piece)
        if not line.strip(b" "):
            self.line += 1
            return []
        if len(line) > LONGEST_RECORD:
            return self._refuse(piece, "line_too_long", f"{len(line)} bytes", _text(line))
        if self.read.delim == BLANKS:
            fields = line.split()
            line, found = self.delim.join(fields), len(fields)
        elif self.quote and self.quote in line:
            if self.exact.fullmatch(line):
                return self._emit(line, 1, piece)
            if self.unfinished.fullmatch(line):
                self.open = [line]
                self.line += 1
                return []
            if not self.closed.fullmatch(line):
                return self._refuse(piece, "quotes", "a quote inside a quoted value is not doubled", _text(line))
            found = -1
        else:
            found = line.count(self.delim) + 1
        if found != self.width:
            value = f"{found} values" if found > 0 else "more or fewer values"
            return self._refuse(piece, "number_of_values", f"{value} in {self.width} columns", _text(line))
        return self._emit(line, 1, piece)

    def _continue(self, line: bytes, piece: CsvPiece) -> list[bytes | Undecodable]:
        """A further line of an open record: it closes it, goes on, or shows that the quote was a stray one."""
        lines = [*self.open, line]
        if len(lines) > MOST_LINES_IN_A_RECORD or sum(map(len, lines)) > LONGEST_RECORD:
            return [*self._give_up(piece), line]
        if self.quote not in line:
            self.open.append(line)
            self.line += 1
            return []
        record = b"\n".join(lines)
        if self.exact.fullmatch(record):
            self.open = []
            self.line -= len(lines) - 1
            return self._emit(record, len(lines), piece)
        if self.unfinished.fullmatch(record):
            self.open = lines
            self.line += 1
            return []
        return [*self._give_up(piece), line]

    def _emit(self, record: bytes, lines: int, piece: CsvPiece) -> list[bytes | Undecodable]:
        piece.good.append(b"%d%b%b\n" % (self.line, self.delim, record))
        self.line += lines
        return []

    def _refuse(self, piece: CsvPiece, rule: str, value: str, text: str) -> list[bytes | Undecodable]:
        piece.refused.append(Refused(self.line, rule, value, text))
        self.line += 1
        return []

    def _give_up(self, piece: CsvPiece) -> list[bytes | Undecodable]:
        """Refuse the line that opened the quote; the lines after it are looked at again, on their own."""
        first, *rest = self.open
        self.open = []
        self.line -= len(rest) + 1
        self._refuse(piece, "quotes", "a quoted value does not end", _text(first))
        return list(rest)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")


def _patterns(read: Read, width: int) -> tuple[re.Pattern[bytes], re.Pattern[bytes], re.Pattern[bytes]]:
    """Records with the right number of values, with any number, and records whose last value is still open."""
    delim, quote, escape = (re.escape(mark.encode()) for mark in (read.delim, read.quote, read.escape or read.quote))
    blanks = b"" if read.delim == " " else b" *"  # DuckDB forgives blanks around quotes
    inner = b"(?:[^%b]|%b%b)*+" % (quote, quote, quote)
    if escape != quote:
        inner = b"(?:[^%b%b]|%b[%b%b])*+" % (quote, escape, escape, quote, escape)
    quoted = b"%b%b%b%b%b" % (blanks, quote, inner, quote, blanks)
    plain = b"(?!%b%b)[^%b\\n]*+" % (blanks, quote, delim)
    value = b"(?:%b|%b)" % (quoted, plain)
    exact = b"%b(?:%b%b){%d}" % (value, delim, value, width - 1)
    closed = b"%b(?:%b%b)*+" % (value, delim, value)
    unfinished = b"(?:%b%b)*+%b%b%b" % (value, delim, blanks, quote, inner)
    return re.compile(exact, re.DOTALL), re.compile(closed, re.DOTALL), re.compile(unfinished, re.DOTALL)
