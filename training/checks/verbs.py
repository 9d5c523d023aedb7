"""`userops check`: put the ten questions to one version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer

from configs import load, model_of
from configs.questions import QUESTIONS
from configs.terminal import JsonFile, Lang, Named, console, print_table, showing, write_json
from training.checks.outcome import STATUSES, Outcome
from training.checks.words import SEVERITY, STATUS

__all__ = ["check"]

COLUMNS = {"en": ["question", "answer", "severity"], "zh": ["问题", "结果", "级别"]}
#: What the command ends with when a blocker fired.
BLOCKED = 4


def check(
    model: Annotated[str, typer.Argument(help="Which model.")],
    version: Annotated[str, typer.Argument(help="A version number or an alias.")] = "challenger",
    named: Named = None,
    only: Annotated[
        list[str] | None, typer.Option(help="The code of a check, such as P001; may be repeated.", show_default="all")
    ] = None,
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Put the checks P001 to P010 to a version; exit code 0, or 4 when a blocker fired.

    The outcomes are kept with the version's MLflow run (checks.json, tags check.P001 to check.P010), where promote
    looks for them. A check that found nothing is "passed"; one whose question has no meaning here is "not_applicable",
    one that could not be asked now is "skipped", one whose finding the model's YAML accepts (ignored_checks) is
    "ignored".
    """
    from training.checks.run import run_checks

    config = load()
    version = named or version
    with showing(f"checking {model}") as show:
        outcomes = run_checks(config, model_of(config, model), version, show, only, thorough=True)
    print_outcomes(f"{model} {version}", outcomes, lang)
    write_json(json_file, [one.as_json() for one in outcomes])
    if any(one.blocks for one in outcomes):
        raise typer.Exit(BLOCKED)


def print_outcomes(title: str, outcomes: Sequence[Outcome], lang: str) -> None:
    """The count of each of the six outcomes, a table of all questions; below it, what each look has seen."""
    counted = Counter(one.status for one in outcomes)
    header = " · ".join(f"{counted[status]} {STATUS[status][lang]}" for status in STATUSES)
    rows: list[list[object]] = [
        [f"{one.code} {_question(one, lang)}", _answer(one, lang), SEVERITY[one.severity][lang]] for one in outcomes
    ]
    colon = "：" if lang == "zh" else ": "
    console.print(f"{title}{colon}{header}", markup=False, highlight=False, soft_wrap=True)
    print_table("", COLUMNS[lang], rows, words=[1])
    for one in outcomes:
        console.print(f"{one.code} {STATUS[one.status][lang]}", style="bold", highlight=False)
        console.print(f"  {one.explanation[lang]}", markup=False, highlight=False, soft_wrap=True)
        if one.status != "passed":
            console.print(f"  → {one.next_step[lang]}", markup=False, highlight=False, soft_wrap=True)


def _question(one: Outcome, lang: str) -> str:
    return QUESTIONS.get(one.code, one.title)[lang]


def _answer(one: Outcome, lang: str) -> str:
    """The outcome; of a check that fired, also what it found."""
    status = STATUS[one.status][lang]
    return f"{status}: {one.title[lang]}" if one.status in ("issue", "tip", "ignored") else status
