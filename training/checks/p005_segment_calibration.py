"""P005: probabilities are wrong for a part of the customers, though right on average."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from training.backtest.words import PARTS, SEGMENTS
from training.checks.clustered import EPSILON, Estimate, ratio_gap, shift
from training.checks.outcome import Check, Found

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

Floats = NDArray[np.float64]

# In log-odds (of amounts, in logarithms): odds that are off by less than a fifth change no decision; twice do.
LARGE, GROSS = 0.2, 0.7
FALSE_ALARMS = 0.05
# Fewer expected positives, or negatives, than this say nothing.
LEAST = 10
SHOWN = 3
EVERYBODY = "everybody"
# Two origins may both lie in one season: from three on, every one of them alike is no chance.
SEASONS = 3


def look(subject: Subject) -> Found:
    """How far odds are off in each part of the customers, beyond what the level of each origin is off for everybody.

    A part fires when its whole interval, corrected for all parts and heads, lies beyond 0.2 in log-odds; beyond 0.7 and
    in one direction at every origin it blocks. A whole season that came out higher or lower is no fault of a part: what
    is off for everybody is judged from origin to origin, corrected for the heads alone. It fires as well when the own
    interval of each of three origins or more lies beyond the bound on the same side.
    """
    forecasts, kind = subject.forecasts, subject.forecasts.kind
    parts = [
        one for head in forecasts.frame["head"].unique() for one in _parts(forecasts.of(str(head)), str(head), kind)
    ]
    if not parts:
        words = {
            "en": "Asked in each part of the customers whether what is said comes true. No part is large enough to be "
            "told from the rest, and one origin does not tell a fault of all from a season.",
            "zh": "检查每类客群中预测是否属实。没有足够大的客群可与其余区分，而单个起点无法区分整体失准与季节影响。",
        }
        return Found("not_applicable", words, {"parts": []})
    asked = Counter(one["by"] == EVERYBODY for one in parts)
    for one in parts:
        one["alpha"] = FALSE_ALARMS / asked[one["by"] == EVERYBODY]
    off = [one for one in parts if _off(one, LARGE)]
    gross = [one for one in off if _off(one, GROSS) and one["one_direction"]]
    evidence: dict[str, Any] = {
        "unit": "log-odds" if kind == "probability" else "log of the ratio",
        "large": LARGE,
        "parts": [_as_json(one) for one in parts],
    }
    farthest = max(parts, key=lambda one: abs(one["gap"].value) if np.isfinite(one["gap"].error) else 0.0)
    if not off:
        words = {
            "en": f"Asked in {len(parts)} parts (of the customers, question by question) whether what is said comes "
            f"true. In none is it off by a factor above {np.exp(LARGE):.2f} for certain; farthest off: "
            f"{_said([farthest], kind, 'en')}.",
            "zh": f"检查了{len(parts)}个客群与目标的组合中预测是否属实：均未确定偏离超过{np.exp(LARGE):.2f}倍。"
            f"偏离最大的是：{_said([farthest], kind, 'zh')}。",
        }
        return Found("passed", words, evidence)
    words = {
        "en": f"What is said does not come true in every part of the customers: {_said(gross or off, kind, 'en')}. "
        "Decisions there rest on wrong numbers.",
        "zh": f"并非每类客群的预测都属实：{_said(gross or off, kind, 'zh')}。这些客群的决策依据有误。",
    }
    step = {
        "en": "Add a feature that tells this part apart, or more origins (origins: every_days in the model's YAML); "
        "until then keep this part out of decisions that weigh money.",
        "zh": "请增加能区分该客群的特征，或在模型YAML中增加起点（origins: every_days）；"
        "在此之前请勿对该客群做涉及金额的决策。",
    }
    return Found("issue", words, evidence, step, "blocker" if gross else "warning")


def _parts(frame: pd.DataFrame, head: str, kind: str) -> list[dict[str, Any]]:
    """The gap of everybody, and that of each part once everybody's is taken out at each origin."""
    y, p = frame["y"].to_numpy(float), frame["p"].to_numpy(float)
    users, origin = frame["user_id"].to_numpy(str), frame["as_of"].to_numpy()
    gap: Callable[[Floats, Floats, ArrayLike], Estimate] = shift if kind == "probability" else ratio_gap
    at_origin = {at: origin == at for at in pd.unique(origin)}
    level = {at: gap(y[rows], p[rows], users[rows]) for at, rows in at_origin.items()}
    centred = p.copy()
    for at, one in level.items():
        rows = at_origin[at]
        centred[rows] = _moved(p[rows], one.value if np.isfinite(one.error) else 0.0, kind)
    found = [_part(head, EVERYBODY, EVERYBODY, len(frame), _over_origins([*level.values()]), [*level.values()])]
    for column in (name for name in frame if str(name).startswith("segment.")):
        names = frame[column].to_numpy(str)
        if len(np.unique(names)) < 2:
            continue
        for name in np.unique(names):
            rows = names == name
            if not _enough(y[rows], p[rows], kind):
                continue
            inside = [rows & here for here in at_origin.values() if (rows & here).any()]
            each = [gap(y[one], centred[one], users[one]) for one in inside]
            whole = gap(y[rows], centred[rows], users[rows])
            found.append(_part(head, str(column).partition(".")[2], str(name), int(rows.sum()), whole, each))
    return [one for one in found if np.isfinite(one["gap"].error)]


