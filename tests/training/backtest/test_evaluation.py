"""Back-tests of forecasts whose truth is known: a better one is called better, an equal one is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from configs import load
from training.backtest import evaluation
from training.backtest.evaluation import evaluate_forecasts
from training.backtest.pictures import origins_figure, segments_figure, splits_figure
from training.backtest.report import report_page
from training.backtest.words import SEGMENTS_CAPTION, better_at, how, verdict
from training.evaluate import Contact
from training.forecasts import Forecasts

ORIGINS = pd.DatetimeIndex(["2024-01-01", "2024-01-15", "2024-01-29"], tz="UTC").as_unit("us")
LOG = {"known_until": "2024-03-01T00:00:00+00:00", "origins": [], "recipe": {"lightgbm": {}, "features": []}}


def frame(head: str = "p", users: int = 400, seed: int = 0) -> pd.DataFrame:
    """Users whose probabilities are known; ``baseline.blind`` knows the mean, ``baseline.copy`` says what ours says."""
    rng = np.random.default_rng(seed)
    p = np.tile(rng.uniform(0.02, 0.9, users), len(ORIGINS))
    y = (rng.uniform(size=len(p)) < p).astype(float)
    return pd.DataFrame(
        {
            "user_id": np.tile([f"u{k}" for k in range(users)], len(ORIGINS)),
            "as_of": np.repeat(ORIGINS, users),
            "head": head,
            "y": y,
            "p": p,
            "raw": np.log(p / (1 - p)),
            "baseline.blind": np.full(len(p), y.mean()),
            "segment.tenure": np.tile(np.where(np.arange(users) < 390, "old", "new"), len(ORIGINS)),
            "segment.store": "unknown",
        }
    )


@pytest.fixture(scope="module")
def results():
    rows = frame()
    return evaluate_forecasts(Forecasts(rows, "probability", LOG), Contact(0.1, 5, 1), seed=1)


def test_the_pooled_numbers_are_those_of_scikit_learn(results):
    rows, ours = frame(), results["p"]["pooled"]["ours"]
    assert ours["auroc"]["value"] == pytest.approx(roc_auc_score(rows["y"], rows["p"]))
    assert ours["pr_auc"]["value"] == pytest.approx(average_precision_score(rows["y"], rows["p"]))
    top = rows.nlargest(120, "p")["y"]
    assert ours["value@10"]["value"] == pytest.approx(1000 * (5 * top.sum() - 120) / len(rows))
    for one in ours.values():
        assert one["ci"][0] < one["ci"][1]


def test_who_knows_more_is_better_at_every_origin_and_everywhere(results):
    best = results["p"]["pooled"]["best"]["log_loss"]
    assert best["baseline"] == "blind"
    assert best["difference"]["ci"][0] > 0
    assert better_at(results["p"], "log_loss") == (3, 3)
    assert "better than the best baseline (blind)" in verdict(results["p"], "log_loss")["en"]
    assert "优于" in verdict(results["p"], "log_loss")["zh"]


def test_an_early_origin_without_baselines_leaves_the_others_compared():
    rows = frame()
    early = rows["as_of"] == ORIGINS[0]
    rows.loc[early, "baseline.blind"] = np.nan
    rows["baseline.absent"], rows["baseline.rare"] = np.nan, np.where(np.arange(len(rows)) % 400 == 0, 0.5, np.nan)
    one = evaluate_forecasts(Forecasts(rows, "probability", LOG), Contact(), seed=1)["p"]
    pooled, later = one["pooled"], rows[~early]
    assert set(pooled["baselines"]) == {"blind"}
    assert (pooled["rows"], pooled["compared"]["rows"], pooled["compared"]["origins"]) == (1200, 800, 2)
    # Ours is measured on all rows, what is compared on those that both answer.
    assert pooled["ours"]["auroc"]["value"] == pytest.approx(roc_auc_score(rows["y"], rows["p"]))
    there = pooled["compared"]["ours"]["auroc"]["value"]
    assert there == pytest.approx(roc_auc_score(later["y"], later["p"]))
    best = pooled["best"]["auroc"]
    assert best["difference"]["value"] == pytest.approx(there - 0.5)
    assert [bool(at["best"]) for at in one["by_origin"]] == [False, True, True]
    told = verdict(one, "log_loss")
    assert "better at 2 of 2 origins, compared on 800 of 1,200 rows (2 of 3 origins)" in told["en"]
    assert "1,200 行中的 800 行" in told["zh"]


def test_no_baseline_anywhere_is_said(results):
    rows = frame().assign(**{"baseline.blind": np.nan})
    one = evaluate_forecasts(Forecasts(rows, "probability", LOG), Contact(), seed=1)["p"]
    assert "no baseline to beat" in verdict(one, "log_loss")["en"]
    assert one["pooled"]["compared"]["rows"] == 0


def test_the_page_says_how_often_users_were_drawn(monkeypatch, results):
    assert "from 200 draws of users (single origins and segments: 200)" in how(results, "yaml")["en"]
    monkeypatch.setattr(evaluation, "MOST_WORK", 200_000)  # divided by 1,170 rows and two forecasts: 85 draws
    few = evaluate_forecasts(Forecasts(frame(), "probability", LOG), Contact(), seed=1)
    said = how(few, "7")
    assert few["p"]["pooled"]["draws"] == 200
    assert "重抽样200次（单个时点与细分人群：85-200次）" in said["zh"]
    assert "those of version 7" in said["en"]
    assert "Each interval alone" in SEGMENTS_CAPTION["en"]


def test_what_is_alike_is_not_called_better():
    rows = frame().assign(**{"baseline.copy": lambda t: t["p"]})
    found = evaluate_forecasts(Forecasts(rows, "probability", LOG), Contact(), seed=1)
    assert found["p"]["pooled"]["best"]["log_loss"] == {
        "baseline": "copy",
        "difference": {"value": 0.0, "ci": [0.0, 0.0]},
    }
    assert "no difference shown" in verdict(found["p"], "log_loss")["en"]
    turned = rows.assign(p=1 - rows["p"], raw=-rows["raw"])
    found = evaluate_forecasts(Forecasts(turned, "probability", LOG), Contact(), seed=1)
    assert "worse than the best baseline (copy)" in verdict(found["p"], "log_loss")["en"]


def test_a_part_with_too_few_says_so_instead_of_a_number(results):
    parts = results["p"]["by_segment"]["tenure"]
    assert "log_loss" in parts["old"]["ours"]
    assert set(parts["new"]) == {"rows", "users", "too_few"}
    assert "store" not in results["p"]["by_segment"]
    nobody = frame().assign(y=0.0)
    found = evaluate_forecasts(Forecasts(nobody, "probability", LOG), Contact(), seed=1)
    assert "cannot be judged" in verdict(found["p"], "log_loss")["en"]


def test_spend_is_measured_in_spend():
    rng = np.random.default_rng(5)
    rows = frame()
    truth = np.where(rows["y"] > 0, rng.gamma(2, 20, len(rows)), 0.0)
    rows = rows.assign(y=truth, p=rows["p"] * 40, raw=rows["p"] * 40, **{"baseline.blind": truth.mean()})
    found = evaluate_forecasts(Forecasts(rows, "spend", LOG), Contact(), seed=1)["p"]["pooled"]
    assert found["ours"]["mae"]["value"] == pytest.approx(np.abs(rows["y"] - rows["p"]).mean())
    assert found["best"]["mae"]["difference"]["ci"][0] > 0
    assert "auroc" not in found["ours"]


def test_the_page_names_heads_as_text_and_draws_them():
    head = "p<b>"
    results = evaluate_forecasts(Forecasts(frame(head), "probability", LOG), Contact(), seed=1)
    learned = {at.isoformat(): [at - pd.Timedelta(days=14 * k) for k in (3, 2, 1)] for at in ORIGINS}
    figures = {
        "splits": splits_figure(learned, 30.0, pd.Timestamp(LOG["known_until"])),
        "by_origin": origins_figure(results, {"share": 0.1, "worth": 10.0, "cost": 1.0}),
        "by_segment": segments_figure(results, "log_loss"),
    }
    report = {
        "model": "churn",
        "recipe": "given",
        "kind": "probability",
        "origins": list(learned),
        "decides": "log_loss",
        "contact": {"share": 0.1, "worth": 10.0, "cost": 1.0},
        "heads": results,
        "verdict": {head: verdict(results[head], "log_loss")},
        "log": LOG,
        "lists": [
            {
                "origin": ORIGINS[0].isoformat(),
                "item": {
                    "ours": {"ndcg@10": {"value": 0.25, "ci": [0.2, 0.3]}},
                    "baselines": {"popularity": {"ndcg@10": 0.125}},
                },
            }
        ],
    }
    page = report_page(report, load().models["churn"].purpose, figures, 30.0)
    assert head not in page
    assert page.count("p&lt;b&gt;") >= 4
    assert page.count("<svg") == 3
    assert "0.2500 [0.2000, 0.3000]" in page
    assert "0.125<" in page
    # Of the split: a diamond and a window per origin, and the origins it learned from.
    assert len(figures["splits"].axes[0].patches) == len(ORIGINS)
