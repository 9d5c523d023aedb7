"""P003: one feature alone reaches the full score: it leaks, or a rule would do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.catalog import NAMES
from training.checks.clustered import Estimate, auroc, clustered
from training.checks.outcome import Check, Found
from training.monitor.counts import cut

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

Floats = NDArray[np.float64]

# A model that orders users better by less than this is not worth its keep.
WORTH = 0.01
FALSE_ALARMS = 0.05


def look(subject: Subject) -> Found:
    """Learn rates by the parts of one feature, choose the best on the rows learned from, and judge it beside the model.

    It reaches the full score when the model's AUROC is higher by less than 0.01 for certain: the whole interval of the
    paired difference at the judged origin lies below it.
    """
    alpha = FALSE_ALARMS / max(len(subject.learned), 1)
    asked = [_beside(subject, head, alpha) for head in subject.learned]
    found = [one for one in asked if one is not None]
    evidence: dict[str, Any] = {"origin": subject.judged_at.isoformat(), "worth": WORTH, "heads": found}
    if not found:
        words = {"en": "No head was judged at the last origin.", "zh": "最近的起点没有可评估的目标。"}
        return Found("not_applicable", words, evidence)
    reached = [one for one in found if one["difference"]["ci"][1] < WORTH]
    unsure = [one for one in found if one["difference"]["ci"][0] <= 0 and one not in reached]
    step = {
        "en": "If the feature may know the future, see P001; if it is sound, a rule on it will do, or say under "
        "ignored_checks of the model's YAML why the model is kept.",
        "zh": "若该特征可能含有未来信息，请看P001；若特征无误，可直接用规则，或在模型YAML的ignored_checks中说明理由。",
    }
    if reached:
        words = {
            "en": f"{_said(reached, 'en')}: the model adds less than {WORTH:g} of AUROC for certain.",
            "zh": f"{_said(reached, 'zh')}：可以确定模型带来的AUROC提升不足{WORTH:g}。",
        }
        return Found("issue", words, evidence, step)
    if unsure:
        words = {
            "en": f"{_said(unsure, 'en')}: too few users to tell the model from the feature.",
            "zh": f"{_said(unsure, 'zh')}：用户太少，无法区分模型与该特征。",
        }
        return Found("tip", words, evidence, step)
    closest = min(found, key=lambda one: one["difference"]["value"])
    words = {
        "en": f"Every head orders users better than its best single feature; closest: {_said([closest], 'en')}.",
        "zh": f"每个目标都明显优于其最强单特征；最接近的是：{_said([closest], 'zh')}。",
    }
    return Found("passed", words, evidence)


def _beside(subject: Subject, head: str, alpha: float) -> dict[str, Any] | None:
    """The best feature of a head and the model, on the users that both were asked about."""
    frame = subject.forecasts.of(head)
    model = frame[frame["as_of"] == subject.judged_at].set_index("user_id")["raw"]
    known, judged = subject.learned[head], subject.judged[head]
    rows = judged.where(np.isin(judged.user.astype(str), model.index.to_numpy(str)))
    if len(rows) == 0:
        return None
    learn = (known.y > 0).astype(float)
    rates = [_rates(values, learn) for values in known.x[:, : len(NAMES)].T]
    own = [auroc(learn, rate(known.x[:, k]), known.user)[0].value for k, rate in enumerate(rates)]
    best = int(np.argmax(own))
    single, by_single = auroc(rows.y, rates[best](rows.x[:, best]), rows.user)
    whole, by_model = auroc(rows.y, model.loc[rows.user.astype(str)].to_numpy(float), rows.user)
    freedom = min(single.freedom, whole.freedom)
    difference: Estimate = clustered(whole.value - single.value, by_model - by_single, rows.user, freedom)
    return {
        "head": head,
        "feature": NAMES[best],
        "feature_auroc": single.value,
        "model_auroc": whole.value,
        "difference": difference.as_json(alpha),
    }


def _rates(values: Floats, label: Floats) -> Callable[[Floats], Floats]:
    """The rate of the label in each twentieth of a feature, and where it is absent; drawn to the mean by one row."""
    edges = cut(values)

    def part(asked: Floats) -> NDArray[np.intp]:
        return np.where(np.isnan(asked), len(edges) + 1, np.searchsorted(edges, asked))

    codes = part(values)
    rows, seen = np.bincount(codes, minlength=len(edges) + 2), np.bincount(codes, label, len(edges) + 2)
    rate = (seen + label.mean()) / (rows + 1)
    return lambda asked: np.asarray(rate[part(asked)], dtype=np.float64)


def _said(found: Sequence[dict[str, Any]], lang: str) -> str:
    words = {
        "en": "{head}: {feature} alone {alone:.3f}, the model {model:.3f}",
        "zh": "{head}：仅{feature}为{alone:.3f}，模型为{model:.3f}",
    }
    parts = [
        words[lang].format(
            head=one["head"], feature=one["feature"], alone=one["feature_auroc"], model=one["model_auroc"]
        )
        for one in found
    ]
    return ("; " if lang == "en" else "；").join(parts)


CHECK = Check(
    "P003",
    {"en": "one feature reaches the full score", "zh": "单个特征即达到全部效果"},
    "warning",
    look,
    kinds=("users", "value"),
    otherwise={
        "en": "Pairs of users and items have no features of the catalogue; P004 holds the model against single counts.",
        "zh": "用户与商品的配对不使用特征目录；P004已将模型与单一计数的基线比较。",
    },
)
