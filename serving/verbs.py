"""The verbs of this room: serve, score, explain, tiers, decide, and their benchmarks; see also verbs_decisions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from configs import load
from configs.errors import UseropsError
from configs.terminal import (
    JsonFile,
    Lang,
    Quick,
    console,
    print_benchmark,
    print_table,
    showing,
    writable,
    write_json,
)
from serving.tables import print_answer, print_explained, print_interest, print_offers, why_none

__all__ = [
    "benchmark_console",
    "benchmark_serving",
    "decide",
    "explain",
    "print_answer",
    "print_offers",
    "score",
    "serve",
    "tiers",
]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="configs/project.yaml")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="configs/project.yaml")] = None,
) -> None:
    """Serve the release in force, and bring live events online, until Ctrl-C.

    As long as no key was issued (userops keys add) it listens on loopback alone, unless serving: without_keys of
    configs/project.yaml says anywhere.
    """
    from configs.access import check_host
    from configs.beside import environment
    from configs.counters import own_counters
    from serving.local import command, follower, prepare

    config = load()
    check_host(config, host or config.serving.host)
    prepare(config)
    os.environ.update(own_counters(config.home))
    subprocess.Popen(follower(), env=environment())  # ends with this process, which becomes the service
    os.execvp(sys.executable, command(config, host, port))


def score(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [USERS]...",
            help="Which model, and of which users, 500 at most; with --out, which models of everybody.",
            show_default="with --out, churn repurchase value interest",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Score everybody of the stored snapshot and write Parquet into this folder; run again, it goes on.",
            show_default="answer about the users named",
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="With --out: the newest snapshot at or before this.", show_default="the newest"),
    ] = None,
    reasons: Annotated[int, typer.Option(min=0, max=20, help="How many reasons per score; 0: none.")] = 3,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With --out: remove the scores that are there first.", show_default="off")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="With --out: who computes, threads of this machine or spark.")
    ] = "threads",
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Answer as the service would: probabilities and reasons from the release in force; with --out, of everybody."""
    named = words or []
    if out is not None:
        from serving.verbs_bulk import score_all

        write_json(json_file, score_all(out, named, as_of, reasons, lang, fresh, engine))
        return
    if len(named) < 2:
        raise UseropsError(
            "whose scores?",
            got=" ".join(named) or "no users",
            expected="a model and users, or --out FOLDER for everybody",
            run="userops score churn USER, or userops score --out FOLDER",
        )
    from serving.local import ask

    level = {"level": "reason_codes", "top_n": reasons} if reasons else {"level": "none"}
    answer = ask(load(), named[0], named[1:], {**level, "lang": lang})
    print_answer(answer)
    write_json(json_file, answer)


