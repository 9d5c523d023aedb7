"""``userops benchmark predict | explain | bulk | all``: what of this room needs no service, and all of all rooms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from configs import load
from configs.errors import UseropsError
from configs.terminal import JsonFile, Quick, console, print_benchmark, print_table, showing, writable

__all__ = ["benchmark_bulk", "benchmark_explain", "benchmark_predict", "collecting"]


def benchmark_predict(json_file: JsonFile = None, quick: Quick = False) -> None:
    """Measure raw scores of one row and of many beside LightGBM's own; all must agree to the last bit."""
    from serving.benchmark_predict import benchmark_predict as run

    size = {"trees": 20, "leaves": 15, "rows": 2_000, "turns": 5} if quick else {}
    with showing("benchmark predict") as show:
        found = run(load(), show, **size)
    print_benchmark(found, json_file)


def benchmark_explain(json_file: JsonFile = None, quick: Quick = False) -> None:
    """Measure exact reasons beside LightGBM's own recursion and the shap package; all must agree."""
    from serving.benchmark_explain import benchmark_explain as run

    size = {"trees": 20, "leaves": 15, "features": 20, "rows": 20, "turns": 5} if quick else {}
    with showing("benchmark explain") as show:
        found = run(load(), show, **size)
    print_benchmark(found, json_file)


def benchmark_bulk(json_file: JsonFile = None, quick: Quick = False) -> None:
    """Measure everybody's scores as files beside LightGBM's own numbers from memory, and a run of ten million."""
    from serving.benchmark_bulk import benchmark_bulk as run

    size: dict[str, Any] = {"trees": 20, "leaves": 15, "users": 1_000, "explained": 50}
    size |= {"people": (2_000, 4_000), "scores": 20_000}
    with showing("benchmark bulk") as show:
        found = run(load(), show, **(size if quick else {}))
    print_benchmark(found, json_file)


def collecting(revision: Callable[[], str]) -> Callable[..., None]:
    """The verb ``benchmark all``; ``revision`` says which code it measures."""

    def benchmark_all(
        json_file: JsonFile = None,
        markdown: Annotated[
            Path | None,
            typer.Option(help="Also write the table as Markdown.", show_default="no file", callback=writable),
        ] = None,
        only: Annotated[
            list[str] | None, typer.Option(help="Measure this part; may be given again.", show_default="all")
        ] = None,
        accuracy: Annotated[
            Path | None,
            typer.Option(
                help="Also run the yardsticks whose files lie here: cdnow/CDNOW_master.txt, hillstrom/hillstrom.csv, "
                "next_basket/DC.json, next_basket/TaFeng.json, online_retail/online_retail_II.parquet.",
                show_default="none",
                exists=True,
                file_okay=False,
            ),
        ] = None,
        quick: Quick = False,
    ) -> None:
        """Measure everything, each part alone in a process of its own, beside the plain way; 20 minutes on 2 cores.

        The same command goes on where Ctrl-C or a failure ended it; 1 as exit code: some part has no numbers.
        """
        from serving.benchmark_all import Run, failed, unfinished
        from serving.benchmark_all import benchmark_all as run
        from serving.benchmark_parts import PARTS
        from serving.benchmark_table import COLUMNS, cells, markdown_of, remarks
        from serving.benchmark_yardsticks import yardsticks

        config = load()
        known = [*PARTS, *(yardsticks(accuracy.resolve()) if accuracy else ())]
        if unknown := sorted(set(only or ()) - {part.name for part in known}):
            raise UseropsError("there is no such part", got=unknown, expected=[part.name for part in known])
        parts = [part for part in known if not only or part.name in only]
        config.home.mkdir(parents=True, exist_ok=True)
        file = json_file or config.home / "benchmark-all.json"
        with showing("benchmark all") as show:
            asked = Run(parts, file, revision(), quick, lambda said: console.print(said, markup=False, soft_wrap=True))
            found = run(config, asked, show)
        print_table("all benchmarks", list(COLUMNS), cells(found), words={2})
        for said in remarks(found):
            console.print(said, markup=False, highlight=False, soft_wrap=True)
        if markdown is not None:
            markdown.write_text(markdown_of(found), encoding="utf-8")
        console.print(f"numbers in {file}")
        if lost := failed(found):
            raise UseropsError(
                "some parts have no numbers",
                got=lost,
                because=f"their last words are in {file}; the others are kept in {unfinished(file).name}",
                run="the same command: it measures only what is missing",
            )

    return benchmark_all
