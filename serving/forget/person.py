"""Under which ids a person is kept: their own, and one for each identity that came before it was known whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from configs.errors import UseropsError
from serving.log import DecisionLog
from serving.log.values import storable

__all__ = ["Person", "person_of"]


@dataclass(frozen=True)
class Person:
    """``user_ids``: the user's own id, then ``namespace:id`` of each identity, under which events without one lie."""

    user_ids: tuple[str, ...]

    @property
    def user_id(self) -> str:
        """The user's own id."""
        return self.user_ids[0]


def person_of(logs: Sequence[DecisionLog], name: str) -> Person:
    """Whom a name means: the id of a user, or ``namespace:id`` of an identity of his.

    Raises
    ------
    UseropsError
        When no database can hold such an id.
    """
    user_id = name.strip()
    if not user_id or not storable(user_id):
        raise UseropsError("that is no id of a user", got=repr(name), expected="a text without NUL that is not blank")
    pairs = [(name[:place], name[place + 1 :]) for name in [user_id] for place, one in enumerate(name) if one == ":"]
    behind = (log.resolve(*pair) for pair in pairs for log in logs)
    user_id = next((one for one in behind if one is not None), user_id)
    others = (":".join(one) for log in logs for one in log.identities(user_id))
    return Person(tuple(dict.fromkeys([user_id, *others])))
