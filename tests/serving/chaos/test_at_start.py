"""A service that starts on a release that was tampered with answers nothing, says why, and takes the next good one."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime

from features.catalog import digest
from serving import service
from serving.scoring.release import make_current, write_release

LIMIT = 60.0


def test_nothing_is_answered_from_a_tampered_release_and_a_good_one_is_picked_up(
    tmp_path, monkeypatch, catalogue_models, published, in_process
):
    releases = tmp_path / "releases"
    good = write_release(releases, catalogue_models, digest(), datetime(2026, 11, 21, tzinfo=UTC))
    bad = write_release(releases, catalogue_models, digest(), datetime(2026, 11, 22, tzinfo=UTC))
    booster = releases / bad / "churn" / "inactive.txt"
    booster.write_bytes(booster.read_bytes().replace(b"leaf_value=", b"leaf_value=9", 1))
    monkeypatch.setattr(service, "CONFIG", dataclasses.replace(service.CONFIG, home=tmp_path))
    monkeypatch.setattr(service, "open_reader", lambda config: published)
    with in_process(service.UserOps.to_asgi()) as client:

        def ask():
            return client.post("/v1/score/churn", json={"user_ids": ["u1"]})

        for refused in (ask(), client.get("/readyz")):
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
            assert "not the file that was released" in refused.json()["detail"]
        assert client.get("/livez").status_code == 200
        make_current(releases, good)
        end = time.monotonic() + LIMIT
        while ask().status_code != 200:
            assert time.monotonic() < end, "a good release is not picked up"
            time.sleep(0.05)
        assert ask().json()["model"]["release_id"] == good
        assert client.get("/readyz").status_code == 200
