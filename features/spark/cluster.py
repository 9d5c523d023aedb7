"""A small standalone cluster on this machine: a master and workers as processes of their own, ended by their ids.

``python -m features.spark.cluster`` starts one and prints its address; Ctrl-C ends it. It is what the tests run
against, and a way to try Spark before there is a cluster; real ones are started as Spark's own documentation says.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from configs.errors import UseropsError

__all__ = ["Cluster", "cluster", "missing"]

START_SECONDS = 60.0
_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"


@dataclass
class Cluster:
    """A running cluster: ``address`` as `USEROPS_SPARK` wants it, its processes, master first."""

    address: str
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def stop(self) -> None:
        """End the processes: workers before the master, each with the executors that it began."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
        self.processes.clear()


def missing() -> str | None:
    """What this machine lacks for Spark, in words; None when nothing."""
    if find_spec("pyspark") is None:
        return "pyspark is not installed (make spark)"
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        return "there is no Java (apt-get install openjdk-17-jre-headless)"
    return None


@contextlib.contextmanager
def cluster(workers: int = 2, memory_mb: int = 1024, cores: int = 1) -> Iterator[Cluster]:
    """A cluster that lives as long as the block, on free ports of loopback.

    Parameters
    ----------
    workers, cores, memory_mb
        How many workers, and what each of them may give to executors.

    Raises
    ------
    UseropsError
        When Java or pyspark is missing, or the cluster does not come up within a minute.
    """
    lacking = missing()
    if lacking:
        raise UseropsError("Spark cannot run here", because=lacking)
    with tempfile.TemporaryDirectory(prefix="userops-spark-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        port, page = _free_port(), _free_port()
        running = Cluster(f"spark://127.0.0.1:{port}", folder)
        try:
            master = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
            running.processes.append(_start(folder, "master", _MASTER, master))
            # A worker that comes before the master leads tries again only 10 seconds later.
            _wait(running, lambda: _state(page).get("status") == "ALIVE")
            for number in range(workers):
                words = ["--host", "127.0.0.1", "--webui-port", str(_free_port()), "--cores", str(cores)]
                words += ["--memory", f"{memory_mb}m", "--work-dir", str(folder / f"worker-{number}"), running.address]
                running.processes.append(_start(folder, f"worker-{number}", _WORKER, words))
            _wait(running, lambda: _state(page).get("aliveworkers") == workers)
            yield running
        finally:
            running.stop()


def _start(folder: Path, name: str, kind: str, words: list[str]) -> subprocess.Popen[bytes]:
    import pyspark

    home = Path(pyspark.__file__).parent
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else shutil.which("java")
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_SCALA_VERSION": "2.13",  # as bin/load-spark-env.sh does
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_CONF_DIR": str(folder),  # nobody's own settings
    }
    # Small processes that wait: one thread collects their garbage.
    small = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC"]
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [str(java), *small, "-cp", str(home / "jars" / "*"), kind, *words],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _wait(running: Cluster, ready: Callable[[], bool]) -> None:
    until = time.monotonic() + START_SECONDS
    while not ready():
        if any(process.poll() is not None for process in running.processes) or time.monotonic() > until:
            logs = [path.read_text(errors="replace")[-500:] for path in sorted(running.folder.glob("*.log"))]
            raise UseropsError("the Spark cluster does not start", because="\n".join(logs))
        time.sleep(0.1)


def _state(page: int) -> dict[str, Any]:
    """What the master's page says of the cluster; nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=5) as answer:
            state: dict[str, Any] = json.load(answer)
            return state
    except (OSError, ValueError):
        return {}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


if __name__ == "__main__":
    with cluster() as running:
        sys.stdout.write(f"export USEROPS_SPARK={running.address}   # Ctrl-C here ends the cluster\n")
        sys.stdout.flush()
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        stopped.wait()
