"""The service under test: ``userops serve`` in a session of its own, its workers and follower by pid, its answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from configs.errors import UseropsError

__all__ = ["ROOT", "Reply", "Service"]

ROOT = Path(__file__).parents[2]
READY_SECONDS, ASK_SECONDS, STOP_SECONDS = 120.0, 30.0, 30.0


@dataclass(frozen=True)
class Reply:
    """An answer, or none (``status`` 0): what it said and how long it took."""

    status: int
    seconds: float
    content: bytes = b""
    retry_after: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """The JSON object of the answer; empty where it is none."""
        try:
            told = json.loads(self.content)
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}

    @property
    def refusal(self) -> str:
        """Status and detail of a refusal, in a line."""
        return f"{self.status} {self.told.get('detail', '')}".strip()


class Service:
    """``userops serve`` on a free loopback port; ``environment`` says which home and stores."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.log = folder / "service.log"
        self.environment = {**environment, "BENTOML_HOME": str(folder / "bentoml")}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, wait: bool = True) -> None:
        """Start it, and wait until it is ready."""
        command = [sys.executable, str(ROOT / "userops.py"), "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT,
                start_new_session=True,
            )  # fmt: skip
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return once ``/readyz`` says 200."""
        end = time.monotonic() + READY_SECONDS
        while True:
            ready = self.get("/readyz").status == 200
            if self.process.poll() is not None or time.monotonic() > end:
                raise UseropsError("the service does not get ready", because=self.log.read_text("utf-8")[-800:])
            if ready:
                return
            time.sleep(0.1)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The parent of the workers."""
        assert self._process is not None, "it was not started"
        return self._process

    def workers(self) -> list[int]:
        """The pids of the workers that live, oldest first."""
        return self._children("worker")

    def follower(self) -> list[int]:
        """The pid of the process that brings live events online, if there is one."""
        return self._children("serving.follow")

    def _children(self, word: str) -> list[int]:
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if child.status() != psutil.STATUS_ZOMBIE and any(word in part for part in child.cmdline()[:4]):
                    found.append((child.create_time(), child.pid))
            except psutil.NoSuchProcess:
                continue
        return [pid for _, pid in sorted(found)]

    def kill(self) -> None:
        """End it and all that it started, as a power failure would: SIGKILL to each."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)  # first, so that it starts nobody anew
            self._process.wait()
            self._process = None
        gone = [one for one in psutil.process_iter() if self._started(one)]
        for one in gone:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(gone, timeout=STOP_SECONDS)

    def kill_parent(self) -> None:
        """End the parent of the workers alone."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _started(self, process: psutil.Process) -> bool:
        """Whether a process is of this service, also where its parent is gone: none but ours knows our folder."""
        try:
            return bool(process.environ().get("BENTOML_HOME") == self.environment["BENTOML_HOME"])
        except psutil.Error:
            return False

    def stop(self) -> None:
        """End it as an operator would; take all of it along if that does not help."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    # ── questions ───────────────────────────────────────────────────────────────────────────────────────────────

    def get(self, path: str) -> Reply:
        """The answer to a GET."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: object, seconds: float = ASK_SECONDS) -> Reply:
        """The answer to a POST of ``body``: JSON, or bytes as they are."""
        return self._ask("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), seconds)

    def _ask(self, method: str, path: str, content: bytes | None, seconds: float = ASK_SECONDS) -> Reply:
        began = time.perf_counter()
        headers = {"content-type": "application/json"} if content is not None else {}
        try:
            # A connection of its own each time: the next question may meet another worker.
            got = httpx.request(method, self.url + path, content=content, headers=headers, timeout=seconds)
        except httpx.TransportError:
            return Reply(0, time.perf_counter() - began)
        return Reply(got.status_code, time.perf_counter() - began, got.content, got.headers.get("retry-after"))
