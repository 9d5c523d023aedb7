"""A registry with three versions of one small model, trained by nobody in particular, and no champion yet."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from configs import load
from features.catalog import NAMES, digest
from serving.scoring import write_model
from training.registry import CHALLENGER, Registry

ROOT = Path(__file__).parents[3]
HEADS = ("p_inactive_14d", "p_inactive_30d")


@pytest.fixture(scope="session")
def booster():
    """A booster's text over all features and the horizon."""
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.normal(size=(400, len(NAMES))), rng.choice([14.0, 30.0], 400)])
    settings = {"objective": "binary", "num_leaves": 4, "verbose": -1, "seed": 1, "min_data_in_leaf": 20}
    return lgb.train(settings, lgb.Dataset(x, x[:, 0] > 0), 5).model_to_string()


def _meta(version, run_id):
    head = {
        "booster": "inactive",
        "cohort": "active",
        "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0},
    }
    quantiles = np.linspace(-1, 1, 101).tolist()
    return {
        "name": "churn",
        "version": version,
        "run_id": run_id,
        "features": list(NAMES),
        "catalogue_digest": digest(),
        "boosters": {"inactive": {"horizon_column": True}},
        "heads": {name: {**head, "horizon_days": float(name[11:13]), "raw_percentiles": quantiles} for name in HEADS},
        "cohorts": {"active": {"rule": [{"feature": "days_since_last_activity", "max": 90}]}},
        "cold_start": dict.fromkeys(HEADS, 0.3),
        "created_at": "2026-06-01T00:00:00+00:00",
        "trained_by": "lin",
        "known_until": "2026-06-01T00:00:00+00:00",
        "recipe": {"lightgbm": {}, "features": list(NAMES), "seed": 1},
        "training": {"data": {"data_hash": "sha256:data"}},
    }


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, booster):
    """The home that every test copies."""
    home = tmp_path_factory.mktemp("gate") / "home"
    registry = Registry(load(home))
    for _ in range(3):
        train(registry, booster, home.parent)
    return home


def train(registry, booster, scratch, metrics=None, heads=HEADS, **changes):
    """Register one more version of churn; ``changes`` go into its ``model.json``."""
    found = metrics or {f"{head}.{name}": 0.5 for head in heads for name in ("log_loss", "auroc")}
    with registry.run("churn", "train") as run:
        run.metrics(found)
        version = registry.new_version("churn", run, {"heads": " ".join(heads)})
        folder = Path(scratch) / f"files-{version}"
        write_model(folder, {**_meta(version, run.run_id), **changes}, {"inactive": booster})
        run.folder(folder, "model")
    registry.alias("churn", CHALLENGER, version)
    return version


@pytest.fixture
def config(tmp_path, prepared, monkeypatch):
    """A home of its own with versions 1 to 3, all by lin; whoever asks is wu."""
    home = tmp_path / "home"
    shutil.copytree(prepared, home)
    with sqlite3.connect(home / "mlflow.db") as connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, '{prepared}', '{home}')")
        connection.execute(f"UPDATE model_versions SET source = replace(source, '{prepared}', '{home}')")
    connection.close()
    # MLflow remembers where a run's files lie, by the id of the run alone.
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())
    monkeypatch.setenv("USEROPS_USER", "wu")
    monkeypatch.delenv("USEROPS_AUDIT", raising=False)
    return load(home)


@pytest.fixture
def another(config, booster, tmp_path):
    """Registers one more version, as `train` does."""
    return lambda *given, **named: train(Registry(config), booster, tmp_path, *given, **named)


@pytest.fixture
def killed(config):
    """Runs code in another process that is killed with SIGKILL where the code says ``die()``."""

    def run(code):
        script = f"import os, signal\ndie = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n{code}"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "USEROPS_HOME": str(config.home), "USEROPS_USER": "wu"},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr

    return run
