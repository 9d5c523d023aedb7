"""P009: features that cost and give nothing; the report of what each of them is good for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from features.catalog import USER_FEATURES
from training.checks.outcome import Check, Found
from training.checks.usefulness import Ablation, Use, ablated, uses

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK", "REPORT"]

#: The report's name among the artefacts of the version's run.
REPORT = "features_use.html"

# A feature that moves less than this part of the scores moves none; 86 equal ones would move 1.2 % each.
UNUSED = 1e-5
# A log-loss that grows by less than this has not grown.
NOTHING = 0.0005
FALSE_ALARMS = 0.05
SHOWN = 8
ALL_UNUSED = "constant and unused"


def look(subject: Subject) -> Found:
    """Share of rows with a value, share of the contributions, and the loss without each group and without the useless.

    Useless is a feature with one value for everybody, or one that moves less than 1e-5 of the scores, as long as the
    loss does not grow when all of them are left out. What the source gives to nobody is absent, and no fault. A group
    without which the loss is lower for certain, corrected for all groups, is named too.
    """
    table = uses(subject, UNUSED)
    idle = [one.name for one in table if one.status in ("constant", "unused")]
    groups: dict[str, Sequence[str]] = {}
    for feature in USER_FEATURES:
        groups[feature.group] = [*groups.get(feature.group, ()), feature.name]
    asked = ablated(subject, {**groups, **({ALL_UNUSED: idle} if idle else {})})
    alpha = FALSE_ALARMS / max(len(asked), 1)
    needed = [one for one in asked if one.what == ALL_UNUSED and one.growth.interval()[1] > NOTHING]
    harmful = [one for one in asked if one.growth.interval(alpha)[1] < -NOTHING]
    absent = [one.name for one in table if one.status == "absent"]
    evidence: dict[str, Any] = {
        "features": [one.as_json() for one in table],
        "groups": [one.as_json(alpha) for one in asked],
        "absent": absent,
        "idle": idle,
        "harmful_groups": sorted({one.what for one in harmful}),
    }
    subject.files[REPORT] = _report(subject, table, asked, alpha)
    best = table[0]
    if not harmful and (not idle or needed):
        words = {
            "en": f"{len(table) - len(absent)} features have values ({len(absent)} the source does not give), all move "
            f"the scores; {best.name} most, {best.share:.0%}. No group harms. See {REPORT}.",
            "zh": f"{len(table) - len(absent)}个特征有值（{len(absent)}个数据源未提供），均影响分数；"
            f"{best.name}影响最大，占{best.share:.0%}。没有有害的特征组。详见{REPORT}。",
        }
        return Found("passed", words, evidence)
    said_en, said_zh = [], []
    if idle and not needed:
        said_en.append(f"{len(idle)} features move no score, and nothing is lost without them ({_listed(idle)})")
        said_zh.append(f"{len(idle)}个特征不影响分数，去掉后无损失（{_listed(idle)}）")
    if harmful:
        said_en.append(f"the loss is lower without {_listed([f'{one.what} ({one.head})' for one in harmful])}")
        said_zh.append(f"去掉{_listed([f'{one.what}（{one.head}）' for one in harmful])}后损失更低")
    return Found(
        "tip",
        {"en": "; ".join(said_en) + f". See {REPORT}.", "zh": "；".join(said_zh) + f"。详见{REPORT}。"},
        evidence,
        {
            "en": "Take them out of features/behaviour, or leave them out of the recipe when you train.",
            "zh": "请从features/behaviour中移除，或训练时不使用这些特征。",
        },
    )


def _report(subject: Subject, table: Sequence[Use], asked: Sequence[Ablation], alpha: float) -> str:
    from training.page import Section, page
    from training.page import table as drawn

    meaning = {feature.name: feature.meaning for feature in USER_FEATURES}
    features = [
        [one.name, meaning[one.name], one.group, f"{one.coverage:.0%}", f"{one.share:.3%}", one.status] for one in table
    ]
    groups = []
    for one in sorted(asked, key=lambda one: -one.growth.value):
        low, high = one.growth.interval(alpha)
        groups.append([one.what, one.head, len(one.names), f"{one.growth.value:+.5f}", f"[{low:+.5f}, {high:+.5f}]"])
    name = f"{subject.model.name} {subject.version.version}"
    return page(
        {"en": f"What the features of {name} are good for", "zh": f"{name}各特征的作用"},
        {
            "en": f"Judged at {subject.judged_at:%Y-%m-%d}: how many rows have a value, how much of the scores each "
            "moves (exact TreeSHAP), and by how much the log-loss grows when a group is left out.",
            "zh": f"评估于{subject.judged_at:%Y-%m-%d}：有值的比例、对分数的贡献（精确TreeSHAP），以及去掉一组特征后"
            "对数损失的增量。",
        },
        [
            Section(
                {"en": "Without a group", "zh": "去掉一组特征"},
                [drawn(_GROUP_COLUMNS, groups)],
            ),
            Section({"en": "Every feature", "zh": "全部特征"}, [drawn(_FEATURE_COLUMNS, features, words=(1,))]),
        ],
    )


_GROUP_COLUMNS = [
    {"en": "without", "zh": "去掉"},
    {"en": "head", "zh": "目标"},
    {"en": "features", "zh": "特征数"},
    {"en": "growth of the log-loss", "zh": "对数损失增量"},
    {"en": "interval", "zh": "区间"},
]
_FEATURE_COLUMNS = [
    {"en": "feature", "zh": "特征"},
    {"en": "meaning", "zh": "含义"},
    {"en": "group", "zh": "组"},
    {"en": "rows with a value", "zh": "有值比例"},
    {"en": "share of the scores", "zh": "分数贡献"},
    {"en": "status", "zh": "状态"},
]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


CHECK = Check(
    "P009",
    {"en": "useless features", "zh": "无用特征"},
    "tip",
    look,
    kinds=("users", "value"),
    otherwise={
        "en": "This model learns from pairs of users and items, not from the features of the catalogue.",
        "zh": "该模型基于用户与商品的配对学习，不使用特征目录。",
    },
)
