"""A release holds champions and says so in the audit table; half-done promotions are brought to their end before."""

import fcntl
from concurrent.futures import ThreadPoolExecutor

import pytest

from configs.audit import entries
from configs.errors import RegistryError
from serving.scoring import Bundle, current
from training.aliases import aliases_of, move
from training.gate.journal import Move, carry_out
from training.registry import CHAMPION, Registry
from training.release import release


def test_a_release_is_recorded_for_every_model_in_it(config):
    with pytest.raises(RegistryError, match="there is no champion to release"):
        release(config)
    move(config, {"churn": {CHAMPION: "2"}})
    made = release(config)
    assert Bundle.load(current(config.home / "releases")).models["churn"].version == "2"
    (row,) = entries(config.audit_uri)
    assert (row.action, row.model, row.version, row.evidence) == (
        "released",
        "churn",
        "2",
        {"release_id": made.release_id},
    )
    assert row.run_id == Registry(config).version("churn", "2").run_id


def test_a_release_closes_what_a_killed_promotion_left_open(config, killed):
    carry_out(config, "promoting", [Move("churn", "1", "r1", None)])
    killed(
        "import training.gate.journal as journal\nfrom configs import load\njournal._close = die\n"
        "journal.carry_out(load(), 'promoting', [journal.Move('churn', '2', 'r2', '1')])"
    )
    assert release(config).versions == {"churn": "2"}
    assert [row.action for row in entries(config.audit_uri)][2:] == ["promoting", "promoted", "released"]
    assert aliases_of(config, ["churn"])["churn"]["previous"] == "1"


def test_a_release_that_was_killed_before_its_row_gets_it_from_whoever_comes_next(config, killed):
    move(config, {"churn": {CHAMPION: "2"}})
    killed(
        "import training.release as room\nfrom configs import load\nroom.released = die\nroom.release(load())",
    )
    in_force = Bundle.load(current(config.home / "releases"))
    assert entries(config.audit_uri) == []
    carry_out(config, "promoting", [Move("churn", "3", "r3", "2")])
    row = entries(config.audit_uri)[0]
    assert (row.action, row.model, row.version, row.who) == ("released", "churn", "2", "wu")
    assert row.run_id == Registry(config).version("churn", "2").run_id
    assert row.evidence == {"release_id": in_force.release_id, "settled_later": True}
    release(config)
    assert [row.action for row in entries(config.audit_uri)] == ["released", "promoting", "promoted", "released"]


def test_a_release_that_was_killed_while_it_was_written_leaves_nothing_for_ever(config, killed):
    move(config, {"churn": {CHAMPION: "2"}})
    first = release(config).release_id
    killed(
        "from serving.scoring import Bundle\nfrom configs import load\nfrom training.release import release\n"
        "Bundle.load = die\nrelease(load())",
    )
    releases = config.home / "releases"
    assert current(releases).name == first
    assert any(path.name.startswith(".") for path in releases.iterdir())
    made = release(config)
    assert {path.name for path in releases.iterdir()} == {"current", first, made.release_id}


def test_nobody_moves_a_champion_while_a_release_is_made(config, monkeypatch):
    move(config, {"churn": {CHAMPION: "2"}})
    asked = []

    def read(config, models):
        with (config.home / "champions.lock").open("w") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        asked.append(list(models))
        return aliases_of(config, models)

    monkeypatch.setattr("training.release.aliases_of", read)
    release(config)
    assert asked == [list(config.models)]  # all champions as they stood at one instant


def test_of_two_releases_at_once_one_comes_after_the_other_and_both_are_recorded(config):
    move(config, {"churn": {CHAMPION: "2"}})
    with ThreadPoolExecutor(2) as pool:
        made = [one.release_id for one in pool.map(lambda _: release(config), range(2))]
    assert Bundle.load(current(config.home / "releases")).release_id in made
    assert [row.evidence["release_id"] for row in entries(config.audit_uri)] in (made, made[::-1])
    assert {path.name for path in (config.home / "releases").iterdir()} == {"current", *made}
