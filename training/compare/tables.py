"""A comparison in the terminal: metrics, where the two disagree, what weighs, who moves, what it costs."""

from __future__ import annotations

from configs.terminal import console, print_table
from training.compare.comparison import BASELINE, Comparison
from training.compare.report import HOW, spoken_verdict, words

__all__ = ["print_comparison"]

# Every heading once per language; {0} and {1} are the two versions.
HEADINGS = {
    "metrics": {"en": ["", "{0}", "{1}", "better by [95 %]", "the second is"],
                "zh": ["", "{0}", "{1}", "改进 [95 %]", "第二个版本"]},
    "parts": {"en": ["where they disagree", "rows", "first", "second", "truth", "loss first", "loss second"],
              "zh": ["分歧所在", "行数", "第一个", "第二个", "实际", "第一个的损失", "第二个的损失"]},
    "users": {"en": ["users apart", "head", "as of", "first", "second", "what followed"],
              "zh": ["分歧最大的用户", "输出", "起点", "第一个", "第二个", "实际"]},
    "weights": {"en": ["share in mean |SHAP|", "{0}", "{1}", "change"],
                "zh": ["在平均 |SHAP| 中的占比", "{0}", "{1}", "变化"]},
    "moves": {"en": ["percentiles today", "users", "mean move", "by more than 10", "rank correlation"],
              "zh": ["今日百分位", "用户", "平均移动", "超过 10 的占比", "秩相关"]},
    "cost": {"en": ["cost"], "zh": ["成本"]},
}  # fmt: skip
COSTS = {
    "bytes": {"en": "bytes", "zh": "字节"},
    "trees": {"en": "trees", "zh": "树"},
    "us_per_score": {"en": "µs per user, all heads", "zh": "每用户微秒（全部输出）"},
}
MOST = 6


def print_comparison(found: Comparison, decides: str, lang: str = "en") -> None:
    """The tables, then the verdict by the metric that ``decides``; ``lang`` is ``en`` or ``zh``."""
    titles = _titles(found, lang)

    def headings(name: str) -> list[str]:
        return [one.format(*titles) for one in HEADINGS[name][lang]]

    rows: list[list[object]] = []
    for head, pairs in found.heads.items():
        for metric, pair in pairs.items():
            d = pair.better
            cells = [f"{i.value:.4f} [{i.low:.4f}, {i.high:.4f}]" for i in (pair.first, pair.second)]
            better = f"{d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
            rows.append([f"{head} {metric}", *cells, better, words(pair.verdict)[lang]])
    origins = ", ".join(origin[:10] for origin in found.origins)
    title = {
        "en": f"{found.model}: {found.rows:,} forecasts at {origins}",
        "zh": f"{found.model}：起点 {origins}，共 {found.rows:,} 条预测",
    }
    print_table(title[lang], headings("metrics"), rows)
    for side, one in zip(titles, (found.first, found.second), strict=True):
        how = sorted({HOW[name][lang] for name in one["how"].values()})
        console.print(f"{side}: {'; '.join(how)}", markup=False, highlight=False)
    tables: dict[str, list[list[object]]] = {
        "parts": [
            [f"{one['head']} {one['segment']}={one['part']}", one["rows"], *one["mean"], one["truth"], *one["loss"]]
            for one in found.parts[:MOST]
        ],
        "users": [
            [one["user_id"], one.get("item", one["head"]), one["as_of"][:10], *one["p"], one["y"]]
            for one in found.users[:MOST]
        ],
        "weights": [
            [one["feature"], *(f"{100 * one[name]:.1f} %" for name in ("first", "second", "change"))]
            for one in found.weights[:8]
        ],
        "moves": [
            [head, one["users"], one["mean_move"], f"{100 * one['far']:.1f} %", one["rank_correlation"]]
            for head, one in found.moves.items()
        ],
    }
    for name, listed in tables.items():
        if listed:
            print_table("", headings(name), listed)
    if found.cost:
        costs: list[list[object]] = [
            [COSTS[name][lang], *(f"{one[name]:,.0f}" for one in found.cost.values())] for name in found.cost["second"]
        ]
        print_table("", [*headings("cost"), *titles[-len(found.cost) :]], costs)
    for one in found.notes:
        console.print(one[lang], markup=False, highlight=False)
    console.print(spoken_verdict(found, decides)[lang], markup=False, highlight=False)


def _titles(found: Comparison, lang: str) -> list[str]:
    if lang == "en":
        return list(found.titles)
    names = [str(one["version"]) for one in (found.first, found.second)]
    return ["基线" if name == BASELINE else f"第 {name} 版" for name in names]