def _part(head: str, by: str, name: str, rows: int, gap: Estimate, each: list[Estimate]) -> dict[str, Any]:
    signs = {one.value > 0 for one in each}
    told = {"head": head, "by": by, "part": name, "rows": rows, "gap": gap, "each": each}
    return {**told, "one_direction": len(signs) == 1}


def _as_json(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "gap": one["gap"].as_json(one["alpha"]), "each": [at.value for at in one["each"]]}


def _moved(p: Floats, by: float, kind: str) -> Floats:
    if kind == "spend":
        return np.asarray(p * np.exp(by), dtype=np.float64)
    return np.asarray(expit(logit(np.clip(p, EPSILON, 1 - EPSILON)) + by), dtype=np.float64)


def _enough(y: Floats, p: Floats, kind: str) -> bool:
    if kind == "spend":
        return int((y > 0).sum()) >= 3 * LEAST
    return min(float(p.sum()), float((1 - p).sum())) >= LEAST


def _over_origins(each: list[Estimate]) -> Estimate:
    """The mean over origins; its error is at least that of origins that differ as these do."""
    known = [one for one in each if np.isfinite(one.error)]
    if len(known) < 2:
        return Estimate(known[0].value if known else 0.0, float("inf"), 1.0)
    values = np.array([one.value for one in known])
    within = float(np.mean([one.error for one in known]))
    between = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(float(values.mean()), max(within, between), len(values) - 1.0)


def _off(one: dict[str, Any], far: float) -> bool:
    """Whether a part is off by more than ``far`` for certain; everybody, also when each of several origins is."""
    if _side(one["gap"], far, one["alpha"]):
        return True
    if one["by"] != EVERYBODY or len(one["each"]) < SEASONS:
        return False
    sides = {_side(at, far, one["alpha"]) for at in one["each"]}
    return sides in ({1}, {-1})


def _side(gap: Estimate, far: float, alpha: float) -> int:
    """1 or -1 where the whole interval lies beyond ``far`` on that side, else 0."""
    low, high = gap.interval(alpha)
    return int(low > far) - int(high < -far)


def _said(found: list[dict[str, Any]], kind: str, lang: str) -> str:
    """The worst, each as so many times what was said: the odds of a probability, the amount of a spend."""
    worst = sorted(found, key=lambda one: -abs(one["gap"].value))
    parts = []
    for one in worst[:SHOWN]:
        times, low, high = (f"{np.exp(end):.2f}" for end in (one["gap"].value, *one["gap"].interval()))
        where = _where(one["by"], one["part"], lang)
        if lang == "zh":
            what = "几率" if kind == "probability" else "金额"
            parts.append(f"{one['head']}，{where}：实际{what}是预测的 {times} 倍 [{low}, {high}]")
        else:
            what = "odds are" if kind == "probability" else "amount is"
            parts.append(f"{one['head']}, {where}: the true {what} {times} × the predicted [{low}, {high}]")
    if len(found) > SHOWN:
        parts.append(f"and {len(found) - SHOWN} more" if lang == "en" else f"另有{len(found) - SHOWN}项")
    return ("; " if lang == "en" else "；").join(parts)


def _where(by: str, part: str, lang: str) -> str:
    if by == EVERYBODY:
        return {"en": EVERYBODY, "zh": "全体"}[lang]
    if lang == "en":
        return f"{by} {part}"
    named = SEGMENTS.get(by, by)
    return f"{named if isinstance(named, str) else named['zh']}“{PARTS.get(part, part)}”"


CHECK = Check("P005", {"en": "wrong for a part of the customers", "zh": "对某类客群不准"}, "warning", look)
