"""What parses outside input, each as ``target(bytes)``: it may refuse in its own words, and nothing else.

``run.py`` lets atheris try inputs, guided by which lines of ours they reach. One that broke
something stays in ``BROKE``.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from configs.documents import read_yaml
from configs.errors import FeatureError, KeyRefused, UseropsError
from configs.keys import Keys
from features import vectors
from features.csv_lines import csv_pieces
from features.sources import Read, load_source
from serving.decision.expression import check_expression
from serving.endpoints.body import parse
from serving.errors.problem import Problem
from serving.schemas import ScoreRequest
from serving.schemas_decision import AudienceRequest
from serving.schemas_feedback import EventBatch, FeedbackBatch
from serving.schemas_interest import InterestRequest
from serving.schemas_nbo import NextBestOffer

SCHEMAS = (ScoreRequest, NextBestOffer, FeedbackBatch, EventBatch, InterestRequest, AudienceRequest)
DIALECTS = (
    Read("csv"),
    Read("csv", delim=";", quote="'", escape="\\"),
    Read("csv", delim="\t", quote="", header=False, names=("a", "b")),
    Read("csv", delim="whitespace", header=False, names=("a", "b"), encoding="latin-1"),
    Read("csv", encoding="gb18030", skip=1),
)
SCRATCH = Path(tempfile.mkdtemp(prefix="userops-fuzz-"))
DIGEST = "sha256:" + "a" * 64


def csv(data: bytes) -> None:
    """Every line of a CSV file is a record or is refused, and each is named once."""
    read = DIALECTS[data[0] % len(DIALECTS)] if data else DIALECTS[0]
    file = SCRATCH / "till.csv"
    file.write_bytes(data[1:])
    named: list[int] = []
    try:
        for piece, _ in csv_pieces(file, read, SCRATCH, "fuzz"):
            assert piece.path.read_bytes().count(b"\n") >= piece.records
            named += [one.line for one in piece.refused]
    except UseropsError:
        return
    assert len(named) == len(set(named))


def yaml(data: bytes) -> None:
    """A document is a mapping or is refused."""
    file = SCRATCH / "any.yaml"
    file.write_bytes(data)
    with contextlib.suppress(UseropsError):
        assert isinstance(read_yaml(file), dict)


def mapping(data: bytes) -> None:
    """A mapping of a source is one or is refused."""
    file = SCRATCH / "mine.yaml"
    file.write_bytes(data)
    with contextlib.suppress(UseropsError):
        load_source(file)


def condition(data: bytes) -> None:
    """A condition is one, or it is said why not."""
    said = check_expression(data.decode("utf-8", "replace"))
    assert said is None or said


def body(data: bytes) -> None:
    """A body is what its schema says, or a problem of the caller's."""
    schema = SCHEMAS[data[0] % len(SCHEMAS)] if data else SCHEMAS[0]
    try:
        parse(data[1:], schema)
    except Problem as problem:
        refused = problem
    else:
        return
    assert 400 <= refused.status < 500
    assert refused.response("r").body


def published(data: bytes) -> None:
    """What lies in an online store is a vector, numbers, a text or a mapping, or is refused."""
    for read in (
        lambda: vectors.unpack_one(data, 2, DIGEST),
        lambda: vectors.unpack([data, data], 2, DIGEST),
        lambda: vectors.unpack_list(data),
        lambda: vectors.unpack_text(data),
        lambda: vectors.unpack_json(data),
    ):
        with contextlib.suppress(FeatureError):
            read()


def key(data: bytes) -> None:
    """No text is a key that nobody issued."""
    try:
        Keys(SCRATCH / "keys.json").check(data.decode("utf-8", "replace"), "score")
    except KeyRefused:
        return
    raise AssertionError("a key out of nothing")


_PACKED = vectors.pack(np.array([[1.0, float("nan")]]), DIGEST)[0]
_TEXT = vectors.pack_text('{"a": 1}')
#: Where the search begins.
SEEDS: dict[Callable[[bytes], None], tuple[bytes, ...]] = {
    csv: (
        b'\x00a,b\n1,2\n"3\n4",5\n',
        b"\x01a;b\n'x\\'y';2\n",
        b"\x02a\tb\n1\t2\r\n",
        b"\x03 1  2\n",
        b"\x04#\na,b\n\xc4\xe3,2\n",
    ),
    yaml: (b"a: 1\nb: [1, {c: d}]\n", b"a: &x [1]\nb: *x\n", b"? [1, 2]\n: 3\n", b"a: !!python/object:os.system x\n"),
    mapping: (
        b"read: {kind: csv, delim: ';'}\n"
        b"columns: {user_id: c, event_type: \"'purchase'\", event_at: strptime(d, '%Y')}\n",
        b"read: {kind: sql, sql: select 1}\n"
        b"columns: {user_id: a, event_type: b, event_at: c, amount: CAST(x AS DOUBLE)}\n"
        b"filters: {ok: x > 0}\nlimits: {amount: 10}\ndedup: [user_id]\n",
    ),
    condition: (
        b"user.tags['x'] > 0.5 && context.hour in [1, 2]",
        b"offer.value * 2.0 < item.price",
        b"size('a') == 1",
    ),
    body: tuple(
        bytes([place]) + json.dumps(one).encode()
        for place, one in enumerate(
            (
                {
                    "user_ids": ["u1"],
                    "explain": {"level": "full", "top_n": 3, "lang": "zh"},
                    "as_of": "2026-01-01T00:00:00Z",
                },
                {"user_id": "u1", "context": {"channel": "app", "attributes": {"a": 1}}, "limit": 3, "candidates": []},
                {
                    "events": [
                        {
                            "event_id": "e",
                            "decision_id": "d",
                            "offer_id": "o",
                            "type": "click",
                            "ts": "2026-01-01T00:00:00Z",
                        }
                    ]
                },
                {
                    "events": [
                        {"event_id": "e", "user_id": "u", "type": "view", "item_id": "i", "ts": "2026-01-01T00:00:00Z"}
                    ]
                },
                {"user_ids": ["u1"], "top_n": 3},
                {"category": "toys", "top_k": 100},
            )
        )
    ),
    published: (_PACKED, _TEXT, vectors.pack_list(np.array([1.5, 2.5]).tobytes())),
    key: (b"uo_0123456789ab_" + b"A" * 43, b"Bearer x"),
}
TARGETS = {target.__name__: target for target in SEEDS}

#: Inputs that once broke something, by target.
BROKE: dict[str, tuple[bytes, ...]] = {}
