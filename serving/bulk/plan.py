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
    """A Parquet file that is scored, in parts; ``sha256`` is that of its bytes."""

    file: Path
    as_of: datetime
    sha256: str
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """How many users it has."""
        return sum(part.rows for part in self.parts)

    def batches(self, part: Part, columns: Sequence[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
        """The rows of a part, ``size`` at a time."""
        with pq.ParquetFile(self.file) as file:
            for batch in file.iter_batches(
                size, row_groups=list(part.groups), columns=list(columns), use_threads=False
            ):
                if batch.num_rows:
                    yield batch


def user_snapshot(config: Config, as_of: datetime) -> Source:
    """The newest snapshot of user features at or before ``as_of``; refused when it is of another catalogue."""
    at, path = snapshots.newest(config, "user", as_of)
    snapshots.check_catalogue(path, NAMES, digest())
    return Source(path, at, sha256_of(path), parts_of(path, ROWS))


def parts_of(path: Path, most: int) -> tuple[Part, ...]:
    """Groups of rows joined until a part has ``most``, or a quarter of them where all are few: threads share them."""
    try:
        about = pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise FeatureError(f"{path} cannot be read", got=str(error), run="userops features build") from None
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
