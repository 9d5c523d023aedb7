"""Two boosters in one text: the same scores, the same reasons, the same order of horizons, and serving reads it."""

import numpy as np
import pytest
from scipy.special import expit

from serving.scoring.model import write_model
from training.boost import DEFAULTS, learn_labels, learn_margin, merge, raw_scores

FEATURES = [f"f{k}" for k in range(5)]
NAMES = [*FEATURES, "horizon_days"]
PARAMS = {**DEFAULTS, "seed": 1, "num_threads": 1}
WEIGHTS = (0.65, 0.35)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(4000, 5)), rng.choice([7.0, 30.0, 90.0], 4000)])
    x[:, :5][rng.uniform(size=(4000, 5)) < 0.1] = np.nan
    margin = np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 1]) + np.log(x[:, 5] / 30)
    return x, (rng.uniform(size=4000) < expit(margin)).astype(float), margin


@pytest.fixture(scope="module")
def both(rows):
    x, y, margin = rows
    flat = np.zeros(len(y))
    return learn_labels(x, y, flat, NAMES, 1, PARAMS), learn_margin(x, margin, flat, NAMES, 1, PARAMS)


@pytest.fixture(scope="module")
def merged(both):
    return merge(both, WEIGHTS)


def test_the_raw_score_is_the_weighted_sum(rows, both, merged):
    expected = sum(w * raw_scores(one, rows[0]) for one, w in zip(both, WEIGHTS, strict=True))
    assert np.abs(raw_scores(merged, rows[0]) - expected).max() < 1e-12
    assert merged.num_trees() == sum(one.num_trees() for one in both)


def test_reasons_are_the_weighted_sums_and_add_up(rows, both, merged):
    x = rows[0][:200]
    reasons = merged.predict(x, pred_contrib=True)
    expected = sum(w * one.predict(x, pred_contrib=True) for one, w in zip(both, WEIGHTS, strict=True))
    assert np.abs(reasons - expected).max() < 1e-10
    assert np.abs(reasons.sum(1) - raw_scores(merged, x)).max() < 1e-10


@pytest.mark.parametrize("direction", [1, -1])
def test_a_merged_booster_keeps_the_order_of_horizons(rows, direction):
    x, y, margin = rows
    flat = np.zeros(len(y))
    # A teacher that says the opposite: the constraint holds all the same.
    lessons = ((learn_labels, y), (learn_margin, -margin))
    pair = [learn(x, goal, flat, NAMES, direction, PARAMS) for learn, goal in lessons]
    one = merge(pair, WEIGHTS)
    scores = [raw_scores(one, np.column_stack([x[:500, :5], np.full(500, h)])) for h in (7.0, 30.0, 90.0)]
    assert (direction * np.diff(scores, axis=0) >= 0).all()


def test_a_student_says_what_its_teacher_says(rows, both):
    x, _, margin = rows
    assert np.corrcoef(raw_scores(both[1], x), margin)[0, 1] > 0.95


def test_serving_reads_a_merged_booster(rows, merged, tmp_path):
    meta = {
        "name": "m",
        "version": "1",
        "run_id": "r",
        "features": FEATURES,
        "catalogue_digest": "sha256:0",
        "boosters": {"b": {"horizon_column": True, "monotone": "increasing"}},
        "heads": {
            "p": {
                "booster": "b",
                "cohort": None,
                "horizon_days": 30.0,
                "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0},
                "raw_percentiles": np.linspace(-1, 1, 101).tolist(),
            }
        },
        "cold_start": {"p": 0.5},
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    model = write_model(tmp_path / "m", meta, {"b": merged.model_to_string()})
    x = rows[0][:100, :5]
    raw = model.raw(x, "p")
    assert np.array_equal(raw, raw_scores(merged, np.column_stack([x, np.full(100, 30.0)])))
    reasons, base = model.contributions(x, "p")
    assert np.abs(reasons.sum(1) + base - raw).max() < 1e-10
