"""Before a search begins it is said what it will do, or why there is none."""

import pytest

from configs import load
from features.periods import as_utc
from training.search import plan as planning
from training.search.plan import plan


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What is said of a history of so many days until 2026-06-01."""

    def told(days, name="churn"):
        config = load(tmp_path, as_utc("2026-06-01"))
        first = as_utc("2026-06-01") - (as_utc("2026-01-02") - as_utc("2026-01-01")) * days
        monkeypatch.setattr(planning, "span", lambda config: (first, as_utc("2026-06-01")))
        return plan(config, config.models[name], 20)

    return told


def test_a_long_history_says_where_is_searched_and_where_confirmed(told):
    said = told(900)
    assert said["en"].startswith("churn: 20 trials on 3 past days (20")
    assert "must then beat the defaults on 3 later days" in said["en"]
    assert "The history is short" not in said["en"]
    assert "试验 20 次" in said["zh"]


def test_a_short_one_says_that_the_gate_looks_again_or_that_nothing_is_searched(told):
    every = [told(days)["en"] for days in range(60, 500, 20)]
    kinds = {("The history is short" in said, "none of the 20" in said) for said in every}
    assert kinds == {(False, True), (True, False), (False, False)}
    said = told(140)
    assert "the history is too short to learn and to judge (140 days)." in said["en"]
    assert said["en"].endswith("It is trained without a search, with the parameters of configs/models/churn.yaml.")
    assert "将不搜索" in said["zh"]


def test_a_model_without_a_space(told):
    assert "names no search space" in told(900, "value")["en"]


def test_a_home_without_events(tmp_path):
    config = load(tmp_path / "empty")
    assert "holds no events" in plan(config, config.models["churn"], 5)["en"]
