"""What each step does when it is begun a second time, how a retraining ends, and with which exit code."""

from datetime import UTC, datetime
from types import SimpleNamespace

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from configs import load
from configs.audit import Entry, append
from configs.errors import CatalogueMismatch, GateError, TrainingError
from features.catalog import NAMES, digest
from serving.scoring import write_model
from training.monitor.freshness import Freshness
from training.monitor.monitor import Monitoring
from training.registry import CHALLENGER, CHAMPION, Registry
from training.report import TrainReport
from training.retrain.retrain import retrain
from training.retrain.steps import Serving
from training.retrain.verbs import retraining
from training.retrain.work import Busy, Work, alone

AT = "2026-06-01T00:00:00+00:00"
HEAD = {
    "booster": "b",
    "cohort": None,
    "horizon_days": 30.0,
    "raw_percentiles": list(range(101)),
    "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0},
}


@pytest.fixture(scope="module")
def booster():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, len(NAMES)))
    return lgb.train({"objective": "binary", "verbose": -1}, lgb.Dataset(x, x[:, 0] > 0), 3).model_to_string()


class Shop:
    """A home whose steps do no work: what they would call is replaced, and counted in ``calls``."""

    def __init__(self, config, booster, folder):
        self.config, self.booster, self.folder = config, booster, folder
        self.registry, self.calls = Registry(config), []
        self.verdict, self.refuses, self.killed = "drift", False, None

    def register(self):
        with self.registry.run("churn", "train") as run:
            version = self.registry.new_version("churn", run, {})
            meta = {"name": "churn", "version": version, "run_id": run.run_id, "features": list(NAMES)}
            meta |= {
                "catalogue_digest": digest(),
                "boosters": {"b": {}},
                "heads": {"p": HEAD},
                "cold_start": {"p": 0.5},
            }
            meta |= {"created_at": AT, "recipe": {"lightgbm": {}, "features": list(NAMES), "seed": 1}}
            write_model(self.folder / version, meta, {"b": self.booster})
            run.folder(self.folder / version, "model")
        self.registry.alias("churn", CHALLENGER, version)
        return version, run.run_id

    def called(self, name):
        self.calls.append(name)
        if self.killed == name:
            self.killed = None
            raise TrainingError(f"as if killed after {name}")

    def train(self, config, name, progress):
        version, run_id = self.register()
        self.called("train")
        return TrainReport("churn", version, run_id, "2026-03-01", {}, {}, {}, {})

    def promote(self, config, names, version, progress, comment):
        if self.refuses:
            raise GateError("the gate refuses churn version 2; nothing was promoted\n  - worse")
        self.registry.alias("churn", CHAMPION, version)
        self.called("promote")
        return [SimpleNamespace(version=version, before="1", verdict=None)]

    def monitor(self, config, name, version, progress, served):
        self.called("monitor")
        if self.verdict == "catalogue":
            raise CatalogueMismatch("churn version 1 was trained on another feature catalogue")
        fresh = Freshness(AT, AT, None, None, 48.0)
        why = [{"code": "scores", "en": "moved", "zh": "漂移"}] if self.verdict == "drift" else []
        return Monitoring("churn", "1", self.verdict, why, AT, AT, 9.0, 5, 0.1, [], [], fresh, None)

    def backtest(self, config, name, count, progress, recipe):
        self.called("backtest")
        page = self.folder / "backtest.html"
        page.write_text("<p>", encoding="utf-8")
        return SimpleNamespace(run_id="b", page=str(page), origins=[AT], verdict={}, heads={})

    def run_checks(self, config, model, version, progress):
        self.called("checks")
        return []

    def retrain(self, if_needed=True):
        serving = Serving(lambda config, file, since, until: 0, lambda config: {"policy.json": b'{"version": 1}'})
        return retrain(self.config, "churn", serving, if_needed=if_needed)


@pytest.fixture
def shop(tmp_path, booster, monkeypatch):
    monkeypatch.setenv("USEROPS_USER", "cron")
    monkeypatch.delenv("USEROPS_AUDIT", raising=False)
    shop = Shop(load(tmp_path / "home", datetime(2026, 6, 1, tzinfo=UTC)), booster, tmp_path)
    shop.registry.alias("churn", CHAMPION, shop.register()[0])
    for place in ("train.train", "gate.promote.promote", "monitor.monitor.monitor", "backtest.backtest.backtest"):
        monkeypatch.setattr(f"training.{place}", getattr(shop, place.rpartition(".")[2]))
    monkeypatch.setattr("training.train.train", shop.train)
    monkeypatch.setattr("training.checks.run.run_checks", shop.run_checks)
    return shop


def test_drift_ends_in_a_release(shop):
    work = shop.retrain()
    assert work.outcome == "released"
    assert shop.calls == ["monitor", "train", "backtest", "checks", "promote"]
    assert work.done["shadow"] == {"status": "not_applicable", "reason": "no decisions"}
    assert shop.registry.aliased("churn", CHAMPION) == work.done["train"]["version"] == "2"
    release = (shop.config.home / "releases" / "current").resolve().name
    assert work.done["release"]["release_id"] == release


