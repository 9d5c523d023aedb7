"""Baselines against published numbers and known truth."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.baselines import BgNbd, RfmRule, fit_logistic, predict_logistic
from training.evaluate import metrics_of

DATA = Path(os.environ.get("USEROPS_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
CDNOW = DATA / "cdnow" / "CDNOW_master.txt"


def test_bg_nbd_finds_the_parameters_that_made_the_data():
    rng = np.random.default_rng(5)
    customers, r, alpha, a, b = 20_000, 0.8, 40.0, 0.8, 2.5
    rate, drop = rng.gamma(r, 1 / alpha, customers), rng.beta(a, b, customers)
    age = rng.uniform(100, 400, customers)
    repeats, last = np.zeros(customers), np.zeros(customers)
    alive, clock = np.ones(customers, bool), np.zeros(customers)  # the dropout coin is tossed after each repeat
    returned = np.zeros(customers)
    while alive.any():
        clock = clock + rng.exponential(1 / rate)
        seen = alive & (clock <= age)
        returned[alive & (clock > age) & (clock <= age + 90)] = 1
        repeats[seen] += 1
        last[seen] = clock[seen]
        alive = seen & (rng.uniform(size=customers) >= drop)
    model = BgNbd.fit(repeats, last, age)
    p = model.p_return(repeats, last, age, 90)
    assert model.r == pytest.approx(r, rel=0.1)
    assert model.alpha == pytest.approx(alpha, rel=0.15)
    assert p.mean() == pytest.approx(returned.mean(), abs=0.01)
    assert metrics_of(returned, p)["ece"] < 0.015


@pytest.mark.skipif(not CDNOW.exists(), reason="the CDNOW file is not beside this checkout")
def test_bg_nbd_reaches_the_published_scores_on_cdnow():
    # AUROC .7882 and log-loss .4244 for BG/NBD, P(return), 1998-01-01..06-30: published, and recomputed for benchmarks.
    days = pd.read_csv(CDNOW, sep=r"\s+", header=0, names=["user", "day", "cds", "dollars"])
    days["day"] = pd.to_datetime(days["day"].astype(str))
    cut = pd.Timestamp("1997-12-31")
    seen = days[days["day"] <= cut].groupby("user")["day"].agg(["min", "max", "nunique"])
    after = days[(days["day"] > cut) & (days["day"] <= cut + pd.Timedelta(days=181))]["user"]
    x = (seen["nunique"] - 1).to_numpy(float)
    last, age = ((end - seen["min"]).dt.days.to_numpy(float) for end in (seen["max"], cut))
    p = BgNbd.fit(x, last, age).p_return(x, last, age, 181)
    got = metrics_of(seen.index.isin(after).astype(float), p)
    assert got["auroc"] == pytest.approx(0.7882, abs=0.0005)
    assert got["log_loss"] == pytest.approx(0.4244, abs=0.0005)


def test_logistic_baselines_use_only_their_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"days_since_last_purchase": rng.exponential(30, 4000), "noise": rng.normal(size=4000)})
    chance = 1 / (1 + np.exp(np.log1p(frame["days_since_last_purchase"]) - 3))
    y = (rng.uniform(size=4000) < chance).astype(float).to_numpy()
    fitted = fit_logistic(("days_since_last_purchase",), frame, y)
    again = predict_logistic(fitted, frame.assign(noise=0.0))
    assert np.array_equal(again, predict_logistic(fitted, frame))
    assert again.mean() == pytest.approx(y.mean(), abs=0.01)


def test_the_rfm_rule_is_the_rate_of_each_cell():
    rng = np.random.default_rng(1)
    names = ("days_since_last_purchase", "purchase_days_life", "spend_life")
    frame = pd.DataFrame({name: rng.exponential(10, 20_000) for name in names})
    y = (rng.uniform(size=20_000) < np.where(frame[names[0]] < 5, 0.6, 0.1)).astype(float)
    rate = RfmRule.fit(names, frame, y).rate(frame)
    cells = frame.apply(lambda column: pd.qcut(column, 5, labels=False)).astype(str).agg("".join, axis=1)
    of_cell = pd.DataFrame({"y": y, "cell": cells}).groupby("cell")["y"].agg(["sum", "count"])
    expected = (of_cell["sum"] + 10 * y.mean()) / (of_cell["count"] + 10)
    assert np.abs(rate - cells.map(expected)).max() < 1e-9
    # Who never bought is far away and spent nothing, and the edges stay finite.
    frame.loc[:500, names[0]] = np.nan
    assert np.isfinite(RfmRule.fit(names, frame, y).rate(frame)).all()
