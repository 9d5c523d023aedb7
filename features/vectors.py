"""How Feast lays keys and values into bytes, done for whole batches without a protobuf object.

A vector of a catalogue with ``n`` features is ``n + 1`` doubles: first a number that stands for the catalogue, then the
features in its order, NaN where absent. Serialised by Feast it is a constant header followed by the little-endian
doubles, so a matrix of users becomes their values in one copy (and back).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import CatalogueMismatch, FeatureError
from configs.history import WIDTH

__all__ = [
    "catalogue_number",
    "entity_keys",
    "mismatch",
    "pack",
    "pack_list",
    "pack_text",
    "packed_sql",
    "prefix",
    "unpack",
    "unpack_history",
    "unpack_json",
    "unpack_list",
    "unpack_one",
    "unpack_text",
]

Matrix = npt.NDArray[np.float64]

# google.protobuf tags (field << 3 | wire type): Value.double_list_val = 15, DoubleList.val = 1, Value.string_val = 2.
DOUBLE_LIST, DOUBLES, STRING = b"\x7a", b"\x0a", b"\x12"
STRING_TYPE = (2).to_bytes(4, "little")  # feast.types.ValueType.STRING in a serialised entity key


def varint(number: int) -> bytes:
    """Protobuf's variable-length integer.

    Examples
    --------
    >>> varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def entity_keys(ids: Sequence[str], join_key: str = "user_id") -> list[bytes]:
    """The keys under which Feast (entity_key_serialization_version 3) files entities with one string join key.

    Examples
    --------
    >>> entity_keys(["ab"])[0].hex()
    '010000000200000007000000757365725f696402000000020000006162'
    """
    if isinstance(ids, str):
        raise FeatureError("a list of user ids is wanted", got=repr(ids), expected=f"[{ids!r}]")
    name = join_key.encode()
    prefix = (1).to_bytes(4, "little") + STRING_TYPE + len(name).to_bytes(4, "little") + name + STRING_TYPE
    encoded = []
    for one in ids:
        try:
            encoded.append(one.encode())
        except (AttributeError, UnicodeEncodeError):
            raise FeatureError("a user id must be text", got=repr(one), expected="a string of valid Unicode") from None
    return [prefix + len(one).to_bytes(4, "little") + one for one in encoded]


def catalogue_number(digest: str) -> float:
    """The first 52 bits of a catalogue's ``sha256:...``: a double that survives every copy exactly.

    Examples
    --------
    >>> catalogue_number("sha256:00000000000ff" + "0" * 51)
    255.0
    """
    return float(int(digest.removeprefix("sha256:")[:13], 16))


def _header(doubles: int) -> bytes:
    inner = DOUBLES + varint(8 * doubles)
    return DOUBLE_LIST + varint(len(inner) + 8 * doubles) + inner


def pack(values: Matrix, digest: str) -> list[bytes]:
    """One serialised ``Array(Float64)`` per row of ``values`` (shape ``[users, features]``), the catalogue in front.

    Raises
    ------
    FeatureError
        When a value is infinite: no model has seen such a user, and a forest answers all the same.
    """
    users, features = values.shape
    if np.isinf(values).any():
        row, column = (int(place) for place in np.argwhere(np.isinf(values))[0])
        raise FeatureError(
            "a feature is infinite",
            got=f"{values[row, column]} as number {column} of the catalogue (from 0), in {_infinite(values)} rows",
            expected="a finite number, or none",
            run="userops features build",
        )
    header = np.frombuffer(_header(features + 1), np.uint8)
    out = np.empty((users, len(header) + 8 * (features + 1)), np.uint8)
    out[:, : len(header)] = header
    doubles = np.empty((users, features + 1), "<f8")
    doubles[:, 0] = catalogue_number(digest)
    doubles[:, 1:] = values
    out[:, len(header) :] = doubles.view(np.uint8)
    block, width = out.tobytes(), out.shape[1]
    return [block[start : start + width] for start in range(0, len(block), width)]


def unpack(values: Sequence[bytes], features: int, digest: str) -> Matrix:
    """The matrix ``[len(values), features]`` that ``pack`` laid out; refuses vectors of any other catalogue.

    Raises
    ------
    FeatureError
        Whose `rows` are those that are none of this catalogue's, or, when all are, those that hold an infinite number.
    """
    first = prefix(features, digest)
    width = len(first) + 8 * features
    if strange := [row for row, one in enumerate(values) if len(one) != width or not one.startswith(first)]:
        raise _about(mismatch("vectors that begin otherwise", digest), strange)
    doubles = np.frombuffer(b"".join([value[len(first) :] for value in values]), "<f8").reshape(len(values), features)
    if np.isinf(doubles).any():
        rows: list[int] = np.flatnonzero(np.isinf(doubles).any(axis=1)).tolist()
        raise _about(_no_value(values[rows[0]], "it holds an infinite number"), rows)
    return doubles


