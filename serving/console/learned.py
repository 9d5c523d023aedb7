"""What a version has learned, on a stated sample of people: which features move the score, how, and how surely."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

import numpy as np

from serving.console.asked import Asked
from serving.console.charts import Figure
from serving.console.charts_learned import bars, curve, letters, pairs, segments
from serving.console.charts_swarm import beeswarm, dependence, drawn_every
from serving.console.features_said import FeatureWords
from serving.console.page import Page
from serving.console.parts import by_words, part_words
from serving.console.standing import version_of
from serving.console.words import Words
from serving.errors.problem import Problem

__all__ = ["page"]

Content = Mapping[str, Any]

AMOUNT = "amount"
LEAST_SHARE = 0.01  # lighter groups are folded away
STEP = 0.5  # log-odds: what a contribution of this size does to the answer is told in words


def page(asked: Asked) -> Page:
    """Answer ``GET /console/models/{model}/{version}/learned?head=&part=&feature=&by=``."""
    model, t = asked.parts["model"], asked.t
    version = version_of(asked, model, asked.parts["version"])
    card = asked.desk.read(model, version, "card.json")
    heads = _heads(asked, model, version, card)
    head = asked.given.get("head") or next(iter(heads))
    if head not in heads:
        raise Problem(404, "unknown-head", t("learned.no_head", head=head, model=model), expected=sorted(heads))
    of_amount = asked.given.get("part") == AMOUNT and asked.desk.read(model, version, _file(head, True)) is not None
    content = asked.desk.read(model, version, _file(head, of_amount))
    if content is None:
        run = f"userops report {model} --version {version}"
        raise Problem(404, "not-written", t("learned.not_written", model=model, version=version), expected=run)
    said = FeatureWords(card, t)
    kept = {"head": head, **({"part": AMOUNT} if of_amount else {})}
    feature = _chosen(asked, "feature", content["features"])
    by = _chosen(asked, "by", [one for one, parts in content["by_segment"].items() if parts])
    partner = None if feature is None else _partner(content, feature)
    charts: dict[str, Figure | None] = dict.fromkeys(("curve", "dependence", "pairs"))
    charts |= {"swarm": beeswarm(content, said, t), "bars": bars(content, said, t)}
    if content.get("curve"):
        charts["curve"] = curve(content, t)
    if feature is not None:
        charts["dependence"] = dependence(content, feature, partner, said, t)
    if isinstance(content["interactions"], list) and content["interactions"]:
        charts["pairs"] = pairs(content, said, t)
    values = {
        "model": model,
        "version": version,
        "head": head,
        "meaning": _meaning(card, head),
        "heads": [(one, _meaning(card, one) or one, _at({"head": one})) for one in heads],
        "halves": _halves(asked, model, version, head, of_amount),
        "content": content,
        "unit": content["unit"],
        "drawn": -(-content["sample"]["rows"] // drawn_every(content)),
        "of_pairs": (card or {}).get("kind") == "interest",
        "said_of": said,
        "charts": charts,
        "feature": feature,
        "partner": partner,
        "by": by,
        "segments": None if by is None else segments(content, by),
        "part_words": partial(part_words, t, by or ""),
        "by_words": partial(by_words, t),
        "kept": kept,
        "parts": [(one, _at({**kept, "by": one}) + "#parts") for one, parts in content["by_segment"].items() if parts],
        "letters": letters(content),
        "groups": _apart(content["groups"]),
        "effect": _effect(content, t),
        "stability": _stability(content, said),
        "flips": content["flips"],
    }
    return Page("learned.html", t("learned.title", model=model, version=version), "models", values)


def _heads(asked: Asked, model: str, version: str, card: Content | None) -> list[str]:
    """The heads that have a file, in the order of the card."""
    written = asked.desk.learned(model, version)
    known = [name for name in (card or {}).get("heads", {}) if name in written]
    found = known or sorted(name for name in written if not name.endswith(f".{AMOUNT}"))
    if not found:
        run = f"userops report {model} --version {version}"
        raise Problem(404, "not-written", asked.t("learned.not_written", model=model, version=version), expected=run)
    return found


def _file(head: str, of_amount: bool) -> str:
    return f"learned/{head}.{AMOUNT}.json" if of_amount else f"learned/{head}.json"


def _at(given: Mapping[str, str]) -> str:
    return f"?{urlencode(given)}"


def _meaning(card: Content | None, head: str) -> Mapping[str, str] | str | None:
    found: Mapping[str, str] | str | None = (card or {}).get("heads", {}).get(head, {}).get("meaning")
    return found


def _halves(asked: Asked, model: str, version: str, head: str, of_amount: bool) -> list[tuple[str, str, bool]]:
    """Of a value model: the purchase and the amount, which are explained apart."""
    if asked.desk.read(model, version, _file(head, True)) is None:
        return []
    purchase, amount = _at({"head": head}), _at({"head": head, "part": AMOUNT})
    return [("purchase", purchase, not of_amount), (AMOUNT, amount, of_amount)]


def _chosen(asked: Asked, name: str, known: list[str]) -> str | None:
    """What the query string asks for, where there is such a thing; else the first."""
    given = asked.given.get(name)
    return given if given in known else known[0] if known else None


def _partner(content: Content, feature: str) -> str | None:
    """The feature of the sample's that speaks most with ``feature``."""
    listed = content["interactions"] if isinstance(content["interactions"], list) else []
    best: tuple[float, str] | None = None
    for one in listed:
        if feature in (one["a"], one["b"]):
            other = one["b"] if one["a"] == feature else one["a"]
            if other in content["values"] and (best is None or one["mean_abs"] > best[0]):
                best = (one["mean_abs"], other)
    return None if best is None else best[1]


def _apart(groups: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The groups that weigh something, and the rest; the heaviest always counts."""
    heavy = [group for place, group in enumerate(groups) if place == 0 or group["share"] >= LEAST_SHARE]
    return heavy, groups[len(heavy) :]


def _effect(content: Content, t: Words) -> str | None:
    """What a contribution of half a unit does at the middle of the sample, in words."""
    if not content.get("curve"):
        return None
    raw, answer = (np.array(content["curve"][name], float) for name in ("raw", "answer"))
    middle = content["curve"]["quantiles"][3]
    told = [float(np.interp(middle + step, raw, answer)) for step in (-STEP, 0.0, STEP)]
    digits = "{:,.2f}" if content["unit"] == "log_amount" else "{:.1%}"
    down, now, up = (digits.format(one) for one in told)
    return t(f"learned.effect_{content['unit']}", step=STEP, down=down, now=now, up=up)


def _stability(content: Content, said: FeatureWords) -> dict[str, Any]:
    """What another seed keeps, with the heavy features that it does not keep in words."""
    found = dict(content["stability"])
    if "status" in found:
        return found
    left = [name for name, share in found["features"].items() if share < 1.0]
    return {
        **found,
        "count": len(found["seeds"]),
        "left": [said.full(name) for name in left],
        "verdict": _verdict(found),
    }


def _verdict(found: Mapping[str, Any]) -> str:
    kept = found.get("overlap", found["agreement"])
    return "good" if kept >= 0.8 else "warn" if kept >= 0.6 else "bad"
