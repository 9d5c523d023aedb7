"""The release in force, inside one worker: picked up when ``releases/current`` changes, swapped as one reference.

A request keeps the release with which it began. A release that cannot be verified is refused, said so in the log once,
tried again from time to time (it may still be arriving), and the old one stays.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Generic, TypeVar

from configs.errors import BundleError, UseropsError

__all__ = ["Pickup", "settle_heap"]

_T = TypeVar("_T")
_log = logging.getLogger("bentoml.userops")


class Pickup(Generic[_T]):
    """Holds what ``load`` made of the current release.

    Parameters
    ----------
    releases
        The folder that holds ``current``.
    load
        Verifies and builds; runs in a thread, so that answers go on meanwhile.
    every_s, again_s
        How often ``current`` is looked at, and how soon a refused release is tried again.
    report
        Called with ``swapped`` or ``refused``.
    settle
        Called after each swap.
    """

    def __init__(
        self,
        releases: Path,
        load: Callable[[Path], _T],
        *,
        every_s: float = 1.0,
        again_s: float = 30.0,
        report: Callable[[str], None] = lambda outcome: None,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self.releases, self.every_s, self.again_s = releases, every_s, again_s
        self._load, self._report, self._settle = load, report, settle
        self.live: _T | None = None
        self.refusal: str | None = None  # why `current` is not what is live
        self._seen: str | None = None
        self._again_at = 0.0

    def start(self) -> None:
        """Load the current release before the first request."""
        target = self._target()
        self._take(target, self._try(target))

    async def watch(self) -> None:
        """Look at ``current`` for ever."""
        while True:
            await asyncio.sleep(self.every_s)
            try:
                await self.look()
            except Exception:  # a watcher that dies would pin this worker to an old release in silence
                _log.exception("looking for a new release failed")

    async def look(self) -> None:
        """Pick up a new release, if there is one."""
        target = self._target()
        if target == self._seen and (self.refusal is None or monotonic() < self._again_at):
            return
        self._take(target, await asyncio.to_thread(self._try, target))

    def _target(self) -> str | None:
        try:
            return os.readlink(self.releases / "current")
        except OSError:
            return None

    def _try(self, target: str | None) -> _T | UseropsError:
        try:
            if target is None:
                raise BundleError("there is no release yet", run="userops train && userops promote && userops release")
            return self._load(self.releases)
        except UseropsError as error:
            return error

    def _take(self, target: str | None, loaded: _T | UseropsError) -> None:
        self._seen = target
        if isinstance(loaded, UseropsError):
            self._again_at = monotonic() + self.again_s
            if str(loaded) != self.refusal:
                self.refusal = str(loaded)
                self._report("refused")
                _log.error("release %s refused, %s:\n%s", target, "old one kept" if self.live else "none", loaded)
            return
        self.live, self.refusal = loaded, None
        self._report("swapped")
        _log.info("release %s is live", target)
        self._settle()


def settle_heap() -> None:
    """Keep the garbage collector from walking the models again and again, which costs 100 ms and more per walk."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
