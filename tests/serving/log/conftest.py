"""A log of each kind, empty for every test: SQLite always, PostgreSQL where its server (`server`) is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from serving.log import DecisionLog, DecisionRow, ScoredCandidate, ShownOffer

NOW = 1_780_000_000_000_000
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["sqlite", "postgres"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database in which there is nothing yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'some where' / 'decisions.db'}"
        return
    server, name = request.getfixturevalue("server"), f"fresh_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(server.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield server + name
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "decisions.db"
    log = DecisionLog.open(f"sqlite:///{path}")
    log.close()
    return path


@pytest.fixture(scope="session")
def emptied(server: str) -> Callable[[], str]:
    """Empties the one PostgreSQL log of a test run and gives its address."""
    with psycopg.connect(server.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE contract")
    uri = server + "contract"
    DecisionLog.open(uri).close()

    def empty() -> str:
        with psycopg.connect(uri.replace("+psycopg", ""), autocommit=True) as connection:
            sql = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            tables = [row[0] for row in connection.execute(sql).fetchall()]
            connection.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY".encode())
        return uri

    return empty


@pytest.fixture(params=["sqlite", "postgres"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty log."""
    if request.param == "sqlite":
        path = tmp_path / "decisions.db"
        shutil.copy(request.getfixturevalue("template"), path)
        return f"sqlite:///{path}"
    address: str = request.getfixturevalue("emptied")()
    return address


@pytest.fixture
def log(uri: str) -> Iterator[DecisionLog]:
    opened = DecisionLog.open(uri)
    yield opened
    opened.close()


def _row(number: int = 1, **changes: Any) -> DecisionRow:
    """A decision for user ``u`` that showed ``a`` and ``b`` on wecom, with everything filled in."""
    content: dict[str, Any] = {
        "decision_id": f"d_{number:06d}",
        "request_id": f"q_{number}",
        "user_id": "u",
        "decided_at_us": NOW,
        "status": "decided",
        "status_reason": None,
        "body_digest": "sha256:body",
        "release_id": "r1",
        "policy_digest": "sha256:policy",
        "vector_hash": "h1",
        "vector": b"\x00\x00\x00\x00\x00\x00\xf0\x3f" * 3,
        "history": b"\x07" * 48,
        "inputs": '{"名": "生鲜"}'.encode(),
        "response": b'{"offers": [0.1]}',
        "offers": (
            ShownOffer("a", 1, 0.1, 0.98, 2.5, "wecom", "sidebar"),
            ShownOffer("b", 2, 0.05, 0.02, 1.5, "wecom", None),
        ),
        "candidates": (ScoredCandidate("a", 0.1, 2.5), ScoredCandidate("b", 1e-300, -0.0)),
    }
    return DecisionRow(**{**content, **changes})


@pytest.fixture
def row() -> Callable[..., DecisionRow]:
    """Makes a decision; see `_row`."""
    return _row


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts another process of Python that runs the code given; none of them outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *words: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", code, *words],
                cwd=ROOT,
                text=True,
                stdout=subprocess.PIPE,
                stdin=subprocess.PIPE,
            )
        )
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
