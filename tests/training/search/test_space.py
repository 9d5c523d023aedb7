"""Spaces: what the shipped files say, and what is refused with its place."""

from dataclasses import replace

import pytest

from configs import SearchConfig, load
from configs.errors import ConfigError
from training.boost import DEFAULTS, TREES
from training.interest.fit import SIZE
from training.interest.ranker import PARAMETERS
from training.search.space import Choice, Range, space_of

BASE = {**DEFAULTS, "trees": TREES}


@pytest.mark.parametrize(
    ("name", "defaults"), [("churn", BASE), ("repurchase", BASE), ("interest", {**PARAMETERS, **SIZE})]
)
def test_every_shipped_space_holds_its_defaults(name, defaults):
    space, start = space_of(load().models[name], defaults)
    assert set(space) == set(start) >= {"learning_rate", "trees", "num_leaves"}
    assert all(start[one] in space[one] for one in space)


def space(content, lightgbm=None):
    model = replace(load().models["churn"], search=SearchConfig(space=content), lightgbm=lightgbm or {})
    return space_of(model, BASE)


def test_three_forms():
    found, start = space(
        {
            "num_leaves": {"low": 7, "high": 31},
            "lambda_l2": {"low": 1, "high": 20.5},
            "extra_trees": {"any": [True, False]},
        },
        {"extra_trees": False, "num_leaves": 9},
    )
    assert found == {"num_leaves": Range(7, 31), "lambda_l2": Range(1, 20.5), "extra_trees": Choice((True, False))}
    assert start == {"num_leaves": 9, "lambda_l2": 10.0, "extra_trees": False}
    assert found["num_leaves"].whole
    assert not found["lambda_l2"].whole


@pytest.mark.parametrize(
    "content",
    [
        {"low": 1},
        {"low": 3, "high": 2},
        {"low": 0, "high": 1, "log": True},
        {"low": 1, "high": 2, "step": 1},
        {"low": True, "high": 2},
        {"low": 1, "high": float("inf")},
        {"any": []},
        [1, 2],
    ],
)
def test_another_form_is_refused_with_its_place(content):
    with pytest.raises(ConfigError, match=r"models/churn.yaml: search: space: num_leaves"):
        space({"num_leaves": content})


def test_a_default_outside_and_a_default_that_nobody_knows():
    with pytest.raises(ConfigError, match=r"learning_rate: the search begins at the default.*\n.*got: 0.04"):
        space({"learning_rate": {"low": 0.1, "high": 0.2}})
    with pytest.raises(ConfigError, match="no default"):
        space({"path_smooth": {"low": 0.0, "high": 1.0}})
