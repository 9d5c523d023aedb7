"""Feedback, live events and wishes act on the very next decision."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from configs.history import code
from serving.log import UserState
from serving.nbo.gather import damped
from serving.nbo.interests import granted

NUMBERS = itertools.count()


def event(user_id, **more):
    return {"event_id": f"l{next(NUMBERS)}", "user_id": user_id, "ts": "2026-11-21T10:11:00Z", "type": "view", **more}


def shown(answer):
    return {offer["offer_id"] for offer in answer["offers"]}


def all_of(decider, user_id, **more):
    asked = {"limit": 50, "explain": {"level": "none"}, "policy": {"respect_caps": False}}
    return decider.ask(user_id, **{**asked, **more})


def test_what_is_refused_goes_and_its_neighbours_fade(decider, interest):
    for user in (f"u{k}" for k in range(30)):
        before = all_of(decider, user)
        items = [offer for offer in before["offers"] if offer["offer_id"].startswith("o_")]
        refused = next(
            (one for one in items if interest.neighbours(code(one["offer_id"][2:])) and len(items) > 2), None
        )
        if refused is not None:
            break
    assert refused is not None
    item = refused["offer_id"][2:]
    assert decider.feedback(before, "not_interested", refused["offer_id"])["accepted"] == 1
    after = all_of(decider, user)
    assert refused["offer_id"] not in shown(after)
    near = {interest.text(number): similarity for number, similarity in interest.neighbours(code(item))}
    priorities = {offer["offer_id"]: offer["priority"] for offer in after["offers"]}
    damped = 0
    for offer in items:
        similarity = near.get(offer["offer_id"][2:], 0.0)
        if offer["offer_id"] == refused["offer_id"] or similarity == 0:
            continue
        assert priorities.get(offer["offer_id"], 0.0) < offer["priority"]
        damped += 1
    assert damped


def test_who_refuses_a_category_hears_nothing_of_it(decider):
    for user in (f"u{k}" for k in range(60)):
        before = all_of(decider, user)
        refused = next((offer for offer in shown(before) if offer.startswith("c_")), None)
        near = {offer for offer in shown(before) if refused and offer.startswith(f"o_{refused[2:]}")}
        if near:
            break
    assert decider.feedback(before, "not_interested", refused)["accepted"] == 1
    after = all_of(decider, user, explain={"level": "full"})
    assert not ({refused} | near) & set(shown(after))
    rules = {one["offer_id"]: one["rule"] for one in after["filtered"]}
    assert all(rules[offer] == f"not_interested_neighbour:{refused[2:]}:0.50" for offer in near)


@pytest.mark.parametrize(("user", "what"), [("u11", {"item_id": "toys_4"}), ("u12", {"category_id": "toys"})])
def test_what_an_offer_of_the_request_is_about_goes_with_it(decider, user, what):
    """No catalogue knows these offers: what they are about stands in the logged decision."""
    asked = {"value": 1e4, "margin": 0.5, "attributes": what}

    def promoted(name):
        more = {"candidates": [{"offer_id": name, **asked}], "explain": {"level": "full"}}
        return decider.ask(user, policy={"respect_caps": False}, **more)

    before = promoted("promo_A")
    assert shown(before) == {"promo_A"}
    assert decider.feedback(before, "not_interested", "promo_A")["accepted"] == 1
    after = promoted("promo_B")
    assert after["offers"] == []
    assert after["filtered"][0]["rule"] == f"not_interested:{next(iter(what.values()))}"


def test_a_refused_offer_damps_its_items_and_their_category(interest):
    bundle = {"bundle": (("tea_1", "soap_2"), ())}
    factors = damped({"bundle"}, lambda what: bundle.get(what, ((), ())), interest)
    assert max(factors["tea_1"], factors["soap_2"]) <= 0.5
    assert max(factors["tea"], factors["soap"]) <= 0.8
    assert "books" not in factors


def test_a_cap_counts_the_decisions_just_made(decider):
    narrow = {"candidates": [{"offer_id": "c_tea"}], "context": {"channel": "app"}}
    user = next(u for u in (f"u{k}" for k in range(30)) if decider.ask(u, **narrow)["status"] == "decided")
    assert decider.ask(user, **narrow)["status"] == "decided"
    third = decider.ask(user, **narrow)
    assert third["status_reason"] == "CAPPED"
    assert third["filtered"][0]["stage"] == "cap"


def test_a_purchase_just_made_satisfies_the_need(decider):
    for user in (f"u{k}" for k in range(60)):
        before = all_of(decider, user)
        wanted = [offer for offer in before["offers"] if offer["offer_id"].startswith(("o_soap", "o_books"))]
        if wanted:
            break
    item = wanted[0]["offer_id"][2:]
    category = item.rpartition("_")[0]
    taken = decider.client.post("/v1/events", json={"events": [event(user, type="purchase", item_id=item)]})
    assert taken.json()["accepted"] == 1
    after = all_of(decider, user)
    assert not {offer for offer in shown(after) if category in offer}
    assert any(one["rule"].startswith(f"need_satisfied:{category}") for one in after["filtered"])
    assert after["user_state"]["last_events"][0] == f"purchase:{item}"


def test_an_order_told_as_feedback_is_a_purchase(decider):
    for user in (f"u{k}" for k in range(60)):
        before = all_of(decider, user)
        wanted = [offer["offer_id"] for offer in before["offers"] if offer["offer_id"].startswith("o_books")]
        if wanted:
            break
    assert decider.feedback(before, "order", wanted[0], value=10.0, currency="CNY")["accepted"] == 1
    assert not {offer for offer in shown(all_of(decider, user)) if "books" in offer}


def test_a_stranger_who_looks_at_things_is_no_stranger_any_more(decider):
    asked = {"user_ids": ["stranger"], "explain": {"lang": "en"}}
    before = decider.client.post("/v1/score/interest", json=asked).json()["users"][0]
    assert before["status_reason"] == "UNKNOWN_USER"
    looked = [event("stranger", item_id="toys_1", ts=f"2026-11-21T10:0{k}:00Z") for k in range(5)]
    assert decider.client.post("/v1/events", json={"events": looked}).json()["accepted"] == 5
    after = decider.client.post("/v1/score/interest", json=asked).json()["users"][0]
    assert after["status_reason"] is None
    assert not any(one["because"] for one in before["categories"] + before["items"])
    assert any(one["because"] and one["because"]["id"] == "toys_1" for one in after["categories"] + after["items"])


def test_one_bad_entry_is_named_and_the_others_are_taken(decider):
    answer = decider.ask("u1")
    own = {"decision_id": answer["decision_id"], "offer_id": answer["offers"][0]["offer_id"]}
    at = "2026-11-21T10:11:12Z"
    batch = [
        {"event_id": "a", **own, "type": "impression", "ts": at},
        {"event_id": "b", **own, "type": "impresion", "ts": at},
        {"event_id": "c", **own, "decision_id": "d_unknown", "type": "click", "ts": at},
        {"event_id": "d", **own, "offer_id": "o_never", "type": "click", "ts": at},
        {"event_id": "e", **own, "type": "click", "ts": "2027-11-21T10:11:12Z"},
        {"event_id": "f", **own, "type": "accept", "ts": at},
        {"event_id": "g", **own, "type": "reject", "ts": at},
        {"event_id": "a", **own, "type": "impression", "ts": at},
        {"type": 7},
    ]
    told = decider.client.post("/v1/feedback", json={"events": batch}).json()
    assert (told["accepted"], told["duplicates"]) == (2, 1)
    assert {(one["event_id"], one["error"]) for one in told["rejected"]} == {
        ("b", "INVALID_EVENT"),
        ("c", "UNKNOWN_DECISION"),
        ("d", "UNKNOWN_OFFER"),
        ("e", "FUTURE_TIMESTAMP"),
        ("g", "CONTRADICTORY"),
        (None, "INVALID_EVENT"),
    }
    wrong = next(one for one in told["rejected"] if one["event_id"] == "b")
    assert (wrong["index"], wrong["field"]) == (1, "events[1].type")
    assert "impression" in wrong["expected"]
    assert told["accepted"] + told["duplicates"] + len(told["rejected"]) == len(batch)


def test_a_key_makes_a_batch_idempotent(decider):
    answer = decider.ask("u1")
    entry = {"event_id": "k1", "decision_id": answer["decision_id"], "type": "click", "ts": "2026-11-21T10:11:12Z"}
    body = {"events": [{**entry, "offer_id": answer["offers"][0]["offer_id"]}]}
    key = {"idempotency-key": "batch-1"}
    first = decider.client.post("/v1/feedback", json=body, headers=key).json()
    again = decider.client.post("/v1/feedback", json=body, headers=key).json()
    assert first["accepted"] == again["accepted"] == 1
    assert decider.client.post("/v1/feedback", json=body).json()["duplicates"] == 1
    other = decider.client.post("/v1/feedback", json={"events": [{**body["events"][0], "event_id": "k2"}]}, headers=key)
    assert (other.status_code, other.json()["field"]) == (409, "Idempotency-Key")


def test_personalisation_off_is_off_everywhere(decider):
    url = "/v1/users/u4/personalization"
    told = decider.client.request("PUT", url, json={"personalization": "off"})
    assert told.json() == {"user_id": "u4", "personalization": "off", "at": "2026-11-21T10:11:12Z"}
    answer = decider.ask("u4")
    assert "PERSONALIZATION_OFF" in answer["notes"]
    assert answer["user_state"]["last_events"] == []
    interest = decider.client.post("/v1/score/interest", json={"user_ids": ["u4"]}).json()["users"][0]
    assert (interest["status_reason"], interest["categories"], interest["tags"]) == ("PERSONALIZATION_OFF", [], [])
    profile = decider.client.get("/v1/users/u4/profile").json()
    assert (profile["personalization"], profile["status_reason"]) == ("off", "PERSONALIZATION_OFF")
    assert profile["profile"] is None
    asked = {"user_ids": ["u5", "u4"]}
    known, withheld = decider.client.post("/v1/score/churn", json=asked).json()["users"]
    assert known["known"]
    assert (withheld["known"], withheld["status_reason"]) == (False, "PERSONALIZATION_OFF")
    assert {score["status_reason"] for score in withheld["scores"].values()} == {"PERSONALIZATION_OFF"}
    assert not any(score["reason_codes"] for score in withheld["scores"].values())
    decider.client.request("PUT", url, json={"personalization": "on"})
    assert "PERSONALIZATION_OFF" not in decider.ask("u4")["notes"]


def test_who_wants_no_personalisation_hears_nothing_of_their_own_past(decider):
    features = set()
    for level in ("reason_codes", "full"):
        asked = {"limit": 20, "explain": {"level": level, "top_n": 20, "lang": "en"}}
        answer = decider.ask("u13", personalization="off", **asked)
        features |= {reason["feature"] for offer in answer["offers"] for reason in offer["reason_codes"]}
    assert answer["offers"]
    assert not {name for name in features if name is None or name.startswith(("own_", "user_", "category_", "view_"))}
    told = [reason["text"] for offer in answer["offers"] for reason in offer["reason_codes"]]
    assert not [text for text in told if "never bought" in text or "no order" in text]


def test_consent_opens_a_channel_that_needs_it(decider):
    asked = {"context": {"channel": "sms"}}
    assert decider.ask("u7", **asked)["status_reason"] == "NO_CONSENT"
    told = decider.client.request("PUT", "/v1/users/u7/consents/sms", json={"consent": "given"}).json()
    assert told == {"user_id": "u7", "purpose": "sms", "consent": "given", "at": "2026-11-21T10:11:12Z"}
    assert decider.ask("u7", **asked)["status_reason"] != "NO_CONSENT"
    decider.client.request("PUT", "/v1/users/u7/consents/sms", json={"consent": "withdrawn"})
    assert decider.ask("u7", **asked)["status_reason"] == "NO_CONSENT"


def test_a_deleted_tag_stays_away(decider):
    for user in (f"u{k}" for k in range(40)):
        before = decider.client.post("/v1/score/interest", json={"user_ids": [user]}).json()["users"][0]
        if before["tags"]:
            break
    tag = before["tags"][0]
    assert tag["tag"] == f"interest:{tag['category_id']}"
    assert 75 <= tag["percentile"] <= 100
    assert tag["valid_until"] > "2026-11-21"
    told = decider.client.request("DELETE", f"/v1/users/{user}/tags/{tag['tag']}")
    assert told.status_code == 200
    after = decider.client.post("/v1/score/interest", json={"user_ids": [user]}).json()["users"][0]
    assert tag["tag"] not in {one["tag"] for one in after["tags"]}
    named = {one["because"]["id"] for one in after["categories"] + after["items"] if one["because"]}
    assert not {name for name in named if name.startswith(tag["category_id"])}
    profile = decider.client.get(f"/v1/users/{user}/profile").json()
    assert tag["tag"] not in {one["tag"] for one in profile["tags"]}


@pytest.mark.parametrize("tag", ["nonsense", "interest:", "interest:never_sold", "tea"])
def test_a_tag_that_nobody_can_have_is_a_404(decider, tag):
    told = decider.client.request("DELETE", f"/v1/users/u1/tags/{tag}")
    assert (told.status_code, told.json()["field"]) == (404, "tag")
    assert "interest:<category_id>" in told.json()["expected"]


def test_a_consent_for_nothing_is_a_422_that_says_for_what(decider):
    told = decider.client.request("PUT", "/v1/users/u1/consents/pigeon", json={"consent": "given"})
    assert (told.status_code, told.json()["field"]) == (422, "purpose")
    assert {"app", "sms"} <= set(told.json()["expected"])


def test_a_deleted_category_is_not_among_the_top_ones():
    profile = {"top_categories": [{"category_id": "tea", "share": 0.6}, {"category_id": "soap", "share": 0.4}]}
    state = UserState("u1", deleted_tags=frozenset({"interest:tea"}))
    assert granted(profile, state) == {"top_categories": [{"category_id": "soap", "share": 0.4}]}
    assert granted(profile, replace(state, personalization=False)) is None


def test_other_refusals_say_what_would_do(decider):
    card = decider.client.get("/v1/models/nope/card")
    assert (card.status_code, "interest" in card.json()["expected"]) == (404, True)
    profile = decider.client.get("/v1/users/never_seen/profile?strict=true")
    assert (profile.status_code, profile.json()["field"]) == (404, "user_id")


@pytest.mark.parametrize("verb", ["replay", "explain"])
def test_no_body_asks_what_an_empty_object_asks(decider, verb):
    url = f"/v1/decisions/{decider.ask('u1')['decision_id']}:{verb}"
    plain, empty = decider.client.post(url), decider.client.post(url, json={})
    assert plain.status_code == empty.status_code == 200
    assert plain.json()["decision_id"] == empty.json()["decision_id"]


@pytest.mark.parametrize("kind", ["feedback", "events"])
@pytest.mark.parametrize(
    "body", [b"{}", b'{"events": []}', b'{"events": {}}', b"[]", b'{"events": [[]], "x": 1}', b"{"]
)
def test_a_batch_that_is_none_is_a_400(decider, kind, body):
    answer = decider.client.post(f"/v1/{kind}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["detail"]


AT = "2026-11-21T10:11:12Z"


@pytest.mark.parametrize("kind", ["feedback", "events"])
def test_what_is_no_object_is_one_rejected_entry(decider, kind):
    own = {"event_id": f"object-{kind}", "ts": AT}
    answer = decider.ask("u9")
    shown_there = {"decision_id": answer["decision_id"], "offer_id": answer["offers"][0]["offer_id"], "type": "click"}
    good = {**own, **shown_there} if kind == "feedback" else {**own, "user_id": "u9", "type": "visit"}
    told = decider.client.post(f"/v1/{kind}", json={"events": [None, good, 7, []]}).json()
    assert told["accepted"] == 1
    assert [(one["index"], one["error"], one["field"], one["expected"]) for one in told["rejected"]] == [
        (index, "INVALID_EVENT", f"events[{index}]", "an object") for index in (0, 2, 3)
    ]


def test_every_rejected_entry_names_its_field_in_the_order_of_the_batch(decider):
    answer = decider.ask("u9")
    own = {"decision_id": answer["decision_id"], "offer_id": answer["offers"][0]["offer_id"], "type": "click", "ts": AT}
    batch = [
        {**own, "event_id": "n0", "ts": "2027-11-21T10:11:12Z"},
        {**own, "event_id": "n1", "offer_id": "o_never"},
        {**own, "event_id": "n2", "type": "clicked"},
        {**own, "event_id": "n3", "decision_id": "d_never"},
        {**own, "event_id": "n4", "ts": "2025-11-21T10:11:12Z"},
        {**own, "event_id": "n5", "type": "return"},
        {**own, "event_id": "n6"},
        {**own, "event_id": "n6", "type": "like"},
        {**own, "event_id": "n8", "attributes": {"weather": {"a": 1}}},
    ]
    told = decider.client.post("/v1/feedback", json={"events": batch}).json()
    assert told["accepted"] == 1
    assert [(one["index"], one["error"], one["field"]) for one in told["rejected"]] == [
        (0, "FUTURE_TIMESTAMP", "events[0].ts"),
        (1, "UNKNOWN_OFFER", "events[1].offer_id"),
        (2, "INVALID_EVENT", "events[2].type"),
        (3, "UNKNOWN_DECISION", "events[3].decision_id"),
        (4, "BEFORE_DECISION", "events[4].ts"),
        (5, "CONTRADICTORY", "events[5].type"),
        (7, "CONFLICTING_EVENT", "events[7].event_id"),
        (8, "INVALID_EVENT", "events[8].attributes.weather"),
    ]
    assert told["rejected"][0]["expected"] == "at most now + 60 s"
    assert own["offer_id"] in told["rejected"][1]["expected"]
    assert all(one["expected"] for one in told["rejected"])


def test_every_rejected_live_event_names_its_field(decider):
    batch = [
        event("u9", event_id="m0", ts="2027-01-01T00:00:00Z"),
        event("u9", event_id="m1", type="viewed"),
        event("u9", event_id="m2", ts="1969-01-01T00:00:00Z"),
        event("u9", event_id="m3"),
        event("u9", event_id="m3", item_id="tea_1"),
    ]
    told = decider.client.post("/v1/events", json={"events": batch}).json()
    assert [(one["index"], one["error"], one["field"]) for one in told["rejected"]] == [
        (0, "FUTURE_TIMESTAMP", "events[0].ts"),
        (1, "INVALID_EVENT", "events[1].type"),
        (2, "BEFORE_1970", "events[2].ts"),
        (4, "CONFLICTING_EVENT", "events[4].event_id"),
    ]


@pytest.mark.parametrize("kind", ["feedback", "events"])
def test_too_large_a_batch_is_a_413(decider, kind):
    answer = decider.client.post(f"/v1/{kind}", json={"events": [{}] * 501})
    assert (answer.status_code, answer.json()["field"]) == (413, "events")
