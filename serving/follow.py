"""The follower: a process beside the service that brings live events online, in their order, within a moment.

It reads the queue of the decision log after the last refreshed event, lets `features.fresh` compute and write the rows
of those users, and only then says how far it is: killed anywhere, it does the last step again, which changes nothing.
One follower works at a time; another one waits for its end. Now and then, when nothing is to do if that ever comes, it
hands what it has read to the event store, where builds and training find it.

    python -m serving.follow        # ends with the process that started it, with SIGTERM or with SIGINT
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from configs import Config, load
from configs.beside import until_told
from features import periods
from features.fresh import Refresher
from features.live_events import LiveLine, drain
from serving import logs
from serving.log import DecisionLog, ReceivedEvent
from serving.loglines import guard

__all__ = ["follow", "hand_over", "main"]

POLL_SECONDS = 0.05
AT_ONCE = 50  # users of one refresh: half a second
DRAIN_EVERY_SECONDS = 600.0
MAINTAIN_EVERY_SECONDS = 1.0
DRAIN_AT_ONCE = 100_000
MOST_SECONDS_BETWEEN_TRIES = 30.0
WELL_SECONDS = 60.0  # what fails after so long is no more of the same

_log = logging.getLogger("userops.follow")


def follow(
    config: Config,
    stop: threading.Event,
    queue: DecisionLog | None = None,
    *,
    drain_every: float | None = DRAIN_EVERY_SECONDS,
) -> None:
    """Bring live events online until ``stop`` is set; what fails is said, and tried again a little later.

    Parameters
    ----------
    queue
        Default: the decision log of ``config``.
    drain_every
        Seconds between two hand-overs to the event store; None never does it.
    """
    with _alone(config, stop):
        wait = POLL_SECONDS
        while not stop.is_set():
            began = time.monotonic()
            try:
                _follow(config, stop, queue or DecisionLog.open(config.decisions_uri), drain_every)
            except Exception as error:  # the queue, the store or the disk: nobody restarts us
                wait = POLL_SECONDS if time.monotonic() - began > WELL_SECONDS else wait
                wait = min(wait * 2, MOST_SECONDS_BETWEEN_TRIES)
                _log.warning("live events wait %.1f s: %s", wait, error)
                stop.wait(wait)


def hand_over(config: Config, queue: DecisionLog) -> int:
    """Let the event store take all live events that it does not hold; how many there were.

    Killed between the two steps, the same events are handed over again, and the store takes none of them twice.
    """
    handed = 0
    while received := queue.undrained_events(None, 0, DRAIN_AT_ONCE):
        drain(config, _lines(received))
        queue.mark_drained([one.seq for one in received])
        handed += len(received)
    return handed


def _follow(config: Config, stop: threading.Event, queue: DecisionLog, drain_every: float | None) -> None:
    refresher = Refresher(config)
    refresher.prepare()
    # Those before the mark are online, but no event store tells of them: they count for what comes now.
    after = 0
    while older := queue.undrained_events(None, after, DRAIN_AT_ONCE):
        refresher.remember(_lines(older))
        after = older[-1].seq
    drain_at, maintain_at = time.monotonic() + (drain_every or 0.0), time.monotonic()
    while not stop.is_set():
        if time.monotonic() >= maintain_at:
            # Here, where nobody waits: a worker would pay for the checkpoint with a slow answer.
            queue.maintain(_now_us(config))
            maintain_at = time.monotonic() + MAINTAIN_EVERY_SECONDS
        received = _some_users(queue.pending_events(None, 20 * AT_ONCE))
        if received:
            refresher.refresh([], _lines(received))
            queue.mark_refreshed(received[-1].seq, at_us=_now_us(config))
        # When nothing is to do; where that never comes, after as long again: what is remembered must not grow for ever.
        if drain_every is not None and time.monotonic() >= drain_at + (drain_every if received else 0.0):
            if hand_over(config, queue):
                refresher.forget()
            drain_at = time.monotonic() + drain_every
        elif not received:
            stop.wait(POLL_SECONDS)


def _some_users(received: list[ReceivedEvent]) -> list[ReceivedEvent]:
    """The first of them, of at most `AT_ONCE` users."""
    users: set[str] = set()
    for place, one in enumerate(received):
        users.add(one.event.user_id)
        if len(users) > AT_ONCE:
            return received[:place]
    return received


def _lines(received: Sequence[ReceivedEvent]) -> list[LiveLine]:
    return [LiveLine(**asdict(one.event), received_at_us=one.received_at_us) for one in received]


def _now_us(config: Config) -> int:
    return int(periods.now(config).timestamp() * 1_000_000)


@contextmanager
def _alone(config: Config, stop: threading.Event) -> Iterator[None]:
    """Hold the lock of the home's follower; wait for it until ``stop``. A dead follower holds nothing."""
    config.home.mkdir(parents=True, exist_ok=True)
    with (config.home / "follow.lock").open("a+") as stream:
        while not stop.is_set():
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                stop.wait(10 * POLL_SECONDS)
        yield


def main() -> None:
    """Follow the home of the environment until told to stop, or until the process that started this one is gone."""
    guard()
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    logs.set_up()
    follow(load(), until_told())


if __name__ == "__main__":
    main()
