import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import load
from configs.errors import ConfigError, TrainingError
from training.benchmark_uplift import benchmark_uplift, judge_policies
from training.qini import Curve, bootstrap_means, policy_contributions, uplift_metrics
from training.uplift import LEARNERS, fit_uplift

DATA = Path(os.environ.get("USEROPS_DATA") or Path(__file__).parents[3] / "shared" / "data")
HILLSTROM = DATA / "hillstrom" / "hillstrom.csv"
CALLED = {name: {"en": name, "zh": name} for name in ("none", "a", "b")}


def campaign(n, effect_a, effect_b, seed):
    """``effect_*`` of x on the probability of buying, three arms drawn with odds 1/2, 1/4, 1/4."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, 3))
    arm = rng.choice(["none", "a", "b"], n, p=[0.5, 0.25, 0.25])
    p = 0.15 + 0.05 * x[:, 2] + effect_a(x) * (arm == "a") + effect_b(x) * (arm == "b")
    return x, arm, (rng.random(n) < p).astype(float)


def planted_a(x):
    return np.where(x[:, 0] > 0, 0.15, -0.05)


def planted_b(x):
    return np.where(x[:, 0] > 0, -0.05, 0.15)


def nothing(x):
    return np.zeros(len(x))


@pytest.fixture(scope="module")
def planted():
    return campaign(24_000, planted_a, planted_b, 1), campaign(24_000, planted_a, planted_b, 2)


def verdict(x, arm, y, chosen):
    policies = {name: np.full(len(x), name) for name in ("none", "a", "b")} | {"x_learner": chosen}
    odds = np.where(arm == "none", 0.5, 0.25)
    return judge_policies(y, arm, policies, odds, ["none", "a", "b"], CALLED, 0)


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_finds_planted_effects_of_two_arms(planted, learner):
    (x, arm, y), (fresh, _, _) = planted
    fitted = fit_uplift(x, arm, y, control="none", learner=learner)
    assert fitted.arms == ("a", "b")
    away = np.abs(fresh[:, 0]) > 0.1
    truth = np.column_stack([planted_a(fresh), planted_b(fresh)])
    assert np.abs(fitted.predict(fresh) - truth)[away].mean() < 0.035
    best = np.where(fresh[:, 0] > 0, "a", "b")
    assert (fitted.choose(fresh) == best)[away].mean() > 0.97


def test_a_model_that_is_better_is_said_to_be_better(planted):
    (x, arm, y), (fresh, drawn, bought) = planted
    chosen = fit_uplift(x, arm, y, control="none", learner="x").choose(fresh)
    found = verdict(fresh, drawn, bought, chosen)
    assert found["verdict"]["en"].startswith("x_learner beats")
    # The truth: 0.15 + 0.15 for everybody, against 0.15 + 0.05.
    low, high = found["metrics"]["x_learner.policy_value"]["ci"]
    assert low < 0.30 < high
    assert found["metrics"]["x_learner_minus_a"]["ci"][0] > 0.05


def test_without_effects_no_model_is_said_to_be_better():
    x, arm, y = campaign(12_000, nothing, nothing, 3)
    fresh, drawn, bought = campaign(12_000, nothing, nothing, 4)
    fitted = fit_uplift(x, arm, y, control="none", learner="x")
    found = verdict(fresh, drawn, bought, fitted.choose(fresh))
    assert found["verdict"]["en"].startswith("No model beats")
    assert found["verdict"]["zh"].startswith("没有模型优于")
    assert np.abs(fitted.predict(fresh)).mean() < 0.03


def test_a_constant_winner_is_not_beaten_and_a_bad_model_is_called_worse():
    fresh, drawn, bought = campaign(20_000, lambda x: np.full(len(x), 0.1), nothing, 5)
    found = verdict(fresh, drawn, bought, np.full(len(fresh), "b"))
    assert found["verdict"]["en"].startswith("No model beats a:")
    assert found["verdict"]["en"].endswith("x_learner is worse: that interval lies below 0.")


def test_costs_move_people_to_the_control(planted):
    (x, arm, y), _ = planted
    fitted = fit_uplift(x, arm, y, control="none", learner="t")
    assert (fitted.choose(x, cost=1.0) == "none").all()
    assert "b" not in fitted.choose(x, cost=np.array([0.0, 1.0]))


def test_logged_probabilities_undo_a_biased_draw():
    # Whoever is likely to buy anyway was written to more often: without the odds that looks like an effect.
    rng = np.random.default_rng(6)
    x = rng.integers(0, 2, (20_000, 1)).astype(float)
    odds = np.where(x[:, 0] > 0, 0.8, 0.2)
    sent = rng.random(len(x)) < odds
    y = (rng.random(len(x)) < 0.1 + 0.4 * x[:, 0]).astype(float)
    arm, blind = np.where(sent, "mail", "none"), rng.normal(size=(len(x), 1))
    given_odds = np.where(sent, odds, 1 - odds)
    naive = fit_uplift(blind, arm, y, control="none", learner="x").predict(blind).mean()
    weighted = fit_uplift(blind, arm, y, control="none", learner="x", probability=given_odds).predict(blind).mean()
    assert naive > 0.15
    assert abs(weighted) < 0.03


def test_amounts_and_outcomes_that_never_happen_are_learned_too():
    rng = np.random.default_rng(7)
    x, sent = rng.normal(size=(4000, 1)), rng.random(4000) < 0.5
    spend = rng.gamma(2, 10, 4000) + np.where(sent & (x[:, 0] > 0), 15.0, 0.0)
    arm = np.where(sent, "mail", "none")
    low, high = fit_uplift(x, arm, spend, control="none", learner="x").predict(np.array([[-1.0], [1.0]]))[:, 0]
    assert abs(low) < 4
    assert abs(high - 15) < 4
    never = fit_uplift(x, arm, np.zeros(4000), control="none", learner="t")
    assert (never.predict(x) == 0).all()


def test_what_cannot_be_learned_is_refused():
    x, arm, y = campaign(2000, nothing, nothing, 8)
    with pytest.raises(TrainingError, match="no uplift learner"):
        fit_uplift(x, arm, y, control="none", learner="r")
    with pytest.raises(TrainingError, match="too few people"):
        fit_uplift(x, arm, y, control="nobody", learner="t")
    with pytest.raises(TrainingError, match="probabilities"):
        fit_uplift(x, arm, y, control="none", learner="t", probability=np.zeros(2000))


people = st.lists(
    st.tuples(st.integers(-2, 2), st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30
)


def brute(rows):
    """Qini, AUUC by walking down the ranking, person by person, equal predictions together; weights are copies."""
    rows = [row[:3] for row in rows for _ in range(row[3])]
    treated = sum(t for _, t, _ in rows)
    if not treated or treated == len(rows):
        return None
    points = [(0.0, 0.0, 0.0)]
    for value in sorted({u for u, _, _ in rows}, reverse=True):
        above = [row for row in rows if row[0] >= value]
        y_t, y_c = ([y for _, t, y in above if t == side] for side in (True, False))
        lift = sum(y_t) / len(y_t) - sum(y_c) / len(y_c) if y_t and y_c else 0.0
        points.append((len(above) / len(rows), len(above) / len(rows) * lift, len(y_t) * lift / treated))
    area = [0.0, 0.0]
    for before, after in pairwise(points):
        for k in (1, 2):
            area[k - 1] += (after[0] - before[0]) * (after[k] + before[k]) / 2
    return area[0], area[1] - points[-1][2] / 2


@given(people)
@settings(max_examples=200, deadline=None)
def test_curves_equal_a_walk_down_the_ranking(rows):
    uplift, treated, y, copies = (np.array(column, float) for column in zip(*rows, strict=True))
    found = Curve.of(uplift, treated, y).metrics(copies)
    expected = brute(rows)
    if expected is None:
        assert np.isnan(found["qini"])
    else:
        assert (found["auuc"], found["qini"]) == pytest.approx(expected, abs=1e-12)


def test_a_constant_prediction_has_no_qini_and_half_the_effect():
    rng = np.random.default_rng(9)
    treated = rng.random(1000) < 0.3
    y = rng.random(1000) + 0.2 * treated
    found = uplift_metrics({"c": Curve.of(np.zeros(1000), treated.astype(float), y)}, 50, 0)
    effect = y[treated].mean() - y[~treated].mean()
    assert found["c.qini"].value == pytest.approx(0, abs=1e-12)
    assert found["c.auuc"].value == pytest.approx(effect / 2)
    assert found["c.auuc"].low < effect / 2 < found["c.auuc"].high
    assert found["c.uplift@30"].value == pytest.approx(effect)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_policy_values_equal_a_loop_over_people(rows):
    y, arm, chosen = (list(column) for column in zip(*rows, strict=True))
    odds = {"a": 0.5, "b": 0.3, "c": 0.2}
    total = 0.0
    for outcome, drawn, wanted in rows:
        if drawn == wanted:
            total += outcome / odds[drawn]
    found = policy_contributions(
        np.array(y, float), np.array(arm), np.array(chosen), np.array([odds[one] for one in arm])
    )
    assert found.mean() == pytest.approx(total / len(rows))


def test_draws_are_paired():
    y = np.random.default_rng(10).normal(size=500)
    drawn = bootstrap_means([y, y + 1], 100, 0)
    assert np.allclose(drawn[:, 1] - drawn[:, 0], 1)
    assert drawn[:, 0].std() == pytest.approx(y.std() / np.sqrt(500), rel=0.3)


def test_another_table_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="columns are missing"):
        benchmark_uplift(load(), tmp_path / "other.csv")
    with pytest.raises(ConfigError, match="cannot be read"):
        benchmark_uplift(load(), tmp_path / "absent.csv")


@pytest.mark.skipif(not HILLSTROM.exists(), reason="Hillstrom's table is not beside this checkout")
def test_hillstrom_gives_the_published_constants_and_recommends_no_model():
    found = benchmark_uplift(replace(load(), threads=1), HILLSTROM)
    constants = {name: round(one["policy_value"], 3) for name, one in found["baselines"].items()}
    assert constants == {"no_email": 0.579, "mens_email_to_all": 1.252, "womens_email_to_all": 0.888}
    assert found["baselines"]["mens_email_to_all"]["policy_value.low"] == pytest.approx(0.978, abs=0.03)
    assert found["verdict"]["en"].startswith('No model beats "men\'s e-mail to everyone"')
    for learner in LEARNERS:
        low, high = found["metrics"][f"{learner}_learner_minus_mens_email_to_all"]["ci"]
        assert low < 0 < high
