"""A process beside another one ends with it, also when it was still starting as the other one went."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from configs import beside

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
# Is ready to watch only once whoever started it is gone.
SLOW = """
import os, sys, time
began = os.getppid()
print(os.getpid(), flush=True)
while os.getppid() == began:
    time.sleep(0.01)
from configs.beside import until_told
until_told(0.01).wait()
"""
STARTER = f"""
import subprocess, sys, time
from configs.beside import environment
subprocess.Popen([sys.executable, "-c", {SLOW!r}], env=environment())
time.sleep(600)
"""


def test_who_was_still_starting_ends_too():
    starter = subprocess.Popen([sys.executable, "-c", STARTER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    starter.stdout.close()
    end = time.monotonic() + LIMIT
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.02)


@pytest.mark.parametrize("told", ["", "me", "-1"])
def test_what_is_no_number_is_nobody(monkeypatch, told):
    monkeypatch.setenv(beside.STARTER, told)
    assert beside.starter() == os.getppid()
    assert beside.environment()[beside.STARTER] == str(os.getpid())
