"""``POST /v1/next-best-offer``: every field of the contract, from real models, rules, store and log."""

from __future__ import annotations


def test_it_decides(decider):
    answer = decider.ask(limit=3, explain={"level": "full", "lang": "en"})
    import json

    print(json.dumps(answer, indent=1)[:6000])
    assert answer["status"] == "decided"
