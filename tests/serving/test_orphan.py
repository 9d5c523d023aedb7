"""A worker ends with its parent, as if it were told to."""

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
WORKER = """
import asyncio, logging, os, signal, sys
from serving.orphan import end_with_parent
logging.basicConfig(stream=sys.stdout)
print(os.getpid(), flush=True)
async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: print("told to end", flush=True))
    await end_with_parent(0.01)
    await asyncio.sleep(0.01)
asyncio.run(main())
"""
PARENT = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {WORKER!r}]); time.sleep(600)"


def test_a_worker_whose_parent_is_killed_is_told_to_end():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    time.sleep(0.1)
    assert Path(f"/proc/{worker}").exists()
    parent.send_signal(signal.SIGKILL)
    told = parent.stdout.read()  # to its end: the worker holds the other end of it
    parent.communicate()
    assert "the parent of this worker is gone" in told
    assert "told to end" in told
    end = time.monotonic() + LIMIT
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.02)
