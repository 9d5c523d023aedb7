"""The value model from training to its folder: what is judged is what is served, and nothing knows the future."""

from __future__ import annotations

import copy
import dataclasses
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from configs import load
from configs.errors import ConfigError
from features.catalog import NAMES
from features.periods import as_utc, days_of
from serving.scoring.value.model import ValueModel
from training.dataset import TrainingSet
from training.forecasts import Recipe
from training.registry import CHALLENGER, Registry
from training.retrain.shadow import shadow
from training.value import train as training
from training.value.forecast import learn_at, value_at
from training.value.report import print_spend
from training.value.spend import Spend

FIRST, LAST = as_utc("2024-01-01"), as_utc("2024-12-01")
USERS, DAYS = 500, 335
ORIGIN = as_utc("2024-08-05")


def day_of(instant):
    return float(days_of(pd.DatetimeIndex([instant]))[0] - days_of(pd.DatetimeIndex([FIRST]))[0])


@pytest.fixture(scope="module")
def bought(customers):
    return customers(USERS, DAYS, 3)


@pytest.fixture(scope="module")
def assembled(bought, features):
    """What `assemble` gives of these customers: (config, origins, progress) -> training set."""

    def made(_config, origins, _progress=None, purchases=None):
        who, at, amount = bought if purchases is None else purchases
        frame = pd.concat([features(who, at, amount, USERS, day_of(origin)) for origin in sorted(origins)])
        known = frame[frame["orders_life"] > 0].reset_index(drop=True)
        log = {"data_hash": "sha256:0", "catalogue_digest": "c", "rows": len(known), "users": USERS, "origins": []}
        return TrainingSet(known, FIRST, LAST, log)

    return made


def spend_of(purchases):
    who, at, amount = purchases
    start = float(days_of(pd.DatetimeIndex([FIRST]))[0])
    return Spend.of(np.array([f"u{n}" for n in who], object), at + start, amount)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = dataclasses.replace(load(tmp_path_factory.mktemp("home"), LAST), threads=1)
    return dataclasses.replace(config, models={"value": config.models["value"]})


@pytest.fixture(scope="module")
def trained(config, assembled, bought):
    """A version trained and registered: its report, its model, its fits; the data do not come from a store."""
    fits, kept = [], []

    def learn(*arguments):
        fits.append(learn_at(*arguments))
        return fits[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "assemble", assembled)
        patch.setattr(training, "span", lambda _: (FIRST, LAST))
        patch.setattr(training, "learn_at", learn)
        patch.setattr(training, "keep_spend", lambda *arguments: kept.append(arguments[-3:]))
        patch.setattr("training.desk.learned.home_stores", lambda *_: {})
        patch.setattr(training, "of_training", lambda *_: [])
        patch.setattr(Spend, "read", lambda _: spend_of(bought))
        report = training.train_value(config)
    folder = Registry(config).folder("value", CHALLENGER, config.home / "folder")
    (origin, frame, _) = kept[0]
    # What was judged is kept as a forecast of that day.
    assert f"{origin:%Y-%m-%d}" == report.judged_on
    assert list(frame["head"].unique()) == list(report.metrics)
    return report, ValueModel.load(folder), fits


def test_every_horizon_that_is_over_is_judged_and_the_others_say_that_they_are_not(trained, config, capsys):
    report, model, _ = trained
    assert (report.version, report.judged_on) == ("1", "2024-09-02")
    assert set(report.metrics) == {"spend_30d", "spend_90d"}
    assert list(report.left_out) == ["spend_365d"]
    assert list(model.heads) == ["spend_30d", "spend_90d", "spend_365d"]
    for head, metrics in report.metrics.items():
        assert set(config.models["value"].gate.required) <= set(metrics)
        assert metrics["mae"]["ci"][0] < metrics["mae"]["value"] < metrics["mae"]["ci"][1]
        assert metrics["auroc"]["value"] > 0.65
        assert metrics["mae"]["value"] < report.baselines[head]["repeat_last_period"]["mae"]
        assert metrics["vs_repeat_last_period.mae"]["value"] > 0
    version = Registry(config).version("value", CHALLENGER)
    assert version.tags["heads"] == "spend_30d spend_90d spend_365d"
    assert [model.meta["heads"][head]["judged"] for head in model.heads] == [True, True, False]
    print_spend("value", report.metrics, report.baselines)
    assert "bg_nbd_gamma_gam" in capsys.readouterr().out


