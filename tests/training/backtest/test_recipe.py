"""A back-test asks the settings of the YAML file, those given, or those of a registered version, and says which."""

import pytest

from configs import load
from configs.errors import RegistryError, TrainingError
from training.backtest import backtest as module
from training.forecasts import Recipe
from training.registry import Registry


@pytest.fixture
def asked(monkeypatch):
    """The recipe that reaches the forecasts; nothing is fitted."""
    seen = []

    def stop(config, model, origins, progress, *, recipe):
        seen.append(recipe)
        raise TrainingError("seen")

    monkeypatch.setattr(module, "forecasts", stop)
    monkeypatch.setattr(module, "past_origins", lambda *given: ())
    return seen


def test_the_settings_of_a_version_are_asked(tmp_path, asked):
    config = load(tmp_path)
    registry = Registry(config)
    with registry.run("churn", "train") as run:
        version = registry.new_version("churn", run, {})
        run.json(
            {"recipe": {"lightgbm": {"num_leaves": 9}, "features": ["tenure_days"], "seed": 4}}, "model/model.json"
        )
    for given in ({}, {"recipe": Recipe({"num_leaves": 5})}, {"version": version}):
        with pytest.raises(TrainingError, match="seen"):
            module.backtest(config, "churn", **given)
    assert asked == [None, Recipe({"num_leaves": 5}), Recipe({"num_leaves": 9}, ("tenure_days",), 4)]
    with pytest.raises(RegistryError, match="no version"):
        module.backtest(config, "churn", version="99")
