"""The real process with two workers: decisions are made once, kept over a restart, and no request breaks it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import psutil
import pytest

from serving.client import Client, Refused
from serving.log import DecisionLog
from serving.schemas import ScoreRequest
from serving.schemas_decision import ReplayRequest
from serving.schemas_feedback import FeedbackEvent, LiveEvent
from serving.schemas_nbo import NextBestOffer

AT = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(nbo_home):
    home = nbo_home()
    DecisionLog.open(f"sqlite:///{home / 'decisions.db'}").close()  # what brings its schema up to date is not lean
    return home


@pytest.fixture(scope="module")
def server(start_server, home):
    server = start_server(home)
    server.wait_ready()
    return server


def ask(url, **body):
    return httpx.post(f"{url}/v1/next-best-offer", json=body, timeout=60)


def test_workers_stay_lean(server):
    assert ask(server.url, user_id="u1").status_code == 200
    heavy = ("pandas", "feast", "mlflow", "sklearn", "shap", "sqlalchemy", "alembic", "matplotlib")
    for worker in psutil.Process(server.process.pid).children():
        mapped = {one.path for one in worker.memory_maps()} if worker.is_running() else set()
        found = {name for name in heavy for path in mapped if f"/{name}/" in path}
        assert not found, found


def test_the_parent_of_the_workers_loads_nothing_heavy():
    program = "import sys, serving.service; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    heavy = {"lightgbm", "numba", "pandas", "sklearn", "pyarrow", "duckdb", "ibis", "sqlalchemy", "cel", "serving.live"}
    assert not heavy & set(told.stdout.split())


def test_twins_at_both_workers_decide_once(server, nbo_log_of, home):
    for name in ("one", "two", "three"):
        body = {"user_id": "u1", "request_id": f"twins-{name}"}
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _, body=body: ask(server.url, **body), range(16)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
    log = nbo_log_of(home)
    day = 86_400_000_000
    at_us = int(AT.timestamp()) * 1_000_000
    assert [row.request_id for row in log.decisions(at_us - day, at_us + day)].count("twins-one") == 1


def test_the_client_walks_the_whole_way(server):
    with Client(server.url) as userops:
        answer = userops.next_best_offer(NextBestOffer(user_id="u3"))
        offer = answer.offers[0]
        told = {"decision_id": answer.decision_id, "offer_id": offer.offer_id, "ts": AT}
        taken = userops.feedback([FeedbackEvent(event_id="c1", type="impression", **told)])
        assert (taken.accepted, taken.rejected) == (1, [])
        looked = LiveEvent(event_id="v1", user_id="u3", type="view", item_id="tea_1", ts=AT)
        assert userops.events([looked]).accepted == 1
        assert userops.replay(answer.decision_id).identical
        assert userops.decision(answer.decision_id).user_id == "u3"
        valued = userops.value(ScoreRequest(user_ids=["u3"])).users[0]
        assert valued.value_tier == answer.user_state.value_tier
        assert userops.profile("u3").profile["value_tier"] == valued.value_tier
        assert userops.set_personalization("u3", False).personalization == "off"
        assert userops.profile("u3").personalization == "off"
        with pytest.raises(Refused) as refused:
            userops.replay("d_nothing", ReplayRequest())
        assert refused.value.status == 404


CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method,allow_header_conformance"
)


def test_schemathesis_finds_no_answer_that_the_document_does_not_promise(server, tmp_path):
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/docs.json", "--checks", CHECKS]
    # Some 10 cases per address; the default of 100 takes minutes.
    limits = ["--max-examples", "10", "--phases", "coverage,fuzzing", "--seed", "1", "--no-shrink", "--warnings", "off"]
    told = subprocess.run([*command, *limits], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert told.returncode == 0, told.stdout[-6000:] + told.stderr[-2000:]
    assert re.search(r"Operations:\s+20 selected", told.stdout), told.stdout
    assert "Traceback" not in server.log.read_text()


def test_an_answer_survives_a_kill(server, start_server, home):
    body = {"user_id": "u2", "request_id": "before-the-end", "limit": 2}
    before = ask(server.url, **body)
    for worker in psutil.Process(server.process.pid).children(recursive=True):
        worker.send_signal(signal.SIGKILL)
    server.stop()
    again = start_server(home)
    again.wait_ready()
    after = ask(again.url, **body)
    assert after.content == before.content
    assert ask(again.url, **(body | {"limit": 3})).status_code == 409
    decision_id = json.loads(before.content)["decision_id"]
    told = httpx.post(f"{again.url}/v1/decisions/{decision_id}:replay", json={}, timeout=60).json()
    assert told["identical"], told["differences"]
