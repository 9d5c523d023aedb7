"""What the users of a batch asked of us, from the decision log: nobody is scored against a wish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from configs import Config
from configs.databases import begun
from serving.log import ALL_CHANNELS, DecisionLog
from serving.log.people import CONSENT, DELETED_TAG, NOT_INTERESTED, OPTED_OUT, PERSONALIZATION

__all__ = ["Wishes", "log_of", "wishes_of"]


@dataclass(frozen=True)
class Wishes:
    """Of some users; who is in none of these asked for nothing.

    ``withheld`` want no personalisation, ``unreachable`` are opted out of all channels; ``closed`` are the channels
    that each opted out of, ``refused`` items, offers and tags that each does not want, ``consents`` what each said to a
    purpose.
    """

    withheld: frozenset[str] = frozenset()
    unreachable: frozenset[str] = frozenset()
    closed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    refused: Mapping[str, frozenset[str]] = field(default_factory=dict)
    consents: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)


def log_of(config: Config) -> DecisionLog | None:
    """The decision log of this installation; None while there is none, for then nobody has asked for anything."""
    return DecisionLog.open(config.decisions_uri) if begun(config.decisions_uri) else None


def wishes_of(log: DecisionLog | None, user_ids: Sequence[str]) -> Wishes:
    """The wishes of these users as they are now; LogError when the log cannot be read."""
    withheld, unreachable = set(), set()
    closed: dict[str, set[str]] = {}
    refused: dict[str, set[str]] = {}
    consents: dict[str, dict[str, bool]] = {}
    for user_id, kind, name, on in log.wishes(user_ids) if log is not None else []:
        if kind == PERSONALIZATION and not on:
            withheld.add(user_id)
        elif kind == OPTED_OUT and on and name == ALL_CHANNELS:
            unreachable.add(user_id)
        elif kind == OPTED_OUT and on:
            closed.setdefault(user_id, set()).add(name)
        elif kind in (DELETED_TAG, NOT_INTERESTED) and on:
            refused.setdefault(user_id, set()).add(name)
        elif kind == CONSENT:
            consents.setdefault(user_id, {})[name] = on
    return Wishes(
        frozenset(withheld),
        frozenset(unreachable),
        {user_id: frozenset(names) for user_id, names in closed.items()},
        {user_id: frozenset(names) for user_id, names in refused.items()},
        consents,
    )
