"""``userops benchmark serving``: our service beside the plain way, the same models, one after the other on loopback.

Each is asked the same questions by the same load generator on the same machine: nothing at all (the floor), the churn
of one user and of many with three reasons, and the next best offer of 50 and of 200 candidates. Twice: with the models
of the release in force, and with every booster replaced by one of 300 trees x 63 leaves on the same columns.
"""

from __future__ import annotations

import platform
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from configs import Config
from configs.databases import embedded
from features.store import Store
from serving.benchmark_load import Load, drive, get, post
from serving.benchmark_stage import PLAIN, Service, lay_home, lay_large, lay_plain, served, shop_of
from serving.benchmark_stores import measured_stores, told

__all__ = ["QUICK", "Size", "benchmark_serving"]

Progress = Callable[[str, float], None]

SATURATED = 16  # connections
TAIL = f"nbo_50_shipped_c{SATURATED}_p99_over_p50"
REASONS = {"level": "reason_codes", "top_n": 3, "lang": "en"}
CONTEXT = {"channel": "app", "placement": "home"}


@dataclass(frozen=True)
class Size:
    """How much is asked; tests ask little."""

    seconds: float = 4.0
    many: int = 500
    candidates: tuple[int, ...] = (50, 200)
    models: tuple[str, ...] = ("shipped", "large")
    trees: int = 300
    leaves: int = 63


QUICK = Size(seconds=0.5, many=50, candidates=(50,), models=("shipped",))
#: What the shipped models are to reach.
GOALS = {
    "nbo_50_shipped_c1_p50_ms": ("<=", 6.0),
    "nbo_50_shipped_c1_p99_ms": ("<=", 15.0),
    "churn_1_shipped_c1_p50_ms": ("<=", 2.5),
    "churn_1_shipped_c1_p99_ms": ("<=", 8.0),
    "ours_vs_plain_nbo_rps": (">=", 8.0),
    TAIL: ("<=", 4.0),
}


def benchmark_serving(
    config: Config,
    progress: Progress | None = None,
    *,
    users: Sequence[str] | None = None,
    size: Size | None = None,
    stores: str = "configured",
) -> dict[str, Any]:
    """Requests per second and milliseconds of ours and of the plain way; ratios above 1 mean ours is better.

    ``stores``: see `serving.benchmark_stores`; the plain way keeps its features and its log in SQLite.

    Metrics are named ``<question>_<models>_c<connections>_<what>``. Without a release in ``config.home`` a small demo
    shop is walked first; ``users`` are those of the newest snapshot by default.
    """
    show = progress or (lambda message, fraction: None)
    size = size or Size()
    started = time.monotonic()
    config.home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-", dir=config.home)))
        walked = shop_of(config, folder, show)
        if walked is not config:
            stack.enter_context(embedded())  # a shop of its own does not read the stores of whoever measures
            config = walked
        kept = stack.enter_context(measured_stores(config, stores))
        users, config = _users(config, users)
        questions = _Questions(config, users, size)
        found = _Found(config.serving.workers)
        for number, models in enumerate(size.models):
            home = folder / models
            show(f"laying out {models} models", 0.1 + 0.4 * number)
            if models == "large":
                lay_large(config.home, home, size.trees, size.leaves)
            else:
                lay_home(config.home, home)
            show(f"ours, {models} models", 0.2 + 0.4 * number)
            at = {"USEROPS_HOME": str(home), "USEROPS_NOW": str(config.now and config.now.isoformat()), **kept}
            with served("serving.service:UserOps", home, "/readyz", **at) as ours:
                found.service(models, ours)
                found.measure("ours", models, ours, questions.ours(ours), size.seconds)
            plain = lay_plain(home, config, users, questions.offers)
            show(f"the plain way, {models} models", 0.4 + 0.4 * number)
            target = "serving.benchmark_plain_service:Plain"
            with served(target, plain, "/readyz", **at, **{PLAIN: str(plain)}) as service:
                found.measure("plain", models, service, questions.plain(), size.seconds)
    return {
        "benchmark": "serving",
        "metrics": found.metrics,
        "baselines": {"plain": found.plain},
        "ratios": (ratios := found.ratios(size)),
        "goals": found.goals(ratios),
        "settings": {
            "stores": told(kept),
            "seconds_each": size.seconds,
            "users": len(users),
            "workers": config.serving.workers,
            "large": f"{size.trees} trees x {size.leaves} leaves",
            "stages_ms": found.stages,
            "not_asked": questions.not_asked,
        },
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in ("bentoml", "feast", "lightgbm", "shap")},
        },
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _users(config: Config, users: Sequence[str] | None) -> tuple[list[str], Config]:
    """Users to ask about, and the clock at which their features are fresh."""
    if users is not None:
        return list(users), config
    import pyarrow.parquet as parquet

    from features.periods import now
    from features.snapshots import newest

    at, path = newest(config, "user", now(config))
    ids = parquet.read_table(path, columns=["user_id"])["user_id"].to_pylist()
    rows = np.random.default_rng(config.seed).permutation(len(ids))[:2000]
    return [ids[row] for row in rows], replace(config, now=config.now or at + timedelta(hours=1))


