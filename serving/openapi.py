"""The OpenAPI document: BentoML's own leaves out the GET routes and contradicts its errors, so this one is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from serving.access.scopes import OPEN, scopes_of
from serving.schemas import Card, Models, ProblemBody, ScoreRequest, ScoreResponse
from serving.schemas_decision import (
    AudienceRequest,
    AudienceResponse,
    DecisionRecord,
    ExplainedDecision,
    ExplainRequest,
    ReplayedDecision,
    ReplayRequest,
)
from serving.schemas_feedback import BatchAnswer, EventBatch, FeedbackBatch, FeedbackEvent, LiveEvent
from serving.schemas_interest import (
    Consent,
    ConsentAnswer,
    InterestRequest,
    InterestResponse,
    Personalization,
    PersonalizationAnswer,
    TagAnswer,
)
from serving.schemas_nbo import MOST_CANDIDATES, NextBestOffer, NextBestOfferResponse
from serving.schemas_profile import Profile
from serving.schemas_value import ValueResponse

__all__ = ["document"]

_ERRORS = {
    400: "The request cannot be understood",
    401: "No key, or none in force",
    403: "The key has not the scope that this asks for; without any key issued: not from this machine",
    404: "No such user (strict), model, decision or release",
    405: "The address does not answer that method",
    408: "The body did not arrive in time",
    409: "The request_id or Idempotency-Key came before with another body",
    410: "This person was erased by userops forget: nothing is written of them any more",
    413: "Too many users or candidates, or too long a body",
    415: "The body is not application/json",
    414: "The address is too long",
    422: "Understood, and cannot be answered: as_of, objective, head, store, ...",
    429: "This key has asked as often as it may, or too many wrong keys came; Retry-After says when to ask again",
    431: "The headers are too long",
    503: "No release is live, the features or the decision log cannot be used, or too many wait; Retry-After",
}

_ASKED = (
    ScoreRequest,
    NextBestOffer,
    FeedbackBatch,
    FeedbackEvent,
    EventBatch,
    LiveEvent,
    InterestRequest,
    ReplayRequest,
    ExplainRequest,
    AudienceRequest,
    Consent,
    Personalization,
)
_ANSWERED = (
    ScoreResponse,
    Profile,
    Models,
    Card,
    ProblemBody,
    NextBestOfferResponse,
    BatchAnswer,
    InterestResponse,
    ValueResponse,
    DecisionRecord,
    ReplayedDecision,
    ExplainedDecision,
    AudienceResponse,
    ConsentAnswer,
    PersonalizationAnswer,
    TagAnswer,
)
_BODY = (400, 405, 408, 413, 415)
_ANSWERS = {"value": "ValueResponse"}


def document(max_users: int, version: str, heads: Mapping[str, str], closed: bool = True) -> dict[str, Any]:
    """The whole document; ``heads`` are the scoring models by name with what each is for.

    ``closed`` says whether the service asks for keys now; until it does, they are optional.
    """
    modes: list[tuple[Any, Any]] = [(kind, "validation") for kind in _ASKED]
    modes += [(kind, "serialization") for kind in _ANSWERED]
    _, schema = models_json_schema(modes, ref_template="#/components/schemas/{model}")
    components: dict[str, Any] = schema["$defs"]
    for name in ("ScoreRequest", "InterestRequest"):
        components[name]["properties"]["user_ids"]["maxItems"] = max_users
    components["NextBestOffer"]["properties"]["candidates"]["anyOf"][0]["maxItems"] = MOST_CANDIDATES
    for batch, entry in (("FeedbackBatch", "FeedbackEvent"), ("EventBatch", "LiveEvent")):
        # Anything is taken: what is no event is named in the answer, and the others stay.
        components[batch]["properties"]["events"]["items"] = {"anyOf": [_ref(entry), {}]}
    paths: dict[str, Any] = {
        f"/v1/score/{name}": {
            "post": {
                "operationId": name,
                "summary": purpose,
                "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("ScoreRequest")}}},
                "responses": _responses(_ANSWERS.get(name, "ScoreResponse"), (*_BODY, 404, 422, 503)),
            }
        }
        for name, purpose in heads.items()
        if name != "interest"
    }
    paths["/v1/users/{user_id}/profile"] = _get(
        "profile",
        "What is known of one user, and every score",
        "Profile",
        (400, 404, 405, 503),
        [
            _parameter("user_id", "path", components["ScoreRequest"]["properties"]["user_ids"]["items"]),
            _parameter("level", "query", {"enum": ["none", "reason_codes", "full"], "default": "reason_codes"}),
            _parameter("top_n", "query", {"type": "integer", "minimum": 1, "maximum": 20, "default": 3}),
            _parameter("lang", "query", {"enum": ["zh", "en"], "default": "zh"}),
            _parameter("strict", "query", {"type": "boolean", "default": False}),
        ],
    )
    paths |= _decisions(components)
    paths["/v1/models"] = _get("models", "The models of the release in force", "Models", (405, 503), [])
    paths["/v1/models/{name}/card"] = _get(
        "card",
        "What a model was trained on and how well it does",
        "Card",
        (404, 405, 503),
        [_parameter("name", "path", {"type": "string", "minLength": 1})],
    )
    for path, summary in (
        ("/livez", "Whether the process lives"),
        ("/readyz", "Whether it can answer; a 503 says why not"),
        ("/metrics", "Prometheus counters"),
    ):
        answers: dict[str, Any] = {"200": {"description": "yes", "content": {"text/plain": {"schema": {}}}}}
        answers |= _errors((405, 503) if path == "/readyz" else (405,))
        paths[path] = {"get": {"summary": summary, "responses": answers}}
    for path, methods in paths.items():
        for method, told in methods.items():
            _keyed(path, method, told, closed)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "userops",
            "version": version,
            "description": "Churn, repurchase, interest and value scores with reasons, and the next best offer.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "uo_<id>_<secret>"}},
        },
    }


def _keyed(path: str, method: str, told: dict[str, Any], closed: bool) -> None:
    """What every address adds: the scopes of which a key needs one, and what may go wrong before it is reached."""
    statuses: tuple[int, ...] = (414, 431)
    if path in OPEN:
        told["security"] = []
    else:
        told["security"] = [{"key": [scope]} for scope in scopes_of(method.upper(), path)] + ([] if closed else [{}])
        statuses += (401, 403, 429, 503)
    answers = told["responses"] | {key: one for key, one in _errors(statuses).items() if key not in told["responses"]}
    told["responses"] = dict(sorted(answers.items()))


def _decisions(components: Mapping[str, Any]) -> dict[str, Any]:
    """The addresses around the next best offer."""
    user_id = components["ScoreRequest"]["properties"]["user_ids"]["items"]
    decision = _parameter("decision_id", "path", {"type": "string", "minLength": 1})
    user, tag = _parameter("user_id", "path", user_id), _parameter("tag", "path", user_id)
    key = _parameter("Idempotency-Key", "header", {"type": "string", "minLength": 1, "maxLength": 255})
    parquet = {"application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}}}
    paths = {
        "/v1/next-best-offer": _post(
            "next_best_offer",
            "Which offer for this person, on this channel, now",
            ("NextBestOffer", "NextBestOfferResponse"),
            (*_BODY, 404, 409, 410, 422, 503),
        ),
        "/v1/feedback": _post(
            "feedback",
            "What became of offers; acts on the next decision",
            ("FeedbackBatch", "BatchAnswer"),
            (*_BODY, 409, 503),
            [key],
        ),
        "/v1/events": _post(
            "events",
            "What users do now; acts on the next decision",
            ("EventBatch", "BatchAnswer"),
            (*_BODY, 503),
        ),
        "/v1/score/interest": _post(
            "interest",
            "What users will want next: categories, items, tags",
            ("InterestRequest", "InterestResponse"),
            (*_BODY, 404, 422, 503),
        ),
        "/v1/decisions/{decision_id}": _get(
            "decision", "What was written down about a decision", "DecisionRecord", (404, 405, 503), [decision]
        ),
        "/v1/decisions/{decision_id}:replay": _post(
            "replay",
            "The same question decided again: bit for bit, or by another release",
            ("ReplayRequest", "ReplayedDecision"),
            (*_BODY, 404, 422, 503),
            [decision],
        ),
        "/v1/decisions/{decision_id}:explain": _post(
            "explain",
            "All contributions to what a decision showed",
            ("ExplainRequest", "ExplainedDecision"),
            (*_BODY, 404, 422, 503),
            [decision],
        ),
        "/v1/audiences:build": _post(
            "audience",
            "The users most likely to buy something, or to fall silent",
            ("AudienceRequest", "AudienceResponse"),
            (*_BODY, 404, 422, 503),
        ),
        "/v1/users/{user_id}/personalization": _post(
            "personalization",
            "Whether what is known of a user may choose for them",
            ("Personalization", "PersonalizationAnswer"),
            (*_BODY, 410, 503),
            [user],
            method="put",
        ),
        "/v1/users/{user_id}/consents/{purpose}": _post(
            "consent",
            "Whether a user agrees to a purpose, such as a channel",
            ("Consent", "ConsentAnswer"),
            (*_BODY, 410, 422, 503),
            [user, {**tag, "name": "purpose"}],
            method="put",
        ),
        "/v1/users/{user_id}/tags/{tag}": {
            "delete": {
                "operationId": "delete_tag",
                "summary": "Forget an interest",
                "parameters": [user, tag],
                "responses": _responses("TagAnswer", (400, 404, 405, 410, 503)),
            }
        },
    }
    paths["/v1/audiences:build"]["post"]["responses"]["200"]["content"] |= parquet
    return paths


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str, place: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": dict(schema)}


def _errors(statuses: tuple[int, ...]) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref("ProblemBody")}}
    return {str(status): {"description": _ERRORS[status], "content": content} for status in statuses}


def _responses(schema: str, statuses: tuple[int, ...]) -> dict[str, Any]:
    good = {"description": "The answer", "content": {"application/json": {"schema": _ref(schema)}}}
    return {"200": good, **_errors(statuses)}


def _post(
    name: str,
    summary: str,
    schemas: tuple[str, str],
    statuses: tuple[int, ...],
    parameters: list[dict[str, Any]] | None = None,
    method: str = "post",
) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": _ref(schemas[0])}}}
    told = {"operationId": name, "summary": summary, "requestBody": body, "responses": _responses(schemas[1], statuses)}
    return {method: told | ({"parameters": parameters} if parameters else {})}


def _get(
    name: str, summary: str, schema: str, statuses: tuple[int, ...], parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    answers = _responses(schema, statuses)
    return {"get": {"operationId": name, "summary": summary, "parameters": parameters, "responses": answers}}