def explain(
    user: Annotated[str, typer.Argument(help="A user id.")],
    model: Annotated[str, typer.Option(help="Which model.")] = "churn",
    head: Annotated[str | None, typer.Option(help="Which question of it.", show_default="every one")] = None,
    lang: Lang = "en",
    top: Annotated[int, typer.Option(help="How many reasons, 20 at most.")] = 10,
    grouped: Annotated[bool, typer.Option(help="Add up features that go together, as the desk knows them.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Add up one user's score, to the last digit: base value, every feature's share, raw score, probability."""
    from serving.console.desk import Desk
    from serving.local import ask

    config = load()
    # What somebody wants next has no sum: it is told by what of their past says so.
    level = "reason_codes" if model == "interest" else "full"
    answer = ask(config, model, [user], {"level": level, "top_n": top, "lang": lang})
    told = answer["users"][0]
    heads = list(told.get("scores", {}))
    if head is not None and head not in heads:
        raise UseropsError(f"{model} has no such head", got=head, expected=heads or "no --head")
    if model == "interest":
        print_interest(told)
        if told["status_reason"]:
            console.print(why_none(told, lang), markup=False, highlight=False)
    else:
        version = answer["model"]["version"]
        learned = {name: Desk(config.home).read(model, version, f"learned/{name}.json") or {} for name in heads}
        groups = {name: one.get("groups") or [] for name, one in learned.items()} if grouped else {}
        print_explained(told, lang, top, [head] if head else heads, groups)
    write_json(json_file, answer)
    if "UNKNOWN_USER" in (
        told.get("status_reason"),
        *(one["status_reason"] for one in told.get("scores", {}).values()),
    ):
        raise typer.Exit(1)  # nobody of this name: nothing was explained


def tiers(
    most: Annotated[int, typer.Option(min=1, help="At most so many snapshots, the newest.")] = 6,
    rows: Annotated[
        Path | None,
        typer.Option(help="Also write customers, snapshots and tiers to this Parquet file.", show_default="no"),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Count customers by value tier over time, how they moved, and today by the risk to fall silent."""
    from serving.trajectory import RISKS, trajectory

    with showing("scoring every snapshot"):
        found = trajectory(load(), most, rows=writable(rows))
    names = list(found["snapshots"][-1]["tiers"])
    stayed = ["", *(f"{move['stayed']:.0%}" for move in found["moves"])]
    counted: list[list[object]] = [
        [one["as_of"], f"{one['customers']:,}", *(f"{one['tiers'][name]:,}" for name in names), share]
        for one, share in zip(found["snapshots"], stayed, strict=True)
    ]
    print_table(f"customers by tier ({found['head']})", ["as of", "customers", *names, "stayed in their tier"], counted)
    if found["matrix"] is not None:
        cells: list[list[object]] = [
            [name, *(f"{one[band]['customers']:,.0f} ({one[band]['expected']:,.0f})" for band in RISKS)]
            for name, one in found["matrix"].items()
        ]
        print_table("customers (and expected spend) by tier and risk", ["", *RISKS], cells)
    write_json(json_file, found)


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


def benchmark_serving(
    stores: Annotated[
        str,
        typer.Option(
            help="Where features are read and decisions written: configured (project.yaml and variables), embedded, or "
            "real: a Redis and a PostgreSQL that are started and ended here.",
        ),
    ] = "configured",
    online: Annotated[
        str | None, typer.Option(help="A Redis in which this home is published.", show_default="USEROPS_ONLINE")
    ] = None,
    decisions: Annotated[
        str | None,
        typer.Option(help="A PostgreSQL; it gets a schema of its own meanwhile.", show_default="USEROPS_DECISIONS"),
    ] = None,
    models: Annotated[
        str, typer.Option(help="shipped (as released), large (300 trees x 63 leaves on the same columns), or both.")
    ] = "both",
    seconds: Annotated[float, typer.Option(help="How long each question is asked.", min=0.01)] = 4.0,
    quick: Quick = False,
    json_file: JsonFile = None,
) -> None:
    """Measure the service under load beside the plain way with the same models, stage by stage.

    Other processes can read what a command was called with, so an address with a password belongs into its variable.
    """
    from serving.benchmark_serving import QUICK, Size
    from serving.benchmark_serving import benchmark_serving as run

    sizes = {"both": ("shipped", "large"), "shipped": ("shipped",), "large": ("large",)}
    if models not in sizes:
        raise UseropsError(f"there are no models {models!r}", expected=sorted(sizes))
    for variable, address in (("USEROPS_ONLINE", online), ("USEROPS_DECISIONS", decisions)):
        if address is not None:
            if "@" in address and ":" in address.partition("://")[2].rpartition("@")[0]:
                raise UseropsError("a password on the command line can be read by others", run=f"set {variable}")
            os.environ[variable] = address
    with showing("benchmark serving") as show:
        found = run(load(), show, size=QUICK if quick else Size(seconds, models=sizes[models]), stores=stores)
    print_benchmark(found, json_file)
    rows: list[list[object]] = [
        [name, one["seen"], one["goal"], "held" if one["held"] else "missed"] for name, one in found["goals"].items()
    ]
    if rows:
        print_table(f"goals, with {found['settings']['stores']}", ["", "seen", "goal", ""], rows)


def benchmark_console(json_file: JsonFile = None) -> None:
    """Measure the reviewers' pages over a large home, and what a reviewer who clicks costs those who decide."""
    from serving.benchmark_console import benchmark_console as run

    with showing("benchmark console") as show:
        found = run(load(), show)
    print_benchmark(found, json_file)
