"""``userops benchmark value``: what will each customer spend, judged on a public yardstick.

Origins and horizons are those of ``userops benchmark repurchase``; everything learned ends at the observation date. Two
forecasts are reported, and which is which is never mixed: ``expected``, the mean, whose total has a meaning, and
``typical``, the middle of each customer's distribution, which is 0 for whoever is more likely not to buy and which
the mean absolute error rewards. Beside them BG/NBD with Gamma-Gamma, "the same as in the last period", and nothing.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import Config, configs_folder, read_yaml
from features.catalog import NAMES
from serving.scoring.value.tiers import TierRules, Tiers, read_rules
from training.benchmark import family_of, first_of_mature, ingested, rule_of
from training.dataset import TrainingSet, assemble
from training.splits import origins_before
from training.stack import Rows, stack
from training.value.baselines import BASELINES, forecast_baselines
from training.value.fit import FittedValue, fit_value
from training.value.measures import MEASURES, spend_metrics
from training.value.spend import Spend
from training.value.tiers import moved_since, realised

__all__ = ["benchmark_value", "say_verdict"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]

RESAMPLES = 300
CALLED = {
    "expected": {"en": "expected spend", "zh": "期望消费"},
    "typical": {"en": "typical spend", "zh": "典型消费"},
    "bg_nbd_gamma_gamma": {"en": "BG/NBD with Gamma-Gamma", "zh": "BG/NBD 加 Gamma-Gamma"},
    "repeat_last_period": {"en": "the last period", "zh": "上一周期"},
}


def benchmark_value(
    config: Config,
    source: str | Path,
    data: Path,
    observe_until: datetime,
    horizon_days: float,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Judge forecasts of what everybody who bought before spends in ``(observe_until, observe_until + horizon]``.

    Returns
    -------
    dict
        ``metrics``: each measure of ``expected`` and, as ``typical.<measure>``, of the typical spend, and paired
        differences ``expected_vs_<baseline>.<measure>`` and ``typical_vs_<baseline>.<measure>``, above 0 where ours is
        better; with 95 % intervals from resampled users. ``baselines`` with their intervals, ``ratios`` of absolute
        errors, ``verdict``, and ``tiers``: what each did, and how customers moved since the horizon before.
    """
    show = progress or (lambda message, fraction: None)
    started = time.monotonic()
    rules = read_rules(read_yaml(configs_folder() / "tiers.yaml"), "tiers.yaml")
    with ingested(config, source, data, show) as config:
        first_event = first_of_mature(config, observe_until, horizon_days)
        family = family_of(horizon_days)
        origins = origins_before(rule_of(horizon_days), observe_until, first_event)
        found = assemble(config, (*origins, observe_until), lambda m, fraction: show(m, 0.1 + 0.4 * fraction))
        spend = Spend.read(config)
    show("learning", 0.55)
    past = found.frame[found.frame["as_of"] < observe_until]
    rows = stack(past, family, NAMES, observe_until)
    amount = spend.between(rows.user, rows.start, rows.end)
    today = stack(found.at([observe_until]), family, NAMES, None)
    fitted = fit_value(rows, amount, today, family, NAMES, found.first_day, config.seed, config.threads)
    show("judging", 0.9)
    judged = today.where(today.horizon == horizon_days)
    truth = spend.between(judged.user, judged.start, judged.end)
    others = forecast_baselines(judged, NAMES, spend, horizon_days)
    forecasts = {
        "expected": fitted.expected(judged.x, horizon_days),
        "typical": fitted.quantile(judged.x, horizon_days),
        **others,
        "nothing": np.zeros(len(judged)),
    }
    against = {f"{ours}_vs_{other}": f"{ours} {other}" for ours in ("expected", "typical") for other in BASELINES}
    measured = spend_metrics(truth, forecasts, against, RESAMPLES, config.seed)
    metrics = {one: measured["expected"][one].as_json() for one in MEASURES}
    for name in ("typical", *against):
        metrics |= {f"{name}.{one}": measured[name][one].as_json() for one in MEASURES}
    high = fitted.quantile(judged.x, horizon_days, 0.9)
    metrics["share_below_90_percent_quantile"] = {"value": float((truth <= high).mean()), "ci": None}
    metrics["mean_truth"] = {"value": float(truth.mean()), "ci": None}
    return {
        "benchmark": "value",
        "n": len(judged),
        "metrics": metrics,
        "baselines": {
            name: {key: v for one in MEASURES for key, v in _numbers(one, measured[name][one].as_json()).items()}
            for name in (*BASELINES, "nothing")
        },
        "ratios": {
            f"{ours}_vs_{name}": measured[name]["mae"].value / measured[short]["mae"].value
            for ours, short in (("ours", "expected"), ("typical", "typical"))
            for name in BASELINES
        },
        "verdict": say_verdict(metrics, against),
        "tiers": _tiers(rules, fitted, found, origins, observe_until, judged, truth, horizon_days),
        "settings": {
            "source": str(source),
            "observe_until": observe_until.isoformat(),
            "horizon_days": horizon_days,
            "origins": [f"{origin:%Y-%m-%d}" for origin in origins],
            "amounts": "purchases, before returns",
            "fit": fitted.log,
        },
        "versions": {name: version(name) for name in ("userops", "lightgbm", "scikit-learn", "duckdb", "feast")},
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def say_verdict(metrics: Mapping[str, Mapping[str, Any]], against: Mapping[str, str]) -> dict[str, str]:
    """One clause per comparison in English and Chinese: better or worse only where the interval says so.

    Examples
    --------
    >>> signs = {"mae": [1, 2], "bias": [-2, -1], "spearman": [-1, 1], "capture@10": [0, 1]}
    >>> metrics = {f"a.{name}": {"ci": interval} for name, interval in signs.items()}
    >>> say_verdict(metrics, {"a": "expected repeat_last_period"})["en"]
    'expected spend against the last period: better in mae; worse in bias; no difference shown in spearman, capture@10.'
    """
    said: dict[str, list[str]] = {"en": [], "zh": []}
    words = {
        "en": (" against ", ": ", "better in ", "worse in ", "no difference shown in ", ", ", "; "),
        "zh": ("对比", "：", "更好：", "更差：", "未见差异：", "、", "；"),
    }
    for name, pair in against.items():
        bounds = {one: metrics[f"{name}.{one}"]["ci"] for one in MEASURES}
        better = [one for one, (low, _) in bounds.items() if low > 0]
        worse = [one for one, (_, high) in bounds.items() if high < 0]
        alike = [one for one in MEASURES if one not in better + worse]
        ours, other = (CALLED[one] for one in pair.split())
        for lang, (versus, colon, *kinds, comma, stop) in words.items():
            parts = [k + comma.join(found) for k, found in zip(kinds, (better, worse, alike), strict=True) if found]
            said[lang].append(ours[lang] + versus + other[lang] + colon + stop.join(parts))
    return {"en": ". ".join(said["en"]) + ".", "zh": "。".join(said["zh"]) + "。"}


def _tiers(
    rules: TierRules,
    fitted: FittedValue,
    found: TrainingSet,
    origins: Sequence[datetime],
    observe_until: datetime,
    judged: Rows,
    truth: Floats,
    horizon_days: float,
) -> dict[str, Any]:
    """What the tiers of ``observe_until`` did, and how customers have moved between tiers since an earlier origin."""
    now = fitted.expected(judged.x, horizon_days)
    tiers = Tiers.fit(rules, now)
    tier = tiers.of(now, judged.x[:, NAMES.index(rules.recency)])
    before = min(origins, key=lambda origin: abs(observe_until - origin - timedelta(days=horizon_days)))
    return {
        "rules": tiers.as_json(),
        "realised": realised(tier, truth),
        "since": f"{before:%Y-%m-%d}",
        "moves": moved_since(before, tiers, fitted, found, judged, tier),
    }


def _numbers(name: str, content: Mapping[str, Any]) -> dict[str, float]:
    low, high = content["ci"]
    return {name: content["value"], f"{name}.low": low, f"{name}.high": high}
