"""Conditions that people write: whatever they write, nothing is run but CEL, and a decision never ends by one."""

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decision.expression import FIELDS, Expression, Facts, check_expression

WORDS = st.sampled_from(
    [
        *(f"{owner}.{name}" for owner, names in FIELDS.items() for name in names),
        *("user.tags['x']", "context.attributes.weather", "has(user.scores.p)", "user.scores.p", "item.price"),
        *("1", "0.5", "'x'", "true", "null", "[1, 2]", "{'a': 1}", "size(user.tags)", "9223372036854775807"),
    ]
)
OPERATORS = st.sampled_from([" && ", " || ", " == ", " != ", " < ", " + ", " / ", " in ", " ? 1 : ", "."])
TEXTS = st.lists(st.tuples(WORDS, OPERATORS), min_size=1, max_size=4).map(
    lambda pairs: "".join(word + operator for word, operator in pairs[:-1]) + pairs[-1][0]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def facts(user=None, context=None, *texts):
    reads = frozenset(read for text in texts for read in Expression.of(text).reads)
    return Facts(user or {}, context or {}, reads)


@given(TEXTS | st.text(max_size=60))
def test_any_text_is_either_refused_in_one_line_or_gives_an_answer(text):
    problem = check_expression(text)
    if problem is not None:
        assert problem
        assert "\n" not in problem
        return
    refusal = Expression.of(text).refusal(cel.Context({"user": {}, "context": {}, "offer": {}, "item": {}}))
    assert refusal is None or refusal.startswith(("when:", "when_failed:"))


@given(TEXTS, st.dictionaries(st.sampled_from(FIELDS["user"]), VALUES), st.dictionaries(st.just("attributes"), VALUES))
def test_no_value_of_a_request_ends_a_decision(text, user, context):
    if check_expression(text) is None:
        refusal = Expression.of(text).refusal(facts(user, context, text).about({"value": None}, {}))
        assert refusal is None or refusal.startswith(("when:", "when_failed:"))


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("user.tags['x'] > 0.4", True),
        ("'x' in user.tags && !('y' in user.tags)", True),
        ("user.tags.y > 0.4", False),  # absent: not met
        ("!(user.tags.y > 0.4)", False),  # nor is its opposite
        ("has(user.tags.y) || user.lifecycle_state == 'new'", True),
        ("context.attributes.weather == 'rain'", True),
        ("context.channel == ''", True),
        ("size(user.tags) == 1", True),
        ("user.scores.p + 1 > 0.0", False),  # int and double do not add up: an error, so not met
    ],
)
def test_what_is_met(text, met):
    user = {"tags": {"x": 0.5}, "lifecycle_state": "new", "scores": {"p": 0.5, "gone": None}}
    context = {"attributes": {"weather": "rain", "odd": None, "large": 2**70}, "channel": ""}
    assert (Expression.of(text).refusal(facts(user, context, text).moment()) is None) is met


def test_an_expression_says_what_it_reads():
    one = Expression.of("user.tags['scores'] > 0.1 && context.hour < 3 && size(offer.item_ids) > 0")
    assert one.reads == {"user.tags", "context.hour", "offer.item_ids"}
    assert not one.narrow
    assert Expression.of("user['tags'].x > 0.1").reads == {"user"}
    assert Expression.of("user == user").reads == {"user"}
    assert Expression.of("'user.tags' == context.locale").reads == {"context.locale"}


def test_an_offer_at_a_time():
    seen = facts({"lifecycle_state": "new"}, {}, "offer.value > 1.0 && user.lifecycle_state == 'new'")
    rule = Expression.of("offer.value > 1.0 && user.lifecycle_state == 'new'")
    assert [rule.refusal(seen.about({"value": value}, {})) is None for value in (2.0, 0.5, None, 3.0)] == [
        True,
        False,
        False,
        True,
    ]
