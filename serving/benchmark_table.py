"""What people read of a run of all benchmarks: what, ours, beside it, how many times better, the goal, whether met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serving.benchmark_machine import BUSY
from serving.benchmark_parts import Part, Row

__all__ = ["COLUMNS", "Line", "cells", "company", "lines_of", "markdown_of", "remarks"]

COLUMNS = ("what", "ours", "beside", "ratio", "goal", "met")
ABSENT = "not measured"


@dataclass(frozen=True)
class Line:
    """One `Row` with its numbers; ``shown`` are the cells of `COLUMNS`, ``met`` is None without goal or number.

    ``metric`` and ``against`` are the names of the metric and of the ratio, after that of the part.
    """

    what: str
    part: str
    command: str
    metric: str
    against: str
    ours: float | None
    beside: float | None
    ratio: float | None
    met: bool | None
    shown: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)


def lines_of(parts: Sequence[Part], found: Mapping[str, Mapping[str, Any]], quick: bool = False) -> list[Line]:
    """The lines of the parts in ``found``; a failed one has no numbers; little sizes meet and miss no goals."""
    return [_line(part, row, found[part.name], quick) for part in parts if part.name in found for row in part.rows]


def _line(part: Part, row: Row, one: Mapping[str, Any], quick: bool) -> Line:
    ours = one.get("metrics", {}).get(row.ours, {}).get("value")
    other = one.get("baselines", {}).get(row.beside, {}).get(row.metric_beside or row.ours)
    ratio = one.get("ratios", {}).get(row.ratio)
    judged = ratio if row.goal_of == "ratio" else ours
    met = None
    if row.goal is not None and judged is not None and not quick:
        met = judged <= row.goal if row.at_most else judged >= row.goal
    shown = (
        row.what,
        ABSENT if ours is None else row.unit.format(ours * row.scale),
        "" if other is None else f"{row.unit.format(other * row.scale)}, {row.named}",
        "" if ratio is None else f"{times(ratio)} ×",
        _goal(row),
        "" if met is None else "yes" if met else "no",
    )
    metric, against = f"{part.name}.{row.ours}", f"{part.name}.{row.ratio}"
    return Line(row.what, part.name, part.typed, metric, against, ours, other, ratio, met, shown)


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    sign = "≤" if row.at_most else "≥"
    return f"{sign} {row.goal:g} ×" if row.goal_of == "ratio" else f"{sign} {row.unit.format(row.goal * row.scale)}"


def times(ratio: float) -> str:
    """Two digits are enough to compare.

    Examples
    --------
    >>> times(51.3), times(8.66), times(0.973)
    ('51', '8.7', '0.97')
    """
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2f}"


def cells(whole: Mapping[str, Any]) -> list[list[object]]:
    """The rows of the table."""
    return [list(line["shown"]) for line in whole["table"]]


def remarks(whole: Mapping[str, Any]) -> list[str]:
    """What must be known to read the table: machine and date; what failed, is missing, or had company."""
    settings, box = whole["settings"], whole["settings"]["machine"]
    said = [
        f"{settings['date']}, {box['cores']} cores of {box['cpu'] or 'an unnamed processor'}, {box['memory_gb']} GB, "
        f"{settings['code']}; {whole['seconds'] / 60:.0f} minutes in all"
        + (" (--quick: no numbers to quote)" if settings["quick"] else "")
    ]
    for name, one in whole["parts"].items():
        if "error" in one:
            said.append(f"{name} failed: {one['error']}")
        elif (busy := company(one)) > BUSY:
            said.append(f"{name}: others used {busy:.1f} cores meanwhile")
    if settings["missing"]:
        said.append("not run: " + ", ".join(settings["missing"]))
    return said


def company(one: Mapping[str, Any]) -> float:
    """How many cores others used just before or during a part."""
    about = one["run"]
    return max(about["others_cores_before"] or 0.0, about["others_cores"] or 0.0)


def markdown_of(whole: Mapping[str, Any]) -> str:
    """The table and its remarks as the README wants them."""
    head = ["| " + " | ".join(COLUMNS) + " | command |", "|" + "---|" * (len(COLUMNS) + 1)]
    body = [
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line["shown"]) + f" | `{line['command']}` |"
        for line in whole["table"]
    ]
    return "\n".join([*head, *body, "", *(f"{said}  " for said in map(_one_line, remarks(whole)))]) + "\n"


def _one_line(said: str) -> str:
    return " ".join(said.split())
