"""Do the best parameters of a search beat the defaults? Asked at later origins that the search never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.resample import Interval, Measure, resample
from training.resample import gain as gain_of
from training.search.exam import Answers

__all__ = ["BETTER", "HANDED_ON", "Decision", "kept", "paired_gain", "verdict"]

Floats = NDArray[np.float64]

RESAMPLES = 1000
BETTER, HANDED_ON = "better", "handed on"


@dataclass(frozen=True)
class Decision:
    """``lightgbm`` is what the model is trained with from here on; ``words`` say why, by language.

    ``outcome``: ``better`` (the winner is used), ``noise``, ``defaults`` (no trial beat them), ``none`` (no search) or
    ``handed on`` (no search now: the champion's parameters come from one).
    """

    outcome: str
    lightgbm: dict[str, Any]
    words: dict[str, str]
    evidence: dict[str, Any] = field(default_factory=dict)


def kept(lightgbm: Mapping[str, Any], en: str, zh: str, evidence: Mapping[str, Any] | None = None) -> Decision:
    """The decision where nothing could be searched, with the reason."""
    words = {"en": f"defaults kept: {en}", "zh": f"保留默认参数：{zh}"}
    return Decision("none", dict(lightgbm), words, {"trials": 0, **(evidence or {}), "outcome": "none", "words": words})


def verdict(
    lightgbm: Mapping[str, Any], best: Mapping[str, Any], evidence: Mapping[str, Any], gain: Interval | None
) -> Decision:
    """The decision of a search; ``gain`` is that on later origins, None when no trial beat the defaults."""
    outcome = "defaults" if gain is None else BETTER if gain.low > 0 else "noise"
    words = _words(evidence, gain, outcome == BETTER)
    chosen = {**lightgbm, **(best if outcome == BETTER else {})}
    numbers = {"outcome": outcome, "gain": None if gain is None else gain.as_json(), "words": words}
    return Decision(outcome, chosen, words, {**evidence, **numbers})


def paired_gain(
    defaults: Sequence[Answers], others: Sequence[Answers], measure: str, seed: int, tests: int = 1
) -> Interval:
    """By how much ``others`` are better than ``defaults``, in the mean over origins and heads; users are drawn again.

    A user stands at several origins, in several heads: who is drawn is drawn with all of it.

    Parameters
    ----------
    defaults, others
        Answers to the same questions, one per origin.
    measure
        What the values are: `training.resample` knows which are better when lower.
    tests
        How many winners were asked at these origins, this one included: the interval's level is 1 - 0.05 / ``tests``.

    Examples
    --------
    >>> users, losses = {"p": np.arange(200)}, np.random.default_rng(0).uniform(size=200)
    >>> gain = paired_gain([Answers(users, {"p": losses})], [Answers(users, {"p": losses - 0.1})], "log_loss", 0)
    >>> round(gain.low, 6), round(gain.high, 6)
    (0.1, 0.1)
    """
    groups = [(k, head) for k, one in enumerate(defaults) for head in one.values]
    users = np.concatenate([np.asarray(defaults[k].users[head]) for k, head in groups])
    group = np.repeat(np.arange(len(groups)), [len(defaults[k].values[head]) for k, head in groups])

    def measured(answers: Sequence[Answers]) -> Measure:
        values = np.concatenate([answers[k].values[head] for k, head in groups])

        def mean(weight: Floats | None) -> dict[str, float]:
            w = np.ones(len(values)) if weight is None else weight
            return {measure: float((np.bincount(group, w * values) / np.bincount(group, w)).mean())}

        return mean

    drawn = resample({"defaults": measured(defaults), "others": measured(others)}, users, RESAMPLES, seed)
    draws = gain_of(measure, drawn.draws["others"][measure], drawn.draws["defaults"][measure])
    low, high = np.nanpercentile(draws, [2.5 / tests, 100 - 2.5 / tests])
    return Interval(drawn.difference("others", "defaults", measure).value, float(low), float(high))


def _words(evidence: Mapping[str, Any], gain: Interval | None, better: bool) -> dict[str, str]:
    trials, origins = evidence["trials"], len(evidence["searched_on"])
    if gain is None:
        return {
            "en": f"{trials} trials: none beat the defaults on the {origins} origins of the search; defaults kept",
            "zh": f"共{trials}次试验：在搜索所用的{origins}个时点上没有一次优于默认参数，保留默认参数",
        }
    measure, found, tests = evidence["measure"], f"{evidence['found']:.4f}", evidence.get("tests", 1)
    level = f"{100 - 5 / tests:.4g} %"
    interval = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] ({level})"
    spoilt = not evidence.get("gate_spared", True)
    until = str(evidence.get("touched_until"))[:10]
    return {
        "en": f"{trials} trials: the best beats the defaults by {found} ({measure}) on the {origins} origins "
        f"of the search, by {interval} on later ones that the search never saw"
        + (f", by which {tests} winners were tested so far: " if tests > 1 else ": ")
        + ("it is used" if better else "that is noise, defaults kept")
        + (f"; labels until {until} were used, and the gate looks at some of them again" if spoilt else ""),
        "zh": f"共{trials}次试验：最优参数在搜索所用的{origins}个时点上比默认参数好{found}（{measure}），"
        f"在搜索未见过的更晚时点上好{interval}"
        + (f"，这些时点至今已检验过{tests}组胜者：" if tests > 1 else "：")
        + ("采用该参数" if better else "属于噪声，保留默认参数")
        + (f"；搜索用到了截至{until}的标签，晋级评审会再次用到其中一部分" if spoilt else ""),
    }
