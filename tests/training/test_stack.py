"""Rows whose features are looked up when they are read are the rows whose features were copied at once."""

import numpy as np

from training.stack import Looked, Rows


def rows(features):
    n = 30
    day = np.arange(n, dtype=float)
    return Rows(features, day % 2, day, day, day + 7, np.repeat([7.0, 14.0, 30.0], 10), np.array(list("abc") * 10))


def test_looked_up_rows_are_those_that_were_copied():
    table, at = np.random.default_rng(0).normal(size=(12, 4)), np.arange(30) % 12
    last = np.repeat([7.0, 14.0, 30.0], 10)
    for horizon, copied in ((last, np.column_stack([table[at], last])), (None, table[at])):
        looked, plain = rows(Looked(table, at, horizon)), rows(copied)
        for choose in (
            lambda one: one,
            lambda one: one.where(one.y > 0),
            lambda one: one.where(one.horizon == 14.0).where(np.array([3, 1])),
            lambda one: one.sampled(10, 1),
        ):
            np.testing.assert_array_equal(choose(looked).x, choose(plain).x)
            np.testing.assert_array_equal(choose(looked).user, choose(plain).user)
        assert looked.x.flags.c_contiguous
