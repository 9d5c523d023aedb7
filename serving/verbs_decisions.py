"""The verbs about the decision log: identify, decisions export | replay | migrate."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from configs import Config, load
from configs.databases import shown
from configs.errors import UseropsError
from configs.terminal import JsonFile, console, print_table, showing, writable, write_json

__all__ = ["export", "identify", "migrate", "replay"]

Since = Annotated[str | None, typer.Option(help="The first instant, in UTC.", show_default="the first decision")]
Until = Annotated[str | None, typer.Option(help="The first instant that does not count, in UTC.", show_default="now")]


def identify(
    file: Annotated[
        Path, typer.Argument(help="A CSV or Parquet file with the columns namespace, id, user_id.", exists=True)
    ],
) -> None:
    """Learn which ids of other systems belong to which user, so that requests may name a person by any of them."""
    import duckdb

    from serving.log import DecisionLog

    with duckdb.connect() as connection:
        try:
            # As text: an id that looks like a number keeps its zeros.
            table = (
                connection.read_parquet(str(file))
                if file.suffix == ".parquet"
                else connection.read_csv(str(file), all_varchar=True)
            )
            rows = table.project("namespace::TEXT, id::TEXT, user_id::TEXT").fetchall()
        except duckdb.Error as error:
            raise UseropsError(
                f"{file} cannot be read", got=str(error).partition("\n")[0], expected="columns namespace, id, user_id"
            ) from None
    if any(not value for row in rows for value in row):
        raise UseropsError(f"{file} leaves something empty", expected="namespace, id and user_id in every line")
    known = DecisionLog.open(load().decisions_uri).identify(rows)
    console.print(f"{known:,} identities known")


def export(
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    since: Since = None,
    until: Until = None,
) -> None:
    """Write logged decisions with their rewards as Parquet, in the Open Bandit data set's field names."""
    from serving.log import DecisionLog

    config = load()
    with showing("exporting decisions"):
        rows = DecisionLog.open(config.decisions_uri).export(writable(file) or file, *_between(config, since, until))
    console.print(f"{rows:,} shown offers in {file}")


def replay(
    since: Since = None,
    until: Until = None,
    release: Annotated[
        str | None, typer.Option(help="Ask another release instead; 'current' is the one in force.", show_default="own")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Decide logged decisions again; by their own release every bit must be the same, or this ends with 1."""
    from serving.local import replay as again

    config = load()
    decided = identical = broken = 0
    shown: list[dict[str, Any]] = []
    with showing("deciding again") as show:
        for one in again(config, *_between(config, since, until), release):
            decided, identical = decided + 1, identical + one["identical"]
            broken += one["kind"] == "replay" and not one["identical"]
            if not one["identical"] and len(shown) < 20:
                shown.append(one)
            show(f"{decided:,}", 0.5)
    console.print(f"{decided:,} decisions decided again: {identical:,} identical")
    rows: list[list[object]] = [
        [one["decision_id"], first["path"], first["was"], first["now"]]
        for one in shown
        for first in one["differences"][:1]
    ]
    if rows:
        print_table("the first that differ", ["decision", "first difference", "was", "now"], rows)
    write_json(json_file, {"decisions": decided, "identical": identical, "differing": shown})
    if broken:
        raise typer.Exit(1)


def _between(config: Config, since: str | None, until: str | None) -> tuple[int, int]:
    """Microseconds of both ends."""
    from features.periods import as_utc, now

    last = as_utc(until) if until else now(config) + timedelta(microseconds=1)
    return int(as_utc(since).timestamp() * 1e6) if since else 0, int(last.timestamp() * 1e6)


def migrate(
    to: Annotated[str | None, typer.Option(help="A step, or base: no log at all.", show_default="the last one")] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Go back even where rows go with it.", show_default="no")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Show the steps of the decision log's schema, and move it to one of them, forward or back.

    Forward nothing is lost, and whoever opens the log moves it forward anyway, so stop the service before you go back
    and start the older version after it. Back is refused, with the number of rows, where something would go.
    """
    from serving.log.database import connect
    from serving.log.migrate import BASE, HEAD, steps, version
    from serving.log.migrate import migrate as move

    uri = load().decisions_uri
    database = connect(uri)
    try:
        before, target, known = version(database) or BASE, to or HEAD, steps()
        dropped = move(database, target, drop=drop) if before != target else {}
        now = version(database) or BASE
    finally:
        database.close()
    rows: list[list[object]] = [[one.version, one.about, "here" if one.version == now else ""] for one in known]
    print_table(f"the decision log in {shown(uri)}", ["step", "", ""], rows, words=(1, 2))
    moved = "was there already" if before == now else f"moved from {before} to {now}"
    console.print(moved + "".join(f"; {count:,} of {name} dropped" for name, count in dropped.items()))
    write_json(json_file, {"before": before, "now": now, "dropped": dropped})
