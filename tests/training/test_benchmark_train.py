"""The benchmark of training runs, judges both ways by the same rows and lets nobody beat the truth by much."""

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from configs import OriginsConfig, load
from training.benchmark_bgnbd import TRUTH, benchmark_bgnbd, draw
from training.benchmark_train import benchmark_train


def test_churn_beside_the_plain_way(tmp_path):
    config = load(tmp_path)
    few = replace(config.models["churn"], origins=OriginsConfig(every_days=21, most=4, warm_up_days=60))
    found = benchmark_train(replace(config, models={**config.models, "churn": few}), users=400, days=230)
    json.dumps(found, allow_nan=False)
    assert set(found["ratios"]) == {"ours_vs_plain", "ours_vs_plain_seconds"}
    low, high = found["metrics"]["log_loss"]["ci"]
    assert low < found["metrics"]["log_loss"]["value"] < high
    others = found["baselines"]
    assert others["best_possible"]["log_loss"] < min(found["metrics"]["log_loss"]["value"], others["plain"]["log_loss"])
    assert found["metrics"]["log_loss"]["value"] < others["base_rate"]["log_loss"]
    assert len(set(found["settings"]["judged_rows"].values())) == 1
    difference = others["plain"]["log_loss"] - found["metrics"]["log_loss"]["value"]
    assert found["metrics"]["gain_vs_plain"]["value"] == pytest.approx(difference)
    assert not list((tmp_path / "tmp").iterdir())


def test_bgnbd_finds_what_was_drawn(tmp_path):
    found = benchmark_bgnbd(load(tmp_path), customers=5000)
    assert abs(found["metrics"]["total_error"]["value"]) < 0.1
    assert found["metrics"]["r"]["value"] == pytest.approx(TRUTH.r, rel=0.2)
    if find_spec("lifetimes"):
        assert found["baselines"]["lifetimes"]["alpha"] == pytest.approx(found["metrics"]["alpha"]["value"], rel=0.05)
    else:
        assert "lifetimes" in found["settings"]


def test_drawn_customers_keep_to_their_days():
    drawn = draw(3000, 1)
    assert (drawn.last <= drawn.age).all()
    assert ((drawn.last > 0) == (drawn.repeats > 0)).all()
    assert np.array_equal(drawn.age, np.floor(drawn.age))
    assert 0 < drawn.followed.mean() < drawn.repeats.mean()