@dataclass(frozen=True)
class _Question:
    """Requests that are asked in turn, and on how many connections."""

    name: str
    requests: list[bytes]
    connections: tuple[int, ...]


class _Questions:
    """What both services are asked."""

    def __init__(self, config: Config, users: Sequence[str], size: Size) -> None:
        self.users, self.size = users, size
        self.many = min(size.many, config.serving.max_users, len(users))
        random = np.random.default_rng(config.seed)
        try:
            items = list(Store(config).assortment().item_ids)
            self.not_asked: str | None = None
        except Exception as error:
            items, self.not_asked = [], f"next-best-offer: {error}"
        self.offers: list[dict[str, Any]] = [
            {
                "offer_id": f"offer-{number}",
                "value": round(float(random.uniform(5, 50)), 2),
                "cost": round(float(random.uniform(0, 1)), 2),
                "attributes": {"item_id": items[int(random.integers(len(items)))]},
            }
            for number in range(max(size.candidates) if items else 0)
        ]

    def ours(self, service: Service) -> list[_Question]:
        """The questions in our contract's words."""
        explain = {"explain": REASONS}
        asked = [
            _Question("nothing", [get("/livez")], (1, SATURATED)),
            _Question(
                "churn_1", [post(_CHURN, {"user_ids": [user], **explain}) for user in self.users], (1, SATURATED)
            ),
            _Question(
                f"churn_{self.many}", [post(_CHURN, {"user_ids": list(self.users[: self.many]), **explain})], (1,)
            ),
        ]
        for count in self.size.candidates if self.offers else ():
            offers = self.offers[:count]
            more = {"context": CONTEXT, "candidates": offers, "limit": 3, **explain}
            requests = [post(_NBO, {"user_id": user, **more}) for user in self.users]
            asked.append(_Question(f"nbo_{count}", requests, (1, SATURATED)))
        return asked

    def plain(self) -> list[_Question]:
        """The same in the plain way's words."""
        asked = [
            _Question("nothing", [post("/nothing", {})], (1, SATURATED)),
            _Question("churn_1", [post("/churn", {"user_ids": [user]}) for user in self.users], (1, SATURATED)),
            _Question(f"churn_{self.many}", [post("/churn", {"user_ids": list(self.users[: self.many])})], (1,)),
        ]
        for count in self.size.candidates if self.offers else ():
            more = {"context": CONTEXT, "candidates": self.offers[:count], "limit": 3}
            requests = [post("/offer", {"user_id": user, **more}) for user in self.users]
            asked.append(_Question(f"nbo_{count}", requests, (1, SATURATED)))
        return asked


_CHURN, _NBO = "/v1/score/churn", "/v1/next-best-offer"


