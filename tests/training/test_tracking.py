"""A stranger who only has MLflow's pages learns what was trained, on what, how good it is, and what it weighs."""

import json

import lightgbm as lgb
import mlflow
import numpy as np
import pandas as pd
import pytest

from configs import load
from features.catalog import NAMES
from features.periods import as_utc
from serving.scoring.model import write_model
from training.curves import curves_of
from training.desk.sample import Sample
from training.explain import explanation, features_of, reasons, version_of, weights
from training.registry import CHALLENGER, Registry
from training.report import TrainReport
from training.revision import revision
from training.tracking import log_training

HEAD = "p_inactive_30d"
SPLIT = {"last_origin": "2026-04-06", "judged_at": "2026-03-02", "labels_known_until": "2026-05-31T00:00:00+00:00"}
DATA = {"rows": 400, "users": 400, "data_hash": "sha256:da7a", "catalogue_digest": "sha256:ca7a"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A registered version of one head, logged as training logs it."""
    config, rng = load(tmp_path_factory.mktemp("home")), np.random.default_rng(1)
    x = rng.gamma(2.0, 10.0, (400, len(NAMES)))
    y = (x[:, NAMES.index("orders_life")] + rng.normal(0, 5, 400) > 20).astype(float)
    data = lgb.Dataset(x, y, feature_name=list(NAMES))
    booster = lgb.train({"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1}, data, 10)
    raw = booster.predict(x, raw_score=True)
    head = {"booster": "inactive", "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0}}
    metrics = {HEAD: {"log_loss": {"value": 0.31, "ci": [0.29, 0.33]}, "auroc": {"value": 0.91, "ci": None}}}
    baselines = {HEAD: {"recency": {"log_loss": 0.5, "auroc": 0.7}, "bg_nbd": {"log_loss": 0.4, "auroc": 0.8}}}
    evidence = {"split": SPLIT, "data": DATA, "fits": {"inactive": {"rows": 400, "params": {"num_leaves": 7}}}}
    registry = Registry(config)
    with registry.run("churn", "train") as run:
        version = registry.new_version("churn", run, {})
        meta = {
            "name": "churn", "version": version, "run_id": run.run_id, "features": list(NAMES),
            "catalogue_digest": "sha256:ca7a", "boosters": {"inactive": {}}, "cold_start": {HEAD: 0.5},
            "heads": {HEAD: {**head, "raw_percentiles": np.quantile(raw, np.linspace(0, 1, 101)).tolist()}},
            "created_at": "2026-06-01T00:00:00Z",
        }  # fmt: skip
        folder = tmp_path_factory.mktemp("model") / "model"
        model = write_model(folder, meta, {"inactive": booster.model_to_string()})
        run.model(folder, NAMES, [HEAD])
        left_out = {"first_order": {"en": "nobody ordered", "zh": "无人下单"}}
        report = TrainReport("churn", version, run.run_id, "2026-03-02", metrics, baselines, left_out, evidence)
        curves = {HEAD: curves_of(y, 1 / (1 + np.exp(-raw)), raw, {"recency": x[:, 0]})}
        sample = Sample(as_utc("2026-05-31"), {HEAD: x}, {HEAD: np.array([f"u{k}" for k in range(len(x))], object)})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("training.desk.learned.home_stores", lambda *_: {})
            log_training(config, registry, run, report, curves, model, sample, None, {})
        registry.alias("churn", CHALLENGER, version)
    return config, model, x, client_of(config).get_run(run.run_id)


def client_of(config):
    return mlflow.MlflowClient(config.tracking_uri, config.tracking_uri)


def test_a_run_says_with_which_code_and_data_it_came_about(trained):
    config, _, _, run = trained
    tags = run.data.tags
    assert tags["code"] == revision()
    assert tags["mlflow.runName"] == "train: version 1"
    assert (tags["feature_service"], tags["data_hash"], tags["catalogue_digest"]) == (
        "churn",
        "sha256:da7a",
        "sha256:ca7a",
    )
    given = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert set(given) == {"training", "evaluation"}
    assert json.loads(given["training"].profile)["until"] == SPLIT["labels_known_until"]
    assert json.loads(given["evaluation"].profile)["until"] == SPLIT["judged_at"]
    assert {column["name"] for column in json.loads(given["training"].schema)["mlflow_colspec"]} == set(NAMES)
    assert given["training"].digest != given["evaluation"].digest
    assert json.loads(given["training"].source)["uri"] == str(config.home / "events")


def test_the_words_name_the_numbers_and_the_best_baseline(trained):
    config, _, _, run = trained
    words = run.data.tags["mlflow.note.content"]
    assert f"| {HEAD} | log_loss | 0.3100 [0.2900, 0.3300] | 0.4000 (bg_nbd) |" in words
    assert f"| {HEAD} | auroc | 0.9100 | 0.8000 (bg_nbd) |" in words
    assert "2026-03-02" in words
    assert "2026-05-31" in words
    assert "first_order: nobody ordered" in words
    assert "churn 第 1 版" in words
    version = client_of(config).get_model_version("churn", "1")
    assert version.description == words
    assert config.models["churn"].purpose["zh"] in client_of(config).get_registered_model("churn").description


def test_plots_numbers_and_the_desk_lie_with_the_run(trained):
    config, _, _, run = trained
    client, folders = client_of(config), ("", "plots", "model", "desk", "desk/learned")
    files = {file.path for folder in folders for file in client.list_artifacts(run.info.run_id, folder)}
    pictures = {f"plots/{name}.png" for name in ("calibration", "gain", "scores", "weights")}
    assert pictures | {"weights.csv", "evaluation.json", "evidence.json", "reference.json", "model/MLmodel"} <= files
    assert {"desk/card.json", f"desk/learned/{HEAD}.json"} <= files


def test_the_feature_that_decides_weighs_most(trained):
    _, model, x, _ = trained
    heavy = weights(model, {HEAD: x})
    assert heavy["feature"][0] == "orders_life"
    assert heavy["share"].sum() == pytest.approx(1.0)
    assert heavy["share"].is_monotonic_decreasing


def test_reasons_add_up_and_shap_takes_the_same_numbers(trained):
    config, model, x, _ = trained
    frame = pd.DataFrame(x[:6], columns=features_of(model, HEAD)).assign(user_id=list("abcdef"))
    stored = version_of(config, "churn", CHALLENGER)
    told = reasons(stored, frame, HEAD)
    totals = told.groupby("user_id").agg({"contribution": "sum", "base": "first", "raw": "first"})
    assert np.allclose(totals["contribution"] + totals["base"], model.raw(x[:6], HEAD), atol=1e-9)
    strongest = told[told["rank"] == 1].set_index("user_id")["contribution"].abs()
    assert (strongest >= told.groupby("user_id")["contribution"].apply(lambda one: one.abs().max()) - 1e-12).all()
    assert len(reasons(stored, frame, HEAD, most=3)) == 18
    given = explanation(stored, frame, HEAD)
    assert given.values.shape == (6, len(NAMES))
    assert np.allclose(given.values.sum(axis=1) + given.base_values, model.raw(x[:6], HEAD), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_curves_are_what_counting_says(seed):
    rng = np.random.default_rng(seed)
    y, score = (rng.random(60) < 0.4).astype(float), rng.permutation(60).astype(float)
    curves = curves_of(y, rng.random(60), score, {"constant": np.ones(60)})
    best = y[np.argsort(-score)]
    assert curves["gain"]["model"] == pytest.approx([best[: 3 * (k + 1)].sum() / y.sum() for k in range(20)])
    # What promises no order finds what chance finds.
    assert curves["gain"]["constant"] == pytest.approx(curves["gain"]["share"])
    assert sum(curves["scores"]["with"]) == y.sum()
    assert sum(curves["scores"]["without"]) == len(y) - y.sum()
