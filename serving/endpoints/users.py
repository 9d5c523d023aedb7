"""What a person wishes: consent, no personalisation, no tag; in force from the next answer on, everywhere."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from configs.history import code
from serving.batch import iso, microseconds
from serving.encode import json_response
from serving.endpoints.body import live_of, read
from serving.errors.problem import Problem, shown
from serving.schemas import UserId
from serving.schemas_interest import PREFIX, Consent, Personalization

__all__ = ["ROUTES"]

_ID: TypeAdapter[str] = TypeAdapter(UserId)


async def personalization(request: Request) -> Response:
    """``PUT /v1/users/{user_id}/personalization``."""
    user_id, asked, live = _path(request, "user_id"), await read(request, Personalization), live_of(request)
    at_us = microseconds(live.now())
    with live.logging():
        live.log().set_personalization(user_id, asked.personalization == "on", at_us)
    return json_response({"user_id": user_id, "personalization": asked.personalization, "at": iso(at_us)})


async def consent(request: Request) -> Response:
    """``PUT /v1/users/{user_id}/consents/{purpose}``."""
    user_id, purpose = _path(request, "user_id"), _path(request, "purpose")
    asked, live = await read(request, Consent), live_of(request)
    _, rules = live.deciding()
    if purpose not in rules.purposes:
        detail, expected = "neither a channel of the policy nor what an offer asks consent for", list(rules.purposes)
        raise Problem(422, "unknown-purpose", detail, field="purpose", expected=expected, got=shown(purpose))
    at_us = microseconds(live.now())
    with live.logging():
        live.log().set_consent(user_id, purpose, asked.consent == "given", at_us)
    return json_response({"user_id": user_id, "purpose": purpose, "consent": asked.consent, "at": iso(at_us)})


async def tag(request: Request) -> Response:
    """``DELETE /v1/users/{user_id}/tags/{tag}``; also of a tag that the user does not have, so that it never comes."""
    user_id, name, live = _path(request, "user_id"), _path(request, "tag"), live_of(request)
    model = live.release.bundle.interest
    if model is None:
        raise Problem(
            404, "unknown-tag", "the release in force gives no tags", field="tag", expected="no tag", got=name
        )
    if not name.startswith(PREFIX) or code(name.removeprefix(PREFIX)) not in model.statistics["category"].items:
        expected = f"{PREFIX}<category_id> of a known category"
        raise Problem(404, "unknown-tag", "there is no such tag", field="tag", expected=expected, got=shown(name))
    at_us = microseconds(live.now())
    with live.logging():
        live.log().delete_tag(user_id, name, at_us)
    return json_response({"user_id": user_id, "tag": name, "deleted_at": iso(at_us)})


def _path(request: Request, name: str) -> str:
    given: str = request.path_params[name]
    try:
        return _ID.validate_python(given)
    except ValidationError as error:
        expected = str(error.errors(include_url=False)[0]["msg"])
        raise Problem(
            400, "invalid-request", f"{name}: {expected}", field=name, expected=expected, got=shown(given)
        ) from None


ROUTES = [
    Route("/v1/users/{user_id:path}/personalization", personalization, methods=["PUT"]),
    Route("/v1/users/{user_id:path}/consents/{purpose:path}", consent, methods=["PUT"]),
    Route("/v1/users/{user_id:path}/tags/{tag:path}", tag, methods=["DELETE"]),
]
