"""A worker serves the release in force; one that cannot be verified never replaces one that can."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from serving.pickup import Pickup
from serving.scoring import Bundle, current, write_release
from serving.scoring.release import make_current


@pytest.fixture
def pickup(releases, digest):
    told = []
    made = Pickup(releases, lambda folder: Bundle.load(current(folder), digest), again_s=3600, report=told.append)
    made.told = told
    return made


def look(pickup):
    asyncio.run(pickup.look())


def write(releases, model_folders, digest, hours):
    return write_release(releases, model_folders, digest, datetime(2027, 1, 1, hours, tzinfo=UTC))


def test_a_new_release_is_swapped_in(pickup, releases, model_folders, digest):
    pickup.start()
    first = pickup.live
    look(pickup)
    assert pickup.live is first
    second = write(releases, model_folders, digest, 1)
    look(pickup)
    assert pickup.live.release_id == second
    assert first.release_id != second
    assert pickup.told == ["swapped", "swapped"]
    make_current(releases, first.release_id)
    look(pickup)
    assert pickup.live.release_id == first.release_id


@pytest.mark.parametrize("damage", ["truncated", "missing", "dangling", "gone"])
def test_a_broken_release_is_refused_and_the_old_one_kept(pickup, releases, model_folders, digest, damage, caplog):
    pickup.start()
    old = pickup.live
    folder = releases / write(releases, model_folders, digest, 2)
    if damage == "truncated":
        booster = folder / "churn" / "inactive.txt"
        booster.write_bytes(booster.read_bytes()[:-10])
    elif damage == "missing":
        (folder / "release.json").unlink()
    elif damage == "dangling":
        folder.rename(releases / "moved")
    else:
        (releases / "current").unlink()
    with caplog.at_level(logging.ERROR, logger="bentoml.userops"):
        look(pickup)
        look(pickup)
    assert pickup.live is old
    assert pickup.refusal
    assert pickup.told == ["swapped", "refused"]
    assert len([record for record in caplog.records if "old one kept" in record.message]) == 1


def test_a_release_that_was_still_arriving_is_tried_again(pickup, releases, model_folders, digest):
    pickup.start()
    folder = releases / write(releases, model_folders, digest, 3)
    booster = folder / "churn" / "inactive.txt"
    whole = booster.read_bytes()
    booster.write_bytes(whole[:100])
    look(pickup)
    booster.write_bytes(whole)
    look(pickup)
    assert pickup.live.release_id != folder.name
    pickup._again_at = 0.0
    look(pickup)
    assert pickup.live.release_id == folder.name
    assert pickup.refusal is None


def test_the_watcher_outlives_what_it_did_not_expect(pickup, caplog):
    pickup.every_s = 0.0
    looks = 0

    async def broken():
        nonlocal looks
        looks += 1
        if looks == 3:
            raise asyncio.CancelledError
        raise RuntimeError("unexpected")

    pickup.look = broken
    with caplog.at_level(logging.ERROR, logger="bentoml.userops"), pytest.raises(asyncio.CancelledError):
        asyncio.run(pickup.watch())
    assert looks == 3


def test_without_a_release_nothing_is_live(tmp_path, digest):
    pickup = Pickup(tmp_path, lambda folder: Bundle.load(current(folder), digest))
    pickup.start()
    assert pickup.live is None
    assert "no release yet" in pickup.refusal
