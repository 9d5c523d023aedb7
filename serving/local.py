"""The service from the command line: its process, started and ended, and its answers without a process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from pydantic import ValidationError

from configs import Config
from configs.beside import environment
from configs.counters import own_counters
from configs.errors import UseropsError
from configs.keys import own_key

if TYPE_CHECKING:
    from serving.live import Live

__all__ = ["ask", "command", "decide", "follower", "post", "prepare", "replay", "running"]

READY_SECONDS = 120


def command(config: Config, host: str | None = None, port: int | None = None) -> list[str]:
    """How the service is started; the project's folder holds the service module."""
    return [
        *(sys.executable, "-m", "bentoml", "serve", "serving.service:UserOps"),
        *("--host", host or config.serving.host, "--port", str(port or config.serving.port)),
        *("--working-dir", str(Path(__file__).parent.parent)),
    ]


def prepare(config: Config) -> None:
    """Let the decision log be there, and of today's schema, before several workers look for it at once."""
    from serving.log import DecisionLog

    DecisionLog.open(config.decisions_uri).close()


def follower() -> list[str]:
    """How the process that brings live events online is started, and kept; it ends with whoever started it."""
    return [sys.executable, "-m", "serving.keeper"]


@contextmanager
def running(config: Config, show: Callable[[str, float], None]) -> Iterator[str]:
    """The address of a service in a process of its own, on the configured port or a free one; ended with the block."""
    address_port = _port(config)
    address = f"http://{config.serving.host}:{address_port}"
    log = config.home / "service.log"
    prepare(config)
    with log.open("w", encoding="utf-8") as output:
        words, counting = command(config, port=address_port), {**os.environ, **own_counters(config.home)}
        process = subprocess.Popen(words, env=counting, stdout=output, stderr=subprocess.STDOUT)
        beside = subprocess.Popen(follower(), env=environment(), stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait(process, address, log, show)
            yield address
        finally:
            for one in (process, beside):
                one.terminate()
            for one in (process, beside):
                one.wait(timeout=60)


def _port(config: Config) -> int:
    with socket.socket() as probe:
        if probe.connect_ex((config.serving.host, config.serving.port)) != 0:
            return config.serving.port
    with socket.socket() as probe:
        probe.bind((config.serving.host, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], address: str, log: Path, show: Callable[[str, float], None]) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise UseropsError("the service ended at once", because=f"see {log}", run="userops serve")
        if _ready(address):
            return
        show("waiting for /readyz", 1 - (until - time.monotonic()) / READY_SECONDS)
        time.sleep(0.2)
    raise UseropsError(f"the service was not ready within {READY_SECONDS} s", because=f"see {log}", run="userops serve")


def _ready(address: str) -> bool:
    try:
        with urlopen(f"{address}/readyz", timeout=2) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def post(url: str, body: str, key: str | None = None) -> dict[str, Any]:
    """The JSON answer to a POST of JSON; a service that asks for a key is shown ``key``, else ``USEROPS_KEY``."""
    headers = {"content-type": "application/json"}
    if key := key or own_key():
        headers["authorization"] = f"Bearer {key}"
    try:
        reply = urlopen(Request(url, body.encode(), headers), timeout=30)
    except HTTPError as error:
        with error:
            if error.code not in (401, 403):
                raise
            told = json.load(error)
        run = told.get("expected") if error.code == 403 else "export USEROPS_KEY=uo_..."
        raise UseropsError(f"the service refuses: {told.get('detail')}", got=error.code, run=run) from None
    with reply:
        answer: dict[str, Any] = json.load(reply)
    return answer


def ask(config: Config, model: str, users: list[str], reasons: Mapping[str, object]) -> dict[str, Any]:
    """The service's answer to a score request, computed in this process."""
    from serving.schemas import ScoreRequest
    from serving.schemas_interest import InterestRequest

    question = {"user_ids": users, "explain": dict(reasons)}
    with _live(config) as live:
        if model == "interest":
            told = {key: reasons[key] for key in ("level", "lang")}
            return live.interest(InterestRequest.model_validate({**question, "explain": told}), "userops")
        request = ScoreRequest.model_validate(question)
        answer: dict[str, Any] = asyncio.run(live.score(model, request, "userops"))
    return answer


def decide(config: Config, question: Mapping[str, object]) -> dict[str, Any]:
    """The service's next best offer, decided in this process and logged like any other decision."""
    from serving.endpoints.body import digest_of
    from serving.schemas_nbo import NextBestOffer

    with _live(config) as live:
        asked = NextBestOffer.model_validate(dict(question))
        answer: dict[str, Any] = json.loads(live.offers.answer(asked, digest_of(asked)).content)
    return answer


def replay(config: Config, since_us: int, until_us: int, release: str | None) -> Iterator[dict[str, Any]]:
    """Every decision of ``[since_us, until_us)`` decided again, by the release that made it or by ``release``."""
    from serving.schemas_decision import ReplayRequest

    with _live(config) as live:
        asked = ReplayRequest(release=release)
        for row in live.log().decisions(since_us, until_us):
            yield live.records.replay(row.decision_id, asked)


@contextmanager
def _live(config: Config) -> Iterator[Live]:
    """A worker's state in this process; its problems are errors of the command line."""
    from serving.lean import import_lightgbm

    import_lightgbm(answering=True)  # before what follows imports it: a command is over sooner by half
    from features.store import Store
    from serving.errors.problem import Problem
    from serving.live import Live

    # What a worker logs of a release that it refuses is the error of this command: once is enough.
    logging.getLogger("bentoml.userops").addHandler(logging.NullHandler())
    live = Live(config, Store)
    try:
        live.pickup.start()
        if live.pickup.live is None and live.pickup.refusal is not None:
            what = live.pickup.refusal.splitlines()[0]
            raise UseropsError(
                f"no release can be served: {what}", run="userops train && userops promote && userops release"
            )
        yield live
    except Problem as problem:
        raise UseropsError(problem.detail, got=problem.got, expected=problem.expected, run="userops status") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UseropsError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", got=first["input"]) from None
    finally:
        live.close()
