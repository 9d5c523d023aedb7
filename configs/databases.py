"""Where each thing that is kept lies: a line of project.yaml, or a variable, which may hold a password and comes first.

==========  ======================  ==========================================================  ==================
line        variable                what                                                        ``sqlite`` means
==========  ======================  ==========================================================  ==================
decisions   ``USEROPS_DECISIONS``   decisions, feedback and live events                         ``decisions.db``
audit       ``USEROPS_AUDIT``       promotions and signatures                                   ``audit.db``
registry    ``USEROPS_REGISTRY``    Feast's registry of feature views                           ``registry.db``
tracking    ``USEROPS_TRACKING``    MLflow's runs, models and aliases; or a server (http://)    ``mlflow.db``
==========  ======================  ==========================================================  ==================

``PGPASSWORD`` and ``PGPASSFILE`` work besides, as for every program that talks to PostgreSQL.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from configs.errors import ConfigError

__all__ = ["DATABASES", "EMBEDDED", "begun", "database_uri", "embedded", "is_postgres", "shown"]

#: The file of the home in which each lies unless told otherwise.
DATABASES = {"decisions": "decisions.db", "audit": "audit.db", "registry": "registry.db", "tracking": "mlflow.db"}
#: The variables of a process that keeps to the files of its home, whatever project.yaml names.
EMBEDDED = {f"USEROPS_{name.upper()}": "sqlite" for name in (*DATABASES, "online")}

_POSTGRES = ("postgresql", "postgresql+psycopg", "postgres")
_SERVER = ("http", "https")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/?#\s]*)(:\d+)?")
_SECRET_FREE = re.compile(r"(?:[^%@/?#\[\]\s]|%[0-9A-Fa-f]{2})*")


def database_uri(name: str, given: object, home: Path) -> str:
    """The address of the database ``name`` of `DATABASES`, as SQLAlchemy writes it.

    Raises
    ------
    ConfigError
        When it cannot be one, or the file (not the variable) holds a password. What was given is not told.

    Examples
    --------
    >>> database_uri("decisions", "sqlite", Path("/home"))
    'sqlite:////home/decisions.db'
    >>> database_uri("audit", "postgresql://userops@db/userops", Path("/home"))
    'postgresql+psycopg://userops@db/userops'
    """
    variable = f"USEROPS_{name.upper()}"
    told = os.environ.get(variable)
    where = variable if told else f"project.yaml: {name}"
    uri = told or str(given)
    if uri == "sqlite":
        return f"sqlite:///{home / DATABASES[name]}"
    scheme, found, rest = uri.partition("://")
    known = scheme in (*_POSTGRES, "sqlite") or (name == "tracking" and scheme in _SERVER)
    if not found or not known or (scheme == "sqlite" and not (rest.startswith("/") and len(rest) > 1)):
        raise _refused(where, name)
    if scheme == "sqlite":
        return uri
    if not _sound(rest, server=scheme in _SERVER):
        because = "a password with one of  % @ : / ? #  must be written with %25 %40 %3A %2F %3F %23"
        raise _refused(where, name, because)
    if not told and _password(uri):
        raise ConfigError(f"{where} holds a password", expected="a file without secrets", run=f"set {variable}")
    return uri if scheme in _SERVER else f"postgresql+psycopg://{rest}"


@contextmanager
def embedded() -> Iterator[None]:
    """Within the block this process, and what it starts, keeps to the files of its home.

    Examples
    --------
    >>> with embedded():
    ...     database_uri("tracking", "http://mlflow:5000", Path("/scratch"))
    'sqlite:////scratch/mlflow.db'
    """
    before = {name: os.environ.get(name) for name in EMBEDDED}
    os.environ.update(EMBEDDED)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def is_postgres(uri: str) -> bool:
    """Whether an address is one of PostgreSQL.

    Examples
    --------
    >>> is_postgres("postgresql+psycopg://db/log"), is_postgres("sqlite:////log.db")
    (True, False)
    """
    return uri.partition("://")[0] in _POSTGRES


def begun(uri: str) -> bool:
    """Whether anything can lie there yet: a file that is not there holds nothing, and looking must not make it.

    Examples
    --------
    >>> begun("postgresql+psycopg://db/log"), begun("sqlite:////no/such/log.db")
    (True, False)
    """
    scheme, _, rest = uri.partition("?")[0].partition("://")
    return scheme != "sqlite" or Path(rest[1:]).exists()


def shown(uri: str) -> str:
    """An address as people may see it: without user, password and settings.

    Examples
    --------
    >>> shown("postgresql+psycopg://userops:secret@db:5432/log?sslpassword=secret")
    'postgresql://db:5432/log'
    """
    scheme, _, rest = uri.partition("://")
    if scheme == "sqlite":
        return uri
    hosts, _, name = rest.partition("?")[0].rpartition("@")[2].partition("/")
    return f"{'postgresql' if scheme in _POSTGRES else scheme}://{hosts}/{name}"


def _sound(rest: str, server: bool) -> bool:
    """Whether a program will find the host where we do, so that it never names half a password instead of one."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, _, hosts = authority.rpartition("@")
    path = rest[len(authority) :].partition("?")[0]
    user, _, password = login.partition(":")
    return (
        all(_SECRET_FREE.fullmatch(part) for part in (user, password))
        and ":" not in password
        and all(_HOST.fullmatch(host) for host in hosts.split(","))
        and "@" not in path
        and "#" not in rest
        and (not server or hosts != "")
    )


def _password(uri: str) -> bool:
    parts = urlsplit(uri)
    given = parse_qs(parts.query)
    return bool(parts.netloc.rpartition("@")[0].partition(":")[2]) or any("password" in name for name in given)


def _refused(where: str, name: str, because: str | None = None) -> ConfigError:
    expected = "sqlite, or postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE, or sqlite:///PATH"
    if name == "tracking":
        expected += ", or http(s)://HOST of an MLflow server"
    # Not what was given: it may hold a password.
    return ConfigError(where, got="something else", expected=expected, because=because)
