"""Conditions that people write: CEL over ``user``, ``context``, ``offer`` and ``item``; no loops, never ``eval``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cel

__all__ = ["FIELDS", "Expression", "Facts", "check_expression"]

MOST_CHARACTERS = 500

#: What an expression may name. tags, scores, consent and attributes hold whatever names the data have.
FIELDS: dict[str, tuple[str, ...]] = {
    "user": ("user_id", "lifecycle_state", "value_tier", "tags", "scores", "consent", "personalization"),
    "context": (
        *("channel", "placement", "scenario", "store_id", "device", "locale", "attributes"),
        *("hour", "weekday", "month"),
    ),
    "offer": ("offer_id", "value", "cost", "item_ids", "category_ids", "channels", "attributes"),
    "item": ("item_id", "category_id", "price", "margin", "stock", "is_slow_moving"),
}
#: Without ``matches``: a regular expression of a few characters can take 14 ms to compile, every time.
_FUNCTIONS = {
    *("size", "contains", "startsWith", "endsWith", "timestamp", "duration"),
    *("int", "uint", "double", "string", "bool", "dyn", "type"),
}
_TYPES = {"int", "uint", "double", "string", "bool"}
_LITERAL = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_LOOP = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")
_MEMBER = re.compile(r"(?<![\w.])(user|context|offer|item)\s*(?:\.\s*(\w+)|\[)")
_SAMPLE: dict[str, dict[str, Any]] = {
    "user": {
        "user_id": "u_1",
        "lifecycle_state": "active",
        "value_tier": "core",
        "tags": {"x": 0.5},
        "scores": {"x": 0.5},
        "consent": {"x": True},
        "personalization": True,
    },
    "context": {
        **dict.fromkeys(("channel", "placement", "scenario", "store_id", "device", "locale"), "x"),
        "attributes": {},
        "hour": 12,
        "weekday": 1,
        "month": 6,
    },
    "offer": {
        "offer_id": "o_1",
        "value": 1.0,
        "cost": 0.5,
        "item_ids": ["i"],
        "category_ids": ["c"],
        "channels": ["app"],
        "attributes": {},
    },
    "item": {
        "item_id": "i",
        "category_id": "c",
        "price": 1.0,
        "margin": 0.5,
        "stock": 1.0,
        "is_slow_moving": False,
    },
}


@dataclass(frozen=True)
class Expression:
    """A compiled condition; ``narrow`` ones read neither offer nor item, so one answer serves all offers.

    ``reads`` names the members it reads (``user.tags``); a whole variable is named by itself (``user``).

    Examples
    --------
    >>> Expression.of("user.lifecycle_state == 'new'").narrow
    True
    """

    text: str
    narrow: bool
    reads: frozenset[str]
    execute: Callable[[Any], Any]

    @classmethod
    def of(cls, text: str) -> Expression:
        """The compiled expression; ``ValueError`` if it is not CEL (see ``check_expression``)."""
        program = cel.compile(text)
        variables = set(program.variables())
        members = _MEMBER.findall(_LITERAL.sub("''", text))
        whole = {owner for owner in variables if not any(m for o, m in members if o == owner)}
        whole |= {owner for owner, member in members if not member}
        reads = whole | {f"{owner}.{member}" for owner, member in members if member}
        return cls(text, not {"offer", "item"} & variables, frozenset(reads), program.execute)

    def refusal(self, context: Any) -> str | None:
        """None if the condition is met, else the rule to name; an absent value, or an error, does not meet it."""
        try:
            met = self.execute(context)
        except KeyError:
            return f"when:{self.text}"
        except BaseException as error:  # a panic of the library is no Exception; a rule must not end a decision
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            return f"when_failed:{type(error).__name__}:{self.text}"
        if met is True:
            return None
        return f"when:{self.text}" if met is False else f"when_failed:not true or false:{self.text}"


def check_expression(text: str) -> str | None:
    """What is wrong with an expression, in one line, or None.

    Examples
    --------
    >>> check_expression("user.lifecycle_state == 'new' &&")
    "line 1, column 33: mismatched input '<EOF>'"
    >>> check_expression("user.livecycle_state == 'new'")
    'user has no field livecycle_state'
    """
    if len(text) > MOST_CHARACTERS:
        return f"longer than {MOST_CHARACTERS} characters"
    try:
        program = cel.compile(text)
    except ValueError as error:
        place = re.search(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*?)(?: expecting.*)?\n", f"{error}\n")
        return f"line {place[1]}, column {place[2]}: {place[3]}" if place else str(error).splitlines()[0]
    bare = _LITERAL.sub("''", text)
    if loop := _LOOP.search(bare):
        return f"loops are not allowed: {loop[1]}"
    if unknown := sorted(set(program.variables()) - set(FIELDS) - _TYPES):
        return f"unknown name {unknown[0]!r}; known are {', '.join(FIELDS)}"
    named = {name for name in program.functions() if name[0].isalpha()}
    if unknown := sorted(named - _FUNCTIONS):
        return f"unknown function {unknown[0]!r}; known are {', '.join(sorted(_FUNCTIONS))}"
    for owner, member in _MEMBER.findall(bare):
        if member and member not in FIELDS[owner]:
            return f"{owner} has no field {member}"
    refusal = Expression.of(text).refusal(cel.Context(_SAMPLE))
    if refusal is not None and refusal.startswith("when_failed:"):
        return "it is " + refusal.split(":")[1] if "not true" in refusal else f"it fails: {refusal.split(':')[1]}"
    return None


_SIMPLE = (str, bool, float)


class Facts:
    """What expressions see of one moment, converted at most once, and only the members that some expression reads.

    ``offer`` and ``item`` are set one candidate at a time.
    """

    def __init__(self, user: Mapping[str, Any], context: Mapping[str, Any], reads: frozenset[str]) -> None:
        self._known = {"user": user, "context": context}
        self._reads = reads
        self._context: Any = None

    def moment(self) -> Any:
        """For expressions on user and context."""
        if self._context is None:
            reads = self._reads
            self._context = cel.Context(
                {
                    owner: _plain({k: v for k, v in known.items() if owner in reads or f"{owner}.{k}" in reads})
                    for owner, known in self._known.items()
                }
            )
        return self._context

    def about(self, offer: Mapping[str, Any], item: Mapping[str, Any]) -> Any:
        """For expressions on one offer; the next call changes what this one gave."""
        context = self.moment()
        context.update({"offer": _plain(offer), "item": _plain(item)})
        return context


def _plain(value: Any, depth: int = 6) -> Any:
    """Only what CEL can hold: a null, a number beyond 64 bits or anything unknown is left out."""
    if isinstance(value, _SIMPLE):
        return value
    if isinstance(value, Mapping):
        pairs = ((str(key), _plain(one, depth - 1)) for key, one in value.items()) if depth else ()
        return {key: one for key, one in pairs if one is not None}
    if isinstance(value, list | tuple):
        return [one for one in (_plain(v, depth - 1) for v in value) if one is not None] if depth else []
    return value if isinstance(value, int) and -(2**63) <= value < 2**63 else None
