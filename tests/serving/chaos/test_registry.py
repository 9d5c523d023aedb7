"""Every fault is made by a test, too: the tests that the registry names are there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from configs.errors import UseropsError
from serving.chaos.fault import IN_SMALL, Fault, NotHeld, Skipped, require, until
from serving.chaos.registry import FAULTS, named
from serving.chaos.run import injected

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_has_a_test_that_is_there(fault):
    made_in_small = fault.name in ast.literal_eval(
        next(
            node.value
            for node in ast.parse((ROOT / IN_SMALL.partition("::")[0]).read_text()).body
            if isinstance(node, ast.Assign) and node.targets[0].id == "FAULTS"
        )
    )
    assert fault.tests
    assert made_in_small or IN_SMALL not in fault.tests
    for test in fault.tests:
        file, _, name = test.partition("::")
        defined = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}
        assert name in defined, test


def test_names_are_each_ones_own_and_an_unknown_one_is_named():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert [fault.name for fault in named(["sigterm", "online-down"])] == ["online-down", "sigterm"]
    assert len(named(None)) == len(FAULTS)
    with pytest.raises(UseropsError, match="no such fault"):
        named(["online-down", "earthquake"])


def raising(error):
    def inject(stage):
        raise error

    return inject


@pytest.mark.parametrize(
    ("inject", "held", "seen"),
    [
        (lambda stage: "all well", True, "all well"),
        (raising(NotHeld("a score was wrong")), False, "a score was wrong"),
        (raising(Skipped("no Redis")), None, "skipped: no Redis"),
        (raising(UseropsError("it ended", got=2)), False, "it ended got: 2"),
        (raising(KeyError("what")), False, "KeyError: 'what'"),
    ],
)
def test_what_goes_wrong_in_a_fault_means_that_it_did_not_hold(inject, held, seen):
    outcome = injected(Fault("f", "something", inject, ()), None)
    assert (outcome.held, outcome.seen) == (held, seen)


def test_what_never_comes_true_is_not_held():
    with pytest.raises(NotHeld, match="never within"):
        until(lambda: False, 0.01, "never")
    with pytest.raises(NotHeld, match="broken"):
        require([], "broken")
