"""A planted flip is told; noise, light features and weak directions are not."""

from __future__ import annotations

import numpy as np
import pytest

from training.desk.flips import directions, flips_of


def test_a_direction_is_that_of_value_and_contribution():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    x[:50, 1] = np.nan
    phi = np.column_stack([np.tanh(x[:, 0]), -np.nan_to_num(x[:, 1]) + 3 * np.isnan(x[:, 1]), np.abs(x[:, 2])])
    up, down, both = directions(x, phi)
    assert up == pytest.approx(1.0)
    assert down == pytest.approx(-1.0)  # where it has no value, it has no direction
    assert abs(both) < 0.2


@pytest.mark.parametrize(
    ("was", "now", "before", "share", "told"),
    [
        (0.9, -0.8, 0.05, 0.04, True),
        (-0.3, 0.3, 0.001, 0.02, True),  # heavy in one of the two
        (-0.3, 0.3, 0.02, 0.001, True),
        (0.9, 0.1, 0.05, 0.04, False),
        (0.9, -0.1, 0.05, 0.04, False),  # no direction now
        (0.9, -0.8, 0.009, 0.009, False),  # too light to matter
        (None, -0.8, 0.05, 0.04, False),
        (0.9, None, 0.05, 0.04, False),
    ],
)
def test_what_is_a_flip(was, now, before, share, told):
    found = flips_of(["a"], [was], [now], [before], [share])
    assert found == ([{"feature": "a", "was": was, "now": now, "share": share}] if told else [])


def test_the_heaviest_comes_first():
    found = flips_of(["a", "b"], [0.5, 0.5], [-0.5, -0.5], [0.1, 0.1], [0.02, 0.3])
    assert [one["feature"] for one in found] == ["b", "a"]
