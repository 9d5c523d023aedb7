"""What ``userops benchmark serving`` sets up: homes with the models as they are and with large ones; the plain way.

Nothing is written into the home that is measured: its release and its online store are copied.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import lightgbm as lgb
import numpy as np

from configs import Config
from configs.databases import EMBEDDED
from configs.errors import UseropsError
from features import online
from features.catalog import NAMES
from features.store import Store
from serving.benchmark_load import Workers
from serving.scoring import Bundle, current
from serving.scoring.folder import read_folder, write_folder
from serving.scoring.release import make_current, write_release

__all__ = ["PLAIN", "Service", "lay_home", "lay_large", "lay_plain", "served", "shop_of"]

PLAIN = "USEROPS_PLAIN"  # names the folder of the plain way in its environment
READY_SECONDS = 180
_ROOT = Path(__file__).parents[1]


def demo_shop(config: Config) -> None:
    """Walk the whole way in ``config.home``, small, by the commands a user types; nothing leaves the home."""
    shop = config.home / "shop"
    # Not into the team's MLflow, stores and audit table; the shop ends today, so the clock goes.
    environment = {**os.environ, **EMBEDDED, "USEROPS_HOME": str(config.home), "USEROPS_NOW": ""}
    end = f"{datetime.now(UTC):%Y-%m-%d}"
    for words in (
        ["simulate", str(shop), "--users", "2000", "--days", "300", "--end", end],
        ["ingest", "shop", "--data", str(shop)],
        ["train"],
        ["promote"],
        ["release"],
        ["features", "build"],
        ["features", "publish"],
    ):
        command = [sys.executable, str(_ROOT / "userops.py"), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UseropsError(f"userops {' '.join(words)} failed", because=done.stderr[-500:])


def shop_of(config: Config, folder: Path, show: Callable[[str, float], None]) -> Config:
    """The configuration of a home that serves: the given one, or that of a small shop walked in ``folder``."""
    if (config.home / "releases" / "current").exists():
        return config
    show("walking the whole way in a small shop", 0.02)
    config = replace(config, home=folder / "shop", now=None)
    demo_shop(config)
    return config


def lay_home(source: Path, home: Path) -> None:
    """The release in force and the online store of the home ``source``, copied into ``home``."""
    released = current(source / "releases")
    (home / "releases").mkdir(parents=True)
    shutil.copytree(released, home / "releases" / released.name)
    make_current(home / "releases", released.name)
    if not online.path_of(source).exists():
        return  # a Redis, which both homes read
    with (
        contextlib.closing(sqlite3.connect(f"{online.path_of(source).as_uri()}?mode=ro", uri=True)) as published,
        contextlib.closing(sqlite3.connect(online.path_of(home))) as copy,
    ):
        published.backup(copy)


def lay_large(home: Path, large: Path, trees: int, leaves: int) -> None:
    """``home`` with every booster replaced by one of ``trees`` x ``leaves`` on the same columns, learned from noise."""
    lay_home(home, large)
    folder = current(home / "releases")
    bundle = Bundle.load(folder)
    folders = {}
    for name in bundle.meta["models"]:
        read = read_folder(folder / name)
        files = ("file", "sha256")
        about = {
            booster: {key: value for key, value in one.items() if key not in files}
            for booster, one in read.meta["boosters"].items()
        }
        boosters = {
            booster: _noise(read.boosters[booster].feature_name(), one.get("monotone"), trees, leaves)
            for booster, one in about.items()
        }
        meta = {key: value for key, value in read.meta.items() if key not in ("format", "arrays")}
        folders[name] = large / "models" / name
        write_folder(folders[name], {**meta, "boosters": about}, boosters, read.arrays)
    extra: dict[str, Any] = {key: bundle.meta[key] for key in ("alias", "aliases", "policy") if key in bundle.meta}
    now = datetime.now(UTC)
    write_release(large / "releases", folders, bundle.catalogue_digest, now, extra, bundle.documents)


def _noise(names: Sequence[str], monotone: str | None, trees: int, leaves: int) -> str:
    random = np.random.default_rng(len(names))
    x = random.normal(size=(40 * leaves, len(names)))
    x[random.random(x.shape) < 0.05] = np.nan
    y = np.nansum(x[:, :: max(1, len(names) // 8)], axis=1) + random.normal(size=len(x)) > 0
    direction = {"increasing": 1, "decreasing": -1}.get(monotone or "", 0)
    params: dict[str, Any] = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05, "max_bin": 31}
    params |= {"min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, "boost_from_average": False}
    if direction:
        params["monotone_constraints"] = [0] * (len(names) - 1) + [direction]
    text: str = lgb.train(params, lgb.Dataset(x, y, feature_name=list(names)), trees).model_to_string()
    return text


def lay_plain(home: Path, config: Config, users: Sequence[str], offers: Sequence[Mapping[str, Any]]) -> Path:
    """The folder of the plain way beside ``home``: release, offers, an empty log, the users in Feast's scalar views."""
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, String

    folder = home.with_name(home.name + "-plain")
    folder.mkdir()
    (folder / "release").symlink_to(current(home / "releases"))
    (folder / "features.json").write_text(json.dumps(list(NAMES)), encoding="utf-8")
    (folder / "offers.json").write_text(json.dumps(list(offers)), encoding="utf-8")
    with contextlib.closing(sqlite3.connect(folder / "decisions.db")) as log:
        log.execute("PRAGMA journal_mode = WAL")
        log.execute(
            "CREATE TABLE decisions "
            "(decision_id TEXT PRIMARY KEY, user_id TEXT, decided_at TEXT, asked TEXT, answer TEXT)"
        )
    (folder / "feature_store.yaml").write_text(
        "project: plain\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "online_store: {type: sqlite, path: online.db}\noffline_store: {type: file}\n",
        encoding="utf-8",
    )
    frame = pd.DataFrame(Store(config).online(users).values, columns=list(NAMES))
    at = datetime.now(UTC) - timedelta(hours=1)
    frame.assign(user_id=list(users), event_timestamp=pd.Timestamp(at)).to_parquet(folder / "features.parquet")
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="plain",
        entities=[user],
        ttl=timedelta(days=3650),
        schema=[Field(name="user_id", dtype=String), *(Field(name=name, dtype=Float64) for name in NAMES)],
        source=FileSource(path=str(folder / "features.parquet"), timestamp_field="event_timestamp"),
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        store = FeatureStore(repo_path=str(folder))
        store.apply([user, view])
        store.materialize(at - timedelta(days=1), at + timedelta(hours=1))
    return folder


