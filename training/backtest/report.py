"""The page of a back-test: the verdict first, then how time was split, then every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from training.backtest.evaluation import NOT_COMPARED, OURS, Result, shown_metrics
from training.backtest.words import (
    CALIBRATION,
    GAIN,
    SEGMENTS,
    SEGMENTS_CAPTION,
    how,
    metric_name,
    origins_caption,
    splits_caption,
    where,
)
from training.page import Section, Text, card, cards, note, page, spoken, svg, table, tinted

__all__ = ["report_page"]


def report_page(
    report: Mapping[str, Any], purpose: Mapping[str, str], figures: Mapping[str, Figure], longest: float
) -> str:
    """The whole page from `Backtest` as a mapping, and its figures."""
    heads, metric, spend = report["heads"], report["decides"], report["kind"] == "spend"
    first, last = report["origins"][0][:10], report["origins"][-1][:10]
    rows = sum(one["pooled"]["rows"] for one in heads.values())
    users = max(one["pooled"]["users"] for one in heads.values())
    known = report["log"]["known_until"][:10]
    before = [
        cards(
            [
                card(len(report["origins"]), {"en": "origins judged", "zh": "评估时点"}, f"{first} … {last}"),
                card(
                    f"{users:,}", {"en": "users", "zh": "用户"}, {"en": f"{rows:,} forecasts", "zh": f"{rows:,} 条预测"}
                ),
                card(known, {"en": "labels known until", "zh": "标签已知截至"}),
                card(
                    _won(heads, metric),
                    {"en": "heads beat every baseline", "zh": "胜过所有基线的目标"},
                    metric_name(metric),
                ),
            ]
        )
    ]
    sections = [
        Section(
            {"en": "Is it better than no model?", "zh": "比不用模型更好吗？"},
            [_verdicts(report), note(how(heads, report["recipe"]))],
        ),
        Section(
            {"en": "How time was split", "zh": "时间如何划分"},
            [svg(figures["splits"], splits_caption(longest))],
        ),
        Section(
            {"en": "Over time", "zh": "随时间变化"},
            [svg(figures["by_origin"], origins_caption(report["contact"], spend))],
        ),
        Section({"en": "Every metric, all origins together", "zh": "全部指标（所有时点合并）"}, _pooled(heads)),
        Section(
            {"en": "By segment", "zh": "按细分人群"},
            [svg(figures["by_segment"], SEGMENTS_CAPTION), *_segments(heads, metric)],
        ),
    ]
    if "calibration" in figures:
        sections.append(
            Section(
                {"en": "Calibration, and how much is found early", "zh": "校准与累计增益"},
                [svg(figures["calibration"], CALIBRATION), svg(figures["gain"], GAIN)],
            )
        )
    if report["lists"]:
        sections.append(Section({"en": "Lists of ten", "zh": "十项推荐列表"}, [_lists(report["lists"])]))
    sections.append(Section({"en": "What was fitted", "zh": "拟合记录"}, [_log(report["log"])]))
    title = {"en": f"Back-test of {report['model']}", "zh": f"回测：{report['model']}"}
    return page(
        title,
        {"en": f"How well would we have foreseen {purpose['en']}?", "zh": f"过去本可以多准地预测{purpose['zh']}？"},
        sections,
        before,
    )


def _verdicts(report: Mapping[str, Any]) -> Markup:
    metric = report["decides"]
    rows: list[list[object]] = []
    for head, one in report["heads"].items():
        pooled, words = one["pooled"], report["verdict"][head]
        if metric not in pooled.get("best", {}):
            rows.append([head, None, None, None, tinted(words, "mute")])
            continue
        best = pooled["best"][metric]
        low, high = best["difference"]["ci"]
        tint = "good" if low > 0 else "bad" if high < 0 else "warn"
        base = pooled["baselines"][best["baseline"]][metric]["value"]
        mine = _with_interval(pooled[OURS][metric])
        rows.append([head, mine, Markup("{} <span class=small>{}</span>").format(f"{base:.4f}", best["baseline"]),
                     tinted(_with_interval(best["difference"], "+"), tint), tinted(words, tint)])  # fmt: skip
    ours, best_one = {"en": "ours", "zh": "本模型"}, {"en": "best baseline", "zh": "最佳基线"}
    columns: list[Text] = [
        metric_name(metric),
        ours,
        best_one,
        {"en": "better by", "zh": "领先"},
        {"en": "verdict", "zh": "结论"},
    ]
    return table(columns, rows, words=[4])


def _pooled(heads: Mapping[str, Result]) -> list[Markup]:
    metrics = shown_metrics(heads)
    rows: list[list[object]] = []
    strong = []
    for head, one in heads.items():
        pooled = one["pooled"]
        if "too_few" in pooled:
            continue
        strong.append(len(rows))
        rows.append([head, *(_two_lines(pooled[OURS].get(m)) for m in metrics)])
        if told := where(one)["en"]:
            there = (_two_lines(pooled["compared"][OURS].get(m)) for m in metrics)
            rows.append([spoken({"en": f"{head}{told}", "zh": f"{head}{where(one)['zh']}"}), *there])
        for name, values in pooled["baselines"].items():
            mine = (_against(pooled, name, m, values.get(m)) for m in metrics)
            rows.append([Markup("&emsp;{}").format(name), *mine])
    green = {
        "en": "Ours in bold with its interval. Green: the baseline is better than ours in this metric.",
        "zh": "粗体为本模型及区间；绿色表示该基线在此指标上优于本模型。",
    }
    return [table(["", *(metric_name(m) for m in metrics)], rows, strong=strong), note(green)]


def _against(pooled: Result, name: str, metric: str, value: Mapping[str, Any] | None) -> object:
    if value is None:
        return None
    best = pooled["best"].get(metric)
    wins = metric not in NOT_COMPARED and best and best["baseline"] == name and best["difference"]["value"] < 0
    text = f"{value['value']:.4g}"
    return tinted(text, "good") if wins else text


def _segments(heads: Mapping[str, Result], metric: str) -> list[Text | Markup]:
    told: list[Text | Markup] = []
    columns: list[Text] = ["", {"en": "rows", "zh": "行数"}, {"en": "happened", "zh": "实际"},
                           {"en": "promised", "zh": "预测"}, metric_name(metric),
                           {"en": "better by", "zh": "领先"}]  # fmt: skip
    for head, one in heads.items():
        rows: list[list[object]] = []
        for segment, parts in one["by_segment"].items():
            for part, found in parts.items():
                name = Markup("{} <b>{}</b>").format(spoken(SEGMENTS.get(segment, segment)), part)
                if "too_few" in found:
                    rows.append([name, found["rows"], None, None, tinted(found["too_few"], "mute"), None])
                    continue
                ours, best = found[OURS], found["best"].get(metric)
                base = ours.get("base_rate") or ours.get("mean_truth")
                tint = "mute" if not best else _tint(best["difference"]["ci"])
                gap = None if not best else tinted(_with_interval(best["difference"], "+"), tint)
                rows.append([name, found["rows"], base["value"], ours["mean_prediction"]["value"],
                             _with_interval(ours[metric]), gap])  # fmt: skip
        if rows:
            told.append(Markup("<h3>{}</h3>").format(head))
            told.append(table(columns, rows))
    if not told:
        told.append({"en": "The events tell of no segments.", "zh": "数据中没有可用的细分信息。"})
    return told


def _lists(lists: Sequence[Mapping[str, Any]]) -> Markup:
    """NDCG of the lists of ten at each origin, beside the baselines' lists."""
    heads = {head: one for at in lists for head, one in at.items() if head != "origin"}
    names = list(dict.fromkeys(name for one in heads.values() for name in one["baselines"]))
    rows: list[list[object]] = []
    for at in lists:
        for head in heads:
            ours, others = at[head]["ours"], at[head]["baselines"]
            told = [_with_interval(ours[name]) if name in ours else None for name in ("ndcg@10", "recall@10")]
            rows.append([at["origin"][:10], head, *told, *(others.get(name, {}).get("ndcg@10") for name in names)])
    columns: list[Text] = [{"en": "origin", "zh": "时点"}, "", "NDCG@10", "recall@10", *(f"NDCG@10 {n}" for n in names)]
    return table(columns, rows)


