"""A reviewer's word on a version, under the reviewer's key."""

from __future__ import annotations

from starlette.responses import Response

from serving.console.asked import Asked
from serving.errors.problem import Problem

__all__ = ["post"]


def post(asked: Asked) -> Response:
    """Answer ``POST /console/models/{model}/{version}/sign``."""
    raise Problem(403, "key-needed", "signing needs a key")
