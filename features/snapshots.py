"""Snapshot files: which there are, which is the newest, and whether they are of the catalogue in force."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from configs import Config
from configs.errors import CatalogueMismatch, FeatureError

__all__ = ["check_catalogue", "drop_all", "drop_unreadable", "is_current", "newest", "snapshots"]

BY_PEOPLE = ("user", "user_category", "history", "profile")  # the tables that have rows of persons
STEM = "%Y-%m-%dT%H%M%SZ"
DIGEST_KEY = b"catalogue_digest"  # in a file's metadata


def snapshots(config: Config, table: str) -> list[tuple[datetime, Path]]:
    """Every snapshot of a feature table, oldest first."""
    found = []
    for path in (config.home / "features" / table).glob("[!.]*.parquet"):
        try:
            found.append((datetime.strptime(path.stem, STEM).replace(tzinfo=UTC), path))
        except ValueError:
            raise FeatureError(
                f"{path} is not a snapshot", got=path.stem, expected="2011-09-10T000000Z", run=f"rm {path}"
            ) from None
    return sorted(found)


def newest(config: Config, table: str, as_of: datetime) -> tuple[datetime, Path]:
    """The newest snapshot of ``table`` at or before ``as_of``."""
    found = snapshots(config, table)
    known = [snapshot for snapshot in found if snapshot[0] <= as_of]
    if not known:
        raise FeatureError(
            f"no snapshot of {table} features at or before {as_of.isoformat()}",
            got=f"{len(found)} later ones" if found else "no snapshot at all",
            run="userops features build",
        )
    return known[-1]


def check_catalogue(path: Path, names: tuple[str, ...], digest: str) -> None:
    """Refuse a snapshot of user features that was built from another catalogue."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    written = (schema.metadata or {}).get(DIGEST_KEY)
    columns = [column for column in schema.names if column not in ("user_id", "as_of", "built_at")]
    if columns != list(names) or (written is not None and written.decode() != digest):
        differing = sorted(set(columns) ^ set(names))
        raise CatalogueMismatch(
            f"{path.name} was built from another feature catalogue",
            got=differing or (written or b"another order").decode(),
            expected=digest,
            run="userops features build",
        )


def metadata(path: Path) -> dict[str, str]:
    """What a snapshot file says of its making: ``catalogue_digest``, ``code``, ``known``, the hash of ``events``."""
    import pyarrow.parquet as pq

    return {key.decode(): value.decode() for key, value in (pq.read_metadata(path).metadata or {}).items()}


def is_current(path: Path, origin: dict[str, str]) -> bool:
    """Whether the file was made from ``origin``; one that does not name its events never is."""
    return "events" in origin and path.exists() and origin.items() <= metadata(path).items()


def drop_unreadable(config: Config, table: str, digest: str) -> None:
    """Remove the snapshots of another catalogue: nobody can read them any more."""
    for _, path in snapshots(config, table):
        if metadata(path).get(DIGEST_KEY.decode()) != digest:
            path.unlink(missing_ok=True)


def drop_all(config: Config) -> None:
    """Remove every snapshot: the events they were made from are no more."""
    for path in (config.home / "features").glob("*/*.parquet"):
        path.unlink(missing_ok=True)
