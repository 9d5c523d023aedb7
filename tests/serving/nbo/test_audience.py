"""``POST /v1/audiences:build``: everybody published is scored, and wishes are kept."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq
import pytest

from configs.history import code
from serving.decision.result import Target
from serving.nbo.many import score_many
from serving.nbo.scorer import InterestScorer
from serving.schemas_decision import AudienceResponse
from serving.scoring import Model

AT_US = 1_795_255_872_000_000


def build(decider, **asked):
    answer = decider.client.post("/v1/audiences:build", json=asked)
    assert answer.status_code == 200, answer.text
    AudienceResponse.model_validate(answer.json())
    return answer.json()


@pytest.mark.parametrize(
    "target", [Target(("tea_1",), ()), Target(("tea_1", "soap_2", "never"), ()), Target(("tea_1",), ("books", "fruit"))]
)
def test_many_are_scored_as_one(interest, shop, target):
    histories = shop.at(AT_US)
    p, percentile = score_many(interest, target.item_ids, target.category_ids, histories, AT_US)
    one = [InterestScorer(interest, history, AT_US)([target])[0].p for history in histories]
    assert p == pytest.approx(one, abs=1e-12)
    assert ((percentile >= 0) & (percentile <= 100)).all()


def test_the_likeliest_buyers_come_first_with_reasons(decider, interest, shop):
    answer = build(decider, category="books", top_k=20, lang="en")
    histories = shop.at(AT_US)
    p = np.array([interest.score_categories(one, AT_US, np.array([code("books")])).p[0] for one in histories])
    assert answer["users_scored"] == len(histories)
    assert [row["p"] for row in answer["rows"]] == pytest.approx(np.sort(p)[::-1][:20].tolist(), abs=1e-12)
    assert [row["rank"] for row in answer["rows"]] == list(range(1, 21))
    assert all(row["reasons"] for row in answer["rows"])


def test_a_threshold_and_a_parquet_file(decider):
    rows = build(decider, item="tea_1", threshold=0.05)["rows"]
    assert rows
    assert min(row["p"] for row in rows) >= 0.05
    asked = {"item": "tea_1", "threshold": 0.05, "format": "parquet"}
    answer = decider.client.post("/v1/audiences:build", json=asked)
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(io.BytesIO(answer.content)).to_pylist() == rows


def test_nobody_is_reached_who_does_not_wish_it(decider, nbo_log):
    first, second, third, *_ = [row["user_id"] for row in build(decider, category="tea", top_k=10)["rows"]]
    nbo_log.set_personalization(first, False, AT_US - 2)
    nbo_log.delete_tag(second, "interest:tea", AT_US - 2)
    nbo_log.set_opted_out(third, None, True, AT_US - 2)
    after = {row["user_id"] for row in build(decider, channel="tea", top_k=200)["rows"]}
    assert not after & {first, second, third}
    assert second in {row["user_id"] for row in build(decider, category="soap", top_k=220)["rows"]}


def test_who_will_fall_silent(decider, catalogue_models, published):
    answer = build(decider, goal="churn", top_k=15, lang="en")
    assert answer["target"] == {"head": "p_inactive_30d"}
    p = [row["p"] for row in answer["rows"]]
    assert p == sorted(p, reverse=True)
    assert 0 < answer["users_scored"] < 220  # the others are not in the cohort
    user = answer["rows"][0]
    score = decider.client.post("/v1/score/churn", json={"user_ids": [user["user_id"]], "explain": {"lang": "en"}})
    told = score.json()["users"][0]["scores"]["p_inactive_30d"]
    assert told["p"] == pytest.approx(user["p"], abs=1e-12)
    assert user["reasons"] == [reason["text"] for reason in told["reason_codes"]]
    assert "p_inactive_30d" in Model.load(catalogue_models["churn"]).heads


@pytest.mark.parametrize(
    ("asked", "status", "field"),
    [
        ({"top_k": 5}, 400, "category"),
        ({"category": "tea", "item": "tea_1", "top_k": 5}, 400, "category"),
        ({"category": "tea"}, 400, "top_k"),
        ({"category": "nothing", "top_k": 5}, 422, "category"),
        ({"item": "nothing", "top_k": 5}, 422, "item"),
        ({"offer": "popular", "top_k": 5}, 422, "offer"),
        ({"item": "tea_1", "store": "elsewhere", "top_k": 5}, 422, "store"),
        ({"item": "toys_1", "store": "s1", "top_k": 5}, 422, "store"),
        ({"item": "tea_1", "store": "s1", "top_k": 5}, 422, "store"),
        ({"goal": "churn", "head": "p_nothing", "top_k": 5}, 422, "head"),
        ({"goal": "value", "top_k": 5}, 400, "goal"),
    ],
)
def test_what_cannot_be_reached_is_refused(decider, asked, status, field):
    answer = decider.client.post("/v1/audiences:build", json=asked)
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text
