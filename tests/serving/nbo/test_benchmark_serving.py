"""``userops benchmark serving``, tiny: both services start, answer, and are gone afterwards."""

import dataclasses
import json
import os
import shutil
from datetime import UTC, datetime

import psutil

import configs
from features.redis_server import is_installed
from serving.benchmark_serving import SATURATED, Size, benchmark_serving
from serving.benchmark_stage import lay_large
from serving.log.postgres_server import why_not
from serving.scoring import Bundle, current

NOW = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)  # a few minutes after the features


def files(home):
    """Everything but what SQLite lays beside a database that is open."""
    return {path for path in home.rglob("*") if not path.name.endswith(("-shm", "-wal"))}


def test_the_large_models_answer_as_the_small_ones_do(nbo_home, tmp_path):
    home = nbo_home()
    lay_large(home, tmp_path / "large", trees=3, leaves=5)
    small, large = (Bundle.load(current(folder / "releases")) for folder in (home, tmp_path / "large"))
    assert small.release_id != large.release_id
    assert set(large.models) == set(small.models)
    assert large.documents == small.documents
    for name, model in large.models.items():
        assert list(model.heads) == list(small.models[name].heads)
        assert all(booster.num_trees() == 3 for booster in model.boosters.values())
    assert all(head.booster.num_trees() == 3 for head in large.interest.heads.values())


def test_serving_is_measured_beside_the_plain_way(nbo_home, tmp_path, monkeypatch):
    folder = tmp_path / "configs"
    shutil.copytree(configs.configs_folder(), folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    project = (folder / "project.yaml").read_text()
    (folder / "project.yaml").write_text(project.replace("workers: 2", "workers: 1"))
    monkeypatch.setenv("USEROPS_CONFIGS", str(folder))
    home = nbo_home()
    config = dataclasses.replace(configs.load(home), now=NOW)
    before = files(home)
    size = Size(seconds=0.05, many=4, candidates=(5,), models=("shipped",))
    real = why_not() is None and is_installed()
    users = [f"u{number}" for number in range(20)]
    found = benchmark_serving(config, users=users, size=size, stores="real" if real else "embedded")
    assert files(home) == before
    assert found["settings"]["stores"] == ("redis, postgresql" if real else "sqlite, sqlite")
    assert found["goals"]["ours_vs_plain_nbo_rps"]["seen"] == found["ratios"]["ours_vs_plain_nbo_rps"]
    assert found["settings"]["not_asked"] is None
    assert set(found["ratios"]) == {f"ours_vs_plain_{what}" for what in ("nbo_rps", "churn_rps", "bulk")}
    for question in ("nothing", "churn_1", "nbo_5"):
        for connections in (1, SATURATED):
            name = f"{question}_shipped_c{connections}"
            assert found["metrics"][f"{name}_failed"]["value"] == 0
            low, high = found["metrics"][f"{name}_p50_ms"]["ci"]
            assert 0 < low <= found["metrics"][f"{name}_p50_ms"]["value"] <= high
            assert found["baselines"]["plain"][f"{name}_rps"] > 0
    assert found["metrics"]["churn_4_shipped_c1_failed"]["value"] == 0
    assert {"features", "candidates", "score", "explain", "arbitrate", "log"} <= set(
        found["settings"]["stages_ms"]["nbo_5_shipped_c1"]
    )
    json.dumps(found, allow_nan=False)
    mine = psutil.Process(os.getpid()).children(recursive=True)
    assert not [process for process in mine if "bentoml" in " ".join(process.cmdline())]
