"""Forecasts of spend against customers whose truth is known, published numbers, and brute force."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gamma as gamma_law
from scipy.stats import spearmanr

from configs import configs_folder, load, read_yaml
from configs.errors import ConfigError, TrainingError
from features.catalog import NAMES
from features.periods import as_utc
from serving.scoring.value.tiers import TierRules, Tiers, read_rules
from training.baselines import BgNbd, GammaGamma
from training.benchmark_value import benchmark_value
from training.stack import Family, Rows, stack
from training.value.amounts import fit_amounts
from training.value.baselines import forecast_baselines
from training.value.fit import fit_value
from training.value.measures import MEASURES, measure, spend_metrics
from training.value.spend import Spend
from training.value.tiers import moves, realised

DATA = Path(os.environ.get("USEROPS_DATA") or Path(__file__).parents[3] / "shared" / "data")
CDNOW = DATA / "cdnow" / "CDNOW_master.txt"
FIRST_DAY = 19_723.0  # 2024-01-01
FAMILY = Family("repurchase", "bought", {"rule": [{"feature": "orders_life", "min": 1}]}, ("p",), (20.0, 40.0, 80.0))


@pytest.fixture(scope="module")
def shop(customers, features):
    users, until = 900, 360.0
    who, at, amount = customers(users, until + 80, 1)
    frame = pd.concat([features(who, at, amount, users, day) for day in np.arange(120.0, until + 1, 30)])
    judge = datetime.fromtimestamp((FIRST_DAY + until) * 86_400, UTC)
    frame = frame[frame["orders_life"] > 0]
    spend = Spend.of(np.array([f"u{n}" for n in who], object), at + FIRST_DAY, amount)
    rows = stack(frame[frame["as_of"] < judge], FAMILY, NAMES, judge)
    today = stack(frame[frame["as_of"] == judge], FAMILY, NAMES, None)
    fitted = fit_value(rows, spend.between(rows.user, rows.start, rows.end), today, FAMILY, NAMES, FIRST_DAY, 1, 1)
    return fitted, today, spend


def at_horizon(shop, horizon):
    fitted, today, spend = shop
    judged = today.where(today.horizon == horizon)
    return fitted, judged, spend.between(judged.user, judged.start, judged.end), spend


def test_totals_and_order_of_simulated_customers_are_found(shop):
    for horizon in FAMILY.horizons:
        fitted, judged, truth, _ = at_horizon(shop, horizon)
        expected = fitted.expected(judged.x, horizon)
        assert expected.sum() == pytest.approx(truth.sum(), rel=0.2)
        assert spearmanr(expected, truth)[0] > 0.35


def test_the_model_is_no_worse_than_the_model_that_the_customers_follow(shop):
    # They are gamma customers with gamma amounts: here BG/NBD with Gamma-Gamma is close to the truth.
    fitted, judged, truth, spend = at_horizon(shop, 80.0)
    others = forecast_baselines(judged, NAMES, spend, 80.0)
    ours = measure(truth, fitted.expected(judged.x, 80.0))
    parametric, last = (measure(truth, one) for one in others.values())
    assert ours["mae"] < min(parametric["mae"] * 1.05, last["mae"])
    assert ours["capture@10"] > parametric["capture@10"] - 0.03
    assert ours["spearman"] > parametric["spearman"] - 0.03


def test_a_longer_horizon_never_brings_less(shop):
    fitted, today, _ = shop
    found = [fitted.expected(today.x[today.horizon == h], h) for h in FAMILY.horizons]
    assert all((after >= before).all() for before, after in pairwise(found))
    assert list(fitted.constants.values()) == sorted(fitted.constants.values())


def test_quantiles_cover_what_they_say_and_do_not_cross(shop):
    fitted, judged, truth, _ = at_horizon(shop, 80.0)
    low, typical, high = (fitted.quantile(judged.x, 80.0, level) for level in (0.1, 0.5, 0.9))
    assert (low <= typical).all()
    assert (typical <= high).all()
    assert (truth <= high).mean() == pytest.approx(0.9, abs=0.05)
    p = fitted.chance.probability(judged.x, 80.0)
    assert (typical[p < 0.5] == 0).all()
    assert (typical[p > 0.51] > 0).all()
    assert measure(truth, typical)["mae"] < measure(truth, fitted.expected(judged.x, 80.0))["mae"]


def test_the_log_of_a_fit_says_what_it_stands_on(shop):
    fitted, judged, _, _ = at_horizon(shop, 80.0)
    assert fitted.log["buyers"] > 1000
    assert fitted.log["forecast_total"]["80"] == pytest.approx(fitted.expected(judged.x, 80.0).sum())
    assert fitted.log["folds"]
    assert fitted.log["paid_share"] == 1.0


def test_without_amounts_nothing_is_learned(shop):
    _, today, _ = shop
    rows = replace(today, y=np.ones(len(today)))
    with pytest.raises(TrainingError, match="too few purchases with an amount"):
        fit_value(rows, np.zeros(len(rows)), today, FAMILY, NAMES, FIRST_DAY, 1, 1)
    with pytest.raises(TrainingError, match="within a horizon"):
        fit_value(rows, np.ones(len(rows)), today, replace(FAMILY, horizons=()), NAMES, FIRST_DAY, 1, 1)


def test_last_years_season_of_amounts_is_expected_again():
    rng = np.random.default_rng(0)
    n, today = 20_000, 730.0
    start = rng.uniform(0, 700, n)
    z = rng.normal(size=(n, 1))
    windows = Rows(z, np.ones(n), start, start, start + 30, np.full(n, 30.0), np.full(n, "u", object))
    mean = np.exp(3 + 0.5 * z[:, 0] + 0.3 * np.sin(2 * np.pi * (start + 15) / 365.25))
    fitted = fit_amounts(z, rng.gamma(2, mean / 2), windows, today, 365.0)
    peak, trough = today + 91.0, today + 274.0
    ahead = Rows(
        np.zeros((2, 1)), np.ones(2), *np.array([[peak, trough]] * 2) - 15, np.array([peak, trough]) + 15,
        np.full(2, 30.0), np.full(2, "u", object),
    )  # fmt: skip
    high, low = fitted.margin(np.zeros((2, 1)), ahead)
    assert 0.3 < high - low < 0.7
    one, two = fitted.margin(np.array([[1.0], [0.0]]), ahead.where(np.array([0, 0])))
    assert one - two == pytest.approx(0.5, abs=0.05)


purchases = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(0, 50)), min_size=1, max_size=30)
questions = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 20), st.integers(0, 20)), max_size=10)


@given(purchases, questions)
@settings(max_examples=100, deadline=None)
def test_spend_in_a_window_equals_a_sum_over_purchases(rows, asked):
    who, at, amount = zip(*rows, strict=True)
    spend = Spend.of(np.array(who, object), np.array(at, float), np.array(amount, float))
    asked = [(user, a, a + span) for user, a, span in asked]
    found = spend.between(
        np.array([user for user, _, _ in asked], object), *(np.array([q[k] for q in asked], float) for k in (1, 2))
    )
    assert found.tolist() == [sum(m for u, t, m in rows if u == user and a < t <= b) for user, a, b in asked]


def test_gamma_gamma_equals_its_own_integral():
    model, x, z = GammaGamma(6.25, 3.74, 15.44), 3.0, 47.0

    def posterior(rate):
        return gamma_law.pdf(rate, model.q + model.p * x, scale=1 / (model.gamma + x * z))

    integral = quad(lambda rate: model.p / rate * posterior(rate), 0, 3)[0]
    assert model.mean_amount(np.array([x]), np.array([z]))[0] == pytest.approx(integral, rel=1e-6)


def test_gamma_gamma_finds_the_customers_it_was_made_of():
    rng = np.random.default_rng(2)
    rate = rng.gamma(3.74, 1 / 15.44, 20_000)
    count = rng.integers(1, 12, rate.size).astype(float)
    mean = rng.gamma(6.25 * count, 1 / (rate * count))
    found = GammaGamma.fit(count, mean)
    assert (found.p, found.q, found.gamma) == pytest.approx((6.25, 3.74, 15.44), rel=0.1)
    # Customers without an amount have nothing to say.
    again = GammaGamma.fit(np.append(count, [0.0, 3.0]), np.append(mean, [0.0, 0.0]))
    assert again == found
    with pytest.raises(TrainingError, match="nobody"):
        GammaGamma.fit(np.zeros(3), np.zeros(3))


def test_expected_purchases_are_the_published_ones():
    # Fader, Hardie and Lee's own example, in weeks: E[Y(39) | x = 2, t_x = 30.43, T = 38.86] = 1.226.
    model = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
    one = (np.array([2.0]), np.array([30.43]), np.array([38.86]))
    assert model.expected(*one, 39)[0] == pytest.approx(1.226, abs=5e-4)
    assert model.expected(*one, 0)[0] == pytest.approx(0, abs=1e-9)
    pole = replace(model, a=1.0).expected(*one, 39)[0]
    assert pole == pytest.approx(replace(model, a=1.0001).expected(*one, 39)[0], rel=1e-3)


def test_measures_of_a_perfect_and_an_empty_forecast():
    truth = np.array([0.0, 0, 5, 100])
    assert measure(truth, truth) == {"mae": 0.0, "bias": 0.0, "spearman": pytest.approx(1), "capture@10": 100 / 105}
    empty = measure(truth, np.zeros(4))
    assert (empty["bias"], empty["spearman"]) == (-1.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
@settings(max_examples=50, deadline=None)
def test_measures_equal_other_people_s(rows):
    truth, forecast = (np.array(column, float) for column in zip(*rows, strict=True))
    found = measure(truth, forecast)
    if np.ptp(truth) and np.ptp(forecast):
        assert found["spearman"] == pytest.approx(spearmanr(truth, forecast)[0])
    assert found["mae"] == pytest.approx(sum(abs(a - b) for a, b in rows) / len(rows))


def test_differences_are_paired_and_above_zero_where_the_first_is_better():
    rng = np.random.default_rng(3)
    truth = rng.gamma(0.3, 100, 800)
    good, bad = truth + rng.normal(0, 5, 800), 1.4 * truth + rng.normal(0, 80, 800)
    found = spend_metrics(truth, {"good": good, "bad": bad}, {"g_b": "good bad", "b_g": "bad good"}, 100, 0)
    for name in MEASURES[:3]:
        assert found["g_b"][name].low > 0
        assert found["b_g"][name].high < 0
    same = spend_metrics(truth, {"a": bad, "b": bad}, {"a_b": "a b"}, 20, 0)["a_b"]
    assert all((one.low, one.high) == (0, 0) for one in same.values())


RULES = TierRules(1, "spend_365d", "days_since_last_purchase", 0.2, 180, 90, 0.5)


def test_tiers_follow_the_rules():
    spend = np.arange(100.0)
    tiers = Tiers.fit(RULES, spend)
    awake, silent, asleep = (tiers.of(spend, np.full(100, days)) for days in (10.0, 100.0, 200.0))
    assert [(awake == k).sum() for k in range(3)] == [80, 20, 0]
    assert [(silent == k).sum() for k in range(3)] == [30, 20, 50]
    assert [(asleep == k).sum() for k in range(3)] == [50, 0, 50]
    assert tiers.as_json()["version"] == 1
    # Nobody else's forecast moves a customer.
    assert tiers.of(spend[90:91], np.array([10.0])).tolist() == [1]


def test_moves_and_what_tiers_did():
    found = moves(np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0]))
    assert found["stayed"] == pytest.approx(3 / 5)
    assert found["went"]["potential"] == {"potential": pytest.approx(2 / 3), "core": pytest.approx(1 / 3), "dormant": 0}
    done = realised(np.array([0, 1, 1, 2]), np.array([10.0, 50, 40, 0]))
    assert done["core"] == {"users": 0.5, "spend": 0.9, "mean_spend": 45.0, "bought": 1.0}
    assert done["dormant"]["bought"] == 0


def test_shipped_rules_are_read_and_bad_ones_refused():
    content = read_yaml(configs_folder() / "tiers.yaml")
    rules = read_rules(content, "tiers.yaml")
    assert rules.recency in NAMES
    for change in ({"core_share": 1.5}, {"dormant_silence_days": -1}, {"core_share": 0.6, "dormant_share": 0.6}):
        with pytest.raises(ConfigError, match=r"tiers\.yaml"):
            read_rules({**content, **change}, "tiers.yaml")
    with pytest.raises(ConfigError, match="unknown key"):
        read_rules({**content, "colour": 1}, "tiers.yaml")


@pytest.mark.skipif(not CDNOW.exists(), reason="CDNOW is not beside this checkout")
def test_amounts_of_cdnow_are_the_published_ones():
    # Fader and Hardie (2013) found p = 6.25, q = 3.74, gamma = 15.44 in a tenth of these customers.
    lines = pd.read_csv(CDNOW, sep=r"\s+", skiprows=1, names=["user", "day", "count", "amount"])
    days = lines[lines["day"] <= 19970930].groupby(["user", "day"])["amount"].sum().reset_index()
    repeats = days[days.groupby("user").cumcount() > 0].groupby("user")["amount"].agg(["size", "mean"])
    found = GammaGamma.fit(repeats["size"].to_numpy(float), repeats["mean"].to_numpy(float))
    assert (found.p, found.q, found.gamma) == pytest.approx((6.25, 3.74, 15.44), rel=0.06)


def test_a_benchmark_beyond_the_data_is_refused(tmp_path):
    lines = [
        "customer_id date number_of_cds dollar_value",
        *(f"{n:05d} 1997{n % 3 + 1:02d}01 1 10.00" for n in range(30)),
    ]
    (tmp_path / "small.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(TrainingError, match="the data end before the horizon"):
        benchmark_value(load(home=tmp_path / "home"), "cdnow", tmp_path / "small.txt", as_utc("1997-03-01"), 90)
