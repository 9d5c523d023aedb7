"""The OpenAPI document: BentoML's own leaves out the GET routes and contradicts its errors, so this one is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from serving.schemas import Card, Models, ProblemBody, Profile, ScoreRequest, ScoreResponse

__all__ = ["document"]

_ERRORS = {
    400: "The request cannot be understood",
    404: "No such user (strict) or model",
    405: "The address does not answer that method",
    408: "The body did not arrive in time",
    413: "Too many users, or too long a body",
    415: "The body is not application/json",
    422: "as_of cannot be answered",
    503: "No release is live, or the features cannot be read",
}


def document(max_users: int, version: str, heads: Mapping[str, str]) -> dict[str, Any]:
    """The whole document; ``heads`` are the scoring models by name with what each is for."""
    kinds = [ScoreRequest, ScoreResponse, Profile, Models, Card, ProblemBody]
    modes: list[tuple[Any, Any]] = [(kind, "validation" if kind is ScoreRequest else "serialization") for kind in kinds]
    _, schema = models_json_schema(modes, ref_template="#/components/schemas/{model}")
    components: dict[str, Any] = schema["$defs"]
    components["ScoreRequest"]["properties"]["user_ids"]["maxItems"] = max_users
    paths: dict[str, Any] = {
        f"/v1/score/{name}": {
            "post": {
                "operationId": name,
                "summary": purpose,
                "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("ScoreRequest")}}},
                "responses": _responses("ScoreResponse", (400, 404, 405, 408, 413, 415, 422, 503)),
            }
        }
        for name, purpose in heads.items()
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
    return {
        "openapi": "3.1.0",
        "info": {"title": "userops", "version": version, "description": "Churn and repurchase scores with reasons."},
        "paths": paths,
        "components": {"schemas": components},
    }


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


def _get(
    name: str, summary: str, schema: str, statuses: tuple[int, ...], parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    answers = _responses(schema, statuses)
    return {"get": {"operationId": name, "summary": summary, "parameters": parameters, "responses": answers}}
