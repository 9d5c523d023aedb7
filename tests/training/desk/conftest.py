"""A small shop on which churn is trained twice, with other settings, the first version being champion meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from configs import load
from features.ingest import ingest
from features.periods import as_utc
from features.simulate import Shop, simulate
from training.registry import CHAMPION, Registry
from training.train import train

END = as_utc("2026-06-01")
HEADS = ("p_inactive_14d", "p_inactive_30d")
SETTINGS = ({"trees": 12}, {"trees": 20, "num_leaves": 4, "feature_fraction": 0.15})


def settings(config, lightgbm):
    """The configuration with two heads of churn and few trees, so that tests need not wait."""
    churn = config.models["churn"]
    heads = {head: churn.heads[head] for head in HEADS}
    origins = replace(churn.origins, every_days=28, most=3)
    return replace(config, threads=1, models={"churn": replace(churn, heads=heads, origins=origins, lightgbm=lightgbm)})


@pytest.fixture(scope="session")
def twice(tmp_path_factory):
    """The configuration of the second training, and both reports."""
    home = tmp_path_factory.mktemp("desk")
    config = load(home, END)
    ingest(config, "shop", simulate(home / "shop", Shop(users=450, days=240, end=END)))
    reports = []
    for number, one in enumerate(SETTINGS, start=1):
        reports.append(train(settings(config, one), "churn"))
        if number == 1:
            Registry(config).alias("churn", CHAMPION, reports[0].version)
    return settings(config, SETTINGS[1]), *reports
