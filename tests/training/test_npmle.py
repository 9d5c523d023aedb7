"""The mixture against customers whose rates are known."""

import numpy as np
import pytest
from scipy.special import expit

from training.npmle import CHUNK, LEAVE, RETURN, History, fit_mixture


def customers(n: int, ahead: float, seed: int = 0):
    """Half leave within weeks, half never do; rates between one in ten and one in a hundred days."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(100, 700, n)
    rate = np.exp(rng.uniform(np.log(1 / 100), np.log(1 / 10), n))
    life = np.where(rng.uniform(size=n) < 0.5, rng.exponential(40, n), np.inf)
    until = np.minimum(life, age)
    repeats = rng.poisson(rate * until).astype(float)
    last = np.where(repeats > 0, until * rng.uniform(size=n) ** (1 / np.maximum(repeats, 1)), 0)
    comes = (life > age) & (rng.uniform(size=n) < -np.expm1(-rate * ahead))
    return History(repeats, last, age), comes.astype(float), life > age


def test_returns_and_losses_are_foreseen_without_labels():
    history, comes, stays = customers(6000, 60.0)
    found = fit_mixture(history, seed=0).columns(history, np.zeros(6000), np.full(6000, 60.0))
    p, alive = expit(found[:, 0]), expit(found[:, 1])
    assert p.mean() == pytest.approx(comes.mean(), abs=0.03)
    assert alive.mean() == pytest.approx(stays.mean(), abs=0.04)
    for low, high in ((0.1, 0.4), (0.4, 0.7), (0.7, 1.0)):
        chosen = (p > low) & (p <= high)
        assert p[chosen].mean() == pytest.approx(comes[chosen].mean(), abs=0.07)


def test_the_likelihood_is_that_of_a_closed_form():
    # One point alone: everybody has the rates of that point, and Pareto/NBD gives the share that is still there.
    history = History(np.array([3.0]), np.array([50.0]), np.array([80.0]))
    point = 9 * 10 + 4
    returns, leaves = RETURN[point], LEAVE[point]
    weights = np.zeros(len(RETURN))
    weights[point] = 1.0
    mixture = fit_mixture(history, seed=0).__class__(weights)
    silent = leaves / (returns + leaves) * np.expm1((returns + leaves) * 30)
    found = mixture.columns(history, np.array([10.0]), np.array([30.0]))[0]
    assert expit(found[1]) == pytest.approx(1 / (1 + silent))
    comes = returns / (returns + leaves) * -np.expm1(-(returns + leaves) * 30) * np.exp(-leaves * 10)
    assert expit(found[0]) == pytest.approx(comes / (1 + silent))


def test_a_longer_window_holds_more_and_a_longer_silence_less():
    history, _, _ = customers(500, 60.0)
    mixture = fit_mixture(history, seed=0)
    short, long = (mixture.columns(history, np.zeros(500), np.full(500, days)) for days in (7.0, 60.0))
    assert (long[:, 0] >= short[:, 0]).all()
    assert (long[:, 2] >= short[:, 2]).all()
    older = mixture.columns(History(history.repeats, history.last, history.age + 50), np.zeros(500), np.full(500, 7.0))
    assert (older[:, 1] <= short[:, 1] + 1e-9).all()


def test_any_past_gives_finite_columns_in_chunks_of_any_size():
    n = CHUNK + 10
    history = History(np.tile([0.0, 4000.0], n // 2), np.tile([0.0, 4000.0], n // 2), np.tile([0.0, 4000.0], n // 2))
    found = fit_mixture(history, seed=0).columns(history, np.zeros(n), np.full(n, 30.0))
    assert found.shape == (n, 3)
    assert np.isfinite(found).all()
    assert np.allclose(found[:2], found[-2:])
    # Here every day for eleven years: still there tomorrow, for all we know.
    assert found[1, 1] > 3
