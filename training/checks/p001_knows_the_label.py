"""P001: a feature knows the label, because it was computed from what happened after the origin."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.catalog import NAMES
from training.checks.clustered import auroc
from training.checks.outcome import Check, Found

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

Floats = NDArray[np.float64]

# No single habit of people orders their future like this: who is this good has seen the answer.
IMPLAUSIBLE = 0.97
FALSE_ALARMS = 0.05
SHOWN = 5


def look(subject: Subject) -> Found:
    """Compute the judged origin's features again without the later events, and order users by each feature alone.

    With the future removed every value must stay as it is. And no feature alone may reach an AUROC of which the lower
    bound, corrected for the number of features and heads, lies above 0.97.
    """
    users, changed = _changed(subject)
    strongest, implausible = _alone(subject)
    evidence: dict[str, Any] = {
        "origin": subject.judged_at.isoformat(),
        "users": users,
        "changed_without_the_future": dict(changed.most_common()),
        "strongest_alone": strongest,
        "implausible": implausible,
        "implausible_above": IMPLAUSIBLE,
    }
    day = f"{subject.judged_at:%Y-%m-%d}"
    best = max(strongest, key=lambda one: one["auroc"]["value"])
    if not changed and not implausible:
        words = {
            "en": f"Without the events after {day} all {len(NAMES)} features of {users} users stay the same; the "
            f"strongest alone, {best['feature']}, orders {best['head']} with AUROC {best['auroc']['value']:.3f}.",
            "zh": f"去掉{day}之后的事件，{users}名用户的{len(NAMES)}个特征均不变；单独最强的特征{best['feature']}对"
            f"{best['head']}的AUROC为{best['auroc']['value']:.3f}。",
        }
        return Found("passed", words, evidence)
    said_en, said_zh = [], []
    if changed:
        names = _listed([name for name, _ in changed.most_common()])
        said_en.append(f"{len(changed)} features change when the events after {day} are taken away ({names})")
        said_zh.append(f"去掉{day}之后的事件，{len(changed)}个特征会改变（{names}）")
    if implausible:
        names = _listed([f"{one['feature']} for {one['head']}: {one['auroc']['value']:.3f}" for one in implausible])
        said_en.append(f"alone, {names} of AUROC")
        said_zh.append(f"单个特征的AUROC高得不可信（{names}）")
    names = _listed(sorted({*changed, *(one["feature"] for one in implausible)}))
    return Found(
        "issue",
        {
            "en": f"{'; '.join(said_en)}: what is learned from them will not be there when it is needed.",
            "zh": f"{'；'.join(said_zh)}：训练中用到了未来的信息，上线后不会存在。",
        },
        evidence,
        {
            "en": f"Look at the definition of {names} in features/behaviour, build the features anew and train again.",
            "zh": f"请检查features/behaviour中{names}的定义，重新计算特征并训练。",
        },
    )


def _changed(subject: Subject) -> tuple[int, Counter[str]]:
    """How many users were looked at, and for how many of them each feature changes without later events."""
    learned = subject.present.frame.set_index("user_id")
    again = subject.without_future.reindex(learned.index)
    one, other = (table[list(NAMES)].to_numpy(np.float64) for table in (learned, again))
    differs = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    counts = Counter({name: int(n) for name, n in zip(NAMES, differs.sum(axis=0), strict=True) if n})
    return len(learned), counts


def _alone(subject: Subject) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The strongest feature of each head, and those that are too good."""
    alpha = FALSE_ALARMS / (len(subject.judged) * len(NAMES))
    strongest, implausible = [], []
    for head, rows in subject.judged.items():
        found = []
        for column, name in enumerate(NAMES):
            estimate, _ = auroc(rows.y, _directed(rows.x[:, column], rows.y), rows.user)
            found.append({"head": head, "feature": name, "auroc": estimate.as_json(alpha)})
        strongest.append(max(found, key=lambda one: one["auroc"]["value"]))  # type: ignore[index]
        implausible += [one for one in found if one["auroc"]["ci"][0] > IMPLAUSIBLE]  # type: ignore[index]
    return strongest, implausible


def _directed(values: Floats, y: Floats) -> Floats:
    """The feature as a score: its absent values where their rate belongs, low or high, and high for the label."""
    absent = np.isnan(values)
    if absent.all():
        return np.zeros(len(values))
    known = values[~absent]
    rises = np.corrcoef(known, y[~absent])[0, 1] >= 0 if np.ptp(known) and np.ptp(y[~absent]) else True
    score = values if rises else -values
    rarer = absent.any() and y[absent].mean() < y[~absent].mean()
    edge = np.nanmin(score) - 1 if rarer else np.nanmax(score) + 1
    return np.where(absent, edge, score)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


CHECK = Check(
    "P001",
    {"en": "a feature knows the label", "zh": "特征泄露了标签"},
    "blocker",
    look,
    kinds=("users", "value"),
    otherwise={
        "en": "This model reads histories up to the origin; no feature of the catalogue is learned from.",
        "zh": "该模型只读取起点之前的行为序列，不使用特征目录中的特征。",
    },
)
