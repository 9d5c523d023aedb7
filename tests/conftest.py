"""A home in which the whole way has been walked once, by the commands a user would type; a PostgreSQL server."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

# LightGBM reads it when it is loaded; `make test` sets it too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).parents[1]
END = "2026-06-01"


@dataclass(frozen=True)
class Walked:
    """A home after ``userops`` went from a simulated shop to published features."""

    home: Path
    shop: Path

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``userops WORDS`` in this home, with the clock at the end of the shop."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "userops.py"), *words],
            env={**os.environ, "USEROPS_HOME": str(self.home), "USEROPS_NOW": f"{END}T00:00:00+00:00"},
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """Simulate, ingest, train, promote, release, build and publish: 2,000 people over 300 days."""
    home = tmp_path_factory.mktemp("home")
    walked = Walked(home, home / "shop")
    walked.run("simulate", str(walked.shop), "--users", "2000", "--days", "300", "--end", END)
    walked.run("ingest", "shop", "--data", str(walked.shop), "--json", str(home / "ingest.json"))
    walked.run("train", "--json", str(home / "train.json"))
    walked.run("promote")
    walked.run("release")
    walked.run("features", "build")
    walked.run("features", "publish", "--json", str(home / "publish.json"))
    return walked


def _programs() -> Path | None:
    """The folder of PostgreSQL's server programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    candidates = [*found, *([Path(on_path).resolve()] if on_path else [])]
    return next((path.parent for path in reversed(candidates) if (path.parent / "postgres").exists()), None)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address, but for the database, of a PostgreSQL server of our own on a free loopback port."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (no initdb)")
    owner: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            person = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root and there is no user postgres")
        owner = {"user": person.pw_uid, "group": person.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="userops-postgres-"))
    running: subprocess.Popen[bytes] | None = None
    try:
        if owner:
            os.chown(folder, owner["user"], owner["group"])
        data, log = folder / "data", folder / "server.log"
        quiet = {"stdin": subprocess.DEVNULL, "cwd": folder, **owner}
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "userops", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            timeout=120,
            **quiet,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with log.open("wb") as output:
            running = subprocess.Popen(
                [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"],
                stdout=output,
                stderr=output,
                **quiet,
            )
        address = f"postgresql+psycopg://userops@127.0.0.1:{port}/"
        for _ in range(300):
            try:
                psycopg.connect(address.replace("+psycopg", "") + "postgres").close()
                break
            except psycopg.OperationalError:
                assert running.poll() is None, log.read_text()
                time.sleep(0.1)
        yield address
    finally:
        if running is not None:
            running.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        shutil.rmtree(folder, ignore_errors=True)
