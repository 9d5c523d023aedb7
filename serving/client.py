"""A small client: what is asked and answered are the schemas of the service, and asking twice decides once.

::

    with Client("http://127.0.0.1:3000") as userops:
        answer = userops.next_best_offer(NextBestOffer(user_id="u_1"))
        userops.feedback([FeedbackEvent(event_id="e1", decision_id=answer.decision_id, ...)])

The key is ``USEROPS_KEY``, unless another is given. `AsyncClient` has the same methods, to be awaited. A request that
finds nobody, or a service that is busy, is sent again after a growing pause, or after the one that the service asks
for, always under the same id: a repeated ``request_id`` or ``Idempotency-Key`` is answered with what was answered
first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Literal, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel

from configs.keys import own_key
from serving.conversation import Call, Refused, Retries, converse
from serving.schemas import ScoreRequest, ScoreResponse
from serving.schemas_decision import DecisionRecord, ReplayedDecision, ReplayRequest
from serving.schemas_feedback import BatchAnswer, FeedbackEvent, LiveEvent
from serving.schemas_interest import ConsentAnswer, InterestRequest, InterestResponse, PersonalizationAnswer, TagAnswer
from serving.schemas_nbo import NextBestOffer, NextBestOfferResponse
from serving.schemas_profile import Profile
from serving.schemas_value import ValueResponse

__all__ = ["AsyncClient", "Client", "Refused", "Retries"]

_T = TypeVar("_T", bound=BaseModel)
_Asked = TypeVar("_Asked", NextBestOffer, ScoreRequest, InterestRequest)


def _shown(key: str | None) -> dict[str, str]:
    key = key or own_key()
    return {} if key is None else {"authorization": f"Bearer {key}"}


def _post(path: str, asked: BaseModel, answer: type[_T]) -> Call[_T]:
    content = asked.model_dump_json(exclude_unset=True).encode()
    return Call("POST", path, answer, content, {"content-type": "application/json"})


def _ask(path: str, asked: _Asked, answer: type[_T]) -> Call[_T]:
    """Every attempt carries the same id, also when the caller gave none."""
    return _post(path, asked if asked.request_id else asked.model_copy(update={"request_id": uuid4().hex}), answer)


def _batch(path: str, events: Sequence[BaseModel], key: str | None = None) -> Call[BatchAnswer]:
    listed = ",".join(event.model_dump_json(exclude_unset=True) for event in events)
    headers = {"content-type": "application/json", **({"idempotency-key": key} if key else {})}
    return Call("POST", path, BatchAnswer, f'{{"events":[{listed}]}}'.encode(), headers)


class _Questions:
    """Every question that both clients ask, as a `Call`."""

    def _offer(self, asked: NextBestOffer) -> Call[NextBestOfferResponse]:
        return _ask("/v1/next-best-offer", asked, NextBestOfferResponse)

    def _score(self, model: str, asked: ScoreRequest) -> Call[ScoreResponse]:
        return _ask(f"/v1/score/{quote(model, safe='')}", asked, ScoreResponse)

    def _value(self, asked: ScoreRequest) -> Call[ValueResponse]:
        return _ask("/v1/score/value", asked, ValueResponse)

    def _interest(self, asked: InterestRequest) -> Call[InterestResponse]:
        return _ask("/v1/score/interest", asked, InterestResponse)

    def _feedback(self, events: Sequence[FeedbackEvent], key: str | None) -> Call[BatchAnswer]:
        return _batch("/v1/feedback", events, key or uuid4().hex)

    def _events(self, events: Sequence[LiveEvent]) -> Call[BatchAnswer]:
        return _batch("/v1/events", events)

    def _profile(self, user_id: str) -> Call[Profile]:
        return Call("GET", f"/v1/users/{quote(user_id, safe='')}/profile", Profile)

    def _decision(self, decision_id: str) -> Call[DecisionRecord]:
        return Call("GET", f"/v1/decisions/{quote(decision_id, safe='')}", DecisionRecord)

    def _replay(self, decision_id: str, asked: ReplayRequest | None) -> Call[ReplayedDecision]:
        path = f"/v1/decisions/{quote(decision_id, safe='')}:replay"
        return _post(path, asked or ReplayRequest(), ReplayedDecision)

    def _personalization(self, user_id: str, on: bool) -> Call[PersonalizationAnswer]:
        choice: Literal["on", "off"] = "on" if on else "off"
        path = f"/v1/users/{quote(user_id, safe='')}/personalization"
        content = f'{{"personalization":"{choice}"}}'.encode()
        return Call("PUT", path, PersonalizationAnswer, content, {"content-type": "application/json"})

    def _consent(self, user_id: str, purpose: str, given: bool) -> Call[ConsentAnswer]:
        path = f"/v1/users/{quote(user_id, safe='')}/consents/{quote(purpose, safe='')}"
        content = f'{{"consent":"{"given" if given else "withdrawn"}"}}'.encode()
        return Call("PUT", path, ConsentAnswer, content, {"content-type": "application/json"})

    def _tag(self, user_id: str, tag: str) -> Call[TagAnswer]:
        return Call("DELETE", f"/v1/users/{quote(user_id, safe='')}/tags/{quote(tag, safe='')}", TagAnswer)


class Client(_Questions):
    """Asks and waits; ``transport`` is for tests."""

    def __init__(
        self,
        url: str,
        timeout_s: float = 10.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
        key: str | None = None,
    ) -> None:
        self.retries = retries or Retries()
        self._http = httpx.Client(base_url=url, timeout=timeout_s, transport=transport, headers=_shown(key))

    def next_best_offer(self, asked: NextBestOffer) -> NextBestOfferResponse:
        """Which offer for this person, here and now."""
        return self._send(self._offer(asked))

    def score(self, model: str, asked: ScoreRequest) -> ScoreResponse:
        """The scores of ``churn`` or ``repurchase``."""
        return self._send(self._score(model, asked))

    def value(self, asked: ScoreRequest) -> ValueResponse:
        """What users will spend, and their tiers."""
        return self._send(self._value(asked))

    def interest(self, asked: InterestRequest) -> InterestResponse:
        """What users will want next."""
        return self._send(self._interest(asked))

    def feedback(self, events: Sequence[FeedbackEvent], key: str | None = None) -> BatchAnswer:
        """What became of offers; ``key`` is the Idempotency-Key, one is made up."""
        return self._send(self._feedback(events, key))

    def events(self, events: Sequence[LiveEvent]) -> BatchAnswer:
        """What users do just now."""
        return self._send(self._events(events))

    def profile(self, user_id: str) -> Profile:
        """What is known of one user."""
        return self._send(self._profile(user_id))

    def decision(self, decision_id: str) -> DecisionRecord:
        """What was written down about a decision."""
        return self._send(self._decision(decision_id))

    def replay(self, decision_id: str, asked: ReplayRequest | None = None) -> ReplayedDecision:
        """The same question, decided again."""
        return self._send(self._replay(decision_id, asked))

    def set_personalization(self, user_id: str, on: bool) -> PersonalizationAnswer:
        """Whether what is known of the user may choose for them."""
        return self._send(self._personalization(user_id, on))

    def set_consent(self, user_id: str, purpose: str, given: bool) -> ConsentAnswer:
        """Whether a user agrees to a purpose."""
        return self._send(self._consent(user_id, purpose, given))

    def delete_tag(self, user_id: str, tag: str) -> TagAnswer:
        """Forget an interest."""
        return self._send(self._tag(user_id, tag))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call[_T]) -> _T:
        steps = converse(call, self.retries)
        got: httpx.Response | httpx.TransportError | None = None
        while True:
            try:
                pause = steps.send(got)
            except StopIteration as end:
                answer: _T = end.value
                return answer
            got = None
            if pause is not None:
                time.sleep(pause)
                continue
            try:
                got = self._http.request(call.method, call.path, content=call.content, headers=call.headers)
            except httpx.TransportError as error:
                got = error


class AsyncClient(_Questions):
    """Asks without waiting; the methods are those of `Client`."""

    def __init__(
        self,
        url: str,
        timeout_s: float = 10.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        key: str | None = None,
    ) -> None:
        self.retries = retries or Retries()
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s, transport=transport, headers=_shown(key))

    async def next_best_offer(self, asked: NextBestOffer) -> NextBestOfferResponse:
        """Which offer for this person, here and now."""
        return await self._send(self._offer(asked))

    async def score(self, model: str, asked: ScoreRequest) -> ScoreResponse:
        """The scores of ``churn`` or ``repurchase``."""
        return await self._send(self._score(model, asked))

    async def value(self, asked: ScoreRequest) -> ValueResponse:
        """What users will spend, and their tiers."""
        return await self._send(self._value(asked))

    async def interest(self, asked: InterestRequest) -> InterestResponse:
        """What users will want next."""
        return await self._send(self._interest(asked))

    async def feedback(self, events: Sequence[FeedbackEvent], key: str | None = None) -> BatchAnswer:
        """What became of offers; ``key`` is the Idempotency-Key, one is made up."""
        return await self._send(self._feedback(events, key))

    async def events(self, events: Sequence[LiveEvent]) -> BatchAnswer:
        """What users do just now."""
        return await self._send(self._events(events))

    async def profile(self, user_id: str) -> Profile:
        """What is known of one user."""
        return await self._send(self._profile(user_id))

    async def decision(self, decision_id: str) -> DecisionRecord:
        """What was written down about a decision."""
        return await self._send(self._decision(decision_id))

    async def replay(self, decision_id: str, asked: ReplayRequest | None = None) -> ReplayedDecision:
        """The same question, decided again."""
        return await self._send(self._replay(decision_id, asked))

    async def set_personalization(self, user_id: str, on: bool) -> PersonalizationAnswer:
        """Whether what is known of the user may choose for them."""
        return await self._send(self._personalization(user_id, on))

    async def set_consent(self, user_id: str, purpose: str, given: bool) -> ConsentAnswer:
        """Whether a user agrees to a purpose."""
        return await self._send(self._consent(user_id, purpose, given))

    async def delete_tag(self, user_id: str, tag: str) -> TagAnswer:
        """Forget an interest."""
        return await self._send(self._tag(user_id, tag))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _send(self, call: Call[_T]) -> _T:
        steps = converse(call, self.retries)
        got: httpx.Response | httpx.TransportError | None = None
        while True:
            try:
                pause = steps.send(got)
            except StopIteration as end:
                answer: _T = end.value
                return answer
            got = None
            if pause is not None:
                await asyncio.sleep(pause)
                continue
            try:
                got = await self._http.request(call.method, call.path, content=call.content, headers=call.headers)
            except httpx.TransportError as error:
                got = error
