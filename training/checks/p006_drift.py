"""P006: the customers of today are not those that were learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.checks.outcome import Check, Found
from training.monitor.monitor import LARGE_WEIGHT
from training.monitor.reference import Reference, population, reference_of
from training.monitor.shifts import Shift, drifted_weight, shifts

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

SHOWN = 5


def look(subject: Subject) -> Found:
    """Hold today's population against the last one whose labels the version was judged by.

    What counts as drift is told in `training.monitor.shifts`: large, more than time alone has moved it while the model
    learned, and no accident. It fires when a score drifted, or features that carry 5 % of the contributions.
    """
    before, today = subject.trained_at, subject.today
    if today <= before:
        words = {"en": "No time has passed since the judged origin.", "zh": "自评估起点以来尚无新的时间。"}
        return Found("not_applicable", words, {"judged_at": before.isoformat()})
    frame = subject.since
    reference = Reference.read(reference_of(subject.scorer, frame[frame["as_of"] <= before], before))
    present = population(subject.scorer, frame[frame["as_of"] == today], today)
    found = shifts(reference, present, subject.config.seed)
    drifted = [one for one in found if one.status == "drifted"]
    weight, scores = drifted_weight(found), [one for one in drifted if one.kind == "score"]
    evidence: dict[str, Any] = {
        "from": before.isoformat(),
        "to": today.isoformat(),
        "rows": [reference.rows, present.rows],
        "drifted_weight": weight,
        "alarm_weight": LARGE_WEIGHT,
        "drifted": [one.as_json() for one in drifted],
        "most_moved": [one.as_json() for one in found if one.status != "drifted"][:10],
    }
    days = f"{before:%Y-%m-%d} → {today:%Y-%m-%d}"
    if not scores and weight < LARGE_WEIGHT:
        words = {
            "en": f"{days}: {len(found) - len(drifted)} of {len(found)} features and scores moved no further than "
            f"time and chance move them; the others carry {weight:.1%} of the scores.",
            "zh": f"{days}：{len(found)}个特征与分数中有{len(found) - len(drifted)}个的变化未超出时间与偶然的范围；"
            f"其余占分数贡献的{weight:.1%}。",
        }
        return Found("passed", words, evidence)
    look_first, then = f"userops monitor {subject.model.name}", f"userops train {subject.model.name}"
    return Found(
        "issue",
        {
            "en": f"{days}: {_said(drifted)} moved further than time and chance do, {weight:.0%} of the scores: what "
            "was learned and judged then may not hold now.",
            "zh": f"{days}：{_said(drifted)}的变化超出时间与偶然，占分数贡献的{weight:.0%}："
            "当时学到与评估的结论可能不再成立。",
        },
        evidence,
        {
            "en": f"Look whether a source changed ({look_first}); if people changed: {then}.",
            "zh": f"请先检查数据源是否变化（{look_first}）；若是用户变化：{then}。",
        },
    )


def _said(drifted: list[Shift]) -> str:
    names = [one.name for one in sorted(drifted, key=lambda one: -one.weight)]
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


CHECK = Check(
    "P006",
    {"en": "drift between training and now", "zh": "训练以来数据漂移"},
    "warning",
    look,
    kinds=("users", "value"),
    otherwise={
        "en": "The interest model reads histories; userops monitor interest watches its statistics.",
        "zh": "兴趣模型读取行为序列；请用 userops monitor interest 监控。",
    },
)
