"""Keys to the service: whoever holds one may do what its scopes say, and is known by its name.

A key reads ``uo_<id>_<secret>``. It is shown once, when it is issued; the file of keys holds the SHA-256 of its secret
alone, which is enough for 256 random bits. The file is read again when it has changed, so a key is issued or revoked
while the service runs, and a name may have several keys while one takes the place of another.
From the first key on, revoked or not, the service asks everybody for one; ``USEROPS_KEY`` is the one that we show it.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from configs import Config
from configs.account import account
from configs.errors import KeyRefused, KeysError

__all__ = ["SCOPES", "Key", "Keys", "keys_file", "own_key"]

#: What a key may let its holder do; `serving.access.scopes` says which address asks for which.
SCOPES = ("score", "decide", "feedback", "read", "sign", "admin")

_TEXT = re.compile(r"uo_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[^\W_][\w.@ -]{0,79}")
_RATE = re.compile(r"([1-9][0-9]{0,8})/(s|second|min|minute|h|hour)")
_BY_OTHERS = 0o022
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


@dataclass(frozen=True)
class Key:
    """A key as the file holds it: ``name`` is who signs with it, ``issued_by`` the account that issued it.

    Instants are ISO, in UTC; ``expires_at`` is None for a key without end, ``revoked_at`` for one in force. ``rate`` is
    how often it may ask, such as ``100/second``, None for as often as it likes.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    sha256: str
    issued_by: str
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    rate: str | None = None

    def state(self, now: datetime) -> str:
        """``in force``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        expired = self.expires_at is not None and now >= datetime.fromisoformat(self.expires_at)
        return "expired" if expired else "in force"


def keys_file(config: Config) -> Path:
    """Where the keys are: ``USEROPS_KEYS``, or ``keys.json`` of the home."""
    return Path(os.environ.get("USEROPS_KEYS") or config.home / "keys.json")


def own_key() -> str | None:
    """The key that this process shows to a service: ``USEROPS_KEY``; None without one."""
    return os.environ.get("USEROPS_KEY") or None


class Keys:
    """The keys of one file; a file that is not there holds none.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keys = Keys(Path(folder) / "keys.json")
    ...     key, text = keys.add("wu", ["sign"])
    ...     keys.check(text, "sign").name
    'wu'
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}

    def all(self) -> list[Key]:
        """Every key that was ever issued, the oldest first.

        Raises
        ------
        KeysError
            When the file cannot be read, or when others than its owner may write it.
        """
        return list(self._read().values())

    def check(self, text: str, scope: str, now: datetime | None = None) -> Key:
        """The key behind ``text``, when it is in force and has ``scope``; a wrong one takes as long as a right one.

        Raises
        ------
        KeyRefused
            Saying why in `KeyRefused.reason`; never repeating the text. Of a key whose secret is not right, nothing
            else is told.
        """
        key = self.find(text, now)
        if scope not in key.scopes:
            raise KeyRefused("scope", scope)
        return key

    def find(self, text: str, now: datetime | None = None) -> Key:
        """The key behind ``text``, when it is in force, whatever it may do; raises as `check` does."""
        told = _TEXT.fullmatch(text.strip())
        if told is None:
            raise KeyRefused("absent" if not text.strip() else "wrong")
        key = self._read().get(told[1])
        same = hmac.compare_digest(key.sha256 if key else _NOBODY, _sha256(told[2]))
        if key is None or not same:
            raise KeyRefused("wrong")
        if (state := key.state(now or datetime.now(UTC))) != "in force":
            raise KeyRefused(state)
        return key

    def get(self, number: str) -> Key | None:
        """The key of that id, in force or not; None when there is none."""
        return self._read().get(number)

    def any(self) -> bool:
        """Whether a key was ever issued, in force or not."""
        return bool(self._read())

    def known(self, text: str) -> str:
        """The id that ``text`` names, if there is such a key, right or wrong; else nothing."""
        told = _TEXT.fullmatch(text.strip())
        return told[1] if told is not None and told[1] in self._read() else ""

    def add(
        self,
        name: str,
        scopes: Sequence[str],
        days: float | None = None,
        rate: str | None = None,
        record: Callable[[Key], object] = lambda key: None,
    ) -> tuple[Key, str]:
        """Issue a key in the name of this account; its text is given back once and kept nowhere.

        ``record`` is called with the key just before it opens anything; when it raises, there is no key.

        Raises
        ------
        KeysError
            When the name is none, a scope is not one of `SCOPES`, ``days`` is not above 0, or ``rate`` is none.
        """
        if not _NAME.fullmatch(name) or name != name.strip():
            raise KeysError("that is no name of a key", got=name, expected="1 to 80 letters, digits, . - _ @, blanks")
        if not scopes or (unknown := sorted(set(scopes) - set(SCOPES))):
            raise KeysError("no such scope", got=unknown if scopes else "none", expected=", ".join(SCOPES))
        if days is not None and not 0 < days <= 36_500:
            raise KeysError("a key cannot last that long", got=f"{days:g} days", expected="more than 0, at most 36500")
        each = None if rate is None else _rate(rate)
        now = datetime.now(UTC)
        ends = None if days is None else (now + timedelta(days=days)).isoformat(timespec="seconds")
        with self._writing() as keys:
            while (number := secrets.token_hex(6)) in keys:
                pass
            secret = secrets.token_urlsafe(32)
            scopes = tuple(scope for scope in SCOPES if scope in scopes)
            since = now.isoformat(timespec="seconds")
            key = Key(number, name, scopes, _sha256(secret), account(), since, ends, rate=each)
            keys[number] = key
            record(key)
        return key, f"uo_{number}_{secret}"

    def revoke(self, number: str) -> Key:
        """Let the key of that id open nothing from now on; once revoked, the first instant stays.

        Raises
        ------
        KeysError
            When there is no such key.
        """
        with self._writing() as keys:
            if number not in keys:
                raise KeysError("there is no key of that id", expected=sorted(keys), run="userops keys list")
            if keys[number].revoked_at is None:
                keys[number] = replace(keys[number], revoked_at=datetime.now(UTC).isoformat(timespec="seconds"))
            return keys[number]

    def _read(self) -> dict[str, Key]:
        # Every request comes by here: a file that has not changed is not opened.
        with suppress(OSError):
            about = os.stat(self.file)
            unchanged = (about.st_mtime_ns, about.st_size, about.st_ino) == self._seen
            if unchanged and not about.st_mode & _BY_OTHERS:
                return self._keys
        try:
            with self.file.open("rb") as stream:
                about = os.fstat(stream.fileno())
                seen = (about.st_mtime_ns, about.st_size, about.st_ino)
                if about.st_mode & _BY_OTHERS:
                    raise KeysError(
                        f"others may write {self.file}",
                        got=f"{about.st_mode & 0o777:o}",
                        expected="600",
                        because="whoever writes it issues keys",
                        run=f"chmod 600 {self.file}",
                    )
                if seen != self._seen:
                    self._keys, self._seen = _parsed(stream.read(), self.file), seen
        except FileNotFoundError:
            self._keys, self._seen = {}, None
        except OSError as error:
            raise KeysError(f"the keys {self.file} cannot be read", got=error.strerror) from None
        return self._keys

    @contextmanager
    def _writing(self) -> Iterator[dict[str, Key]]:
        """The keys, to be changed by nobody else meanwhile; written as a whole, or not at all."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with (self.file.parent / f"{self.file.name}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                keys = dict(self._read())
                yield keys
                text = json.dumps([asdict(key) for key in keys.values()], indent=1, ensure_ascii=False) + "\n"
                # Made for its owner alone, before a byte is in it.
                number, draft = tempfile.mkstemp(dir=self.file.parent, prefix=f".{self.file.name}.")
                try:
                    with os.fdopen(number, "w", encoding="utf-8") as stream:
                        stream.write(text)
                        stream.flush()
                        os.fsync(stream.fileno())
                    os.replace(draft, self.file)
                    _settle(self.file.parent)
                except BaseException:
                    Path(draft).unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise KeysError(f"the keys {self.file} cannot be written", got=error.strerror) from None


def _settle(folder: Path) -> None:
    """Let a change of names outlast a loss of power: a key that was revoked must not come back."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _rate(text: str) -> str:
    """A rate as the file holds it.

    Examples
    --------
    >>> _rate("100/s"), _rate("6000/minute")
    ('100/second', '6000/minute')
    """
    told = _RATE.fullmatch(text.strip())
    if told is None:
        raise KeysError("that is no rate of a key", got=text, expected="such as 100/s, 6000/min or 100000/h")
    return f"{told[1]}/{ {'s': 'second', 'm': 'minute', 'h': 'hour'}[told[2][0]] }"


def _parsed(text: bytes, file: Path) -> dict[str, Key]:
    try:
        found: list[dict[str, Any]] = json.loads(text.decode())
        if not isinstance(found, list):
            raise TypeError(type(found))
        keys = [Key(**{**one, "scopes": tuple(one["scopes"])}) for one in found]
        for key in keys:
            key.state(datetime.now(UTC))
            int(key.sha256, 16)
            if key.rate is not None:
                _rate(key.rate)
    except (ValueError, TypeError, KeyError, AttributeError, KeysError):
        raise KeysError(
            f"{file} is no file of keys", expected="what userops keys wrote", run="userops keys list"
        ) from None
    return {key.id: key for key in keys}
