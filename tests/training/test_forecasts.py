"""Forecasts at past origins: nothing of what followed reaches them, and nothing finished is done twice."""

from __future__ import annotations

import ast
import dataclasses
import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import training
from configs import OriginsConfig, load
from configs.errors import TrainingError
from features.build import build
from features.catalog import NAMES
from features.engine import connect
from features.events import read_events, span
from features.ingest import ingest
from features.periods import as_utc
from features.simulate import Shop, simulate
from training import forecasts as module
from training.backtest.backtest import backtest
from training.dataset import assemble
from training.evaluate import metrics_of
from training.forecasts import CODE, Recipe, code_digest, forecasts, kept, past_origins
from training.forecasts_of_users import PastOfUsers, keep_judged
from training.judge import judge
from training.registry import Registry
from training.splits import origins_before, split_at

END = as_utc("2026-06-01")
QUICK = {"trees": 15, "num_leaves": 7, "learning_rate": 0.15}


def home_of(folder: Path, shop: Path):
    loaded = load(folder, END)
    model = dataclasses.replace(loaded.models["churn"], origins=OriginsConfig(14, 6, 60), lightgbm=QUICK)
    config = dataclasses.replace(loaded, threads=1, models={"churn": model})
    ingest(config, "shop", shop)
    return config


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    return simulate(tmp_path_factory.mktemp("shop") / "shop", Shop(users=300, days=220, end=END))


@pytest.fixture(scope="module")
def config(tmp_path_factory, shop):
    return home_of(tmp_path_factory.mktemp("home"), shop)


@pytest.fixture(scope="module")
def model(config):
    return config.models["churn"]


@pytest.fixture(scope="module")
def origins(config, model):
    return past_origins(config, model, 2)


@pytest.fixture(scope="module")
def found(config, model, origins):
    return forecasts(config, model, origins)


def test_a_row_per_user_origin_and_head_beside_every_baseline(found, origins):
    frame = found.frame
    assert not frame.duplicated(["user_id", "as_of", "head"]).any()
    assert set(frame["as_of"]) == set(pd.DatetimeIndex(origins))
    assert frame["as_of"].dtype == pd.DatetimeTZDtype("us", "UTC")
    assert found.kind == "probability"
    assert set(found.baselines) == {"recency", "frequency", "rfm_rule", "rfm", "bg_nbd"}
    for column in ("y", "p", *(f"baseline.{name}" for name in found.baselines)):
        assert frame[column].between(0, 1).all(), column
    assert frame["segment.channel"].isin(["app", "web", "store", "wecom", "other", "unknown"]).all()
    assert frame["segment.store"].str.fullmatch(r"s\d+").mean() > 0.3
    # A calibrator keeps the order of users.
    for _, rows in frame.groupby(["as_of", "head"]):
        assert rows.sort_values("raw")["p"].is_monotonic_increasing


def test_labels_are_what_the_events_say(config, found):
    rows = found.frame[found.frame["head"] == "p_inactive_30d"]
    events = read_events(connect(config), config).select("user_id", "event_type", "event_at").to_pandas()
    active = events[~events["event_type"].isin(["register", "impression", "coupon"])]
    for origin, part in rows.groupby("as_of"):
        after = active[(active["event_at"] > origin) & (active["event_at"] <= origin + timedelta(days=30))]
        silent = ~part["user_id"].isin(set(after["user_id"]))
        assert (part["y"] == silent).mean() > 0.999, origin


def test_each_origin_learns_only_labels_that_were_over(found):
    for one in found.log["origins"]:
        for fit in one["families"].values():
            assert pd.Timestamp(fit["last_label_end"]) <= pd.Timestamp(one["origin"])
        assert one["cached"] is False
        assert one["learned_origins"] >= 3


