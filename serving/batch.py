"""The users of one request with what is known of them: vectors, their age, their hash."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import FeatureError
from serving.errors.problem import Problem, shown
from serving.reader import Reader, Vectors

__all__ = [
    "UNREADABLE",
    "Batch",
    "check_known",
    "iso",
    "microseconds",
    "moment_of",
    "read_batch",
    "too_new",
    "vector_hash",
]

#: Why nothing is known of somebody whose published features are damaged, or of another catalogue.
UNREADABLE = "FEATURES_UNAVAILABLE"
_log = logging.getLogger("bentoml.userops")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


@dataclass(frozen=True)
class Batch:
    """n users; row i of everything is ``user_ids[i]``.

    ``as_of`` holds microseconds since 1970 (UTC) and means nothing where ``found`` is False. Users in ``withheld`` want
    no personalisation: they are answered like strangers. Of those in ``unreadable`` something is published that nobody
    can read: they are not known, and no score is made up for them.
    """

    user_ids: Sequence[str]
    values: NDArray[np.float64]
    found: NDArray[np.bool_]
    as_of: NDArray[np.int64]
    now: datetime
    max_age_s: float
    withheld: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()

    def without(self, user_ids: frozenset[str]) -> Batch:
        """The same, but that nothing is known of these users: they want no personalisation."""
        kept = np.array([user_id not in user_ids for user_id in self.user_ids], dtype=np.bool_)
        values = np.where(kept[:, None], self.values, np.nan)
        return replace(self, values=values, found=self.found & kept, withheld=user_ids)

    def unknown(self, row: int) -> str:
        """Why nothing is known of a user."""
        user_id = self.user_ids[row]
        if user_id in self.withheld:
            return "PERSONALIZATION_OFF"
        return UNREADABLE if user_id in self.unreadable else "UNKNOWN_USER"

    def age_s(self, row: int) -> int:
        """Whole seconds since the features of a known user; 0 for features of the very future that clocks allow."""
        return max(0, int((microseconds(self.now) - int(self.as_of[row])) // 1_000_000))

    def is_stale(self, row: int) -> bool:
        """Whether the features of a known user are older than the configuration allows."""
        return self.age_s(row) > self.max_age_s

    def block(self, service: str) -> dict[str, Any]:
        """The ``features`` block of an answer."""
        known = np.flatnonzero(self.found).tolist()
        return {
            "service": service,
            "as_of": iso(int(self.as_of[self.found].min())) if known else None,
            "max_age_s": max((self.age_s(row) for row in known), default=None),
            "stale": [self.user_ids[row] for row in known if self.is_stale(row)],
            "vector_hash": vector_hash(self.values),
        }


def read_batch(
    reader: Reader,
    user_ids: Sequence[str],
    *,
    now: datetime,
    as_of: datetime | None = None,
    max_age_s: float = float("inf"),
    strict: bool = False,
) -> Batch:
    """The users' vectors as published.

    Refused: an ``as_of`` in the future, or before the features (they would know what was not known then); with
    ``strict`` an unknown user.

    Raises
    ------
    FeatureError
        When nobody can be read; with ``strict``, when somebody cannot.
    """
    moment_of(as_of, now)
    unreadable: frozenset[str] = frozenset()
    rows, vectors = _readable(reader, user_ids, strict)
    if len(rows) < len(user_ids):
        vectors = _spread(vectors, rows, len(user_ids))
        unreadable = frozenset(user_ids[row] for row in set(range(len(user_ids))).difference(rows))
    published = np.asarray(vectors.as_of).astype("datetime64[us]").astype(np.int64)
    found = np.asarray(vectors.found, dtype=np.bool_)
    if as_of is not None and found.any() and (last := int(published[found].max())) > microseconds(as_of):
        raise too_new(last, microseconds(as_of))
    if strict:
        check_known(user_ids, found)
    values = np.asarray(vectors.values)
    return Batch(user_ids, values, found, published, as_of or now, max_age_s, unreadable=unreadable)


def _readable(reader: Reader, user_ids: Sequence[str], strict: bool) -> tuple[Sequence[int], Vectors]:
    """The rows that can be read, and what they hold."""
    rows: Sequence[int] = range(len(user_ids))
    while True:
        try:
            return rows, reader.online(user_ids if len(rows) == len(user_ids) else [user_ids[row] for row in rows])
        except FeatureError as error:
            broken = set(error.rows)
            if strict or not 0 < len(broken) < len(rows):
                raise
            _log.error("features of %d of %d users cannot be read: %s", len(broken), len(rows), error)
            rows = [row for place, row in enumerate(rows) if place not in broken]


@dataclass(frozen=True)
class _Spread:
    values: NDArray[np.float64]
    found: NDArray[np.bool_]
    as_of: NDArray[np.datetime64]


def _spread(vectors: Vectors, rows: Sequence[int], users: int) -> Vectors:
    """The same for all ``users``: nothing is found of those who are not among ``rows``."""
    values = np.full((users, vectors.values.shape[1]), np.nan)
    found, as_of = np.zeros(users, np.bool_), np.full(users, np.datetime64("NaT", "us"))
    values[rows], found[rows], as_of[rows] = vectors.values, vectors.found, vectors.as_of
    return _Spread(values, found, as_of)


def moment_of(as_of: datetime | None, now: datetime) -> int:
    """The instant to answer for, microseconds since 1970 (UTC); one in the future is a 422."""
    if as_of is not None and as_of > now:
        raise _impossible("as_of lies in the future", microseconds(as_of), f"at most {_text(now)}")
    return microseconds(as_of or now)


def too_new(published_us: int, at_us: int) -> Problem:
    """The refusal to answer for an instant before the published features."""
    detail = "the published features know more than was known then"
    return _impossible(detail, at_us, f"at least {iso(published_us)}")


def check_known(user_ids: Sequence[str], found: NDArray[np.bool_] | Sequence[bool], field: str = "user_ids") -> None:
    """Refuse users of whom nothing is published."""
    rows = np.flatnonzero(~np.asarray(found, dtype=np.bool_)).tolist()
    if not rows:
        return
    unknown = [user_ids[row] for row in rows]
    names = ", ".join(shown(name) for name in unknown[:5]) + (" ..." if len(unknown) > 5 else "")
    raise Problem(
        404,
        "unknown-user",
        f"{len(unknown)} unknown user{'s' if len(unknown) > 1 else ''}: {names}",
        field=f"{field}[{rows[0]}]" if field == "user_ids" else field,
        expected="users with published features, or strict: false",
        got=shown(unknown[0]),
    )


def vector_hash(values: NDArray[np.float64]) -> str:
    """SHA-256 of vectors: little-endian float64, row after row, every absent value the same NaN.

    Examples
    --------
    >>> vector_hash(np.array([[1.0, np.nan]])) == vector_hash(np.array([[1.0, -np.nan]]))
    True
    """
    canonical = np.where(np.isnan(values), np.nan, values).astype("<f8")
    return "sha256:" + hashlib.sha256(canonical.tobytes()).hexdigest()


def iso(microseconds: int) -> str:
    """The instant as it is written in answers.

    Examples
    --------
    >>> iso(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return _text(_EPOCH + microseconds * _US)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def microseconds(instant: datetime) -> int:
    """Whole microseconds from 1970 (UTC) to an aware instant."""
    return (instant - _EPOCH) // _US


def _impossible(detail: str, at_us: int, expected: str) -> Problem:
    return Problem(422, "impossible-as-of", detail, field="as_of", expected=expected, got=iso(at_us))
