"""The table of scopes: every address stands in it, and nothing that looks like one gets another's scope."""

import pytest
from starlette.routing import Mount, Route

from configs.keys import SCOPES
from serving import service
from serving.access.scopes import OPEN, scopes_of
from serving.routes import rest_app

ADDRESSES = {
    "/v1/score/churn": {"POST": "score"},
    "/v1/score/repurchase": {"POST": "score"},
    "/v1/score/value": {"POST": "score"},
    "/v1/score/interest": {"POST": "score"},
    "/v1/next-best-offer": {"POST": "decide"},
    "/v1/audiences:build": {"POST": "decide"},
    "/v1/feedback": {"POST": "feedback"},
    "/v1/events": {"POST": "feedback"},
    "/v1/decisions/{decision_id}": {"GET": "read"},
    "/v1/decisions/{decision_id}:replay": {"POST": "read"},
    "/v1/decisions/{decision_id}:explain": {"POST": "read"},
    "/v1/models": {"GET": "read"},
    "/v1/models/{name}/card": {"GET": "read"},
    "/v1/users/{user_id:path}/profile": {"GET": "read"},
    "/v1/users/{user_id:path}/personalization": {"PUT": "admin"},
    "/v1/users/{user_id:path}/consents/{purpose:path}": {"PUT": "admin"},
    "/v1/users/{user_id:path}/tags/{tag:path}": {"DELETE": "admin"},
    "/metrics": {"GET": "read"},
    "/docs.json": {"GET": "read"},
    "/console": {"GET": "read"},
}


def routes():
    """Every address with its methods, those of BentoML included."""
    for route in rest_app().routes:
        if isinstance(route, Route):
            for method in (route.methods or {"GET"}) - {"HEAD"}:
                yield method, route.path
        else:
            assert isinstance(route, Mount)
            for page in route.app.routes:
                for method in page.methods - {"HEAD"}:
                    yield method, route.path + page.path
    for api in service.UserOps.apis.values():
        yield "POST", api.route


@pytest.mark.parametrize(("method", "path"), sorted(set(routes())))
def test_every_address_asks_for_the_scope_of_the_table(method, path):
    scopes = scopes_of(method, path)
    assert set(scopes) <= set(SCOPES)
    expected = "read" if path.startswith("/console") else ADDRESSES[path][method]
    assert expected in scopes
    assert set(scopes) - {expected} <= {"sign"}
    # A method that an address does not know gets nobody further than one that it knows.
    assert {scopes_of(other, path) for other in ("GET", "POST", "PUT", "DELETE", "PATCH")} <= {scopes, ("admin",)} or (
        path.startswith("/v1/users/")
    )


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("PUT", "/v1/users/u1/consents/x/profile", ("admin",)),
        ("DELETE", "/v1/users/u1/tags/interest:a/profile", ("admin",)),
        ("PUT", "/v1/users/u1/profile", ("admin",)),
        ("PATCH", "/v1/users/", ("admin",)),
        ("GET", "//v1/models", ()),
        ("GET", "/v1/models/../users/u1/profile", ("read",)),  # nobody resolves the dots: there is no such model
        ("GET", "/V1/models", ()),
        ("POST", "/v1/score", ()),
        ("GET", "/", ()),
        ("GET", "/consoles", ()),
    ],
)
def test_what_only_looks_like_an_address(method, path, scopes):
    assert scopes_of(method, path) == scopes


def test_what_is_open_is_in_no_table():
    assert all(scopes_of("GET", path) == () for path in OPEN)
    assert {"/livez", "/readyz"} == OPEN
