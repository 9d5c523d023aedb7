"""Whether MLflow can keep its records at an address, asked first: itself it tells passwords, or ends in a traceback."""

from __future__ import annotations

from configs.answering import why_silent
from configs.databases import begun, is_postgres, shown
from configs.errors import RegistryError

__all__ = ["check_reachable"]

OURS, OTHERS = "experiments", "alembic_version"  # of MLflow; of whoever migrates by Alembic, as MLflow does


def check_reachable(uri: str) -> None:
    """Ask for an answer, and whether another program keeps its tables there.

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
    if silent := why_silent(uri):
        raise RegistryError(
            f"MLflow at {shown(uri)} cannot be reached",
            got=silent,
            run="it again, once USEROPS_TRACKING names what is there",
        )
    if not uri.startswith(("http://", "https://")) and begun(uri) and _anothers(uri):
        raise RegistryError(
            f"{shown(uri)} holds the tables of another program, and MLflow cannot lie beside them",
            expected="an empty database, or MLflow's",
            run="set USEROPS_TRACKING to a database of its own"
            + (", or to a schema: ...?options=-csearch_path%3DNAME" if is_postgres(uri) else ""),
        )


def _anothers(uri: str) -> bool:
    # SQLAlchemy comes with MLflow, which is about to be imported.
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.pool import NullPool

    tables = inspect(create_engine(uri, poolclass=NullPool)).get_table_names()
    return OTHERS in tables and OURS not in tables
