"""``userops benchmark explain``, tiny: it compares what it says it compares."""

import dataclasses
import warnings
from datetime import UTC, datetime

import configs
from features.catalog import digest
from serving.benchmark_explain import benchmark_explain
from serving.scoring import write_release


def test_explain_compares_the_same_rows_of_every_booster(tmp_path, catalogue_models):
    write_release(tmp_path / "releases", catalogue_models, digest(), datetime(2026, 11, 21, tzinfo=UTC))
    config = dataclasses.replace(configs.load(tmp_path), home=tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing shap, and its remark on binary boosters
        found = benchmark_explain(config, trees=5, leaves=4, features=12, rows=6, turns=3)
    boosters = {
        "",
        "_churn_inactive",
        "_repurchase_repurchase",
        "_repurchase_first",
        "_value_purchase",
        "_value_amount",
    }
    others = ("pred_contrib", "shap")
    assert set(found["ratios"]) == {
        f"ours_vs_{way}{many}{b}" for way in others for many in ("", "_6") for b in boosters
    }
    for way in others:
        for name, value in found["baselines"][way].items():
            ours = found["metrics"][name]["value"]
            ratio = found["ratios"][name.replace("microseconds_per_row", f"ours_vs_{way}")]
            assert ratio == value / ours
