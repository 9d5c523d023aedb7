"""``userops benchmark bgnbd``: our BG/NBD, the baseline of repurchase and value, beside the ``lifetimes`` package's.

Customers are drawn from the model itself, so that the truth is known: what they buy in the 90 days that follow. Where
``lifetimes`` is installed its fit of the same customers stands beside ours; that both expect the same of a customer,
given the same parameters, is checked.
"""

from __future__ import annotations

import platform
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import astuple, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import Config
from configs.errors import TrainingError
from training.baselines import BgNbd

__all__ = ["Customers", "benchmark_bgnbd", "draw"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]
TRUTH = BgNbd(r=0.8, alpha=40.0, a=0.8, b=2.5)
HORIZON_DAYS = 90.0
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Customers:
    """Purchases after the first, days from it to the last and to today, purchases in `HORIZON_DAYS` from today."""

    repeats: Floats
    last: Floats
    age: Floats
    followed: Floats

    @property
    def history(self) -> tuple[Floats, Floats, Floats]:
        """What a fit may see."""
        return self.repeats, self.last, self.age


def draw(customers: int, seed: int) -> Customers:
    """So many customers who buy and drop out as `TRUTH` has it, in whole days; first seen 100 to 400 days ago."""
    rng = np.random.default_rng(seed)
    rate, drop = rng.gamma(TRUTH.r, 1 / TRUTH.alpha, customers), rng.beta(TRUTH.a, TRUTH.b, customers)
    age = np.floor(rng.uniform(100, 400, customers))
    repeats, last, followed, clock = (np.zeros(customers) for _ in range(4))
    alive = np.ones(customers, dtype=bool)
    while alive.any():
        clock = clock + rng.exponential(1 / rate)
        seen, soon = alive & (clock <= age), alive & (clock > age) & (clock <= age + HORIZON_DAYS)
        repeats[seen] += 1
        last[seen] = np.ceil(clock[seen])
        followed[soon] += 1
        # The coin is tossed after each purchase.
        alive = (seen | soon) & (rng.uniform(size=customers) >= drop)
    return Customers(repeats, last, age, followed)


def benchmark_bgnbd(config: Config, progress: Progress | None = None, *, customers: int = 20_000) -> dict[str, Any]:
    """Seconds to fit, and by how much the expected total of what followed is wrong; ratios above 1: ours is faster.

    Raises
    ------
    TrainingError
        When ``lifetimes`` expects something else of a customer, given the parameters that it found.
    """
    show = progress or (lambda message, fraction: None)
    started = time.monotonic()
    drawn = draw(customers, config.seed)
    show("ours", 0.2)
    ours, taken = _quickest(lambda: BgNbd.fit(*drawn.history))
    metrics = _measured(ours, drawn, taken)
    baselines = {"truth": {name: value for name, value in _measured(TRUTH, drawn, 0.0).items() if name != "seconds"}}
    ratios: dict[str, float] = {}
    settings: dict[str, Any] = {"customers": customers, "horizon_days": HORIZON_DAYS, "truth": astuple(TRUTH)}
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("userops", "numpy", "scipy")}}
    try:
        versions["lifetimes"] = version("lifetimes")
    except PackageNotFoundError:
        settings["lifetimes"] = "not measured: pip install lifetimes"
    else:
        show("lifetimes", 0.4)
        theirs, seconds = _lifetimes(drawn)
        baselines["lifetimes"] = _measured(theirs, drawn, seconds)
        ratios["ours_vs_lifetimes_seconds"] = seconds / taken
    return {
        "benchmark": "bgnbd",
        "metrics": {name: {"value": value, "ci": None} for name, value in metrics.items()},
        "baselines": baselines,
        "ratios": ratios,
        "settings": settings,
        "versions": versions,
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _quickest(fit: Callable[[], Any]) -> tuple[Any, float]:
    """What the fit gives, and the least seconds of three."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        fitted = fit()
        taken.append(time.perf_counter() - began)
    return fitted, min(taken)


def _measured(model: BgNbd, drawn: Customers, seconds: float) -> dict[str, float]:
    """What the model expects in all ÷ what followed - 1, and how far off it is per customer."""
    expected = model.expected(*drawn.history, HORIZON_DAYS)
    return {
        "seconds": seconds,
        "total_error": float(expected.sum() / drawn.followed.sum() - 1),
        "mae": float(np.abs(expected - drawn.followed).mean()),
        **{name: float(getattr(model, name)) for name in ("r", "alpha", "a", "b")},
    }


def _lifetimes(drawn: Customers) -> tuple[BgNbd, float]:
    """The parameters that the package finds, and the seconds it takes."""
    import pandas as pd
    from lifetimes import BetaGeoFitter  # type: ignore[import-not-found, import-untyped, unused-ignore]

    repeats, last, age = (pd.Series(column) for column in drawn.history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # logarithms of nothing on the way to the optimum
        fitter, seconds = _quickest(lambda: BetaGeoFitter().fit(repeats, last, age))
        theirs = np.asarray(
            fitter.conditional_expected_number_of_purchases_up_to_time(HORIZON_DAYS, repeats, last, age),
            dtype=np.float64,
        )
    found = BgNbd(*(float(fitter.params_[name]) for name in ("r", "alpha", "a", "b")))
    worst = float(np.abs(found.expected(*drawn.history, HORIZON_DAYS) - theirs).max())
    if not worst <= TOLERANCE:
        raise TrainingError("lifetimes expects other purchases of the same model", got=worst, expected=TOLERANCE)
    return found, seconds
