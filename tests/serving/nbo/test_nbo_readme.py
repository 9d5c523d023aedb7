"""serving/README.md shows what the next best offer really takes and answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

TEXT = (Path(__file__).parents[3] / "serving" / "README.md").read_text(encoding="utf-8")


def block(kind):
    return json.loads(re.search(rf"```json {kind}\n(.*?)```", TEXT, re.DOTALL)[1])


def shape(value, keep=("churn",)):
    if isinstance(value, dict):
        return {key: sorted(inner) if key in keep else shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_the_documented_answer_is_the_answer(decider):
    documented, asked = block("nbo-response"), block("nbo-request")
    for user in range(3, 60, 2):
        answer = decider.post(**(asked | {"user_id": f"u{user}", "request_id": f"doc{user}"})).json()
        state = answer["user_state"]
        if answer["offers"] and answer["filtered"] and state["p_repurchase_90d"] and not answer["notes"]:
            break
    offers, last = answer["offers"], documented["offers"][0]["reason_codes"]
    assert next(shape(one) for one in last) == shape(offers[0]["reason_codes"][0])
    told = {shape(one)["feature"]: shape(one) for offer in offers for one in offer["reason_codes"]}
    assert shape(last[-1]) == told.get("NoneType", shape(last[-1]))
    assert shape(documented) == shape(answer)


def test_the_documented_defaults_are_the_defaults(decider):
    asked = block("nbo-request")
    short = {key: asked[key] for key in ("user_id", "context", "candidate_source")}
    whole = decider.post(**(asked | {"request_id": "same"}))
    again = decider.post(**(short | {"request_id": "same"}))
    assert whole.status_code == 200
    assert again.content == whole.content
