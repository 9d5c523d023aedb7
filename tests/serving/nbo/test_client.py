"""The client asks again under the same id, waits as long as it is told to, and speaks the contract's types."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client import AsyncClient, Client, Refused, Retries
from serving.schemas_feedback import FeedbackEvent
from serving.schemas_nbo import NextBestOffer

NOW = datetime(2026, 11, 21, tzinfo=UTC)
QUICK = Retries(attempts=4, first_s=1e-4, longest_s=1e-3)
DONE = {"accepted": 1, "duplicates": 0, "rejected": [], "late": [], "took_ms": 0.1}
EVENT = FeedbackEvent(event_id="e1", decision_id="d1", offer_id="o1", type="click", ts=NOW)


class Script:
    """Answers in turn with what it was given: a status, a response or an error; remembers what was asked."""

    def __init__(self, *turns):
        self.turns, self.asked = list(turns), []

    def __call__(self, request):
        self.asked.append(request)
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return turn if isinstance(turn, httpx.Response) else httpx.Response(turn, json={"detail": "no"})


def done():
    return httpx.Response(200, json=DONE)


def feedback(script, way):
    """Send one event by either client."""
    if way == "sync":
        with Client("http://test", retries=QUICK, transport=httpx.MockTransport(script)) as client:
            return client.feedback([EVENT])

    async def send():
        async with AsyncClient("http://test", retries=QUICK, transport=httpx.MockTransport(script)) as client:
            return await client.feedback([EVENT])

    return asyncio.run(send())


@pytest.mark.parametrize("way", ["sync", "async"])
def test_it_asks_again_under_the_same_key(way):
    script = Script(503, httpx.ConnectError("refused"), 429, done())
    assert feedback(script, way).accepted == 1
    assert len(script.asked) == 4
    assert len({request.headers["idempotency-key"] for request in script.asked}) == 1
    assert len({request.content for request in script.asked}) == 1


def test_a_decision_asked_again_carries_the_same_made_up_id():
    script = Script(503, 400)
    with Client("http://test", retries=QUICK, transport=httpx.MockTransport(script)) as client:
        for asked in (NextBestOffer(user_id="u1"),):
            with pytest.raises(Refused) as refused:
                client.next_best_offer(asked)
    ids = [json.loads(request.content)["request_id"] for request in script.asked]
    assert ids[0] == ids[1]
    assert refused.value.status == 400


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(("turns", "status"), [([503] * 4, 503), ([400], 400), ([409], 409), ([404], 404)])
def test_it_gives_up_when_there_is_no_point(way, turns, status):
    script = Script(*turns)
    with pytest.raises(Refused) as refused:
        feedback(script, way)
    assert refused.value.status == status
    assert refused.value.problem == {"detail": "no"}
    assert script.turns == []


def test_nobody_there():
    with pytest.raises(Refused) as refused:
        feedback(Script(*[httpx.ConnectError("refused")] * 4), "sync")
    assert refused.value.status == 0
    assert isinstance(refused.value.__cause__, httpx.ConnectError)


def test_an_error_that_is_no_document_is_told_all_the_same():
    with pytest.raises(Refused, match="gateway"):
        feedback(Script(httpx.Response(418, text="a gateway in between")), "sync")


@given(attempt=st.integers(0, 12), asked_s=st.integers(0, 20))
def test_a_pause_is_no_shorter_than_asked_and_never_too_long(attempt, asked_s):
    retries = Retries(first_s=0.1, longest_s=10.0)
    for after in (str(asked_s), format_datetime(NOW + timedelta(seconds=asked_s), usegmt=True)):
        pause = retries.pause_s(attempt, after, NOW)
        assert min(10.0, max(asked_s, 0.05 * 2**attempt)) <= pause <= 10.0
    assert retries.pause_s(attempt, "soon", NOW) <= 10.0


def test_it_waits_as_long_as_it_is_told(monkeypatch):
    slept = []
    monkeypatch.setattr("serving.client.time.sleep", slept.append)
    script = Script(httpx.Response(503, headers={"retry-after": "3"}, json={}), done())
    with Client("http://test", transport=httpx.MockTransport(script)) as client:
        client.feedback([EVENT])
    assert slept == [3.0]
