"""Tiny models, trained here, so that everything served in these tests went through the writers of a real release."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import lightgbm as lgb
import numpy as np
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from features import online, vectors
from features.catalog import NAMES
from features.catalog import digest as digest_of_catalogue
from serving.scoring import write_model, write_release
from serving.scoring.value.model import write_value

with warnings.catch_warnings():
    # bentoml 1.4.39 uses pathspec's GitWildMatchPattern and pydantic's old schema hook; once imported it is silent.
    warnings.simplefilter("ignore", DeprecationWarning)
    from serving import service

DIGEST = "sha256:" + "c0ffee" * 10 + "0000"
FEATURES = (
    "days_since_last_activity",
    "days_since_last_purchase",
    "orders_life",
    "orders_30d",
    "spend_90d",
    "views_7d",
    "gap_mean",
    "discount_share_90d",
)
CREATED_AT = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
HORIZONS = (7.0, 14.0, 30.0, 60.0, 90.0, 180.0)


def population(features: Sequence[str], n: int = 600, seed: int = 7) -> np.ndarray:
    """Vectors with a fifth of the values absent; the three columns that cohorts read are plausible."""
    who = np.random.default_rng(seed)  # drawn apart, so that a longer catalogue moves nobody to another cohort
    silent_days, bought = who.integers(0, 150, n), who.random(n) < 0.7
    since, orders = who.integers(0, 200, n), who.integers(1, 9, n)
    rng = np.random.default_rng(seed + 1)
    x = rng.gamma(1.5, 4.0, (n, len(features)))
    x[rng.random(x.shape) < 0.2] = np.nan
    place = {name: index for index, name in enumerate(features)}
    x[:, place["days_since_last_activity"]] = silent_days
    x[:, place["days_since_last_purchase"]] = np.where(bought, since, np.nan)
    x[:, place["orders_life"]] = np.where(bought, orders, 0.0)
    return x


@pytest.fixture(scope="session")
def vectors_of() -> Callable[..., np.ndarray]:
    """Plausible vectors: (features, n, seed) -> float64[n, f]."""
    return population


def train(
    x: np.ndarray, features: Sequence[str], *, falling: bool | None, horizons: Sequence[float] | None, seed: int = 1
) -> lgb.Booster:
    """A booster on a silent waiting time; with ``horizons`` one row per user and horizon, monotone along it."""
    rng = np.random.default_rng(seed)
    place = {name: index for index, name in enumerate(features)}
    recency = np.nan_to_num(x[:, place["days_since_last_activity"]], nan=100.0)
    waiting = rng.exponential(5.0 + recency)
    names, parameters = list(features), {"num_leaves": 7, "learning_rate": 0.2, "verbose": -1, "seed": 1}
    parameters |= {"num_threads": 1, "deterministic": True, "min_data_in_leaf": 10}
    if horizons is None:
        rows, label = x, waiting > 30.0
    else:
        rows = np.vstack([np.column_stack([x, np.full(len(x), days)]) for days in horizons])
        label = np.concatenate([(waiting > days) == falling for days in horizons])
        names.append("horizon_days")
        parameters["monotone_constraints"] = [0] * len(features) + [-1 if falling else 1]
    data = lgb.Dataset(rows, label.astype(float), feature_name=names)
    return lgb.train({"objective": "binary", **parameters}, data, num_boost_round=12)


def percentiles(raw: np.ndarray) -> list[float]:
    return np.quantile(raw, np.linspace(0.0, 1.0, 101)).tolist()


def head(booster: lgb.Booster, name: str, x: np.ndarray, days: float | None, cohort: str, intercept: float) -> dict:
    rows = x if days is None else np.column_stack([x, np.full(len(x), days)])
    return {
        "booster": name,
        "horizon_days": days,
        "cohort": cohort,
        "calibrator": {"kind": "sigmoid", "slope": 1.05, "intercept": intercept},
        "raw_percentiles": percentiles(np.asarray(booster.predict(rows, raw_score=True, num_threads=1))),
    }


COHORTS = {
    "active": {
        "meaning": {"en": "active in the last 90 days", "zh": "近90天有活动"},
        "rule": {"feature": "days_since_last_activity", "max": 90},
    },
    "bought": {
        "meaning": {"en": "bought at least once", "zh": "至少购买过一次"},
        "rule": {"feature": "days_since_last_purchase", "is_null": False},
    },
    "never_bought": {
        "meaning": {"en": "never bought", "zh": "尚未购买"},
        "rule": {"feature": "days_since_last_purchase", "is_null": True},
    },
}


@dataclass(frozen=True)
class Meta:
    """The documents and boosters of the models, before they are written."""

    churn: dict[str, Any]
    churn_boosters: dict[str, str]
    repurchase: dict[str, Any]
    repurchase_boosters: dict[str, str]
    value: dict[str, Any]
    value_boosters: dict[str, str]

    def write(self, folder: Path) -> dict[str, Path]:
        write_model(folder / "churn", self.churn, self.churn_boosters)
        write_model(folder / "repurchase", self.repurchase, self.repurchase_boosters)
        write_value(folder / "value", self.value, self.value_boosters)
        return {name: folder / name for name in ("churn", "repurchase", "value")}


SPEND_HORIZONS = (30.0, 90.0, 365.0)


def amounts(x: np.ndarray, features: Sequence[str], seed: int) -> lgb.Booster:
    """A booster of log-amounts that differ from customer to customer and rise with the horizon."""
    rng = np.random.default_rng(seed)
    own = 3 + 0.1 * np.nan_to_num(x[:, list(features).index("orders_life")]) + rng.normal(0, 0.5, len(x))
    rows = np.vstack([np.column_stack([x, np.full(len(x), days)]) for days in SPEND_HORIZONS])
    label = np.concatenate([own + 0.2 * np.log(days) for days in SPEND_HORIZONS])
    parameters = {"objective": "regression", "num_leaves": 7, "verbose": -1, "seed": seed, "num_threads": 1}
    parameters |= {"deterministic": True, "monotone_constraints": [0] * len(features) + [1]}
    return lgb.train(parameters, lgb.Dataset(rows, label, feature_name=[*features, "horizon_days"]), 12)


def value_of(purchase: lgb.Booster, x: np.ndarray, features: Sequence[str], seed: int) -> tuple[dict, dict[str, str]]:
    """What a value model says beside what all models say, and its boosters."""
    amount = amounts(x, features, seed)
    heads = {f"spend_{d:g}d": head(purchase, "purchase", x, d, "bought", d / 900) for d in SPEND_HORIZONS}
    for place, one in enumerate(heads.values()):
        rows = np.column_stack([x, np.full(len(x), one["horizon_days"])])
        odds = 1.05 * purchase.predict(rows, raw_score=True) + one["calibrator"]["intercept"]
        spend = np.exp(amount.predict(rows, raw_score=True) + 0.1 * place) / (1 + np.exp(-odds))
        one["spend_percentiles"] = percentiles(spend)
    rules = {"version": 1, "head": "spend_365d", "recency": "days_since_last_purchase", "core_share": 0.2}
    rules |= {"core_silence_days": 150.0, "dormant_silence_days": 90.0, "dormant_share": 0.5}
    meta = {
        "name": "value",
        "boosters": {name: {"horizon_column": True, "monotone": "increasing"} for name in ("purchase", "amount")},
        "heads": heads,
        "amount": {
            "booster": "amount",
            "constants": {name: 0.1 * place for place, name in enumerate(heads)},
            "ratios": np.linspace(-1, 1, 101).tolist(),
        },
        "tiers": {**rules, "core_spend": np.quantile(spend, 0.8), "dormant_spend": np.quantile(spend, 0.5)},
        "cold_start": dict(zip(heads, (20.0, 45.0, 90.0), strict=True)),
        "metrics": {"spend_30d": {"mae": {"value": 9.0, "ci": [8.0, 10.0]}}},
    }
    return meta, {"purchase": purchase.model_to_string(), "amount": amount.model_to_string()}


def make_meta(features: Sequence[str], digest: str, version: str, seed: int) -> Meta:
    x = population(features)
    inactive = train(x, features, falling=True, horizons=HORIZONS, seed=seed)
    repurchase = train(x, features, falling=False, horizons=HORIZONS, seed=seed)
    first = train(x, features, falling=None, horizons=None, seed=seed)
    common = {
        "version": version,
        "run_id": f"run{version}",
        "features": list(features),
        "catalogue_digest": digest,
        "maturity": "mature",
        "created_at": "2026-11-20T00:00:00Z",
        "metrics": {"auroc": {"value": 0.8, "low": 0.78, "high": 0.82}},
        "training": {"rows": len(x)},
        "cohorts": COHORTS,
    }
    churn = common | {
        "name": "churn",
        "boosters": {"inactive": {"horizon_column": True, "monotone": "decreasing"}},
        "heads": {
            f"p_inactive_{days}d": head(inactive, "inactive", x, float(days), "active", -0.03) for days in (14, 30, 60)
        },
        "cold_start": {"p_inactive_14d": 0.7, "p_inactive_30d": 0.61, "p_inactive_60d": 0.5},
    }
    again = {f"p_repurchase_{d}d": head(repurchase, "repurchase", x, float(d), "bought", d / 900) for d in (30, 90)}
    orders = {
        "name": "repurchase",
        "boosters": {"repurchase": {"horizon_column": True, "monotone": "increasing"}, "first": {}},
        "heads": again | {"p_first_order_30d": head(first, "first", x, None, "never_bought", 0.0)},
        "cold_start": {"p_repurchase_30d": 0.2, "p_repurchase_90d": 0.4, "p_first_order_30d": 0.1},
        "timing": {
            "head_grid": {
                "booster": "repurchase",
                "horizons_days": list(HORIZONS),
                "calibrator": {"kind": "sigmoid", "slope": 1.05, "intercept": 0.05},
            },
            "cohort": "bought",
        },
    }
    value, value_boosters = value_of(repurchase, x, features, seed)
    return Meta(
        churn,
        {"inactive": inactive.model_to_string()},
        common | orders,
        {"repurchase": repurchase.model_to_string(), "first": first.model_to_string()},
        common | value,
        value_boosters,
    )


@pytest.fixture(scope="session")
def digest() -> str:
    return DIGEST


@pytest.fixture(scope="session")
def meta() -> Meta:
    return make_meta(FEATURES, DIGEST, "3", seed=1)


@pytest.fixture(scope="session")
def model_folders(meta: Meta, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return meta.write(tmp_path_factory.mktemp("models"))


@pytest.fixture
def releases(model_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A folder of releases with one in it, in force."""
    write_release(tmp_path / "releases", model_folders, DIGEST, CREATED_AT, {"alias": "champion"})
    return tmp_path / "releases"


