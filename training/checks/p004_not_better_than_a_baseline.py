"""P004: a baseline that costs nothing is as good."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from training.backtest.amounts import FAR_OFF, amounts, at_each, better, deciding
from training.checks.clustered import Estimate, auroc_by, clustered, losses, mean
from training.checks.outcome import Check, Found
from training.resample import gain

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

FALSE_ALARMS = 0.05
SHOWN = 3


def look(subject: Subject) -> Found:
    """Subtract each baseline's losses from the model's on the rows of all origins where it answers, users together.

    The loss is the log-loss of probabilities; of amounts it is the gate's measure, which asks whether customers are in
    order. Proven worse than any baseline, corrected for all of them, and worse at every single origin, blocks: one
    season alone may surprise any model. Better means better than every baseline for certain, so that needs no
    correction. A model must not be behind in AUROC either, nor in the distance of the total from the truth by a
    quarter. A head that no baseline answers has not passed. Origins that a search of the parameters has seen do not
    count, as long as there are others.
    """
    forecasts, old = subject.forecasts, subject.seen
    if old and len(old) < len(subject.origins):
        forecasts = replace(forecasts, frame=forecasts.frame[~forecasts.frame["as_of"].isin(old)])
    decides = deciding(subject.model.gate.decides)
    compared = [
        one
        for head in forecasts.frame["head"].unique()
        for one in _beside(forecasts.of(str(head)), str(head), forecasts.baselines, forecasts.kind, decides)
    ]
    spend = forecasts.kind == "spend"
    second = "bias" if spend else "auroc"
    named = {one["head"] for one in compared}
    alone = [head for head in _heads(subject) if head not in named]
    evidence: dict[str, Any] = {"not_compared": alone, "seen_by_search": [f"{at:%Y-%m-%d}" for at in old]}
    if not compared:
        words = {"en": "No baseline answers any head.", "zh": "没有可比较的基线。"}
        return Found("not_applicable", words, {**evidence, "heads": []})
    alpha = FALSE_ALARMS / len(compared)
    evidence["heads"] = [{**one, "loss": one["loss"].as_json(), second: one[second].as_json()} for one in compared]
    worse = [one for one in compared if one["loss"].interval(alpha)[0] > 0 and one["worse_at"] == one["origins"]]
    slack = FAR_OFF if spend else 0.0
    far = [one for one in compared if one[second].interval(alpha)[1] < -slack]
    worse += [one for one in far if spend and one["far_at"] == one["origins"] and one not in worse]
    behind = [one for one in compared if one["loss"].value >= 0 or one in far]
    unproven = [one for one in compared if one["loss"].interval()[1] >= 0]
    origins = forecasts.frame["as_of"].nunique()
    step = {
        "en": f"userops train {subject.model.name} --trials 20, or serve the baseline where it is better; "
        f"userops backtest {subject.model.name} shows them side by side.",
        "zh": f"可运行 userops train {subject.model.name} --trials 20，或在基线更好处使用基线；"
        f"userops backtest {subject.model.name} 可并排比较。",
    }
    silent = {
        "en": f" Not compared, as no baseline answers there yet: {', '.join(alone)}." if alone else "",
        "zh": f"尚无基线可比、未作判断：{'、'.join(alone)}。" if alone else "",
    }
    if worse or behind:
        said = worse or behind
        words = {
            "en": f"{_said(said, 'en')}: {'proven worse than' if worse else 'not better than'} a baseline that costs "
            f"nothing.{silent['en']}",
            "zh": f"{_said(said, 'zh')}：{'确定不如' if worse else '不优于'}无成本的基线。{silent['zh']}",
        }
        return Found("issue", words, evidence, step, "blocker" if worse else "warning")
    if unproven:
        words = {
            "en": f"{_said(unproven, 'en')}: better, but within noise.{silent['en']}",
            "zh": f"{_said(unproven, 'zh')}：略好，但在误差范围内。{silent['zh']}",
        }
        return Found("tip", words, evidence, step)
    closest = max(compared, key=lambda one: one["loss"].value)
    words = {
        "en": f"{_where(compared, origins, 'en')}; closest: {_said([closest], 'en')}.{silent['en']}",
        "zh": f"{_where(compared, origins, 'zh')}；最接近的是：{_said([closest], 'zh')}。{silent['zh']}",
    }
    if alone:
        wait = {
            "en": f"Nothing is proven of {', '.join(alone)}: wait until labels of that horizon are known at a past "
            f"origin, or use no decision of it; userops backtest {subject.model.name} shows more origins.",
            "zh": f"{'、'.join(alone)}尚未得到验证：请等待历史时点上该周期的标签成熟，或暂不据此决策；"
            f"userops backtest {subject.model.name} 可查看更多时点。",
        }
        return Found("tip", words, evidence, wait)
    return Found("passed", words, evidence)


def _heads(subject: Subject) -> list[str]:
    """The heads of the version, judged or not."""
    told = subject.version.tags.get("heads", "").split()
    return told or [str(head) for head in subject.forecasts.frame["head"].unique()]


def _where(compared: list[dict[str, Any]], origins: int, lang: str) -> str:
    """Which heads were compared, on how many rows of how many origins."""
    best = {one["head"]: one for one in sorted(compared, key=lambda one: int(one["rows"]))}
    if all(one["origins"] == origins for one in best.values()):
        return {
            "en": f"All {len(best)} heads that were compared beat every baseline at {origins} origins",
            "zh": f"参与比较的{len(best)}个目标在{origins}个起点均优于所有基线",
        }[lang]
    each = ", ".join(f"{head} {one['origins']}/{origins} ({one['rows']:,})" for head, one in best.items())
    return {
        "en": f"All {len(best)} heads that were compared beat every baseline where there is one, at origins (rows): "
        f"{each}",
        "zh": f"参与比较的{len(best)}个目标在有基线的起点均优于所有基线，起点数（行数）：{each}",
    }[lang]


def _beside(
    frame: pd.DataFrame, head: str, baselines: tuple[str, ...], kind: str, decides: str
) -> list[dict[str, Any]]:
    """The paired differences of one head to each baseline, on the rows that it answers; a loss below 0 is better."""
    found = []
    for name in baselines:
        rows = frame[frame[f"baseline.{name}"].notna()]
        if rows.empty or (kind == "spend" and not rows["y"].any()):
            continue
        differences = _of_amounts(rows, name, decides) if kind == "spend" else _of_probabilities(rows, name)
        size = {"rows": len(rows), "origins": int(rows["as_of"].nunique())}
        found.append({"head": head, "baseline": name, **size, **differences})
    return found


def _of_probabilities(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    """Log-loss and AUROC."""
    y, ours, theirs = (rows[column].to_numpy(float) for column in ("y", "p", f"baseline.{name}"))
    difference = losses(y, ours) - losses(y, theirs)
    each = pd.Series(difference).groupby(rows["as_of"].to_numpy()).mean()
    users = rows["user_id"].to_numpy(str)
    origin = rows["as_of"].to_numpy()
    order, by_ours = auroc_by(y, rows["raw"].to_numpy(float), origin, users)
    other, by_theirs = auroc_by(y, theirs, origin, users)
    return {
        "measure": "log_loss",
        "worse_at": int((each > 0).sum()),
        "loss": mean(difference, users),
        "auroc": clustered(order.value - other.value, by_ours - by_theirs, users, order.freedom),
    }


def _of_amounts(rows: pd.DataFrame, name: str, decides: str) -> dict[str, Any]:
    """What decides, and how much nearer to the truth the total is; of each, the mean over origins."""
    drawn = amounts(rows, [name])

    gaps = [
        {m: float(gain(m, np.array(ours[m]), np.array(theirs[m]))) for m in (decides, "bias")}
        for ours, theirs in zip(at_each(rows, "p"), at_each(rows, f"baseline.{name}"), strict=True)
    ]
    (value, error, draws), (nearer, nearer_error, _) = (better(drawn, name, m) for m in (decides, "bias"))
    return {
        "measure": decides if decides in ("mae", "bias") else f"1 - {decides}",
        "worse_at": sum(gap[decides] < 0 for gap in gaps),
        "far_at": sum(gap["bias"] < -FAR_OFF for gap in gaps),
        "loss": Estimate(-value, error, draws - 1.0),
        "bias": Estimate(nearer, nearer_error, draws - 1.0),
    }


def _said(found: list[dict[str, Any]], lang: str) -> str:
    """The first few differences in words, the worst first."""
    worst = sorted(found, key=lambda one: -one["loss"].value)
    parts = []
    for one in worst[:SHOWN]:
        low, high = one["loss"].interval()
        numbers = f"{one['loss'].value:+.4f} [{low:+.4f}, {high:+.4f}]"
        parts.append(
            f"{one['head']} {numbers} of {one['measure']} against {one['baseline']}"
            if lang == "en"
            else f"{one['head']}相对{one['baseline']}的{one['measure']}之差{numbers}"
        )
    more = len(found) - SHOWN
    if more > 0:
        parts.append(f"and {more} more" if lang == "en" else f"另有{more}项")
    return (", " if lang == "en" else "，").join(parts)


CHECK = Check("P004", {"en": "not better than a baseline", "zh": "不优于基线"}, "blocker", look)
