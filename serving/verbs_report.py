"""``userops report``: what reviewers read, as one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from configs import Config, load
from configs.terminal import Lang, console, showing, writable

__all__ = ["reporting"]


def reporting(rebuild: Callable[[Config, str, str], None]) -> Callable[..., None]:
    """The verb; ``rebuild(config, model, version)`` writes what is missing, or broken, of what reviewers read."""

    def report(
        model: Annotated[str, typer.Argument(help="Which model.")],
        out: Annotated[
            Path | None,
            typer.Option(
                help="The file to write, .html or .pdf.",
                show_default="report-<model>-<version>.html in this folder",
                callback=_writable,
            ),
        ] = None,
        version: Annotated[
            str | None,
            typer.Option(
                help="Which version: its number, champion (in force) or challenger.",
                show_default="the one in force, else the newest",
            ),
        ] = None,
        page: Annotated[
            str | None,
            typer.Option(help="One page: card, learned, compare, user or decision.", show_default="a report of all"),
        ] = None,
        user: Annotated[str, typer.Option(help="Of --page user: whose.", show_default="none")] = "",
        decision: Annotated[str, typer.Option(help="Of --page decision: which.", show_default="none")] = "",
        lang: Lang = "en",
    ) -> None:
        """Write what reviewers read of a version as one file that needs nothing else: HTML, or PDF by a browser."""
        from serving.console.desk import Desk
        from serving.console.pdf import browser, write_pdf
        from serving.console.report import opened, version_of
        from serving.console.report import report as write

        if out is not None and out.suffix not in (".html", ".pdf"):
            raise typer.BadParameter(f"--out {out}: a name that ends with .html or .pdf")
        pdf = out is not None and out.suffix == ".pdf"
        if pdf:
            browser()  # said before the work, not after
        config = load()
        with showing(f"report on {model}") as show, opened(config) as live:
            number = version_of(live, model, version)
            file = out or _named(model, number)
            if page not in ("user", "decision") and not Desk(config.home).whole(model, number):
                show("writing what reviewers read", 0.1)
                rebuild(config, model, number)
            show("rendering", 0.5)
            html = write(live, model, number, (lang,), page, user, decision, packed=not pdf)
            with _beside(file) as scratch:
                if pdf:
                    show("printing", 0.7)
                    write_pdf(html, scratch)
                else:
                    scratch.write_text(html, encoding="utf-8")
        console.print(f"{model} version {number}: {file} ({file.stat().st_size / 1e6:.1f} MB)", highlight=False)

    return report


def _named(model: str, number: str) -> Path:
    """The file when none is named; that it can be written is known before the work."""
    file = Path(f"report-{model}-{number}.html")
    _writable(file)
    return file


def _writable(file: Path | None) -> Path | None:
    """The file, when it can be written."""
    writable(file)
    if file is not None and not os.access(file.parent, os.W_OK):  # what is written takes its place when it is whole
        raise typer.BadParameter(f"nothing can be written into the folder {file.parent}")
    return file


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A file in the same folder that takes the place of ``file`` when the body went well, and is gone when not."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield scratch
        os.replace(scratch, file)
    finally:
        scratch.unlink(missing_ok=True)
