"""How costs grow: the fitted power, and a whole run at sizes that take seconds."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import load
from features import benchmark_features, benchmark_growth
from features.benchmark_growth import ASKED, fitted


@given(st.floats(1e-6, 1e3), st.floats(0.2, 2.5), st.lists(st.integers(1, 10**8), min_size=2, max_size=6, unique=True))
def test_a_power_is_found_again(scale, exponent, sizes):
    if max(sizes) / min(sizes) < 1.5:
        return
    power = fitted(sizes, [scale * size**exponent for size in sizes])
    assert power.exponent == pytest.approx(exponent, abs=1e-6)
    assert power.worst < 1e-6
    assert power.at(10**9) == pytest.approx(scale * 1e9**exponent, rel=1e-4)


def test_no_work_is_promised_to_get_cheaper_by_there_being_more_of_it():
    power = fitted([10, 100], [2.0, 10.0], least=1.0)
    assert (power.exponent, power.at(100), power.at(1000)) == (1.0, 10.0, 100.0)
    assert power.worst == pytest.approx(0.5)
    assert fitted([10, 100], [2.0, 40.0], least=1.0).exponent > 1.3


def test_what_lies_off_the_power_is_told():
    assert fitted([1, 10, 100], [1.0, 20.0, 100.0]).worst > 0.3


def test_builds_and_publications_of_two_sizes_are_extrapolated(tmp_path, monkeypatch):
    # In this process: test_benchmark_frames begins real ones, and four of them are a dozen seconds of imports.
    measures = {
        "features.benchmark_features": benchmark_features._build_once,
        "features.benchmark_growth": benchmark_growth._publish,
    }
    for module in (benchmark_features, benchmark_growth):
        monkeypatch.setattr(module, "alone", lambda name, asked: measures[name](json.loads(json.dumps(asked))))
    found = benchmark_growth.benchmark_growth(load(home=tmp_path), events=(20_000, 40_000), users=(500, 1000))
    powers = found["settings"]["powers"]
    assert {"build_seconds", "build_events_mb", "publish_sqlite_seconds", "publish_sqlite_mb"} <= set(powers)
    assert all(power["exponent"] >= 1 for name, power in powers.items() if name.endswith("seconds"))
    assert powers["build_events_mb"]["exponent"] == pytest.approx(1, abs=0.2)
    assert set(found["baselines"]) == set(ASKED)
    assert all(np.isfinite(cost) and cost > 0 for one in found["baselines"].values() for cost in one.values())
    assert found["metrics"]["publish_sqlite_mb_1000"]["value"] > found["metrics"]["publish_sqlite_mb_500"]["value"]
