"""P004 blocks what is proven worse than a baseline, warns of what is not better, and calls noise noise."""

import numpy as np

from training.checks.p004_not_better_than_a_baseline import CHECK
from training.checks.run import look_at

BASELINE = "baseline.spender"


def test_a_model_that_learned_is_silent(subject):
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert outcome.evidence["heads"][0]["loss"]["ci"][1] < 0


def test_probabilities_of_the_wrong_people_block(subject):
    frame = subject.forecasts.frame
    order = np.random.default_rng(0).permutation(len(frame))
    frame["p"], frame["raw"] = frame["p"].to_numpy()[order], frame["raw"].to_numpy()[order]
    outcome = look_at(subject, CHECK)
    assert outcome.blocks
    assert "proven worse than" in outcome.explanation["en"]
    assert "spender" in outcome.explanation["zh"]


def test_one_bad_season_warns_and_does_not_block(subject, moved):
    frame = subject.forecasts.frame
    last = frame["as_of"] == frame["as_of"].max()
    frame.loc[last, "p"] = moved(frame.loc[last, "p"], 4.0)
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("issue", "warning")


def test_the_baseline_again_is_not_better(subject):
    frame = subject.forecasts.frame
    frame["p"] = frame["raw"] = frame[BASELINE]
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("issue", "warning")


def test_better_within_noise_is_a_tip(subject):
    # A hundred people: sixty are told a little better than by a coin, forty a little worse.
    frame = subject.forecasts.frame[lambda rows: rows["as_of"] == rows["as_of"].min()].head(100).copy()
    y = np.arange(100) % 2
    told = np.where(np.arange(100) < 60, 0.6, 0.4)
    frame["y"], frame["p"], frame[BASELINE] = y.astype(float), np.where(y == 1, told, 1 - told), 0.5
    frame["raw"] = frame["p"]
    subject.forecasts = type(subject.forecasts)(frame, "probability", {})
    outcome = look_at(subject, CHECK)
    assert (outcome.status, outcome.severity) == ("tip", "tip"), outcome.explanation["en"]
    assert "within noise" in outcome.explanation["en"]


def test_many_noisy_baselines_are_not_proof(subject):
    # Twenty copies of the model with a little noise: some are luckier, none is proven better.
    frame = subject.forecasts.frame
    rng = np.random.default_rng(2)
    for k in range(20):
        frame[f"baseline.lucky{k}"] = np.clip(frame["p"] + rng.normal(0, 0.02, len(frame)), 0.001, 0.999)
    assert not look_at(subject, CHECK).blocks


def test_without_a_baseline_there_is_no_question(subject):
    subject.forecasts.frame.drop(columns=BASELINE, inplace=True)
    assert look_at(subject, CHECK).status == "not_applicable"


def test_amounts_are_judged_by_their_error(subject):
    frame = subject.forecasts.frame
    frame["y"] *= 100.0
    frame["p"], frame[BASELINE] = frame["y"] * 0.9, 50.0
    subject.forecasts = type(subject.forecasts)(frame, "spend", subject.forecasts.log)
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed"
    assert outcome.evidence["loss"] == "mae"
