"""Whether MLflow's database or server answers, asked before MLflow does: it tries for minutes, and tells addresses."""

from __future__ import annotations

from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from configs.databases import is_postgres, shown
from configs.errors import RegistryError

__all__ = ["check_reachable"]

SECONDS = 10


def check_reachable(uri: str) -> None:
    """Ask a PostgreSQL for a connection, a server for its health; a file is always there.

    Raises
    ------
    RegistryError
        Without the password of the address.

    Examples
    --------
    >>> check_reachable("http://wu:secret@127.0.0.1:1")
    Traceback (most recent call last):
    configs.errors.RegistryError: MLflow at http://127.0.0.1:1/ cannot be reached
      got: <urlopen error [Errno 111] Connection refused>
      run: it again, once USEROPS_TRACKING names what is there
    """
    failed: Exception | None = None
    if is_postgres(uri):
        import psycopg

        try:
            psycopg.connect("postgresql://" + uri.partition("://")[2], connect_timeout=SECONDS).close()
        except psycopg.Error as error:
            failed = error
    elif uri.startswith(("http://", "https://")):
        parts = urlsplit(uri)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=f"{parts.path.rstrip('/')}/health")
        try:
            urlopen(bare.geturl(), timeout=SECONDS).close()
        except HTTPError:
            pass  # somebody answers: what is wrong, MLflow will say
        except (URLError, OSError, ValueError) as error:
            failed = error
    if failed is not None:
        raise RegistryError(
            f"MLflow at {shown(uri)} cannot be reached",
            got=str(failed).strip(),
            run="it again, once USEROPS_TRACKING names what is there",
        )
