"""What a back-test says in words, English and Chinese: the verdict of each head, and what the pictures mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.backtest.evaluation import OURS, Result
from training.page import Text

__all__ = [
    "CALIBRATION",
    "GAIN",
    "PARTS",
    "SEGMENTS",
    "SEGMENTS_CAPTION",
    "better_at",
    "how",
    "metric_name",
    "origins_caption",
    "splits_caption",
    "verdict",
    "where",
]

NAMES = {
    "log_loss": "log-loss",
    "auroc": "AUROC",
    "pr_auc": "PR-AUC",
    "brier": "Brier",
    "ece": "ECE",
    "mae": "MAE",
    "mean_prediction": "mean",
    "base_rate": "base",
    "mean_truth": "true mean",
}
SEGMENTS: dict[str, Text] = {
    "tenure": {"en": "tenure", "zh": "注册时长"},
    "channel": {"en": "channel", "zh": "渠道"},
    "value": {"en": "spend in the last year", "zh": "近一年消费"},
    "store": {"en": "home store", "zh": "常去门店"},
}
#: The parts in Chinese; in English, and where a part is none of these, its own name says it.
PARTS = {
    "up to 30 d": "30天以内",
    "31-90 d": "31至90天",
    "91-365 d": "91至365天",
    "over 365 d": "一年以上",
    "none": "无消费",
    "low": "最低三分之一",
    "middle": "中间三分之一",
    "high": "最高三分之一",
    "web": "网站",
    "store": "门店",
    "wecom": "企业微信",
    "other": "其他",
    "unknown": "未知",
}


def verdict(one: Result, metric: str) -> dict[str, str]:
    """One sentence: better or worse than the best baseline only where the interval says so.

    Examples
    --------
    >>> best = {"log_loss": {"baseline": "rfm", "difference": {"value": 0.02, "ci": [0.01, 0.03]}}}
    >>> pooled = {"ours": {"log_loss": {"value": 0.5, "ci": [0.4, 0.6]}}, "best": best}
    >>> verdict({"pooled": pooled, "by_origin": [{"best": best}]}, "log_loss")["en"]
    'better than the best baseline (rfm) by 0.0200 [0.0100, 0.0300] in log-loss; better at 1 of 1 origins'
    """
    pooled = one["pooled"]
    if "too_few" in pooled:
        few = pooled["too_few"]
        return {"en": f"cannot be judged: {few['en']}", "zh": f"无法评估：{few['zh']}"}
    if metric not in pooled["best"]:
        value = pooled[OURS][metric]["value"]
        return {
            "en": f"{metric_name(metric)} {value:.4f}; no baseline to beat",
            "zh": f"{metric_name(metric)} {value:.4f}；无基线可比",
        }
    best = pooled["best"][metric]
    (low, high), value, name = best["difference"]["ci"], best["difference"]["value"], best["baseline"]
    gap = f"{abs(value):.4f} [{min(abs(low), abs(high)):.4f}, {max(abs(low), abs(high)):.4f}]"
    said = {
        1: {"en": f"better than the best baseline ({name}) by {gap}", "zh": f"优于最佳基线（{name}）{gap}"},
        -1: {"en": f"worse than the best baseline ({name}) by {gap}", "zh": f"劣于最佳基线（{name}）{gap}"},
        0: {
            "en": f"no difference shown to the best baseline ({name}): {value:+.4f} [{low:+.4f}, {high:+.4f}]",
            "zh": f"与最佳基线（{name}）无显著差异：{value:+.4f} [{low:+.4f}, {high:+.4f}]",
        },
    }[1 if low > 0 else -1 if high < 0 else 0]
    won, of = better_at(one, metric)
    there = where(one)
    return {
        "en": f"{said['en']} in {metric_name(metric)}; better at {won} of {of} origins{there['en']}",
        "zh": f"{metric_name(metric)}{said['zh']}；{of} 个时点中 {won} 个更好{there['zh']}",
    }


def where(one: Result) -> dict[str, str]:
    """On which part of the rows baselines were compared, where it is not all of them; else nothing.

    Examples
    --------
    >>> compared = {"rows": 800, "origins": 2}
    >>> where({"pooled": {"rows": 1200, "compared": compared}, "by_origin": [{}, {}, {}]})["en"]
    ', compared on 800 of 1,200 rows (2 of 3 origins): no baseline could be learned before'
    """
    pooled = one["pooled"]
    compared = pooled.get("compared", {"rows": pooled.get("rows", 0)})
    if compared["rows"] == pooled.get("rows", 0):
        return {"en": "", "zh": ""}
    rows, of, origins, many = compared["rows"], pooled["rows"], compared["origins"], len(one["by_origin"])
    return {
        "en": f", compared on {rows:,} of {of:,} rows ({origins} of {many} origins): no baseline could be learned"
        " before",
        "zh": f"，基于 {of:,} 行中的 {rows:,} 行（{many} 个时点中的 {origins} 个）：此前尚无法学习基线",
    }


def better_at(one: Result, metric: str) -> tuple[int, int]:
    """At how many origins the point difference to that origin's best baseline is above 0, and of how many."""
    told = [
        origin["best"][metric]["difference"]["value"] for origin in one["by_origin"] if metric in origin.get("best", {})
    ]
    return sum(value > 0 for value in told), len(told)


