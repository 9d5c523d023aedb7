"""`userops compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from configs import load, model_of
from configs.terminal import JsonFile, console, print_table, showing, writable, write_json

if TYPE_CHECKING:
    from training.compare.comparison import Comparison

__all__ = ["compare"]


def compare(
    model: Annotated[str, typer.Argument(help="Which model.")],
    first: Annotated[str, typer.Argument(help="A version number or an alias.")] = "champion",
    second: Annotated[str, typer.Argument(help="A version number or an alias.")] = "challenger",
    origins: Annotated[
        int | None, typer.Option(help="At how many past origins.", show_default="those of the model's gate", min=1)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the page to this file.", show_default="no file", callback=writable)
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Compare two versions on the same users and past origins: every difference with its interval; logged to MLflow."""
    from training.compare.comparison import compare as put_beside
    from training.compare.report import comparison_page
    from training.registry import Registry

    config = load()
    about = model_of(config, model)
    with showing(f"comparing {model}") as show:
        found = put_beside(config, about, first, second, show, origins)
    page = comparison_page(found, about.gate.decides)
    run = Registry(config).reopen(found.second["run_id"])
    name = f"comparison_with_{found.first['version']}"
    run.text(page, f"{name}.html")
    run.json(found.as_json(), f"{name}.json")
    if html is not None:
        html.write_text(page, encoding="utf-8")
    print_comparison(found, about.gate.decides)
    write_json(json_file, found.as_json())


def print_comparison(found: Comparison, decides: str) -> None:
    """The tables of a comparison: metrics, where they disagree, what weighs, who moves, what it costs."""
    from training.compare.report import HOW, spoken_verdict, words

    titles = found.titles
    rows: list[list[object]] = []
    for head, pairs in found.heads.items():
        for metric, pair in pairs.items():
            d = pair.better
            cells = [f"{i.value:.4f} [{i.low:.4f}, {i.high:.4f}]" for i in (pair.first, pair.second)]
            better = f"{d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
            rows.append([f"{head} {metric}", *cells, better, words(pair.verdict)["en"]])
    title = f"{found.model}: {found.rows:,} forecasts at {', '.join(origin[:10] for origin in found.origins)}"
    print_table(title, ["", *titles, "better by [95 %]", "the second is"], rows)
    for side, one in zip(titles, (found.first, found.second), strict=True):
        how = sorted({HOW[name]["en"] for name in one["how"].values()})
        console.print(f"{side}: {'; '.join(how)}", highlight=False)
    parts: list[list[object]] = [
        [f"{one['head']} {one['segment']}={one['part']}", one["rows"], *one["mean"], one["truth"], *one["loss"]]
        for one in found.parts[:6]
    ]
    if parts:
        columns = ["where they disagree", "rows", "first", "second", "truth", "loss first", "loss second"]
        print_table("", columns, parts)
    users: list[list[object]] = [
        [one["user_id"], one.get("item", one["head"]), one["as_of"][:10], *one["p"], one["y"]]
        for one in found.users[:6]
    ]
    if users:
        print_table("", ["users apart", "head", "as of", "first", "second", "what followed"], users)
    weights: list[list[object]] = [
        [one["feature"], *(f"{100 * one[name]:.1f} %" for name in ("first", "second", "change"))]
        for one in found.weights[:8]
    ]
    if weights:
        print_table("", ["share in mean |SHAP|", *titles, "change"], weights)
    moves: list[list[object]] = [
        [head, one["users"], one["mean_move"], f"{100 * one['far']:.1f} %", one["rank_correlation"]]
        for head, one in found.moves.items()
    ]
    if moves:
        print_table("", ["percentiles today", "users", "mean move", "by more than 10", "rank correlation"], moves)
    if found.cost:
        costs: list[list[object]] = [
            [name, *(f"{one[name]:,.0f}" for one in found.cost.values())] for name in found.cost["second"]
        ]
        print_table("", ["cost", *titles[-len(found.cost) :]], costs)
    for one in found.notes:
        console.print(one["en"], highlight=False)
    console.print(spoken_verdict(found, decides)["en"], highlight=False)
