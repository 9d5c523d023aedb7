"""Faults of the stores: published features, the database of decisions, MLflow."""

from __future__ import annotations

import os
import signal
import socket
import time

from serving.chaos.acknowledged import check_decisions, settle
from serving.chaos.asking import check_refusal, decide, decisions, fell_back, refused, unreadable
from serving.chaos.callers import Callers
from serving.chaos.fault import IN_SMALL, Fault, require, until
from serving.chaos.stage import WITNESSES, Stage

__all__ = ["FAULTS"]

BACK_SECONDS = 30.0
LATE_MS, GIVEN_MS = 300, 50


def online_down(stage: Stage) -> str:
    """Redis is killed and started again with what it held."""
    witness, service, redis = stage.witness, stage.team, stage.redis
    require((otherwise := witness.differs(service)) is None, f"before: {otherwise}")
    redis.stop()
    try:
        seen = unreadable(service, witness.users[0])
        require(service.get("/readyz").status == 503, "/readyz says that all is well")
    finally:
        redis.start()
    back = until(lambda: witness.differs(service) is None, BACK_SECONDS, "not as before")
    return f"{seen}, /readyz 503; as before {back:.1f} s after Redis was back"


def online_slow(stage: Stage) -> str:
    """Redis answers late, then not at all, then again."""
    witness, service, redis = stage.witness, stage.team, stage.redis
    require((otherwise := witness.differs(service)) is None, f"before: {otherwise}")
    _pause(redis.port, LATE_MS)
    late = decide(service, stage.users[-1], timeout_ms=GIVEN_MS)
    reason = str(late.told.get("status_reason"))
    require(reason in ("TIMEOUT", "FEATURES_UNAVAILABLE"), f"{LATE_MS} ms late: {late.status} {reason}")
    seen = fell_back(f"{LATE_MS} ms late, {GIVEN_MS} given: offers", late, reason)
    assert redis.process is not None
    os.kill(redis.process.pid, signal.SIGSTOP)
    try:
        hangs = unreadable(service, witness.users[0])
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)
    back = until(lambda: witness.differs(service) is None, BACK_SECONDS, "not as before")
    return f"{seen}; hanging: {hangs}; as before {back:.1f} s after"


def postgres_restarted(stage: Stage) -> str:
    """PostgreSQL is ended in the middle of decisions and started again."""
    witness, service, postgres = stage.witness, stage.team, stage.postgres
    uri = postgres.uri("decisions")
    with Callers(service.port, decisions(stage.users[WITNESSES:]), connections=3) as callers:
        until(lambda: callers.statuses()[200] > 20, BACK_SECONDS, "no decisions")
        postgres.stop()
        try:
            seen = [refused("offers", decide(service, stage.users[-1]))]
            seen.append(refused("feedback", service.post("/v1/feedback", _feedback())))
            seen.append(refused("scores", witness.ask_scores(service)))
        finally:
            postgres.start()
        back = until(lambda: decide(service, stage.users[-1]).status == 200, BACK_SECONDS, "no decision")
        time.sleep(0.5)
    for one in callers.asked:
        if one.reply.status != 200:
            check_refusal("a decision", one.reply)
    log = stage.log(uri)
    again = settle(service, callers)
    kept = check_decisions(log, callers)
    log.close()
    require((otherwise := witness.differs(service)) is None, f"after: {otherwise}")
    return f"{', '.join(seen)}; decisions {back:.1f} s after it was back; {kept}, {again} asked again"


def mlflow_down(stage: Stage) -> str:
    """MLflow's database and files are taken away and put back."""
    witness, service = stage.witness, stage.service
    names = [stage.home / name for name in ("mlflow.db", "mlartifacts") if (stage.home / name).exists()]
    for path in names:
        path.rename(path.with_name(f"{path.name}.away"))
    try:
        for _ in range(5):
            require((otherwise := witness.differs(service)) is None, str(otherwise))
            require(decide(service, stage.users[-1]).status == 200, "no decision")
        require(service.get("/v1/models/churn/card").status == 200, "no card")
        require(service.get("/readyz").status == 200, "/readyz is not 200")
    finally:
        for path in names:
            path.with_name(f"{path.name}.away").rename(path)
    return f"{', '.join(path.name for path in names) or 'there was none'} away: every answer as before, /readyz 200"


def _pause(port: int, milliseconds: int) -> None:
    """Let a Redis on loopback answer nobody for a while."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"CLIENT PAUSE {milliseconds} ALL\r\n".encode())
        connection.recv(16)


def _feedback() -> dict[str, object]:
    told = {
        "event_id": "chaos",
        "decision_id": "d_none",
        "type": "click",
        "offer_id": "o",
        "ts": "2026-01-01T00:00:00Z",
    }
    return {"events": [told]}


FAULTS = (
    Fault(
        "online-down",
        "Redis killed, then started again with its data",
        online_down,
        ("tests/serving/test_online_down.py::test_scores_are_503_while_redis_is_down_and_200_once_it_is_back",),
    ),
    Fault(
        "online-slow",
        f"Redis {LATE_MS} ms late, then hanging (SIGSTOP), then well",
        online_slow,
        ("tests/features/test_online_redis.py::test_one_that_accepts_and_says_nothing_is_given_up",),
    ),
    Fault(
        "postgres-restarted",
        "PostgreSQL ended under load, then started again",
        postgres_restarted,
        ("tests/serving/nbo/test_nbo_postgres.py::test_a_killed_postgres_costs_nothing_that_was_answered",),
    ),
    Fault("mlflow-down", "MLflow's database and artefacts taken away", mlflow_down, (IN_SMALL,)),
)
