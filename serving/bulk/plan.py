"""What a bulk run reads: which release, which snapshot, cut into which parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from configs import Config
from configs.errors import FeatureError
from features import snapshots
from features.catalog import NAMES, digest

__all__ = ["Part", "Source", "parts_of", "sha256_of", "user_snapshot"]

ROWS = 40_960  # of a part at most: four groups of rows as `userops features build` writes them
BATCH = 10_240  # rows read, scored and written at a time


@dataclass(frozen=True)
class Part:
    """Some groups of rows of a file, one after the other."""

    number: int
    groups: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class Source:
    """A Parquet file that is scored, in parts; ``sha256`` is that of its bytes, ``stamp`` their number and time."""

    file: Path
    as_of: datetime
    sha256: str
    stamp: tuple[int, int]
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, file: Path, as_of: datetime, most: int) -> Source:
        """A file in parts of at most so many rows, as far as its groups allow."""
        stamp = _stamp(file)  # first: what replaces the file from now on is seen
        return cls(file, as_of, sha256_of(file), stamp, parts_of(file, most))

    @property
    def rows(self) -> int:
        """How many users it has."""
        return sum(part.rows for part in self.parts)

    def batches(self, part: Part, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows of a part, ``size`` at a time; FeatureError when the file is not the one of `of` any more."""
        try:
            with pq.ParquetFile(self.file) as file:
                self._check()
                for batch in file.iter_batches(
                    size, row_groups=list(part.groups), columns=list(columns), use_threads=False
                ):
                    if batch.num_rows:
                        yield batch
        except (OSError, pa.ArrowException) as error:
            self._check()
            raise _unreadable(self.file, error) from None

    def _check(self) -> None:
        """Parts of two files would have users twice, or never, and of somebody who was forgotten."""
        try:
            stamp = _stamp(self.file)
        except FileNotFoundError:
            stamp = None
        if stamp != self.stamp:
            raise FeatureError(
                f"{self.file} is not what it was when the scoring began",
                because="features were built anew, or somebody was forgotten, meanwhile",
                run="the same command with --fresh",
            )


def user_snapshot(config: Config, as_of: datetime) -> Source:
    """The newest snapshot of user features at or before ``as_of``; refused when it is of another catalogue."""
    at, path = snapshots.newest(config, "user", as_of)
    snapshots.check_catalogue(path, NAMES, digest())
    return Source.of(path, at, ROWS)


def parts_of(path: Path, most: int) -> tuple[Part, ...]:
    """Groups of rows joined until a part has ``most``, or a quarter of them where all are few: threads share them."""
    try:
        about = pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from None
    rows = min(most, max(most // 4, about.num_rows // 16))
    parts: list[Part] = []
    groups: list[int] = []
    held = 0
    for group in range(about.num_row_groups):
        groups.append(group)
        held += about.row_group(group).num_rows
        if held >= rows or group == about.num_row_groups - 1:
            parts.append(Part(len(parts), tuple(groups), held))
            groups, held = [], 0
    return tuple(parts)


def sha256_of(path: Path) -> str:
    """``sha256:`` and the digest of a file."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _unreadable(path: Path, error: Exception) -> FeatureError:
    return FeatureError(f"{path} cannot be read", got=str(error), run="userops features build")
