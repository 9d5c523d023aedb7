"""Searches on a small shop: noise keeps the defaults, a planted better space wins, what confirms was not searched."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import numpy as np
import pytest

from configs import OriginsConfig, SearchConfig, load
from configs.errors import TrainingError
from features.ingest import ingest
from features.periods import as_utc
from features.simulate import Shop, simulate
from training.forecasts import past_origins
from training.judge import horizons_of
from training.registry import CHAMPION, Registry
from training.search import tune as module
from training.search.decide import paired_gain
from training.search.exam import Answers, Yardstick
from training.search.handed_on import handed_on
from training.search.origins import origins_of
from training.search.tune import tune
from training.splits import rolling
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
    # And before any at which the gate, the comparison and the checks will look.
    model = config.models["churn"]
    gate = past_origins(config, model, model.gate.origins)
    assert len(gate) == model.gate.origins
    assert found["gate_spared"]
    assert max(map(as_utc, found["confirmed_on"])) + horizon <= as_utc(found["touched_until"]) <= gate[0]


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
                searched, later, until, spared = origins_of(model, first, first + timedelta(days=days))
            except TrainingError:
                assert days < 700, name
                continue
            horizon = timedelta(days=max(horizons_of(model)))
            assert max(searched) + horizon <= min(later)
            assert max(later) + horizon <= until
            assert until + horizon <= first + timedelta(days=days)
            gate = rolling(model.origins, horizons_of(model), first, first + timedelta(days=days), model.gate.origins)
            assert until == gate[0] if spared else until == gate[-1]
            assert spared or days < 1500
            assert len(searched) == len(later) >= 1
            assert days < 1500 or len(searched) == model.search.origins


@pytest.fixture
def made_up(config, monkeypatch):
    """A search whose origins answer as told: (model, exam) -> its case."""

    def made(exam, seed):
        grid = [END - timedelta(days=14 * k) for k in range(8, 0, -1)]
        case = module._Case(
            replace(config, seed=seed),
            config.models["churn"],
            Yardstick("log_loss", False, POOR, exam),
            tuple(grid[2::-1]),
            tuple(grid[4:6]),
            END,
            True,
        )
        monkeypatch.setattr(module, "_case", lambda *asked: case)
        return case

    return made


class Told:
    """An origin at which each further choice of parameters is a little better than all before."""

    users = np.arange(200)
    asked: ClassVar[dict[str, int]] = {}

    def answers(self, lightgbm):
        better = 0.02 * self.asked.setdefault(str(sorted(lightgbm.items())), len(self.asked))
        return Answers({"p": self.users}, {"p": np.random.default_rng(better != 0).normal(9 - better, 0.1, 200)})


def test_an_origin_that_cannot_be_examined_is_left_out_with_its_reason(config, made_up):
    def exam(origin, known_until):
        if origin in (bad.searched[1], bad.later[0]):
            raise TrainingError(f"nothing on {origin:%m-%d}")
        return Told()

    bad = made_up(exam, 1)
    found = tune(bad.config, bad.model, 3).evidence
    days = [f"{origin:%Y-%m-%d}" for origin in (*bad.searched, *bad.later)]
    assert found["searched_on"] == [days[0], days[2]]
    assert found["confirmed_on"] == days[4:]
    assert found["left_out"] == {day: f"nothing on {day[5:]}" for day in (days[1], days[3])}
    assert tune(bad.config, bad.model, 3).evidence == found


@pytest.mark.parametrize(("which", "said"), [("searched", "to search on"), ("later", "to confirm on")])
def test_where_no_origin_can_be_examined_the_defaults_stay(config, made_up, which, said):
    def exam(origin, known_until):
        if origin in getattr(bad, which):
            raise TrainingError("too little on that day")
        return Told()

    bad = made_up(exam, len(said))
    decision = tune(bad.config, bad.model, 3)
    assert (decision.outcome, decision.lightgbm) == ("none", POOR)
    assert f"defaults kept: nothing {said}: too little on that day" in decision.words["en"]


def test_every_further_winner_on_the_same_origins_has_to_be_surer(config, made_up):
    case = made_up(lambda origin, known_until: Told(), 2)
    found = [tune(case.config, case.model, trials).evidence for trials in (3, 3, 5)]
    assert [one["tests"] for one in found] == [1, 1, 2]
    assert found[0] == found[1]
    assert "(95 %)" in found[0]["words"]["en"]
    assert "(97.5 %) on later ones that the search never saw, by which 2 winners were" in found[2]["words"]["en"]
    users, loss = {"p": Told.users}, np.random.default_rng(0).normal(size=200)
    worse, better = [Answers(users, {"p": loss})], [Answers(users, {"p": loss * 0.9 - 0.01})]
    gains = [paired_gain(worse, better, "log_loss", 0, tests) for tests in (1, 2, 5)]
    assert gains[0].low > gains[1].low > gains[2].low
    assert gains[0].high < gains[1].high < gains[2].high


def test_other_code_is_another_study(config, monkeypatch):
    case = module._Case(
        config, config.models["churn"], Yardstick("log_loss", False, {}, None), (END,), (END,), END, True
    )
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
