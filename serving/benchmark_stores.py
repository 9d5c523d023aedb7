"""Which stores ``userops benchmark serving`` measures with: those configured, the embedded ones, or servers of its own.

What is measured writes decisions, so a PostgreSQL of yours gets a schema of its own for as long as that takes; a Redis
of yours is only read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

from configs import Config
from configs.databases import is_postgres
from configs.errors import UseropsError
from features import online
from features.online import Cell, OnlineStore, Row
from features.redis_server import is_installed, redis_server
from serving.log.postgres_server import postgres_server, why_not

__all__ = ["STORES", "copied", "measured_stores"]

STORES = ("configured", "embedded", "real")
ONLINE, DECISIONS, EMBEDDED = "USEROPS_ONLINE", "USEROPS_DECISIONS", "sqlite"
USERS_AT_ONCE = 5_000


@contextmanager
def measured_stores(config: Config, stores: str = "configured") -> Iterator[dict[str, str]]:
    """The variables that the service measured gets, and in ``stores`` and the words for it (no address, no password).

    ``real`` starts a Redis and a PostgreSQL that keep what they say on disk, and copies what is published into the
    Redis.
    """
    with ExitStack() as running:
        if stores == "embedded":
            yield {ONLINE: EMBEDDED, DECISIONS: EMBEDDED}
        elif stores == "configured":
            far = not config.online_uri.startswith("sqlite")
            decisions = EMBEDDED
            if is_postgres(config.decisions_uri):
                decisions = running.enter_context(_own_schema(config.decisions_uri))
            yield {ONLINE: config.online_uri if far else EMBEDDED, DECISIONS: decisions}
        elif stores == "real":
            reason = why_not() or (None if is_installed() else "redis-server is not installed")
            if reason is not None:
                raise UseropsError("no real stores can be started here", because=reason, run="make services")
            redis = running.enter_context(redis_server(durable=True)).uri()
            postgres = running.enter_context(postgres_server()).create("benchmark")
            copied(online.open_store(config.online_uri), online.open_store(redis))
            yield {ONLINE: redis, DECISIONS: postgres}
        else:
            raise UseropsError("there are no such stores", got=stores, expected=STORES)


def told(environment: Mapping[str, str]) -> str:
    """The stores in words.

    Examples
    --------
    >>> told({"USEROPS_ONLINE": "redis://:secret@host/0", "USEROPS_DECISIONS": "sqlite"})
    'redis, sqlite'
    """
    return ", ".join(urlsplit(environment[name]).scheme or environment[name] for name in (ONLINE, DECISIONS))


def copied(source: OnlineStore, target: OnlineStore, home: Path | None = None) -> int:
    """Publish in ``target`` what ``source`` holds, as a publication of ``home`` would; how many users."""
    cells, users = (online.VECTOR, online.PROFILE, online.HISTORY), 0
    last = source.last_publication(online.VECTOR.view)
    if last is None:
        raise UseropsError("nothing is published", got=source.address, run="userops features publish")
    with target.publication() as writer:
        if home is not None:
            writer.claim(home)
        for cell in cells:
            writer.create(cell.view)
        for part in source.scan(cells, USERS_AT_ONCE):
            rows: dict[Cell, list[Row]] = {cell: [] for cell in cells}
            for key, found in part:
                for cell, one in zip(cells, found, strict=True):
                    if one is not None:
                        rows[cell].append((key, *one, None))
            writer.write({cell: those for cell, those in rows.items() if those})
            users += len(part)
        if source.assortment_stamp() is not None:
            writer.write_assortment(source.assortment())
        writer.record(online.VECTOR.view, last["digest"], last["as_of"], last["published_at"], users)
    return users


@contextmanager
def _own_schema(uri: str) -> Iterator[str]:
    """An empty place in a database in which others live; gone with the block."""
    import psycopg
    from psycopg import sql

    from serving.log.postgres import address_of

    if "options=" in urlsplit(uri).query:
        raise UseropsError(
            "the address of the decision log sets options, which the benchmark needs for itself",
            run="the benchmark with --decisions and an address without options",
        )
    name = f"benchmark_{os.getpid()}"
    schema = sql.Identifier(name)
    address = address_of(uri)
    try:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    except psycopg.Error as error:
        raise UseropsError("the benchmark can make no schema for its decisions", got=str(error).strip()) from None
    try:
        yield f"{address}{'&' if '?' in address else '?'}options={quote(f'-csearch_path={name}')}"
    finally:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
