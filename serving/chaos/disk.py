"""A disk of our own that can be filled: a small tmpfs where root may mount one, else a limit on the size of files."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Disk"]

CHUNK = 1 << 20
LIMITED = "prlimit"  # of util-linux


class Disk:
    """The file system under ``folder``, of ``megabytes`` where it could be mounted; `full` fills it for a while."""

    def __init__(self, folder: Path, megabytes: int, mount: bool = True) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(folder)]
        self.mounted = mount and os.geteuid() == 0 and _runs(command)

    @property
    def how(self) -> str:
        """How it is made full, in words."""
        return "no byte is free on its tmpfs" if self.mounted else "no file may grow (RLIMIT_FSIZE)"

    @contextmanager
    def full(self, pids: Sequence[int] = ()) -> Iterator[list[str]]:
        """No room, for the processes ``pids`` and for commands that begin with the words it gives; room again after."""
        if not self.mounted:
            before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
            for pid, (_, hard) in before.items():
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
            try:
                yield [LIMITED, "--fsize=0:"]
            finally:
                for pid, limits in before.items():
                    with suppress(ProcessLookupError):
                        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
            return
        filler = self.folder / "filler"
        try:
            _fill(filler)
            yield []
        finally:
            filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it."""
        if self.mounted:
            self.mounted = not _runs(["umount", "--lazy", str(self.folder)])


def _fill(path: Path) -> None:
    """Write zeros until there is no room for another byte."""
    size = CHUNK
    with path.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def _runs(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except OSError:
        return False
