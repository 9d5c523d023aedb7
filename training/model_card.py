"""What a version is and how good, in words, numbers and pictures: for MLflow's pages, and as one page of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from features.catalog import USER_FEATURES
from training.page import Section, note, page, svg, table
from training.report import TrainReport

__all__ = ["CAPTIONS", "card_markdown", "card_page"]

# The measures worth a line in words, the first ones first; a model has some of them.
TOLD = ("ndcg@10", "recall@10", "mae", "bias", "spearman", "capture@10", "log_loss", "auroc", "lift@10", "ece")
MOST_TOLD = 4
SMALLER_IS_BETTER = ("log_loss", "brier", "ece", "mae")
# Of no baseline can it be said to be best in what it says of the data.
OF_THE_DATA = ("mean_prediction", "base_rate", "buyers")
MOST_FEATURES = 20

CAPTIONS = {
    "calibration": {
        "en": "Ten groups of equal size: what was promised against what happened. On the diagonal, promises are kept.",
        "zh": "按预测值等分为十组：预测与实际的对比。落在对角线上说明概率可信。",
    },
    "gain": {
        "en": "Contact the best-scored share of people (across): how much of all is found (up)? Dotted: chance.",
        "zh": "按得分从高到低触达一定比例的人（横轴），能找到多少目标（纵轴）。点线为随机。",
    },
    "scores": {
        "en": "How predictions are spread over those with the label and those without: the less overlap, the better.",
        "zh": "有无该标签的人群各自的预测分布：重叠越少越好。",
    },
    "weights": {
        "en": "Which features move the prediction: share of the mean absolute SHAP value, exact, in log-odds.",
        "zh": "哪些特征在影响预测：精确 SHAP 绝对值均值的占比（对数几率）。",
    },
}


def card_markdown(report: TrainReport, purpose: Mapping[str, str], trained: str) -> str:
    """The words at the top of a run and of a version; ``trained`` says who did it, when and with which code."""
    name, version = report.model, report.version
    until = _known_until(report)
    lines = [
        f"**{name} version {version}**: {purpose['en']}. {trained}",
        "",
        f"Judged as of **{report.judged_on}**: fitted to what was known on that day, measured on what followed it. "
        f"What is registered is the same procedure, fitted to every label known until **{until}**.",
        "",
        "| | measure | model [95 %] | best baseline |",
        "|---|---|---|---|",
    ]
    for head, values in report.metrics.items():
        for measure in [one for one in TOLD if one in values][:MOST_TOLD]:
            best = _best(measure, report.baselines.get(head, {}))
            lines.append(f"| {head} | {measure} | {_written(values[measure])} | {best} |")
    lines += [
        "",
        *(f"Left out: {what}: {why}" for what, why in report.left_out.items()),
        f"See `model_card.html` and `plots/` under Artifacts; `evaluation.json` and `evidence.json` hold every number. "
        f"Ask it with `mlflow.pyfunc.load_model('models:/{name}/{version}').predict(frame)`; "
        f"let it serve with `userops promote {name} && userops release`.",
        "",
        f"**{name} 第 {version} 版**：{purpose['zh']}。以 {report.judged_on} 为截止日训练，用其后发生的事实检验；"
        f"注册的版本用截至 {until} 的全部已知标签重新训练。详见 `model_card.html`。",
    ]
    return "\n".join(lines)


def card_page(
    report: TrainReport,
    purpose: Mapping[str, str],
    trained: str,
    figures: Mapping[str, Figure],
    weights: pd.DataFrame,
) -> str:
    """The whole page; ``figures`` by the names of `CAPTIONS`, ``weights`` as `explain.weights` gives them."""
    split, data = report.evidence.get("split", {}), report.evidence.get("data", {})
    facts = [[key, str(value)] for key, value in {**data, **split}.items()]
    lead = {lang: f"{words}{'。' if lang == 'zh' else '.'} {trained}" for lang, words in purpose.items()}
    drawn = [svg(figure, CAPTIONS[name]) for name, figure in figures.items()]
    judged = {
        "en": f"Fitted to what was known on {report.judged_on}, measured on what followed. In brackets 95 % intervals; "
        "below each head the baselines, measured alike.",
        "zh": f"以 {report.judged_on} 为截止日训练，用其后发生的事实检验。方括号内为 95 % 区间；每个目标下方为基线。",
    }
    sections = [
        Section({"en": "How good", "zh": "效果"}, [judged, _numbers(report)]),
        Section({"en": "In pictures", "zh": "图示"}, drawn),
        Section({"en": "Heaviest features", "zh": "最重要的特征"}, [_features(weights)]),
        Section(
            {"en": "What it learned from", "zh": "训练数据"},
            [table(["", ""], facts, words=[1]), *(note(f"{what}: {why}") for what, why in report.left_out.items())],
        ),
    ]
    title = {"en": f"{report.model}, version {report.version}", "zh": f"{report.model} 第 {report.version} 版"}
    return page(title, lead, sections)


def _numbers(report: TrainReport) -> Any:
    """Measures across, heads and their baselines down."""
    measures = [name for name in TOLD if any(name in values for values in report.metrics.values())]
    rows: list[list[object]] = []
    strong = []
    for head, values in report.metrics.items():
        strong.append(len(rows))
        rows.append([head, *(_written(values[name]) if name in values else None for name in measures)])
        for baseline, numbers in report.baselines.get(head, {}).items():
            rows.append([f"– {baseline}", *(numbers.get(name) for name in measures)])
    return table(["", *measures], rows, strong=strong)


def _features(weights: pd.DataFrame) -> Any:
    meanings: dict[Any, Any] = {feature.name: feature.meaning for feature in USER_FEATURES}
    wide = weights.pivot(index="feature", columns="head", values="share")
    heads = list(dict.fromkeys(weights["head"]))
    best = wide.assign(mean=wide.mean(axis=1)).nlargest(MOST_FEATURES, "mean")
    rows = [[name, meanings.get(name, ""), *(f"{row[head]:.1%}" for head in heads)] for name, row in best.iterrows()]
    return table([{"en": "feature", "zh": "特征"}, {"en": "meaning", "zh": "含义"}, *heads], rows, words=[1])


def _known_until(report: TrainReport) -> str:
    split = report.evidence.get("split", {})
    return str(split.get("labels_known_until") or split.get("last_origin") or "?")[:10]


def _written(value: Mapping[str, Any]) -> str:
    ci = value["ci"]
    return f"{value['value']:.4f}" + (f" [{ci[0]:.4f}, {ci[1]:.4f}]" if ci else "")


def _best(measure: str, baselines: Mapping[str, Mapping[str, float]]) -> str:
    known = {name: numbers[measure] for name, numbers in baselines.items() if measure in numbers}
    known = {name: value for name, value in known.items() if value == value}
    if not known or measure in OF_THE_DATA:
        return ""
    if measure == "bias":
        name = min(known, key=lambda one: abs(known[one]))
    else:
        name = (min if measure in SMALLER_IS_BETTER else max)(known, key=lambda one: known[one])
    return f"{known[name]:.4f} ({name})"
