"""A PostgreSQL of our own on a free loopback port, for tests and benchmarks: empty, and gone with the block."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from configs.errors import UseropsError

__all__ = ["PostgresServer", "postgres_server", "programs", "why_not"]

START_SECONDS = 60.0
OWNER = "postgres"  # PostgreSQL refuses to run as root


@dataclass
class PostgresServer:
    """A running server; ``uri(name)`` names a database of it, with the password if it has one."""

    port: int
    folder: Path
    durable: bool = True
    password: str = ""
    process: subprocess.Popen[bytes] | None = None
    _account: dict[str, Any] = field(default_factory=dict)

    def uri(self, database: str = "postgres", user: str = "userops") -> str:
        """The address, as `USEROPS_DECISIONS` wants it."""
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Make its files; ``durable`` False: a crash of the machine may cost what was committed."""
        self._account = _account()
        if self._account:
            os.chown(self.folder, self._account["user"], self._account["group"])
        secret = self.folder / "secret"
        secret.write_text(f"{self.password or 'trusted'}\n", encoding="utf-8")
        asked = "scram-sha-256" if self.password else "trust"
        words = ["-U", "userops", "-A", asked, f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync"]
        secret.chmod(0o644)
        self._run("initdb", "-D", str(self.folder / "data"), *words)
        secret.unlink()

    def start(self) -> None:
        """Start it on its port, with the data of before; returns once it takes connections."""
        where = programs()
        assert where is not None
        fast = [] if self.durable else ["-F"]
        words = ["-D", str(self.folder / "data"), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", *fast]
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [where / "postgres", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                **self._account,
            )
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise UseropsError("PostgreSQL does not start", because=log.read_text("utf-8", "replace")[-500:])
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and all its connections as a crash of its machine would: nothing is said, nothing is written."""
        process, self.process = self.process, None
        if process is None:
            return
        children = _children(process.pid)
        for pid in (process.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End it at once, without waiting for anybody; the next start recovers."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def create(self, database: str) -> str:
        """A new database; its address."""
        with psycopg.connect(self.uri(), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
        return self.uri(database)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.uri(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *words: str) -> None:
        where = programs()
        assert where is not None
        done = subprocess.run(
            [where / program, *words],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
            cwd=self.folder,
            timeout=120,
            **self._account,
        )
        if done.returncode:
            raise UseropsError(f"{program} failed", because=done.stderr.decode("utf-8", "replace")[-500:])


def programs() -> Path | None:
    """The folder of PostgreSQL's server programs, the newest one; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    candidates = [*found, *([Path(on_path).resolve()] if on_path else [])]
    return next((path.parent for path in reversed(candidates) if (path.parent / "postgres").exists()), None)


def why_not() -> str | None:
    """Why no server can be started here; None when it can."""
    if programs() is None:
        return "PostgreSQL's server is not installed (apt-get install postgresql)"
    try:
        _account()
    except KeyError:
        return f"PostgreSQL does not run as root, and there is no user {OWNER}"
    return None


@contextmanager
def postgres_server(*, durable: bool = True, password: str = "") -> Iterator[PostgresServer]:
    """A server that lives as long as the block.

    Raises
    ------
    UseropsError
        Where none can be started.
    """
    if (reason := why_not()) is not None:
        raise UseropsError("no PostgreSQL can be started here", because=reason)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="userops-postgres-"))
    server = PostgresServer(port, folder, durable, password)
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> dict[str, Any]:
    """As whom it runs, where that is not us."""
    if os.geteuid() != 0:
        return {}
    person = pwd.getpwnam(OWNER)
    return {"user": person.pw_uid, "group": person.pw_gid, "extra_groups": []}


def _children(parent: int) -> list[int]:
    """The processes that a process began and that are still its own (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found
