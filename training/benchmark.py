"""``userops benchmark repurchase``: the pipeline of ``userops train``, judged on a public yardstick.

One setting for every data set: origins every sixth of the horizon (at least weekly) back to 780 days, horizons at one,
two, four and six sixths. Whatever is learned ends at the observation date: every training label's window is over by
then, and the level's forecast sees nothing after it.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from configs import Config, OriginsConfig
from configs.databases import embedded
from configs.errors import TrainingError
from features.catalog import NAMES
from features.events import span
from features.ingest import ingest
from training.baselines import baselines
from training.dataset import assemble
from training.evaluate import evaluate, metrics_of
from training.models import DEFAULTS, fit, raw_scores
from training.splits import origins_before
from training.stack import Family, stack

__all__ = ["benchmark_repurchase", "family_of", "first_of_mature", "ingested", "rule_of"]

Progress = Callable[[str, float], None]

LOOK_BACK_DAYS = 780


@contextmanager
def ingested(config: Config, source: str | Path, data: Path, show: Progress) -> Iterator[Config]:
    """A home of its own that holds the data, inside the given one; gone with the block, and in no shared store."""
    config.home.mkdir(parents=True, exist_ok=True)
    with embedded(), tempfile.TemporaryDirectory(prefix="benchmark-", dir=config.home) as home:
        config = replace(config, home=Path(home))
        show("ingesting", 0.02)
        ingest(config, source, data)
        yield config


def first_of_mature(config: Config, observe_until: datetime, horizon_days: float) -> datetime:
    """The first event, once it is sure that the last one lies beyond ``observe_until + horizon``."""
    first_event, last_event = span(config)
    ends = observe_until + timedelta(days=horizon_days)
    if ends > last_event + timedelta(days=1):
        raise TrainingError(
            "the data end before the horizon does",
            got=f"{last_event:%Y-%m-%d}",
            expected=f"events until {ends:%Y-%m-%d}",
            run="choose an earlier --observe-until or fewer --horizon-days",
        )
    return first_event


def benchmark_repurchase(
    config: Config,
    source: str | Path,
    data: Path,
    observe_until: datetime,
    horizon_days: float,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Will this customer buy again in ``(observe_until, observe_until + horizon]``? Everybody who bought before counts.

    Returns
    -------
    dict
        ``metrics`` with 95 % intervals from resampled users, the same numbers of each baseline, ratios of log-losses
        (above 1: ours is better), settings, versions, seconds, peak memory.
    """
    show = progress or (lambda message, fraction: None)
    started = time.monotonic()
    with ingested(config, source, data, show) as config:
        first_event = first_of_mature(config, observe_until, horizon_days)
        family, rule = family_of(horizon_days), rule_of(horizon_days)
        origins = origins_before(rule, observe_until, first_event)
        found = assemble(config, (*origins, observe_until), lambda m, fraction: show(m, 0.1 + 0.5 * fraction))
        show("learning", 0.65)
        past = found.frame[found.frame["as_of"] < observe_until]
        present = found.at([observe_until])
        rows = stack(past, family, NAMES, observe_until)
        today = stack(present, family, NAMES, None)
        fitted = fit(rows, today, family, NAMES, found.first_day, config.seed, config.threads)
    show("judging", 0.95)
    judged = stack(present, family, NAMES, observe_until + timedelta(days=horizon_days), [horizon_days])
    probability = fitted.probability(judged.x, horizon_days)
    metrics = evaluate(judged.y, probability, judged.user, raw_scores(fitted.booster, judged.x), seed=config.seed)
    learned = rows.where(rows.horizon == horizon_days)
    others = {
        name: metrics_of(judged.y, p) for name, p in baselines(family, horizon_days, learned, judged, NAMES).items()
    }
    ours = metrics["log_loss"].value
    return {
        "benchmark": "repurchase",
        "n": len(judged),
        "metrics": {name: interval.as_json() for name, interval in metrics.items()},
        "baselines": others,
        "ratios": {f"ours_vs_{name}": numbers["log_loss"] / ours for name, numbers in others.items()},
        "settings": _settings(source, observe_until, horizon_days, origins, fitted.log),
        "versions": {name: version(name) for name in ("userops", "lightgbm", "scikit-learn", "duckdb", "feast")},
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def family_of(horizon_days: float) -> Family:
    """What one booster learns: a purchase within one, two, four and six sixths of the horizon."""
    horizons = sorted({float(max(1, round(horizon_days * part / 6))) for part in (1, 2, 4)} | {float(horizon_days)})
    rule = {"rule": [{"feature": "orders_life", "min": 1}]}
    return Family("repurchase", "bought", rule, ("p_repurchase",), tuple(horizons))


def rule_of(horizon_days: float) -> OriginsConfig:
    """Which past instants a benchmark learns from: every sixth of the horizon, at least weekly apart."""
    every = max(7, round(horizon_days / 6))
    return OriginsConfig(every, LOOK_BACK_DAYS // every, int(min(60, horizon_days)))


def _settings(
    source: str | Path, observe_until: datetime, horizon_days: float, origins: list[datetime], log: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "source": str(source),
        "observe_until": observe_until.isoformat(),
        "horizon_days": horizon_days,
        "origins": [f"{origin:%Y-%m-%d}" for origin in origins],
        "lightgbm": DEFAULTS,
        "fit": dict(log),
    }
