"""Labels against an oracle that walks the events one by one."""

from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from training.labels import label, month_after, waiting

START = datetime(2024, 1, 1, tzinfo=UTC)
ACTIVITY = ("purchase", "view")
# Half-day steps, so that events fall exactly on the ends of windows again and again.
INSTANTS = st.integers(0, 240).map(lambda k: START + timedelta(hours=12 * k))
EVENTS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["purchase", "view", "impression"]), INSTANTS))


def waits_of(events: list[tuple[str, str, datetime]], keys: list[tuple[str, datetime]]) -> pd.DataFrame:
    instant = pa.timestamp("us", "UTC")
    schema = pa.schema([("user_id", pa.string()), ("event_type", pa.string()), ("event_at", instant)])
    table = pa.table(list(zip(*events, strict=True)) if events else [[], [], []], schema=schema)
    frame = pd.DataFrame(keys, columns=["user_id", "as_of"]).drop_duplicates()
    frame["as_of"] = frame["as_of"].astype("datetime64[us, UTC]")
    frame["month_start"] = month_after(pd.DatetimeIndex(frame["as_of"]))
    result = waiting(ibis.memtable(table), ibis.memtable(pa.Table.from_pandas(frame, preserve_index=False)), ACTIVITY)
    return ibis.duckdb.connect().to_pyarrow(result).to_pandas().sort_values(["user_id", "as_of"])


@settings(max_examples=60, deadline=None)
@given(
    EVENTS, st.lists(st.tuples(st.sampled_from("abc"), INSTANTS), min_size=1, max_size=8), st.sampled_from([1, 14, 30])
)
def test_labels_agree_with_an_event_by_event_oracle(events, keys, horizon):
    waits = waits_of(events, keys)
    assert len(waits) == len(set(keys))
    known_until = START + timedelta(days=100)
    got = {
        "inactive": label({"label": "inactive", "horizon_days": horizon}, waits, known_until),
        "repurchase": label({"label": "repurchase", "horizon_days": horizon}, waits, known_until),
        "month": label({"label": "repurchase_next_month"}, waits, known_until),
    }
    for row, (user, as_of) in enumerate(zip(waits["user_id"], waits["as_of"], strict=True)):
        as_of = as_of.to_pydatetime()

        def any_in(kinds, start, end, user=user):
            return any(u == user and kind in kinds and start < at <= end for u, kind, at in events)

        end = as_of + timedelta(days=horizon)
        month = datetime(as_of.year, as_of.month, 1, tzinfo=UTC) + timedelta(days=32)
        month = month.replace(day=1)
        month_end = (month + timedelta(days=32)).replace(day=1)
        expected = {
            "inactive": (not any_in(ACTIVITY, as_of, end)) if end <= known_until else None,
            "repurchase": any_in(("purchase",), as_of, end) if end <= known_until else None,
            "month": any_in(("purchase",), month, month_end) if month_end <= known_until else None,
        }
        for name, value in expected.items():
            assert (np.isnan(got[name][row]) and value is None) or got[name][row] == value, (name, user, as_of)


def test_an_event_at_as_of_is_never_a_label_and_one_at_the_end_is():
    at = START + timedelta(days=10)
    waits = waits_of([("a", "purchase", START), ("a", "purchase", at)], [("a", START)])
    assert waits["purchase_wait_days"].tolist() == [10.0]
    assert label({"label": "repurchase", "horizon_days": 10}, waits, at).tolist() == [1.0]
    assert label({"label": "repurchase", "horizon_days": 9}, waits, at).tolist() == [0.0]


def test_an_unknown_label_is_named():
    with pytest.raises(ConfigError, match="'revisit' is not defined"):
        label({"label": "revisit"}, pd.DataFrame({"as_of": [START]}), START)
