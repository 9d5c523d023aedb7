"""Who may ask the service, in a sentence; and where it may listen as long as no key was issued."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

from configs import Config
from configs.errors import KeysError
from configs.keys import Keys, keys_file

__all__ = ["check_host", "is_loopback", "who_may_ask"]

_ISSUE = "userops keys add NAME --scope score"


def who_may_ask(config: Config) -> str:
    """Whether the service of this configuration asks for keys, and what to run where it does not."""
    keys = Keys(keys_file(config)).all()
    if keys:
        now = datetime.now(UTC)
        return f"holders of keys ({sum(key.state(now) == 'in force' for key in keys)} in force)"
    reach = "whoever reaches it" if config.serving.without_keys == "anywhere" else "everybody on this machine"
    return f"{reach}: no key was ever issued ({_ISSUE})"


def check_host(config: Config, host: str) -> None:
    """Refuse an address that others reach while the service asks nobody for a key.

    Raises
    ------
    KeysError
        Unless ``host`` is loopback, a key was issued, or ``serving.without_keys`` says ``anywhere``.
    """
    if is_loopback(host) or config.serving.without_keys == "anywhere" or Keys(keys_file(config)).any():
        return
    raise KeysError(
        f"the service would listen on {host} and ask nobody for a key",
        got="no key was ever issued",
        expected="a key for whoever asks, or an address of loopback; or serving: without_keys: anywhere",
        run=_ISSUE,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address; a socket of the file system has none and is reached by it alone.

    Examples
    --------
    >>> [is_loopback(one) for one in ("127.0.0.1", "::1", "", "localhost", "0.0.0.0", "10.0.0.5", "example.com")]
    [True, True, True, True, False, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.startswith("/") or "." not in host  # a path, or a name of this machine
