"""Fitting on a small population with known truth: order, calibration, monotone horizons, the same bytes again."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from configs import load
from configs.errors import TrainingError
from features.catalog import NAMES
from training.calibrate import Blend, fit_blend, fit_slope, match_means
from training.evaluate import metrics_of
from training.models import fit, raw_scores
from training.stack import Family, families, stack

START = datetime(2024, 1, 1, tzinfo=UTC)
FAMILY = Family("repurchase", "bought", {"rule": [{"feature": "orders_life", "min": 1}]}, ("p",), (7.0, 30.0))


def frame(origins: int, users: int = 400, seed: int = 0) -> pd.DataFrame:
    """Users whose waiting time is exponential with a rate that two features tell."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(1.0, 0.03, users)
    parts = []
    for k in range(origins):
        values = pd.DataFrame(np.nan, index=range(users), columns=list(NAMES))
        values["orders_life"] = rng.poisson(rate * 200)
        values["orders_90d"] = rng.poisson(rate * 90)
        values["days_since_last_purchase"] = rng.exponential(1 / rate)
        values["user_id"] = [f"u{n}" for n in range(users)]
        values["as_of"] = START + timedelta(days=60 + 14 * k)
        values["purchase_wait_days"] = rng.exponential(1 / rate)
        values["true_rate"] = rate
        parts.append(values)
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def fitted():
    data = frame(14)
    judge = START + timedelta(days=60 + 14 * 13)
    past, present = data[data["as_of"] < judge], data[data["as_of"] == judge]
    rows, today = stack(past, FAMILY, NAMES, judge), stack(present, FAMILY, NAMES, None)
    return fit(rows, today, FAMILY, NAMES, 19723.0, 1, 1), present, judge, (rows, today)


def test_scores_come_close_to_the_truth(fitted):
    model, present, judge, _ = fitted
    for horizon in FAMILY.horizons:
        rows = stack(present, FAMILY, NAMES, judge + timedelta(days=99), [horizon])
        found = metrics_of(rows.y, model.probability(rows.x, horizon))
        chosen = present[present["orders_life"] >= 1]
        best = metrics_of(rows.y, 1 - np.exp(-chosen["true_rate"].to_numpy() * horizon))
        assert found["auroc"] > best["auroc"] - 0.05
        assert found["mean_prediction"] == pytest.approx(found["base_rate"], abs=0.06)


def test_a_longer_horizon_is_never_less_likely(fitted):
    model, _, _, (_, today) = fitted
    short, long = (model.probability(today.x[today.horizon == h], h) for h in FAMILY.horizons)
    assert (long >= short).all()


def test_the_same_data_and_seed_give_the_same_bytes(fitted):
    model, _, _, (rows, today) = fitted
    again = fit(rows, today, FAMILY, NAMES, 19723.0, 1, 2)
    first, second = (
        [line for line in one.booster.model_to_string().splitlines() if "num_threads" not in line]
        for one in (model, again)
    )
    assert first == second
    assert again.platt == model.platt


def test_grown_again_from_another_seed_it_says_much_the_same_and_the_served_bytes_stay(fitted):
    _, _, _, (rows, today) = fitted
    blend = Blend(0.5, 1.0)
    alone, twice = (fit(rows, today, FAMILY, NAMES, 19723.0, 1, 1, blend=blend, seeds=seeds) for seeds in ((), (2,)))
    assert alone.again == {}
    assert list(twice.again) == [2]
    assert twice.booster.model_to_string() == alone.booster.model_to_string()
    other = twice.again[2]
    assert other.num_trees() == twice.booster.num_trees()
    assert other.model_to_string() != twice.booster.model_to_string()
    scores = (raw_scores(one, today.x) for one in (twice.booster, other))
    assert np.corrcoef(*scores)[0, 1] > 0.95


def test_the_level_has_a_say_through_a_second_booster(fitted):
    model, _, _, (rows, today) = fitted
    trees, mixed = (fit(rows, today, FAMILY, NAMES, 19723.0, 1, 1, blend=Blend(w, 1.0)) for w in (0.0, 0.5))
    assert model.log["level_weight"] == model.blend.weight
    assert mixed.booster.num_trees() > trees.booster.num_trees() == 250
    assert np.corrcoef(raw_scores(trees.booster, today.x), raw_scores(mixed.booster, today.x))[0, 1] < 0.999
    short, long = (mixed.probability(today.x[today.horizon == h], h) for h in FAMILY.horizons)
    assert (long >= short).all()
    means = {h: mixed.log["forecast_mean"][f"{h:g}"] for h in FAMILY.horizons}
    # Up to what levelling the intercepts costs.
    assert short.mean() == pytest.approx(means[7.0], abs=0.02)
    assert long.mean() == pytest.approx(means[30.0], abs=0.02)


def test_the_weight_of_the_level_is_what_unseen_rows_say():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20_000)
    y = (rng.uniform(size=truth.size) < 1 / (1 + np.exp(-truth))).astype(float)
    one, noise = np.zeros(truth.size, int), rng.normal(size=(2, truth.size))
    assert fit_blend(truth + noise[0], truth + noise[1], y, one).weight == pytest.approx(0.4, abs=0.11)
    # A gain too small to be told from noise is not worth a second booster.
    slight = fit_blend(truth + 0.08 * noise[0], truth + 0.08 * noise[1], y, one)
    assert min(slight.losses) < slight.losses[0]
    assert slight.weight == 0
    assert fit_blend(truth, noise[0], y, one).weight == 0


def test_only_known_labels_teach(fitted):
    _, _, judge, (rows, today) = fitted
    limit = (judge - datetime(1970, 1, 1, tzinfo=UTC)).days
    assert (rows.end <= limit).all()
    assert not np.isnan(rows.y).any()
    assert np.isnan(today.y).all()


def test_too_little_to_learn_from_is_named(fitted):
    _, _, _, (rows, today) = fitted
    with pytest.raises(TrainingError, match="not enough to learn from"):
        fit(rows.where(np.arange(50)), today, FAMILY, NAMES, 19723.0, 1, 1)


def test_heads_are_grouped_into_families():
    found = {f.name: f for f in families(load().models["repurchase"])}
    assert found["repurchase"].horizons == (7.0, 14.0, 30.0, 60.0, 90.0)
    assert found["repurchase_next_month"].horizons == ()
    assert [f.direction for f in families(load().models["churn"])] == [-1]


def test_intercepts_match_means_and_keep_their_order():
    rng = np.random.default_rng(0)
    raw, horizon = rng.normal(size=400), np.repeat([7.0, 30.0], 200)
    platt = match_means(raw, np.repeat([0.3, 0.1], 200), horizon, 1.0, 1)
    assert platt.intercepts[7.0] == platt.intercepts[30.0]  # a forecast against the order is levelled
    assert match_means(raw, np.full(400, 0.2), horizon, 1.0, 0).probability(raw[:200], 7.0).mean() == pytest.approx(0.2)


def test_the_slope_hardly_moves_on_little_evidence():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=40)
    y = (rng.uniform(size=40) < 0.5).astype(float)
    assert fit_slope(raw, y, np.zeros(40, int)) == pytest.approx(1.0, abs=0.06)


def test_raw_scores_are_log_odds(fitted):
    model, _, _, (_, today) = fitted
    raw = raw_scores(model.booster, today.x)
    p = np.asarray(model.booster.predict(today.x))
    assert np.allclose(p, 1 / (1 + np.exp(-raw)))