def test_without_drift_nothing_happens_unless_it_is_asked_for(shop):
    shop.verdict = "stale"
    assert shop.retrain().outcome == "quiet"
    assert shop.calls == ["monitor"]
    assert shop.retrain(if_needed=False).outcome == "released"


def test_a_champion_of_another_catalogue_cannot_serve_and_is_replaced(shop):
    shop.verdict = "catalogue"
    work = shop.retrain()
    assert (work.done["drift"]["verdict"], work.outcome) == ("catalogue", "released")


def test_the_gate_keeps_the_champion(shop):
    shop.refuses = True
    work = shop.retrain()
    assert work.outcome == "refused"
    assert "worse" in work.done["gate"]["refused"]
    assert shop.registry.aliased("churn", CHAMPION) == "1"
    assert not (shop.config.home / "releases").exists()
    assert shop.registry.aliased("churn", CHALLENGER) == "2"  # for people to look at


@pytest.mark.parametrize("step", ["monitor", "train", "backtest", "checks", "promote"])
def test_what_was_finished_is_not_done_again(shop, step):
    shop.killed = step
    with pytest.raises(TrainingError):
        shop.retrain()
    work = shop.retrain()
    assert work.outcome == "released"
    assert [one.version for one in shop.registry.versions("churn")] == ["2", "1"]
    assert shop.calls.count("train") == 1
    assert shop.registry.aliased("churn", CHAMPION) == "2"


def test_a_release_that_was_made_is_not_made_twice(shop, monkeypatch):
    save = Work.save

    def forgetful(work):
        if "release" in work.done:
            raise TrainingError("as if killed before the note")
        save(work)

    with monkeypatch.context() as patch:
        patch.setattr(Work, "save", forgetful)
        with pytest.raises(TrainingError):
            shop.retrain()
    before = (shop.config.home / "releases" / "current").resolve()
    assert shop.retrain().done["release"]["release_id"] == before.name
    assert [path for path in before.parent.iterdir() if path.name != "current"] == [before]


def test_a_challenger_that_somebody_else_trained_is_not_adopted(shop):
    shop.killed = "train"
    with pytest.raises(TrainingError):
        shop.retrain()
    others, _ = shop.register()
    work = shop.retrain()
    assert (others, work.outcome, work.done["train"]["version"]) == ("3", "released", "4")
    assert shop.calls.count("train") == 2


@pytest.mark.parametrize("killed_in", ["gate", "release"])
def test_what_an_operator_took_back_meanwhile_is_not_released(shop, monkeypatch, killed_in):
    save = Work.save

    def killed(work):
        save(work)
        if "gate" in work.done:
            raise TrainingError("as if killed between gate and release")

    with monkeypatch.context() as patch:
        if killed_in == "release":
            patch.setattr(Work, "save", killed)
        else:
            shop.killed = "promote"
        with pytest.raises(TrainingError):
            shop.retrain()
    append(shop.config.audit_uri, Entry("cron", "promoted", "churn", "2"))
    shop.registry.alias("churn", CHAMPION, "1")
    work = shop.retrain()
    assert work.outcome == "refused"
    assert "champion is version 1 now" in work.done[killed_in]["refused"]
    assert shop.registry.aliased("churn", CHAMPION) == "1"
    assert not (shop.config.home / "releases").exists()


def test_a_deleted_version_does_not_hold_up_the_next_retraining(shop):
    shop.killed = "checks"
    with pytest.raises(TrainingError):
        shop.retrain()
    shop.registry.withdraw("churn", "2")
    work = shop.retrain()
    assert work.outcome == "released"
    assert "version 2 is no longer registered" in work.gave_up


def test_the_vectors_of_users_do_not_outlive_the_steps_that_read_them(shop, monkeypatch):
    files = []

    def export(config, file, since, until):
        values = np.zeros((3, len(NAMES)))
        frame = {"user_id": ["a", "b", "c"], "timestamp": [pd.Timestamp("2026-05-31")] * 3, "context": list(values)}
        pd.DataFrame(frame).to_parquet(file)
        files.append(file)
        return 3

    serving = Serving(export, lambda config: {"policy.json": b'{"version": 1}'})
    assert retrain(shop.config, "churn", serving).done["shadow"]["users"] == 3
    assert len(files) == 2
    assert not any(file.exists() for file in files)


def test_a_second_one_is_turned_away(shop):
    with alone(shop.config.home / "retrain"), pytest.raises(Busy, match="run: the same command again"):
        shop.retrain()


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["quiet", "released"], 0),
        (["released", "refused"], 5),
        ([TrainingError("too short"), "refused"], 1),
        (["refused", Busy("another one")], 6),
    ],
)
def test_exit_codes(monkeypatch, tmp_path, outcomes, code):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    found = iter(outcomes)

    def run(config, model, serving, *, if_needed, fresh, progress):
        outcome = next(found)
        if isinstance(outcome, Exception):
            raise outcome
        return Work(tmp_path / "w.json", "w", model, AT, "", outcome=outcome)

    monkeypatch.setattr("training.retrain.retrain.retrain", run)
    app = typer.Typer()
    app.command()(retraining(lambda: None))
    said = CliRunner().invoke(app, ["churn", "interest", "--if-needed"])
    assert said.exit_code == code, said.output
    assert next(found, None) is None  # every model had its turn
