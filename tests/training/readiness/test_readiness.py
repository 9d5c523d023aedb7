"""Advice that follows from what labels say: the model when it is surely better, a simple rule else, or wait."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from configs import load
from features.periods import as_utc
from training.evaluate import metrics_of
from training.forecasts import Forecasts
from training.readiness.precision import Z, advise, auroc_half_width, mean_of
from training.readiness.readiness import Line, lines_of, trainable_at, unjudged
from training.readiness.words import sentence

T = as_utc("2026-06-01")


def forecast(n, known=1.0, seed=0, base=-1.0, channels=("app",)):
    """Users at one origin; the model knows ``known`` of their margin, the baseline half of it."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(0, 1.5, n)
    y = (rng.random(n) < expit(base + margin)).astype(float)
    frame = pd.DataFrame(
        {
            "user_id": [f"u{k}" for k in range(n)],
            "as_of": pd.DatetimeIndex([T - timedelta(days=60)] * n),
            "head": "p",
            "y": y,
            "p": expit(base + known * margin),
            "raw": known * margin,
            "baseline.rfm": expit(base + 0.5 * margin),
            "baseline.absent": np.nan,
            "segment.channel": np.array(channels)[np.arange(n) % len(channels)],
        }
    )
    return Forecasts(frame, "probability", {})


def line(*args, **kwargs):
    return lines_of(forecast(*args, **kwargs), T, 14)[0]


def test_many_labels_and_a_better_model():
    found = line(3000)
    assert (found.advice.use, found.advice.baseline, found.until) == ("model", "rfm", None)
    assert sentence(found)["en"].startswith("Use the model. It surely beats rfm (log-loss better by +0.")


def test_a_model_that_is_worse_is_not_used_however_many_labels_there_are():
    found = line(5000, known=0.1)
    assert (found.advice.use, found.advice.more, found.until) == ("baseline", None, None)
    assert sentence(found)["zh"].startswith("使用 rfm")


def test_an_open_question_says_when_it_may_be_settled():
    found = line(80, known=0.75, seed=6)
    assert found.advice.use == "baseline"
    assert 0 < found.advice.better_by < found.advice.better_half
    assert found.advice.more == pytest.approx((found.advice.better_half / found.advice.better_by) ** 2)
    assert found.until > "2026-06-01"


def test_hardly_any_positives_wait_for_a_day_that_the_rate_of_positives_tells():
    few, fewer = line(200, base=-6.0, seed=1), line(60, base=-6.0, seed=1)
    assert few.advice.use == fewer.advice.use == "wait"
    assert 0 < few.advice.positives < 10
    # Ten are wanted; every fortnight brings as many again.
    assert few.until == f"{T + timedelta(days=14 * (np.ceil(10 / few.advice.positives) - 1)):%Y-%m-%d}"
    assert fewer.advice.positives == 0
    assert fewer.until is None


def test_a_channel_uses_what_is_surely_better_for_all_unless_it_is_worse_there():
    found = forecast(2400, channels=("app", "app", "app", "app", "app", "app", "app", "web"))
    web = found.frame["segment.channel"] == "web"
    lines = {one.channel: one for one in lines_of(found, T, 14)}
    assert set(lines) == {"all", "app", "web"}
    assert lines["web"].advice.use == "model"
    found.frame.loc[web, "p"] = expit(-1 + 0.3 * found.frame["raw"])
    lines = {one.channel: one for one in lines_of(found, T, 14)}
    assert (lines["all"].advice.use, lines["web"].advice.use) == ("model", "baseline")


def test_half_widths_cover_what_other_samples_say():
    true = 0.0
    inside = {"auroc": 0, "mean": 0}
    many = forecast(20_000, seed=99).frame
    true = metrics_of(many["y"], many["p"])["auroc"]
    for seed in range(100):
        frame = forecast(300, seed=seed).frame
        y, raw = frame["y"].to_numpy(), frame["raw"].to_numpy()
        auroc = metrics_of(y, frame["p"], raw)["auroc"]
        inside["auroc"] += abs(auroc - true) <= auroc_half_width(auroc, y.sum(), len(y) - y.sum())
        gap = mean_of(y - frame["p"].to_numpy(), frame["user_id"].to_numpy(str))
        inside["mean"] += abs(gap.value) <= gap.half
    assert all(88 <= count <= 100 for count in inside.values()), inside


def test_repeated_rows_of_a_user_are_no_news():
    values, users = np.random.default_rng(0).normal(size=200), [f"u{k}" for k in range(200)]
    once, five = mean_of(values, users), mean_of(np.tile(values, 5), users * 5)
    assert five.half == pytest.approx(once.half)
    assert once.half == pytest.approx(Z * values.std(ddof=1) / np.sqrt(200))


