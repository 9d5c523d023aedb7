"""Searches on a small shop: noise keeps the defaults, a planted better space wins, what confirms was not searched."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from configs import OriginsConfig, SearchConfig, load
from configs.errors import TrainingError
from features.ingest import ingest
from features.periods import as_utc
from features.simulate import Shop, simulate
from training.judge import horizons_of
from training.registry import CHALLENGER, CHAMPION, Registry
from training.search import tune as module
from training.search.decide import paired_gain
from training.search.exam import Answers, Yardstick
from training.search.handed_on import handed_on
from training.search.tune import origins_of, tune
from training.train import train

END = as_utc("2026-06-01")
# Trees that learn every row by heart: whatever else the space holds is better.
POOR = {"learning_rate": 0.9, "trees": 60, "min_data_in_leaf": 1, "lambda_l2": 0.0}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    home = tmp_path_factory.mktemp("search")
    loaded = replace(load(home, END), threads=1)
    ingest(loaded, "shop", simulate(home / "shop", Shop(users=500, days=200, end=END)))
    churn = loaded.models["churn"]
    head = {"p_inactive_14d": churn.heads["p_inactive_14d"]}
    space = {"learning_rate": {"low": 0.02, "high": 0.9, "log": True}, "trees": {"low": 20, "high": 60}}
    churn = replace(churn, heads=head, origins=OriginsConfig(14, 4, 60), search=SearchConfig(space, 1), lightgbm=POOR)
    return replace(loaded, models={"churn": churn})


@pytest.fixture(scope="module")
def report(config):
    return train(config, "churn", trials=4)


def test_a_planted_better_space_wins_and_the_version_is_trained_with_it(config, report):
    found = report.evidence["search"]
    assert found["outcome"] == "better"
    assert found["gain"]["ci"][0] > 0
    assert found["trials"] == 4
    assert "it is used" in found["words"]["en"]
    best = found["best"]["params"]
    assert found["defaults"]["params"] == {"learning_rate": 0.9, "trees": 60}
    assert report.evidence["fits"]["inactive"]["params"]["learning_rate"] == best["learning_rate"]
    registry = Registry(config)
    version = registry.version("churn", report.version)
    assert version.tags["search"] == "better"
    meta = registry.read_json(report.run_id, "model/model.json")
    assert meta["recipe"]["lightgbm"] == {**POOR, **best}
    assert meta["training"]["search"] == json.loads(json.dumps(found)), "a check of the version can read it"
    runs = registry._client.search_runs([registry._client.get_experiment_by_name("churn").experiment_id])
    trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == version.tags["search_run_id"]]
    assert sorted(run.info.run_name for run in trials) == [f"trial {number}" for number in range(4)]
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert registry.read_json(report.run_id, "search.json")["best"]["number"] == found["best"]["number"]
    # Before the day by which the version is judged, the labels of whatever confirmed were over.
    judged_on, horizon = as_utc(report.judged_on), timedelta(days=14)
    assert max(map(as_utc, found["confirmed_on"])) + horizon <= judged_on
    assert max(map(as_utc, found["searched_on"])) + horizon <= min(map(as_utc, found["confirmed_on"]))


def test_what_a_search_found_is_not_lost_by_training_again(config, report, monkeypatch):
    registry = Registry(config)
    assert handed_on(config, "churn") is None, "without a champion there is nothing to hand on"
    won = registry.version("churn", report.version)
    found = registry.read_json(won.run_id, "model/model.json")
    registry.alias("churn", CHAMPION, won.version)
    again = train(config, "churn")
    meta = registry.read_json(again.run_id, "model/model.json")
    assert meta["recipe"] == found["recipe"]
    assert again.evidence["search"]["outcome"] == meta["training"]["search"]["outcome"] == "handed on"
    assert meta["training"]["search"]["confirmed_on"] == found["training"]["search"]["confirmed_on"]
    assert f"version {won.version}" in again.evidence["search"]["words"]["en"]
    tags = registry.version("churn", again.version).tags
    assert (tags["search"], tags["search_run_id"]) == ("handed on", won.tags["search_run_id"])
    registry.alias("churn", CHAMPION, again.version)
    assert handed_on(config, "churn").lightgbm == found["recipe"]["lightgbm"], "and so it goes on"
    asked = []
    monkeypatch.setattr("training.train._train", lambda config, model, show, before=None: asked.append(model.lightgbm))
    train(config, "churn", defaults=True)
    assert asked == [POOR]
    registry.set_version_tags("churn", again.version, {"search": "noise"})
    assert handed_on(config, "churn") is None, "and no further than its defaults"


def test_the_same_command_again_searches_nothing_more(config, report):
    asked = []
    decision = tune(config, config.models["churn"], 4, progress=lambda message, fraction: asked.append(message))
    assert decision.outcome == "better"
    assert not [message for message in asked if message.startswith("trial")]


def test_noise_keeps_the_defaults(config):
    """A space in which nothing matters: no split is ever allowed, so all trials are alike."""
    churn = config.models["churn"]
    space = {"bagging_fraction": {"low": 0.7, "high": 1.0}}
    churn = replace(churn, search=SearchConfig(space, 1), lightgbm={"min_data_in_leaf": 1_000_000, "trees": 3})
    decision = tune(config, churn, 3)
    assert decision.outcome in ("defaults", "noise")
    assert decision.lightgbm == churn.lightgbm
    assert "defaults kept" in decision.words["en"]
    assert "保留默认参数" in decision.words["zh"]


def test_without_a_space_or_a_history_there_is_no_search(config):
    churn = config.models["churn"]
    none = tune(config, replace(churn, search=SearchConfig()), 5)
    assert none.outcome == none.evidence["outcome"] == "none"
    long = replace(churn, heads={"p": {"label": "inactive", "horizon_days": 120, "cohort": "active"}})
    found = tune(config, long, 5)
    assert (found.outcome, found.lightgbm) == ("none", POOR)
    assert "too short" in found.words["en"]


def test_the_origins_of_search_confirmation_and_judgement_do_not_know_each_other():
    for name, model in load().models.items():
        if not model.search.space:
            continue
        for days in (450, 739, 1500):
            first = as_utc("2022-01-01")
            try:
                searched, later, judged = origins_of(model, first, first + timedelta(days=days))
            except TrainingError:
                assert days < 700, name
                continue
            horizon = timedelta(days=max(horizons_of(model)))
            assert max(searched) + horizon <= min(later)
            assert max(later) + horizon <= judged
            assert judged + horizon <= first + timedelta(days=days)
            assert len(searched) == len(later) >= 1
            assert days < 1500 or len(searched) == model.search.origins


def test_other_code_is_another_study(config, monkeypatch):
    case = module._Case(config, config.models["churn"], Yardstick("log_loss", False, {}, None), (END,), (END,), END)
    before = case.name
    assert case.name == before
    monkeypatch.setattr(module, "code_digest", lambda: "another")
    assert case.name != before


def test_a_paired_gain_is_found_where_the_means_of_single_users_drown_it():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(300), 3)
    loss = rng.exponential(size=len(users))
    first = [Answers({"p": users}, {"p": loss})]
    better = [Answers({"p": users}, {"p": loss - 0.02 + 0.05 * rng.normal(size=len(users))})]
    noise = [Answers({"p": users}, {"p": loss + 0.05 * rng.normal(size=len(users))})]
    gain = paired_gain(first, better, "log_loss", 0)
    assert 0 < gain.low < 0.02 < gain.high
    none = paired_gain(first, noise, "log_loss", 0)
    assert none.low < 0 < none.high
    assert paired_gain(first, better, "ndcg@10", 0).high < 0
