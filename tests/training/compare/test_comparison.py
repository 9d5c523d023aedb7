"""Two versions side by side: the files where they had not seen what followed, the page, and the command's tables."""

import dataclasses
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from configs import load
from configs.errors import RegistryError
from features.catalog import NAMES, digest
from serving.scoring import write_model
from training.compare.comparison import _notes, compare
from training.compare.report import HOW, comparison_page, spoken_verdict
from training.compare.sides import FILES, REFITTED
from training.compare.tables import print_comparison
from training.forecasts import Forecasts
from training.registry import CHALLENGER, CHAMPION, Registry

ORIGINS = tuple(pd.date_range("2026-01-05", periods=3, freq="28D", tz="UTC"))
HEAD = "p_inactive_30d"
USERS = 120
STRONG, WEAK = NAMES.index("orders_life"), NAMES.index("spend_life")


def rows(origins):
    """Features of everybody at ``origins``, as `dataset.assemble` gives them: activity is recent for all."""
    frames = []
    for place, origin in enumerate(origins):
        x = np.random.default_rng(place).normal(size=(USERS, len(NAMES)))
        frame = pd.DataFrame(x, columns=list(NAMES))
        frame["days_since_last_activity"] = 1.0
        frames.append(frame.assign(user_id=[f"u{n:03d}" for n in range(USERS)], as_of=origin))
    return pd.concat(frames, ignore_index=True)


