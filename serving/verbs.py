"""The verbs of this room: serve, score, explain."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated, Any

import typer
from rich.table import Table

from configs import load
from configs.terminal import JsonFile, console, print_benchmark, print_table, showing, write_json

__all__ = ["benchmark_explain", "explain", "print_answer", "score", "serve"]

Lang = Annotated[str, typer.Option(help="Language of the reasons: zh or en.")]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="configs/project.yaml")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="configs/project.yaml")] = None,
) -> None:
    """Serve the release in force, and bring live events online, until Ctrl-C."""
    from serving.local import command, follower

    config = load()
    subprocess.Popen(follower())  # ends with this process, which becomes the service
    os.execvp(sys.executable, command(config, host, port))


def score(
    model: Annotated[str, typer.Argument(help="Which model.")],
    users: Annotated[list[str], typer.Argument(help="User ids, 500 at most.")],
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Answer as the service would: probabilities and reasons from the release in force."""
    from serving.local import ask

    answer = ask(load(), model, users, {"level": "reason_codes", "top_n": 3, "lang": lang})
    print_answer(answer)
    write_json(json_file, answer)


def explain(
    user: Annotated[str, typer.Argument(help="A user id.")],
    model: Annotated[str, typer.Option(help="Which model.")] = "churn",
    lang: Lang = "en",
    top: Annotated[int, typer.Option(help="How many reasons, 20 at most.")] = 10,
    json_file: JsonFile = None,
) -> None:
    """Add up one user's score: base value, every strong feature's share in log-odds, raw score, probability."""
    from serving.local import ask

    answer = ask(load(), model, [user], {"level": "full", "top_n": top, "lang": lang})
    for name, head in answer["users"][0]["scores"].items():
        if head["explanation"] is None:
            console.print(f"{name}: {head['status_reason']}")
            continue
        shares = head["explanation"]
        rows: list[list[object]] = [["base value", f"{shares['base_value']:+.4f}"]]
        rows += [[reason["text"], f"{reason['contribution']:+.4f}"] for reason in head["reason_codes"]]
        rest = shares["raw_score"] - shares["base_value"] - sum(r["contribution"] for r in head["reason_codes"])
        rows += [["all other features", f"{rest:+.4f}"], ["raw score", f"{shares['raw_score']:+.4f}"]]
        rows += [["calibrated probability", f"{head['p']:.4f}"]]
        print_table(name, ["", "log-odds"], rows)
    write_json(json_file, answer)


def print_answer(answer: dict[str, Any]) -> None:
    """One table per user: each head, its probability, its reasons."""
    for user in answer["users"]:
        rows: list[list[object]] = []
        for name, head in user["scores"].items():
            shown = "-" if head["p"] is None else f"{head['p']:.3f}"
            rank = "-" if head["percentile"] is None else f"{head['percentile']:.0f}"
            why = [f"{r['direction']} {r['text']}" for r in head["reason_codes"]] or [head["status_reason"] or ""]
            rows.append([name, shown, rank, "\n".join(why)])
        basis = f"features as of {user['as_of']}" if user["known"] else "unknown: the base rates of everybody"
        table = Table(title=f"{user['user_id']}   ({basis})", title_justify="left")
        for title, side in (("score", "left"), ("p", "right"), ("percentile", "right"), ("because", "left")):
            table.add_column(title, justify=side)  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)
        if user.get("expected_next_order"):
            console.print(next_order(user), highlight=False)


def next_order(user: dict[str, Any]) -> str:
    """When the next order is expected, as a sentence."""
    expected = user["expected_next_order"]
    if user["expected_next_order_at"] is None:
        return f"next order: {expected['text'] or expected['status_reason']}"
    until = (
        expected["high_at"][:10] if expected["high_at"] else f"later than {expected['horizon_days']:g} days from then"
    )
    low = expected["low_at"][:10] if expected["low_at"] else "then"
    return f"next order expected {user['expected_next_order_at'][:10]} (80 %: {low} to {until})"


def benchmark_explain(json_file: JsonFile = None) -> None:
    """Measure exact reasons beside LightGBM's own recursion and the shap package; all must agree."""
    from serving.benchmark_explain import benchmark_explain as run

    with showing("benchmark explain") as show:
        found = run(load(), show)
    print_benchmark(found, json_file)