class _Found:
    """What was measured so far."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.metrics: dict[str, Any] = {}
        self.plain: dict[str, float] = {}
        self.stages: dict[str, dict[str, float]] = {}

    def service(self, models: str, service: Service) -> None:
        """How soon it was ready, and what memory it takes."""
        for name, value in (("ready_seconds", service.ready_seconds), ("memory_mb", service.memory_mb())):
            self.metrics[f"{name}_{models}"] = {"value": value, "ci": [value, value]}

    def measure(self, who: str, models: str, service: Service, asked: Sequence[_Question], seconds: float) -> None:
        """Ask everything on every number of connections."""
        for question in asked:
            for connections in question.connections:
                warm = 1 if question.connections == (1,) else max(3, connections)
                load = drive(
                    service.port,
                    question.requests,
                    connections=connections,
                    seconds=seconds,
                    least=warm + 1,
                    warm=warm,
                    workers=service.workers(self.workers),
                )
                name = f"{question.name}_{models}_c{connections}"
                if who == "ours":
                    self._ours(name, load)
                else:
                    self.plain |= {f"{name}_rps": load.rps, f"{name}_p50_ms": load.quantile_ms(0.5)[0]}
                    self.plain[f"{name}_p99_ms"] = load.quantile_ms(0.99)[0]

    def _ours(self, name: str, load: Load) -> None:
        self.metrics[f"{name}_rps"] = {"value": load.rps, "ci": list(load.rps_interval())}
        for label, q in (("p50_ms", 0.5), ("p99_ms", 0.99)):
            value, *interval = load.quantile_ms(q)
            self.metrics[f"{name}_{label}"] = {"value": value, "ci": interval}
        share = load.failed / len(load.taken_ms)
        self.metrics[f"{name}_failed"] = {"value": share, "ci": [share, share]}
        if stages := load.stages_ms():
            self.stages[name] = stages

    def goals(self, ratios: Mapping[str, float]) -> dict[str, dict[str, Any]]:
        """What was wanted, what was seen, and whether that holds; what was not asked is absent."""
        seen = {**{name: one["value"] for name, one in self.metrics.items()}, **ratios}
        p50, p99 = (seen.get(TAIL.replace("p99_over_p50", label)) for label in ("p50_ms", "p99_ms"))
        if p50 and p99:
            seen[TAIL] = p99 / p50
        return {
            name: {"seen": seen[name], "goal": f"{sense} {bound:g}", "held": _holds(seen[name], sense, bound)}
            for name, (sense, bound) in GOALS.items()
            if name in seen
        }

    def ratios(self, size: Size) -> dict[str, float]:
        """Ours over the plain way: requests per second at saturation, users per second in bulk."""
        ours = {name: one["value"] for name, one in self.metrics.items()}
        found: dict[str, float] = {}
        for models in size.models:
            suffix = "" if models == "shipped" else f"_{models}"
            pairs: dict[str, Callable[[Mapping[str, float]], float]] = {}
            for count in size.candidates:
                named = "nbo" if count == min(size.candidates) else f"nbo_{count}"
                pairs[f"ours_vs_plain_{named}_rps{suffix}"] = _rps(f"nbo_{count}_{models}_c{SATURATED}")
            pairs[f"ours_vs_plain_churn_rps{suffix}"] = _rps(f"churn_1_{models}_c{SATURATED}")
            many = next(name for name in ours if name.startswith("churn_") and name.endswith(f"_{models}_c1_rps")
                        and not name.startswith("churn_1_"))  # fmt: skip
            pairs[f"ours_vs_plain_bulk{suffix}"] = _rps(many.removesuffix("_rps"))
            for name, rps in pairs.items():
                if not np.isnan(rps(ours)) and not np.isnan(rps(self.plain)):
                    found[name] = rps(ours) / rps(self.plain)
        return found


def _rps(name: str) -> Callable[[Mapping[str, float]], float]:
    return lambda measured: measured.get(f"{name}_rps", float("nan"))


def _holds(seen: float, sense: str, bound: float) -> bool:
    return seen <= bound if sense == "<=" else seen >= bound