def test_what_follows_an_origin_changes_no_forecast(tmp_path, shop, config, model, found, origins):
    """The same shop with another future: half of what followed the origin never happens, the rest costs tenfold."""
    first = origins[0]
    changed = tmp_path / "shop"
    changed.mkdir()
    for file in shop.glob("*.parquet"):
        (changed / file.name).write_bytes(file.read_bytes())
    events = pd.read_parquet(shop / "events.parquet")
    later = (events["event_at"] > first).to_numpy()
    gone = later & (np.random.default_rng(0).random(len(events)) < 0.5)
    events.loc[later, "amount"] *= 10
    events[~gone].to_parquet(changed / "events.parquet")
    other = home_of(tmp_path / "home", changed)
    again = forecasts(other, other.models["churn"], [first]).frame
    before = found.frame[found.frame["as_of"] == first].reset_index(drop=True)
    both = before.merge(again, on=["user_id", "head"], suffixes=("", "_again"))
    assert len(both) == len(before) == len(again)
    assert (both["y"] != both["y_again"]).any(), "the future did change"
    for column in [c for c in before.columns if c not in ("user_id", "head", "as_of", "y")]:
        assert (both[column] == both[f"{column}_again"]).all(), column


def test_the_same_question_twice_is_answered_from_files(config, model, origins, found, monkeypatch):
    monkeypatch.setattr(module, "_past", None)
    assert kept(config, model, Recipe(QUICK), [*origins, END]) == origins
    again = forecasts(config, model, origins)
    pd.testing.assert_frame_equal(again.frame, found.frame)
    assert all(one["cached"] for one in again.log["origins"])


def test_a_killed_run_goes_on_where_it_was(config, model, origins, found, monkeypatch):
    recipe, asked = Recipe(QUICK, seed=1), []
    answers = {origin: found.frame[found.frame["as_of"] == origin].drop(columns="as_of") for origin in origins}

    def at(self, origin):
        asked.append(origin)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return answers[origin], {"families": {}}

    monkeypatch.setattr(PastOfUsers, "at", at)
    with pytest.raises(KeyboardInterrupt):
        forecasts(config, model, origins, recipe=recipe)
    # What a kill leaves behind in the middle of a file is no answer.
    half = config.home / "backtests" / f".{'0' * 64}.parquet.1"
    half.write_bytes(b"PAR1")
    finished = forecasts(config, model, origins, recipe=recipe)
    assert asked == [origins[0], origins[1], origins[1]]
    assert [one["cached"] for one in finished.log["origins"]] == [True, False]
    half.unlink()
    assert not list((config.home / "backtests").glob(".*")), "no half a file is left"


def test_every_part_of_a_question_names_another_file(config, model, origins):
    def name(*, model=model, recipe=None, origin=origins[0], config=config):
        return module._file(config, model, recipe or Recipe(QUICK), origin).name

    other = dataclasses.replace(model, heads={"p_inactive_30d": model.heads["p_inactive_30d"]})
    names = [
        name(),
        name(origin=origins[1]),
        name(recipe=Recipe({**QUICK, "num_leaves": 5})),
        name(recipe=Recipe(QUICK, seed=config.seed + 1)),
        name(recipe=Recipe(QUICK, features=NAMES[:50])),
        name(model=other),
        name(config=dataclasses.replace(config, now=END - timedelta(days=9))),
    ]
    assert len(set(names)) == len(names)
    # The words, the gate and the project's own seed by name change no forecast.
    assert name(model=dataclasses.replace(model, purpose={}, lightgbm={})) == name()
    assert name(recipe=Recipe(QUICK, seed=config.seed)) == name()


def test_the_code_of_the_answer_is_part_of_the_question():
    """Every module of this room that a forecast runs through, but for those that only measure or write down."""
    after = {
        "evaluate.py",
        "resample.py",
        "curves.py",
        "registry.py",
        "report.py",
        "tracking.py",
        "artifact.py",
        "judge.py",
    }
    room = Path(training.__path__[0])
    seen, queue = set(), [f"forecasts_of_{what}.py" for what in ("users", "pairs", "spend")]
    while queue:
        name = queue.pop()
        if name in seen | after or name.startswith(("monitor/", "readiness/", "desk/")):
            continue
        seen.add(name)
        nodes = [n for n in ast.walk(ast.parse((room / name).read_text())) if isinstance(n, ast.ImportFrom)]
        paths = (str(n.module).removeprefix("training.").replace(".", "/") for n in nodes)
        queue += [f"{path}.py" for path in paths if (room / f"{path}.py").exists()]
    assert len(seen) > 20
    for name in seen:
        assert name in CODE or name.split("/")[0] in CODE, name


