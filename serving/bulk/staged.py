"""Every user beside their history, in the order of their ids: what the interest model is asked about, as one file.

Histories are stored in whatever order they were computed. DuckDB sorts them once, on disk, within a limit of memory;
the same snapshots give the same file, so a run that lost it goes on all the same.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from configs import Config
from configs.errors import FeatureError
from features import asof, snapshots
from features.inputs import literal
from serving.bulk.plan import Source

__all__ = ["history_snapshot", "staged"]

MEMORY = "1GB"
USERS = 8_192  # of a part at most: some 300,000 rows of 38 categories
GROUP = 2_048  # users read, scored and written at a time


def history_snapshot(config: Config, as_of: datetime) -> Path:
    """The stored histories of the very instant of the users' snapshot.

    Training stores users alone, also of later instants: older histories beside them would say that nobody did anything
    since.

    Raises
    ------
    FeatureError
        When there are none of that instant.
    """
    at, path = snapshots.newest(config, "history", as_of)
    if at != as_of:
        raise FeatureError(
            "no histories are stored of the instant of the users' snapshot",
            got=f"the newest are of {at.isoformat()}",
            expected=as_of.isoformat(),
            run=f"userops features build --as-of {as_of.isoformat()}",
        )
    return path


def staged(config: Config, source: Source, histories: Path, work: Path) -> Source:
    """``work/interest.parquet`` with user_id, as_of and history, null where there is none; made unless it is there."""
    path = work / "interest.parquet"
    if not path.exists():
        work.mkdir(exist_ok=True)
        beside = path.with_name(f".{path.name}")
        with asof.connect(MEMORY, config.threads, str(work / "spill")) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(
                f"COPY (SELECT u.user_id, u.as_of::TIMESTAMPTZ AS as_of, h.history "
                f"FROM read_parquet({literal(source.file)}) u LEFT JOIN read_parquet({literal(histories)}) h "
                f"USING (user_id) ORDER BY u.user_id) TO {literal(beside)} "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP}, WRITE_BLOOM_FILTER false, "
                "DICTIONARY_SIZE_LIMIT 1)"
            )
        with beside.open("rb") as stream:
            os.fsync(stream.fileno())
        beside.replace(path)
    return Source.of(path, source.as_of, USERS)
