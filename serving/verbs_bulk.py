"""The verbs for everybody: `userops score --out`, which `userops score` becomes without users, and `audience`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from configs import load
from configs.errors import UseropsError
from configs.terminal import JsonFile, console, print_table, showing, writable, write_json

__all__ = ["audience", "score_all"]

ENGINES = {"threads": "serving.bulk.run", "spark": "serving.bulk.spark"}


def score_all(
    out: Path, models: list[str], as_of: str | None, reasons: int, lang: str, fresh: bool, engine: str = "threads"
) -> dict[str, Any]:
    """Score everybody, print what was written, and return it."""
    from features.periods import as_utc
    from serving.bulk.run import MODELS

    score_everybody = _engine(engine)
    with showing("scoring") as show:
        found = score_everybody(
            load(),
            out,
            list(dict.fromkeys(models)) or MODELS,
            as_of=as_utc(as_of) if as_of else None,
            reasons=reasons,
            lang=lang,
            fresh=fresh,
            progress=show,
        )
    rows: list[list[object]] = [
        [
            name,
            f"{one['rows']:,}",
            f"{one['parts']:,}" + (f" ({one['parts_done_before']:,} before)" if one["parts_done_before"] else ""),
            f"{one['bytes'] / 1e6:,.1f}",
            f"{one['seconds']:,.1f}",
            "" if one["users_per_s"] is None else f"{one['users_per_s']:,.0f}",
        ]
        for name, one in found["models"].items()
    ]
    snapshot = found["snapshot"]
    title = f"{snapshot['users']:,} users as of {snapshot['as_of'][:10]}, release {found['release_id']}: {out}"
    print_table(title, ["model", "rows", "parts", "MB", "seconds", "users/s"], rows)
    for name, one in found["models"].items():
        if one["unavailable"]:
            console.print(
                f"{name}: {one['unavailable']:,} users without scores, FEATURES_UNAVAILABLE: what is stored of them is "
                "damaged or infinite (userops features build)",
                markup=False,
                highlight=False,
            )
    return found


def _engine(name: str) -> Callable[..., dict[str, Any]]:
    if name not in ENGINES:
        raise UseropsError("no such engine", got=name, expected=list(ENGINES))
    engine: Callable[..., dict[str, Any]] = import_module(ENGINES[name]).score_everybody
    return engine


def audience(
    scores: Annotated[Path, typer.Argument(help="The folder that `userops score --out` wrote.", exists=True)],
    file: Annotated[Path, typer.Argument(help="The file to write: CSV where it ends so, else Parquet.")],
    model: Annotated[str, typer.Option(help="Which model ranks them.")] = "churn",
    head: Annotated[str | None, typer.Option(help="Which question of it.", show_default="its usual one")] = None,
    category: Annotated[
        str | None, typer.Option(help="With --model interest: who wants something of it.", show_default="none")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="At most so many users.")] = 1000,
    threshold: Annotated[
        float | None, typer.Option(help="None with a probability (value: spend) below it.", show_default="none")
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            help="Where they would be reached: without who refused it, or did not agree where the policy asks it.",
            show_default="anywhere",
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Write the users most worth reaching from bulk scores; nobody who does not want to be in it, as of now."""
    from serving.bulk.audience import Aim, write_audience
    from serving.bulk.audience import audience as build

    target = writable(file) or file
    with showing("choosing users"):
        table, about = build(load(), scores, Aim(model, head, category, top, threshold, channel))
        write_audience(table, target, about)
    asked = f"category {category}" if category else about["head"]
    console.print(
        f"{about['users_found']:,} of {about['users_scored']:,} scored users by {model} {asked}, as of "
        f"{about['as_of'][:10]}, in {file}",
        markup=False,
        highlight=False,
    )
    if about["users_unwilling"]:
        wanted = f" or gave no consent, which the policy asks for on {channel}" if about["needs_consent"] else ""
        console.print(
            f"{about['users_unwilling']:,} who scored well enough do not want it{wanted}", markup=False, highlight=False
        )
    write_json(json_file, about)
