"""The pictures of one decision: factors multiplied out, all candidates by priority, the funnel, a waterfall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from serving.console.charts import BLUE, GREY, Figure, figure, plain, table
from serving.console.steps import Steps, steps
from serving.console.words import Words
from serving.nbo.anatomy import Step

__all__ = ["candidates", "factors", "funnel", "pushes"]

MOST_BARS, MOST_PUSHES = 20, 10
LONGEST, ROOM = 26, 1.3


def factors(t: Words, named: Sequence[tuple[str, Step]]) -> Figure:
    """The product after each factor, top down; each with what it is called."""
    labels, values = [label for label, _ in named], [step.product for _, step in named]
    trace = _bars(labels, values, [GREY] * (len(named) - 1) + [BLUE], [f"{value:.4g}" for value in values])
    said = table(
        [t("decision.factor"), t("decision.product")], [[a, repr(b)] for a, b in zip(labels, values, strict=True)]
    )
    return _lying(trace, said, t("decision.product"))


def candidates(t: Words, priced: Mapping[str, float], ranks: Mapping[str, int], names: Mapping[str, str]) -> Figure:
    """The priorities of the best candidates, highest first; those shown are dark and carry their rank.

    All three are by the id of the offer; ``names`` may lack some, and two offers may have one name.
    """
    best = sorted(priced.items(), key=lambda one: (-one[1], one[0]))
    often = Counter(names.get(offer_id) or offer_id for offer_id in priced)
    # What the dice showed is in the picture however low it stands.
    kept = [one for place, one in enumerate(best) if place < MOST_BARS or one[0] in ranks]
    values = [value for _, value in kept]
    labels = [plain((f"#{ranks[one]} " if one in ranks else "") + _short(names.get(one) or one)) for one, _ in kept]
    colours = [BLUE if one in ranks else GREY for one, _ in kept]
    texts = [f"{value:.3f}" for value in values]
    said = table(
        [t("decision.offer"), t("decision.priority"), t("decision.rank")],
        [[_apart(one, names, often), repr(value), ranks.get(one, "–")] for one, value in best],
    )
    return _lying(_bars(labels, values, colours, texts), said, t("decision.priority"))


def funnel(t: Words, counts: Mapping[str, int | None], shown: int) -> Figure:
    """How many candidates were left after each stage."""
    left = [(name, n) for name, n in [*counts.items(), ("shown", shown)] if n is not None]
    labels, values = [t(f"decision.funnel.{name}") for name, _ in left], [float(n) for _, n in left]
    colours = [GREY] * (len(left) - 1) + [BLUE]
    trace = _bars(labels, values, colours, [f"{n}" for _, n in left])
    said = table(
        [t("decision.stage"), t("decision.left_over")], [[label, n] for label, (_, n) in zip(labels, left, strict=True)]
    )
    return _lying(trace, said, "")


def pushes(t: Words, explanation: Mapping[str, Any], labels: Mapping[str, str]) -> Figure:
    """From the base value to the raw score: the strongest contributions, the others together, exactly added up."""
    bars = [
        (labels[one["feature"]], one["contribution"]) for one in explanation["contributions"] if one["contribution"]
    ]
    base, raw = explanation["base_value"], explanation["raw_score"]
    rest = t("decision.other_features")
    told = Steps(t("decision.base_value"), base, bars, t("decision.raw_score"), raw, MOST_PUSHES, rest)
    return steps(told, (told.low, told.high), (t("decision.feature"), t("decision.contribution")))


def height(bars: int) -> int:
    """The class of height that so many lying bars need."""
    return next((size for size in (160, 240, 320, 480) if bars * 24 + 60 <= size), 640)


def _apart(offer_id: str, names: Mapping[str, str], often: Mapping[str, int]) -> str:
    name = names.get(offer_id) or offer_id
    return name if often[name] == 1 else f"{name} ({offer_id})"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _bars(
    labels: Sequence[str], values: Sequence[float], colours: Sequence[str], texts: Sequence[str]
) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(labels))),
        "x": list(values),
        "text": list(texts),
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": list(labels),
        "hovertemplate": "%{customdata}<br>%{x}<extra></extra>",
        "marker": {"color": list(colours)},
        "width": 0.66,
    }


def _lying(trace: dict[str, Any], said: dict[str, Any], title: str) -> Figure:
    labels, most = trace["customdata"], max(trace["x"], default=1.0)
    # Two offers may have the same name: places keep them apart, ticks name them. Room for the text behind the bar.
    ticks: dict[str, Any] = {
        "tickvals": list(range(len(labels))),
        "ticktext": labels,
        "autorange": "reversed",
        "showgrid": False,
    }
    ticks["zeroline"] = False
    across = {"title": {"text": title}, "range": [min(0.0, *trace["x"]), ROOM * most or 1.0], "rangemode": "tozero"}
    return figure([trace], said, yaxis=ticks, xaxis=across)
