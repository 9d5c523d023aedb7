"""What a version is and how good, in words: for MLflow's pages. Reviewers read more on its desk (`training.desk`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.report import TrainReport

__all__ = ["card_markdown"]

# The measures worth a line in words, the first ones first; a model has some of them.
TOLD = ("ndcg@10", "recall@10", "mae", "bias", "spearman", "capture@10", "log_loss", "auroc", "lift@10", "ece")
MOST_TOLD = 4
SMALLER_IS_BETTER = ("log_loss", "brier", "ece", "mae")
# Of no baseline can it be said to be best in what it says of the data.
OF_THE_DATA = ("mean_prediction", "base_rate", "buyers")


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
        *(f"Left out: {what}: {why['en']}" for what, why in report.left_out.items()),
        f"See `report.html` and `plots/` under Artifacts; `evaluation.json` and `evidence.json` hold every number. "
        f"Ask it with `mlflow.pyfunc.load_model('models:/{name}/{version}').predict(frame)`; "
        f"let it serve with `userops promote {name} && userops release`.",
        "",
        f"**{name} 第 {version} 版**：{purpose['zh']}。以 {report.judged_on} 为截止日训练，用其后发生的事实检验；"
        f"注册的版本用截至 {until} 的全部已知标签重新训练。详见 `report.html`。",
    ]
    return "\n".join(lines)


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
