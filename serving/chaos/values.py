"""Faults of single values: cut off, of another catalogue, infinite, absent, old; questions with what is no number."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import numpy as np
from pydantic_core import to_json

from features import online, vectors
from features.catalog import NAMES, digest
from serving.chaos.asking import decide, unreadable
from serving.chaos.fault import IN_SMALL, Fault, require
from serving.chaos.stage import Stage
from serving.chaos.witness import scores_of

__all__ = ["FAULTS"]

DAY = 86_400
# What JSON cannot say, or no float64 can hold.
NO_NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999")


def half_written(stage: Stage) -> str:
    """The vector of one user is cut off."""
    user = stage.witness.users[0]
    with _instead(stage, user, lambda value: value[: len(value) // 2]):
        seen = f"{unreadable(stage.service, user)}; {_the_others(stage, user)}"
    return _healed(stage, seen)


def feature_missing(stage: Stage) -> str:
    """The vector of one user lacks the last feature."""
    user = stage.witness.users[0]
    shorter = vectors.pack(np.ones((1, len(NAMES) - 1)), digest())[0]
    with _instead(stage, user, lambda value: shorter):
        seen = f"{unreadable(stage.service, user)}; {_the_others(stage, user)}"
    return _healed(stage, seen)


def infinite_features(stage: Stage) -> str:
    """One feature of one user is infinite; then all of them are absent (NaN)."""
    user, seen = stage.witness.users[0], []
    for number in (np.inf, -np.inf):
        with _instead(stage, user, lambda value, number=number: _with(value, number)):
            seen.append(f"{number}: {unreadable(stage.service, user)}; {_the_others(stage, user)}")
    nothing = vectors.pack(np.full((1, len(NAMES)), np.nan), digest())[0]
    with _instead(stage, user, lambda value: nothing):
        reply = stage.service.post("/v1/score/churn", {"user_ids": [user], "explain": {"level": "none"}})
        require(reply.status == 200, f"all NaN: {reply.refusal}")
        heads = reply.told["users"][0]["scores"].values()
        sound = all((one["p"] is None) == bool(one["status_reason"]) for one in heads)
        require(sound, "all NaN: a head without p and without a reason")
    return _healed(stage, f"{seen[0]}; the same for -inf; NaN is 'absent', as training has it")


def no_numbers(stage: Stage) -> str:
    """Numbers that are none, in questions."""
    service, user = stage.service, stage.users[-1].encode()
    bodies = {
        "/v1/next-best-offer": b'{"user_id": "%b", "candidates": [{"offer_id": "o", "value": %b}]}',
        "/v1/score/churn": b'{"user_ids": ["%b"], "explain": {"top_n": %b}}',
    }
    at = to_json(stage.now or datetime.now(UTC))
    # Nothing is wrong with it but the number.
    event = b'{"events": [{"event_id": "e", "user_id": "%b", "type": "purchase", "ts": %b, "amount": %b}]}'
    for number in NO_NUMBERS:
        for path, body in bodies.items():
            reply = service.post(path, body % (user, number))
            require(reply.status == 400, f"{path} with {number.decode()}: {reply.status}")
        reply = service.post("/v1/events", event % (user, at, number))
        fields = [one.get("field") for one in reply.told.get("rejected", [])]
        require(fields == ["events[0].amount"], f"/v1/events with {number.decode()}: {reply.status} {reply.told}")
    return _healed(stage, f"{len(bodies) * len(NO_NUMBERS)} questions 400, {len(NO_NUMBERS)} events rejected by name")


def stale(stage: Stage) -> str:
    """The features of one user are three days old."""
    service, user = stage.service, stage.users[-1]
    key = vectors.entity_keys([user])[0]
    with closing(sqlite3.connect(online.path_of(stage.home), timeout=30)) as connection:
        table = f'"{online.PROJECT}_{online.VECTOR.view}"'
        was = connection.execute(f"SELECT event_ts FROM {table} WHERE entity_key = ?", (key,)).fetchone()[0]
        change = f"UPDATE {table} SET event_ts = ? WHERE entity_key = ?"
        with connection:
            connection.execute(change, (was - 3 * DAY, key))
        try:
            scores = service.post("/v1/score/churn", {"user_ids": [user], "explain": {"level": "none"}}).told
            offer = decide(service, user).told
        finally:
            with connection:
                connection.execute(change, (was, key))
    require(scores["features"]["stale"] == [user], "scores do not name the user in features.stale")
    require(scores["users"][0]["stale"] is True, "the user's scores do not say that they are stale")
    require(offer["features"]["stale"] == [user], "offers do not name the user in features.stale")
    require(offer["status_reason"], "offers do not say why they are what they are")
    return _healed(stage, f"scores 200, stale named; offers {offer['status']} {offer['status_reason']}")


def _with(value: bytes, number: float) -> bytes:
    first = len(value) - 8 * len(NAMES)
    return value[:first] + struct.pack("<d", number) + value[first + 8 :]


@contextmanager
def _instead(stage: Stage, user: str, change: object) -> Iterator[None]:
    """Another value in the place of a user's vector, as something else than a publication would leave it; then back."""
    key = vectors.entity_keys([user])[0]
    store = online.SqliteStore(online.path_of(stage.home))
    found = store.read([key], (online.VECTOR,))[0][0]
    store.close()
    assert found is not None
    assert callable(change)
    table = f'"{online.PROJECT}_{online.VECTOR.view}"'
    sql = f"UPDATE {table} SET value = ? WHERE entity_key = ?"
    with closing(sqlite3.connect(online.path_of(stage.home), timeout=30)) as connection:
        with connection:
            connection.execute(sql, (change(found[0]), key))
        try:
            yield
        finally:
            with connection:
                connection.execute(sql, (found[0], key))


def _the_others(stage: Stage, user: str) -> str:
    """Require that of a batch with somebody who cannot be read everybody else is scored as ever."""
    reply = stage.witness.ask_scores(stage.service)
    require(reply.status == 200, f"a batch with them: {reply.refusal}")
    now, was = scores_of(reply), dict(stage.witness.scores)
    alone, before = now.pop(user), was.pop(user)
    require(alone == {**dict.fromkeys(before), "known": False}, f"somebody who cannot be read: {alone}")
    require(now == was, "others of the batch are scored otherwise")
    return "others of the batch as before"


def _healed(stage: Stage, seen: str) -> str:
    require((otherwise := stage.witness.differs(stage.service)) is None, f"after: {otherwise}")
    return f"{seen}; everybody else as before"


FAULTS = (
    Fault("online-half-written", "one user's vector cut in the middle", half_written, (IN_SMALL,)),
    Fault("feature-missing", "one user's vector lacks a feature", feature_missing, (IN_SMALL,)),
    Fault("features-infinite", "+inf, -inf, then NaN in one user's vector", infinite_features, (IN_SMALL,)),
    Fault("features-stale", "one user's features three days old", stale, (IN_SMALL,)),
    Fault("requests-no-numbers", "NaN, ±Infinity and 1e999 in questions", no_numbers, (IN_SMALL,)),
)
