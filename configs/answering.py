"""Whether a database or server answers, asked before a library does: those try for minutes, and tell addresses."""

from __future__ import annotations

from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from configs.databases import is_postgres

__all__ = ["why_silent"]

SECONDS = 10


def why_silent(uri: str) -> str | None:
    """What keeps a PostgreSQL from giving a connection, or a server from saying its health; None where nothing does.

    A file is always there.

    Examples
    --------
    >>> why_silent("http://wu:secret@127.0.0.1:1")
    '<urlopen error [Errno 111] Connection refused>'
    >>> why_silent("sqlite:////no/such/log.db")
    """
    if is_postgres(uri):
        import psycopg

        try:
            psycopg.connect("postgresql://" + uri.partition("://")[2], connect_timeout=SECONDS).close()
        except psycopg.Error as error:
            return str(error).strip()
    elif uri.startswith(("http://", "https://")):
        parts = urlsplit(uri)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=f"{parts.path.rstrip('/')}/health")
        try:
            urlopen(bare.geturl(), timeout=SECONDS).close()
        except HTTPError:
            pass  # somebody answers: what is wrong, the program will say
        except (URLError, OSError, ValueError) as error:
            return str(error).strip()
    return None
