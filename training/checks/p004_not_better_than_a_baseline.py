"""P004: a baseline that costs nothing is as good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.checks.clustered import auroc_by, clustered, losses, mean
from training.checks.outcome import Check, Found

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

Floats = NDArray[np.float64]

FALSE_ALARMS = 0.05
SHOWN = 3


def look(subject: Subject) -> Found:
    """Subtract each baseline's losses from the model's on the same rows of all origins, users drawn together.

    The loss is the log-loss of probabilities and the absolute error of amounts. Proven worse than any baseline,
    corrected for all of them, and worse at every single origin, blocks: one season alone may surprise any model. Better
    means better than every baseline for certain, so that needs no correction.
    """
    forecasts = subject.forecasts
    compared = [
        one
        for head in forecasts.frame["head"].unique()
        for one in _beside(forecasts.of(str(head)), str(head), forecasts.baselines, forecasts.kind)
    ]
    evidence: dict[str, Any] = {"loss": "log_loss" if forecasts.kind == "probability" else "mae"}
    if not compared:
        words = {"en": "No baseline answers any head.", "zh": "没有可比较的基线。"}
        return Found("not_applicable", words, {**evidence, "heads": []})
    alpha = FALSE_ALARMS / len(compared)
    evidence["heads"] = [{**one, "loss": one["loss"].as_json(), "auroc": one["auroc"].as_json()} for one in compared]
    worse = [one for one in compared if one["loss"].interval(alpha)[0] > 0 and one["worse_at"] == one["origins"]]
    behind = [one for one in compared if one["loss"].value >= 0 or one["auroc"].interval(alpha)[1] < 0]
    unproven = [one for one in compared if one["loss"].interval()[1] >= 0]
    heads, origins = len({one["head"] for one in compared}), forecasts.frame["as_of"].nunique()
    step = {
        "en": f"userops train {subject.model.name} --trials 20, or serve the baseline where it is better; "
        f"userops backtest {subject.model.name} shows them side by side.",
        "zh": f"可运行 userops train {subject.model.name} --trials 20，或在基线更好处使用基线；"
        f"userops backtest {subject.model.name} 可并排比较。",
    }
    if worse or behind:
        said = worse or behind
        words = {
            "en": f"{_said(said, 'en')}: {'proven worse than' if worse else 'not better than'} a baseline that costs "
            "nothing.",
            "zh": f"{_said(said, 'zh')}：{'确定不如' if worse else '不优于'}无成本的基线。",
        }
        return Found("issue", words, evidence, step, "blocker" if worse else "warning")
    if unproven:
        words = {
            "en": f"{_said(unproven, 'en')}: better, but within noise.",
            "zh": f"{_said(unproven, 'zh')}：略好，但在误差范围内。",
        }
        return Found("tip", words, evidence, step)
    closest = max(compared, key=lambda one: one["loss"].value)
    words = {
        "en": f"All {heads} heads beat every baseline at {origins} origins; closest: {_said([closest], 'en')}.",
        "zh": f"全部{heads}个目标在{origins}个起点均优于所有基线；最接近的是：{_said([closest], 'zh')}。",
    }
    return Found("passed", words, evidence)


def _beside(frame: pd.DataFrame, head: str, baselines: tuple[str, ...], kind: str) -> list[dict[str, Any]]:
    """The paired differences of one head to each baseline that answers it: loss (below 0 is better) and AUROC."""
    found = []
    for name in baselines:
        rows = frame[frame[f"baseline.{name}"].notna()]
        if rows.empty:
            continue
        y, ours, theirs = (rows[column].to_numpy(float) for column in ("y", "p", f"baseline.{name}"))
        loss = losses if kind == "probability" else _errors
        difference = loss(y, ours) - loss(y, theirs)
        each = pd.Series(difference).groupby(rows["as_of"].to_numpy()).mean()
        users = rows["user_id"].to_numpy(str)
        origin = rows["as_of"].to_numpy()
        order, by_ours = auroc_by(y, rows["raw"].to_numpy(float), origin, users)
        other, by_theirs = auroc_by(y, theirs, origin, users)
        found.append(
            {
                "head": head,
                "baseline": name,
                "rows": len(rows),
                "origins": len(each),
                "worse_at": int((each > 0).sum()),
                "loss": mean(difference, users),
                "auroc": clustered(order.value - other.value, by_ours - by_theirs, users, order.freedom),
            }
        )
    return found


def _errors(amount: Floats, expected: Floats) -> Floats:
    return np.abs(amount - expected)


def _said(found: list[dict[str, Any]], lang: str) -> str:
    """The first few differences in words, the worst first."""
    worst = sorted(found, key=lambda one: -one["loss"].value)
    parts = []
    for one in worst[:SHOWN]:
        low, high = one["loss"].interval()
        numbers = f"{one['loss'].value:+.4f} [{low:+.4f}, {high:+.4f}]"
        parts.append(
            f"{one['head']} {numbers} of loss against {one['baseline']}"
            if lang == "en"
            else f"{one['head']}相对{one['baseline']}的损失差{numbers}"
        )
    more = len(found) - SHOWN
    if more > 0:
        parts.append(f"and {more} more" if lang == "en" else f"另有{more}项")
    return (", " if lang == "en" else "，").join(parts)


CHECK = Check("P004", {"en": "not better than a baseline", "zh": "不优于基线"}, "blocker", look)