def test_without_a_baseline_nothing_is_proven():
    y = np.tile([0.0, 1.0], 50)
    found = advise(y, np.abs(y - 0.4), np.arange(100), 0.6, 0.4 - y, None, None)
    assert (found.use, found.baseline, found.more) == ("wait", None, None)
    alone = forecast(3000)
    alone.frame["baseline.rfm"] = np.nan
    told = lines_of(alone, T, 14)[0]
    assert (told.advice.use, told.until) == ("wait", None)
    assert "No simple rule could be learned" in sentence(told)["en"]
    assert "无从比较" in sentence(told)["zh"]


def test_an_early_origin_without_a_baseline_does_not_hide_that_a_baseline_is_better():
    early, late = forecast(3000, seed=1).frame, forecast(3000, known=0.1, seed=2).frame
    early["as_of"] -= timedelta(days=28)
    early["baseline.rfm"] = np.nan
    both = Forecasts(pd.concat([early, late], ignore_index=True), "probability", {})
    told = lines_of(both, T, 14)[0]
    assert (told.advice.use, told.advice.baseline) == ("baseline", "rfm")
    assert (told.advice.rows, told.advice.origins, told.advice.left_out) == (3000, 1, 3000)
    assert "Judged on 3,000 rows of 1 past day; 3,000 more have no simple rule" in sentence(told)["en"]


def amounts(times=1.0, seed=0, n=2000):
    """Most buy nothing; ours is the mean times a number, the baselines are the mean roughly, and nothing at all."""
    rng = np.random.default_rng(seed)
    expected = rng.gamma(0.7, 30.0, n)
    buys = expected / (expected + 40)
    frame = pd.DataFrame(
        {
            "user_id": [f"u{k}" for k in range(n)],
            "as_of": pd.DatetimeIndex([T - timedelta(days=60)] * n),
            "head": "spend_30d",
            "y": np.where(rng.random(n) < buys, rng.gamma(2.0, expected / buys / 2), 0.0),
            "p": times * expected,
            "raw": times * expected,
            "baseline.rough": expected * rng.gamma(1.0, 1.0, n),
            "baseline.zero": 0.0,
        }
    )
    return Forecasts(frame, "spend", {})


def test_amounts_are_judged_by_order_and_total_and_not_by_the_median():
    frame = amounts().frame
    assert np.abs(frame["y"]).mean() < np.abs(frame["y"] - frame["p"]).mean()
    found = lines_of(amounts(), T, 14, "spearman")[0]
    assert (found.advice.use, found.advice.baseline, found.advice.measure) == ("model", "rough", "spearman")
    assert "spearman" in sentence(found)["en"]
    far = lines_of(amounts(times=3.0), T, 14, "spearman")[0]
    assert (far.advice.use, far.advice.far_off) == ("baseline", True)
    assert "total is much further" in sentence(far)["en"]


def test_every_model_says_when_its_history_will_do():
    for model in load().models.values():
        assert trainable_at(model, T) > T + timedelta(days=model.origins.warm_up_days)


def test_a_head_whose_horizon_is_longer_than_what_followed_is_named_with_its_day():
    model = load().models["value"]
    lines = unjudged(model, {"spend_30d", "spend_90d"}, as_utc("2026-01-01"), as_utc("2026-11-22"))
    assert [(one.head, one.channel, one.advice.use, one.unknown_days) for one in lines] == [
        ("spend_365d", "all", "wait", 365.0)
    ]
    assert lines[0].until > "2027-01-01"
    said = sentence(lines[0])
    assert said["en"] == (
        "Wait. No past day has its next 365 days behind it yet, so nothing can be judged. "
        f"Ask again on {lines[0].until}."
    )
    assert said["zh"].startswith("请等待。历史中尚无一个时点已过满 365 天")
    assert unjudged(model, set(model.heads), as_utc("2026-01-01"), as_utc("2026-11-22")) == []
    # Long enough, and still nothing: the day is no reason.
    assert unjudged(model, {"spend_30d", "spend_90d"}, as_utc("2020-01-01"), as_utc("2026-11-22"))[0].until is None


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_sentence_holds_one_thought(lang):
    """At most three short sentences, none with a semicolon that begins another thought."""
    many = [line(3000), line(5000, known=0.1), line(80, known=0.75, seed=6), line(60, base=-6.0, seed=1)]
    for one in many:
        parts = [part for part in sentence(one)[lang].replace("。", ". ").split(". ") if part.strip()]
        assert len(parts) <= 4
        assert all(len(part) <= 90 for part in parts), parts
        assert ";" not in sentence(one)[lang]


def test_few_of_the_other_kind_are_few_too():
    y = np.concatenate([np.ones(197), np.zeros(3)])
    found = advise(y, np.abs(y - 0.9), np.arange(200), None, 0.9 - y, "rfm", None)
    told = sentence(Line("p", "all", found, None))
    assert told["en"] == "Wait. Only 3 of 200 rows are negative: too few to judge by."
    assert told["zh"] == "请等待。200 行中仅 3 个负例，不足以评判。"
