"""The answers of the service: what is asked is answered, from the released model and the published vectors."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import TypeAdapter

from features.catalog import NAMES
from serving.schemas import Card, Models, ScoreResponse
from serving.schemas_profile import Profile
from serving.scoring import Model

KNOWN = [f"u{i}" for i in range(50)]


@pytest.fixture(scope="module")
def churn(catalogue_models):
    return Model.load(catalogue_models["churn"])


@pytest.fixture(scope="module")
def orders(catalogue_models):
    return Model.load(catalogue_models["repurchase"])


@pytest.mark.parametrize("name", ["churn", "repurchase"])
@pytest.mark.parametrize("level", ["none", "reason_codes", "full"])
def test_the_answer_has_the_shape_of_its_schema(served, name, level):
    answer = served.score(name, [*KNOWN, "nobody"], explain={"level": level})
    ScoreResponse.model_validate(answer)
    assert [user["user_id"] for user in answer["users"]] == [*KNOWN, "nobody"]


def test_scores_are_the_models_own(served, churn):
    answer = served.score("churn", KNOWN)
    for head in churn.heads:
        raw = churn.raw(served.published.values, head)
        p, percentile = churn.probability(served.published.values, head), churn.percentile(raw, head)
        inside = churn.in_cohort(served.published.values, head)
        assert inside.any()
        assert not inside.all()
        for row, user in enumerate(answer["users"]):
            score = user["scores"][head]
            assert score["head"] == head
            if inside[row]:
                assert score["p"] == p[row]
                assert score["p_calibrated"] is True
                assert score["percentile"] == pytest.approx(percentile[row], abs=0.006)
                assert score["status_reason"] is None
            else:
                assert score["p"] is None
                assert score["status_reason"] == "OUT_OF_COHORT"
                assert score["cohort"] == {"name": "active", "meaning": "近90天有活动"}
                assert score["reason_codes"] == []


def test_churn_does_not_rise_with_the_horizon(served):
    for user in served.score("churn", KNOWN)["users"]:
        p = [user["scores"][f"p_inactive_{days}d"]["p"] for days in (14, 30, 60)]
        assert p == [None] * 3 or p == sorted(p, reverse=True)


def test_reasons_are_the_strongest_contributions_and_add_up(served, churn):
    answer = served.score("churn", KNOWN, explain={"level": "full", "top_n": 4, "lang": "en"})
    phi, base = churn.contributions(served.published.values, "p_inactive_30d")
    told = 0
    for row, user in enumerate(answer["users"]):
        score = user["scores"]["p_inactive_30d"]
        if score["p"] is None:
            continue
        reasons, explanation = score["reason_codes"], score["explanation"]
        told += len(reasons)
        strongest = np.sort(np.abs(phi[row]))[::-1]
        sizes = [abs(reason["contribution"]) for reason in reasons]
        assert sizes == strongest[: len(sizes)].tolist()
        assert len(sizes) == min(4, int((strongest > 0).sum()))
        for reason in reasons:
            column = NAMES.index(reason["feature"])
            assert reason["contribution"] == phi[row, column]
            assert reason["direction"] == ("+" if phi[row, column] > 0 else "-")
            value = served.published.values[row, column]
            assert reason["value"] == (None if np.isnan(value) else value)
            assert reason["unit"] == "log_odds"
            assert reason["text"].isascii()
        everything = explanation["contributions"]
        assert sorted(one["feature"] for one in everything) == sorted(NAMES)
        total = explanation["base_value"] + sum(one["contribution"] for one in everything)
        assert total == pytest.approx(explanation["raw_score"], abs=1e-9)
        assert abs(explanation["additivity_residual"]) < 1e-9
        assert explanation["base_value"] == base[row]
    assert told > 50


@pytest.mark.parametrize(("top_n", "level", "most"), [(1, "reason_codes", 1), (20, "reason_codes", 20), (3, "none", 0)])
def test_only_so_many_reasons_as_asked(served, top_n, level, most):
    users = served.score("churn", KNOWN, explain={"level": level, "top_n": top_n})["users"]
    counts = [len(score["reason_codes"]) for user in users for score in user["scores"].values()]
    assert max(counts) <= most
    assert (max(counts) > 0) == (most > 0)
    if level == "none":
        assert all(score["explanation"] is None for user in users for score in user["scores"].values())


def test_texts_speak_the_language_asked(served):
    answers = {lang: served.score("churn", KNOWN, explain={"lang": lang}) for lang in ("zh", "en")}
    for lang, answer in answers.items():
        texts = [r["text"] for u in answer["users"] for s in u["scores"].values() for r in s["reason_codes"]]
        assert texts
        assert all(text.isascii() == (lang == "en") for text in texts)


def test_the_model_block_names_the_release(served, churn):
    answer = served.score("churn", ["u1"])
    assert answer["model"] == {
        "name": "churn",
        "version": "3",
        "run_id": "run3",
        "alias": "champion",
        "digest": churn.digest,
        "maturity": "mature",
        "calibrator": "sigmoid@3",
        "release_id": (served.home / "releases" / "current").readlink().name,
    }


def test_ages_are_told_and_old_features_named(served):
    answer = served.score("churn", ["u1", "u41", "nobody", "u42"])
    features = answer["features"]
    assert features["as_of"] == "2026-11-18T00:00:00Z"
    assert features["max_age_s"] == 3 * 86_400 + 10 * 3_600 + 11 * 60 + 12
    assert features["stale"] == ["u41", "u42"]
    fresh, old, nobody, _ = answer["users"]
    assert (fresh["as_of"], fresh["age_s"], fresh["stale"]) == ("2026-11-21T09:58:02Z", 790, False)
    assert (old["as_of"], old["age_s"], old["stale"]) == ("2026-11-18T00:00:00Z", features["max_age_s"], True)
    assert (nobody["as_of"], nobody["age_s"], nobody["stale"]) == (None, None, False)
    everybody_old = served.score("churn", [f"u{i}" for i in range(40, 50)])["users"]
    assert any(score["p"] is not None for user in everybody_old for score in user["scores"].values())


def test_the_vector_hash_is_the_one_of_the_published_rows(served):
    rows = served.published.values[[3, 1]]
    expected = hashlib.sha256(np.where(np.isnan(rows), np.nan, rows).astype("<f8").tobytes()).hexdigest()
    assert served.score("churn", ["u3", "u1"])["features"]["vector_hash"] == f"sha256:{expected}"


@pytest.mark.parametrize("name", ["churn", "repurchase"])
def test_an_unknown_user_gets_the_cold_start_answer_and_is_told_so(served, name, catalogue_models):
    user = served.score(name, ["nobody"])["users"][0]
    assert (user["known"], user["status_reason"]) == (False, "UNKNOWN_USER")
    base_rates = Model.load(catalogue_models[name]).cold_start
    assert {head: score["p"] for head, score in user["scores"].items()} == base_rates
    for score in user["scores"].values():
        assert (score["reason_codes"], score["percentile"], score["explanation"]) == ([], None, None)
        assert score["status_reason"] == "UNKNOWN_USER"


def test_strict_refuses_unknown_users_by_name(served):
    body = {"user_ids": ["u1", "nobody", "nobody2"], "strict": True, "request_id": "r-1"}
    answer = served.client.post("/v1/score/churn", json=body)
    assert answer.status_code == 404
    problem = answer.json()
    assert "'nobody', 'nobody2'" in problem["detail"]
    assert (problem["field"], problem["request_id"]) == ("user_ids[1]", "r-1")
    assert served.client.post("/v1/score/churn", json={"user_ids": ["u1"], "strict": True}).status_code == 200


def test_everybody_is_in_the_cohort_of_their_own_first_or_next_order(served):
    for user in served.score("repurchase", KNOWN)["users"]:
        reasons = {head: score["status_reason"] for head, score in user["scores"].items()}
        bought = served.published.values[int(user["user_id"][1:]), NAMES.index("days_since_last_purchase")]
        out = ["p_repurchase_30d", "p_repurchase_90d"] if np.isnan(bought) else ["p_first_order_30d"]
        assert sorted(head for head, reason in reasons.items() if reason == "OUT_OF_COHORT") == sorted(out)


def test_the_next_order_is_expected_within_its_interval(served, orders):
    waits = orders.next_order(served.published.values)
    seen = set()
    for row, user in enumerate(served.score("repurchase", [*KNOWN, "nobody"], explain={"lang": "en"})["users"]):
        interval, median = user["expected_next_order"], user["expected_next_order_at"]
        assert interval["level"] == 0.8
        assert interval["horizon_days"] == 180
        seen.add(interval["status_reason"])
        if interval["status_reason"] == "OUT_OF_COHORT":
            assert (interval["text"], median) == ("bought at least once", None)
        elif interval["status_reason"] == "UNKNOWN_USER":
            assert median is None
        elif interval["status_reason"] == "BEYOND_HORIZON":
            assert np.isnan(waits[row, 1])
            assert (interval["text"], median) == ("less likely than not to order within 180 days", None)
        else:
            as_of = datetime.fromisoformat(user["as_of"])
            expected = as_of + timedelta(days=waits[row, 1])
            assert abs(datetime.fromisoformat(median) - expected) < timedelta(seconds=1)
            assert interval["low_at"] <= median
            assert (interval["high_at"] is None) == np.isnan(waits[row, 2])
    assert seen >= {None, "OUT_OF_COHORT", "UNKNOWN_USER"}


def test_churn_knows_no_next_order(served):
    user = served.score("churn", ["u1"])["users"][0]
    assert "expected_next_order_at" not in user


def test_a_user_asked_twice_is_answered_twice(served):
    first, second = served.score("churn", ["u1", "u1"])["users"]
    assert first == second


def test_one_call_takes_as_many_users_as_configured(served):
    many = [f"u{i % 60}" for i in range(500)]
    answer = served.score("churn", many, explain={"level": "none"})
    assert [user["user_id"] for user in answer["users"]] == many
    alone = served.score("churn", ["u7"], explain={"level": "none"})
    assert answer["users"][7] == alone["users"][0]


def test_the_request_id_is_echoed_or_made_up(served):
    assert served.score("churn", ["u1"], request_id="r-17")["request_id"] == "r-17"
    made = {served.score("churn", ["u1"])["request_id"] for _ in range(2)}
    assert len(made) == 2


def test_as_of_neither_before_the_features_nor_in_the_future(served):
    at = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
    answer = served.score("churn", ["u1"], as_of=at.isoformat())
    assert answer["users"][0]["age_s"] == 118
    for wrong in ("2026-11-21T09:58:01Z", "2026-11-21T10:11:13Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        refused = served.client.post("/v1/score/churn", json={"user_ids": ["u1"], "as_of": wrong})
        assert refused.status_code == 422, wrong
        assert refused.json()["field"] == "as_of"
    naive = served.client.post("/v1/score/churn", json={"user_ids": ["u1"], "as_of": "2026-11-21T10:00:00"})
    assert naive.status_code == 400


def test_timing_tells_the_stages(served):
    timing = served.score("churn", ["u1"])["timing_ms"]
    assert sorted(timing) == ["explain", "features", "score", "total"]
    assert timing["features"] + timing["score"] + timing["explain"] <= timing["total"] + 0.01


def test_profile(served):
    answer = served.client.get("/v1/users/u1/profile", params={"lang": "en", "top_n": 2}).json()
    TypeAdapter(Profile).validate_python(answer)
    assert answer["known"] is True
    assert answer["profile"]["lifecycle_state"] == "at_risk"
    scored = served.score("churn", ["u1"], explain={"lang": "en", "top_n": 2})
    assert answer["scores"]["churn"]["scores"] == scored["users"][0]["scores"]
    assert "expected_next_order_at" in answer["scores"]["repurchase"]
    assert answer["features"]["vector_hash"] == scored["features"]["vector_hash"]


def test_profile_of_an_unknown_user(served):
    answer = served.client.get("/v1/users/no%2Fbody/profile").json()
    assert (answer["user_id"], answer["known"], answer["profile"]) == ("no/body", False, None)
    assert served.client.get("/v1/users/nobody/profile", params={"strict": "true"}).status_code == 404


def test_models_and_cards(served, churn):
    listed = served.client.get("/v1/models").json()
    Models.model_validate(listed)
    assert [model["name"] for model in listed["models"]] == ["churn", "repurchase", "value"]
    assert listed["models"][0]["heads"] == list(churn.heads)
    card = served.client.get("/v1/models/churn/card").json()
    Card.model_validate(card)
    assert card["card"]["metrics"]["auroc"] == {"value": 0.8, "low": 0.78, "high": 0.82}
    assert "raw_percentiles" not in card["card"]["heads"]["p_inactive_30d"]
    assert card["release"] == listed["release"]


def test_metrics_count_users_and_name_none_of_them(served):
    def counted() -> float:
        text = served.client.get("/metrics").text
        assert "u17" not in text
        lines = [line for line in text.splitlines() if line.startswith("userops_scored_users_total")]
        return sum(float(line.split()[-1]) for line in lines if 'model="churn",outcome="known"' in line)

    before = counted()
    served.client.get("/v1/users/u17/profile")
    served.score("churn", ["u17", "u18", "nobody"])
    assert counted() == before + 2
    text = served.client.get("/metrics").text
    assert 'route="/v1/users/{id}/profile",status="200"' in text
    assert 'stage="explain"' in text


def test_health(served):
    assert served.client.get("/livez").status_code == 200
    assert served.client.get("/readyz").status_code == 200
