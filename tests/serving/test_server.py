"""``bentoml serve serving.service:UserOps``: the real process, socket, workers and feature store."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import httpx
import psutil
import pytest

from features.catalog import NAMES, digest
from serving.schemas import ScoreResponse
from serving.scoring import Model, write_release
from serving.scoring.release import make_current

USERS = [f"u{i}" for i in range(50)]


@pytest.fixture(scope="module")
def home(tmp_path_factory, catalogue_models, published, publish_to):
    home = tmp_path_factory.mktemp("real_home")
    write_release(home / "releases", catalogue_models, digest(), datetime(2026, 11, 21, tzinfo=UTC))
    publish_to(home, published)
    return home


@pytest.fixture(scope="module")
def server(start_server, home):
    server = start_server(home)
    server.wait_ready()
    return server


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def test_scores_come_from_the_published_vectors(client, published, catalogue_models):
    answer = client.post("/v1/score/churn", json={"user_ids": [*USERS, "nobody"]}).json()
    ScoreResponse.model_validate(answer)
    churn = Model.load(catalogue_models["churn"])
    p = churn.probability(published.values, "p_inactive_30d")
    inside = churn.in_cohort(published.values, "p_inactive_30d")
    told = [user["scores"]["p_inactive_30d"]["p"] for user in answer["users"][:-1]]
    assert told == [value if known else None for value, known in zip(p.tolist(), inside, strict=True)]
    assert answer["users"][-1]["status_reason"] == "UNKNOWN_USER"
    assert answer["features"]["stale"] == USERS[40:]


def test_tracing_costs_nothing_while_nobody_asked_for_it(client):
    # BentoML sends this header with every answer for which OpenTelemetry made a span.
    assert "x-bentoml-request-id" not in client.post("/v1/score/churn", json={"user_ids": ["u1"]}).headers


def test_every_address_answers(client):
    assert client.get("/v1/users/u1/profile").json()["profile"]["lifecycle_state"] == "at_risk"
    assert len(client.get("/v1/models").json()["models"]) == 3
    assert client.get("/v1/models/repurchase/card").json()["card"]["name"] == "repurchase"
    for path in ("/livez", "/readyz", "/metrics", "/docs.json", "/schema.json"):
        assert client.get(path).status_code == 200, path


def test_bentomls_own_client_can_call_it(server):
    # In a process of its own: the client leaves its temporary folder to the garbage collector, which warns.
    program = f"""
import bentoml
with bentoml.SyncHTTPClient({server.url!r}) as client:
    answer = client.churn({{"user_ids": ["u1"], "explain": {{"lang": "en"}}}})
print(answer["model"]["name"])
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert told.stdout.strip() == "churn"


def test_the_border_holds_on_a_socket(client, server):
    def endless():
        for _ in range(400):
            yield b" " * 10_000

    chunked = client.post("/v1/score/churn", content=endless(), headers={"content-type": "application/json"})
    assert chunked.status_code == 413
    for answer, status in (
        (client.post("/v1/score/churn", content=b"{"), 400),
        (client.get("/v1/score/churn"), 405),
        (client.get("/nowhere"), 404),
        (client.post("/v1/score/churn", json={"user_ids": ["nobody"], "strict": True}), 404),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in server.log.read_text()


def test_the_workers_count_together(client):
    def counted():
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if 'model="churn",outcome="known"' in line)

    # Each worker writes what it counted twice a second.
    time.sleep(1.5)
    before = counted()
    for _ in range(20):
        with httpx.Client(base_url=client.base_url) as fresh:  # a connection of its own may meet another worker
            fresh.post("/v1/score/churn", json={"user_ids": ["u1"]})
    until(lambda: counted() >= before + 20)
    time.sleep(1.5)
    assert counted() == before + 20


def versions(server, times=8):
    """The model versions that answer now; each question on a connection of its own."""
    told = set()
    for _ in range(times):
        told.add(httpx.get(f"{server.url}/v1/models").json()["models"][0]["version"])
    return told


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_releases_change_under_load_without_an_error(client, server, home, make_models, tmp_path):
    first = (home / "releases" / "current").readlink().name
    stop, failures, answers = threading.Event(), [], []

    def ask():
        with httpx.Client(base_url=server.url, timeout=60) as own:
            while not stop.is_set():
                answer = own.post("/v1/score/churn", json={"user_ids": USERS[:3]})
                answers.append(answer.status_code)
                if answer.status_code != 200 or answer.json()["model"]["version"] not in ("3", "4"):
                    failures.append(answer.text)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        models = make_models(tmp_path, NAMES, digest(), "4", 2)
        second = write_release(home / "releases", models, digest(), datetime(2026, 11, 22, tzinfo=UTC))
        until(lambda: versions(server) == {"4"})
        broken = write_release(home / "releases", models, digest(), datetime(2026, 11, 23, tzinfo=UTC))
        make_current(home / "releases", first)
        until(lambda: versions(server) == {"3"})
        (home / "releases" / broken / "churn" / "inactive.txt").write_text("tree")
        make_current(home / "releases", broken)
        until(lambda: server.log.read_text().count("old one kept") >= 1)
        assert versions(server) == {"3"}
        assert client.get("/readyz").status_code == 200
        make_current(home / "releases", second)
        until(lambda: versions(server) == {"4"})
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        make_current(home / "releases", first)
    assert failures == []
    assert len(answers) > 20


def test_memory_does_not_grow_with_answers(server, client):
    def resident():
        return sum(child.memory_info().rss for child in psutil.Process(server.process.pid).children())

    body = {"user_ids": USERS, "explain": {"level": "full"}}
    for _ in range(20):
        assert client.post("/v1/score/churn", json=body).status_code == 200
    before = resident()
    for _ in range(100):
        client.post("/v1/score/churn", json=body)
    grown = (resident() - before) / 2**20
    assert grown < 30, f"{grown:.0f} MB in 100 answers"
