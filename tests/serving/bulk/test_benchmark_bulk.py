"""The benchmark of bulk scores, tiny: what it says, and that both ways answer the same question."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import configs
from features.catalog import NAMES
from serving.benchmark_bulk import _questions, benchmark_bulk
from serving.scoring import Model


def test_three_large_models_are_measured_beside_lightgbm(tmp_path):
    config = dataclasses.replace(configs.load(tmp_path), threads=1)
    found = benchmark_bulk(config, trees=3, leaves=4, users=90, explained=10, turns=1)
    ways = {"users_per_second", "users_per_second_reasons"}
    assert set(found["metrics"]) == set(found["baselines"]["lightgbm"]) == ways
    assert set(found["ratios"]) == {"ours_vs_lightgbm_contrib", "ours_vs_lightgbm_predict"}
    ours = found["metrics"]["users_per_second"]["value"]
    ratio = ours / found["baselines"]["lightgbm"]["users_per_second"]
    assert found["ratios"]["ours_vs_lightgbm_predict"] == pytest.approx(ratio)
    assert not list((tmp_path / "tmp").iterdir())


def test_lightgbm_is_asked_what_the_heads_answer(catalogue_models, vectors_of):
    model = Model.load(catalogue_models["repurchase"])
    x = vectors_of(NAMES, 50, 3)
    asked = _questions([model], x, contributions=True)
    for head, (booster, rows) in zip(model.heads.values(), asked, strict=True):
        inside = x[model.in_cohort(x, head.name)]
        assert (np.asarray(booster.predict(rows, raw_score=True)) == model.raw(inside, head.name)).all()
    assert len(_questions([model], x, contributions=False)) == len(asked) + 6  # the horizons of the next order
