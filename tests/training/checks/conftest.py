"""A simulated shop and a small honest procedure on it, once for all tests of checks; each test plants its own fault."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from configs import load
from features.catalog import NAMES, digest
from features.events import content_hash
from features.ingest import ingest
from features.periods import as_utc
from features.simulate import Shop, simulate
from serving.scoring import write_model
from training.baselines import fit_logistic, predict_logistic
from training.checks.subject import Subject
from training.dataset import assemble
from training.forecasts import Forecasts
from training.registry import Version
from training.segments import segments
from training.stack import stack

END = as_utc("2026-06-01")
ORIGINS = tuple(as_utc(day) for day in ("2026-03-30", "2026-04-13", "2026-04-27"))
PAST = tuple(as_utc(day) for day in ("2026-02-02", "2026-02-16", "2026-03-16"))
HEAD = "p_inactive_30d"
QUIET = {"objective": "binary", "verbose": -1, "num_leaves": 7, "min_data_in_leaf": 40, "seed": 1, "num_threads": 1}


@pytest.fixture(scope="session")
def shop(once):
    """The configuration of a home with 1,500 people, 220 days and the features of some of them."""

    def configured(home):
        return replace(load(home, END), threads=1)

    def make(home):
        ingest(configured(home), "shop", simulate(home / "shop", Shop(users=1500, days=220, end=END)))
        assemble(configured(home), [*PAST, *ORIGINS, END])

    return configured(once("shop-of-checks", make))


@pytest.fixture(scope="session")
def model(shop):
    """The churn model with one head."""
    churn = shop.models["churn"]
    return replace(churn, heads={HEAD: churn.heads[HEAD]})


@pytest.fixture(scope="session")
def learned(shop, model):
    """What is true of the shop: the rows, boosters and forecasts of a plain procedure, fitted to what was known."""
    data = assemble(shop, [*PAST, *ORIGINS, END])
    family = Subject(shop, model, version()).families[0]
    frames, logs, boosters = [], [], {}
    for origin in ORIGINS:
        past, present = data.frame[data.frame["as_of"] < origin], data.at([origin])
        rows, judged = stack(past, family, NAMES, origin), stack(present, family, NAMES, END)
        boosters[origin] = lgb.train(QUIET, lgb.Dataset(rows.x, rows.y), 30)
        raw = np.asarray(boosters[origin].predict(judged.x, raw_score=True))
        named = {name: judged.x[:, k] for k, name in enumerate(NAMES)}
        seen = pd.DataFrame(named)
        logistic = fit_logistic(("spend_life",), pd.DataFrame(rows.x[:, : len(NAMES)], columns=list(NAMES)), rows.y)
        part = segments(named, np.full(len(judged), None, dtype=object))
        frames.append(
            pd.DataFrame(
                {
                    "user_id": judged.user,
                    "as_of": pd.Series([pd.Timestamp(origin)] * len(judged)).dt.as_unit("us"),
                    "head": HEAD,
                    "y": judged.y,
                    "p": expit(raw),
                    "raw": raw,
                    "baseline.spender": predict_logistic(logistic, seen),
                    **{f"segment.{name}": values for name, values in part.items()},
                }
            )
        )
        end = pd.Timestamp(float(rows.end.max()) * 86_400, unit="s", tz="UTC")
        told = {"rows": len(rows), "last_label_end": end.isoformat()}
        logs.append({"origin": origin.isoformat(), "families": {family.name: told}})
    forecasts = Forecasts(pd.concat(frames, ignore_index=True), "probability", {"origins": logs})
    return data, boosters, forecasts


def version():
    """A version that stands in no registry."""
    return Version("churn", "1", "run", (), 0, {"heads": HEAD}, {})


@pytest.fixture(scope="session")
def without_future(shop, model):
    """The features of the last origin, computed from the events before it."""
    subject = Subject(shop, model, version())
    subject.origins = ORIGINS
    return subject.without_future


@pytest.fixture
def subject(shop, model, learned, without_future):
    """A healthy version; its parts are copies, to be spoiled."""
    data, _, forecasts = learned
    subject = Subject(shop, model, version())
    subject.origins = ORIGINS
    subject.forecasts = replace(forecasts, frame=forecasts.frame.copy(), log=deepcopy(forecasts.log))
    subject.present = replace(data, frame=data.at([ORIGINS[-1]]).reset_index(drop=True))
    subject.past = replace(data, frame=data.at(PAST).reset_index(drop=True))
    subject.without_future = without_future
    subject.since = data.frame.copy()
    split = {
        "first_origin": PAST[0].isoformat(),
        "judged_at": ORIGINS[-1].isoformat(),
        "labels_known_until": as_utc("2026-05-31").isoformat(),
    }
    rows = forecasts.log["origins"][-1]["families"]["inactive"]["rows"]
    subject.meta = {
        "known_until": "2026-05-31T00:00:00+00:00",
        "training": {
            "split": split,
            "judged": {"inactive": {"rows": rows}},
            "data": {"data_hash": content_hash(shop)},
        },
        "metrics": {HEAD: {"auroc": {"value": 0.8, "ci": [0.76, 0.84]}}},
    }
    return subject


@pytest.fixture
def scorer(learned, tmp_path):
    """The last origin's booster as serving loads it."""
    _, boosters, _ = learned
    head = {"booster": "inactive", "cohort": "active", "horizon_days": 30.0}
    meta = {
        "name": "churn",
        "version": "1",
        "run_id": "run",
        "features": list(NAMES),
        "catalogue_digest": digest(),
        "boosters": {"inactive": {"horizon_column": True}},
        "heads": {
            HEAD: {
                **head,
                "calibrator": {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0},
                "raw_percentiles": np.linspace(-3, 3, 101).tolist(),
            }
        },
        "cohorts": {"active": {"rule": [{"feature": "days_since_last_activity", "max": 90}]}},
        "cold_start": {HEAD: 0.3},
        "created_at": END.isoformat(),
    }
    return write_model(tmp_path / "model", meta, {"inactive": boosters[ORIGINS[-1]].model_to_string()})


@pytest.fixture(scope="session")
def moved():
    """Probabilities whose log-odds are raised by a number: (p, by) -> p."""
    return lambda p, by: expit(logit(np.clip(p, 1e-6, 1 - 1e-6)) + by)
