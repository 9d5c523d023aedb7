"""The follower that dies is started again, and ends with its keeper."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving import keeper

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
# Says its pid and waits to be ended.
CHILD = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'a'), flush=True); time.sleep(600)"


def pids(file):
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def wait(true):
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def alive(pid):
    return Path(f"/proc/{pid}").exists()


def test_what_dies_is_started_again_and_ends_with_its_keeper(tmp_path, caplog):
    file, stop = tmp_path / "pids", threading.Event()
    command = (sys.executable, "-c", CHILD, str(file))
    thread = threading.Thread(target=keeper.keep, args=(stop, command, 0.01))
    thread.start()
    try:
        for deaths in range(2):
            wait(lambda deaths=deaths: len(pids(file)) == deaths + 1)
            os.kill(pids(file)[-1], signal.SIGKILL)
        wait(lambda: len(pids(file)) == 3)
    finally:
        stop.set()
        thread.join(LIMIT)
    assert not thread.is_alive()
    assert not any(map(alive, pids(file)))
    assert "ended with -9; it is started again" in caplog.text


def test_a_machine_too_short_of_memory_to_start_it_is_asked_again(tmp_path, caplog, monkeypatch):
    file, stop, start = tmp_path / "pids", threading.Event(), subprocess.Popen
    refusals = iter([OSError(errno.ENOMEM, "Cannot allocate memory"), BlockingIOError(errno.EAGAIN, "not now")])

    def short(*arguments, **named):
        if (refusal := next(refusals, None)) is not None:
            raise refusal
        return start(*arguments, **named)

    monkeypatch.setattr(subprocess, "Popen", short)
    thread = threading.Thread(target=keeper.keep, args=(stop, (sys.executable, "-c", CHILD, str(file)), 0.01))
    thread.start()
    try:
        wait(lambda: len(pids(file)) == 1)
    finally:
        stop.set()
        thread.join(LIMIT)
    assert not alive(pids(file)[0])
    assert "Cannot allocate memory" in caplog.text


@pytest.mark.parametrize("how", ["told", "orphaned"])
def test_the_process_ends_with_whoever_started_it(tmp_path, how):
    file = tmp_path / "pids"
    program = f"""
import sys
from serving import keeper
keeper.keep.__defaults__ = ((sys.executable, "-c", {CHILD!r}, {str(file)!r}), 0.01)
keeper.main()
"""
    start = f"""
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", {program!r}]).pid, flush=True)
time.sleep(600)
"""
    starter = subprocess.Popen([sys.executable, "-c", start], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        own = int(starter.stdout.readline())
        wait(lambda: len(pids(file)) == 1)
        if how == "told":
            os.kill(own, signal.SIGTERM)
            wait(lambda: not alive(pids(file)[0]))
    finally:
        starter.kill()
        starter.communicate()
    wait(lambda: not alive(own) and not alive(pids(file)[0]))


def test_it_is_small():
    told = subprocess.run(
        [sys.executable, "-c", "import sys, serving.keeper; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert not {"numpy", "duckdb", "pydantic", "pyarrow", "features", "serving.follow"} & set(told.stdout.split())