@pytest.mark.parametrize("part", ["features_digest", "version"])
def test_other_features_or_another_lightgbm_are_another_question(config, model, origins, monkeypatch, part):
    before = module._file(config, model, Recipe(QUICK), origins[0])
    code_digest.cache_clear()
    monkeypatch.setattr(module, part, lambda *names: "another")
    after = module._file(config, model, Recipe(QUICK), origins[0])
    code_digest.cache_clear()
    assert before != after
    assert "serving/scoring" in module.SCORING


def test_snapshots_of_other_feature_code_are_built_again(config, origins, found, monkeypatch):
    assert build(config, origins, keep_current=True).tables["user"]["files"] == 0
    monkeypatch.setattr("features.build.features_digest", lambda: "sha256:another")
    assert build(config, origins, keep_current=True).tables["user"]["files"] == len(origins)
    monkeypatch.undo()
    assert build(config, origins, keep_current=True).tables["user"]["files"] == len(origins)


def test_hidden_features_are_seen_nowhere(config, model, origins):
    shown = tuple(name for name in NAMES if name.startswith(("days_since", "active_days", "tenure")))
    frame = forecasts(config, model, origins[-1:], recipe=Recipe(QUICK, features=shown)).frame
    rows = frame[frame["head"] == "p_inactive_30d"]
    assert metrics_of(rows["y"], rows["p"])["auroc"] > 0.6


def test_training_keeps_its_own_judgement_as_a_forecast(tmp_path, config, model, found, monkeypatch):
    rule, (first, _) = model.origins, span(config)
    split = split_at(rule, [14, 30, 60], first, END)
    before = origins_before(rule, split.judge, first)
    data = assemble(config, (*before, split.judge))
    judged = judge(config, model, data, split)
    elsewhere = dataclasses.replace(config, home=tmp_path)
    shutil.copytree(config.home / "events", tmp_path / "events")
    keep_judged(elsewhere, model, split.judge, judged, len(before))
    monkeypatch.setattr(module, "_past", None)
    kept = forecasts(elsewhere, model, [split.judge]).frame
    pd.testing.assert_frame_equal(kept, found.frame[found.frame["as_of"] == split.judge].reset_index(drop=True))


def test_no_origin_with_anything_to_learn_is_an_error(config, model):
    early = span(config)[0] + timedelta(days=20)
    with pytest.raises(TrainingError, match="nothing to forecast"):
        forecasts(config, model, [early.replace(hour=0, minute=0, second=0, microsecond=0)])


def test_recipes_are_read_from_a_version():
    assert Recipe.of_version({"recipe": {"lightgbm": {}, "features": {"item": ["x"]}}}) == Recipe({})


def test_a_back_test_is_drawn_and_logged(config, origins, found, monkeypatch):
    monkeypatch.setattr("training.backtest.evaluation.RESAMPLES", 30)
    monkeypatch.setattr("training.backtest.evaluation.LEAST_RESAMPLES", 30)
    report = backtest(config, "churn", count=2)
    assert report.origins == [origin.isoformat() for origin in origins]
    assert all(one["cached"] for one in report.log["origins"])
    pooled = report.heads["p_inactive_30d"]["pooled"]
    rows = found.of("p_inactive_30d")
    assert pooled["ours"]["log_loss"]["value"] == pytest.approx(metrics_of(rows["y"], rows["p"])["log_loss"])
    assert pooled["ours"]["lift@10"]["ci"][0] < pooled["ours"]["lift@10"]["value"] < pooled["ours"]["lift@10"]["ci"][1]
    json.dumps(dataclasses.asdict(report), allow_nan=False)
    page = Path(report.page).read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert "回测" in page
    registry = Registry(config)
    run = registry._client.get_run(report.run_id)
    assert run.data.metrics["p_inactive_30d.lift_at_10"] == pooled["ours"]["lift@10"]["value"]
    assert run.data.metrics["p_inactive_30d.baseline.rfm_rule.log_loss"] > 0
    assert "p_inactive_30d" in run.data.tags["mlflow.note.content"]
    names = {file.path for file in registry._client.list_artifacts(report.run_id)}
    assert {"splits.png", "by_origin.png", "by_segment.png", "backtest.html", "backtest.json", "forecasts"} <= names
