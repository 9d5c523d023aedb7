"""The verbs of this room: simulate, ingest, features build | publish | inspect."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from configs import Config, load, with_engine
from configs.terminal import JsonFile, console, plain, print_table, showing, write_json

__all__ = [
    "build",
    "ingest",
    "inspect",
    "publish",
    "simulate",
]

Newest = Annotated[
    str | None, typer.Option(help="Publish the newest snapshot not after this, in UTC.", show_default="now")
]
AsOf = Annotated[
    str | None, typer.Option(help="The inclusive end of knowledge, in UTC.", show_default="the last midnight with data")
]


def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write the shop.", show_default=False)],
    users: Annotated[int, typer.Option(help="How many people.")] = 6000,
    days: Annotated[int, typer.Option(help="How many days of history.")] = 420,
    end: Annotated[str | None, typer.Option(help="The last midnight.", show_default="today")] = None,
) -> None:
    """Make a shop whose true probabilities are known."""
    from features.periods import as_utc, midnight, now
    from features.simulate import Shop
    from features.simulate import simulate as make

    config = load()
    until = as_utc(end) if end else midnight(now(config))
    with showing("simulating") as show:
        make(folder, Shop(users=users, days=days, end=until), show)
    console.print(f"shop of {users:,} people over {days} days until {until:%Y-%m-%d} in {folder}")


def ingest(
    source: Annotated[str, typer.Argument(help="A name in configs/sources, or the path of a mapping.")],
    data: Annotated[Path, typer.Option(help="The file or folder to read.", show_default=False)],
    replace_source: Annotated[
        bool,
        typer.Option(
            "--replace", help="Put these events in the place of all earlier ones of this source.", show_default="off"
        ),
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Read a table of behaviour into the event store; twice the same file adds nothing."""
    from features.ingest import ingest as read

    with showing(f"ingesting {source}") as show:
        report = read(load(), source, data, show, replace=replace_source)
    console.print(
        f"read {report.read:,} = accepted {report.accepted:,} + quarantined {report.quarantined:,}"
        f" + duplicates {report.duplicates:,}{f' + forgotten {report.forgotten:,}' if report.forgotten else ''}"
        f"   ({report.seconds:.1f} s)"
    )
    if report.by_rule:
        print_table("quarantined", ["rule", "lines"], [[rule, n] for rule, n in report.by_rule.items()])
        for example in report.examples.values():
            console.print(f"  {example}", markup=False, highlight=False, soft_wrap=True)
    write_json(json_file, asdict(report))


def build(
    as_of: AsOf = None,
    every_days: Annotated[int, typer.Option(help="Days between snapshots.")] = 7,
    count: Annotated[int, typer.Option(help="How many snapshots, ending at --as-of.")] = 1,
    engine: Annotated[
        str | None,
        typer.Option(help="Who computes: duckdb, or spark (its master in USEROPS_SPARK).", show_default="project.yaml"),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Compute the features of everybody at one or more instants, in one pass."""
    from features.build import TABLES
    from features.build import build as make
    from features.periods import as_utc, grid

    config = load()
    config = config if engine is None else with_engine(config, engine)
    last = as_utc(as_of) if as_of else last_midnight(config)
    with showing("building features") as show:
        report = make(
            config,
            grid(last, every_days, count),
            tables=tuple(TABLES),
            progress=show,
        )
    for table, made in report.tables.items():
        console.print(f"{table}: {made['rows']:,} rows in {made['files']} files, {made['bytes'] / 1e6:.1f} MB")
    write_json(json_file, asdict(report))


def last_midnight(config: Config) -> datetime:
    """The last midnight at which all ingested events are known, never later than the clock."""
    from features.events import span
    from features.periods import midnight, now

    return midnight(min(now(config), span(config)[1] + timedelta(days=1)))


def publish(as_of: Newest = None, json_file: JsonFile = None) -> None:
    """Put the newest snapshot where the service reads it; readers see the old or the new one, whole."""
    from features.periods import as_utc
    from features.store import Store

    config = load()
    store = Store(config)
    store.apply()
    with showing("publishing") as show:
        report = store.publish(as_utc(as_of) if as_of else None, show)
    console.print(f"published {report.users:,} users as of {report.as_of:%Y-%m-%d %H:%M} UTC in {report.seconds:.1f} s")
    write_json(json_file, asdict(report))


def inspect(
    user: Annotated[str, typer.Argument(help="A user id.")],
    json_file: JsonFile = None,
) -> None:
    """Show one user as training and as serving see him; the two must be equal."""
    from features.catalog import USER_FEATURES
    from features.store import Store

    seen = Store(load()).inspect(user)
    online = seen.online or {}
    rows: list[list[object]] = [
        [f.name, plain(seen.offline.get(f.name)), plain(online.get(f.name)), f.unit, f.meaning["en"]]
        for f in USER_FEATURES
    ]
    print_table(f"{user} as of {seen.as_of}", ["feature", "offline", "online", "unit", "meaning"], rows)
    console.print("offline and online differ in: " + ", ".join(seen.differing) if seen.differing else "no difference")
    write_json(json_file, asdict(seen))
