"""serving/README.md shows what the service really takes and answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "serving" / "README.md").read_text(encoding="utf-8")


def block(kind):
    return json.loads(re.search(rf"```json {kind}\n(.*?)```", TEXT, re.DOTALL)[1])


def shape(value):
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def test_the_documented_answer_is_the_answer(served):
    documented, asked = block("response"), block("request")
    asked["user_ids"] = [f"u{i}" for i in range(40)]
    answer = served.client.post("/v1/score/repurchase", json=asked).json()
    head = next(iter(documented["users"][0]["scores"]))
    # One like the documented: scored, and expected back.
    user = next(u for u in answer["users"] if u["scores"][head]["p"] and u["expected_next_order"]["high_at"])
    answer["users"] = [{**user, "scores": {head: user["scores"][head]}}]
    assert shape(documented) == shape(answer)


def test_the_documented_value_is_the_answer(served):
    documented = block("value-response")
    answer = served.score("value", [f"u{i}" for i in range(40)], explain={"top_n": 1})
    head = next(iter(documented["users"][0]["scores"]))
    user = next(u for u in answer["users"] if u["value_tier"])
    answer["users"] = [{**user, "scores": {head: user["scores"][head]}}]
    parts = [reason["part"] for reason in user["scores"][head]["reason_codes"]]
    assert parts == [reason["part"] for reason in documented["users"][0]["scores"][head]["reason_codes"]]
    assert shape(documented) == shape(answer)


def test_the_documented_defaults_are_the_defaults(served):
    asked = block("request")
    short = served.client.post("/v1/score/repurchase", json={"user_ids": asked["user_ids"], "request_id": "r-17"})
    whole = served.client.post("/v1/score/repurchase", json=asked)
    assert short.json() | {"timing_ms": None} == whole.json() | {"timing_ms": None}


@pytest.mark.parametrize("path", re.findall(r"`(?:GET )?(/(?:livez|readyz|metrics|docs\.json|v1/models))`", TEXT))
def test_the_documented_addresses_answer(served, path):
    assert served.client.get(path).status_code == 200


def test_the_documented_error_is_the_error(served):
    documented = json.loads(re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)[1])
    answer = served.client.post("/v1/score/churn", json={"user_ids": ["u1", 7], "request_id": "r-9"})
    assert answer.json() == documented
