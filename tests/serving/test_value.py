"""What customers will spend, as the service says it: both factors, the tier, the reasons of each."""

from __future__ import annotations

import json
import math
import shutil
from itertools import pairwise

import numpy as np
import pytest
from pydantic import TypeAdapter

from configs.errors import BundleError
from features.catalog import NAMES
from serving.schemas_profile import Profile
from serving.schemas_value import ValueResponse
from serving.scoring import verified
from serving.scoring.value.model import ValueModel

USERS = [f"u{number}" for number in range(40)]
SILENCE = NAMES.index("days_since_last_purchase")


@pytest.fixture(scope="module")
def value(catalogue_models):
    return ValueModel.load(catalogue_models["value"])


@pytest.fixture(scope="module")
def answer(served):
    return served.score("value", [*USERS, "nobody"], explain={"level": "full", "lang": "en", "top_n": 2})


def scored(answer):
    return [(int(u["user_id"][1:]), u, s) for u in answer["users"] for s in u["scores"].values() if s["p"] is not None]


def test_what_is_served_is_what_the_model_says_to_the_last_bit(served, value, answer):
    ValueResponse.model_validate(answer)
    assert answer["model"]["name"] == "value"
    rows = scored(answer)
    assert len(rows) > 30
    for number, user, score in rows:
        x = served.published.values[number : number + 1]
        spend = value.spend(x, [score["head"]])[score["head"]]
        assert score["expected"] == spend.expected[0] == score["p"] * score["amount"]
        assert score["typical"] == spend.quantile(0.5)[0]
        assert [score["interval"]["low"], score["interval"]["high"]] == [spend.quantile(0.1)[0], spend.quantile(0.9)[0]]
        assert score["interval"]["low"] <= score["typical"] <= score["interval"]["high"]
        assert user["value_tier"] in ("potential", "core", "dormant")


def test_boosters_answer_what_lightgbm_answers(value):
    x = np.full((3, len(NAMES)), 2.0)
    x[1] = np.nan
    for head, raw in value.amount_raws(x, list(value.heads)).items():
        asked = np.column_stack([x, np.full(3, value.heads[head].horizon_days)])
        stock = value.boosters["amount"].predict(asked, raw_score=True)
        assert (raw == stock + value.meta["amount"]["constants"][head]).all()


def test_reasons_of_both_factors_add_up_to_their_scores(answer):
    for _, _, score in scored(answer):
        for part, unit in (("purchase", "log_odds"), ("amount", "log_amount")):
            told = score["explanation"][part]
            total = told["base_value"] + sum(one["contribution"] for one in told["contributions"])
            assert total == pytest.approx(told["raw_score"], abs=1e-9)
            own = [reason for reason in score["reason_codes"] if reason["part"] == part]
            assert 0 < len(own) <= 2
            assert {reason["unit"] for reason in own} == {unit}
            assert [r["contribution"] for r in own] == [c["contribution"] for c in told["contributions"][: len(own)]]
        assert score["amount"] == pytest.approx(math.exp(score["explanation"]["amount"]["raw_score"]), rel=1e-12)


def test_a_longer_horizon_never_brings_less(answer):
    for user in answer["users"]:
        expected = [score["expected"] for score in user["scores"].values() if score["p"] is not None]
        assert all(after >= before for before, after in pairwise(expected))


def test_tiers_are_those_of_the_rules(answer, served, value):
    seen = set()
    for user in answer["users"][:-1]:
        score, silence = user["scores"]["spend_365d"], served.published.values[int(user["user_id"][1:]), SILENCE]
        if score["p"] is None:
            assert user["value_tier"] is None
            continue
        core = score["expected"] >= value.tiers.core_spend and silence < value.tiers.rules.core_silence_days
        asleep = score["expected"] <= value.tiers.dormant_spend and silence >= value.tiers.rules.dormant_silence_days
        assert user["value_tier"] == ("core" if core else "dormant" if asleep else "potential")
        seen.add(user["value_tier_text"])
    assert seen == {"potential", "core", "dormant"}


