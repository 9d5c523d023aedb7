"""What MLflow loads answers what the service answers, to the last bit, and runs no code but this package's."""

import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

from configs import load
from features.catalog import NAMES
from serving.scoring.pyfunc import load as load_folder
from training.registry import CHAMPION, Registry

with warnings.catch_warnings():
    # MLflow 3.17 warns of its own type hints when its pyfunc module is loaded.
    warnings.simplefilter("ignore", UserWarning)
    import mlflow.pyfunc

USERS = [f"u{number}" for number in range(40)]


@pytest.fixture(scope="module")
def registered(tmp_path_factory, catalogue_models):
    """The served models as registered champions; gives what loads one of them."""
    config = load(tmp_path_factory.mktemp("registry"))
    registry = Registry(config)
    for name, folder in catalogue_models.items():
        with registry.run(name, "train") as run:
            version = registry.new_version(name, run, {})
            copied = tmp_path_factory.mktemp("copies") / name
            shutil.copytree(folder, copied)
            run.model(copied, NAMES, list(load_folder(copied).heads))
        registry.alias(name, CHAMPION, version)

    def loaded(name):
        mlflow.set_registry_uri(config.tracking_uri)
        mlflow.set_tracking_uri(config.tracking_uri)
        return mlflow.pyfunc.load_model(f"models:/{name}@{CHAMPION}")

    return loaded


@pytest.fixture(scope="module")
def frame(published):
    return pd.DataFrame(published.values[:40], columns=list(NAMES), index=USERS)


@pytest.mark.parametrize("name", ["churn", "repurchase"])
def test_mlflow_predicts_the_services_own_probabilities(served, registered, frame, name):
    predicted = registered(name).predict(frame)
    answered = served.score(name, USERS)["users"]
    assert list(predicted.index) == USERS
    for head in predicted:
        theirs = np.array([user["scores"][head]["p"] for user in answered], dtype=float)
        assert np.array_equal(predicted[head].to_numpy(), theirs, equal_nan=True)
        assert np.isfinite(theirs).any()


def test_a_value_model_predicts_expected_spend(registered, frame, catalogue_models):
    predicted = registered("value").predict(frame)
    model = load_folder(catalogue_models["value"])
    for head in predicted:
        inside = model.in_cohort(frame.to_numpy(), head)
        expected = model.spend(frame.to_numpy()[inside], [head])[head].expected
        assert np.array_equal(predicted[head].to_numpy()[inside], expected)
        assert np.isnan(predicted[head].to_numpy()[~inside]).all()


def test_the_documented_columns_are_asked_for_by_name(registered, frame):
    model = registered("churn")
    assert [column.name for column in model.metadata.signature.inputs] == list(NAMES)
    shuffled = frame[list(NAMES)[::-1]].assign(more=1.0)
    assert model.predict(shuffled).equals(model.predict(frame))
    with pytest.raises(mlflow.MlflowException, match="orders_life"):
        model.predict(frame.drop(columns="orders_life"))


def test_a_changed_byte_is_refused(registered, catalogue_models, tmp_path):
    folder = tmp_path / "churn"
    shutil.copytree(catalogue_models["churn"], folder)
    with (folder / "inactive.txt").open("a") as file:
        file.write(" ")
    with pytest.raises(Exception, match="altered"):
        load_folder(folder)
