"""The level against populations whose season is known."""

import numpy as np
import pytest
from scipy.special import expit

from training.level import Windows, covariates, fit_level

FEATURES = [
    "days_since_last_purchase",
    "days_since_first_purchase",
    "purchase_days_life",
    "orders_30d",
    "purchase_days_90d",
    "orders_180d",
    "purchase_gap_ratio",
    "spend_life",
    "basket_amount_mean",
]


def population(years: float, season: float, seed: int = 0):
    """Weekly origins, a window of 30 days each; the yearly wave is ``season`` high in log-odds."""
    rng = np.random.default_rng(seed)
    origins = np.arange(60.0, 365.25 * years, 7)
    start = np.repeat(origins, 300)
    z = rng.normal(size=(len(start), 3))
    wave = season * np.sin(2 * np.pi * (start + 15) / 365.25)
    y = (rng.uniform(size=len(start)) < expit(z[:, 0] - 1 + wave)).astype(float)
    return z, y, Windows(start, start + 30)


@pytest.mark.parametrize("season", [0.0, 0.6])
def test_a_second_year_is_foreseen_from_the_first(season):
    z, y, windows = population(2.5, season)
    known = windows.end <= 1.6 * 365.25
    today = 1.6 * 365.25
    level = fit_level(z[known], y[known], Windows(windows.start[known], windows.end[known]), today, 90)
    ahead = (windows.start >= today) & (windows.end <= today + 90)
    p = level.probability(z[ahead], Windows(windows.start[ahead], windows.end[ahead]))
    assert p.mean() == pytest.approx(y[ahead].mean(), abs=0.03)
    # Without the calendar the forecast of a seasonal shop would miss by more than that.
    if season:
        assert abs(y[known].mean() - y[ahead].mean()) > 0.04


def test_with_little_history_the_forecast_stays_near_the_present():
    z, y, windows = population(0.6, 0.0)
    today = float(windows.end.max())
    level = fit_level(z, y, windows, today, 60)
    ahead = Windows(np.full(100, today), np.full(100, today + 30.0))
    assert np.abs(level.offset(ahead)).max() < 0.3
    assert level.probability(z[:100], ahead).mean() == pytest.approx(y.mean(), abs=0.06)


def test_nothing_after_today_can_matter():
    z, y, windows = population(1.5, 0.5)
    level = fit_level(z, y, windows, float(windows.end.max()), 30)
    again = fit_level(z, y, windows, float(windows.end.max()), 30)
    assert np.array_equal(level.levels, again.levels)


def test_covariates_are_finite_for_any_customer():
    rng = np.random.default_rng(1)
    x = rng.exponential(50, (200, len(FEATURES)))
    x[rng.uniform(size=x.shape) < 0.3] = np.nan
    x[0] = 0
    z = covariates(x, FEATURES, True, np.full(200, 100.0))
    assert np.isfinite(z).all()
