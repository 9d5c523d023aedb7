"""What a card says of one head: its numbers beside the baselines, its charts, its parts, how a score is mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.console import charts_card
from serving.console.asked import Asked
from serving.console.measures import Measure, against, best, in_words, listed, measure, shown
from serving.console.parts import by_words, natural, part_words
from serving.console.words import Words

__all__ = ["head_values"]

MANY = 9  # parts of the users that a chart of 320 px can name


def head_values(asked: Asked, card: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the template shows of the head."""
    t, head = asked.t, card["heads"][name]
    money = head.get("unit") == "money"
    metrics, baselines, curves = head.get("metrics") or {}, head.get("baselines") or {}, head.get("curves") or {}
    decides = card.get("decides", "log_loss")
    main = against(metrics, baselines, decides)
    rows = [_row(t, one, metrics, baselines, money) for one in listed(list(metrics), decides)]
    parts, unparted = _parts(t, head)
    return {
        "name": name,
        "money": money,
        "cards": _cards(t, metrics, main, money),
        "baselines": list(baselines),
        "rows": [row for row in rows if row["measure"].wide],
        "more": [row for row in rows if not row["measure"].wide],
        "calibrator": _mapping(t, head.get("calibrator"), money),
        "calibration": charts_card.calibration(t, curves["calibration"], money) if "calibration" in curves else None,
        "gain": charts_card.gain(t, curves["gain"], main["baseline"] if main else None) if "gain" in curves else None,
        "caught": _caught(t, curves.get("gain"), money),
        "scores": charts_card.scores(t, curves["scores"], money) if "scores" in curves else None,
        "parts": parts,
        "part_measures": _part_measures(parts, decides),
        "unparted": t.of(unparted),
        "parts_chart": _parts_chart(t, parts, decides),
        "parts_title": t("card.segments_title", measure=in_words(t, measure(decides))),
        "parts_height": 320 if len(parts) <= MANY else 480 if len(parts) <= 2 * MANY else 640,
        "ece_note": t("card.ece_note") if _outside(metrics.get("ece")) else "",
        "unjudged": t.of(head.get("judged")) if not metrics else "",
    }


def _cards(t: Words, metrics: Mapping[str, Any], main: Mapping[str, Any] | None, money: bool) -> list[dict[str, str]]:
    """The four numbers to know: what decides, how well it orders, how well it is calibrated, what the top holds."""
    codes = ["spearman", "capture@10", "bias", "mae"] if money else ["log_loss", "auroc", "lift@10", "ece"]
    if main is not None and main["measure"].code not in codes:
        codes.insert(0, main["measure"].code)
    found = []
    for code in codes:
        if code not in metrics:
            continue
        one, told = measure(code), metrics[code]
        below = ""
        if told.get("ci"):
            below = t("card.between", low=shown(one, told["ci"][0], money), high=shown(one, told["ci"][1], money))
        found.append({"value": shown(one, told["value"], money), "words": in_words(t, one), "below": below})
    return found


def _row(
    t: Words, one: Measure, metrics: Mapping[str, Any], baselines: Mapping[str, Any], money: bool
) -> dict[str, Any]:
    told = metrics[one.code]
    values = {"": told["value"], **{name: of.get(one.code) for name, of in baselines.items()}}
    winner = best(one, values) if len([value for value in values.values() if value is not None]) > 1 else None
    ci = told.get("ci")
    return {
        "measure": one,
        "words": in_words(t, one),
        "better": t(f"measure.{one.better}") if one.better else "",
        "value": shown(one, told["value"], money),
        "span": f"{shown(one, ci[0], money)} – {shown(one, ci[1], money)}" if ci else "",
        "best": winner == "",
        "others": [(shown(one, values[name], money), winner == name) for name in baselines],
    }


def _mapping(t: Words, calibrator: Mapping[str, Any] | None, money: bool) -> str:
    """How a raw score becomes an answer, in a sentence with its numbers."""
    if not calibrator:
        return ""
    if calibrator["kind"] != "sigmoid":
        said = t("card.calibrator_isotonic", points=len(calibrator.get("x", ())))
    else:
        sign, size = ("+", calibrator["intercept"]) if calibrator["intercept"] >= 0 else ("−", -calibrator["intercept"])
        formula = f"1 / (1 + exp(−({calibrator['slope']:.3f} × s {sign} {size:.3f})))"
        said = t("card.calibrator_sigmoid", formula=formula)
    return f"{said} {t('card.calibrator_money')}" if money else said


def _caught(t: Words, curve: Mapping[str, Sequence[float]] | None, money: bool) -> str:
    """What the best tenth and the best fifth hold, in words."""
    if not curve:
        return ""
    held = dict(zip((round(share, 4) for share in curve["share"]), curve["model"], strict=True))
    if 0.1 not in held or 0.2 not in held:
        return ""
    key = "card.caught_money" if money else "card.caught_events"
    tenth, fifth = held[0.1], held[0.2]
    return t(key, tenth=f"{100 * tenth:.0f} %", fifth=f"{100 * fifth:.0f} %", lift=f"{tenth / 0.1:.1f}")


def _parts(t: Words, head: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    found = head.get("segments") or []
    if not isinstance(found, list):
        return [], found.get("words")
    kinds = list(dict.fromkeys(row["by"] for row in found))
    found = sorted(found, key=lambda row: (kinds.index(row["by"]), natural(row["by"], str(row["part"]))))
    return [
        {**row, "by_words": by_words(t, row["by"]), "part_words": part_words(t, row["by"], str(row["part"]))}
        for row in found
    ], None


def _part_measures(parts: Sequence[Mapping[str, Any]], decides: str) -> list[Measure]:
    codes = dict.fromkeys(code for row in parts for code in row.get("metrics", {}))
    return listed(list(codes), decides)


def _parts_chart(t: Words, parts: Sequence[Mapping[str, Any]], decides: str) -> Any:
    there = any(decides in row.get("metrics", {}) for row in parts)
    return charts_card.segments(t, parts, decides) if there else None


def _outside(told: Mapping[str, Any] | None) -> bool:
    if not told or not told.get("ci"):
        return False
    low, high = told["ci"]
    return not low <= told["value"] <= high