def pack_list(doubles: bytes) -> bytes:
    """A serialised ``Array(Float64)`` of any length, from its little-endian doubles.

    Examples
    --------
    >>> pack_list(np.array([1.5]).tobytes()).hex(), unpack_list(pack_list(b"")).tolist()
    ('7a0a0a08000000000000f83f', [])
    """
    return _header(len(doubles) // 8) + doubles if doubles else DOUBLE_LIST + b"\x00"


def unpack_list(value: bytes) -> npt.NDArray[np.float64]:
    """The doubles of a serialised ``Array(Float64)``: a view of its bytes; refuses bytes that are none."""
    start = _content(value, DOUBLE_LIST)
    if start == len(value):
        return np.empty(0)
    return np.frombuffer(value, "<f8", offset=_content(value, DOUBLES, start))


def unpack_history(value: bytes) -> npt.NDArray[np.float64]:
    """The lines of one user's history, flat, as `configs.history` lays them; refuses doubles that are no such lines."""
    doubles = unpack_list(value)
    if len(doubles) % WIDTH or not np.isfinite(doubles).all():
        raise _no_value(value, "it holds no whole lines of finite numbers")
    return doubles


def unpack_one(value: bytes, features: int, digest: str) -> npt.NDArray[np.float64]:
    """The vector of one value that ``pack`` laid out, as a view of its bytes; refuses any other catalogue's."""
    first = prefix(features, digest)
    if len(value) != len(first) + 8 * features or not value.startswith(first):
        raise mismatch("vectors that begin otherwise", digest)
    doubles = np.frombuffer(value, "<f8", offset=len(first))
    if np.isinf(doubles).any():
        raise _no_value(value, "it holds an infinite number")
    return doubles


@lru_cache(maxsize=16)
def prefix(features: int, digest: str) -> bytes:
    """How every vector of this catalogue begins."""
    return _header(features + 1) + np.array([catalogue_number(digest)], "<f8").tobytes()


def mismatch(got: str, expected: str) -> CatalogueMismatch:
    """The refusal to read another catalogue's vectors."""
    return CatalogueMismatch(
        "the published vectors belong to another feature catalogue",
        got=got,
        expected=expected,
        because="the catalogue changed after the last publication",
        run="userops features build, then userops features publish",
    )


def packed_sql(names: Sequence[str], digest: str, table: str = "h") -> str:
    """The DuckDB expression of the same vector, for readers of the scalar columns."""
    quoted = (table + '."' + name.replace('"', '""') + '"' for name in names)
    columns = (f"coalesce({column}::DOUBLE, 'nan'::DOUBLE)" for column in quoted)
    return f"list_value({catalogue_number(digest)!r}::DOUBLE, {', '.join(columns)})"


def pack_text(text: str) -> bytes:
    """A serialised ``String``.

    Examples
    --------
    >>> pack_text("abc").hex(), unpack_text(pack_text("é"))
    ('1203616263', 'é')
    """
    encoded = text.encode()
    return STRING + varint(len(encoded)) + encoded


def unpack_text(value: bytes) -> str:
    """The text of a serialised ``String``; refuses bytes that are none."""
    try:
        return value[_content(value, STRING) :].decode()
    except UnicodeDecodeError:
        raise _no_value(value) from None


def unpack_json(value: bytes) -> dict[str, Any]:
    """The mapping that a serialised ``String`` holds as JSON."""
    try:
        content = json.loads(unpack_text(value))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise _no_value(value)
    return content


def _content(value: bytes, tag: bytes, start: int = 0) -> int:
    """Where the content of the field at ``start`` begins, which must reach to the end of ``value``."""
    place, length, shift = start + 1, 0, 0
    if value[start:place] == tag:
        for byte in value[place : place + 5]:
            place, length, shift = place + 1, length | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                if length == len(value) - place and (tag != DOUBLES or length % 8 == 0):
                    return place
                break
    raise _no_value(value)


def _infinite(values: Matrix) -> int:
    return int(np.isinf(values).any(axis=1).sum())


def _about(error: FeatureError, rows: Sequence[int]) -> FeatureError:
    error.rows = tuple(rows)
    return error


def _no_value(value: bytes, because: str = "it was cut off, or another program writes there") -> FeatureError:
    return FeatureError(
        "the online store holds a value that no publication wrote",
        got=f"{len(value)} bytes that begin with {value[:8].hex() or 'nothing'}",
        because=because,
        run="userops features publish",
    )
