"""Parsers of outside input under inputs that nobody would write: refused in our words, or read; never anything else."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
spec = importlib.util.spec_from_file_location("targets", FOLDER / "targets.py")
targets = importlib.util.module_from_spec(spec)
spec.loader.exec_module(targets)
RUNS = {
    "csv": 4_000,
    "yaml": 5_000,
    "mapping": 4_000,
    "condition": 20_000,
    "body": 30_000,
    "published": 30_000,
    "key": 20_000,
}


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds_and_what_once_broke_something_are_read_or_refused(name):
    target = targets.TARGETS[name]
    for data in (*targets.SEEDS[target], *targets.BROKE.get(name, ()), b"", b"\0", b"\xff" * 64):
        target(data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_nothing_that_is_tried_breaks(name, tmp_path):
    pytest.importorskip("atheris", reason="atheris has no build for this machine")
    command = [sys.executable, "-W", "ignore", str(FOLDER / "run.py"), name, str(tmp_path / "found")]
    limits = [f"-runs={RUNS[name]}", "-seed=1", "-timeout=20", "-rss_limit_mb=3000", "-max_len=2000"]
    told = subprocess.run([*command, *limits], capture_output=True, timeout=280, check=False)
    broke = [file.read_bytes() for file in (tmp_path / "found").glob("*-*")]
    assert told.returncode == 0, (broke, told.stderr.decode("utf-8", "replace")[-3000:])
