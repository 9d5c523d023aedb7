"""P004 blocks what is proven worse than a baseline, warns of what is not better, and calls noise noise."""

from dataclasses import replace

import numpy as np
import pandas as pd

from training.checks.p004_not_better_than_a_baseline import CHECK
from training.checks.run import look_at
from training.forecasts import Forecasts

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


def test_a_head_that_no_baseline_answers_has_not_passed(subject):
    frame = subject.forecasts.frame
    silent = frame.assign(head="p_inactive_90d", **{BASELINE: np.nan})
    subject.forecasts = replace(subject.forecasts, frame=pd.concat([frame, silent], ignore_index=True))
    subject.version = replace(subject.version, tags={"heads": "p_inactive_30d p_inactive_90d p_inactive_365d"})
    outcome = look_at(subject, CHECK)
    assert outcome.status == "tip", outcome.explanation["en"]
    assert outcome.evidence["not_compared"] == ["p_inactive_90d", "p_inactive_365d"]
    assert "p_inactive_90d, p_inactive_365d" in outcome.explanation["en"]
    assert "All 1 heads" in outcome.explanation["en"]
    assert "p_inactive_90d" in outcome.next_step["zh"]


def test_an_early_origin_without_a_baseline_is_not_compared_and_the_others_are(subject):
    frame = subject.forecasts.frame
    first = frame["as_of"] == frame["as_of"].min()
    frame.loc[first, BASELINE] = np.nan
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]
    told = outcome.evidence["heads"][0]
    assert (told["rows"], told["origins"]) == (int((~first).sum()), 2)
    assert f"p_inactive_30d 2/3 ({int((~first).sum()):,})" in outcome.explanation["en"]
    # Where it is worse at each of them, it is worse everywhere.
    order = np.random.default_rng(0).permutation(len(frame))
    frame["p"], frame["raw"] = frame["p"].to_numpy()[order], frame["raw"].to_numpy()[order]
    assert look_at(subject, CHECK).blocks


def spend(subject, p, baseline):
    """Most buy nothing; amounts of those who do follow what is expected of them."""
    rng, frames = np.random.default_rng(3), []
    for at in sorted(subject.forecasts.frame["as_of"].unique()):
        expected = rng.gamma(0.7, 30.0, 1500)
        buys = expected / (expected + 40)
        truth = np.where(rng.random(1500) < buys, rng.gamma(2.0, expected / buys / 2), 0.0)
        said = {"p": p(expected, rng), "baseline.rule": baseline(expected, rng)}
        users = [f"u{n}" for n in range(1500)]
        frames.append(pd.DataFrame({"user_id": users, "as_of": at, "head": "spend_30d", "y": truth, **said}))
    subject.version = replace(subject.version, tags={"heads": "spend_30d"})
    subject.model = replace(subject.model, gate=replace(subject.model.gate, decides="spearman"))
    subject.forecasts = Forecasts(pd.concat(frames, ignore_index=True).assign(raw=lambda t: t["p"]), "spend", {})
    return look_at(subject, CHECK)


def right(expected, rng):
    return expected.copy()


def rough(expected, rng):
    return expected * rng.gamma(1.0, 1.0, len(expected))


def nothing(expected, rng):
    return np.zeros(len(expected))


def test_a_mean_that_orders_customers_beats_a_rough_one(subject):
    outcome = spend(subject, right, rough)
    assert outcome.status == "passed", outcome.explanation["en"]
    assert outcome.evidence["heads"][0]["measure"] == "1 - spearman"
    assert "of 1 - spearman against rule" in outcome.explanation["en"]


def test_nothing_for_everybody_is_no_forecast_though_its_absolute_error_is_small(subject):
    outcome = spend(subject, right, nothing)
    frame = subject.forecasts.frame
    assert np.abs(frame["y"]).mean() < np.abs(frame["y"] - frame["p"]).mean()
    assert outcome.status == "passed", outcome.explanation["en"]
    assert spend(subject, nothing, rough).blocks


def test_a_total_that_is_far_off_blocks_however_well_customers_are_ordered(subject):
    outcome = spend(subject, lambda expected, rng: 3 * expected, rough)
    assert outcome.blocks, outcome.explanation["en"]
    assert outcome.evidence["heads"][0]["far_at"] == 3
    slightly = spend(subject, lambda expected, rng: 1.1 * expected, rough)
    assert slightly.status == "passed", slightly.explanation["en"]


def test_nobody_buys_at_all_is_no_comparison(subject):
    spend(subject, right, rough)
    subject.forecasts.frame["y"] = 0.0
    assert look_at(subject, CHECK).status == "not_applicable"
    # At one origin of three: the others say what there is to say.
    spend(subject, right, rough)
    frame = subject.forecasts.frame
    frame.loc[frame["as_of"] == frame["as_of"].min(), "y"] = 0.0
    outcome = look_at(subject, CHECK)
    assert outcome.status == "passed", outcome.explanation["en"]


def test_what_a_search_has_seen_does_not_count(subject, moved):
    """Good where the search looked, bad at the one origin that it never saw: the average would have been good."""
    frame = subject.forecasts.frame
    last = frame["as_of"] == frame["as_of"].max()
    frame.loc[last, "p"] = moved(frame.loc[last, "p"], 4.0)
    assert not look_at(subject, CHECK).blocks
    subject.meta["training"]["search"] = {"touched_until": subject.origins[-1].isoformat()}
    outcome = look_at(subject, CHECK)
    assert outcome.blocks
    assert outcome.evidence["seen_by_search"] == ["2026-03-30", "2026-04-13"]
    assert {one["origins"] for one in outcome.evidence["heads"]} == {1}
    assert "it has seen 2026-03-30, 2026-04-13" in outcome.explanation["en"]
    assert "偏乐观" in outcome.explanation["zh"]


def test_a_search_that_has_seen_every_origin_is_said(subject):
    subject.meta["training"]["search"] = {"touched_until": "2026-05-31T00:00:00+00:00"}
    outcome = look_at(subject, CHECK)
    assert {one["origins"] for one in outcome.evidence["heads"]} == {3}
    assert "it has seen 2026-03-30, 2026-04-13, 2026-04-27" in outcome.explanation["en"]
