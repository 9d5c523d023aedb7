"""Every plot of the shap package draws what `training.explain` hands it, of a model of users and of amounts."""

from __future__ import annotations

import warnings

import lightgbm as lgb
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from serving.scoring.model import write_model
from serving.scoring.value.model import write_value
from training.explain import explanation, groups, interactions, reasons

FEATURES = ["days_since_last_purchase", "orders_90d", "orders_life", "spend_90d", "tenure_days"]
HEAD, SPEND = "p_inactive_30d", "spend_30d"
HORIZON = 30.0


@pytest.fixture(autouse=True)
def no_screen():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    made = pd.DataFrame(rng.gamma(1.5, 20.0, (80, len(FEATURES))), columns=FEATURES)
    made.loc[:6, "days_since_last_purchase"] = np.nan
    made["orders_life"] = made["orders_90d"] + rng.normal(0, 3, 80)
    return made.assign(user_id=[f"u{k}" for k in range(80)])


def booster(frame, objective, label, direction):
    x = np.column_stack([np.tile(frame[FEATURES].to_numpy(), (2, 1)), np.repeat([HORIZON, 90.0], len(frame))])
    params = {"objective": objective, "num_leaves": 7, "min_data_in_leaf": 4, "verbose": -1, "num_threads": 1}
    constraint = {"monotone_constraints": [0] * len(FEATURES) + [direction]}
    data = lgb.Dataset(x, label(x), feature_name=[*FEATURES, "horizon_days"])
    return lgb.train({**params, **constraint}, data, 8).model_to_string()


def head_of(name):
    head = {"booster": name, "horizon_days": HORIZON, "raw_percentiles": np.linspace(-2, 2, 101).tolist()}
    return {**head, "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0}}


COMMON = {"version": "1", "run_id": "r", "features": FEATURES, "catalogue_digest": "sha256:ca7a", "created_at": "2026"}


@pytest.fixture(scope="module")
def churn(frame, tmp_path_factory):
    text = booster(frame, "binary", lambda x: (np.nan_to_num(x[:, 0]) > (x[:, 1] + x[:, 2]) / 2).astype(float), -1)
    meta = {
        **COMMON, "name": "churn", "heads": {HEAD: head_of("inactive")}, "cold_start": {HEAD: 0.5},
        "boosters": {"inactive": {"horizon_column": True, "monotone": "decreasing"}},
    }  # fmt: skip
    return write_model(tmp_path_factory.mktemp("churn") / "churn", meta, {"inactive": text})


@pytest.fixture(scope="module")
def value(frame, tmp_path_factory):
    purchase = booster(frame, "binary", lambda x: (x[:, 1] > 25).astype(float), 1)
    amount = booster(frame, "regression", lambda x: np.log1p(x[:, 3]), 1)
    head = {**head_of("purchase"), "spend_percentiles": np.linspace(0, 9, 101).tolist()}
    rules = {
        "version": 1, "head": SPEND, "recency": FEATURES[0], "core_share": 0.2, "core_silence_days": 180,
        "dormant_silence_days": 90, "dormant_share": 0.5, "core_spend": 9.0, "dormant_spend": 1.0,
    }  # fmt: skip
    meta = {
        **COMMON, "name": "value", "heads": {SPEND: head}, "cold_start": {SPEND: 5.0}, "tiers": rules,
        "boosters": {name: {"horizon_column": True, "monotone": "increasing"} for name in ("purchase", "amount")},
        "amount": {"booster": "amount", "constants": {SPEND: 0.1}, "ratios": np.linspace(-1, 1, 101).tolist()},
    }  # fmt: skip
    return write_value(tmp_path_factory.mktemp("value") / "value", meta, {"purchase": purchase, "amount": amount})


@pytest.fixture(params=["churn", "purchase", "amount"])
def asked(request, frame):
    """A model, a head, and whether its amount is explained."""
    model = request.getfixturevalue("churn" if request.param == "churn" else "value")
    return model, HEAD if request.param == "churn" else SPEND, request.param == "amount"


@pytest.fixture
def plots():
    with warnings.catch_warnings():
        # shap makes its colours, and calls matplotlib, by ways that are about to be taken away.
        warnings.simplefilter("ignore")
        import shap

        yield shap.plots


PLOTS = {
    "beeswarm": lambda plots, told: plots.beeswarm(told, show=False),
    "bar": lambda plots, told: plots.bar(told, show=False),
    "bar of one": lambda plots, told: plots.bar(told[3], show=False),
    "waterfall": lambda plots, told: plots.waterfall(told[0], show=False),
    "scatter": lambda plots, told: plots.scatter(told[:, "orders_90d"], color=told, show=False),
    "heatmap": lambda plots, told: plots.heatmap(told, show=False),
    "violin": lambda plots, told: plots.violin(told, show=False),
    "force": lambda plots, told: plots.force(told[0], matplotlib=True, show=False),
    "decision": lambda plots, told: plots.decision(
        told.base_values[0], told.values[:9], told.data[:9], feature_names=list(told.feature_names), show=False
    ),
}


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_drawn(name, plots, asked, frame):
    model, head, amount = asked
    PLOTS[name](plots, explanation(model, frame, head, amount=amount))
    drawn = plt.gcf().axes
    assert drawn
    assert any(one.has_data() or one.texts for one in drawn)


def test_interactions_are_drawn(plots, asked, frame):
    import shap

    model, head, amount = asked
    values = interactions(model, frame, head, amount=amount)
    shap.summary_plot(values, frame[FEATURES], show=False)
    assert len(plt.gcf().axes) >= len(FEATURES)
    plt.close("all")
    pair = ("orders_90d", "tenure_days")
    shap.dependence_plot(pair, values, frame[FEATURES], show=False)
    assert plt.gcf().axes[0].has_data()


def test_a_force_plot_for_a_notebook_is_html_of_its_own(plots, churn, frame):
    given = explanation(churn, frame, HEAD)
    assert "<div" in plots.force(given[0]).html()


def test_a_table_of_reasons_is_the_explanation_row_by_row(asked, frame):
    model, head, amount = asked
    told, given = reasons(model, frame, head, amount=amount), explanation(model, frame, head, amount=amount)
    wide = told.pivot(index="row", columns="feature", values="contribution")[FEATURES]
    np.testing.assert_allclose(wide.to_numpy(), given.values)
    first = told.groupby("row")["base"].first()
    np.testing.assert_allclose(first.to_numpy(), given.base_values)


def test_features_that_say_the_same_are_told_beside_it(churn, frame):
    found = groups(churn, frame, HEAD)
    assert set(found["feature"]) == {"orders_90d", "orders_life"}
    assert found["least_correlation"].iloc[0] > 0.95
