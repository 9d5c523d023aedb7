"""`userops keys add | list | revoke`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from configs import load
from configs.keys import SCOPES, Keys, keys_file
from configs.terminal import JsonFile, console, errors, print_table, write_json

__all__ = ["add", "app", "list_", "revoke"]

app = typer.Typer(no_args_is_help=True, help="Issue and revoke the keys that signing needs.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is: the name that signatures carry.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What it may do; may be given again. One of {', '.join(SCOPES)}.", show_default="sign"),
    ] = None,
    days: Annotated[float | None, typer.Option(help="How many days it lasts.", show_default="without end")] = None,
) -> None:
    """Issue a key and print it, this once: only the digest of its secret is kept.

    It is issued by the account that runs this. Under a policy that asks for somebody other than the trainer, a key
    issued by the account that trained a version does not approve it.
    """
    key, text = Keys(keys_file(load())).add(name, scope or ["sign"], days)
    ends = f"until {key.expires_at[:16].replace('T', ' ')} UTC" if key.expires_at else "without end"
    told = (
        f"key {key.id} of {key.name}, issued by {key.issued_by}, for {', '.join(key.scopes)}, {ends}; shown only now:"
    )
    errors.print(told, markup=False, highlight=False)
    # Alone on the standard output, so that it can be piped to whoever keeps it.
    typer.echo(text)


@app.command("list")
def list_(json_file: JsonFile = None) -> None:
    """Show whose keys there are, what they may do, and which are still in force; no key itself."""
    now = datetime.now(UTC)
    keys = Keys(keys_file(load())).all()
    rows: list[list[object]] = [
        [k.id, k.name, ", ".join(k.scopes), k.issued_by, _day(k.created_at), _day(k.expires_at), k.state(now)]
        for k in keys
    ]
    print_table(f"{len(keys)} keys", ["id", "name", "may", "issued by", "since", "until", ""], rows)
    shown = ("id", "name", "scopes", "issued_by", "created_at", "expires_at", "revoked_at")
    write_json(json_file, [{name: getattr(key, name) for name in shown} | {"state": key.state(now)} for key in keys])


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The id of the key, as `userops keys list` shows it.")]) -> None:
    """Let a key open nothing from now on; a running service notices at once. What was signed with it stays."""
    key = Keys(keys_file(load())).revoke(key_id)
    console.print(
        f"key {key.id} of {key.name} is revoked since {_day(key.revoked_at)} UTC", markup=False, highlight=False
    )


def _day(at: str | None) -> str:
    return "" if at is None else at[:16].replace("T", " ")
