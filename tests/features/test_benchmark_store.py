"""The benchmarks run, agree with their oracle and print the agreed shape; how fast is not for a test to say."""

import json

import feast  # noqa: F401  before a test begins: Feast's import loosens the warning filters of whoever triggers it
import pytest

from configs import load
from configs.errors import FeatureError
from features import online
from features.benchmark_publish import benchmark_publish
from features.benchmark_store import benchmark_pit
from features.redis_server import is_installed

SHAPE = {"benchmark", "metrics", "baselines", "ratios", "settings", "versions", "seconds", "peak_mb"}


def check(report, ratios):
    assert set(report) == SHAPE
    assert set(report["ratios"]) == ratios
    assert all(ratio > 0 for ratio in report["ratios"].values())
    assert all(low <= one["value"] <= high for one in report["metrics"].values() for low, high in [one["ci"]])
    json.dumps(report)


def test_pit(tmp_path, capsys):
    steps = []
    report = benchmark_pit(
        load(tmp_path), labels=200, days=9, entities=5, features=3, repeats=2, progress=lambda *step: steps.append(step)
    )
    check(report, {"ours_vs_feast_duckdb"})
    assert report["metrics"]["equal_to_oracle"]["value"] == 1
    assert report["baselines"]["feast_duckdb"]["equal_to_oracle"] == 1
    assert steps == [("pit", 0.5), ("pit", 1.0)]
    assert not list((tmp_path / "tmp").iterdir())
    assert capsys.readouterr() == ("", "")


def test_publish(tmp_path, capsys):
    report = benchmark_publish(load(tmp_path), users=50, features=4, repeats=1)
    ratios = {"ours_vs_feast_materialize", "ours_vs_feast_read"}
    check(report, ratios | {f"redis_{name}" for name in ratios if is_installed()})
    assert capsys.readouterr() == ("", "")


def test_a_wrong_value_fails_the_benchmark(tmp_path, monkeypatch):
    read = online.read_vectors

    def wrong(*arguments):
        served = read(*arguments)
        return type(served)(served.values + 1, served.found, served.as_of)

    monkeypatch.setattr(online, "read_vectors", wrong)
    with pytest.raises(FeatureError, match="another value came back"):
        benchmark_publish(load(tmp_path), users=20, features=2, repeats=1)
