"""``userops status``."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from configs import Config, load
from configs.access import who_may_ask
from configs.answering import why_silent
from configs.databases import DATABASES, begun, shown
from configs.errors import UseropsError
from configs.terminal import JsonFile, console, print_table, write_json

__all__ = ["status"]


def status(json_file: JsonFile = None) -> None:
    """Say what the home holds, where everything is kept, and whether that answers: 1 as exit code where not."""
    from features.events import content_hash, span
    from features.periods import now
    from training.gate.sign import rejected_champion
    from training.registry import CHALLENGER, CHAMPION, Registry

    config = load()
    found: dict[str, object] = {"home": str(config.home), "clock": now(config).isoformat()}
    try:
        first, last = span(config)
        found["events"] = f"{first:%Y-%m-%d} .. {last:%Y-%m-%d}  ({content_hash(config)[:19]})"
    except UseropsError as error:
        found["events"] = error.what
    snapshots = sorted((config.home / "features" / "user").glob("*.parquet"))
    found["feature snapshots"] = f"{len(snapshots)}, newest {snapshots[-1].stem}" if snapshots else "none"
    silent: list[str] = []
    found["online"] = _online(config, silent)
    for name in DATABASES:
        found[name] = _database(name, getattr(config, f"{name}_uri"), silent)
    registry = None
    if "tracking" not in silent and begun(config.tracking_uri):
        try:
            registry = Registry(config)
        except UseropsError as error:
            silent.append("tracking")
            found["tracking"] = error.what
    if registry is not None:
        for model in config.models:
            named = {alias: registry.aliased(model, alias) for alias in (CHAMPION, CHALLENGER)}
            found[model] = ", ".join(f"{alias} {version or 'none'}" for alias, version in named.items())
    current = config.home / "releases" / "current"
    found["service"] = f"asked by {who_may_ask(config)}"
    found["release"] = current.resolve().name if current.exists() else "none"
    print_table("userops", ["", ""], [[key, value] for key, value in found.items()])
    for model in config.models if registry is not None and "audit" not in silent else ():
        if said := rejected_champion(config, model):
            console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
    write_json(json_file, found)
    if silent:
        console.print(f"no answer: {', '.join(silent)}", style="red", highlight=False)
        raise typer.Exit(1)


def _database(name: str, uri: str, silent: list[str]) -> str:
    """Where it is, without a password, and whether it answers."""
    if not begun(uri):
        return f"{shown(uri)}: nothing yet"
    if reason := why_silent(uri):
        silent.append(name)
        return f"{shown(uri)}: {' '.join(reason.split())}"
    return shown(uri)


def _online(config: Config, silent: list[str]) -> str:
    """Where the published features are, without a password, and of when."""
    from features.online import VECTOR, open_store

    store = open_store(config.online_uri)
    if not begun(config.online_uri):
        return f"{store.address}: nothing yet"
    try:
        last = store.last_publication(VECTOR.view)
    except UseropsError as error:
        silent.append("online")
        return f"{store.address}: {error.got or error.what}".replace(f"{store.address}: {store.address}", store.address)
    if last is None:
        return f"{store.address}: nothing is published"
    return f"{store.address}, as of {datetime.fromtimestamp(last['as_of'], UTC):%Y-%m-%d %H:%M} UTC"
