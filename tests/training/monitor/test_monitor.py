"""A version registered on a past day, watched today: quiet in its own shop, drift when the shop changes."""

import json
from datetime import timedelta

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from configs import load
from configs.errors import FeatureError
from features.catalog import NAMES, digest
from features.ingest import ingest
from features.periods import as_utc
from features.simulate import Shop, simulate
from serving.scoring import write_model
from training.dataset import assemble
from training.labels import label
from training.monitor.monitor import monitor, verdict_of
from training.monitor.reference import COHORT, FILE
from training.monitor.report import as_page, log_monitoring
from training.monitor.served import read_vectors, served_shifts
from training.monitor.watched import Watched
from training.registry import CHAMPION, Registry
from training.retrain.shadow import as_page as shadow_page
from training.retrain.shadow import shadow

END = as_utc("2026-06-01")
TRAINED = END - timedelta(days=75)
HEAD = {"label": "inactive", "horizon_days": 30.0, "cohort": "active"}
ACTIVE = {"rule": [{"feature": "days_since_last_activity", "max": 90}], "meaning": {"en": "active", "zh": "活跃"}}


def fit(frame, seed=0):
    """A model of the one head from two past origins, and its ``model.json``."""
    rows = frame[frame["days_since_last_activity"] <= 90]
    y = label(HEAD, rows, TRAINED)
    x = rows[list(NAMES)].to_numpy(float)
    params = {"objective": "binary", "num_leaves": 4, "learning_rate": 0.1, "min_data_in_leaf": 40, "verbose": -1}
    data = lgb.Dataset(x, y, feature_name=list(NAMES))
    booster = lgb.train({**params, "num_threads": 1, "deterministic": True, "seed": seed}, data, 40)
    raw = booster.predict(x, raw_score=True)
    head = {"booster": "b", "cohort": "active", "horizon_days": 30.0}
    head |= {"calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0}}
    head |= {"raw_percentiles": np.quantile(raw, np.linspace(0, 1, 101)).tolist()}
    meta = {"name": "churn", "features": list(NAMES), "catalogue_digest": digest(), "cohorts": {"active": ACTIVE}}
    meta |= {"boosters": {"b": {"horizon_column": False}}, "heads": {"p_inactive_30d": head}}
    meta |= {"cold_start": {"p_inactive_30d": float(y.mean())}, "created_at": TRAINED.isoformat()}
    meta |= {"known_until": TRAINED.isoformat(), "maturity": "young"}
    meta |= {"metrics": {"p_inactive_30d": {"auroc": {"value": 0.75, "ci": [0.55, 0.9]}}}}
    return meta, booster.model_to_string()


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A simulated shop whose champion learned 75 days before its end."""
    folder = tmp_path_factory.mktemp("watched")
    simulate(folder / "shop", Shop(users=500, days=220, end=END, seed=5))
    config = load(folder / "home", END)
    ingest(config, "shop", folder / "shop")
    meta, text = fit(assemble(config, [TRAINED - timedelta(days=k) for k in (31, 59)]).frame)
    registry = Registry(config)
    with registry.run("churn", "train") as run:
        version = registry.new_version("churn", run, {})
        write_model(folder / "model", {**meta, "version": version, "run_id": run.run_id}, {"b": text})
        run.folder(folder / "model", "model")
    registry.alias("churn", CHAMPION, version)
    return config


@pytest.fixture(scope="module")
def quiet(config):
    """Monitored at the end, beside served vectors that are those of the store."""
    file = exported(config.home / "same.parquet", assemble(config, [END]).frame)
    return monitor(config, "churn", served=file)


def test_a_shop_that_goes_on_as_before_is_quiet(config, quiet):
    assert (quiet.verdict, quiet.reasons, quiet.drifted_weight) == ("quiet", [], 0.0)
    assert quiet.age_days == 75
    (head,) = quiet.calibration
    assert head.status == "true"
    assert len(head.origins) == 4  # every fortnight, until 30 days before the end
    assert {one.status for one in quiet.shifts if one.name in ("year_sin", "days_to_month_end")} == {"calendar"}


def test_the_reference_is_worked_out_once_and_kept(config, quiet):
    registry = Registry(config)
    kept = registry.read_json(registry.version("churn", CHAMPION).run_id, FILE)
    assert kept["as_of"] == TRAINED.isoformat()
    assert kept["rows"] > 200
    assert all(at < kept["as_of"] for one in kept["features"].values() for at in one["earlier"])


def test_a_run_and_a_page_tell_it(config, quiet):
    run_id = log_monitoring(config, quiet)
    told = Registry(config).read_json(run_id, "monitor.json")
    assert told["verdict"] == "quiet"
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    page = as_page(quiet)
    assert "days_since_last_activity" in page
    assert "正常" in page


def exported(file, frame, changed=None):
    """An export of decisions about the users of ``frame``, a second after their features."""
    values = frame[list(NAMES)].to_numpy(float).copy()
    if changed is not None:
        values[:, NAMES.index(changed)] = np.nan
    columns = {
        "user_id": frame["user_id"].to_list(),
        "timestamp": pa.array(frame["as_of"] + timedelta(seconds=1)),
        "context": [None, *values.tolist()[1:]],
    }
    pq.write_table(pa.table(columns), file)
    return file


def test_served_vectors_are_held_against_the_same_users_offline(config, quiet, tmp_path):
    assert quiet.served.users > 200
    assert {one.status for one in quiet.served.to_offline} <= {"steady", "calendar"}
    watched = Watched(config, config.models["churn"], Registry(config).version("churn", CHAMPION))
    frame = assemble(config, [END]).frame
    by_weight = sorted((one.weight, one.name) for one in quiet.shifts if one.kind == "feature")
    heavy = [name for _, name in by_weight if name != "days_since_last_activity"][-1]
    # Without its recency nobody belongs to the cohort any more.
    for broken, told in ((heavy, heavy), ("days_since_last_activity", COHORT)):
        vectors = read_vectors(exported(tmp_path / "broken.parquet", frame, broken))
        found = served_shifts(config, watched.scorer, watched.reference, vectors, END)
        verdict, reasons = verdict_of([], [], quiet.freshness, found.to_offline)
        assert (verdict, [one["code"] for one in reasons]) == ("drift", ["served"])
        assert told in reasons[0]["en"]


def test_the_last_vector_of_a_user_counts_and_another_catalogue_is_refused(tmp_path):
    at = pd.DatetimeIndex([END, END + timedelta(hours=1), END])
    context = [[float(k)] * len(NAMES) for k in range(3)]
    pq.write_table(pa.table({"user_id": ["a", "a", "b"], "timestamp": at, "context": context}), tmp_path / "x.parquet")
    found = read_vectors(tmp_path / "x.parquet").set_index("user_id")
    assert found["orders_life"].to_dict() == {"a": 1.0, "b": 2.0}
    mixed = pa.table({"user_id": ["a", "b"], "timestamp": at[:2], "context": [[1.0], context[1]]})
    pq.write_table(mixed, tmp_path / "mixed.parquet")
    assert read_vectors(tmp_path / "mixed.parquet")["user_id"].to_list() == ["b"]
    pq.write_table(pa.table({"user_id": ["a"], "timestamp": at[:1], "context": [[1.0]]}), tmp_path / "y.parquet")
    with pytest.raises(FeatureError, match="another catalogue"):
        read_vectors(tmp_path / "y.parquet")


def test_a_shadow_that_answers_everybody_is_sound_and_one_that_does_not_is_not(config, tmp_path):
    frame = assemble(config, [TRAINED - timedelta(days=k) for k in (31, 59)]).frame
    meta, text = fit(frame)
    named = {**meta, "version": "1", "run_id": "r"}
    champion = write_model(tmp_path / "a", named, {"b": text})
    narrow = {"active": {**ACTIVE, "rule": [{"feature": "days_since_last_activity", "max": 20}]}}
    loser = write_model(tmp_path / "b", {**named, "cohorts": narrow}, {"b": text})
    other = write_model(tmp_path / "c", named, {"b": fit(frame[::2])[1]})
    (same,) = shadow(champion, champion, frame)
    assert (same.sound, same.largest, same.order, same.far) == (True, 0.0, pytest.approx(1.0), 0.0)
    (lost,) = shadow(champion, loser, frame)
    days = frame["days_since_last_activity"]
    assert (lost.sound, lost.lost) == (False, ((days <= 90) & (days > 20)).sum())
    (moved,) = shadow(champion, other, frame)
    raw = champion.raw(frame.loc[days <= 90, list(NAMES)].to_numpy(float), "p_inactive_30d")
    assert moved.champion == pytest.approx(expit(raw).mean())
    assert moved.sound
    assert 0 < moved.largest < 1
    assert "p_inactive_30d" in shadow_page("churn", [moved], ("1", "2"))


def test_another_behaviour_of_everybody_is_drift(config, tmp_path):
    """Last: it changes the shop. Everybody begins to come every day, as if a pixel counted page loads as visits."""
    users = assemble(config, [END]).frame["user_id"]
    lines = [f"{user},{END - timedelta(days=k, hours=5):%Y-%m-%d %H:%M}" for user in users for k in range(40)]
    (tmp_path / "pixel.csv").write_text("u,t\n" + "\n".join(lines) + "\n", encoding="utf-8")
    mapping = (
        "about: a pixel\nread: {kind: csv}\ncolumns: {user_id: u, event_type: \"'visit'\", event_at: t::TIMESTAMP,"
    )
    (tmp_path / "pixel.yaml").write_text(mapping + " ingested_at: event_at}\ndedup: exact\n", encoding="utf-8")
    ingest(config, str(tmp_path / "pixel.yaml"), tmp_path / "pixel.csv")
    found = monitor(config, "churn")
    assert found.verdict == "drift"
    assert {"features", "scores"} <= {one["code"] for one in found.reasons}
    assert found.drifted_weight > 0.5
