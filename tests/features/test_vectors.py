"""The bytes we lay out are the bytes Feast writes."""

import numpy as np
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from hypothesis import example, given
from hypothesis import strategies as st

from configs.errors import CatalogueMismatch, FeatureError
from features import asof, vectors

DIGEST = "sha256:" + "0123456789abcdef" * 4
text = st.text(st.characters(codec="utf-8"), max_size=300)


@given(st.lists(text, max_size=5), st.sampled_from(["user_id", "u", "键"]))
@example([""], "user_id")
@example(["zürich", "用户", "\x00", "a" * 70_000], "user_id")
def test_keys_are_feasts(ids, join_key):
    expected = [
        serialize_entity_key(EntityKey(join_keys=[join_key], entity_values=[Value(string_val=one)]), 3) for one in ids
    ]
    assert vectors.entity_keys(ids, join_key) == expected


@pytest.mark.parametrize("wrong", [1, None, b"a", "\ud800"])
def test_a_key_that_is_not_text_is_refused(wrong):
    with pytest.raises(FeatureError, match="user id must be text"):
        vectors.entity_keys(["a", wrong])


def test_ids_are_a_sequence_not_a_text():
    with pytest.raises(FeatureError, match="a list of user ids"):
        vectors.entity_keys("user-1")


@pytest.mark.parametrize("features", [0, 1, 14, 15, 16, 90, 3000])
def test_vectors_are_feasts(features):
    values = np.random.default_rng(1).normal(size=(4, features))
    if features:
        values[1, 0], values[2, -1], values[3, 0] = np.nan, 1e308, -0.0
    number = vectors.catalogue_number(DIGEST)
    expected = [Value(double_list_val=DoubleList(val=[number, *row])).SerializeToString() for row in values]
    packed = vectors.pack(values, DIGEST)
    assert packed == expected
    assert vectors.unpack(packed, features, DIGEST).tobytes() == values.tobytes()
    assert all(one.startswith(vectors.prefix(features, DIGEST)) for one in packed)


@pytest.mark.parametrize("number", [np.inf, -np.inf])
def test_an_infinite_feature_is_neither_written_nor_read(number):
    values = np.ones((3, 4))
    values[1, 2] = number
    with pytest.raises(FeatureError, match=r"infinite[\s\S]*number 2 of the catalogue"):
        vectors.pack(values, DIGEST)
    packed = vectors.pack(np.ones((1, 4)), DIGEST)[0]
    foreign = packed[:-8] + np.array([number]).tobytes()
    for read in (lambda: vectors.unpack([packed, foreign], 4, DIGEST), lambda: vectors.unpack_one(foreign, 4, DIGEST)):
        with pytest.raises(FeatureError, match="infinite number"):
            read()


@given(text)
def test_texts_are_feasts(content):
    assert vectors.pack_text(content) == Value(string_val=content).SerializeToString()
    assert vectors.unpack_text(vectors.pack_text(content)) == content


def test_the_catalogue_number_is_exact_and_tells_catalogues_apart():
    number = vectors.catalogue_number(DIGEST)
    assert int(number) == 0x0123456789ABC
    assert number != vectors.catalogue_number("sha256:" + "0123456789abd" + "0" * 51)
    with pytest.raises(CatalogueMismatch):
        vectors.unpack(vectors.pack(np.ones((2, 3)), DIGEST), 3, "sha256:" + "f" * 64)


def test_duckdb_packs_the_same_vector():
    with asof.connect() as connection:
        sql = vectors.packed_sql(["a", 'b"c'], DIGEST)
        row = connection.execute(f"""SELECT {sql} FROM (SELECT 1.5 AS a, NULL AS "b""c") AS h""").fetchall()[0][0]
    assert np.array_equal(row, [vectors.catalogue_number(DIGEST), 1.5, np.nan], equal_nan=True)