@pytest.fixture(scope="session")
def make_models() -> Callable[[Path, Sequence[str], str, str, int], dict[str, Path]]:
    """Write the models for any list of features: (folder, features, digest, version, seed) -> model folders."""

    def make(folder: Path, features: Sequence[str], digest: str, version: str, seed: int) -> dict[str, Path]:
        return make_meta(features, digest, version, seed).write(folder)

    return make


@pytest.fixture(scope="session")
def x() -> np.ndarray:
    return population(FEATURES, n=40, seed=99)


@dataclass(frozen=True)
class Published:
    """An online store in memory: users u0 ... u49; u40 and above have old features."""

    values: np.ndarray
    as_of: np.ndarray

    def online(self, user_ids: Sequence[str]) -> Any:
        rows = [self._row(user_id) for user_id in user_ids]
        found = np.array([row is not None for row in rows], dtype=bool)
        values = np.full((len(rows), self.values.shape[1]), np.nan)
        as_of = np.full(len(rows), np.datetime64("NaT"), dtype="datetime64[us]")
        known = [row for row in rows if row is not None]
        values[found], as_of[found] = self.values[known], self.as_of[known]
        return SimpleNamespace(values=values, found=found, as_of=as_of)

    def profiles(self, user_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        rows = [self._row(user_id) for user_id in user_ids]
        return [None if row is None else {"lifecycle_state": "at_risk", "last_events": []} for row in rows]

    def decision_row(self, user_id: str) -> Any:
        row = self._row(user_id)
        vector = np.full(self.values.shape[1], np.nan) if row is None else self.values[row]
        as_of_us = 0 if row is None else int(self.as_of[row].astype(np.int64))
        profile = self.profiles([user_id])[0]
        found = row is not None
        return SimpleNamespace(vector=vector, found=found, as_of_us=as_of_us, history=np.empty(0), profile=profile)

    def assortment_stamp(self) -> None:
        return None

    def _row(self, user_id: str) -> int | None:
        number = user_id.removeprefix("u")
        return int(number) if user_id in {f"u{i}" for i in range(len(self.values))} else None


class Client:
    """httpx against an ASGI app in this process; the app runs in a loop of its own, so that tests need none."""

    def __init__(self, portal: BlockingPortal, client: httpx.AsyncClient) -> None:
        self._portal, self._client = portal, client

    def request(self, method: str, url: str, **how: Any) -> httpx.Response:
        return self._portal.call(partial(self._client.request, method, url, **how))

    def get(self, url: str, **how: Any) -> httpx.Response:
        return self.request("GET", url, **how)

    def post(self, url: str, **how: Any) -> httpx.Response:
        return self.request("POST", url, **how)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a coroutine function in the loop of the app."""
        return self._portal.call(function, *arguments)


@contextmanager
def running(app: Any) -> Iterator[Client]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
        portal.wrap_async_context_manager(httpx.AsyncClient(transport=transport, base_url="http://test")) as client,
    ):
        yield Client(portal, client)


@dataclass(frozen=True)
class Served:
    """The service in this process: its HTTP client, its home folder and what its store holds."""

    client: Client
    home: Path
    published: Published

    def score(self, name: str, user_ids: Sequence[str], **more: Any) -> Any:
        answer = self.client.post(f"/v1/score/{name}", json={"user_ids": list(user_ids), **more})
        assert answer.status_code == 200, answer.text
        return strict_json(answer.content)


def strict_json(content: bytes) -> Any:
    """JSON as every other parser reads it: NaN and Infinity are not numbers there."""

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    return json.loads(content, parse_constant=refuse)


@pytest.fixture(scope="session")
def in_process() -> Callable[[Any], Any]:
    """Run an ASGI app in this process: a context manager that gives its HTTP client."""
    return running


NOW = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def catalogue_models(tmp_path_factory: pytest.TempPathFactory, make_models: Any) -> dict[str, Path]:
    """The models on the features of the real catalogue."""
    return make_models(tmp_path_factory.mktemp("catalogue_models"), NAMES, digest_of_catalogue(), "3", 1)


@pytest.fixture(scope="session")
def published() -> Published:
    values = population(NAMES, n=50, seed=5)
    as_of = np.full(50, np.datetime64("2026-11-21T09:58:02", "us"))
    as_of[40:] = np.datetime64("2026-11-18T00:00:00", "us")
    return Published(values, as_of)


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, catalogue_models: dict[str, Path], published: Published
) -> Iterator[Served]:
    """The BentoML service with everything real but the online store and the socket."""
    home = tmp_path_factory.mktemp("home")
    write_release(home / "releases", catalogue_models, digest_of_catalogue(), CREATED_AT, {"alias": "champion"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "CONFIG", dataclasses.replace(service.CONFIG, home=home, now=NOW))
        patch.setattr(service, "open_reader", lambda config: published)
        with running(service.UserOps.to_asgi()) as client:
            yield Served(client, home, published)


@dataclass
class Server:
    """``bentoml serve`` in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    home: Path
    log: Path

    def wait_ready(self, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            written = self.log.read_text()
            assert self.process.poll() is None, written
            assert "Application startup failed" not in written, written
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def stop(self) -> int:
        """End the server as an operator would; take its workers along if that does not help."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # a session of its own: nobody else is in it
            self.process.wait()
            raise


def publish(store: online.OnlineStore, users: Published, digest: str) -> None:
    """Lay vectors and profiles where the feature store reads them, as a publication does."""
    ids = [f"u{i}" for i in range(len(users.values))]
    keys = vectors.entity_keys(ids)
    at = [int(instant) for instant in users.as_of.astype("datetime64[s]").astype(np.int64)]
    profile = vectors.pack_text(json.dumps({"lifecycle_state": "at_risk", "last_events": []}))
    cells = {online.VECTOR: vectors.pack(users.values, digest), online.PROFILE: [profile] * len(ids)}
    with store.publication() as writer:
        for cell, values in cells.items():
            writer.create(cell.view)
            writer.write({cell: [(key, one, then, then) for key, one, then in zip(keys, values, at, strict=True)]})
        writer.record(online.VECTOR.view, digest, max(at), max(at), len(ids))


@pytest.fixture(scope="session")
def publish_to() -> Callable[[Path, Published], None]:
    """Publish users into a home folder: (home, users)."""
    return lambda home, users: publish(online.SqliteStore(online.path_of(home)), users, digest_of_catalogue())


@pytest.fixture(scope="session")
def publish_into() -> Callable[[online.OnlineStore, Published], None]:
    """Publish users into a store: (store, users)."""
    return lambda store, users: publish(store, users, digest_of_catalogue())


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start ``bentoml serve`` on a free loopback port; whatever was started is stopped at the end."""
    started: list[Server] = []

    def start(home: Path, target: str = "serving.service:UserOps", **environment: str) -> Server:
        folder = tmp_path_factory.mktemp("server")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        given = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PROMETHEUS"))}
        given |= {"USEROPS_HOME": str(home), "USEROPS_NOW": NOW.isoformat(), "BENTOML_HOME": str(folder / "bentoml")}
        given |= {"BENTOML_DO_NOT_TRACK": "True", "TZ": "UTC", "PATH": os.defpath, **environment}
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bentoml", "serve", target, "--port", str(port)],
                cwd=folder,
                env=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(Server(process, f"http://127.0.0.1:{port}", home, log))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()
