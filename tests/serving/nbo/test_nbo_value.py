"""Value tiers decide: an offer for the core reaches the core, and only while its person lets us know them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from serving import service

NOW = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
OFFERS = [
    {"offer_id": "for_core", "items": ["tea_0"], "value": 20.0, "margin": 0.4, "value_tiers": ["core"]},
    {"offer_id": "for_spenders", "items": ["tea_1"], "value": 20.0, "when": "user.scores.spend_365d > 0.0"},
    {"offer_id": "for_all", "items": ["tea_2"], "value": 20.0, "margin": 0.4},
    {"offer_id": "popular", "fallback": "popular_in_shop", "name": "What everybody likes"},
]
USERS = [f"u{number}" for number in range(12)]


@pytest.fixture(scope="module")
def client(nbo_home, in_process):
    home = nbo_home(listed=OFFERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "CONFIG", dataclasses.replace(service.CONFIG, home=home, now=NOW))
        with in_process(service.UserOps.to_asgi()) as client:
            yield client


def ask(client, user, **more):
    body = {"user_id": user, "limit": 5, "explain": {"level": "full"}, **more}
    answer = client.post("/v1/next-best-offer", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def why_not(answer, offer):
    return next((one["rule"] for one in answer["filtered"] if one["offer_id"] == offer), "")


@pytest.fixture(scope="module")
def scored(client):
    answer = client.post("/v1/score/value", json={"user_ids": USERS, "explain": {"level": "none"}})
    return {user["user_id"]: user for user in answer.json()["users"]}


def test_the_decision_knows_the_tier_that_the_score_says(client, scored):
    for user in USERS:
        answer, tier = ask(client, user), scored[user]["value_tier"]
        assert answer["user_state"]["value_tier"] == tier
        assert (why_not(answer, "for_core") == f"value_tier={tier or 'unknown'}") == (tier != "core")
    assert {"core", "potential", None} <= {user["value_tier"] for user in scored.values()}


def test_expected_spend_is_a_fact_for_rules(client, scored):
    for user in USERS:
        failed = why_not(ask(client, user), "for_spenders").startswith("when")
        assert failed == (scored[user]["scores"]["spend_365d"]["expected"] is None)


def test_without_personalization_the_tier_is_unknown(client, scored):
    core = next(user for user in USERS if scored[user]["value_tier"] == "core")
    answer = ask(client, core, personalization="off")
    assert answer["user_state"]["value_tier"] is None
    assert why_not(answer, "for_core") == "value_tier=unknown"


def test_a_decision_by_tier_is_decided_again_to_the_bit(client):
    for user in USERS[:3]:
        decision = ask(client, user)["decision_id"]
        again = client.post(f"/v1/decisions/{decision}:replay", json={}).json()
        assert again["identical"], again["differences"]
