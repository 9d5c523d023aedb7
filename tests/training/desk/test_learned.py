"""What a version learned is what its own boosters say of a stated sample; planted pairs, twins and flips are found."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from configs import load
from serving.scoring.model import write_model
from serving.scoring.value.model import write_value
from training.desk.learned import ROWS, drawn, write_learned
from training.explain import booster_of, contributions, explanation, groups, interactions, reasons
from training.segments import CHANNELS

AS_OF = datetime(2026, 11, 21, tzinfo=UTC)
SEGMENTS = ("tenure_days", "spend_365d", *(f"{channel}_share_180d" for channel in CHANNELS))
FEATURES = ("a", "a_twin", "b", "c", *SEGMENTS)
HEADS = {"p_inactive_14d": 14.0, "p_inactive_30d": 30.0}


def people(n=900, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(FEATURES)))
    x[:, 1] = x[:, 0] + rng.normal(0, 0.05, n)
    x[:, 2:4] = rng.integers(0, 2, size=(n, 2))
    x[:, 4] = rng.uniform(1, 500, n)
    x[:, 5] = rng.gamma(1, 100, n) * (rng.random(n) < 0.8)
    x[:, 6:] = rng.random((n, len(CHANNELS)))
    x[rng.random(n) < 0.1, 0] = np.nan
    return x


def grown(x, seed=1, sign=1.0, name="inactive"):
    """A raises or lowers, b and c only together, the horizon always lowers."""
    rng, horizon = np.random.default_rng(9), np.repeat([14.0, 30.0], len(x))
    rows = np.column_stack([np.tile(x, (2, 1)), horizon])
    margin = sign * 2 * np.nan_to_num(rows[:, 0]) + 6 * rows[:, 2] * rows[:, 3] - horizon / 15 - 1
    y = (rng.random(len(rows)) < 1 / (1 + np.exp(-margin))).astype(float)
    params = {"objective": "binary", "num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": seed,
              "feature_fraction": 0.6, "monotone_constraints": [0] * len(FEATURES) + [-1]}  # fmt: skip
    return lgb.train(params, lgb.Dataset(rows, y, feature_name=[*FEATURES, "horizon_days"]), 30)


def meta_of(version, booster, x):
    heads = {
        name: {
            "booster": "inactive", "horizon_days": days, "cohort": None,
            "calibrator": {"kind": "sigmoid", "slope": 1.1, "intercept": -0.2 - days / 100},
            "raw_percentiles": np.linspace(-3, 3, 101).tolist(),
        }
        for name, days in HEADS.items()
    }  # fmt: skip
    return {
        "name": "churn", "version": version, "run_id": f"r{version}", "features": list(FEATURES),
        "catalogue_digest": "sha256:ca7a", "heads": heads, "cold_start": dict.fromkeys(HEADS, 0.5),
        "boosters": {"inactive": {"horizon_column": True, "monotone": "decreasing"}},
        "created_at": "2026-06-01T00:00:00Z",
    }  # fmt: skip


@pytest.fixture(scope="module")
def x():
    return people()


@pytest.fixture(scope="module")
def models(x, tmp_path_factory):
    """Version 1 learned that a lowers the score, version 2 that it raises it."""
    made = {}
    for version, sign in (("1", -1.0), ("2", 1.0)):
        booster = grown(x, sign=sign)
        folder = tmp_path_factory.mktemp(f"v{version}") / "churn"
        made[version] = write_model(folder, meta_of(version, booster, x), {"inactive": booster.model_to_string()})
    return made


@pytest.fixture(scope="module")
def written(x, models, tmp_path_factory):
    """The files of version 2, its tags, and the home they lie in."""
    config = load(tmp_path_factory.mktemp("home"))
    users = np.array([f"u{k:04d}" for k in range(len(x))], dtype=object)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.desk.learned.home_stores", lambda *_: {str(user): "s1" for user in users[:600]})
        tags = write_learned(
            config, models["2"], "2", dict.fromkeys(HEADS, x), as_of=AS_OF, users=dict.fromkeys(HEADS, users),
            again={"inactive": {8: grown(x, seed=8)}}, against=("1", models["1"]),
        )  # fmt: skip
    folder = config.home / "desk" / "churn" / "2" / "learned"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}, tags


HEAD = "p_inactive_30d"


def test_every_head_has_a_file_with_what_it_is_about(written):
    files, _ = written
    assert set(files) == set(HEADS)
    for head, content in files.items():
        assert (content["schema"], content["model"], content["version"], content["head"]) == (1, "churn", "2", head)
        assert content["unit"] == "log_odds"


def test_the_sample_is_stated_and_the_same_each_time(written, x):
    content = written[0][HEAD]
    assert (content["sample"]["rows"], content["sample"]["of"]) == (ROWS, len(x))
    assert content["sample"]["as_of"] == AS_OF.isoformat()
    for lang, day in (("en", "400 of the 900"), ("zh", "900")):
        assert day in content["sample"]["words"][lang]
        assert "2026-11-21" in content["sample"]["words"][lang]
    expected = x[drawn(len(x), ROWS), FEATURES.index("b")]
    assert content["values"]["b"] == expected.tolist()


def test_contributions_are_the_models_own_and_add_up(written, models, x):
    content, rows = written[0][HEAD], x[drawn(len(x), ROWS)]
    phi, base = models["2"].contributions(rows, HEAD)
    assert content["base"] == pytest.approx(base.mean(), rel=1e-4)
    for name in content["features"]:
        assert content["contributions"][name] == pytest.approx(phi[:, FEATURES.index(name)], rel=1e-4, abs=1e-9)
    assert len(content["features"]) == len(FEATURES)  # fewer than 20: all of them, so they add up
    total = np.sum([content["contributions"][name] for name in content["features"]], axis=0) + base
    assert total == pytest.approx(models["2"].raw(rows, HEAD), abs=1e-3)
    shares = [bar["share"] for bar in content["bars"]]
    assert sum(shares) == pytest.approx(1.0, abs=1e-3)
    assert shares == sorted(shares, reverse=True)


def test_directions_and_absent_values(written):
    content = written[0][HEAD]
    bars = {bar["feature"]: bar for bar in content["bars"]}
    assert bars["a"]["direction"] > 0.8
    assert None in content["values"]["a"]
    assert None not in content["contributions"]["a"]


def test_the_planted_twins_are_a_group(written):
    content = written[0][HEAD]
    group = next(one for one in content["groups"] if "a" in one["features"])
    assert set(group["features"]) == {"a", "a_twin"}
    marked = {bar["feature"] for bar in content["bars"] if bar["group"] == group["id"]}
    assert marked == {"a", "a_twin"}


def test_the_planted_interaction_leads(written, models, x):
    content = written[0][HEAD]
    apart = [one for one in content["interactions"] if {one["a"], one["b"]} != {"a", "a_twin"}]
    first = max(apart, key=lambda one: one["mean_abs"])
    assert {first["a"], first["b"]} == {"b", "c"}
    assert content["interactions_rows"] == 100
    rows = pd.DataFrame(x[drawn(len(x), ROWS)][drawn(ROWS, 100)], columns=FEATURES)
    found = np.abs(interactions(models["2"], rows, HEAD))
    place = FEATURES.index("b"), FEATURES.index("c")
    assert first["mean_abs"] == pytest.approx(2 * found[:, place[0], place[1]].mean(), rel=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_interactions_add_up_to_contributions_and_the_horizon_is_no_reason(models, x, head):
    frame = pd.DataFrame(x[:40], columns=FEATURES)
    values = interactions(models["2"], frame, head)
    assert values.shape == (40, len(FEATURES), len(FEATURES))
    np.testing.assert_allclose(values.sum(axis=2), models["2"].contributions(x[:40], head)[0], atol=1e-10)


def test_the_curve_is_the_calibrators(written, models):
    curve = written[0][HEAD]["curve"]
    expected = models["2"].heads[HEAD].calibrator(np.array(curve["raw"]))
    assert curve["answer"] == pytest.approx(expected, abs=1e-4)
    assert curve["quantiles"] == sorted(curve["quantiles"])
    assert curve["raw"][0] < curve["quantiles"][0]
    assert curve["raw"][-1] > curve["quantiles"][-1]


def test_parts_are_those_of_the_rows(written):
    content = written[0][HEAD]
    assert set(content["parts"]) == {"tenure", "channel", "value", "store"}
    assert all(len(part) == ROWS for part in content["parts"].values())
    assert set(content["parts"]["store"]) == {"s1", "unknown"}
    for by, parts in content["by_segment"].items():
        for one in parts:
            assert one["rows"] == content["parts"][by].count(one["part"])
            assert one["rows"] >= 15
            assert len(one["top"]) == 10


def test_stability_is_measured_where_the_fit_was_grown_again(written, models, x):
    found = written[0][HEAD]["stability"]
    assert found["seeds"] == [8]
    assert 0.5 < found["overlap"] <= 1
    assert found["agreement"] <= found["overlap"]
    assert set(found["features"]) <= set(FEATURES)


def test_the_planted_flip_is_told_and_becomes_a_tag(written):
    files, tags = written
    flips = files[HEAD]["flips"]
    assert flips["against"] == "1"
    assert {one["feature"] for one in flips["features"][:2]} == {"a", "a_twin"}  # lighter ones are noise
    assert all(one["was"] < 0 < one["now"] for one in flips["features"][:2])
    assert f"{HEAD}: a" in tags["reasons_flipped"]


def test_without_others_nothing_is_made_up(x, models, tmp_path):
    config = load(tmp_path)
    assert write_learned(config, models["2"], "2", {HEAD: x[:30]}, as_of=AS_OF) == {}
    content = json.loads((config.home / "desk/churn/2/learned" / f"{HEAD}.json").read_text())
    assert content["stability"]["status"] == "not_measured"
    assert content["stability"]["words"].keys() == {"en", "zh"}
    assert content["flips"] == {"against": None, "features": []}
    assert "store" not in content["parts"]
    assert content["sample"]["rows"] == 30


def test_another_catalogue_is_not_compared(x, models, tmp_path):
    meta = meta_of("1", None, x)
    meta["features"] = [*FEATURES[:-1], "gone"]
    rows = np.column_stack([x, np.full(len(x), 14.0)])
    params = {"objective": "binary", "verbose": -1, "monotone_constraints": [0] * len(FEATURES) + [-1]}
    columns = [*meta["features"], "horizon_days"]
    booster = lgb.train(params, lgb.Dataset(rows, (x[:, 4] > 90).astype(float), feature_name=columns), 3)
    before = write_model(tmp_path / "churn", meta, {"inactive": booster.model_to_string()})
    config = load(tmp_path / "home")
    assert write_learned(config, models["2"], "2", {HEAD: x}, as_of=AS_OF, against=("1", before)) == {}
    flips = json.loads((config.home / "desk/churn/2/learned" / f"{HEAD}.json").read_text())["flips"]
    assert flips["status"] == "not_measured"
    assert "gone" in flips["words"]["en"]


@pytest.fixture(scope="module")
def value(x, tmp_path_factory):
    rows = np.column_stack([np.tile(x, (2, 1)), np.repeat([30.0, 90.0], len(x))])
    up = {"verbose": -1, "num_threads": 1, "num_leaves": 7, "monotone_constraints": [0] * len(FEATURES) + [1]}
    y = (np.nan_to_num(rows[:, 0]) + rows[:, -1] / 60 > 0.8).astype(float)
    columns = [*FEATURES, "horizon_days"]
    purchase = lgb.train({**up, "objective": "binary"}, lgb.Dataset(rows, y, feature_name=columns), 10)
    log_amount = 3 + rows[:, 2] + rows[:, -1] / 100
    amount = lgb.train({**up, "objective": "regression"}, lgb.Dataset(rows, log_amount, feature_name=columns), 10)
    percentiles = np.linspace(-3, 3, 101).tolist()
    heads = {
        f"spend_{days}d": {
            "booster": "purchase", "horizon_days": float(days), "cohort": None,
            "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": days / 900},
            "raw_percentiles": percentiles, "spend_percentiles": np.linspace(0, 90, 101).tolist(),
        }
        for days in (30, 90)
    }  # fmt: skip
    meta = {
        "name": "value", "version": "1", "run_id": "r", "features": list(FEATURES),
        "catalogue_digest": "sha256:ca7a", "heads": heads, "cold_start": dict.fromkeys(heads, 20.0),
        "boosters": {name: {"horizon_column": True, "monotone": "increasing"} for name in ("purchase", "amount")},
        "amount": {"booster": "amount", "constants": {"spend_30d": 0.1, "spend_90d": 0.2},
                   "ratios": np.linspace(-1, 1, 101).tolist()},
        "tiers": {"version": 1, "head": "spend_90d", "recency": "tenure_days", "core_share": 0.2,
                  "core_silence_days": 180, "dormant_silence_days": 90, "dormant_share": 0.5, "core_spend": 40.0,
                  "dormant_spend": 10.0},
        "created_at": "2026-06-01T00:00:00Z",
    }  # fmt: skip
    boosters = {"purchase": purchase.model_to_string(), "amount": amount.model_to_string()}
    return write_value(tmp_path_factory.mktemp("value") / "value", meta, boosters)


def test_a_value_model_explains_purchase_and_amount_apart(value, x, tmp_path):
    config = load(tmp_path)
    write_learned(config, value, "1", {"spend_90d": x}, as_of=AS_OF)
    folder = config.home / "desk/value/1/learned"
    chance, amount = (json.loads((folder / f"spend_90d{part}.json").read_text()) for part in ("", ".amount"))
    rows = x[drawn(len(x), ROWS)]
    assert (chance["unit"], amount["unit"]) == ("log_odds", "log_amount")
    assert {bar["feature"] for bar in amount["bars"]} <= set(FEATURES)
    assert amount["bars"][0]["feature"] == "b"
    total = np.sum([amount["contributions"][name] for name in amount["features"]], axis=0)
    base = contributions(value, "spend_90d", rows, amount=True)[1]
    assert total + base == pytest.approx(value.amount_raws(rows, ["spend_90d"])["spend_90d"], abs=1e-3)
    assert amount["curve"]["answer"] == pytest.approx(np.exp(amount["curve"]["raw"]), rel=1e-3)
    assert amount["stability"]["status"] == "not_measured"


def test_amounts_are_explained_as_frames_too(value, x):
    frame = pd.DataFrame(x[:20], columns=FEATURES)
    raw = value.amount_raws(x[:20], ["spend_30d"])["spend_30d"]
    told = reasons(value, frame, "spend_30d", amount=True)
    assert told.groupby("row")["raw"].first().to_numpy() == pytest.approx(raw)
    given = explanation(value, frame, "spend_30d", amount=True)
    assert given.values.sum(axis=1) + given.base_values == pytest.approx(raw)
    together = interactions(value, frame, "spend_30d", amount=True)
    np.testing.assert_allclose(together.sum(axis=2), given.values, atol=1e-10)


def test_a_model_without_amounts_says_so(models, x):
    with pytest.raises(TypeError, match="no amounts"):
        contributions(models["2"], HEAD, x[:2], amount=True)
    assert booster_of(models["2"], HEAD)[1] == 30.0


def test_groups_as_a_frame(models, x):
    found = groups(models["2"], pd.DataFrame(x, columns=FEATURES), HEAD)
    assert set(found[found["group"] == "g1"]["feature"]) == {"a", "a_twin"}
    assert found["group_share"].iloc[0] == pytest.approx(found[found["group"] == "g1"]["share"].sum())
