"""Studies: the same trials whether or not somebody pulls the plug, and no parameters twice."""

import os
import signal
import subprocess
import sys
import time

import pytest

from configs.errors import TrainingError
from training.search.space import Choice, Range
from training.search.study import open_study

SPACE = {"x": Range(0.01, 10.0, log=True), "n": Range(1, 40), "kind": Choice(("a", "b"))}
START = {"x": 1.0, "n": 7, "kind": "a"}
TRIALS, STEPS, SEED = 8, 2, 5


def value(params, step):
    """Best at x = 2, n = 20; the second step is a little worse for everybody."""
    return (params["x"] - 2) ** 2 + (params["n"] - 20) ** 2 / 100 + (params["kind"] == "a") + step / 10


def search(home, judge=value, trials=TRIALS, until=None, over=lambda trial: f"run {trial.number}"):
    with open_study(home, "s", SEED, higher=False) as study:
        study.search(SPACE, START, judge, STEPS, trials, until, over)
        return study.trials, study.best


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return search(tmp_path_factory.mktemp("whole"))


def test_the_defaults_come_first_and_the_best_is_better(whole):
    trials, best = whole
    assert [one.number for one in trials] == list(range(TRIALS))
    assert trials[0].params == START
    assert trials[0].value == pytest.approx(sum(value(START, step) for step in range(STEPS)) / STEPS)
    assert best.value == min(one.value for one in trials if one.value is not None) < trials[0].value
    assert all(one.run_id == f"run {one.number}" for one in trials)
    for one in trials:
        assert all(one.params[name] in space for name, space in SPACE.items())


def test_hopeless_trials_are_cut_short(whole):
    trials, _ = whole
    pruned = [one for one in trials if one.value is None]
    assert pruned
    assert all(0 < len(one.values) < STEPS for one in pruned)
    assert trials[0].value is not None


def test_no_parameters_twice_and_a_small_space_ends_the_search(tmp_path):
    small = {"kind": Choice(("a", "b")), "n": Range(1, 2)}
    with open_study(tmp_path, "s", SEED, higher=True) as study:
        study.search(small, {"kind": "a", "n": 1}, lambda params, step: float(params["n"]), 1, 8, None, lambda _: "")
        tried = [tuple(sorted(one.params.items())) for one in study.trials]
        assert len(tried) == len(set(tried)) <= 4
        assert len(tried) >= 3
        assert study.best.params["n"] == 2


class Unplugged(BaseException):
    """What a test raises where a plug is pulled."""


def test_after_any_interruption_the_search_goes_on_as_if_there_had_been_none(whole, tmp_path):
    asked = []

    def interrupted(params, step):
        asked.append((params["x"], step))
        if len(asked) % 5 == 0:
            raise Unplugged
        return value(params, step)

    for _ in range(60):
        try:
            found = search(tmp_path, interrupted)
            break
        except Unplugged:
            continue
    assert found == whole
    done = [(one.params["x"], step) for one in found[0] for step in range(len(one.values))]
    assert set(asked) == set(done), "an interrupted origin is asked again, with the same parameters"
    assert len(asked) - len(done) == len(asked) // 5, "and no other is"


def test_time_that_is_over_leaves_the_trial_for_the_next_search(whole, tmp_path):
    assert search(tmp_path, until=time.monotonic() - 1) == ([], None)
    assert len(search(tmp_path, trials=3)[0]) == 3
    again = []
    found = search(tmp_path, lambda params, step: again.append(params["x"]) or value(params, step))
    assert found == whole
    assert not set(again) & {one.params["x"] for one in found[0][:3]}


def test_kill_9_in_the_middle(whole, tmp_path):
    code = """
import os, sys, signal
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_study
def judge(params, step, asked=[]):
    asked.append(step)
    if len(asked) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return test_study.value(params, step)
test_study.search(Path(sys.argv[2]), judge)
"""
    folder = os.path.dirname(__file__)
    root = os.path.dirname(os.path.dirname(os.path.dirname(folder)))
    done = subprocess.run(
        [sys.executable, "-c", code, folder, str(tmp_path)],
        check=False,
        env={**os.environ, "PYTHONPATH": root},
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    assert search(tmp_path) == whole


def test_one_search_at_a_time(tmp_path):
    refused = pytest.raises(TrainingError, match=rf"another search .*\n.*process {os.getpid()}")
    with open_study(tmp_path, "s", SEED, higher=False), refused:
        search(tmp_path)
