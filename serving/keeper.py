"""Keeps the follower alive: a process of 30 MB, a tenth of it, that starts it, and starts it again when it dies.

The follower computes features, so it is what a machine short of memory kills first; without it live events would wait
until somebody restarts the service. Ends, and ends the follower, with the process that started it, SIGTERM or SIGINT.

    python -m serving.keeper
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from configs.beside import environment, until_told
from serving import logs

__all__ = ["keep", "main"]

FOLLOWER = (sys.executable, "-m", "serving.follow")
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
WELL_SECONDS = 60.0  # who lived so long did not die of its beginning
LOOK_SECONDS = 0.2
END_SECONDS = 30.0

_log = logging.getLogger("userops.keeper")


def keep(stop: threading.Event, command: Sequence[str] = FOLLOWER, first_pause_s: float = FIRST_PAUSE_SECONDS) -> None:
    """Run ``command`` again and again until ``stop`` is set, then end it; pauses double while it dies young."""
    pause = first_pause_s
    while not stop.is_set():
        began, ended = time.monotonic(), _run(stop, command)
        if stop.is_set():
            return
        pause = first_pause_s if time.monotonic() - began > WELL_SECONDS else pause
        _log.warning("the follower ended with %s; it is started again in %.1f s", ended, pause)
        stop.wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _run(stop: threading.Event, command: Sequence[str]) -> int | OSError:
    """Run ``command`` until it ends, or ``stop`` is set; how it ended, or why it did not even begin."""
    try:
        process = subprocess.Popen(command, env=environment())
    except OSError as error:  # short of memory, which is what this one is here for
        return error
    while process.poll() is None and not stop.wait(LOOK_SECONDS):
        pass
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def main() -> None:
    """Keep the follower of the home of the environment."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    logs.set_up()
    keep(until_told())


if __name__ == "__main__":
    main()
