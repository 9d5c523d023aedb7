"""What is judged, and what is left out with its reason."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from configs import load
from configs.errors import TrainingError
from features.catalog import NAMES
from training.dataset import TrainingSet
from training.judge import horizons_of, judge
from training.splits import Split

START = datetime(2024, 1, 1, tzinfo=UTC)
JUDGE = START + timedelta(days=200)
KNOWN = JUDGE + timedelta(days=90)


def shop(buyers: bool = True) -> TrainingSet:
    """300 customers at nine origins; everybody has bought, so there are no first orders to foresee."""
    rng = np.random.default_rng(3)
    rate = rng.gamma(1.0, 0.03, 300)
    parts = []
    for days in (60, 80, 100, 120, 140, 160, 180, 200, 290):
        values = pd.DataFrame(0.0, index=range(len(rate)), columns=list(NAMES))
        values["orders_life"] = 1 + rng.poisson(rate * days) if buyers else np.nan
        values["purchase_days_life"] = values["orders_life"]
        values["days_since_first_purchase"] = float(days)
        values["days_since_last_purchase"] = np.minimum(rng.exponential(1 / rate), days)
        values["spend_life"] = values["orders_life"] * 10
        values["user_id"] = [f"u{n}" for n in range(len(rate))]
        values["as_of"] = START + timedelta(days=days)
        for wait in ("purchase_wait_days", "activity_wait_days", "month_purchase_wait_days"):
            values[wait] = rng.exponential(1 / rate)
        parts.append(values)
    return TrainingSet(pd.concat(parts, ignore_index=True), START, KNOWN, {})


def split(data: TrainingSet) -> Split:
    return Split(tuple(sorted(pd.to_datetime(data.frame["as_of"].unique()).to_pydatetime()[:-1])), JUDGE, KNOWN)


def test_a_label_that_nobody_can_have_is_left_out_with_its_reason():
    data, config = shop(), load()
    judged = judge(config, config.models["repurchase"], data, split(data))
    assert set(judged.fits) == {"repurchase", "repurchase_next_month"}
    assert "p_first_order_7d cannot be judged; got: 0 of 0 users positive" in judged.left_out["first_order"]["en"]
    assert "0 名用户中有 0 名发生" in judged.left_out["first_order"]["zh"]
    assert set(judged.metrics) == {"p_repurchase_30d", "p_repurchase_90d", "p_repurchase_next_month"}
    for head, values in judged.metrics.items():
        assert all(np.isfinite(one["value"]) for one in values.values()), head
        assert {"recency", "frequency", "rfm"} <= set(judged.baselines[head])
    assert "bg_nbd" in judged.baselines["p_repurchase_90d"]


def test_a_shop_that_teaches_nothing_is_an_error():
    data, config = shop(buyers=False), load()
    with pytest.raises(TrainingError, match="nothing can be learned"):
        judge(config, config.models["repurchase"], data, split(data))


def test_a_calendar_month_is_known_after_two_at_the_latest():
    assert max(horizons_of(load().models["repurchase"])) == 90
    assert 62 in horizons_of(load().models["repurchase"])
