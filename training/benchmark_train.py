"""``userops benchmark train``: churn on a simulated shop, the way of ``userops train`` beside the plain way.

Ours learns from every past origin, joined point in time, one booster for all horizons, calibrated for the day that is
asked about. The plain way is a capable user's: of each horizon the newest origin whose labels are known, LightGBM's
classifier as it comes, calibrated by scikit-learn's cross-validation. Both are given the same 86 features by the same
code, and the time that takes counts. Judged on what followed a later day; nobody can beat ``best_possible``, the shop's
own probabilities given the same events.
"""

from __future__ import annotations

import resource
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import Config, ModelConfig, model_of
from configs.databases import embedded
from features.catalog import NAMES
from features.events import span
from features.ingest import ingest
from features.periods import as_utc
from features.simulate import Shop, simulate, true_probability
from training.dataset import TrainingSet, assemble
from training.evaluate import Scored
from training.judge import horizons_of, question
from training.models import learn
from training.resample import resample
from training.splits import Split, split_at
from training.stack import Family, Rows, families, stack

__all__ = ["benchmark_train"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]
END = as_utc("2026-06-01")
FOLDS = 5


@dataclass(frozen=True)
class _Made:
    """What one way foresees of the judged rows by horizon, and what it took."""

    probability: dict[float, Floats]
    features_seconds: float
    learning_seconds: float

    @property
    def seconds(self) -> float:
        return self.features_seconds + self.learning_seconds


def benchmark_train(
    config: Config, progress: Progress | None = None, *, users: int = 6_000, days: int = 420
) -> dict[str, Any]:
    """Seconds to a calibrated model, features included, and its log-loss on what followed a later day.

    Log-losses and AUROC are those of all horizons together, with 95 % intervals from resampled users; ``gain_vs_plain``
    is the paired difference of log-losses, above 0 where ours is better.
    """
    show = progress or (lambda message, fraction: None)
    started = time.monotonic()
    model = model_of(config, "churn")
    (family,) = families(model)
    (config.home / "tmp").mkdir(parents=True, exist_ok=True)
    with embedded(), tempfile.TemporaryDirectory(prefix="benchmark-", dir=config.home / "tmp") as scratch:
        folder = Path(scratch)
        show("simulating a shop (not measured)", 0.0)
        simulate(folder / "shop", Shop(users=users, days=days, end=END))
        homes = {way: replace(config, home=folder / way, now=END) for way in ("ours", "plain")}
        for home in homes.values():
            ingest(home, "shop", folder / "shop")
        split = split_at(model.origins, horizons_of(model), *span(homes["ours"]))
        show("ours", 0.3)
        ours, judged = _ours(homes["ours"], model, family, split)
        show("the plain way", 0.8)
        plain = _plain(homes["plain"], family, split)
        truth = {h: _truth(folder / "shop", rows, split.judge, h) for h, rows in judged.items()}
    chances = {"ours": ours.probability, "plain": plain.probability, "best_possible": truth}
    label = np.concatenate([rows.y for rows in judged.values()])
    user = np.concatenate([rows.user for rows in judged.values()])
    told = {way: np.concatenate([chance[h] for h in judged]) for way, chance in chances.items()}
    told["base_rate"] = np.concatenate([np.full(len(rows), rows.y.mean()) for rows in judged.values()])
    found = resample({way: Scored(label, p).metrics for way, p in told.items()}, user, seed=config.seed)
    taken = {"ours": ours, "plain": plain}
    return {
        "benchmark": "train",
        "metrics": {
            **{name: found.interval("ours", name).as_json() for name in ("log_loss", "auroc", "ece")},
            "gain_vs_plain": found.difference("ours", "plain", "log_loss").as_json(),
            **{name: {"value": value, "ci": None} for name, value in _times(ours).items()},
        },
        "baselines": {
            way: {
                **{name: found.point[way][name] for name in ("log_loss", "auroc", "ece")},
                **(_times(taken[way]) if way in taken else {}),
            }
            for way in ("plain", "best_possible", "base_rate")
        },
        "ratios": {
            "ours_vs_plain": found.point["plain"]["log_loss"] / found.point["ours"]["log_loss"],
            "ours_vs_plain_seconds": plain.seconds / ours.seconds,
        },
        "settings": {
            "shop": {"users": users, "days": days, "end": f"{END:%Y-%m-%d}"},
            "judged_on": f"{split.judge:%Y-%m-%d}",
            "judged_rows": {f"{h:g}": len(rows) for h, rows in judged.items()},
            "origins": len([at for at in split.origins if at < split.judge]),
            "plain": f"LGBMClassifier() in CalibratedClassifierCV(cv={FOLDS}), one per horizon",
            "threads": config.threads,
        },
        "versions": {name: version(name) for name in ("userops", "lightgbm", "scikit-learn", "duckdb", "feast")},
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _times(made: _Made) -> Mapping[str, float]:
    return {
        "seconds": made.seconds,
        "features_seconds": made.features_seconds,
        "learning_seconds": made.learning_seconds,
    }


def _ours(config: Config, model: ModelConfig, family: Family, split: Split) -> tuple[_Made, dict[float, Rows]]:
    """What `training.judge` does, with a clock beside it; and the rows that everybody is judged by."""
    began = time.perf_counter()
    data = assemble(config, [at for at in split.origins if at <= split.judge])
    built = time.perf_counter()
    asked = question(model, data, family, split.judge, split.known_until, config.seed)
    fitted = learn(asked.prepared, config.threads, model.lightgbm)
    judged = {h: _judged(data, family, split, h) for h in family.horizons}
    probability = {h: fitted.probability(rows.x, h) for h, rows in judged.items()}
    return _Made(probability, built - began, time.perf_counter() - built), judged


def _judged(data: TrainingSet, family: Family, split: Split, horizon: float) -> Rows:
    return stack(data.at([split.judge]), family, NAMES, split.known_until, [horizon])


def _plain(config: Config, family: Family, split: Split) -> _Made:
    """One classifier per horizon, learned at the newest origin whose labels are known on the judged day."""
    from lightgbm import LGBMClassifier
    from sklearn.calibration import CalibratedClassifierCV

    began = time.perf_counter()
    origins = {h: split.judge - timedelta(days=h) for h in family.horizons}
    data = assemble(config, [*origins.values(), split.judge])
    built = time.perf_counter()
    probability = {}
    for horizon, origin in origins.items():
        past = stack(data.at([origin]), family, NAMES, split.judge, [horizon])
        classifier = LGBMClassifier(verbosity=-1, n_jobs=config.threads, random_state=config.seed)
        calibrated = CalibratedClassifierCV(classifier, cv=FOLDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wrapper invents names of columns and then misses them
            calibrated.fit(past.x[:, : len(NAMES)], past.y.astype(int))
            asked = _judged(data, family, split, horizon).x[:, : len(NAMES)]
            probability[horizon] = np.asarray(calibrated.predict_proba(asked)[:, 1], dtype=np.float64)
    return _Made(probability, built - began, time.perf_counter() - built)


def _truth(shop: Path, rows: Rows, at: datetime, horizon: float) -> Floats:
    """The shop's own probabilities of these rows."""
    known = true_probability(shop, at, "inactive", horizon).set_index("user_id")["p"]
    return np.asarray(known.loc[list(rows.user)], dtype=np.float64)
