"""Counting against the acknowledgements: what was answered with 200 is in the log, once, as it was answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pydantic_core import from_json

from serving.chaos.callers import Callers, Question
from serving.chaos.fault import require
from serving.chaos.service import Service
from serving.log import DecisionLog

__all__ = ["check_decisions", "check_told", "settle"]

EVER_US = 2**62


def settle(service: Service, callers: Callers) -> int:
    """Ask again, under the same ids, what got no answer or a refusal: now it must be answered. How many there were."""
    open_ones = [one.question for one in callers.asked if one.reply.status != 200]
    for question in open_ones:
        reply = service.post(question.path, question.content)
        require(reply.status == 200, f"asked again: {reply.refusal or 'no answer'}")
    return len(open_ones)


def check_decisions(log: DecisionLog, callers: Callers) -> str:
    """Require every acknowledged decision once, byte for byte, and every other question once at most; the count."""
    acknowledged = callers.acknowledged()
    asked = {one.question.name for one in callers.asked}
    found: dict[str, bytes] = {}
    times = Counter[str]()
    for row in log.decisions(0, EVER_US):
        if row.request_id in asked:
            times[row.request_id] += 1
            found[row.request_id] = row.response
    lost = sorted(acknowledged.keys() - found.keys())
    require(not lost, f"{len(lost)} acknowledged decisions are lost, {lost[:1]}")
    doubled = [name for name, count in times.items() if count > 1]
    require(not doubled, f"{len(doubled)} questions were decided twice, {doubled[:1]}")
    other = [name for name, content in acknowledged.items() if found[name] != content]
    require(not other, f"{len(other)} decisions are logged otherwise than answered, {other[:1]}")
    return f"{len(acknowledged):,} acknowledged decisions, each kept once"


def check_told(service: Service, callers: Callers, kept: Iterable[str]) -> str:
    """Require of feedback or events that each acknowledged one is kept once; send all again: none counts twice."""
    acknowledged = {
        name
        for one in callers.asked
        if one.reply.status == 200
        for name in _ids(one.question)
        if not one.reply.told.get("rejected")
    }
    times = Counter(kept)
    lost = sorted(acknowledged - times.keys())
    require(not lost, f"{len(lost)} acknowledged entries are lost, {lost[:1]}")
    doubled = [name for name, count in times.items() if count > 1]
    require(not doubled, f"{len(doubled)} entries are kept twice, {doubled[:1]}")
    for one in callers.asked:
        reply = service.post(one.question.path, one.question.content)
        require(reply.status == 200, f"sent again: {reply.refusal or 'no answer'}")
        told, ids = reply.told, _ids(one.question)
        known = sum(name in times for name in ids)
        require(
            (told["accepted"], told["duplicates"]) == (len(ids) - known, known),
            f"sent again: {told['accepted']} accepted and {told['duplicates']} duplicates, {known} were known",
        )
    return f"{len(acknowledged):,} acknowledged entries, each kept once"


def _ids(question: Question) -> list[str]:
    return [str(one["event_id"]) for one in from_json(question.content)["events"]]
