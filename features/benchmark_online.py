"""How fast the service has a user's features, beside Feast's own feature server asked over HTTP as it is meant to be.

Ours are read where they are needed, in the process of the service, out of SQLite or Redis; that no server stands
between is a part of what is measured. ``floor`` is what HTTP alone takes: the feature server's ``GET /health``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from configs import Config
from configs.errors import FeatureError
from features.benchmark_report import Progress, clock, report, scratch, silence, spread
from features.benchmark_sides import Shown, Side, sides
from features.benchmark_store import START, Values, ids_of, write_history

__all__ = ["benchmark_online"]

READY_SECONDS = 90.0
Read = Callable[[Sequence[str]], Values]


def benchmark_online(
    config: Config,
    progress: Progress | None = None,
    *,
    users: int = 5_000,
    features: int = 60,
    reads: int = 200,
    many: int = 100,
) -> dict[str, Any]:
    """Microseconds to have the features of one user and of ``many`` in hand as numbers, by turns ours and theirs.

    Raises
    ------
    FeatureError
        When a value read is not the value published.
    """
    show = progress or (lambda message, fraction: None)
    started = time.monotonic()
    values = np.random.default_rng(config.seed).normal(size=(users, features))
    metrics: dict[str, Any] = {}
    baselines: dict[str, dict[str, float]] = {"feast_server": {}, "floor": {}}
    ratios: dict[str, float] = {}
    settings: dict[str, Any] = {"users": users, "features": features, "reads": reads, "many": many}
    with scratch(config) as folder, contextlib.ExitStack() as stack:
        path = folder / "snapshot.parquet"
        write_history(path, values[None])
        shown, both = Shown(config, path, features), sides(folder, stack, settings)
        for place, side in enumerate(both):
            show("publishing (not measured)", place / len(both))
            ours, prefix = _ours(shown, side), side.name
            home = _published(shown, side)
            show("reading", (place + 0.7) / len(both))
            with _server(home) as connection:
                ways = {"ours": ours, "feast_server": lambda asked: _over_http(connection, asked, features)}
                for size, asked in (("one", 1), ("many", many)):
                    taken = _reads(ways, values, asked, reads, config.seed)
                    name, suffix = f"{prefix}{size}_microseconds", "" if size == "one" else "_many"
                    metrics[name] = spread([1e6 * one for one in taken["ours"]])
                    theirs = statistics.median(taken["feast_server"])
                    baselines["feast_server"][name] = 1e6 * theirs
                    ratio = theirs / statistics.median(taken["ours"])
                    ratios[f"{prefix}ours_vs_feast_server{suffix}"] = ratio
                baselines["floor"][f"{prefix}one_microseconds"] = _floor(connection, reads)
    return report("online", metrics, baselines, ratios, settings, ("feast", "duckdb", "numpy"), started)


def _ours(shown: Shown, side: Side) -> Read:
    store = side.ours()
    shown.publish(store)
    return lambda asked: shown.read(store, list(asked))


def _published(shown: Shown, side: Side) -> Path:
    """A Feast repository as `feast init` makes it, its view materialized."""
    store, home = shown.feast(side), side.folder / f"{side.name}feast-0"
    with silence():
        store.materialize(START - timedelta(days=1), START + timedelta(days=1))
    lines = {
        "project": "benchmark",
        "provider": "local",
        "registry": {"registry_type": "sql", "path": f"sqlite:///{home / 'registry.db'}"},
        "offline_store": {"type": "duckdb"},
        "online_store": side.feast(),
        "entity_key_serialization_version": 3,
    }
    # JSON is YAML.
    (home / "feature_store.yaml").write_text(json.dumps(lines), encoding="utf-8")
    return home


@contextlib.contextmanager
def _server(home: Path) -> Iterator[http.client.HTTPConnection]:
    """``feast serve`` with one worker on a free loopback port, and a connection that stays open."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    feast = shutil.which("feast", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}") or "feast"
    words = ["--chdir", str(home), "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [feast, *words, "--no-access-log", "--max-requests", "0", "--keep-alive-timeout", "300"]
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=home, stdout=output, stderr=output, start_new_session=True)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            until = time.monotonic() + READY_SECONDS
            while not _is_ready(connection):
                if process.poll() is not None or time.monotonic() > until:
                    raise FeatureError("feast's feature server does not start", because=log.read_text("utf-8")[-500:])
                time.sleep(0.1)
            yield connection
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own: nobody else is in it
                process.wait()


def _is_ready(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return False
    return answer.status == 200


def _over_http(connection: http.client.HTTPConnection, asked: Sequence[str], features: int) -> Values:
    """The server's answer as float64[user, feature]."""
    refs = [f"behaviour:f{number}" for number in range(features)]
    body = json.dumps({"features": refs, "entities": {"user_id": list(asked)}})
    connection.request("POST", "/get-online-features", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    if answer.status != 200:
        raise FeatureError("feast's feature server refuses", got=content)
    place = {name: at for at, name in enumerate(content["metadata"]["feature_names"])}
    columns = [content["results"][place[f"f{number}"]]["values"] for number in range(features)]
    return np.array(columns, dtype=np.float64).T


def _reads(ways: dict[str, Read], values: Values, asked: int, reads: int, seed: int) -> dict[str, list[float]]:
    """Seconds of each read, by turns; the first of each is not counted."""
    ids, random = ids_of(len(values)), np.random.default_rng(seed)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(reads + 1):
        rows = random.choice(len(values), asked, replace=False)
        whom = [str(one) for one in ids[rows]]
        for name, read in ways.items():
            with clock(taken[name]):
                answer = read(whom)
            if not np.array_equal(answer, values[rows]):
                raise FeatureError(f"{name}: another value came back than was published", got=whom[0])
    return {name: seconds[1:] for name, seconds in taken.items()}


def _floor(connection: http.client.HTTPConnection, reads: int) -> float:
    """Microseconds of an answer that needs no features."""
    taken: list[float] = []
    for _ in range(reads):
        with clock(taken):
            if not _is_ready(connection):
                raise FeatureError("feast's feature server went away")
    return 1e6 * statistics.median(taken)
