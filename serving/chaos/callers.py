"""Many callers at once, each with one connection, in a thread of ours: what each was answered, and when."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from configs.errors import UseropsError
from serving.chaos.service import Reply

__all__ = ["Asked", "Callers", "Question"]

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Question:
    """What is posted where; ``name`` is its request id, or what else tells it from the others."""

    name: str
    path: str
    content: bytes


@dataclass(frozen=True)
class Asked:
    """A question and its answer (``status`` 0: none came)."""

    question: Question
    reply: Reply


class Callers:
    """Asks from ``connections`` connections until the end of the block, each ``pause`` seconds after its last answer.

    Every answer is kept in ``asked``, in the order in which they came. An answer that cannot be read is an error, and
    told at the end of the block: nothing counted so far would be all there was.
    """

    def __init__(self, port: int, make: Callable[[int], Question], connections: int, pause: float = 0.0) -> None:
        self._port, self._make, self._connections, self._pause = port, make, connections, pause
        self._made = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: Exception | None = None
        self.asked: list[Asked] = []

    def __enter__(self) -> Callers:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * PATIENCE_SECONDS)
        if kind is None and (self._error is not None or self._thread.is_alive()):
            raise UseropsError("the callers gave up", got=repr(self._error or "one that is never answered"))

    def statuses(self) -> Counter[int]:
        """How many answers of each status."""
        return Counter(one.reply.status for one in self.asked)

    def acknowledged(self) -> dict[str, bytes]:
        """The 200s, by the name of their question."""
        return {one.question.name: one.reply.content for one in self.asked if one.reply.status == 200}

    def unanswered(self) -> list[Question]:
        """The questions to which no answer came: whether they were heard is not known."""
        return [one.question for one in self.asked if one.reply.status == 0]

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except Exception as error:
            self._error = error

    async def _all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self._connections)))

    async def _one(self) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._stop.is_set():
            question = self._make(self._made)
            self._made += 1
            began = time.perf_counter()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    if streams is None:
                        streams = await asyncio.open_connection("127.0.0.1", self._port)
                    status, retry_after, content, closing = await _exchange(*streams, question)
            except (OSError, EOFError, ValueError, TimeoutError):
                status, retry_after, content, closing = 0, None, b"", True
            reply = Reply(status, time.perf_counter() - began, content, retry_after)
            self.asked.append(Asked(question, reply))
            if closing and streams is not None:
                streams[1].close()
                streams = None
            if self._pause or status != 200:
                await asyncio.sleep(self._pause or 0.05)  # refused, or nobody listens: no reason to spin
        if streams is not None:
            streams[1].close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: Question
) -> tuple[int, str | None, bytes, bool]:
    head = f"POST {question.path} HTTP/1.1\r\nhost: chaos\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(question.content)}\r\n\r\n".encode() + question.content)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    content = await reader.readexactly(int(headers["content-length"]))
    closing = headers.get("connection", "").lower() == "close"
    return int(lines[0].split(" ")[1]), headers.get("retry-after"), content, closing
