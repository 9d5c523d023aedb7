"""A Redis of our own on a free loopback port, for tests, benchmarks and faults: empty, and gone with the block."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from configs.errors import UseropsError

__all__ = ["RedisServer", "is_installed", "redis_server"]

DATABASES = 4096
START_SECONDS = 20.0


@dataclass
class RedisServer:
    """A running server; ``uri(n)`` names one of its `DATABASES`, with the password if it has one.

    What a ``durable`` one holds is there again when it is started again; any other one comes back empty.
    """

    port: int
    folder: Path
    password: str = ""
    durable: bool = False
    process: subprocess.Popen[bytes] | None = None

    def uri(self, database: int = 0) -> str:
        """The address, as `USEROPS_ONLINE` wants it."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it on its port; returns once it listens."""
        options = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--save": "",
            "--appendonly": "yes" if self.durable else "no",
            "--databases": str(DATABASES),
            "--dir": str(self.folder),
        }
        options |= {"--requirepass": self.password} if self.password else {}
        words = [word for option in options.items() for word in option]
        with (self.folder / "redis.log").open("ab") as output:
            self.process = subprocess.Popen(["redis-server", *words], stdin=subprocess.DEVNULL, stdout=output)
        until = time.monotonic() + START_SECONDS
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > until:
                raise UseropsError(
                    "redis-server does not start", because=(self.folder / "redis.log").read_text()[-500:]
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def is_installed() -> bool:
    """Whether ``redis-server`` can be started here."""
    return shutil.which("redis-server") is not None


@contextmanager
def redis_server(password: str = "", durable: bool = False) -> Iterator[RedisServer]:
    """A server that lives as long as the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="userops-redis-") as folder:
        server = RedisServer(port, Path(folder), password, durable)
        try:
            server.start()
            yield server
        finally:
            server.stop()
