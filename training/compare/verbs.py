"""`userops compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from configs import load, model_of
from configs.errors import TrainingError
from configs.terminal import JsonFile, Lang, console, showing, writable, write_json

if TYPE_CHECKING:
    from training.registry import Registry

__all__ = ["compare"]

#: What is compared when nobody names two.
UNASKED = ("champion", "challenger")
WRITTEN = {
    "desk": {"en": "for reviewers:", "zh": "供评审查看："},
    "page": {"en": "page:", "zh": "页面："},
    "run": {"en": "in MLflow, run", "zh": "已写入 MLflow，运行"},
}


def compare(
    model: Annotated[str, typer.Argument(help="Which model.")],
    first: Annotated[str, typer.Argument(help="A version number or an alias.")] = UNASKED[0],
    second: Annotated[str, typer.Argument(help="A version number or an alias.")] = UNASKED[1],
    origins: Annotated[
        int | None, typer.Option(help="At how many past origins.", show_default="those of the model's gate", min=1)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the page to this file.", show_default="no file", callback=writable)
    ] = None,
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Compare two versions on the same users and past origins: every difference with its interval; logged to MLflow.

    What reviewers read of the two is written to the desk of the second.
    """
    from training.compare.comparison import BASELINE
    from training.compare.comparison import compare as put_beside
    from training.compare.report import comparison_page, spoken_verdict
    from training.compare.tables import print_comparison
    from training.desk.files import FOLDER
    from training.desk.versus import write_versus
    from training.registry import Registry
    from training.unnamed import unnamed

    config = load()
    about, registry = model_of(config, model), Registry(config)
    if _the_same(registry, model, first, second):
        return
    with showing(f"comparing {model}") as show:
        found = put_beside(config, about, first, second, show, origins)
    page = comparison_page(found, about.gate.decides)
    name = f"comparison_with_{found.first['version']}"
    run, hidden = registry.reopen(found.second["run_id"]), found.unnamed()
    run.text(comparison_page(hidden, about.gate.decides), f"{name}.html")
    run.json(hidden.as_json(), f"{name}.json")
    written = [f"{name}.html", f"{name}.json"]
    if html is not None:
        html.write_text(page, encoding="utf-8")
    print_comparison(found, about.gate.decides, lang)
    if found.desk and found.first["version"] != BASELINE:
        meanings = {head: one.get("meaning", {}) for head, one in about.heads.items()}
        verdict = spoken_verdict(found, about.gate.decides, meanings)
        content = {**found.desk, "paired": found.paired, "verdict": verdict, "origins": found.origins}
        path = write_versus(config, content)
        run.json(unnamed(json.loads(path.read_text(encoding="utf-8"))), f"{FOLDER}/{path.name}")
        written.append(f"{FOLDER}/{path.name}")
        console.print(f"{WRITTEN['desk'][lang]} {path}", markup=False, highlight=False, soft_wrap=True)
    if html is not None:
        console.print(f"{WRITTEN['page'][lang]} {html}", markup=False, highlight=False, soft_wrap=True)
    said = f"{WRITTEN['run'][lang]} {run.run_id}: {', '.join(written)}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    write_json(json_file, found.as_json())


def _the_same(registry: Registry, model: str, first: str, second: str) -> bool:
    """Whether both are one version, which is said: comparing it with itself takes minutes and says nothing.

    Where nobody named two, it is no error: there is no challenger yet.
    """
    numbers = [name if name.isdigit() else registry.aliased(model, name) for name in (first, second)]
    if numbers[0] is None or numbers[0] != numbers[1]:
        return False
    asked = first if first == second else f"{first} and {second}"
    said = f"{model}: {asked} is the same version, {numbers[0]}"
    if (first, second) == UNASKED:
        console.print(f"{said}: nothing to compare before  userops train {model}", highlight=False)
        return True
    raise TrainingError(
        said,
        got=f"{first} {second}",
        expected="two versions",
        because="every difference would be 0",
        run=f"userops train {model}",
    )
