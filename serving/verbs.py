"""The verbs of this room: serve, score, explain, decide, decisions export | replay, and their benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from configs import Config, load
from configs.errors import UseropsError
from configs.terminal import JsonFile, console, print_benchmark, print_table, showing, writable, write_json

__all__ = [
    "benchmark_explain",
    "benchmark_serving",
    "decide",
    "explain",
    "export",
    "identify",
    "print_answer",
    "print_offers",
    "replay",
    "score",
    "serve",
]

Lang = Annotated[str, typer.Option(help="Language of the reasons: zh or en.")]
Since = Annotated[str | None, typer.Option(help="The first instant, in UTC.", show_default="the first decision")]
Until = Annotated[str | None, typer.Option(help="The first instant that does not count, in UTC.", show_default="now")]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="configs/project.yaml")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="configs/project.yaml")] = None,
) -> None:
    """Serve the release in force, and bring live events online, until Ctrl-C."""
    from serving.local import command, follower, prepare

    config = load()
    prepare(config)
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
    """One table per user: each head, its probability, its reasons; of interest, the next categories and items."""
    for user in answer["users"]:
        if "scores" not in user:
            print_interest(user)
            continue
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
            table.add_row(*(Text(str(cell)) for cell in row))
        console.print(table)
        if user.get("expected_next_order"):
            console.print(next_order(user), highlight=False)


def print_interest(user: dict[str, Any]) -> None:
    """What a user will want next, the likeliest first."""
    rows: list[list[object]] = []
    for kind in ("categories", "items"):
        for one in user[kind]:
            name = one["category_id"] if kind == "categories" else f"{one['item_id']} ({one['category_id']})"
            why = one["because"]["text"] if one["because"] else ""
            if one["need"] and one["need"]["satisfied"]:
                why = f"need satisfied: {one['need']['days_since']:.0f} of {one['need']['usual_days']:.0f} days"
            rows.append([kind, name, f"{one['p']:.3f}", why])
    table = Table(title=f"{user['user_id']}   ({user['status_reason'] or 'interest'})", title_justify="left")
    for title, side in (("next", "left"), ("", "left"), ("p", "right"), ("because", "left")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)


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


def decide(
    user: Annotated[str, typer.Argument(help="A user id.")],
    channel: Annotated[str, typer.Option(help="Where the offer would be shown; of configs/policy.yaml.")] = "app",
    limit: Annotated[int, typer.Option(help="How many offers.")] = 3,
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Decide the next best offer as the service would, with reasons and why not the others; it is logged."""
    from serving.local import decide as answer

    question = {
        "user_id": user,
        "context": {"channel": channel},
        "limit": limit,
        "explain": {"level": "full", "top_n": 3, "lang": lang},
    }
    told = answer(load(), question)
    print_offers(told)
    write_json(json_file, told)


def print_offers(answer: dict[str, Any]) -> None:
    """The offers with their reasons, and how many others fell to which rule."""
    table = Table(title=f"decision {answer['decision_id']}: {answer['status']}", title_justify="left")
    for title in ("offer", "p [95 %]", "value", "priority", "shown with probability", "because"):
        table.add_column(title, justify="left" if title in ("offer", "because") else "right")
    for offer in answer["offers"]:
        low, high = offer["p_interval"]
        why = [f"{reason['direction']} {reason['text']}" for reason in offer["reason_codes"]]
        parts = offer["components"]
        cells = (
            offer["offer_id"],
            f"{offer['p']:.3f} [{low:.3f}, {high:.3f}]",
            f"{parts['value']:.2f}",
            f"{offer['priority']:.3f}",
            f"{offer['action_probability']:.4f}",
            "\n".join(why),
        )
        table.add_row(*map(Text, cells))
    console.print(table)
    if answer["fallback"]:
        console.print(f"fallback: {answer['fallback']['offer_id']} ({answer['fallback']['rule']})")
    if answer["status_reason"]:
        console.print(f"because: {answer['status_reason']}")
    rules: dict[str, list[str]] = {}
    for one in answer["filtered"]:
        rules.setdefault(f"{one['stage']}: {one['rule']}", []).append(one["offer_id"] or f"{one['count']} offers")
    rows: list[list[object]] = [[rule, ", ".join(offers)] for rule, offers in rules.items()]
    if rows:
        print_table("why not the others", ["rule", "offers"], rows)
    funnel = " → ".join(f"{stage} {count}" for stage, count in answer["funnel"].items())
    console.print(f"{funnel}   in {answer['timing_ms']['total']:.1f} ms", highlight=False)


