"""``userops benchmark uplift``: is it worth choosing whom to write to? Judged on Hillstrom's three-arm e-mail test.

64,000 customers drew no e-mail, one about men's goods or one about women's, a third each. Learners see 70 % of them;
policies are judged on the rest by what the people did whom chance gave the policy's arm. P(arm) is the share of all who
drew it. A model is said to beat the constant policies only when the interval of the paired difference to every one of
them lies above 0, and as several models try, the intervals of that test are as much wider (Bonferroni).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from configs import Config
from configs.errors import ConfigError
from training.evaluate import Interval
from training.qini import Curve, bootstrap_means, policy_contributions, uplift_metrics
from training.uplift import DEFAULTS, LEARNERS, TREES, fit_uplift

__all__ = ["benchmark_uplift", "judge_policies"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]

CONTROL = "No E-Mail"
ARMS = {CONTROL: "no_email", "Mens E-Mail": "mens_email_to_all", "Womens E-Mail": "womens_email_to_all"}
CALLED = {
    "no_email": {"en": '"no e-mail"', "zh": "“不发邮件”"},
    "mens_email_to_all": {"en": '"men\'s e-mail to everyone"', "zh": "“向所有人发送男装邮件”"},
    "womens_email_to_all": {"en": '"women\'s e-mail to everyone"', "zh": "“向所有人发送女装邮件”"},
}
COLUMNS = ("recency", "history", "mens", "womens", "newbie", "zip_code", "channel", "segment", "conversion")
OUTCOME = "conversion"
# Of 19,200 people: intervals move in their third digit with more.
RESAMPLES = 1000
CURVE_RESAMPLES = 200


def benchmark_uplift(config: Config, data: Path, progress: Progress | None = None) -> dict[str, Any]:
    """S-, T- and X-learner beside the constant policies, on conversion in percent.

    Returns
    -------
    dict
        ``metrics``: ``<learner>.policy_value`` and, per arm, ``<learner>.<arm>.qini``, ``auuc``, ``uplift@10``, ...;
        ``<learner>_minus_<policy>`` the paired differences; all in percent with 95 % intervals. ``baselines``: the
        constant policies, with intervals. ``verdict``: one sentence in English and Chinese.
    """
    show = progress or (lambda message, fraction: None)
    started = time.monotonic()
    frame = read_hillstrom(data)
    train, test = train_test_split(
        frame, test_size=0.3, random_state=42, stratify=frame["segment"] + "_" + frame[OUTCOME].astype(str)
    )
    x, y, arm = _features(test), test[OUTCOME].to_numpy(float) * 100, test["segment"].to_numpy(str)
    policies = {name: np.full(len(test), code) for code, name in ARMS.items()}
    curves: dict[str, Curve] = {}
    for k, learner in enumerate(LEARNERS):
        show(f"{learner}-learner", 0.1 + 0.2 * k)
        fitted = fit_uplift(
            _features(train),
            train["segment"].to_numpy(str),
            train[OUTCOME].to_numpy(float),
            control=CONTROL,
            learner=learner,
            seed=config.seed,
            threads=config.threads,
        )
        policies[f"{learner}_learner"] = fitted.choose(x)
        for name, uplift in zip(fitted.arms, fitted.predict(x).T, strict=True):
            # Whoever drew the other arm tells nothing of this one.
            asked = np.isin(arm, (CONTROL, name))
            curve = Curve.of(uplift[asked], (arm[asked] == name).astype(float), y[asked])
            curves[f"{learner}_learner.{name.split()[0].lower()}"] = curve
    show("resampling", 0.75)
    drawn = frame["segment"].value_counts(normalize=True)
    odds = drawn.loc[arm].to_numpy(float)
    judged = judge_policies(y, arm, policies, odds, list(ARMS.values()), CALLED, config.seed)
    arms = {name.rsplit(".", 1)[1] for name in curves}
    found: dict[str, Interval] = {}
    for one in sorted(arms):
        found |= uplift_metrics(
            {k: v for k, v in curves.items() if k.endswith(f".{one}")}, CURVE_RESAMPLES, config.seed
        )
    metrics = judged["metrics"] | {name: interval.as_json() for name, interval in found.items()}
    best = max(numbers["policy_value"] for numbers in judged["baselines"].values())
    return {
        "benchmark": "uplift",
        "n": len(test),
        "metrics": metrics,
        "baselines": judged["baselines"],
        "ratios": {
            f"ours_vs_best_constant.{one}_learner": metrics[f"{one}_learner.policy_value"]["value"] / best
            for one in LEARNERS
        },
        "verdict": judged["verdict"],
        "settings": {
            "data": data.name,
            "outcome": f"{OUTCOME}, percent",
            "split": "70/30, random_state 42, stratified on arm and conversion",
            "estimator": "mean of y 1[arm = policy(x)] / P(arm)",
            "probability_of_arms": {name: float(drawn[name]) for name in ARMS},
            "shares_treated": judged["shares"],
            "lightgbm": DEFAULTS,
            "trees": TREES,
            "resamples": {"policies": RESAMPLES, "curves": CURVE_RESAMPLES},
        },
        "versions": {name: version(name) for name in ("userops", "lightgbm", "scikit-learn", "numpy")},
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def judge_policies(
    outcome: Floats,
    arm: NDArray[np.str_],
    policies: Mapping[str, NDArray[np.str_]],
    probability: Floats | float,
    constants: Sequence[str],
    called: Mapping[str, Mapping[str, str]],
    seed: int,
) -> dict[str, Any]:
    """The value of each policy, paired differences to the ``constants``, and a verdict that claims nothing more.

    Parameters
    ----------
    outcome, arm, probability
        Of the judged people, shape (n,); ``probability`` is that of the arm each drew.
    policies
        The arm that each policy chooses for each person; those not among ``constants`` are models.
    called
        What the verdict calls each constant policy, in ``en`` and ``zh``.
    """
    names = list(policies)
    columns = [policy_contributions(outcome, arm, policies[name], probability) for name in names]
    value = dict(zip(names, (float(column.mean()) for column in columns), strict=True))
    drawn = dict(zip(names, bootstrap_means(columns, RESAMPLES, seed).T, strict=True))
    models = [name for name in names if name not in constants]
    tail = 2.5 / len(models)
    metrics = {f"{name}.policy_value": _json(value[name], drawn[name]) for name in models}
    beats, loses = [], []
    best = max(constants, key=value.__getitem__)
    for name in models:
        differences = {other: drawn[name] - drawn[other] for other in constants}
        for other, difference in differences.items():
            metrics[f"{name}_minus_{other}"] = _json(value[name] - value[other], difference)
        if all(np.percentile(difference, tail) > 0 for difference in differences.values()):
            beats.append(name)
        if np.percentile(differences[best], 100 - tail) < 0:
            loses.append(name)
    return {
        "metrics": metrics,
        "baselines": {
            name: {"policy_value": value[name], **_bounds("policy_value", drawn[name])} for name in constants
        },
        "verdict": _verdict(beats, loses, best, called),
        "shares": {
            name: {code: float((policies[name] == code).mean()) for code in np.unique(policies[name]).tolist()}
            for name in models
        },
    }


def read_hillstrom(data: Path) -> pd.DataFrame:
    """The table of the e-mail test; a file that is something else is refused."""
    try:
        frame = pd.read_csv(data)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ConfigError(f"{data} cannot be read", got=str(error), expected="hillstrom.csv") from None
    if missing := sorted(set(COLUMNS) - set(frame.columns)):
        raise ConfigError(f"{data}: columns are missing", got=list(frame.columns), expected=missing)
    if set(frame["segment"]) != set(ARMS):
        raise ConfigError(f"{data}: segment", got=sorted(set(map(str, frame["segment"])))[:5], expected=sorted(ARMS))
    return frame


def _features(frame: pd.DataFrame) -> Floats:
    plain = frame[["recency", "history", "mens", "womens", "newbie"]].to_numpy(float)
    flags = [
        (frame[column] == value).to_numpy(float)
        for column, values in (("zip_code", ("Rural", "Surburban", "Urban")), ("channel", ("Phone", "Web")))
        for value in values
    ]
    return np.column_stack([plain, *flags])


def _json(value: float, drawn: Floats) -> dict[str, Any]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high)).as_json()


def _bounds(name: str, drawn: Floats) -> dict[str, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {f"{name}.low": float(low), f"{name}.high": float(high)}


def _verdict(
    beats: Sequence[str], loses: Sequence[str], best: str, called: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    en, zh = called[best]["en"], called[best]["zh"]
    if beats:
        which = ", ".join(beats)
        return {
            "en": f"{which} beats {en}: the interval of the paired difference lies above 0.",
            "zh": f"{which} 优于{zh}：配对差值的置信区间在 0 以上。",
        }
    worse = {
        "en": f" {', '.join(loses)} is worse: that interval lies below 0." if loses else "",
        "zh": f"{'、'.join(loses)} 更差：该区间在 0 以下。" if loses else "",
    }
    return {
        "en": f"No model beats {en}: no interval of a paired difference lies above 0. Use the constant policy."
        + worse["en"],
        "zh": f"没有模型优于{zh}：配对差值的置信区间均未高于 0。请采用这一固定策略。" + worse["zh"],
    }
