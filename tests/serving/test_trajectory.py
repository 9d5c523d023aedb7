"""Tiers over time from stored snapshots: every customer is counted once per snapshot, and moves add up."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import load
from configs.errors import UseropsError
from features.catalog import NAMES, digest
from serving.scoring import write_release
from serving.scoring.value.model import ValueModel
from serving.scoring.value.tiers import TIERS
from serving.trajectory import RISKS, trajectory

DAYS = ("2026-09-21", "2026-10-19", "2026-11-02", "2026-11-21")
USERS = 200


@pytest.fixture(scope="module")
def config(tmp_path_factory, catalogue_models, vectors_of):
    home = tmp_path_factory.mktemp("home")
    write_release(home / "releases", catalogue_models, digest(), datetime(2026, 11, 21, tzinfo=UTC))
    folder = home / "features" / "user"
    folder.mkdir(parents=True)
    for number, day in enumerate(DAYS):
        users = 120 + 20 * number  # some are new each time
        x = vectors_of(NAMES, USERS, 5 + number)[:users]
        columns = {"user_id": [f"u{k}" for k in range(users)], **dict(zip(NAMES, x.T, strict=True))}
        pq.write_table(pa.table(columns), folder / f"{day}T000000Z.parquet")
    return dataclasses.replace(load(home), home=home)


def test_everybody_who_bought_is_in_one_tier_and_moves_add_up(config, catalogue_models, tmp_path):
    told = trajectory(config, rows=tmp_path / "rows.parquet")
    assert [one["as_of"] for one in told["snapshots"]] == ["2026-09-21", "2026-10-19", "2026-11-21"]  # four weeks apart
    for one in told["snapshots"]:
        assert sum(one["tiers"].values()) == one["customers"]
    for move, after in zip(told["moves"], told["snapshots"][1:], strict=True):
        arrived = {tier: sum(row[tier] for row in move["went"].values()) for tier in TIERS}
        assert arrived == after["tiers"]
        assert 0 < move["stayed"] < 1
        assert sum(move["went"]["new"].values()) > 0
    cells = [told["matrix"][tier][band]["customers"] for tier in TIERS for band in RISKS]
    assert sum(cells) == told["snapshots"][-1]["customers"]
    rows = pq.read_table(tmp_path / "rows.parquet").to_pandas()
    assert len(rows) == sum(one["customers"] for one in told["snapshots"])
    newest = rows[rows["as_of"] == rows["as_of"].max()]
    snapshot = pq.read_table(config.home / "features" / "user" / "2026-11-21T000000Z.parquet").to_pandas()
    x = snapshot.set_index("user_id").loc[newest["user_id"], list(NAMES)].to_numpy(float)
    expected = ValueModel.load(catalogue_models["value"]).spend(x, ["spend_365d"])["spend_365d"].expected
    assert (newest["expected"].to_numpy() == expected).all()


def test_no_more_snapshots_than_asked_for(config):
    assert [one["as_of"] for one in trajectory(config, most=1)["snapshots"]] == ["2026-11-21"]


def test_without_a_value_model_it_says_what_to_run(config, catalogue_models, tmp_path):
    write_release(
        tmp_path / "releases", {"churn": catalogue_models["churn"]}, digest(), datetime(2026, 11, 21, tzinfo=UTC)
    )
    with pytest.raises(UseropsError, match="no value model"):
        trajectory(dataclasses.replace(config, home=tmp_path))
