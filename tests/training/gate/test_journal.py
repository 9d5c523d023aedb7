"""Champions move all or none, a kill at any point leaves the old or the new, and the audit table says which."""

import psycopg
import pytest

from configs.audit import entries, verify
from configs.errors import GateError, RegistryError
from training.aliases import aliases_of, move, run_of
from training.gate.journal import Move, carry_out, settle, settled
from training.gate.rollback import rollback
from training.registry import CHAMPION, PREVIOUS, Registry

CARRY_OUT = """
import training.gate.journal as journal
from configs import load
{patch}
config = load()
journal.carry_out(config, "promoting", [journal.Move("churn", "2", "r2", "1", "why", {{"auroc": 0.5}})])
"""
POINTS = {
    "before the intent": "journal.append = die",
    "after the intent": "journal._point = die",
    "inside the transaction": "import training.aliases as a; a._run = lambda c, m, v: die() if v == '1' else ''",
    "after the move": "journal._close = die",
    "after the record": "write = journal.append\n"
    "journal.append = lambda uri, *e: die(write(uri, *e)) if e[0].action == 'promoted' else write(uri, *e)",
}


def pointed(config):
    return aliases_of(config, ["churn"])["churn"]


def actions(config):
    return [row.action for row in entries(config.audit_uri)]


def promoted(config, version, before=None, **more):
    (row,) = carry_out(config, "promoting", [Move("churn", version, f"r{version}", before, **more)])
    return row


def test_a_promotion_is_an_intent_and_its_outcome(config):
    promoted(config, "1", None)
    row = promoted(config, "2", "1", comment="better", evidence={"auroc": 0.5})
    assert pointed(config) == {"challenger": "3", CHAMPION: "2", PREVIOUS: "1"}
    assert actions(config) == ["promoting", "promoted"] * 2
    intent = entries(config.audit_uri)[2]
    assert (row.who, row.version, row.run_id, row.comment) == ("wu", "2", "r2", "better")
    assert row.evidence == {**intent.evidence, "intent": intent.digest, "settled_later": False}
    assert (row.evidence["auroc"], row.evidence["before"]) == (0.5, "1")
    assert settle(config) == []
    # MLflow sees what was written past it.
    assert Registry(config).version("churn", CHAMPION).version == "2"


def test_two_machines_that_share_an_audit_table_wait_for_each_other(config, server, monkeypatch):
    monkeypatch.setenv("USEROPS_AUDIT", server + "postgres")
    # As another machine sees it: flock is none of its business.
    with psycopg.connect(server.replace("+psycopg", "") + "postgres", autocommit=True) as other:
        other.execute("SET lock_timeout = '20s'")
        with settled(config):
            asked = other.execute("SELECT pg_try_advisory_lock(hashtext('userops champions'))")
            assert asked.fetchone() == (False,)
        # The server notices a little later that the connection is closed.
        other.execute("SELECT pg_advisory_lock(hashtext('userops champions'))")


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_leaves_the_old_or_the_new_champion_and_a_record_of_it(config, killed, point):
    promoted(config, "1", None)
    killed(CARRY_OUT.format(patch=POINTS[point]))
    after = pointed(config)
    moved = point in ("after the move", "after the record")
    assert (after[CHAMPION], after.get(PREVIOUS)) == (("2", "1") if moved else ("1", None))
    settle(config)
    outcome = {"before the intent": [], "after the record": ["promoting", "promoted"]}.get(
        point, ["promoting", "promoted" if moved else "abandoned"]
    )
    assert actions(config)[2:] == outcome
    assert pointed(config) == after
    assert settle(config) == []
    assert verify(config.audit_uri) == len(outcome) + 2
    # And the same command goes on from there.
    if not moved:
        promoted(config, "2", "1")
    assert pointed(config)[CHAMPION] == "2"


def test_several_models_move_together_or_not_at_all(config):
    promoted(config, "1", None)
    moves = [Move("churn", "2", "r2", "1"), Move("value", "7", "r7", None)]
    with pytest.raises(RegistryError, match="value has no version '7'"):
        carry_out(config, "promoting", moves)
    assert pointed(config)[CHAMPION] == "1"
    assert [(row.action, row.model) for row in settle(config)] == [("abandoned", "churn"), ("abandoned", "value")]


def test_a_champion_that_changed_meanwhile_is_not_overwritten(config):
    promoted(config, "1", None)
    with pytest.raises(GateError, match="the champion changed while this was decided"):
        promoted(config, "3", "2")
    assert actions(config) == ["promoting", "promoted"]


def test_rollback_swaps_champion_and_previous_there_and_back(config):
    with pytest.raises(GateError, match="nothing to go back to"):
        rollback(config, "churn")
    promoted(config, "1", None)
    with pytest.raises(GateError, match="nothing to go back to"):
        rollback(config, "churn")
    promoted(config, "2", "1")
    row = rollback(config, "churn", "complaints")
    assert (pointed(config)[CHAMPION], pointed(config)[PREVIOUS]) == ("1", "2")
    assert (row.action, row.version, row.comment, row.evidence["before"]) == ("rolled_back", "1", "complaints", "2")
    assert row.run_id == run_of(config, "churn", "1") == Registry(config).version("churn", "1").run_id
    rollback(config, "churn")
    assert (pointed(config)[CHAMPION], pointed(config)[PREVIOUS]) == ("2", "1")


def test_rollback_needs_no_heavy_library(config, killed):
    promoted(config, "1", None)
    promoted(config, "2", "1")
    killed(
        "import sys, userops\nfrom training.gate.verbs import rollback\nrollback('churn')\n"
        "heavy = {'mlflow', 'pandas', 'lightgbm', 'ibis', 'duckdb', 'sklearn', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\ndie()"
    )
    assert pointed(config)[CHAMPION] == "1"


def test_an_unknown_table_is_left_to_mlflow(config, monkeypatch):
    monkeypatch.setattr("training.aliases.COLUMNS", {"another", "schema"})
    move(config, {"churn": {CHAMPION: "2", PREVIOUS: "1"}})
    expected = {"challenger": "3", CHAMPION: "2", PREVIOUS: "1"}
    assert pointed(config) == expected
    assert run_of(config, "churn", "2") == Registry(config).version("churn", "2").run_id
    monkeypatch.undo()
    assert pointed(config) == expected


def test_where_aliases_move_one_by_one_a_half_done_group_is_brought_to_its_end(config, monkeypatch):
    promoted(config, "1", None)
    monkeypatch.setattr("training.gate.journal._point", lambda config, intents: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        promoted(config, "2", "1")
    monkeypatch.undo()
    move(config, {"churn": {CHAMPION: "2"}})  # and killed before `previous`
    (row,) = settle(config)
    assert (row.action, row.evidence["settled_later"]) == ("promoted", True)
    assert (pointed(config)[CHAMPION], pointed(config)[PREVIOUS]) == ("2", "1")
