"""``userops chaos``: faults made on a scratch home, and a table of what was seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from configs import load
from configs.terminal import JsonFile, console, print_table, showing, write_json

__all__ = ["chaos"]

SOAK_MINUTES = 30.0
HELD = {True: "yes", False: "NO", None: "skipped"}


def chaos(
    only: Annotated[
        list[str] | None, typer.Option(help="Make this fault alone; may be said again.", show_default="all of them")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the faults and the tests that make them in small.", show_default="off")
    ] = False,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Make them on a copy of this home.",
            show_default="a small simulated shop",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    soak: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=0.5,
            help=f"Instead, load the service for so long and watch its memory; {SOAK_MINUTES:g} tell something.",
            show_default="no soak",
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Break a scratch installation in every way we know, and say whether what must hold held; ends with 1 if not.

    What must hold: nothing acknowledged is lost or doubled, no wrong score is given without saying so, and the service
    recovers by itself. Real processes, Redis and PostgreSQL, on loopback; a home that is copied is only read.
    """
    from serving.chaos.registry import FAULTS, named
    from serving.chaos.run import run

    if listed:
        write_json(json_file, [{"name": one.name, "done": one.done, "tests": one.tests} for one in FAULTS])
        for fault in FAULTS:  # no table: a name that was cut runs no test
            console.print(f"{fault.name}: {fault.done}", markup=False, highlight=False, soft_wrap=True)
            for test in fault.tests:
                console.print(f"    {test}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"{len(FAULTS)} faults", highlight=False)
        return
    faults, config = named(only), load(home) if home else None
    with showing("chaos") as show:
        found = run(config, faults, soak, show)
    write_json(json_file, found)
    failed = _print_soak(found["soak"]) if soak else _print_faults(found)
    console.print(f"{found['seconds']:.0f} s", highlight=False)
    if failed:
        raise typer.Exit(1)


def _print_faults(found: dict[str, Any]) -> bool:
    rows: list[list[object]] = [
        [one["name"], one["done"], one["seen"], HELD[one["held"]], f"{one['seconds']:.1f}"] for one in found["faults"]
    ]
    print_table("faults", ["fault", "what was done", "what was seen", "held?", "s"], rows, words=(1, 2))
    return any(one["held"] is False for one in found["faults"])


def _print_soak(found: dict[str, Any]) -> bool:
    rows: list[list[object]] = [
        [one["name"], one["first_mb"], one["last_mb"], one["mb_per_hour"], f"[{one['low']:.1f}, {one['high']:.1f}]",
         HELD[one["held"]] if one["held"] is not None else "too short to tell"]
        for one in found["slopes"]
    ]  # fmt: skip
    title = f"memory over {found['minutes']:g} minutes, {found['answers']:,} answers; {found['kept']}"
    print_table(title, ["process", "MB after warm-up", "MB at the end", "MB per hour", "95 %", "held?"], rows)
    for reason, times in found["refusals"].items():
        console.print(f"refused {times:,} times: {reason}", markup=False, highlight=False, soft_wrap=True)
    return any(one["held"] is False for one in found["slopes"])