def test_tiers_travel_with_the_model_and_hold_what_they_say(trained):
    report, model, _ = trained
    told = report.evidence["tiers"]
    assert model.tiers.rules.head == "spend_365d"
    did = told["held"]["did"]
    assert did["core"]["mean_spend"] > did["potential"]["mean_spend"] > did["dormant"]["mean_spend"]
    assert {"2024-10-28"} <= set(told["stability"])
    assert all(0.5 < one["stayed"] < 1 for one in told["stability"].values())


def test_what_was_fitted_is_what_is_served_to_the_last_bit(trained):
    _, model, (_, learned) = trained
    for head, one in model.heads.items():
        x = learned.today.x[learned.today.horizon == one.horizon_days]
        fitted, served = learned.fitted.forecast(x, one.horizon_days), model.spend(x[:, :-1], [head])[head]
        assert (served.expected == fitted.expected).all()
        assert (served.quantile(0.5) == fitted.quantile(0.5)).all()
        assert model.cold_start[head] == fitted.expected.mean()
        assert model.spend_percentile(served.expected, head).max() == 100.0
    heads = model.spend(x[:, :-1], list(model.heads)).values()
    assert all((after.expected >= before.expected).all() for before, after in pairwise(heads))


def test_a_shadow_of_spend_sees_amounts_and_not_only_who_buys(trained):
    _, model, (_, learned) = trained
    vectors = pd.DataFrame(learned.today.x[learned.today.horizon == 30.0, :-1], columns=list(NAMES))
    louder = copy.copy(model)
    louder._constants = {head: constant + np.log(2) for head, constant in model._constants.items()}
    for one in shadow(model, louder, vectors):
        assert one.challenger == pytest.approx(2 * one.champion)
        assert one.champion == pytest.approx(model.spend(vectors.to_numpy(), [one.head])[one.head].expected.mean())
        assert one.sound
    louder._constants = dict.fromkeys(model.heads, float("nan"))
    assert not any(one.sound for one in shadow(model, louder, vectors))


def test_a_forecast_knows_nothing_of_what_followed(config, assembled, bought):
    model, recipe = config.models["value"], Recipe({})
    origins = [ORIGIN - timedelta(days=28 * k) for k in range(5, -1, -1)]
    told, log = value_at(config, model, recipe, assembled(config, origins), spend_of(bought), ORIGIN, LAST)
    assert set(told["head"]) == {"spend_30d", "spend_90d"}
    who, at, amount = bought
    before = at <= day_of(ORIGIN)
    other = (who, at, np.where(before, amount, 50 * amount))
    blind = assembled(config, origins, purchases=(who[before], at[before], amount[before]))
    again, _ = value_at(config, model, recipe, blind, spend_of(other), ORIGIN, LAST)
    columns = ["user_id", "head", "p", "raw", "baseline.bg_nbd_gamma_gamma", "baseline.repeat_last_period"]
    # Amounts are differences of running sums: in the last digits they know of all other purchases.
    pd.testing.assert_frame_equal(told[columns], again[columns], rtol=1e-9)
    assert again["y"].sum() == pytest.approx(50 * told["y"].sum())
    assert log["buyers"] > 200


def test_a_source_without_amounts_is_left_out_and_says_why(config, assembled, bought, monkeypatch):
    who, at, amount = bought
    monkeypatch.setattr(training, "assemble", assembled)
    monkeypatch.setattr(training, "span", lambda _: (FIRST, LAST))
    monkeypatch.setattr(Spend, "read", lambda _: spend_of((who, at, 0 * amount)))
    report = training.train_value(config)
    assert (report.version, report.metrics) == ("", {})
    assert "too few purchases with an amount" in report.left_out["value"]["en"]
    assert "带金额的购买太少" in report.left_out["value"]["zh"]


def test_tiers_of_a_head_that_there_is_not_are_refused(config, monkeypatch):
    heads = {"spend_30d": config.models["value"].heads["spend_30d"]}
    short = dataclasses.replace(config.models["value"], heads=heads)
    with pytest.raises(ConfigError, match=r"tiers\.yaml: head"):
        training.train_value(dataclasses.replace(config, models={"value": short}))
