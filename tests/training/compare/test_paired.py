"""Pairs against an oracle: differences, their intervals, and who is drawn."""

import numpy as np
import pandas as pd
import pytest

from training.compare.disagree import parts_apart, users_apart
from training.compare.paired import against_baselines, paired, same_rows
from training.evaluate import metrics_of


def forecasts(seed=0, users=300, rows_each=3, skill=1.0):
    """Rows of one head whose true log-odds are ``z``; ``skill`` below 1 adds noise to what is foreseen."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=users).repeat(rows_each) + 0.1 * rng.normal(size=users * rows_each)
    said = skill * z + (1 - skill) * np.random.default_rng(seed + 1).normal(size=len(z))
    return pd.DataFrame(
        {
            "user_id": np.arange(users).repeat(rows_each).astype(str),
            "as_of": np.tile(pd.date_range("2026-01-05", periods=rows_each, freq="28D", tz="UTC"), users),
            "head": "p",
            "y": (rng.random(len(z)) < 1 / (1 + np.exp(-z))).astype(float),
            "p": 1 / (1 + np.exp(-said)),
            "raw": said,
            "segment.store": np.where(np.arange(len(z)) % 2, "s1", "unknown"),
        }
    )


def test_differences_are_those_of_the_metrics_and_know_which_way_is_better():
    good, poor = forecasts(), forecasts(skill=0.3)
    found = paired(same_rows(poor, good), "probability", resamples=100)
    for name, pair in found.items():
        sides = [metrics_of(one["y"], one["p"], one["raw"])[name] for one in (poor, good)]
        assert (pair.first.value, pair.second.value) == pytest.approx(sides)
        assert abs(pair.better.value) == pytest.approx(abs(sides[1] - sides[0]))
    assert {found[name].verdict for name in ("auroc", "pr_auc", "log_loss", "brier")} == {"better"}
    turned = paired(same_rows(good, poor), "probability", resamples=100)
    assert turned["log_loss"].verdict == "worse"
    assert turned["log_loss"].better.low == pytest.approx(-found["log_loss"].better.high)
    assert "base_rate" not in found


def test_the_same_forecast_twice_is_no_better_at_all():
    found = paired(same_rows(forecasts(), forecasts()), "probability", resamples=50)
    assert {(pair.better.low, pair.better.high, pair.verdict) for pair in found.values()} == {(0.0, 0.0, "same")}


def test_what_is_common_to_both_cancels_out():
    pair = paired(same_rows(forecasts(skill=0.95), forecasts()), "probability")["log_loss"]
    width = pair.better.high - pair.better.low
    assert width < 0.3 * (pair.first.high - pair.first.low)


def test_users_are_drawn_and_not_rows():
    # Every row ten times over tells nothing new.
    once = same_rows(forecasts(skill=0.3, rows_each=1), forecasts(rows_each=1))
    often = pd.concat([once] * 10)
    widths = [
        (pair.better.high - pair.better.low)
        for pair in (paired(rows, "probability")["log_loss"] for rows in (once, often))
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)


def test_spend_is_measured_as_spend():
    rows = forecasts()
    truth = rows["y"] * 100
    good, poor = (rows.assign(y=truth, p=truth + error, raw=truth + error) for error in (1.0, 20.0))
    found = paired(same_rows(poor, good), "spend", resamples=50)
    assert (found["mae"].first.value, found["mae"].second.value) == (20.0, 1.0)
    assert found["mae"].verdict == found["bias"].verdict == "better"


def test_only_rows_that_both_have_are_compared():
    rows = forecasts(users=10)
    shuffled = rows.sample(frac=1, random_state=1)
    joined = same_rows(shuffled, rows.iloc[6:])
    assert len(joined) == len(rows) - 6
    assert (joined["p_first"] == joined["p_second"]).all()
    items = pd.concat([rows.assign(item="a"), rows.assign(item="b", p=0.5)])
    assert len(same_rows(items, items)) == 2 * len(rows)


def test_the_strongest_baseline_of_each_head_is_found():
    rows = forecasts()
    frame = pd.concat(
        [
            rows.assign(**{"baseline.weak": 0.5, "baseline.strong": rows["p"], "baseline.absent": np.nan}),
            rows.assign(head="q", **{"baseline.weak": rows["p"], "baseline.strong": 1 - rows["p"]}),
        ]
    )
    said, names = against_baselines(frame, "probability", "log_loss")
    assert names == {"p": "strong", "q": "weak"}
    joined = same_rows(said, frame)
    assert len(joined) == len(frame)
    assert (joined["p_first"] == joined["p_second"]).all()
    assert against_baselines(rows, "probability", "log_loss")[1] == {}


def test_disagreement_names_users_once_and_parts_that_are_large_enough():
    first, second = forecasts(users=40), forecasts(users=40)
    second.loc[[3, 4], ["p", "raw"]] = [0.999, 6.9]
    second.loc[9, ["p", "raw"]] = [0.001, -6.9]
    rows = same_rows(first, second)
    users = users_apart(rows)
    assert {one["user_id"] for one in users} == {"1", "3"}
    assert [one["head"] for one in users] == ["p", "p"]
    (part,) = parts_apart(rows, "probability")
    assert (part["segment"], part["part"], part["rows"]) == ("store", "s1", 60)
    inside = rows[rows["segment.store"] == "s1"]
    assert part["mean"] == pytest.approx([inside["p_first"].mean(), inside["p_second"].mean()])
    assert part["loss"][0] == pytest.approx(metrics_of(inside["y"], inside["p_first"])["log_loss"])
