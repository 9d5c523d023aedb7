"""The scratch installation on which faults are made: a home, its stores, its service, the witness of its answers."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from configs import Config
from configs.databases import EMBEDDED
from configs.errors import UseropsError
from features import online
from features.redis_server import RedisServer, redis_server
from features.redis_server import is_installed as redis_is_installed
from serving.benchmark_stores import copied
from serving.chaos.disk import Disk
from serving.chaos.fault import Skipped
from serving.chaos.service import ROOT, Service
from serving.chaos.witness import Witness
from serving.log import DecisionLog
from serving.log.postgres_server import PostgresServer, postgres_server, why_not

__all__ = ["SHOP", "Stage", "lay"]

Show = Callable[[str, float], None]
SHOP = ("--users", "400", "--days", "200")
COMMAND_SECONDS = 300.0
WITNESSES = 20
# What of our environment would lead a command elsewhere.
_ELSEWHERE = ("USEROPS_", "PROMETHEUS", "BENTOML", "LD_PRELOAD")
# Where MLflow keeps addresses of files.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


class Stage:
    """One home in a scratch folder; whatever it starts ends with it.

    Parameters
    ----------
    folder
        A folder of its own; the home is ``folder/disk/home``.
    now
        Where the clock of the home stands; None: it goes.
    mount
        Whether a tmpfs may be mounted under the home, so that its disk can be full.
    """

    def __init__(self, folder: Path, megabytes: int, now: datetime | None = None, mount: bool = True) -> None:
        self.now = now
        self.closing = ExitStack()
        self.disk = Disk(folder / "disk", megabytes, mount)
        self.closing.callback(self.disk.close)
        self._begun: list[subprocess.Popen[str]] = []
        self.closing.callback(self._end_commands)
        self.folder, self.home = folder, folder / "disk" / "home"
        self.home.mkdir()

    def close(self) -> None:
        """End everything that was started."""
        self.closing.close()

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────────

    def environment(self, home: Path | None = None, /, **more: str) -> dict[str, str]:
        """The environment of a command on this home, or on another one; ``more`` may name stores of the stage."""
        given = {name: value for name, value in os.environ.items() if not name.startswith(_ELSEWHERE)}
        given |= EMBEDDED  # project.yaml may name the servers of a team: what is broken and promoted here is not theirs
        given |= {"USEROPS_HOME": str(home or self.home), "OMP_NUM_THREADS": "1", "TZ": "UTC"}
        given |= {"USEROPS_KEYS": str(self.folder / "no-keys.json")}  # nobody here holds the keys of a copied home
        given |= {"USEROPS_NOW": self.now.isoformat()} if self.now else {}
        return given | {"BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", **more}

    def begin(self, *words: str, before: Sequence[str] = (), home: Path | None = None) -> subprocess.Popen[str]:
        """``userops WORDS``, under way; ``before`` are words before the command."""
        command = [*before, sys.executable, str(ROOT / "userops.py"), *words]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, env=self.environment(home), cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        self._begun = [*(one for one in self._begun if one.poll() is None), process]
        return process

    def _end_commands(self) -> None:
        """End what is still under way when the stage is left in haste: it would write into what is cleaned up."""
        for process in self._begun:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """How a command ended, and the last line it said; one that does not end is killed."""
        try:
            out, err = process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise UseropsError(f"{process.args!r} did not end in {COMMAND_SECONDS:g} s") from None
        said = [line.strip() for line in (err if process.returncode else out).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("error:")]
        return process.returncode, (errors or said or [""])[-1]

    def run(self, *words: str, home: Path | None = None) -> str:
        """``userops WORDS``, which must succeed; the last line it said."""
        code, said = self.ended(self.begin(*words, home=home))
        if code:
            raise UseropsError(f"userops {' '.join(words)} ended with {code}", because=said)
        return said

    # ── stores and services ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def decisions_uri(self) -> str:
        """The decision log of the plain service."""
        return f"sqlite:///{self.home / 'decisions.db'}"

    def log(self, uri: str | None = None) -> DecisionLog:
        """The decision log, as another process sees it."""
        return DecisionLog.open(uri or self.decisions_uri)

    @property
    def published(self) -> online.SqliteStore:
        """What is published in the home."""
        return online.SqliteStore(online.path_of(self.home))

    @cached_property
    def users(self) -> list[str]:
        """Some published users; the first `WITNESSES` of them are the witness's, and nothing is told of those."""
        store = self.published
        found = [one.decode() for one in store.beginning(online.VECTOR, b"", 200)]
        store.close()
        if len(found) <= WITNESSES:
            raise UseropsError("too few users are published", got=len(found), expected=f"more than {WITNESSES}")
        return found

    @cached_property
    def service(self) -> Service:
        """``userops serve`` on this home, with the stores of its home."""
        return self.serving(self.folder / "plain", self.home)

    @cached_property
    def team_home(self) -> Path:
        """A home of its own for the service of a team, since one home has one follower; it holds the releases alone."""
        home = self.folder / "team-home"
        shutil.copytree(self.home / "releases", home / "releases", symlinks=True)
        return home

    def serving(self, folder: Path, home: Path, **environment: str) -> Service:
        """A service on a home, started."""
        folder.mkdir()
        made = Service(folder, self.environment(home, **environment))
        self.closing.callback(made.stop)
        made.start()
        return made

    @cached_property
    def witness(self) -> Witness:
        """What the plain service answered at first."""
        return Witness.of(self.service, self.users[:WITNESSES], self.now or datetime.now(UTC))

    @cached_property
    def redis(self) -> RedisServer:
        """A Redis that keeps what it has over a restart, holding what is published in the home."""
        if not redis_is_installed():
            raise Skipped("Redis is not installed")
        server = self.closing.enter_context(redis_server(durable=True))
        copied(self.published, online.open_store(server.uri()), self.team_home)
        return server

    @cached_property
    def postgres(self) -> PostgresServer:
        """A PostgreSQL with an empty database ``decisions``."""
        if (reason := why_not()) is not None:
            raise Skipped(reason)
        server = self.closing.enter_context(postgres_server())
        server.create("decisions")
        return server

    @cached_property
    def team(self) -> Service:
        """``userops serve`` of the same release as a team has it: features in Redis, decisions in PostgreSQL."""
        uris = {"USEROPS_ONLINE": self.redis.uri(), "USEROPS_DECISIONS": self.postgres.uri("decisions")}
        return self.serving(self.folder / "team", self.team_home, **uris)


