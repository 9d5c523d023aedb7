"""What a decision saw can be written down, read back exactly, and cut down to what it read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decision.inputs import Action, GlobalCount, Inputs, Need

NAMES = st.text(max_size=8)
FLOATS = st.floats(allow_nan=False)
SHARES = st.floats(0, 1)
COUNTS = st.integers(0, 2**62)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, PLAIN, max_size=4)
ITEMS = st.dictionaries(NAMES, OBJECTS, max_size=3)

INPUTS = st.builds(
    Inputs,
    NAMES,
    NAMES,
    NAMES,
    COUNTS,
    context=OBJECTS,
    candidates=st.none() | st.lists(OBJECTS, max_size=3),
    candidate_source=st.none() | OBJECTS,
    limit=st.integers(1, 50),
    exploration=st.none() | OBJECTS,
    paused_channels=st.lists(NAMES, max_size=3).map(tuple),
    personalization=st.booleans(),
    lifecycle_state=st.none() | NAMES,
    tags=st.dictionaries(NAMES, FLOATS, max_size=3),
    scores=st.dictionaries(NAMES, st.none() | FLOATS, max_size=3),
    interests=st.dictionaries(NAMES, FLOATS, max_size=3),
    consent=st.dictionaries(NAMES, st.booleans(), max_size=3),
    not_interested=st.dictionaries(NAMES, COUNTS, max_size=3),
    damped=st.dictionaries(NAMES, SHARES, max_size=3),
    actions=st.lists(st.builds(Action, NAMES, NAMES, st.none() | NAMES, COUNTS), max_size=3).map(tuple),
    global_counts=st.lists(st.builds(GlobalCount, NAMES, NAMES, NAMES, st.none() | NAMES, COUNTS), max_size=3).map(
        tuple
    ),
    needs=st.dictionaries(NAMES, st.builds(Need, FLOATS, FLOATS, st.booleans()), max_size=3),
    stock=st.dictionaries(NAMES, st.none() | FLOATS, max_size=3),
    items=ITEMS,
    store_items=st.none() | st.frozensets(NAMES, max_size=3),
    store_categories=st.none() | st.frozensets(NAMES, max_size=3),
    response_counts=st.dictionaries(NAMES, st.tuples(COUNTS, COUNTS), max_size=3),
    features_stale=st.booleans(),
)


@given(INPUTS)
def test_inputs_survive_their_json_exactly(inputs):
    read = Inputs.from_json(inputs.to_json())
    assert read == inputs
    assert read.to_json() == inputs.to_json()
    assert all(isinstance(action, Action) for action in read.actions)
    assert all(isinstance(need, Need) for need in read.needs.values())


@pytest.mark.parametrize("value", [0.1, 1e-320, 5e-324, 1.7976931348623157e308, -0.0, 1 / 3])
def test_every_bit_of_a_float_survives(value):
    inputs = Inputs("d", "r", "u", 0, scores={"p": value})
    assert Inputs.from_json(inputs.to_json()).scores["p"].hex() == value.hex()


def test_unknown_fields_are_refused():
    content = json.loads(Inputs("d", "r", "u", 0).to_json())
    with pytest.raises(TypeError, match="surprise"):
        Inputs.from_json(json.dumps({**content, "surprise": 1}))


@given(INPUTS, st.lists(NAMES, max_size=4))
def test_narrowing_keeps_what_is_asked_for_and_nothing_else(inputs, names):
    narrow = inputs.narrowed(names, names)
    for field in ("stock", "items"):
        kept = getattr(narrow, field)
        assert set(kept) == set(getattr(inputs, field)) & set(names)
        assert all(kept[name] == getattr(inputs, field)[name] for name in kept)
    for field in ("store_items", "store_categories"):
        whole = getattr(inputs, field)
        assert getattr(narrow, field) == (None if whole is None else whole & set(names))
