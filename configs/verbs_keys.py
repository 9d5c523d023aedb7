"""`userops keys add | list | revoke`.

A key is changed without a pause by adding another of the same name, handing it over, and revoking the first: a running
service reads the file anew as soon as it has changed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from configs import Config, load
from configs.account import account
from configs.audit import Entry, append, append_unless
from configs.keys import SCOPES, Key, Keys, keys_file
from configs.terminal import JsonFile, console, errors, print_table, write_json

__all__ = ["add", "app", "list_", "revoke"]

app = typer.Typer(
    no_args_is_help=True,
    help="Issue and revoke keys: from the first one on, the service asks everybody for one, and signing always does. "
    "To change a key without a pause: add another of the same name, hand it over, revoke the first.",
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is: the name that signatures carry.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What it may do; may be given again. One of {', '.join(SCOPES)}.", show_default="sign"),
    ] = None,
    days: Annotated[float | None, typer.Option(help="How many days it lasts.", show_default="without end")] = None,
    rate: Annotated[
        str | None, typer.Option(help="How often it may ask: 100/s, 6000/min, 100000/h.", show_default="without limit")
    ] = None,
) -> None:
    """Issue a key and print it, this once: only the digest of its secret is kept.

    It is issued by the account that runs this. Under a policy that asks for somebody other than the trainer, a key
    issued by the account that trained a version does not approve it. The audit table gets a row of it, or there is no
    key.
    """
    config = load()
    keys = Keys(keys_file(config))
    first = not keys.any()
    key, text = keys.add(
        name, scope or ["sign"], days, rate, lambda key: append(config.audit_uri, _entry(config, "key_issued", key))
    )
    told = f"key {key.id} of {key.name}, issued by {key.issued_by}, for {_terms(key)}; shown only now:"
    if first:
        said = "the first key: from now on the service answers nobody without one (score, decide, feedback, read, ...)"
        errors.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
    errors.print(told, markup=False, highlight=False)
    # Alone on the standard output, so that it can be piped to whoever keeps it.
    typer.echo(text)


@app.command("list")
def list_(json_file: JsonFile = None) -> None:
    """Show whose keys there are, what they may do, and which are still in force; no key itself."""
    now = datetime.now(UTC)
    keys = Keys(keys_file(load())).all()
    rows: list[list[object]] = [
        [k.id, k.name, ", ".join(k.scopes), k.rate or "", k.issued_by, *map(_day, (k.created_at, k.expires_at)), state]
        for k, state in ((key, key.state(now)) for key in keys)
    ]
    columns = ["id", "name", "may", "at most", "issued by", "since", "until", ""]
    print_table(f"{len(keys)} keys", columns, rows)
    shown = ("id", "name", "scopes", "rate", "issued_by", "created_at", "expires_at", "revoked_at")
    write_json(json_file, [{name: getattr(key, name) for name in shown} | {"state": key.state(now)} for key in keys])


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The id of the key, as `userops keys list` shows it.")]) -> None:
    """Let a key open nothing from now on; a running service notices at once. What was signed with it stays.

    The key is revoked also when the audit table cannot be written; this then ends with 1, and once more writes the row.
    """
    config = load()
    key = Keys(keys_file(config)).revoke(key_id)
    console.print(
        f"key {key.id} of {key.name} is revoked since {_day(key.revoked_at)} UTC", markup=False, highlight=False
    )
    entry = _entry(config, "key_revoked", key)
    append_unless(config.audit_uri, entry, lambda rows: next((row for row in rows if row.action == entry.action), None))


def _entry(config: Config, action: str, key: Key) -> Entry:
    """The row of the audit table: all that the file holds of the key but the digest of its secret."""
    told = {name: getattr(key, name) for name in ("name", "scopes", "rate", "expires_at", "issued_by")}
    evidence = {**told, "account": account()}
    return Entry(config.user, action, "key", key.id, comment=f"{key.name}: {_terms(key)}", evidence=evidence)


def _terms(key: Key) -> str:
    ends = f"until {_day(key.expires_at)} UTC" if key.expires_at else "without end"
    return f"{', '.join(key.scopes)} ({key.rate or 'as often as it likes'}), {ends}"


def _day(at: str | None) -> str:
    return "" if at is None else at[:16].replace("T", " ")
