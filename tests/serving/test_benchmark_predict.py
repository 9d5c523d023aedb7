"""``userops benchmark predict``, tiny: every booster is scored all ways, and a bit that differs is an error."""

import dataclasses
from datetime import UTC, datetime

import pytest

import configs
from configs.errors import FeatureError
from features.catalog import digest
from serving import benchmark_predict
from serving.scoring import write_release
from serving.scoring.margins import Margins

SMALL = {"trees": 5, "leaves": 4, "features": 12, "rows": 50, "turns": 3}


def test_predict_compares_the_same_rows_of_every_booster(tmp_path, catalogue_models):
    write_release(tmp_path / "releases", catalogue_models, digest(), datetime(2026, 11, 21, tzinfo=UTC))
    found = benchmark_predict.benchmark_predict(dataclasses.replace(configs.load(tmp_path), home=tmp_path), **SMALL)
    names = ("", "_churn_inactive", "_repurchase_repurchase", "_repurchase_first", "_value_purchase", "_value_amount")
    assert set(found["ratios"]) == {f"ours_vs_lightgbm{one}{name}" for one in ("", "_one_row") for name in names}
    for name in names:
        rate = f"rows_per_second{name}"
        ours, theirs = found["metrics"][rate]["value"], found["baselines"]["lightgbm"][rate]
        assert found["ratios"][f"ours_vs_lightgbm{name}"] == ours / theirs
    assert set(found["baselines"]["sklearn_wrapper"]) == {f"one_row_microseconds{name}" for name in names}


def test_a_bit_that_differs_is_an_error(tmp_path, monkeypatch):
    exact = Margins.__call__
    monkeypatch.setattr(Margins, "__call__", lambda self, x: exact(self, x) + 1e-12)
    with pytest.raises(FeatureError, match="not LightGBM's"):
        benchmark_predict.benchmark_predict(configs.load(tmp_path), **SMALL)
