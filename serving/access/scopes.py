"""Which address asks for which scope of a key: the one table of it.

=========================================  ==========================================================
score                                      ``POST /v1/score/*``
decide                                     ``POST /v1/next-best-offer``, ``POST /v1/audiences:build``
feedback                                   ``POST /v1/feedback``, ``POST /v1/events``
read                                       profiles, models and cards, ``/metrics``, ``/docs.json``, ``/schema.json``
read or sign                               ``/console``, all of it (a signature asks for a key with ``sign`` once more),
                                           and decisions (replay and explain, too: they change nothing)
admin                                      what a person wishes: personalisation, consents, tags
=========================================  ==========================================================

No scope includes another. ``/livez`` and ``/readyz`` ask for none.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CONSOLE", "DECISIONS", "ENTER", "OPEN", "scopes_of"]

#: What answers without any key, so that whoever starts and balances services can ask.
OPEN = frozenset({"/livez", "/readyz"})
CONSOLE = "/console"
DECISIONS = "/v1/decisions/"
#: Where the console takes a key; it looks at it itself.
ENTER = f"{CONSOLE}/enter"

_EXACTLY: Mapping[str, tuple[str, ...]] = {
    "/v1/next-best-offer": ("decide",),
    "/v1/audiences:build": ("decide",),
    "/v1/feedback": ("feedback",),
    "/v1/events": ("feedback",),
    "/v1/models": ("read",),
    "/metrics": ("read",),
    "/docs.json": ("read",),
    "/schema.json": ("read",),
    CONSOLE: ("read", "sign"),
}
_BELOW: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/v1/score/", ("score",)),
    (DECISIONS, ("read", "sign")),
    ("/v1/models/", ("read",)),
    (f"{CONSOLE}/", ("read", "sign")),
)
_USERS = "/v1/users/"


def scopes_of(method: str, path: str) -> tuple[str, ...]:
    """The scopes of which a key needs one; none for an address that there is not: nobody is let through to it.

    Examples
    --------
    >>> scopes_of("POST", "/v1/score/churn"), scopes_of("GET", "/v1/users/u1/profile"), scopes_of("GET", "/wp-admin")
    (('score',), ('read',), ())
    """
    if (exact := _EXACTLY.get(path)) is not None:
        return exact
    for beginning, scopes in _BELOW:
        if path.startswith(beginning):
            return scopes
    if path.startswith(_USERS):
        # An id may hold slashes, so the end of such an address says nothing; only reading has no effect.
        return ("read",) if method in ("GET", "HEAD", "OPTIONS") else ("admin",)
    return ()