def test_strangers_and_those_who_never_bought(served, answer, value):
    nobody = answer["users"][-1]
    assert (nobody["known"], nobody["value_tier"], nobody["status_reason"]) == (False, None, "UNKNOWN_USER")
    for head, score in nobody["scores"].items():
        assert score["expected"] == value.cold_start[head]
        assert (score["p"], score["percentile"], score["reason_codes"]) == (None, None, [])
    never = next(
        u for u in answer["users"] if u["known"] and np.isnan(served.published.values[int(u["user_id"][1:])][SILENCE])
    )
    for score in never["scores"].values():
        assert (score["expected"], score["status_reason"]) == (None, "OUT_OF_COHORT")
        assert score["cohort"]["meaning"] == "bought at least once"


def test_a_horizon_that_was_not_judged_says_so(answer):
    assert {score["judged"] for _, _, score in scored(answer) if score["head"] == "spend_30d"} == {True}
    assert {score["judged"] for _, _, score in scored(answer) if score["head"] == "spend_365d"} == {False}


def test_one_alone_is_answered_as_among_others(served, answer):
    alone = served.score("value", ["u7"], explain={"level": "full", "lang": "en", "top_n": 2})
    assert alone["users"][0] == answer["users"][7]
    silent = served.score("value", ["u7"], explain={"level": "none"})["users"][0]["scores"]["spend_30d"]
    assert (silent["explanation"], silent["reason_codes"]) == (None, [])


def test_who_wants_no_personalization_has_no_tier(served):
    on = served.client.get("/v1/users/u9/profile", params={"lang": "zh"}).json()
    TypeAdapter(Profile).validate_python(on)
    assert on["scores"]["value"]["value_tier"] == on["profile"]["value_tier"]
    assert on["profile"]["value_tier_text"] in ("潜力用户", "核心用户", "沉睡用户")
    for wish in ("off", "on"):
        served.client.request("PUT", "/v1/users/u9/personalization", json={"personalization": wish})
        user = served.score("value", ["u9"])["users"][0]
        assert user["status_reason"] == ("PERSONALIZATION_OFF" if wish == "off" else None)
        assert (user["value_tier"] is None) == (wish == "off")


def test_the_card_leaves_out_what_only_percentiles_need(served):
    card = served.client.get("/v1/models/value/card").json()["card"]
    assert card["tiers"]["head"] == "spend_365d"
    assert not {"raw_percentiles", "spend_percentiles"} & set(card["heads"]["spend_30d"])


FAULTS = {
    "constants": (lambda m: m["amount"]["constants"].update(spend_30d=9.0), "amount.constants"),
    "ratios": (lambda m: m["amount"].update(ratios=[0.0] * 7), "amount.ratios"),
    "percentiles": (lambda m: m["heads"]["spend_30d"]["spend_percentiles"].reverse(), "spend_percentiles"),
    "tier head": (lambda m: m["tiers"].update(head="spend_7d"), "tiers: head"),
    "tier rules": (lambda m: m["tiers"].update(core_share=2.0), "core_share"),
    "tier amounts": (lambda m: m["tiers"].update(core_spend=1.0), "dormant_spend <= core_spend"),
    "free to fall": (lambda m: m["boosters"]["amount"].pop("monotone"), "may fall with the horizon"),
    "no amount": (lambda m: m.pop("amount"), "shape of a model"),
    "other booster": (lambda m: m["amount"].update(booster="x"), "shape of a model"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_model_that_could_lie_is_refused(catalogue_models, tmp_path, name):
    change, message = FAULTS[name]
    folder = tmp_path / "value"
    shutil.copytree(catalogue_models["value"], folder)
    meta = json.loads((folder / "model.json").read_text())
    change(meta)
    verified.write(folder / "model.json", json.dumps(meta).encode())
    with pytest.raises(BundleError, match=message):
        ValueModel.load(folder)


def test_a_model_of_another_kind_is_refused(catalogue_models):
    with pytest.raises(BundleError, match="another kind"):
        ValueModel.load(catalogue_models["churn"])