class Service:
    """A service in a process of its own, ready to be asked."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], ready_seconds: float) -> None:
        self.port, self.process, self.ready_seconds = port, process, ready_seconds

    def workers(self, count: int) -> Workers:
        """Its ``count`` workers, as a load generator asks who holds which connection."""
        return Workers(count, self._holding)

    def _holding(self, ports: Sequence[int]) -> list[int | None]:
        import psutil  # type: ignore[import-untyped]

        holder = {
            one.raddr.port: worker.pid
            for worker in psutil.Process(self.process.pid).children(recursive=True)
            for one in worker.net_connections("tcp")
            if one.raddr and one.laddr.port == self.port
        }
        return [holder.get(port) for port in ports]

    def memory_mb(self) -> float:
        """The memory that would be free without it and its workers (Linux: proportional set size)."""
        import psutil

        me = psutil.Process(self.process.pid)
        total = 0
        for one in (me, *me.children(recursive=True)):
            info = one.memory_full_info()
            total += getattr(info, "pss", info.uss)
        return total / 2**20


@contextmanager
def served(target: str, folder: Path, path: str, **environment: str) -> Iterator[Service]:
    """``bentoml serve target`` on a free loopback port, ready once ``GET path`` answers 200; ended with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    given = {key: value for key, value in os.environ.items() if not key.startswith("PROMETHEUS")}
    given |= {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder / "bentoml"), "OMP_NUM_THREADS": "1"}
    given["USEROPS_KEYS"] = str(folder / "no-keys.json")  # whoever measures may have closed services of their own
    log = folder / f"{target.rpartition(':')[2]}.log"
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)]
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--working-dir", str(_ROOT)],
            env={**given, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not _answers(f"http://127.0.0.1:{port}{path}"):
                if process.poll() is not None or time.monotonic() - began > READY_SECONDS:
                    raise UseropsError(f"{target} does not get ready", because=log.read_text("utf-8")[-2000:])
                time.sleep(0.05)
            yield Service(port, process, time.monotonic() - began)
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own: nobody else is in it
                process.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False
