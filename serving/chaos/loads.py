"""Too much at once, and the end of a service under load: whoever is accepted is answered, whoever is not knows when."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

import numpy as np

from serving.chaos.acknowledged import check_decisions
from serving.chaos.asking import check_refusal, decide, decisions
from serving.chaos.callers import Asked, Callers
from serving.chaos.fault import Fault, require, until
from serving.chaos.stage import WITNESSES, Stage

__all__ = ["FAULTS"]

USUAL, TIMES = 8, 10  # callers that keep two workers busy, and how many times as many come
SECONDS = 6.0
BUDGET_MS = 1_000.0  # the p99 of whoever is accepted, callers and service on the same cores
BACK_SECONDS = 10.0


def ten_times(stage: Stage) -> str:
    """Ten times as many callers as keep the service busy."""
    service, log = stage.service, stage.log()
    make = decisions(stage.users[WITNESSES:])
    with Callers(service.port, make, USUAL) as usual:
        time.sleep(SECONDS / 2)
    with Callers(service.port, decisions(stage.users[WITNESSES:]), USUAL * TIMES) as flood:
        time.sleep(SECONDS)
    after = decide(service, stage.users[-1])
    accepted, refusals = _answered(flood.asked)
    for one in refusals:
        check_refusal("refused", one.reply)
    lost = len(flood.unanswered())
    require(not lost, f"{lost} questions without any answer")
    p99, before = _p99(accepted), _p99(_answered(usual.asked)[0])
    require(p99 <= BUDGET_MS, f"p99 of the accepted {p99:.0f} ms")
    require(
        after.status == 200 and after.seconds * 1e3 <= BUDGET_MS, f"right after: {after.status} {after.seconds:.2f} s"
    )
    kept = check_decisions(log, flood)
    log.close()
    return (
        f"{len(accepted):,} accepted (p99 {p99:.0f} ms; {before:.0f} ms at {USUAL} callers), {len(refusals):,} refused"
        f" with Retry-After, none unanswered; right after {after.seconds * 1e3:.0f} ms; {kept}"
    )


def drained(stage: Stage) -> str:
    """SIGTERM while callers ask; then it is started again."""
    service, log = stage.service, stage.log()
    process = service.process
    with Callers(service.port, decisions(stage.users[WITNESSES:]), USUAL) as callers:
        until(lambda: callers.statuses()[200] > 30, BACK_SECONDS, "no decisions")
        os.kill(process.pid, signal.SIGTERM)
        began = time.monotonic()
        process.wait(60)
        took = time.monotonic() - began
    service.stop()
    kept = check_decisions(log, callers)
    heard = {row.request_id for row in log.decisions(0, 2**62)}
    silent = [one.name for one in callers.unanswered() if one.name in heard]
    log.close()
    require(set(callers.statuses()) <= {0, 200, 503}, f"answers {dict(callers.statuses())}")
    require(not silent, f"{len(silent)} decisions were made and not answered")
    service.start()
    require((otherwise := stage.witness.differs(service)) is None, f"after: {otherwise}")
    return f"ended in {took:.1f} s; every decision made was answered; {kept}"


def _answered(asked: Sequence[Asked]) -> tuple[list[Asked], list[Asked]]:
    accepted = [one for one in asked if one.reply.status == 200]
    return accepted, [one for one in asked if one.reply.status not in (0, 200)]


def _p99(asked: Sequence[Asked]) -> float:
    return float(np.quantile([one.reply.seconds for one in asked], 0.99) * 1e3) if asked else float("inf")


FAULTS = (
    Fault(
        "load-10x",
        f"{USUAL * TIMES} callers for {SECONDS:g} s, where {USUAL} keep the workers busy",
        ten_times,
        ("tests/serving/access/test_server_access.py::test_a_flood_is_refused_at_once_and_recovered_from",),
    ),
    Fault(
        "sigterm",
        "SIGTERM under load, then started again",
        drained,
        (
            "tests/serving/access/test_server_access.py::"
            "test_sigterm_answers_what_is_being_answered_and_refuses_the_rest",
        ),
    ),
)
