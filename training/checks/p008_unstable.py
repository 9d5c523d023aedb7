"""P008: good at one origin, bad at another: what was judged once need not hold next time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from training.checks.clustered import Estimate, auroc, clustered, ratio_gap, shift
from training.checks.outcome import Check, Found

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

# How far below the other origins an AUROC may fall, and how far apart levels may be in log-odds: to warn, and to block.
FALL, COLLAPSE = 0.05, 0.15
SWING, UPSET = 0.7, 1.4
FALSE_ALARMS = 0.05
SHOWN = 3


def look(subject: Subject) -> Found:
    """Hold each origin against the mean of the others: the order of users, and the level of probabilities.

    Seasons differ, so only what is certain counts: the whole interval of the difference, paired by user and corrected
    for all heads and origins, lies beyond the bound.
    """
    forecasts = subject.forecasts
    origins = forecasts.frame["as_of"].nunique()
    found = [
        one
        for head in forecasts.frame["head"].unique()
        for one in _each(forecasts.of(str(head)), str(head), forecasts.kind)
    ]
    command = f"userops backtest {subject.model.name}"
    if origins < 2 and not subject.thorough:
        words = {
            "en": "Only one origin was back-tested: nothing to compare it with.",
            "zh": "只回测了一个起点，无从比较。",
        }
        return Found("skipped", words, {"origins": origins}, {"en": f"Run: {command}", "zh": f"请运行：{command}"})
    if origins < 2 or not found:
        words = {
            "en": f"The history allows {origins} origin to be judged: nothing to compare it with.",
            "zh": f"历史数据只够评估{origins}个起点，无从比较。",
        }
        return Found("not_applicable", words, {"origins": origins})
    alpha = FALSE_ALARMS / (2 * len(found))
    fallen = [one for one in found if one["order"].interval(alpha)[1] < -FALL]
    swung = [one for one in found if _apart(one["level"], alpha) > SWING]
    severe = [one for one in fallen if one["order"].interval(alpha)[1] < -COLLAPSE]
    severe += [one for one in swung if _apart(one["level"], alpha) > UPSET]
    evidence: dict[str, Any] = {
        "origins": origins,
        "each": [{**one, "order": one["order"].as_json(alpha), "level": one["level"].as_json(alpha)} for one in found],
    }
    if not fallen and not swung:
        lowest = min(found, key=lambda one: one["order"].value)
        words = {
            "en": f"{origins} origins: no AUROC fell more than {FALL:g} below the others for certain; lowest: "
            f"{_order([lowest], 'en')}.",
            "zh": f"{origins}个起点：没有AUROC确定比其他起点低{FALL:g}以上；最低的是：{_order([lowest], 'zh')}。",
        }
        return Found("passed", words, evidence)
    said = {
        lang: joint.join(part for part in (_order(fallen, lang), _level(swung, lang)) if part)
        for lang, joint in (("en", "; "), ("zh", "；"))
    }
    return Found(
        "issue",
        {
            "en": f"{said['en']}: one judged origin says little about the next.",
            "zh": f"{said['zh']}：一个起点的评估不足以说明下一个。",
        },
        evidence,
        {
            "en": f"See when it happens, and look at the events of then: {command} --origins 12",
            "zh": f"查看发生时间，并检查当时的事件：{command} --origins 12",
        },
        "blocker" if severe else "warning",
    )


def _each(frame: pd.DataFrame, head: str, kind: str) -> list[dict[str, Any]]:
    """Every origin of a head, less the mean of the others; empty when fewer than two can be judged."""
    users, instants = frame["user_id"].to_numpy(str), frame["as_of"].to_numpy()
    y, p, raw = (frame[column].to_numpy(float) for column in ("y", "p", "raw"))
    ranked, levels = {}, {}
    for at in pd.unique(instants):
        rows = instants == at
        estimate, own = auroc(y[rows], raw[rows], users[rows])
        level = (shift if kind == "probability" else ratio_gap)(y[rows], p[rows], users[rows])
        if np.isfinite(estimate.value) and np.isfinite(level.error):
            ranked[at], levels[at] = (estimate, np.flatnonzero(rows), own), level
    found = []
    for at, (estimate, _, _) in ranked.items():
        others = [other for other in ranked if other != at]
        if not others:
            return []
        contributions = np.zeros(len(frame))
        for other, (_, rows, own) in ranked.items():
            contributions[rows] += own if other == at else -own / len(others)
        below = estimate.value - float(np.mean([ranked[other][0].value for other in others]))
        freedom = min(one.freedom for one, _, _ in ranked.values())
        # Levels of different days are those of different seasons too: their errors are added up.
        error = float(np.sqrt(levels[at].error ** 2 + sum(levels[o].error ** 2 for o in others) / len(others) ** 2))
        apart = levels[at].value - float(np.mean([levels[other].value for other in others]))
        found.append(
            {
                "head": head,
                "origin": f"{pd.Timestamp(at):%Y-%m-%d}",
                "auroc": estimate.value,
                "order": clustered(below, contributions, users, freedom),
                "level": Estimate(apart, error, min(one.freedom for one in levels.values())),
            }
        )
    return found


def _apart(level: Estimate, alpha: float) -> float:
    low, high = level.interval(alpha)
    return max(low, -high)


def _order(found: list[dict[str, Any]], lang: str) -> str:
    words = {
        "en": "{head} at {origin}: AUROC {auroc:.3f}, {by:+.3f} to the others",
        "zh": "{head}在{origin}：AUROC {auroc:.3f}，与其他起点相差{by:+.3f}",
    }
    worst = sorted(found, key=lambda one: one["order"].value)[:SHOWN]
    parts = [words[lang].format(**_named(one), auroc=one["auroc"], by=one["order"].value) for one in worst]
    return ("; " if lang == "en" else "；").join(parts)


def _level(found: list[dict[str, Any]], lang: str) -> str:
    words = {
        "en": "level of {head} at {origin} {by:+.2f} off the others",
        "zh": "{head}在{origin}的水平偏离其他起点{by:+.2f}",
    }
    worst = sorted(found, key=lambda one: -abs(one["level"].value))[:SHOWN]
    parts = [words[lang].format(**_named(one), by=one["level"].value) for one in worst]
    return ("; " if lang == "en" else "；").join(parts)


def _named(one: dict[str, Any]) -> dict[str, str]:
    return {"head": one["head"], "origin": one["origin"]}


CHECK = Check("P008", {"en": "unstable between origins", "zh": "不同起点间表现不稳定"}, "warning", look)