def version(registry, scratch, column, known_until, leaves):
    """Register a version of churn that knows one column."""
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.normal(size=(600, len(NAMES))), np.full(600, 30.0)])
    settings = {"objective": "binary", "num_leaves": leaves, "verbose": -1, "seed": 1, "min_data_in_leaf": 20}
    booster = lgb.train(settings, lgb.Dataset(x, x[:, column] > 0), 10)
    with registry.run("churn", "train") as run:
        number = registry.new_version("churn", run, {"heads": HEAD})
        meta = {
            "name": "churn",
            "version": number,
            "run_id": run.run_id,
            "features": list(NAMES),
            "catalogue_digest": digest(),
            "boosters": {"inactive": {"horizon_column": True}},
            "heads": {
                HEAD: {
                    "booster": "inactive",
                    "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0},
                    "horizon_days": 30.0,
                    "raw_percentiles": np.linspace(-1, 1, 101).tolist(),
                }
            },
            "cold_start": {HEAD: 0.3},
            "created_at": "2026-06-01T00:00:00+00:00",
            "known_until": known_until,
            "recipe": {"lightgbm": {"num_leaves": leaves}, "features": list(NAMES), "seed": 1},
        }
        folder = Path(scratch) / number
        write_model(folder, meta, {"inactive": booster.model_to_string()})
        run.folder(folder, "model")
    return number


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Version 1 knows what is worth little and was trained before the last two origins; version 2 knows more."""
    scratch = tmp_path_factory.mktemp("compare")
    registry = Registry(load(scratch / "home"))
    first = version(registry, scratch, WEAK, ORIGINS[1].isoformat(), 4)
    second = version(registry, scratch, STRONG, "2026-06-01T00:00:00+00:00", 8)
    registry.alias("churn", CHAMPION, first)
    registry.alias("churn", CHALLENGER, second)
    return scratch / "home"


@pytest.fixture
def config(home, monkeypatch):
    """The features and past forecasts are invented: what followed depends on the strong column."""

    def forecasts(config, model, origins, progress=None, *, recipe=None):
        frame = rows(origins)
        strong = recipe.lightgbm["num_leaves"] == 8
        z = frame.iloc[:, STRONG if strong else WEAK].to_numpy()
        y = (np.random.default_rng(9).random(len(frame)) < 1 / (1 + np.exp(-2 * frame.iloc[:, STRONG]))).astype(float)
        told = {"y": y, "p": 1 / (1 + np.exp(-z)), "raw": z, "baseline.flat": 0.5, "segment.value": "high"}
        return Forecasts(frame[["user_id", "as_of"]].assign(head=HEAD, **told), "probability", {})

    class Data:
        def __init__(self, origins):
            self.frame = rows(origins)

    monkeypatch.setattr("training.compare.sides.forecasts", forecasts)
    monkeypatch.setattr("training.compare.sides.assemble", lambda config, origins: Data(origins))
    monkeypatch.setattr("training.compare.comparison.assemble", lambda config, origins: Data(origins))
    monkeypatch.setattr("training.compare.comparison.known_until", lambda config: ORIGINS[-1])
    monkeypatch.setattr("training.compare.comparison.past_origins", lambda config, model, count: ORIGINS[-count:])
    return load(home)


@pytest.fixture
def found(config):
    return compare(config, config.models["churn"])


def test_files_speak_where_they_had_not_seen_what_followed(found, config):
    asked = [origin.isoformat() for origin in ORIGINS]
    assert found.origins == asked
    assert found.first["how"] == dict(zip(asked, (REFITTED, FILES, FILES), strict=True))
    assert set(found.second["how"].values()) == {REFITTED}
    # At an origin of files, what was foreseen is what the files say.
    registry = Registry(config)
    model = registry.model("churn", "1")
    told = next(one for one in found.users if one["as_of"] == asked[2])
    x = rows(ORIGINS[1:])
    x = x[(x["user_id"] == told["user_id"]) & (x["as_of"] == ORIGINS[2])][list(NAMES)].to_numpy()
    assert told["p"][0] == model.probability(x, HEAD)[0]


def test_the_better_version_is_found_better_and_why(found):
    pair = found.heads[HEAD]["log_loss"]
    assert pair.verdict == "better"
    assert found.worse_by(HEAD, "log_loss").value == -pair.better.value < 0
    assert found.worse_by(HEAD, "nothing") is None
    assert found.rows == 3 * USERS
    gained, lost = found.weights[0], found.weights[1]
    assert {gained["feature"], lost["feature"]} == {"orders_life", "spend_life"}
    assert sum(one["second"] for one in found.weights) == pytest.approx(1)
    moved = found.moves[HEAD]
    assert moved["users"] == USERS
    assert moved["far"] > 0.3
    assert moved["rank_correlation"] < 0.5
    assert found.cost["second"]["bytes"] > found.cost["first"]["bytes"]
    assert found.cost["first"]["trees"] == 10
    assert found.cost["first"]["us_per_score"] > 0
    assert set(found.calibration[HEAD]) == {"first", "second"}


def test_where_nobody_serves_the_strongest_baseline_does(config, monkeypatch):
    monkeypatch.setattr(Registry, "aliased", lambda self, model, alias: None)
    found = compare(config, config.models["churn"], origins=1)
    assert found.titles == ("baseline", "version 2")
    assert found.first["baselines"] == {HEAD: "flat"}
    assert found.heads[HEAD]["auroc"].first.value == 0.5
    assert found.notes[0]["en"].startswith("Nobody serves yet")
    assert set(found.cost) == {"second"}
    print_comparison(found, "log_loss")
    assert "version 2" in comparison_page(found, "log_loss")
    with pytest.raises(RegistryError):
        compare(config, config.models["churn"], "7")


def test_pairs_come_with_a_word_on_what_decides():
    rows = pd.DataFrame({"user_id": ["a"], "p_first": [0.1], "p_second": [0.2]})
    said = _notes(rows.assign(item=["milk"]), rows, {"version": "1"})
    assert ["NDCG@10" in one["en"] and "NDCG@10" in one["zh"] for one in said] == [True]
    assert _notes(rows, rows, {"version": "1"}) == []


def test_the_gate_gets_what_it_decides_by_alone(config):
    found = compare(config, config.models["churn"], "1", "2", in_brief=True, origins=2)
    assert found.heads[HEAD]["log_loss"].verdict == "better"
    assert (found.users, found.weights, found.moves, found.cost) == ([], [], {}, {})


def test_the_page_speaks_both_languages_and_runs_nothing(found):
    page = comparison_page(found, "log_loss")
    for part in (
        "version 2 against version 1",
        "与 version 1 比较",
        "orders_life",
        "校准对比",
        *HOW[FILES].values(),
        HEAD,
    ):
        assert part in page
    assert "<script" not in page
    hostile = dataclasses.replace(found, users=[{**found.users[0], "user_id": "<script>x</script>"}])
    assert "<script" not in comparison_page(hostile, "log_loss")
    assert spoken_verdict(found, "log_loss")["en"] == f"By log_loss, the second is: {HEAD} better."


def test_the_tables_name_what_matters(found, capsys, monkeypatch):
    from rich.console import Console

    for name in ("configs.terminal.console", "training.compare.tables.console"):
        monkeypatch.setattr(name, Console(width=200))
    print_comparison(found, "log_loss")
    said = capsys.readouterr().out
    for part in ("better by [95 %]", "version 1", "users apart", "share in mean |SHAP|", "µs per user"):
        assert part in said
