"""A full disk: under the decision log, an ingest, a publication and a release."""

from __future__ import annotations

from serving.chaos.acknowledged import check_decisions, check_told, settle
from serving.chaos.asking import check_refusal, decide, decisions, refused, telling
from serving.chaos.callers import Callers
from serving.chaos.commands import shop_of
from serving.chaos.fault import IN_SMALL, Fault, require, until
from serving.chaos.killed import a_decision, feedback_entry
from serving.chaos.stage import WITNESSES, Stage

__all__ = ["FAULTS"]

BACK_SECONDS = 60.0
AT_ONCE = 25


def log(stage: Stage) -> str:
    """The disk of the whole home is full while decisions are made and feedback comes."""
    service, decided = stage.service, a_decision(stage)
    users, database = stage.users[WITNESSES:], stage.log()
    feedback = telling("/v1/feedback", lambda name: feedback_entry(name, decided))
    with (
        Callers(service.port, decisions(users), 2) as deciding,
        Callers(service.port, feedback, 1) as hearing,
    ):
        until(lambda: deciding.statuses()[200] > AT_ONCE, BACK_SECONDS, "no decisions")
        with stage.disk.full(service.workers()):
            until(lambda: deciding.statuses()[503] > 0, BACK_SECONDS, "decisions go on without room")
            seen = refused("offers", decide(service, users[-1]))
            until(lambda: hearing.statuses()[503] > 0, BACK_SECONDS, "feedback goes on without room")
            scores = stage.witness.ask_scores(service)
        back = until(lambda: decide(service, users[-1]).status == 200, BACK_SECONDS, "no decision with room again")
    for one in (*deciding.asked, *hearing.asked):
        if one.reply.status != 200:
            check_refusal(one.question.path, one.reply)
    again = settle(service, deciding)
    kept = check_decisions(database, deciding)
    check_told(service, hearing, [one.event_id for one in database.feedback_of(decided["decision_id"])])
    database.close()
    require((otherwise := stage.witness.differs(service)) is None, f"after: {otherwise}")
    return f"{seen}, scores {scores.status}; decisions {back:.1f} s after there was room; {kept}, {again} asked again"


def ingest(stage: Stage) -> str:
    """There is no room for the events of a file."""
    words, home = ("ingest", "shop", "--data", str(shop_of(stage))), stage.home.parent / "full"
    home.mkdir()
    with stage.disk.full() as before:
        code, said = stage.ended(stage.begin(*words, before=before, home=home))
    require(code == 1, f"ended with {code}: {said}")
    require(said.startswith("error:"), f"no sentence of ours: {said}")
    again = stage.run(*words, home=home)
    require("duplicates 0" in again and "accepted 0" not in again, f"with room again: {again}")
    return f"'{said}'; with room again: {again}"


def publish(stage: Stage) -> str:
    """There is no room for a publication."""
    return _command(stage, "features", "publish")


def release(stage: Stage) -> str:
    """There is no room for a release."""
    return _command(stage, "release")


def _command(stage: Stage, *words: str) -> str:
    service, witness = stage.service, stage.witness
    require((otherwise := witness.differs(service)) is None, f"before: {otherwise}")
    with stage.disk.full() as before:
        code, said = stage.ended(stage.begin(*words, before=before))
        require(code == 1, f"ended with {code}: {said}")
        require(said.startswith("error:"), f"no sentence of ours: {said}")
        scores = witness.ask_scores(service)
    require(scores.status in (200, 503), f"scores {scores.status}")
    stage.run(*words)
    until(lambda: witness.differs(service) is None, BACK_SECONDS, "not as before")
    return f"'{said}'; answers as before; with room again it ended well"


FAULTS = (
    Fault("disk-full-decisions", "no room for the decision log, under load", log, (IN_SMALL,)),
    Fault(
        "disk-full-ingest",
        "no room for an ingest",
        ingest,
        (
            "tests/serving/chaos/test_disk_full.py::test_an_ingest_leaves_the_store_as_it_was_and_takes_everything_later",
        ),
    ),
    Fault(
        "disk-full-publish",
        "no room for a publication",
        publish,
        ("tests/serving/chaos/test_disk_full.py::test_a_publication_leaves_everybody_as_before",),
    ),
    Fault(
        "disk-full-release",
        "no room for a release",
        release,
        ("tests/serving/chaos/test_disk_full.py::test_a_release_leaves_the_old_one_in_force",),
    ),
)
