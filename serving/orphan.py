"""A worker whose parent is gone ends as if it were told to: nobody would end it, or start another one in its place.

A parent that is killed cannot take its workers along: they would go on answering, and a service that is started again
would find the port taken.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from configs.beside import starter

__all__ = ["end_with_parent"]

LOOK_SECONDS = 1.0

_log = logging.getLogger("bentoml.userops")


async def end_with_parent(look_s: float = LOOK_SECONDS) -> None:
    """Look at the parent as long as it lives; then end: what is being answered is answered before."""
    parent = starter()
    while os.getppid() == parent:
        await asyncio.sleep(look_s)
    _log.error("the parent of this worker is gone: it answers what it has begun, and ends")
    signal.raise_signal(signal.SIGTERM)
