"""The end of the service: requests that are being answered are answered, new connections are refused.

On SIGTERM and SIGINT the workers stop accepting and finish, but their parent keeps the listening socket open for them:
who connects meanwhile would be accepted by nobody and wait until the last answer is out. So the parent stops listening
as soon as the workers have stopped accepting.
"""

from __future__ import annotations

from contextlib import suppress
from socket import SHUT_RD
from typing import Any

from circus.sighandler import SysHandler  # type: ignore[import-untyped]

__all__ = ["refuse_while_stopping"]

#: uvicorn looks ten times a second whether it should stop; a worker that still accepts would meet a broken socket.
_SECONDS = 0.3


def refuse_while_stopping() -> None:
    """Let the arbiter that this process is about to start stop listening when it is told to stop."""
    quit_as_before = SysHandler.quit
    if hasattr(quit_as_before, "refuses"):
        return

    def quit_and_refuse(handler: Any) -> None:
        quit_as_before(handler)
        controller = handler.controller
        controller.loop.add_callback_from_signal(controller.loop.call_later, _SECONDS, _refuse, controller.arbiter)

    quit_and_refuse.refuses = True  # type: ignore[attr-defined]
    SysHandler.quit = quit_and_refuse


def _refuse(arbiter: Any) -> None:
    for socket in arbiter.sockets.values():
        with suppress(OSError):
            # Not closed: workers hold it as well. On Linux this ends the listening for all who hold it.
            socket.shutdown(SHUT_RD)
