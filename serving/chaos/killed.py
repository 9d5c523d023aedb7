"""``kill -9`` of what serves: one worker, everything while it decides and takes feedback, the follower."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import Any

import psutil  # type: ignore[import-untyped]

from serving.chaos.acknowledged import check_decisions, check_told, settle
from serving.chaos.asking import decide, decisions, telling
from serving.chaos.callers import Callers
from serving.chaos.fault import IN_SMALL, Fault, require, until
from serving.chaos.stage import WITNESSES, Stage
from serving.log import DecisionLog

__all__ = ["FAULTS", "a_decision", "feedback_entry", "view_entry"]

BACK_SECONDS = 60.0
FOLLOWING_SECONDS = 180.0  # a follower looks at the whole shop before it takes the first event
CALLERS = 3


def worker(stage: Stage) -> str:
    """One of the workers dies while several callers ask."""
    service = stage.service
    before = service.workers()
    with Callers(service.port, decisions(stage.users[WITNESSES:]), CALLERS) as callers:
        until(lambda: callers.statuses()[200] > 20, BACK_SECONDS, "no decisions")
        os.kill(before[0], signal.SIGKILL)
        answered = callers.statuses()[200]
        until(lambda: callers.statuses()[200] > answered + 20, BACK_SECONDS, "the other worker does not answer")
        back = until(lambda: _alive(service.workers(), before), BACK_SECONDS, "no worker in its place")
    lost = len(callers.unanswered())
    require(set(callers.statuses()) <= {0, 200}, f"answers {dict(callers.statuses())}")
    require(lost <= CALLERS, f"{lost} questions of {CALLERS} callers without an answer")
    settle(service, callers)
    log = stage.log()
    kept = check_decisions(log, callers)
    log.close()
    require((otherwise := stage.witness.differs(service)) is None, f"after: {otherwise}")
    return f"the other worker answered on, {lost} unanswered and asked again; new worker {back:.1f} s later; {kept}"


def all_at_once(stage: Stage) -> str:
    """Every process of the service dies while it decides and takes feedback and events; it is started again."""
    service, log = stage.service, stage.log()
    decided = a_decision(stage)
    users, port = stage.users[WITNESSES:], service.port
    feedback = telling("/v1/feedback", lambda name: feedback_entry(name, decided))
    events = telling("/v1/events", lambda name: view_entry(stage, name))
    with (
        Callers(port, decisions(users), CALLERS) as deciding,
        Callers(port, feedback, 1) as hearing,
        Callers(port, events, 1) as seeing,
    ):
        every = (deciding, hearing, seeing)
        until(lambda: min(one.statuses()[200] for one in every) > 5, BACK_SECONDS, "no answers")
        service.kill()
    answers = deciding.acknowledged()
    service.start()
    told = [
        check_told(service, hearing, [one.event_id for one in log.feedback_of(decided["decision_id"])]),
        check_told(service, seeing, _queued(log)),
    ]
    again = settle(service, deciding)
    kept = check_decisions(log, deciding)
    for question in [one.question for one in deciding.asked if one.question.name in answers][-20:]:
        reply = service.post(question.path, question.content)
        require(reply.content == answers[question.name], "a repeated request_id is answered otherwise")
    log.close()
    require((otherwise := stage.witness.differs(service)) is None, f"after: {otherwise}")
    return f"{kept} and repeated byte for byte, {again} asked again; feedback: {told[0]}; events: {told[1]}"


def parent(stage: Stage) -> str:
    """The parent of the workers dies alone; the service is started again on the same port."""
    service, log = stage.service, stage.log()
    with Callers(service.port, decisions(stage.users[WITNESSES:]), CALLERS) as callers:
        until(lambda: callers.statuses()[200] > 20, BACK_SECONDS, "no decisions")
        orphans = service.workers()
        service.kill_parent()
        gone = until(lambda: not any(map(psutil.pid_exists, orphans)), BACK_SECONDS, "its workers live on")
    service.kill()
    service.start()
    settle(service, callers)
    kept = check_decisions(log, callers)
    log.close()
    require((otherwise := stage.witness.differs(service)) is None, f"after: {otherwise}")
    return f"its workers finished and ended {gone:.1f} s later, the port was free; {kept}"


def follower(stage: Stage) -> str:
    """The process that brings live events online dies; events come meanwhile."""
    service, log = stage.service, stage.log()
    before = service.follower()
    require(before, "there is no follower")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    told = service.post("/v1/events", {"events": [view_entry(stage, f"chaos-follower-{before[0]}")]})
    require(told.told.get("accepted") == 1, f"events: {told.refusal}")
    back = until(lambda: set(service.follower()) - set(before), BACK_SECONDS, "no follower in its place")
    until(lambda: not log.pending_events(None, 1), FOLLOWING_SECONDS, "the event is not online")
    log.close()
    return f"events taken meanwhile; a new follower {back:.1f} s later, and every event online"


def _alive(now: list[int], before: list[int]) -> bool:
    return len(now) == len(before) and now != before


def _queued(log: DecisionLog) -> list[str]:
    return [one.event.event_id for one in log.undrained_events()]


def a_decision(stage: Stage) -> dict[str, Any]:
    """A decision with something shown, that feedback can be about."""
    for user in stage.users[WITNESSES:]:
        told = decide(stage.service, user).told
        if told.get("offers") or told.get("fallback"):
            return told
    raise AssertionError("nobody is offered anything")


def feedback_entry(event_id: str, decided: dict[str, Any]) -> dict[str, Any]:
    """An impression of what a decision showed."""
    shown = decided["offers"][0]["offer_id"] if decided["offers"] else decided["fallback"]["offer_id"]
    told = {"decision_id": decided["decision_id"], "offer_id": shown, "ts": decided["decided_at"]}
    return {"event_id": event_id, "type": "impression", **told}


def view_entry(stage: Stage, event_id: str) -> dict[str, Any]:
    """A view of something by somebody who is no witness."""
    at = (stage.now or datetime.now(UTC)).isoformat()
    return {"event_id": event_id, "user_id": stage.users[-2], "type": "view", "item_id": "chaos", "ts": at}


FAULTS = (
    Fault("worker-killed", "kill -9 of one worker under load", worker, (IN_SMALL,)),
    Fault(
        "service-killed",
        "kill -9 of the whole service during decisions, feedback and events; started again",
        all_at_once,
        (
            "tests/serving/log/test_log_decisions.py::test_every_acknowledged_decision_survives_kill_9",
            "tests/serving/nbo/test_nbo_server.py::test_an_answer_survives_a_kill",
        ),
    ),
    Fault(
        "parent-killed",
        "kill -9 of the parent of the workers alone; started again",
        parent,
        ("tests/serving/test_orphan.py::test_a_worker_whose_parent_is_killed_is_told_to_end",),
    ),
    Fault(
        "follower-killed",
        "kill -9 of the process that brings live events online",
        follower,
        ("tests/serving/test_follow.py::test_the_process_works_and_what_it_was_killed_in_goes_on",),
    ),
)
