"""A decision taken apart is the decision that was made: every bid, every drop, every factor, to the last bit."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import service
from serving.nbo.anatomy import names_of, steps, take_apart

FLOATS = st.floats(0.0, 1e6, allow_nan=False)


@pytest.fixture(scope="module")
def apart(decider):
    """Asks for a decision and takes it apart."""

    def make(user_id="u1", **body):
        answer = decider.ask(user_id, **body)
        live = service._rest.state.live
        row = live.records.row(answer["decision_id"])
        release = live.records.release_of(row)
        return answer, row, take_apart(row, release, release.rules)

    return make


@pytest.mark.parametrize("number", range(12))
def test_bids_are_the_recorded_candidates(apart, number):
    objective = ("expected_value", "conversion", "sell_through")[number % 3]
    mode = ("epsilon", "softmax")[number % 2]
    answer, row, parts = apart(
        f"u{number}", limit=1 + number % 5, objective=objective, policy={"exploration": {"mode": mode, "epsilon": 0.1}}
    )
    assert parts.agrees
    assert [(bid.offer.offer_id, bid.p[0], bid.priority) for bid in parts.bids] == list(row.candidates)
    assert [one.offer_id for one in parts.decision.chosen] == [one["offer_id"] for one in answer["offers"]]
    assert {(stage, rule): n for stage, rule, n in parts.decision.dropped_counts} == {
        (one["stage"], one["rule"]): one["count"] for one in answer["filtered"]
    }
    for bid in parts.bids:
        parts_of = {"propensity": bid.own_p, "context_weight": bid.weight, "value": bid.value, "lever": bid.lever}
        assert steps(parts_of, parts.run.how.alpha)[-1].product == bid.priority


def test_every_drop_is_named_though_the_answer_only_counted(apart):
    answer, _, parts = apart("u3", limit=2)
    assert all(one["offer_id"] is None for one in answer["filtered"])
    assert len(parts.decision.dropped) == sum(one["count"] for one in answer["filtered"])


def test_nothing_was_scored_where_nobody_may_be_addressed(apart):
    _, row, parts = apart("u1", context={"channel": "sms"})
    assert row.status == "suppressed"
    assert parts.bids == ()
    assert parts.agrees
    assert {one.rule for one in parts.decision.dropped} == {"no_consent:sms"}


def test_a_changed_record_does_not_agree(apart):
    _, row, parts = apart("u1")
    inputs = json.loads(row.inputs)
    inputs["at_us"] += 40 * 86_400_000_000
    later = dataclasses.replace(row, inputs=json.dumps(inputs).encode())
    assert not take_apart(later, parts.release, parts.rules).agrees


def test_offers_have_the_names_that_people_gave_them(apart):
    assert names_of(apart("u1")[2].release) == {"popular": "What everybody likes"}


@given(FLOATS, FLOATS, FLOATS, FLOATS, st.floats(0.0, 10.0))
def test_the_last_product_is_what_arbitration_multiplies(p, weight, value, lever, alpha):
    components = {"propensity": p / 1e6, "context_weight": weight, "value": value, "lever": lever}
    assert steps(components, alpha)[-1].product == (p / 1e6) ** alpha * weight * value * lever
