"""Text files as bytes: unzipped, in UTF-8, cut at line breaks, with what does not decode set apart; and the header."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from configs.errors import SourceError
from features.sources import Read

__all__ = ["BLANKS", "Undecodable", "chunks", "csv_header", "lines_of", "opened"]

BLANKS = "whitespace"  # `delim: whitespace`
CHUNK = 2 << 20  # bytes
LONGEST_FILE_OF_ONE_LINE = 64 << 20  # bytes
_WIDE = ("utf-16", "utf-32")  # encodings in which a line break is not the one byte 0x0A


@dataclass(frozen=True)
class Undecodable:
    """A line whose bytes are not of the encoding: its text with the bad bytes escaped, and which they are."""

    text: str
    why: str


def csv_header(path: Path, read: Read, where: str) -> tuple[tuple[str, ...], int]:
    """The names of the columns, and how many lines stand before the first record."""
    with path.open("rb") as raw:
        head = raw.read(4)
        if not head:
            raise SourceError(f"{path.name} is empty", got="0 bytes", because="the export stopped before it began")
        if head == b"PAR1":
            raise SourceError(f"{path.name} is Parquet, not CSV", got=read.kind, run=f"set {where}.kind to parquet")
        raw.seek(0)
        head = next(chunks(opened(raw, read), path), b"")
    if b"\0" in b"".join(head.split(b"\n")[: read.skip + 1]):
        because = f"it is binary, or in utf-16: then set {where}.encoding"
        raise SourceError(f"{path.name} is not text", got="zero bytes where it begins", because=because)
    if not read.header:
        return read.names, read.skip
    text = head.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").decode(_inner(read), "replace")
    before = read.skip
    lines = text.split("\n")[before : before + 1_000]
    while lines and not lines[0].strip():
        lines, before = lines[1:], before + 1
    if read.delim == BLANKS:
        names, used = (lines[0].split() if lines else []), 1
    else:
        try:
            names, used = _first_record(lines, read)
        except csv.Error as error:
            raise SourceError(f"{path.name} has no header that can be read", got=str(error)) from None
    names = [name or f"column{position}" for position, name in enumerate(names)]
    folded = [name.lower() for name in names]
    twice = sorted({name for name in folded if folded.count(name) > 1})
    if twice:
        because = "names of columns are compared without regard to case; or there is no header"
        raise SourceError(f"{path.name} names a column twice", got=twice, because=because, run=f"see {where}.header")
    return tuple(names), before + used


def _first_record(lines: list[str], read: Read) -> tuple[list[str], int]:
    text = io.StringIO("\n".join(lines), newline="")
    if read.quote:
        reader = csv.reader(text, delimiter=read.delim, quotechar=read.quote)
    else:
        reader = csv.reader(text, delimiter=read.delim, quoting=csv.QUOTE_NONE)
    return [name.strip() for name in next(reader, [])], reader.line_num


def lines_of(chunk: bytes, read: Read) -> tuple[list[bytes] | list[bytes | Undecodable], bool]:
    """The lines of a chunk in UTF-8, and whether all of them could be decoded."""
    encoding = _inner(read)
    chunk = chunk.replace(b"\r\n", b"\n")
    try:
        text = chunk.decode(encoding)
    except UnicodeDecodeError:
        return [_utf8(line, encoding) for line in _split(chunk)], False
    return _split(chunk if encoding == "utf-8" else text.encode()), True


def _utf8(line: bytes, encoding: str) -> bytes | Undecodable:
    try:
        return line.decode(encoding).encode()
    except UnicodeDecodeError as error:
        bad = line[error.start : error.end].hex(" ").upper()
        why = f"bytes {bad} at character {len(line[: error.start].decode(encoding, 'replace')) + 1} are not {encoding}"
        return Undecodable(line.decode(encoding, "backslashreplace"), why)


def _split(chunk: bytes) -> list[bytes]:
    lines = chunk.split(b"\n")
    return lines[:-1] if not lines[-1] else lines


def _inner(read: Read) -> str:
    """The encoding of the bytes that `opened` gives."""
    name = codecs.lookup(read.encoding).name
    return "utf-8" if name.startswith(_WIDE) or name in ("utf-8", "utf-8-sig") else name


def opened(raw: IO[bytes], read: Read) -> IO[bytes]:
    """The bytes of the file, unzipped; UTF-16 and UTF-32 as UTF-8, because their line break is not one byte."""
    magic = raw.read(2)
    raw.seek(0)
    stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if magic == b"\x1f\x8b" else raw  # type: ignore[assignment]
    if codecs.lookup(read.encoding).name.startswith(_WIDE):
        return codecs.EncodedFile(stream, "utf-8", read.encoding)
    return stream


def chunks(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    """Chunks that end at a line break, except the last."""
    rest: list[bytes] = []
    while True:
        try:
            chunk = stream.read(CHUNK)
        except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
            raise SourceError(f"{path.name} cannot be read to its end", got=str(error)) from None
        if not chunk:
            break
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, chunk[:cut]])
            rest = []
        rest.append(chunk[cut:])
        if sum(map(len, rest)) > LONGEST_FILE_OF_ONE_LINE:
            raise SourceError(
                f"{path.name} has no line break within {LONGEST_FILE_OF_ONE_LINE >> 20} MB", got="not CSV"
            )
    if any(rest):
        yield b"".join(rest)
