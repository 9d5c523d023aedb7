"""A service over a Redis that goes and comes back: it says so at once, tells no secret, and needs no restart."""

import dataclasses
import time
from datetime import UTC, datetime

import pytest

from features import online
from features.catalog import digest
from features.redis_server import redis_server
from serving import service
from serving.scoring.release import write_release

URL, LIMIT = "/v1/score/churn", 60.0
SECRET = "s3cret-of-tests"


@pytest.fixture
def redis(redis_program, monkeypatch):
    with redis_server(SECRET) as server:
        monkeypatch.setenv("USEROPS_ONLINE", server.uri())
        yield server


def test_scores_are_503_while_redis_is_down_and_200_once_it_is_back(
    redis, tmp_path, monkeypatch, catalogue_models, published, publish_into, in_process
):
    write_release(tmp_path / "releases", catalogue_models, digest(), datetime.now(UTC), {"alias": "champion"})
    monkeypatch.setattr(service, "CONFIG", dataclasses.replace(service.CONFIG, home=tmp_path))
    publish_into(online.open_store(redis.uri()), published)
    with in_process(service.UserOps.to_asgi()) as client:

        def ask():
            return client.post(URL, json={"user_ids": ["u1", "nobody"]})

        assert [user["known"] for user in ask().json()["users"]] == [True, False]
        redis.stop()
        for answer in (ask(), ask(), ask(), client.get("/readyz"), client.get("/v1/users/u1/profile")):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
            assert not {SECRET, str(redis.port)} & set(answer.text.replace(":", " ").replace("/", " ").split())
        assert client.get("/livez").status_code == 200
        redis.start()
        # It holds nothing now: nobody is a stranger for that.
        wait(lambda: "nothing is published" in ask().text)
        assert ask().status_code == 503
        publish_into(online.open_store(redis.uri()), published)
        wait(lambda: ask().status_code == 200)
        assert [user["known"] for user in ask().json()["users"]] == [True, False]


def wait(true):
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end, "it does not come back"
        time.sleep(0.05)
