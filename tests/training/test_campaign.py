"""What the decision log teaches about offers: found where it is, not claimed where it is not."""

import numpy as np
import pandas as pd
import pytest

from configs.errors import TrainingError
from training.campaign import OTHER_FEATURES, experiment_of_log, practice_log, uplift_of_log


def log_of(helps, hurts):
    """A practice log with rows that do not count: second places, an offer shown rarely, decisions without features."""
    frame = practice_log(helps, hurts)
    below = frame.assign(position=1, action_id="c", reward=1.0)
    rare = frame.head(20).assign(action_id="rare")
    return pd.concat([frame, below, rare, frame.head(5).assign(context=None)], ignore_index=True)


def test_only_first_places_with_a_known_context_and_offers_shown_often_count():
    experiment = experiment_of_log(log_of(0.0, 0.0))
    assert len(experiment) == 3000
    assert set(experiment.arm) == {"a", "b"}
    assert experiment.left_out == {"rare": 20}
    assert experiment.x.shape == (3000, 3)


def test_vectors_from_before_a_feature_was_added_are_left_out_and_counted():
    frame = practice_log(0.0, 0.0)
    frame["timestamp"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(len(frame)), unit="s")
    old = frame.index < 1000
    frame.loc[old, "context"] = frame.loc[old, "context"].map(lambda one: one[:2])
    experiment = experiment_of_log(frame.sample(frac=1, random_state=1))  # the newest is not the last row
    assert experiment.x.shape == (2000, 3)
    assert experiment.left_out == {OTHER_FEATURES: 1000}
    assert uplift_of_log(frame)[1]["left_out"] == {OTHER_FEATURES: 1000}


def test_an_offer_that_helps_some_and_hurts_others_is_given_to_those_it_helps():
    fitted, worth = uplift_of_log(log_of(0.35, -0.2), control="a")
    low, high = fitted.predict(np.array([[-1.5, 0.0, 0.0], [1.5, 0.0, 0.0]]))[:, 0]
    assert low < 0 < 0.15 < high
    assert worth["beats"]
    # Choosing rightly gives everybody 0.25 and half of them 0.35 more.
    assert worth["policies"]["learner"]["ci"][0] < 0.425 < worth["policies"]["learner"]["ci"][1] + 0.03


def test_where_nothing_differs_nothing_is_claimed():
    _, worth = uplift_of_log(log_of(0.0, 0.0))
    assert not worth["beats"]
    assert worth["gain"]["ci"][0] <= 0


def test_the_value_of_a_constant_is_found_against_the_odds_of_the_log():
    _, worth = uplift_of_log(log_of(0.2, 0.2), control="a")
    # Who is shown b would have been likelier to order anyway: the plain mean of b's rows lies above 0.45.
    for arm, truth in (("a", 0.25), ("b", 0.45)):
        low, high = worth["policies"][arm]["ci"]
        assert low < truth < high


def test_a_log_without_an_experiment_says_why():
    frame = log_of(0.0, 0.0)
    with pytest.raises(TrainingError, match="exploration"):
        uplift_of_log(frame[frame["action_id"] == "a"])
    with pytest.raises(TrainingError, match="too few decisions"):
        uplift_of_log(frame.head(0))
    with pytest.raises(TrainingError, match="userops decisions export"):
        experiment_of_log(frame.drop(columns="pscore"))
