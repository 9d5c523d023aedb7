"""What counts as drift: planted ones are found, and nothing else is."""

import json
from datetime import timedelta

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from features.periods import as_utc
from serving.scoring import write_model
from training.monitor.counts import chance, count, cut, ks, psi
from training.monitor.reference import Population, Reference, chosen, described, population, reference_of
from training.monitor.shifts import FALSE_ALARMS, drifted_weight, shifts

T = as_utc("2026-06-01")
FEATURES = ("days_since_last_activity", "orders_life", "spend_90d", "year_sin")


def one_feature(before, now, past=(), days=28):
    """The shift of one feature from ``before`` to ``now``, ``days`` later; ``past`` are samples 28 days apart."""
    earlier = [Population(T - timedelta(days=28 * (k + 1)), {"f": x}, {}) for k, x in enumerate(reversed(past))]
    content = described("m", "1", Population(T, {"f": before}, {}), earlier, {"f": 1.0})
    reference = Reference.read(json.loads(json.dumps(content)))
    (found,) = shifts(reference, Population(T + timedelta(days=days), {"f": now}, {}))
    return found


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, np.nan, -3.0]), min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_every_value_is_counted_once(values):
    x = np.array(values)
    counts = count(x, cut(x))
    assert counts.sum() == len(x)
    assert counts[-1] == np.isnan(x).sum()
    assert psi(counts, counts) == ks(counts, counts) == 0


def test_psi_and_ks_are_the_textbook_numbers():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=4000), rng.normal(0.5, 1, size=3000)
    edges = cut(a)
    one, other = count(a, edges), count(b, edges)
    p, q = one[:-1] / one.sum(), other[:-1] / other.sum()  # nothing is absent
    assert psi(one, other) == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=0.02)
    # Scipy looks between the edges too.
    assert ks_2samp(a, b).statistic - 0.02 < ks(one, other) <= ks_2samp(a, b).statistic + 1e-12


def test_p_values_are_even_where_nothing_happened():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(150):
        a, b = rng.exponential(size=120), rng.exponential(size=60)
        edges = cut(a)
        found.append(chance(count(a, edges), count(b, edges), 99, rng)[1])
    # Within three standard errors of a third.
    assert abs(np.mean(np.array(found) <= 1 / 3) - 1 / 3) < 3 * np.sqrt(2 / 9 / 150)


def test_small_samples_do_not_cry_wolf():
    alarms, large = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        names = [f"f{k}" for k in range(12)]

        def draw(n, names=names, rng=rng):
            return {name: np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(size=n)) for name in names}

        before = Population(T, draw(60), {})
        reference = Reference.read(described("m", "1", before, [], dict.fromkeys(names, 1 / 12)))
        found = shifts(reference, Population(T + timedelta(days=7), draw(40), {}), seed)
        alarms += any(one.status == "drifted" for one in found)
        large += sum(one.status == "chance" for one in found)
    assert large > 100  # a fixed threshold would have fired in every simulation
    assert alarms <= 60 * FALSE_ALARMS + 3 * np.sqrt(60 * FALSE_ALARMS * (1 - FALSE_ALARMS))


def test_planted_drift_is_found():
    rng = np.random.default_rng(3)
    before = rng.lognormal(size=500)
    assert one_feature(before, rng.lognormal(size=400)).status == "steady"
    assert one_feature(before, 3 * rng.lognormal(size=400)).status == "drifted"
    gone = np.where(rng.random(400) < 0.5, np.nan, rng.lognormal(size=400))
    found = one_feature(before, gone)
    assert (found.status, found.missing_before, found.missing_now) == ("drifted", 0.0, np.isnan(gone).mean())
    assert one_feature(np.append(np.zeros(499), 1.0), np.full(400, -1.0)).status == "drifted"


def test_what_time_alone_moves_is_usual():
    rng = np.random.default_rng(4)
    past = [rng.gamma(4, 25 + 10 * k, 500) for k in range(6)]  # tenure grows
    before, now = rng.gamma(4, 85, 500), rng.gamma(4, 125, 500)
    assert one_feature(before, now, past, days=112).status == "usual"
    assert one_feature(before, now, past, days=1).status == "drifted"
    assert one_feature(before, now, days=112).status == "drifted"


def test_the_calendar_is_no_drift():
    past = [np.full(100, float(k)) for k in range(3)]
    found = one_feature(np.full(100, 3.0), np.full(100, 4.0), past)
    assert (found.status, drifted_weight([found])) == ("calendar", 0.0)


def shop(n, seed, at=T, spend=1.0):
    rng = np.random.default_rng(seed)
    values = {
        "user_id": [f"u{k}" for k in range(n)],
        "as_of": pd.DatetimeIndex([at] * n),
        "days_since_last_activity": rng.exponential(40, n),
        "orders_life": rng.poisson(3, n).astype(float),
        "spend_90d": np.where(rng.random(n) < 0.3, np.nan, spend * rng.lognormal(3, 1, n)),
        "year_sin": np.full(n, at.toordinal() / 1e6),
    }
    return pd.DataFrame(values)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """One head for who was active in the last 90 days; it reads spend and recency."""
    frame = shop(1500, 0)
    x = frame[list(FEATURES)].to_numpy(float)
    y = (np.nan_to_num(x[:, 2]) > 20) ^ (x[:, 0] > 30)
    params = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1, "deterministic": True}
    booster = lgb.train(params, lgb.Dataset(x, y.astype(float), feature_name=list(FEATURES)), 15)
    meta = {
        "name": "churn",
        "version": "1",
        "run_id": "r",
        "catalogue_digest": "sha256:0",
        "features": FEATURES,
        "boosters": {"b": {"horizon_column": False}},
        "cohorts": {"active": {"rule": [{"feature": "days_since_last_activity", "max": 90}]}},
        "heads": {
            "p": {
                "booster": "b",
                "cohort": "active",
                "horizon_days": 30.0,
                "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0},
                "raw_percentiles": list(range(101)),
            }
        },
        "cold_start": {"p": 0.5},
        "created_at": T.isoformat(),
    }
    return write_model(tmp_path_factory.mktemp("model"), meta, {"b": booster.model_to_string()})


def test_a_reference_survives_json_and_knows_the_model(model):
    earlier = [T - timedelta(days=14 * k) for k in range(1, 12)]
    frame = pd.concat([shop(400, k, at) for k, at in enumerate([T, *earlier])])
    content = json.loads(json.dumps(reference_of(model, frame, T), allow_nan=False))
    reference = Reference.read(content)
    assert reference.rows == (shop(400, 0).days_since_last_activity <= 90).sum()  # its cohort
    assert sum(one.weight for one in reference.features.values()) == pytest.approx(1)
    assert reference.features["spend_90d"].weight > 0.2 > reference.features["orders_life"].weight
    assert reference.features["year_sin"].same_for_all
    assert len(reference.features["spend_90d"].earlier) == 8
    assert chosen(earlier, T)[0] == min(earlier)

    steady = shifts(reference, population(model, shop(400, 99, T + timedelta(days=14)), T + timedelta(days=14)))
    assert {one.status for one in steady} <= {"steady", "moved", "calendar"}
    rich = shifts(reference, population(model, shop(400, 99, spend=5.0), T + timedelta(days=14)))
    assert {one.name for one in rich if one.status == "drifted"} == {"spend_90d", "p"}
    assert drifted_weight(rich) == pytest.approx(reference.features["spend_90d"].weight)
