"""``userops benchmark bulk``: everybody's scores, ours beside LightGBM's own ``predict`` and ``pred_contrib``.

Ours is the whole of ``userops score --out``: Parquet read, cohorts, wishes, calibration, percentiles, three exact
reasons with their sentences, Parquet on the disk. LightGBM's is the scores and contributions alone, of rows that lie
ready in memory, on as many cores. Three models of 300 trees x 63 leaves; with a release also its own models, and a
whole run of ten million scores of users and categories, from which that of 152 million is estimated.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from configs import Config
from configs.databases import embedded
from features.catalog import NAMES, digest
from serving.benchmark_bulk_stage import lay_large_models, lay_people
from serving.bulk.run import MODELS, score_everybody
from serving.scoring import Bundle, Model, current
from serving.scoring.value.model import ValueModel

__all__ = ["benchmark_bulk"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]

REASONS = 3
PLANNED = {"scores": 152_000_000, "users": 4_000_000}  # what one batch of the plan holds


def benchmark_bulk(
    config: Config,
    progress: Progress | None = None,
    *,
    trees: int = 300,
    leaves: int = 63,
    users: int = 20_480,
    explained: int = 400,
    people: tuple[int, int] = (100_000, 1_000_000),
    scores: int = 10_000_000,
    turns: int = 3,
) -> dict[str, Any]:
    """Users per second with three reasons and without, ours and LightGBM's; memory at two sizes; the whole run.

    Parameters
    ----------
    trees, leaves, users, explained
        Of the three large models: how many users ours scores, and of how many LightGBM gives contributions.
    people
        At how many users memory is measured, each in a process of its own.
    scores
        Of users and categories in the whole run.
    """
    began = time.monotonic()
    show = progress or (lambda what, fraction: None)
    found: dict[str, Any] = {"metrics": {}, "baselines": {"lightgbm": {}}, "ratios": {}, "settings": {}}
    (config.home / "tmp").mkdir(parents=True, exist_ok=True)
    # Wishes are read where decisions are logged: not in a log that others write meanwhile.
    with embedded(), tempfile.TemporaryDirectory(prefix="bulk-", dir=config.home / "tmp") as name:
        folder = Path(name)
        show("growing three large models", 0.02)
        boosters = lay_large_models(folder / "large", config.seed, trees, leaves, users)
        large = replace(config, home=folder / "large", now=None)
        x = _matrix(next((folder / "large" / "features" / "user").glob("*.parquet")))
        show("three large models", 0.1)
        asked = lambda most, _: [(one, x[:most]) for one in boosters.values()]  # noqa: E731
        _compare(found, large, "", list(boosters), asked, explained, turns)
        if (config.home / "releases" / "current").exists():
            show("copying users", 0.3)
            _released(found, config, folder, explained, people, scores, turns, show)
    found["settings"] |= {"trees": trees, "leaves": leaves, "users": users, "reasons": REASONS, "turns": turns}
    found["settings"] |= {"threads": config.threads, "explained_by_lightgbm": explained, "planned": PLANNED}
    return {
        "benchmark": "bulk",
        **found,
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in ("lightgbm", "llvmlite", "numba", "numpy", "pyarrow")},
        },
        "seconds": time.monotonic() - began,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _released(
    found: dict[str, Any],
    config: Config,
    folder: Path,
    explained: int,
    people: tuple[int, int],
    scores: int,
    turns: int,
    show: Progress,
) -> None:
    """The models of the release: beside LightGBM, memory at two sizes, and the whole run."""
    few, many = people
    shop = replace(config, home=folder / "few")
    lay_people(config, shop.home, few)
    bundle = Bundle.load(current(shop.home / "releases"), digest())
    own = {name: model for name, model in bundle.models.items() if name in MODELS}
    show("the models of the release", 0.35)
    first = Path(next((shop.home / "features" / "user").glob("*.parquet")))
    shipped = replace(config, home=folder / "shipped")
    lay_people(config, shipped.home, min(few, 20_480))
    x = _matrix(first, min(few, 20_480))
    asked = lambda most, contributions: _questions(list(own.values()), x[:most], contributions)  # noqa: E731
    _compare(found, shipped, "_shipped", list(own), asked, explained, turns)
    show("memory of many users", 0.5)
    lay_people(config, folder / "many", many)
    for size, home in ((few, shop.home), (many, folder / "many")):
        told = _verb(home, ["churn", "--reasons", "0"], folder / f"out-{size}")
        found["metrics"][f"peak_mb_at_{size}_users"] = {"value": told["peak_mb"], "ci": None}
    if bundle.interest is None:
        return
    categories = len(bundle.interest.statistics["category"].items)
    lay_people(config, folder / "whole", -(-scores // categories))
    show(f"{scores:,} scores of users and categories", 0.6)
    began = time.monotonic()
    told = _verb(folder / "whole", ["interest"], folder / "out-whole")
    seconds, one = time.monotonic() - began, told["models"]["interest"]
    hours: dict[str, float] = {"interest": PLANNED["scores"] / one["rows"] * seconds / 3600}
    for name in own:
        rate = found["metrics"][f"users_per_second_reasons_{name}"]["value"]
        hours[name] = PLANNED["users"] / rate / 3600
    found["metrics"] |= {
        "whole_run_scores": {"value": one["rows"], "ci": None},
        "whole_run_seconds": {"value": seconds, "ci": None},
        "whole_run_scores_per_second": {"value": one["rows"] / seconds, "ci": None},
        "whole_run_peak_mb": {"value": told["peak_mb"], "ci": None},
        "whole_run_bytes_per_score": {"value": one["bytes"] / one["rows"], "ci": None},
        **{f"planned_hours_{name}": {"value": value, "ci": None} for name, value in hours.items()},
    }
    found["settings"] |= {"categories": categories, "people": list(people)}


def _compare(
    found: dict[str, Any],
    config: Config,
    suffix: str,
    models: list[str],
    asked: Callable[[int | None, bool], list[tuple[Any, Floats]]],
    explained: int,
    turns: int,
) -> None:
    """Users per second of all models together, in turns: ours as files, LightGBM's from memory.

    ``asked`` gives the boosters and rows that LightGBM is asked for the first so many users, for scores or for
    contributions.
    """
    rates: dict[str, list[float]] = {}
    each: dict[str, list[float]] = {}
    for _ in range(turns):
        for named, reasons in (("users_per_second_reasons", REASONS), ("users_per_second", 0)):
            with tempfile.TemporaryDirectory(dir=config.home) as out:
                told = score_everybody(config, Path(out) / "scores", models, reasons=reasons)["models"]
            users = next(iter(told.values()))["users"]
            rates.setdefault(named, []).append(users / sum(one["seconds"] for one in told.values()))
            for name, one in told.items():
                each.setdefault(f"{named}_{name}", []).append(one["users_per_s"])
        predict = _lightgbm(asked(None, False), config.threads) / users
        contrib = _lightgbm(asked(explained, True), config.threads, pred_contrib=True) / explained
        rates.setdefault("predict", []).append(1 / predict)
        rates.setdefault("contrib", []).append(1 / (predict + contrib))
    for named, way in (("users_per_second_reasons", "contrib"), ("users_per_second", "predict")):
        values = rates[named]
        found["metrics"][named + suffix] = {"value": statistics.median(values), "ci": [min(values), max(values)]}
        found["baselines"]["lightgbm"][named + suffix] = statistics.median(rates[way])
        ratio = statistics.median(values) / statistics.median(rates[way])
        found["ratios"][f"ours_vs_lightgbm_{way}{suffix}"] = ratio
    if suffix:
        found["metrics"] |= {name: {"value": statistics.median(values), "ci": None} for name, values in each.items()}


def _lightgbm(asked: list[tuple[Any, Floats]], threads: int, **how: bool) -> float:
    """Seconds for all questions."""
    began = time.perf_counter()
    for booster, x in asked:
        booster.predict(x, num_threads=threads, **how)
    return time.perf_counter() - began


def _questions(models: list[Model], x: Floats, contributions: bool) -> list[tuple[Any, Floats]]:
    """The boosters and rows that LightGBM would be asked for the same answers: those of a head's cohort, its horizon.

    The expected next order has no contributions.
    """
    asked = []
    for model in models:
        own = np.ascontiguousarray(x[:, model.columns(NAMES)])
        for head in model.heads.values():
            rows = own[model.in_cohort(own, head.name)]
            if model.meta["boosters"][head.booster].get("horizon_column"):
                rows = np.column_stack([rows, np.full(len(rows), head.horizon_days)])
            asked.append((model.boosters[head.booster], rows))
            if isinstance(model, ValueModel):
                asked.append((model.boosters[model.meta["amount"]["booster"]], rows))
        if (grid := model.meta.get("timing", {}).get("head_grid")) is not None and not contributions:
            rows = own[model.in_timing_cohort(own)]
            booster = model.boosters[grid["booster"]]
            asked += [(booster, np.column_stack([rows, np.full(len(rows), days)])) for days in grid["horizons_days"]]
    return asked


def _matrix(path: Path, most: int | None = None) -> Floats:
    table = pq.read_table(path, columns=list(NAMES))
    table = table if most is None else table.slice(0, most)
    return np.column_stack([table[name].to_numpy() for name in NAMES]).astype(np.float64)


def _verb(home: Path, words: list[str], out: Path) -> dict[str, Any]:
    """What ``userops score WORDS --out`` says of itself, in a process of its own."""
    file = out.with_suffix(".json")
    root = Path(__file__).parents[1]
    command = [sys.executable, str(root / "userops.py"), "score", *words, "--out", str(out), "--json", str(file)]
    environment = {**os.environ, "USEROPS_HOME": str(home)}
    subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True)
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return told
