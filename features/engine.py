"""The engine that computes features: DuckDB inside this process, held to the configured memory and threads."""

from __future__ import annotations

import warnings

import ibis
from ibis.backends.duckdb import Backend

from configs import Config

__all__ = ["connect"]


def connect(config: Config) -> Backend:
    """A fresh in-memory DuckDB whose session speaks UTC and spills to ``<home>/tmp`` beyond the memory limit.

    Examples
    --------
    >>> from configs import load
    >>> connect(load()).raw_sql("SELECT current_setting('TimeZone')").fetchone()
    ('UTC',)
    """
    # ibis 12.0 calls what DuckDB 1.5 deprecates; Feast switches such warnings on for everybody when it is imported.
    warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
    spill = config.home / "tmp"
    connection = ibis.duckdb.connect(
        memory_limit=config.memory_limit, threads=config.threads, temp_directory=str(spill)
    )
    connection.raw_sql("SET TimeZone = 'UTC'")
    return connection