def how(heads: Mapping[str, Result], recipe: str) -> Text:
    """How the numbers came about: how often users were drawn, and whose settings were back-tested.

    Parameters
    ----------
    recipe
        `backtest.Backtest.recipe`: ``yaml``, ``given``, or the number of a version.
    """
    pooled = [one["pooled"]["draws"] for one in heads.values() if "draws" in one["pooled"]]
    parts = [found["draws"] for one in heads.values() for found in _parts(one) if "draws" in found]
    drawn, among = _range(pooled), _range(parts)
    whose = RECIPES.get(recipe, {"en": f"those of version {recipe}", "zh": f"版本 {recipe} 的设置"})
    return {
        "en": "At each origin the procedure was fitted anew to what was known then and asked about everybody in the"
        f" cohort; its settings are {whose['en']}. Brackets are 95 % intervals from {drawn} draws of users (single"
        f" origins and segments: {among}), the same draws for ours and the baselines. They say how much other users"
        " would change a number; how much another season would, the origins show.",
        "zh": f"在每个时点，仅用当时已知的数据重新拟合，并对全体目标用户给出预测；所用设置为{whose['zh']}。"
        f"方括号为对用户重抽样{drawn}次（单个时点与细分人群：{among}次）得到的95%区间，本模型与基线使用同一批抽样。"
        "区间反映换一批用户会有多大变化；换一个季节的变化请看各时点之间的差别。",
    }


def _parts(one: Result) -> list[Mapping[str, Any]]:
    return [*one["by_origin"], *(found for parts in one["by_segment"].values() for found in parts.values())]


def _range(counts: Sequence[int]) -> str:
    low, high = (min(counts), max(counts)) if counts else (0, 0)
    return f"{low}" if low == high else f"{low}-{high}"


RECIPES: dict[str, dict[str, str]] = {
    "yaml": {"en": "those of the model's YAML file", "zh": "模型YAML文件中的设置"},
    "given": {"en": "those that were given (see the run)", "zh": "调用时给定的设置（见运行记录）"},
}
SEGMENTS_CAPTION: Text = {
    "en": "Difference to the best baseline with 95 % interval: right of the line ours is better. Blue: better;"
    " orange: worse; grey: not shown. Each interval alone: of twenty parts that do not"
    " differ, one is coloured by chance.",
    "zh": "与最佳基线之差及95%区间：线右侧表示本模型更好。蓝色：更好；橙色：更差；灰色：未见差异。"
    "各区间单独判断、未作多重校正：二十个无差异的人群中平均有一个会因偶然而着色。",
}
CALIBRATION: Text = {
    "en": "What was promised (across) against what happened (up), in ten groups of equal size.",
    "zh": "横轴为预测值，纵轴为实际发生，按预测值分为人数相等的十组。",
}
GAIN: Text = {
    "en": "Contact the best-scored share of users (across) and you find this share of all labels (up).",
    "zh": "联系得分最高的一部分用户（横轴），能覆盖多少目标（纵轴）。",
}


def splits_caption(longest: float) -> Text:
    """What `pictures.splits_figure` shows; ``longest`` horizon in days."""
    return {
        "en": "A line per judged origin (diamond). Dots: origins it learned from; hollow ones were so recent that"
        f" labels of {longest:g} days were not known yet, and at most shorter ones taught. Orange: the {longest:g}"
        " days that followed, on which it was judged. Dotted line: until when events are known.",
        "zh": f"每行一个评估时点（菱形）。圆点：用于学习的时点；空心点距离太近，{longest:g}天的标签当时尚未成熟，"
        "至多使用更短的标签。"
        f"橙色：其后{longest:g}天，用于评估。虚线：数据截止日。",
    }


def origins_caption(contact: Mapping[str, float], spend: bool) -> Text:
    """What `pictures.origins_figure` shows, and whose budget it counts."""
    if spend:
        return {"en": "Ours (thick, with interval) beside the baselines.", "zh": "粗线为本模型（含区间），细线为基线。"}
    share, worth, cost = contact["share"] * 100, contact["worth"], contact["cost"]
    return {
        "en": f"Ours (thick, with interval) beside the baselines. value@{share:g}: contact the best-scored {share:g} %"
        f" at a cost of {cost:g} each; where the label is true a contact is worth {worth:g}: the expected value per"
        " 1,000 users. Choose your own with --contact, --worth and --cost.",
        "zh": f"粗线为本模型（含区间），细线为基线。value@{share:g}：联系得分最高的{share:g}%，每次成本{cost:g}，"
        f"命中时价值{worth:g}，折算为每千名用户的期望价值。可用 --contact、--worth、--cost 修改。",
    }


def metric_name(metric: str) -> str:
    """The metric as people write it."""
    return NAMES.get(metric, metric)