def _log(log: Mapping[str, Any]) -> Markup:
    rows: list[list[object]] = []
    for one in log["origins"]:
        fits = one.get("families") or {}
        learned = "; ".join(f"{name} {fit['rows']:,}" for name, fit in fits.items() if "rows" in fit)
        ends = sorted(str(fit["last_label_end"])[:10] for fit in fits.values() if "last_label_end" in fit)
        gone = (one.get("left_out") or {}).items()
        out = {lang: "; ".join(f"{name}: {why[lang]}" for name, why in gone) for lang in ("en", "zh")} if gone else ""
        rows.append([one["origin"][:10], learned, ends[-1] if ends else "", f"{one.get('seconds', 0):.1f}",
                     "✓" if one["cached"] else "", out])  # fmt: skip
    columns: list[Text] = [{"en": "origin", "zh": "时点"}, {"en": "rows learned from", "zh": "学习行数"},
                           {"en": "last label end", "zh": "最后标签结束"},
                           {"en": "seconds", "zh": "秒"}, {"en": "kept", "zh": "缓存"},
                           {"en": "left out", "zh": "未纳入"}]  # fmt: skip
    return table(columns, rows, words=[1, 5])


def _won(heads: Mapping[str, Result], metric: str) -> str:
    told = [one["pooled"]["best"][metric] for one in heads.values() if metric in one["pooled"].get("best", {})]
    return f"{sum(one['difference']['ci'][0] > 0 for one in told)} / {len(told)}"


def _tint(interval: list[float]) -> str:
    return "good" if interval[0] > 0 else "bad" if interval[1] < 0 else "warn"


def _two_lines(one: Mapping[str, Any] | None) -> Markup | None:
    if one is None:
        return None
    low, high = one["ci"]
    return Markup("{}<br><span class=small>{}–{}</span>").format(f"{one['value']:.4g}", f"{low:.3g}", f"{high:.3g}")


def _with_interval(one: Mapping[str, Any], sign: str = "") -> str:
    low, high = one["ci"]
    return f"{one['value']:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"
