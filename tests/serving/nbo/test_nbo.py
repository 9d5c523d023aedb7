"""``POST /v1/next-best-offer``: every field of the contract, from real models, rules, store and log."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest

from configs.errors import FeatureError, LogError
from configs.history import code
from serving import service
from serving.schemas_nbo import NextBestOfferResponse
from serving.scoring.interest.model import InterestModel

AS_OF_US = 1795255082000000
KINDS = ("tea", "bread", "soap", "books", "toys", "fruit")


def timeless(answer):
    return {key: value for key, value in answer.items() if key not in ("timing_ms", "decision_id", "request_id")}


def test_the_answer_has_every_field_of_the_contract(decider):
    answer = decider.ask(limit=3, request_id="r-1", context={"channel": "app", "placement": "home"})
    NextBestOfferResponse.model_validate(answer)
    assert answer["request_id"] == "r-1"
    assert answer["status"] == "decided"
    assert answer["fallback"] is None
    assert [offer["rank"] for offer in answer["offers"]] == [1, 2, 3]
    assert answer["model"]["name"] == "interest"
    assert answer["model"]["alias"] == "champion"
    assert answer["policy_version"] == "arb-2026.11.2"
    assert answer["config_digest"].startswith("sha256:")
    assert answer["features"]["max_age_s"] == 790
    assert answer["features"]["stale"] == []
    assert set(answer["timing_ms"]) == {"features", "candidates", "score", "explain", "arbitrate", "log", "total"}
    state = answer["user_state"]
    assert set(state["churn"]) == {"p_inactive_14d", "p_inactive_30d", "p_inactive_60d"}
    assert state["value_tier"] in ("potential", "core", "dormant")
    assert state["last_events"] == ["purchase:tea_0"]
    stages = answer["funnel"]
    assert stages["candidates"] >= stages["eligible"] >= stages["after_caps"] >= stages["scored"] >= 3


def test_priority_is_the_product_of_its_components(decider):
    for user in range(5):
        for offer in decider.ask(f"u{user}", limit=5)["offers"]:
            parts = offer["components"]
            product = parts["propensity"] * parts["context_weight"] * parts["value"] * parts["lever"]
            assert math.isclose(offer["priority"], product, rel_tol=1e-12)
            assert offer["p_interval"][0] <= offer["p"] <= offer["p_interval"][1]
            assert 0 < offer["action_probability"] <= 1


def test_propensities_are_the_models(decider, interest, shop):
    answer = decider.ask("u7", limit=50, explain={"level": "none"})
    history = shop.at(AS_OF_US, [7])[0]
    at_us = AS_OF_US + 790_000_000
    seen = 0
    for offer in answer["offers"]:
        kind, _, what = offer["offer_id"].partition("_")
        ask = interest.score_items if kind == "o" else interest.score_categories
        scored = ask(history, at_us, np.array([code(what)]))
        assert offer["p"] == scored.p[0]
        assert offer["p_interval"] == [scored.p_low[0], scored.p_high[0]]
        seen += 1
    assert seen > 10


def test_reasons_add_up_and_name_the_occasion(decider):
    asked = {"limit": 3, "explain": {"level": "full", "top_n": 3, "lang": "en"}}
    offers = [offer for user in range(3, 9) for offer in decider.ask(f"u{user}", **asked)["offers"]]
    for offer in offers:
        explanation = offer["explanation"]
        total = explanation["base_value"] + sum(one["contribution"] for one in explanation["contributions"])
        assert total == pytest.approx(explanation["raw_score"], abs=1e-9)
        codes = [reason["code"] for reason in offer["reason_codes"]]
        assert len(codes) >= 3
        assert codes.count("BECAUSE_OF") <= 1
        strongest = [one["feature"] for one in explanation["contributions"]]
        places = [strongest.index(reason["feature"]) for reason in offer["reason_codes"][:3]]
        assert places == sorted(places)
        assert places[0] == 0
        assert len({reason["text"] for reason in offer["reason_codes"]}) == len(offer["reason_codes"])
        assert all(reason["text"].isascii() and "<it>" not in reason["text"] for reason in offer["reason_codes"])
    texts = [reason["text"] for offer in offers for reason in offer["reason_codes"]]
    assert any(text.startswith("because of ") for text in texts)


@pytest.mark.parametrize(("level", "named"), [("none", False), ("reason_codes", False), ("full", True)])
def test_what_was_dropped_is_counted_and_in_full_named(decider, level, named):
    answer = decider.ask(explain={"level": level})
    assert answer["filtered"]
    assert all((one["offer_id"] is not None) == named for one in answer["filtered"])
    rules = {one["rule"] for one in answer["filtered"]}
    assert "store_stock=0" in rules
    dropped = len(answer["filtered"]) if named else sum(one["count"] for one in answer["filtered"])
    assert dropped > 0
    if level == "none":
        assert all(offer["reason_codes"] == [] and offer["explanation"] is None for offer in answer["offers"])


def test_candidates_of_the_request_compete_alone(decider):
    wanted = [
        {"offer_id": "o_tea_0"},
        {"offer_id": "new", "value": 20.0, "cost": 1.0, "attributes": {"item_id": "tea_1"}, "levers": {"push": 20}},
    ]
    shown = []
    for user in range(12):
        answer = decider.ask(f"u{user}", candidates=wanted, limit=5)
        assert answer["funnel"]["candidates"] == 2
        shown += answer["offers"]
    assert {offer["offer_id"] for offer in shown} == {"o_tea_0", "new"}
    levers = {offer["offer_id"]: (offer["components"]["lever"], offer["levers"]) for offer in shown}
    assert levers == {"o_tea_0": (1.0, {}), "new": (pytest.approx(1.2), {"push": 20.0})}


def test_a_collection_narrows_the_catalogue(decider):
    answer = decider.ask(candidate_source={"collection": "by_category", "max": 10}, limit=10)
    assert {offer["offer_id"] for offer in answer["offers"]} <= {f"c_{kind}" for kind in KINDS}


def test_a_store_offers_what_it_sells(decider):
    here = {"store_id": "s1", "channel": "store"}
    offers = [offer for user in range(8) for offer in decider.ask(f"u{user}", context=here, limit=20)["offers"]]
    assert offers
    assert {offer["offer_id"].split("_")[1] for offer in offers} == {"tea", "soap"}
    assert "STORE_UNKNOWN" in decider.ask(context={"store_id": "elsewhere"})["notes"]


def test_a_repeated_request_gets_the_same_bytes(decider):
    body = {"user_id": "u1", "request_id": "again", "context": {"attributes": {"b": 1, "a": 2}}}
    first = decider.post(**body)
    second = decider.post(**(body | {"context": {"attributes": {"a": 2, "b": 1}}, "limit": 3}))
    assert second.content == first.content
    other = decider.post(**(body | {"limit": 2}))
    assert other.status_code == 409
    assert other.json()["field"] == "request_id"
    assert other.json()["request_id"] == "again"


def test_a_question_of_the_past_leaves_no_trace(decider):
    past = decider.ask(as_of="2026-11-21T10:00:00Z", request_id="then")
    assert past["decided_at"] == "2026-11-21T10:00:00Z"
    assert decider.client.get(f"/v1/decisions/{past['decision_id']}").status_code == 404
    assert decider.ask(request_id="then")["decided_at"] == "2026-11-21T10:11:12Z"
    for wrong in ("2026-11-21T09:00:00Z", "2026-11-21T10:11:13Z"):
        answer = decider.post(user_id="u1", as_of=wrong)
        assert (answer.status_code, answer.json()["field"]) == (422, "as_of")


def test_who_is_unknown_gets_what_everybody_likes_or_a_404(decider):
    answer = decider.ask("nobody")
    assert answer["status"] == "decided"
    assert answer["features"]["as_of"] is None
    assert answer["user_state"]["lifecycle_state"] is None
    refused = decider.post(user_id="nobody", strict=True)
    assert (refused.status_code, refused.json()["field"]) == (404, "user_id")
    refused = decider.post(identity={"namespace": "wechat", "id": "x"}, strict=True)
    assert (refused.status_code, refused.json()["field"]) == (404, "identity")


def test_an_identity_is_resolved(decider, nbo_log):
    nbo_log.identify([("wechat", "x1", "u5")])
    answer = decider.post(identity={"namespace": "wechat", "id": "x1"}).json()
    assert decider.client.get(f"/v1/decisions/{answer['decision_id']}").json()["user_id"] == "u5"
    assert timeless(answer)["user_state"] == timeless(decider.ask("u5"))["user_state"]


def test_without_personalisation_everybody_is_equal(decider):
    greedy = {"exploration": {"epsilon": 0.0}}
    answers = [decider.ask(user, personalization="off", policy=greedy) for user in ("u31", "u32", "stranger")]
    ranked = [[(offer["offer_id"], offer["p"]) for offer in answer["offers"]] for answer in answers]
    assert ranked[0] == ranked[1] == ranked[2]
    assert all(answer["user_state"]["lifecycle_state"] is None for answer in answers)
    assert all(answer["features"]["as_of"] is None for answer in answers)
    record = decider.client.get(f"/v1/decisions/{answers[0]['decision_id']}").json()
    assert record["history"] == []
    assert set(record["vector"]) == {None}
    assert record["inputs"]["scores"] == {} or set(record["inputs"]["scores"].values()) == {None}


def test_no_time_no_model_no_features_end_in_the_fallback(decider, monkeypatch):
    def broken(*_):
        raise ArithmeticError

    late = [decider.ask(timeout_ms=1, request_id=f"late{k}") for k in range(3)]
    assert late[-1]["status"] == "fallback"
    assert late[-1]["status_reason"] == "TIMEOUT"
    assert late[-1]["fallback"] == {"offer_id": "popular", "rule": "popular_in_shop"}
    with monkeypatch.context() as patch:
        patch.setattr(InterestModel, "score_items", broken)
        answer = decider.ask()
        assert (answer["status"], answer["status_reason"]) == ("fallback", "MODEL_UNAVAILABLE")

    def unreadable(*_):
        raise FeatureError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("features.store.Store.decision_row", unreadable)
        answer = decider.ask()
        assert (answer["status"], answer["status_reason"]) == ("fallback", "FEATURES_UNAVAILABLE")
    assert decider.ask()["status"] == "decided"


def test_an_objective_without_its_model_is_a_422(decider):
    answer = decider.post(user_id="u1", objective="uplift_value")
    assert (answer.status_code, answer.json()["field"]) == (422, "objective")


def test_a_channel_that_the_policy_does_not_know_is_a_422_with_those_it_knows(decider):
    for channel in ("SMS", "WeCom", "fax", "sms "):
        answer = decider.post(user_id="u1", context={"channel": channel})
        problem = answer.json()
        assert (answer.status_code, problem["field"]) == (422, "context.channel"), problem
        assert "sms" in problem["expected"]
    assert decider.ask(context={"placement": "home"})["status"] == "decided"


def test_a_log_that_cannot_be_written_is_a_503(decider, monkeypatch):
    def full(*_, **__):
        raise LogError("the disk is full")

    monkeypatch.setattr("serving.log.DecisionLog.record", full)
    answer = decider.post(user_id="u1")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


def test_silence_is_an_answer_on_a_channel_that_reaches_out(decider):
    answer = decider.ask(context={"channel": "sms"})
    assert answer["status"] == "suppressed"
    assert answer["status_reason"]
    assert answer["offers"] == []
    assert answer["fallback"] is None


def test_stages_are_told_in_a_header_writing_included(decider):
    header = decider.post(user_id="u1").headers["server-timing"]
    assert {"write", "features", "total"} <= {part.split(";")[0].strip() for part in header.split(",")}


def test_nothing_but_offers_or_a_reason(decider):
    for body in ({"limit": 1}, {"timeout_ms": 1}, {"candidates": [{"offer_id": "dear"}]}):
        answer = decider.ask(**body)
        if answer["status"] == "decided":
            assert answer["offers"]
            assert answer["fallback"] is None
        else:
            assert answer["offers"] == []
            assert answer["status_reason"]
            assert (answer["fallback"] is None) == (answer["status"] in ("suppressed", "holdout"))


def test_concurrent_twins_decide_once(decider):
    body = {"user_id": "u9", "request_id": "twins"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: decider.post(**body).content, range(16)))
    assert len({json.loads(answer)["decision_id"] for answer in answers}) == 1
    assert len(set(answers)) == 1


def test_the_interest_model_is_listed_with_its_card(decider):
    listed = decider.client.get("/v1/models").json()["models"]
    assert [(model["name"], model["heads"]) for model in listed if model["name"] == "interest"] == [
        ("interest", ["item", "category"])
    ]
    card = decider.client.get("/v1/models/interest/card").json()
    assert card["card"]["horizon_days"] == 30.0
    assert "raw_percentiles" not in card["card"]["heads"]["item"]


def test_old_features_decide_and_say_so_or_fall_back_where_that_is_wanted(decider, monkeypatch):
    live = service._rest.state.live
    monkeypatch.setattr(live, "max_age_s", 60.0)
    answer = decider.ask("u41")
    assert (answer["status"], answer["features"]["stale"]) == ("decided", ["u41"])
    assert answer["status_reason"] == "FEATURES_STALE"
    monkeypatch.setattr(live, "stale_falls_back", True)
    answer = decider.ask("u41")
    assert (answer["status"], answer["status_reason"]) == ("fallback", "FEATURES_STALE")


def test_every_feature_of_the_interest_model_has_its_sentence(decider, interest):
    known = service._rest.state.live.interest_reasons.known
    assert {feature for head in interest.heads.values() for feature in head.features} <= known


def test_a_row_that_stands_at_the_end_of_this_second_decides_now(decider, monkeypatch):
    # A refresh after a live event is rounded up to the next second.
    live = service._rest.state.live
    early = live.config.now - timedelta(hours=1)
    monkeypatch.setattr(live, "now", lambda: early)
    assert decider.ask("u9")["status"] in {"decided", "fallback", "suppressed", "holdout"}
    scored = decider.client.post("/v1/score/interest", json={"user_ids": ["u9"]})
    assert scored.status_code == 200, scored.text
    too_early = decider.post(user_id="u9", as_of=early.isoformat())
    assert (too_early.status_code, too_early.json()["field"]) == (422, "as_of")
