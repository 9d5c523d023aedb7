"""``userops status``."""

from __future__ import annotations

from datetime import UTC, datetime

from configs import Config, load
from configs.access import who_may_ask
from configs.errors import UseropsError
from configs.terminal import JsonFile, console, print_table, write_json

__all__ = ["status"]


def status(json_file: JsonFile = None) -> None:
    """Say what the home holds: events, features, models, the release in force."""
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
    found["online"] = _online(config)
    if (config.home / "mlflow.db").exists():
        registry = Registry(config)
        for model in config.models:
            named = {alias: registry.aliased(model, alias) for alias in (CHAMPION, CHALLENGER)}
            found[model] = ", ".join(f"{alias} {version or 'none'}" for alias, version in named.items())
    current = config.home / "releases" / "current"
    found["service"] = f"asked by {who_may_ask(config)}"
    found["release"] = current.resolve().name if current.exists() else "none"
    print_table("userops", ["", ""], [[key, value] for key, value in found.items()])
    for model in config.models:
        if said := rejected_champion(config, model):
            console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
    write_json(json_file, found)


def _online(config: Config) -> str:
    """Where the published features are, without a password, and of when."""
    from features.online import VECTOR, open_store

    store = open_store(config.online_uri)
    try:
        last = store.last_publication(VECTOR.view)
    except UseropsError as error:
        return f"{store.address}: {error.what}"
    if last is None:
        return f"{store.address}: nothing is published"
    return f"{store.address}, as of {datetime.fromtimestamp(last['as_of'], UTC):%Y-%m-%d %H:%M} UTC"