def lay(stage: Stage, source: Config | None, show: Show) -> None:
    """Fill the home of the stage: a copy of another one, or a small shop walked the whole way by the commands."""
    if source is None:
        _walk(stage, show)
        return
    for needed in (source.home / "releases" / "current", online.path_of(source.home)):
        if not needed.exists():
            raise UseropsError(f"{source.home} cannot be copied: nothing to serve in it", expected=str(needed))
    show(f"copying {source.home}", 0.0)
    shutil.copytree(source.home, stage.home, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("tmp"))
    mlflow = stage.home / "mlflow.db"
    if mlflow.exists():
        with closing(sqlite3.connect(mlflow)) as connection, connection:
            for table, column in _ADDRESSES:
                change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
                connection.execute(change, (str(source.home), str(stage.home)))


def _walk(stage: Stage, show: Show) -> None:
    shop = str(stage.home / "shop")
    models = (("train", "churn", "interest"), ("promote",), ("release",))
    published = (("features", "build"), ("features", "publish"))
    for number, words in enumerate((("simulate", shop, *SHOP), ("ingest", "shop", "--data", shop))):
        show(f"a small shop: {words[0]}", number / 4)
        stage.run(*words)
    show("a small shop: train and publish", 0.5)
    with ThreadPoolExecutor(2) as pool:  # one does not wait for the other
        for done in [pool.submit(_one_by_one, stage, steps) for steps in (models, published)]:
            done.result()


def _one_by_one(stage: Stage, steps: Sequence[Sequence[str]]) -> None:
    for words in steps:
        stage.run(*words)
