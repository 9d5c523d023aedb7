"""The gate: whose key a request shows, whether it may do this, and how often; before anything else is looked at.

As long as no key was ever issued, whoever reaches this machine's loopback is let in, and nobody else. From the first
key on nothing but ``/livez`` and ``/readyz`` answers without one, and a worker that has seen one key never goes back.
"""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import NoReturn

from starlette.types import Scope

from configs import Config
from configs.access import is_loopback
from configs.errors import KeyRefused, KeysError
from configs.keys import Key, Keys, keys_file
from serving.access.guesses import Guesses, guesses
from serving.access.rates import Rates
from serving.access.scopes import CONSOLE, DECISIONS, ENTER, OPEN, scopes_of
from serving.access.sessions import COOKIE, session_of
from serving.errors.problem import Problem, from_status
from serving.metrics import metrics

__all__ = ["KEY", "Gate", "refused"]

#: Under which name a request carries the key that opened the gate to it.
KEY = "userops.key"
_WANTED = (b"authorization", b"cookie", b"host", b"sec-fetch-site")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_ISSUE = "userops keys add NAME --scope {scope}"
_log = logging.getLogger("bentoml.userops")
_on_loopback = lru_cache(maxsize=256)(is_loopback)


class Gate:
    """Lets requests in, or raises the `Problem` that says why not.

    Parameters
    ----------
    anywhere
        Without any key, let in whoever reaches the service, not only this machine.

    ``closed`` says whether a key was ever seen.
    """

    def __init__(self, keys: Keys, rates: Rates, guesses: Guesses, anywhere: bool = False) -> None:
        self.keys, self.rates, self.guesses, self.anywhere = keys, rates, guesses, anywhere
        self.closed = False

    @classmethod
    def of(cls, config: Config) -> Gate:
        """The gate of a service with that configuration."""
        keys = Keys(keys_file(config))
        return cls(keys, Rates(config.online_uri), guesses, config.serving.without_keys == "anywhere")

    def admit(self, scope: Scope) -> None:
        """Let the request in; its key, if it has shown one, is then in ``scope``."""
        path: str = scope["path"]
        if path in OPEN:
            return
        shown = {name: value for name, value in scope["headers"] if name in _WANTED}
        try:
            if not self.closed:
                self.closed = self.keys.any()
            if not self.closed:
                self._unlocked(scope, shown)
            elif path != ENTER or scope["method"] != "POST":
                scope[KEY] = self._keyed(scope, shown)
        except KeysError as error:
            _log.error("nobody can be let in: %s", error)
            headers = {"retry-after": "5"}
            raise Problem(503, "unavailable", "the keys cannot be read; the log says why", headers=headers) from None

    def _unlocked(self, scope: Scope, shown: dict[bytes, bytes]) -> None:
        if not self.anywhere:
            server = scope.get("server") or ("", None)
            if not (_on_loopback(str(server[0])) and _local_name(shown.get(b"host", b""))):
                raise Problem(
                    403,
                    "forbidden",
                    "this service asks for no key, so it answers this machine alone",
                    expected=_ISSUE.format(scope="read"),
                )
        # A page of another site, in a browser on this machine, must not write here.
        foreign = shown.get(b"sec-fetch-site") in (b"cross-site", b"same-site")
        # Forms of the console say so themselves, on a page.
        if foreign and scope["method"] not in _SAFE and not scope["path"].startswith(f"{CONSOLE}/"):
            raise Problem(403, "forbidden", "this was sent from another site")

    def _keyed(self, scope: Scope, shown: dict[bytes, bytes]) -> Key:
        method, path = scope["method"], scope["path"]
        wanted = scopes_of(method, path)
        # Pages of the console link to the decisions that they show.
        key = self._shown(scope, shown, path.startswith(CONSOLE) or (method == "GET" and path.startswith(DECISIONS)))
        if wanted and not any(one in key.scopes for one in wanted):
            _insufficient(wanted)
        if (seconds := self.rates.wait_s(key)) > 0:
            metrics().shed("rate")
            raise Problem(
                429,
                "rate-limited",
                "this key has asked as often as it may",
                expected=f"at most {key.rate}",
                headers={"retry-after": str(math.ceil(seconds))},
            )
        if not wanted:
            raise from_status(404)
        return key

    def _shown(self, scope: Scope, shown: dict[bytes, bytes], with_session: bool) -> Key:
        told = shown.get(b"authorization", b"").decode("latin-1")
        kind, _, text = told.partition(" ")
        text = text if kind.lower() == "bearer" else ""  # a proxy may ask for words of its own, which are no key
        if not text and with_session and (number := _session(self.keys, shown.get(b"cookie", b""))):
            key = self.keys.get(number)
            if key is not None and key.state(datetime.now(UTC)) == "in force":
                return key
        try:
            return self.keys.find(text)
        except KeyRefused as error:
            client = scope.get("client") or ("",)
            refused(self.keys, self.guesses, error, text, str(client[0]))


def _session(keys: Keys, cookies: bytes) -> str | None:
    for one in cookies.decode("latin-1").split(";"):
        name, _, value = one.strip().partition("=")
        if name == COOKIE:
            return session_of(keys, value)
    return None


def refused(keys: Keys, guesses: Guesses, error: KeyRefused, text: str, address: str) -> NoReturn:
    """Raise the 401 for a key that opens nothing, or the 429 for too many wrong ones; both are logged, not the key."""
    if error.reason == "absent":
        raise Problem(
            401,
            "unauthorized",
            "this service asks for a key",
            expected="Authorization: Bearer uo_...",
            headers={"www-authenticate": 'Bearer realm="userops"'},
        ) from None
    named = keys.known(text)
    if seconds := guesses.wait(address, named):
        retry = {"retry-after": str(math.ceil(seconds))}
        raise Problem(429, "too-many-requests", "too many wrong keys; try again later", headers=retry) from None
    guesses.failed(address, named)
    _log.warning("key %s from %s is refused: %s", named or "unknown", address, error.reason)
    said = {"expired": "this key has expired", "revoked": "this key was revoked"}.get(error.reason, "no such key")
    headers = {"www-authenticate": 'Bearer realm="userops", error="invalid_token"'}
    raise Problem(401, "unauthorized", said, expected="a key in force", headers=headers) from None


def _insufficient(wanted: tuple[str, ...]) -> NoReturn:
    needs = " or ".join(wanted)
    raise Problem(
        403,
        "insufficient-scope",
        f"this address asks for a key with the scope {needs}",
        expected=_ISSUE.format(scope=wanted[0]),
        headers={"www-authenticate": f'Bearer realm="userops", error="insufficient_scope", scope="{wanted[0]}"'},
    )


@lru_cache(maxsize=256)
def _local_name(host: bytes) -> bool:
    """Whether a browser that asks for that host means this machine: a name of the web may be pointed at it.

    Examples
    --------
    >>> [_local_name(one) for one in (b"localhost:3000", b"[::1]:3000", b"", b"evil.example", b"10.0.0.5")]
    [True, True, True, False, False]
    """
    name = host.decode("latin-1").strip().lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return is_loopback(name.rstrip(".")) or name.rstrip(".").endswith(".localhost")
