"""What every verb of the command line shares: progress, tables, JSON files, one width."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from configs.documents import LANGUAGES

__all__ = [
    "JsonFile",
    "Lang",
    "Models",
    "Named",
    "Quick",
    "bracket",
    "console",
    "errors",
    "plain",
    "print_benchmark",
    "print_table",
    "showing",
    "step",
    "writable",
    "write_json",
]

# A pipe has no width of its own: wide enough for the tables.
WIDTH = None if sys.stdout.isatty() else 120
# What others wrote is shown as it is: ":books:" is no picture, "[red]" no colour.
console = Console(width=WIDTH, emoji=False)
errors = Console(stderr=True, width=WIDTH, emoji=False)


def writable(file: Path | None) -> Path | None:
    """The file, when it can be written: said before the work, not after."""
    if file is not None:
        if not file.parent.is_dir():
            raise typer.BadParameter(f"there is no folder {file.parent}: make it first, with mkdir -p")
        there = file.exists()
        try:
            file.open("a").close()
        except OSError as error:
            raise typer.BadParameter(str(error)) from None
        if not there:  # a verb that fails leaves no empty file behind
            file.unlink(missing_ok=True)
    return file


def _spoken(lang: str) -> str:
    """The language, when it is one of ours."""
    if lang not in LANGUAGES:
        raise typer.BadParameter(f"{lang!r} is none of {', '.join(LANGUAGES)}")
    return lang


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="Also write the numbers to this file.", show_default="no file", callback=writable),
]
Lang = Annotated[str, typer.Option(help="Language of the words: en or zh.", callback=_spoken)]
Quick = Annotated[bool, typer.Option("--quick", help="Measure little, within seconds.", show_default="off")]
Models = Annotated[list[str] | None, typer.Argument(help="Which models.", show_default="all of configs/models")]
# Some verbs take a version as their second argument, some, which take several models, as an option: both are right.
Named = Annotated[
    str | None,
    typer.Option("--version", help="The same as VERSION, as other verbs take it.", show_default="VERSION"),
]


@contextmanager
def showing(title: str) -> Iterator[Any]:
    """A progress bar; the body calls ``show(message, fraction)``."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=not errors.is_terminal) as progress:
        task = progress.add_task(title, total=1.0)

        def show(message: str, fraction: float) -> None:
            progress.update(task, description=f"{title}: {message}", completed=fraction)

        yield show
        progress.update(task, description=title, completed=1.0)


def step(number: int, what: str) -> None:
    """Head one step of several."""
    console.print(f"\n[bold cyan]{number} · {what}")


def write_json(file: Path | None, content: object) -> None:
    """Write ``content`` when the user asked for a file."""
    if file is not None:
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def print_table(title: str, columns: list[str], rows: list[list[object]], words: Collection[int] = ()) -> None:
    """A table whose numbers stand right; the first column and those of ``words`` stand left."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or index in words else "right")
    for row in rows:
        table.add_row(*(Text(f"{cell:,.4f}" if isinstance(cell, float) else str(cell)) for cell in row))
    console.print(table)


def plain(value: float | None) -> str:
    """A number without needless digits; nothing where it is absent."""
    return "" if value is None else f"{value:,.4g}"


def bracket(interval: list[float] | None) -> str:
    """An interval as people write it."""
    return "" if interval is None else f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def print_benchmark(found: dict[str, Any], json_file: Path | None) -> None:
    """One line per metric: ours with its interval, each baseline beside it; then the ratios, above 1 ours is better."""
    names = list(dict.fromkeys([*found["metrics"], *(m for values in found["baselines"].values() for m in values)]))
    rows: list[list[object]] = []
    for name in names:
        ours = found["metrics"].get(name, {})
        own = [plain(ours.get("value")), bracket(ours.get("ci"))]
        rows.append([name, *own, *(plain(values.get(name)) for values in found["baselines"].values())])
    rows += [[name, f"{ratio:.1f} x"] + [""] * (1 + len(found["baselines"])) for name, ratio in found["ratios"].items()]
    title = f"{found['benchmark']} ({found['seconds']:.0f} s, {found['peak_mb']:.0f} MB)"
    print_table(title, ["", "ours", "95 %", *found["baselines"]], rows)
    write_json(json_file, found)