def identify(
    file: Annotated[
        Path, typer.Argument(help="A CSV or Parquet file with the columns namespace, id, user_id.", exists=True)
    ],
) -> None:
    """Learn which ids of other systems belong to which user, so that requests may name a person by any of them."""
    import duckdb

    from serving.log import DecisionLog

    with duckdb.connect() as connection:
        try:
            # As text: an id that looks like a number keeps its zeros.
            table = (
                connection.read_parquet(str(file))
                if file.suffix == ".parquet"
                else connection.read_csv(str(file), all_varchar=True)
            )
            rows = table.project("namespace::TEXT, id::TEXT, user_id::TEXT").fetchall()
        except duckdb.Error as error:
            raise UseropsError(
                f"{file} cannot be read", got=str(error).partition("\n")[0], expected="columns namespace, id, user_id"
            ) from None
    if any(not value for row in rows for value in row):
        raise UseropsError(f"{file} leaves something empty", expected="namespace, id and user_id in every line")
    known = DecisionLog.open(load().decisions_uri).identify(rows)
    console.print(f"{known:,} identities known")


def export(
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    since: Since = None,
    until: Until = None,
) -> None:
    """Write logged decisions with their rewards as Parquet, in the Open Bandit data set's field names."""
    from serving.log import DecisionLog

    config = load()
    with showing("exporting decisions"):
        rows = DecisionLog.open(config.decisions_uri).export(writable(file) or file, *_between(config, since, until))
    console.print(f"{rows:,} shown offers in {file}")


def replay(
    since: Since = None,
    until: Until = None,
    release: Annotated[
        str | None, typer.Option(help="Ask another release instead; 'current' is the one in force.", show_default="own")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Decide logged decisions again; by their own release every bit must be the same, or this ends with 1."""
    from serving.local import replay as again

    config = load()
    decided = identical = broken = 0
    shown: list[dict[str, Any]] = []
    with showing("deciding again") as show:
        for one in again(config, *_between(config, since, until), release):
            decided, identical = decided + 1, identical + one["identical"]
            broken += one["kind"] == "replay" and not one["identical"]
            if not one["identical"] and len(shown) < 20:
                shown.append(one)
            show(f"{decided:,}", 0.5)
    console.print(f"{decided:,} decisions decided again: {identical:,} identical")
    rows: list[list[object]] = [
        [one["decision_id"], first["path"], first["was"], first["now"]]
        for one in shown
        for first in one["differences"][:1]
    ]
    if rows:
        print_table("the first that differ", ["decision", "first difference", "was", "now"], rows)
    write_json(json_file, {"decisions": decided, "identical": identical, "differing": shown})
    if broken:
        raise typer.Exit(1)


def _between(config: Config, since: str | None, until: str | None) -> tuple[int, int]:
    """Microseconds of both ends."""
    from features.periods import as_utc, now

    last = as_utc(until) if until else now(config) + timedelta(microseconds=1)
    return int(as_utc(since).timestamp() * 1e6) if since else 0, int(last.timestamp() * 1e6)


def benchmark_serving(json_file: JsonFile = None) -> None:
    """Measure the service under load beside the plain way with the same models, stage by stage."""
    from serving.benchmark_serving import benchmark_serving as run

    with showing("benchmark serving") as show:
        found = run(load(), show)
    print_benchmark(found, json_file)
