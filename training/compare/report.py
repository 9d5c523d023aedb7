"""A comparison as one HTML page: the verdict first, then every number that it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from training.compare.comparison import Comparison
from training.compare.paired import Pair
from training.compare.sides import FILES, REFITTED
from training.evaluate import Interval
from training.page import Section, Text, card, cards, note, page, svg, table, tinted

__all__ = ["HOW", "calibration_figure", "comparison_page", "differences_figure", "spoken_verdict", "words"]

VERDICTS: dict[str, tuple[dict[str, str], str]] = {
    "better": ({"en": "better", "zh": "更好"}, "good"),
    "worse": ({"en": "worse", "zh": "更差"}, "bad"),
    "same": ({"en": "no difference beyond noise", "zh": "差异在噪声之内"}, "mute"),
}
HOW: dict[str, dict[str, str]] = {
    FILES: {"en": "its own files, which had not seen what followed", "zh": "版本自身的文件（未见过之后的数据）"},
    REFITTED: {"en": "fitted again to what was known then", "zh": "用当时已知的数据重新拟合"},
}
COLOURS = {"better": "#1a7f4b", "worse": "#b3261e", "same": "#5c6b7a"}
MOST_FEATURES = 15


def comparison_page(found: Comparison, decides: str) -> str:
    """The page; ``decides`` is the metric by which the gate judges."""
    first, second = found.titles
    title = {"en": f"{found.model}: {second} against {first}", "zh": f"{found.model}：{second} 与 {first} 比较"}
    lead = spoken_verdict(found, decides)
    sections = [
        Section(
            {"en": "Every metric, on the same users", "zh": "同一批用户上的各项指标"},
            [
                {
                    "en": f"{found.rows:,} forecasts at {len(found.origins)} past origins; 95 % intervals from "
                    "resampled users, both on the same draws; above 0 the second is better, whatever the metric.",
                    "zh": f"{len(found.origins)} 个历史起点上的 {found.rows:,} 条预测；"
                    "95% 区间由重抽用户得到，两者使用同一抽样；改进大于0表示第二个更好。",
                },
                svg(differences_figure(found, decides)),
                _metrics(found),
                *(note(words) for words in found.notes),
            ],
        ),
        Section({"en": "How they were asked", "zh": "两个版本如何作答"}, [_origins(found)]),
    ]
    if found.calibration and found.kind == "probability":
        caption = {"en": "Observed rate against mean prediction.", "zh": "观察比例与平均预测值。"}
        sections.append(
            Section({"en": "Calibration side by side", "zh": "校准对比"}, [svg(calibration_figure(found), caption)])
        )
    if found.parts:
        sections.append(Section({"en": "Where they disagree: segments", "zh": "分歧最大的人群"}, [_parts(found)]))
    if found.users:
        sections.append(Section({"en": "Where they disagree: users", "zh": "分歧最大的用户"}, [_users(found)]))
    if found.weights:
        text = {
            "en": "Share in the mean absolute SHAP value, exact, of the same users today; those that changed most.",
            "zh": "同一批当前用户上平均绝对 SHAP 值的占比（精确计算），按变化大小排列。",
        }
        sections.append(Section({"en": "What weighs in each", "zh": "特征权重的变化"}, [text, _weights(found)]))
    if found.moves:
        text = {
            "en": "What changes for the users of today when the second takes over: their place among all.",
            "zh": "若采用第二个版本，当前用户的百分位如何变化。",
        }
        sections.append(Section({"en": "Who moves", "zh": "谁的位置变化"}, [text, *_moves(found)]))
    if found.cost:
        sections.append(Section({"en": "Cost", "zh": "成本"}, [_cost(found)]))
    return page(title, lead, sections, [cards(_cards(found, decides))])


def spoken_verdict(
    found: Comparison, decides: str, meanings: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, str]:
    """By the metric that decides, head by head, in a sentence; heads go by their ``meanings`` where those are given.

    Examples
    --------
    >>> spoken_verdict(Comparison("churn", "probability", {}, {}, [], 0, {}, []), "log_loss")["en"]
    'Nothing could be measured.'
    """
    if not found.heads:
        return {"en": "Nothing could be measured.", "zh": "没有可比较的结果。"}
    said = {}
    for lang, between in (("en", "; "), ("zh", "；")):
        parts = [
            f"{_named(head, lang, meanings)}{words(pairs[decides].verdict)[lang]}"
            for head, pairs in found.heads.items()
            if decides in pairs
        ]
        said[lang] = between.join(parts)
    return {"en": f"By {decides}, the second is: {said['en']}.", "zh": f"按 {decides}，第二个版本：{said['zh']}。"}


def _named(head: str, lang: str, meanings: Mapping[str, Mapping[str, str]] | None) -> str:
    told = (meanings or {}).get(head)
    return f"{head} " if not told else f"{told[lang]}{'：' if lang == 'zh' else ': '}"


def words(verdict: str) -> dict[str, str]:
    """A verdict in both languages."""
    return VERDICTS[verdict][0]


def differences_figure(found: Comparison, metric: str) -> Figure:
    """How much better the second is by one metric, head by head, with its interval; 0 is no difference."""
    heads = [head for head in found.heads if metric in found.heads[head]]
    figure = Figure(figsize=(7.5, 0.6 + 0.42 * max(len(heads), 1)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="0.75", linewidth=1)
    for place, head in enumerate(reversed(heads)):
        pair = found.heads[head][metric]
        d, colour = pair.better, COLOURS[pair.verdict]
        axes.plot([d.low, d.high], [place, place], color=colour, linewidth=2)
        axes.plot([d.value], [place], marker="o", color=colour, markersize=6)
    axes.set_yticks(range(len(heads)), list(reversed(heads)))
    axes.set(xlabel=f"better by ({metric})", ylim=(-0.6, len(heads) - 0.4))
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def calibration_figure(found: Comparison) -> Figure:
    """One panel per head: both curves over the diagonal."""
    figure = Figure(figsize=(3.1 * max(len(found.calibration), 1), 3.3), layout="constrained")
    for index, (head, curves) in enumerate(found.calibration.items(), start=1):
        axes = figure.add_subplot(1, len(found.calibration), index)
        axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
        for (side, points), colour in zip(curves.items(), ("#8a98a8", "#1f5fa8"), strict=True):
            name = found.titles[("first", "second").index(side)]
            line = [p["mean_prediction"] for p in points], [p["rate"] for p in points]
            axes.plot(*line, marker="o", markersize=3.5, color=colour, label=name)
        axes.set(title=head, xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        if index == 1:
            axes.legend(frameon=False)
    return figure


def _metrics(found: Comparison) -> Markup:
    columns: list[Text] = [
        {"en": "head · metric", "zh": "输出 · 指标"},
        *found.titles,
        {"en": "better by", "zh": "改进"},
        {"en": "verdict", "zh": "结论"},
    ]
    rows = [
        [f"{head} · {metric}", *_intervals(pair), _tinted(pair.verdict)]
        for head, pairs in found.heads.items()
        for metric, pair in pairs.items()
    ]
    return table(columns, rows)


def _intervals(pair: Pair) -> list[str]:
    return [_spoken(pair.first), _spoken(pair.second), _spoken(pair.better, sign="+")]


def _spoken(interval: Interval, sign: str = "") -> str:
    return f"{interval.value:{sign}.4f} [{interval.low:{sign}.4f}, {interval.high:{sign}.4f}]"


def _tinted(verdict: str) -> Markup:
    return tinted(*VERDICTS[verdict])


def _origins(found: Comparison) -> Markup:
    rows = [
        [origin[:10], *(HOW[one["how"][origin]] for one in (found.first, found.second))] for origin in found.origins
    ]
    return table([{"en": "origin", "zh": "起点"}, *found.titles], rows, words=(1, 2))


def _parts(found: Comparison) -> Markup:
    columns: Sequence[Text] = [
        {"en": "head · segment", "zh": "输出 · 人群"},
        {"en": "rows", "zh": "行数"},
        {"en": "mean of both", "zh": "两者均值"},
        {"en": "what followed", "zh": "实际"},
        {"en": "loss of both", "zh": "两者损失"},
    ]
    rows = [
        [
            f"{one['head']} · {one['segment']} = {one['part']}",
            one["rows"],
            _two(one["mean"]),
            one["truth"],
            _two(one["loss"]),
        ]
        for one in found.parts
    ]
    return table(columns, rows)


def _users(found: Comparison) -> Markup:
    columns: Sequence[Text] = [
        {"en": "user", "zh": "用户"},
        {"en": "head", "zh": "输出"},
        {"en": "origin", "zh": "起点"},
        {"en": "foreseen by both", "zh": "两者预测"},
        {"en": "what followed", "zh": "实际"},
    ]
    rows = [
        [
            " ".join(one[k] for k in ("user_id", "item") if k in one),
            one["head"],
            one["as_of"][:10],
            _two(one["p"]),
            one["y"],
        ]
        for one in found.users
    ]
    return table(columns, rows)


def _weights(found: Comparison) -> Markup:
    columns: Sequence[Text] = [
        {"en": "feature", "zh": "特征"},
        *(f"{title}, %" for title in found.titles),
        {"en": "change, points", "zh": "变化（百分点）"},
    ]
    rows = [
        [one["feature"], *(f"{100 * one[side]:.1f}" for side in ("first", "second")), f"{100 * one['change']:+.1f}"]
        for one in found.weights[:MOST_FEATURES]
    ]
    return table(columns, rows)


def _moves(found: Comparison) -> list[Text | Markup]:
    parts: list[Text | Markup] = []
    for head, one in found.moves.items():
        parts.append(
            {
                "en": f"{head}: {one['users']:,} users move by {one['mean_move']:.1f} points on average, "
                f"{100 * one['far']:.1f} % by more than 10; rank correlation {one['rank_correlation']:.3f}.",
                "zh": f"{head}：{one['users']:,} 名用户平均移动 {one['mean_move']:.1f} 个百分位，"
                f"{100 * one['far']:.1f}% 超过 10；秩相关 {one['rank_correlation']:.3f}。",
            }
        )
        columns: Sequence[Text] = [
            {"en": "user", "zh": "用户"},
            {"en": "percentile of both", "zh": "两者百分位"},
            {"en": "said by both", "zh": "两者预测"},
        ]
        rows = [[user["user_id"], _two(user["percentile"], 1), _two(user["p"])] for user in one["furthest"]]
        parts.append(table(columns, rows))
    return parts


def _cost(found: Comparison) -> Markup:
    names: dict[str, Text] = {
        "bytes": {"en": "bytes", "zh": "字节"},
        "trees": {"en": "trees", "zh": "树"},
        "us_per_score": {"en": "µs per user, all heads", "zh": "每用户微秒（全部输出）"},
    }
    rows = [[names[name], *(f"{one[name]:,.0f}" for one in found.cost.values())] for name in found.cost["second"]]
    return table(["", *found.titles[-len(found.cost) :]], rows)


def _cards(found: Comparison, decides: str) -> list[Markup]:
    return [
        card(
            f"{pairs[decides].better.value:+.4f}",
            f"{head} · {decides}",
            f"[{pairs[decides].better.low:+.4f}, {pairs[decides].better.high:+.4f}]",
        )
        for head, pairs in found.heads.items()
        if decides in pairs
    ]


def _two(values: Sequence[Any], digits: int = 3) -> str:
    return " → ".join(f"{value:.{digits}f}" for value in values)
