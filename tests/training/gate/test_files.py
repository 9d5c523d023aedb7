"""Files that are not what the recipe makes are found out, though the recipe is innocent."""

import dataclasses
import json
from pathlib import Path
from uuid import uuid4

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from configs import load
from features.catalog import NAMES, digest
from serving.scoring import write_model
from serving.scoring.interest.model import InterestModel
from serving.scoring.pyfunc import load as read
from training.compare.sides import Side
from training.forecasts import Forecasts
from training.gate.files import look_at_files, measured

HEAD, USERS = "p_inactive_30d", 800
ORIGINS = tuple(pd.date_range("2026-01-05", periods=3, freq="28D", tz="UTC"))


def logistic(z):
    return 1 / (1 + np.exp(-z))


def rows(origin):
    """Features of everybody at an origin: what follows depends on the first column."""
    x = np.random.default_rng(5).normal(size=(USERS, len(NAMES)))
    frame = pd.DataFrame(x, columns=list(NAMES))
    return frame.assign(user_id=[f"u{n:03d}" for n in range(USERS)], as_of=origin)


def outcome(frame):
    return (np.random.default_rng(9).random(len(frame)) < logistic(1.5 * frame[NAMES[0]] - 1)).astype(float)


def taught(probability):
    """A booster that has learned from other users, whose outcome follows ``probability`` of what it depends on."""
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.normal(size=(4000, len(NAMES))), np.full(4000, 30.0)])
    settings = {"objective": "binary", "num_leaves": 8, "verbose": -1, "seed": 1, "num_threads": 1}
    y = rng.random(4000) < probability(1.5 * x[:, 0] - 1)
    return lgb.train(settings, lgb.Dataset(x, y), 60).model_to_string()


@pytest.fixture(scope="module")
def text():
    """A booster that has learned the truth."""
    return taught(logistic)


@pytest.fixture
def look(tmp_path, monkeypatch, text):
    """Looks at files with a calibrator of this slope and intercept, beside a kept forecast that knows the truth."""
    asked = []

    def forecasts(config, model, origins, *, recipe):
        asked.append(list(origins))
        frame = rows(origins[0])
        z = 1.3 * frame[NAMES[0]] - 0.9  # not quite: it had not seen what followed
        told = {"head": HEAD, "y": outcome(frame), "p": logistic(z), "raw": z}
        return Forecasts(frame[["user_id", "as_of"]].assign(**told), "probability", {})

    class Data:
        frame = rows(ORIGINS[1])

    monkeypatch.setattr("training.gate.files.forecasts", forecasts)
    monkeypatch.setattr("training.gate.files.past_origins", lambda config, model, count: ORIGINS[-count:])
    monkeypatch.setattr("training.gate.files.kept", lambda config, model, recipe, origins: ORIGINS[:2])
    monkeypatch.setattr("training.compare.sides.assemble", lambda config, origins: Data)
    model = load(tmp_path).models["churn"]

    def ask(slope=1.0, intercept=0.0, booster=text):
        head = {"booster": "inactive", "horizon_days": 30.0, "raw_percentiles": np.linspace(-1, 1, 101).tolist()}
        head["calibrator"] = {"kind": "sigmoid", "slope": slope, "intercept": intercept}
        meta = {
            "name": "churn",
            "version": "2",
            "run_id": "r",
            "features": list(NAMES),
            "catalogue_digest": digest(),
            "boosters": {"inactive": {"horizon_column": True}},
            "heads": {HEAD: head, "p_inactive_60d": head},
            "cold_start": {HEAD: 0.3, "p_inactive_60d": 0.3},
            "created_at": "2026-06-01T00:00:00+00:00",
        }
        folder = Path(tmp_path) / str(uuid4())
        write_model(folder, meta, {"inactive": booster})
        found = look_at_files(load(tmp_path), model, Side(None, meta, folder, read(folder)))
        assert asked.pop() == [ORIGINS[1]]  # the newest whose forecast is kept
        assert found.unasked == ["p_inactive_60d"]
        json.dumps(found.as_json(), allow_nan=False)
        return found.heads[HEAD]

    return ask


def test_honest_files_pass(look):
    found = look()
    assert found.faults == ()
    assert found.rows == USERS
    assert found.loss < found.at_most
    assert found.order > 0.95


def test_a_swapped_calibrator_and_an_intercept_of_another_head_are_found(look):
    assert "loss" in look(slope=0.2).faults
    assert set(look(intercept=2.0).faults) == {"loss", "mean"}


def test_trees_with_the_sign_turned_round_order_users_the_other_way(look):
    found = look(booster=taught(lambda z: logistic(-z)))
    assert {"loss", "order"} <= set(found.faults)
    assert found.order < 0


def test_files_that_learned_while_the_source_was_silent(look):
    """All they know is that everybody fell silent."""
    learned = taught(lambda z: np.full(len(z), 0.9))
    assert set(look(booster=learned).faults) == {"loss", "mean", "order"}


def test_a_model_of_histories_is_not_asked(tmp_path):
    side = Side(None, {}, tmp_path, InterestModel.__new__(InterestModel))
    assert look_at_files(load(tmp_path), load(tmp_path).models["interest"], side) is None


def spend(scale=1.0, noise=0.0):
    rng = np.random.default_rng(2)
    expected = rng.lognormal(2, 1, 2000)
    y = expected / 0.3 * (rng.random(2000) < 0.3)
    kept = pd.DataFrame({"y": y, "p": expected, "raw": expected})
    own = scale * expected * np.exp(noise * rng.normal(size=2000))
    return measured(kept, pd.DataFrame({"p": own, "raw": own}), "spend", 0.0)


def test_of_spend_the_level_and_the_error_are_two_questions():
    assert spend().faults == ()
    assert spend(0.8).faults == ()
    assert spend(0.8).loss == pytest.approx(spend().loss)  # who foresees less does not err less
    assert spend(0.2).faults == spend(4.0).faults == ("mean",)
    assert set(spend(noise=2.0).faults) >= {"loss", "order"}
    assert "loss" in spend(float("nan")).faults


def test_a_surprise_to_the_recipe_too_is_no_fault_of_the_files():
    """Where the kept forecast was as far off, the world had changed, and not the files."""
    p = np.full(500, 0.2)
    kept = pd.DataFrame({"y": (np.arange(500) % 2).astype(float), "p": p, "raw": p})
    same = measured(kept, kept, "probability", 0.0)
    assert (same.faults, same.order) == ((), None)
    further = measured(kept, kept.assign(p=0.1), "probability", 0.0)
    assert set(further.faults) == {"loss", "mean"}
    assert dataclasses.asdict(further)["observed"] == 0.5
