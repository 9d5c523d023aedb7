"""A model answers exactly what its booster, calibrator and cohort say, and loads only what was written."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BundleError, FeatureError
from serving.scoring import Model, write_model
from serving.scoring.calibrator import read_calibrator


@pytest.fixture
def churn(model_folders):
    return Model.load(model_folders["churn"])


@pytest.fixture
def orders(model_folders):
    return Model.load(model_folders["repurchase"])


def test_raw_and_probability_are_the_boosters_own(churn, meta, x):
    booster = lgb.Booster(model_str=meta.churn_boosters["inactive"])
    raw = booster.predict(np.column_stack([x, np.full(len(x), 30.0)]), raw_score=True)
    np.testing.assert_array_equal(churn.raw(x, "p_inactive_30d"), raw)
    expected = 1 / (1 + np.exp(-(1.05 * raw - 0.03)))
    np.testing.assert_allclose(churn.probability(x, "p_inactive_30d"), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "head"), [("churn", "p_inactive_14d"), ("repurchase", "p_first_order_30d")])
def test_contributions_and_base_add_up_to_the_raw_score(model_folders, x, name, head):
    model = Model.load(model_folders[name])
    phi, base = model.contributions(x, head)
    assert phi.shape == x.shape
    np.testing.assert_allclose(phi.sum(axis=1) + base, model.raw(x, head), atol=1e-12)
    assert np.abs(phi).max() > 0.01


def test_a_row_is_scored_alike_alone_and_among_others(churn, x):
    together = churn.raw(x, "p_inactive_30d")
    alone = np.concatenate([churn.raw(x[i : i + 1], "p_inactive_30d") for i in range(len(x))])
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("name", ["churn", "repurchase"])
def test_heads_asked_together_answer_as_alone(model_folders, x, name):
    model = Model.load(model_folders[name])
    heads = list(model.heads)
    raws, explained = model.raws(x, heads[::-1]), model.explained(x, heads[::-1])
    assert set(raws) == set(explained) == set(heads)
    for head in heads:
        np.testing.assert_array_equal(raws[head], model.raw(x, head))
        for together, alone in zip(explained[head], model.contributions(x, head), strict=True):
            np.testing.assert_array_equal(together, alone)


def test_contributions_are_those_of_pred_contrib(churn, meta, x):
    booster = lgb.Booster(model_str=meta.churn_boosters["inactive"])
    expected = booster.predict(np.column_stack([x, np.full(len(x), 60.0)]), pred_contrib=True)
    phi, base = churn.contributions(x, "p_inactive_60d")
    np.testing.assert_allclose(phi, expected[:, :-2], rtol=0, atol=1e-12)
    np.testing.assert_allclose(base, expected[:, -2:].sum(axis=1), rtol=0, atol=1e-12)


def test_no_rows_give_no_scores(churn, x):
    assert churn.probability(x[:0], "p_inactive_30d").shape == (0,)
    phi, base = churn.contributions(x[:0], "p_inactive_30d")
    assert phi.shape == (0, x.shape[1])
    assert base.shape == (0,)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_heads_of_one_booster_never_cross(model_folders, data):
    value = st.one_of(st.just(np.nan), st.floats(-1e6, 1e6))
    row = np.array([data.draw(st.lists(value, min_size=8, max_size=8))])
    churn, orders = Model.load(model_folders["churn"]), Model.load(model_folders["repurchase"])
    falling = [churn.probability(row, f"p_inactive_{days}d")[0] for days in (14, 30, 60)]
    assert falling[0] >= falling[1] - 1e-15 >= falling[2] - 2e-15
    rising = [orders.probability(row, f"p_repurchase_{days}d")[0] for days in (30, 90)]
    assert rising[0] <= rising[1] + 1e-15
    waiting = orders.next_order(row)[0]
    known = waiting[~np.isnan(waiting)]
    assert (np.diff(known) >= 0).all()
    assert ((known > 0) & (known <= 180 + 1e-9)).all()


def test_waiting_time_inverts_the_head(orders, x):
    waiting = orders.next_order(x)
    curve = [1 / (1 + np.exp(-(1.05 * orders.raw(x, "p_repurchase_90d") + 0.05)))][0]
    late = np.isnan(waiting[:, 1]) | (waiting[:, 1] > 90)
    np.testing.assert_array_equal(late, curve < 0.5)


def test_cohorts(churn, orders, x):
    np.testing.assert_array_equal(churn.in_cohort(x, "p_inactive_30d"), x[:, 0] <= 90)
    np.testing.assert_array_equal(orders.in_cohort(x, "p_repurchase_30d"), ~np.isnan(x[:, 1]))
    np.testing.assert_array_equal(orders.in_cohort(x, "p_first_order_30d"), np.isnan(x[:, 1]))
    edge = x[:1].copy()
    edge[0, 0] = 90.0
    assert churn.in_cohort(edge, "p_inactive_30d").all()
    edge[0, 0] = np.nan
    assert not churn.in_cohort(edge, "p_inactive_30d").any()


def test_percentile_of_the_reference_population(churn, meta):
    quantiles = np.array(meta.churn["heads"]["p_inactive_30d"]["raw_percentiles"])
    result = churn.percentile(np.array([quantiles[0] - 1, np.median(quantiles), quantiles[-1] + 1]), "p_inactive_30d")
    assert result[0] == 0
    assert result[2] == 100
    assert abs(result[1] - 50) <= 5


def test_wrong_width_and_unknown_head_are_refused(churn, x):
    with pytest.raises(FeatureError, match="wrong width"):
        churn.raw(x[:, :-1], "p_inactive_30d")
    with pytest.raises(BundleError, match="p_inactive_14d"):
        churn.raw(x, "p_inactive_31d")


def test_columns_select_the_models_features_by_name(churn, x):
    names = list(reversed([*churn.features, "unused"]))
    wide = np.column_stack([np.zeros(len(x)), x[:, ::-1]])
    np.testing.assert_array_equal(wide[:, churn.columns(names)], x)
    with pytest.raises(BundleError, match="no such feature"):
        churn.columns(names[:4])


BREAKS = {
    "unknown format": lambda m: m.update(format=2),
    "missing 'heads'": lambda m: m.pop("heads"),
    "other columns": lambda m: m["features"].reverse(),
    "unknown booster": lambda m: m["heads"]["p_inactive_30d"].update(booster="other"),
    "unknown cohort": lambda m: m["heads"]["p_inactive_30d"].update(cohort="other"),
    "no horizon_days": lambda m: m["heads"]["p_inactive_30d"].update(horizon_days=None),
    "raw_percentiles": lambda m: m["heads"]["p_inactive_30d"]["raw_percentiles"].pop(),
    "calibrator cannot be used": lambda m: m["heads"]["p_inactive_30d"]["calibrator"].update(slope=-1.0),
    "could cross": lambda m: m["heads"]["p_inactive_30d"]["calibrator"].update(intercept=9.0),
    "not trained to be increasing": lambda m: m["boosters"]["inactive"].update(monotone="increasing"),
    "increasing or decreasing": lambda m: m["boosters"]["inactive"].update(monotone="yes"),
    "cold_start": lambda m: m["cold_start"].pop("p_inactive_14d"),
    "unknown feature": lambda m: m["cohorts"]["active"]["rule"].update(feature="x"),
    "of min, max": lambda m: m["cohorts"]["active"]["rule"].update(most=3),
    "shape of a model": lambda m: m.update(boosters=[]),
    "leaves its folder": lambda m: m["boosters"]["inactive"].update(file="../inactive.txt"),
    "not the file": lambda m: m["boosters"]["inactive"].update(sha256="sha256:00"),
}


@pytest.mark.parametrize("message", BREAKS)
def test_a_model_that_cannot_be_served_is_refused(model_folders, tmp_path, message):
    source = model_folders["churn"]
    document = json.loads((source / "model.json").read_text())
    BREAKS[message](document)
    (tmp_path / "model.json").write_text(json.dumps(document))
    (tmp_path / "inactive.txt").write_bytes((source / "inactive.txt").read_bytes())
    with pytest.raises(BundleError, match=message):
        Model.load(tmp_path)


def test_nan_in_a_document_is_neither_written_nor_read(meta, model_folders, tmp_path):
    changed = copy.deepcopy(meta.churn)
    changed["metrics"]["auroc"]["value"] = float("nan")
    with pytest.raises(BundleError, match="not JSON"):
        write_model(tmp_path / "a", changed, meta.churn_boosters)
    text = (model_folders["churn"] / "model.json").read_text().replace('"value": 0.8', '"value": NaN')
    assert "NaN" in text
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(BundleError, match="NaN is not a JSON number"):
        Model.load(tmp_path)


def test_a_text_that_is_no_booster_is_refused(meta, tmp_path):
    with pytest.raises(BundleError, match="not a LightGBM model"):
        write_model(tmp_path, meta.churn, {"inactive": "tree\n"})


@given(st.floats(0.01, 9), st.floats(-5, 5), st.lists(st.floats(-60, 60), min_size=2, max_size=9))
def test_calibrators_keep_the_order_of_raw_scores(slope, intercept, raw):
    calibrate = read_calibrator({"kind": "sigmoid", "slope": slope, "intercept": intercept}, "p")
    p = calibrate(np.sort(raw))
    assert (np.diff(p) >= -1e-15).all()
    assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"kind": "pickle"},
        {"kind": "sigmoid", "slope": 1.0},
        {"kind": "sigmoid", "slope": 0.0, "intercept": 0.0},
        {"kind": "sigmoid", "slope": 1.0, "intercept": float("inf")},
        {"kind": "isotonic", "x": [0, 1], "y": [0.5, 0.4]},
        {"kind": "isotonic", "x": [1, 1], "y": [0.4, 0.5]},
        {"kind": "isotonic", "x": [0, 1], "y": [0.4, 1.5]},
        {"kind": "isotonic", "x": [], "y": []},
        {"kind": "isotonic", "x": [0, 1], "y": [0.4]},
    ],
)
def test_a_calibrator_that_could_turn_the_ranking_is_refused(content):
    with pytest.raises(BundleError, match="calibrator cannot be used"):
        read_calibrator(content, "p")


def test_scoring_imports_nothing_heavy_of_its_own():
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pandas", "sklearn", "mlflow", "shap", "feast", "bentoml", "pyarrow", "duckdb"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import serving.scoring
ours = {name.split(".")[0] for name in sys.modules} & {"features", "training"}
sys.exit(f"imports {ours}" if ours else 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
