"""A load generator: so many connections kept alive, each sending its next request when the last was answered.

One process, one thread, no HTTP library: some 20,000 requests a second against a server that does nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import UseropsError

__all__ = ["Load", "Workers", "drive", "get", "post"]

_HEADERS_END = b"\r\n\r\n"
SAMPLED = 50  # answers kept of each connection, to read the stages from
ROUNDS = 50  # of connections opened until each worker holds its share


@dataclass(frozen=True)
class Workers:
    """Who accepts connections at one address: so many, ``holding`` each the connections from these ports of ours.

    ``holding`` names the worker of each port, None while nobody has accepted it.
    """

    count: int
    holding: Callable[[Sequence[int]], Sequence[int | None]]


@dataclass(frozen=True)
class Load:
    """What one run met."""

    taken_ms: NDArray[np.float64]  # of every answer, from the first byte sent to the last one received
    connections: int
    seconds: float
    failed: int  # answers other than 200
    answers: tuple[bytes, ...]  # some bodies

    @property
    def rps(self) -> float:
        """Requests answered per second."""
        return len(self.taken_ms) / self.seconds

    def rps_interval(self) -> tuple[float, float]:
        """95 % interval of ``rps``: each connection asks again as soon as it was answered."""
        mean = float(self.taken_ms.mean())
        error = 1.96 * float(self.taken_ms.std()) / np.sqrt(len(self.taken_ms))
        return self.rps * mean / (mean + error), self.rps * mean / max(mean - error, 1e-3 * mean)

    def quantile_ms(self, q: float) -> tuple[float, float, float]:
        """The quantile ``q`` in (0, 1) of the milliseconds, and its 95 % interval by order statistics."""
        n = len(self.taken_ms)
        error = 1.96 * np.sqrt(q * (1 - q) / n)
        at, low, high = np.quantile(self.taken_ms, np.clip([q, q - error, q + error], 0.0, 1.0))
        return float(at), float(low), float(high)

    def stages_ms(self) -> dict[str, float]:
        """The median of every stage that ``timing_ms`` of the answers names."""
        timings = [json.loads(body).get("timing_ms", {}) for body in self.answers if body.startswith(b"{")]
        return {
            stage: float(np.median([timing[stage] for timing in timings if stage in timing]))
            for stage in dict.fromkeys(stage for timing in timings for stage in timing)
        }


def post(path: str, content: Any) -> bytes:
    """The bytes of a POST of JSON."""
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: benchmark\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + _HEADERS_END + body


def get(path: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nhost: benchmark".encode() + _HEADERS_END


def drive(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int = 1,
    seconds: float = 3.0,
    least: int = 3,
    warm: int = 3,
    host: str = "127.0.0.1",
    workers: Workers | None = None,
) -> Load:
    """Send ``requests`` in turn, for ``seconds`` and until ``least`` answers came, after ``warm`` unmeasured ones.

    ``workers``: the connections are spread over them evenly, as a balancer would. Left to themselves, workers that
    share a socket race for each connection: one of two gets nearly all, or half, and the rate is that of one or of two.

    Raises
    ------
    UseropsError
        When the server closes a connection, does not answer within a minute, or answers every request with an error;
        when one of the workers takes no connection.
    """
    return asyncio.run(_drive(host, port, requests, connections, seconds, least, warm, workers))


async def _drive(
    host: str,
    port: int,
    requests: Sequence[bytes],
    connections: int,
    seconds: float,
    least: int,
    warm: int,
    workers: Workers | None,
) -> Load:
    turn = itertools.cycle(requests)
    clients = await _connected(host, port, turn, connections, workers)
    try:
        if warm:
            await _measure(clients, 0.0, warm)
        for client in clients:
            client.taken.clear()
            client.answers.clear()
            client.failed = 0
        began = time.perf_counter()
        await _measure(clients, seconds, least)
        passed = time.perf_counter() - began
    finally:
        for client in clients:
            client.close()
    taken = np.concatenate([client.taken for client in clients])
    failed = sum(client.failed for client in clients)
    answers = tuple(itertools.chain.from_iterable(client.answers for client in clients))
    if failed == len(taken):
        raise UseropsError("every request failed", got=answers[-1][:300] if answers else None, expected="status 200")
    return Load(1e3 * taken, connections, passed, failed, answers)


async def _connected(
    host: str, port: int, turn: Iterator[bytes], connections: int, workers: Workers | None
) -> list[_Client]:
    """So many connections, at most one more to one worker than to another; what was opened beyond is closed."""
    loop = asyncio.get_running_loop()
    each = connections if workers is None else -(-connections // workers.count)
    held: dict[int | None, list[_Client]] = {}
    opened: list[_Client] = []
    for _ in range(ROUNDS):
        missing = connections - sum(min(len(own), each) for own in held.values())
        if missing <= 0:
            break
        new = [(await loop.create_connection(lambda: _Client(turn), host, port))[1] for _ in range(missing)]
        opened += new
        for client, worker in zip(new, await _holders(new, workers), strict=True):
            held.setdefault(worker, []).append(client)
    kept = [client for own in held.values() for client in own[:each]][:connections]
    for client in opened:
        if client not in kept:
            client.close()
    if len(kept) < connections:
        for client in kept:
            client.close()
        raise UseropsError(
            "some worker takes no connection",
            got=f"{sorted(map(len, held.values()))} connections",
            expected=f"{each} on each of {workers.count if workers else 1}",
        )
    return kept


async def _holders(clients: Sequence[_Client], workers: Workers | None) -> Sequence[int | None]:
    """The worker of each connection, once all are accepted."""
    if workers is None:
        return [None] * len(clients)
    ports = [client.port for client in clients]
    async with asyncio.timeout(60.0):
        while None in (found := workers.holding(ports)):
            await asyncio.sleep(0.01)
    return found


async def _measure(clients: Sequence[_Client], seconds: float, least: int) -> None:
    until = time.perf_counter() + seconds
    each = -(-least // len(clients))
    async with asyncio.timeout(max(60.0, 4 * seconds) + 20.0 * each):
        await asyncio.gather(*(client.run(until, each) for client in clients))


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, turn: Iterator[bytes]) -> None:
        self._turn = turn
        self._received = bytearray()
        self._needed = -1  # bytes of the answer under way, once its head has come
        self._began = 0.0
        self._until, self._least = 0.0, 0
        self._done: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.taken: list[float] = []
        self.failed = 0
        self.answers: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @property
    def port(self) -> int:
        """Of ours, from which the connection goes out."""
        assert self._transport is not None
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(UseropsError("the server closed a connection", got=str(exc)))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._needed < 0 and (end := self._received.find(_HEADERS_END)) >= 0:
            self._needed = end + len(_HEADERS_END) + _content_length(bytes(self._received[:end]))
        if 0 <= self._needed <= len(self._received):
            self._answered()

    async def run(self, until: float, least: int) -> None:
        """Ask until the clock says so and ``least`` answers came."""
        self._until, self._least = until, len(self.taken) + least
        self._done = asyncio.get_running_loop().create_future()
        self._ask()
        await self._done

    def close(self) -> None:
        """Let go of the connection."""
        self._done = None
        if self._transport is not None:
            self._transport.abort()

    def _ask(self) -> None:
        assert self._transport is not None
        self._began = time.perf_counter()
        self._transport.write(next(self._turn))

    def _answered(self) -> None:
        now = time.perf_counter()
        self.taken.append(now - self._began)
        succeeded = self._received.startswith(b"HTTP/1.1 200")
        self.failed += not succeeded
        if len(self.answers) < SAMPLED or not succeeded:
            self.answers.append(bytes(self._received[self._received.find(_HEADERS_END) + 4 :]))
            del self.answers[:-SAMPLED]
        self._received.clear()
        self._needed = -1
        if now < self._until or len(self.taken) < self._least:
            self._ask()
        elif self._done is not None:
            self._done.set_result(None)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise UseropsError("an answer does not say how long it is", got=head[:200], expected="Content-Length")
