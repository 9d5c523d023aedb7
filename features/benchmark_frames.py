"""Twenty features of the same events: ours, and as a capable analyst writes them with pandas and with polars.

Each way reads the same Parquet files in a process of its own, so that its peak memory is its own; all must agree. Asked
for several snapshots, each does what suits it: ours makes them in one pass over daily tiles, the others read the files
once and then go snapshot by snapshot.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs import Config, load
from configs.errors import FeatureError
from features import engine
from features.behaviour.user import user_features
from features.benchmark_report import alone, peak_mb
from features.periods import as_utc
from features.tiles import PASSIVE_KINDS

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

__all__ = ["TWENTY", "WAYS", "by_pandas", "by_polars", "by_us", "check_equal", "frames"]

TWENTY = (
    "days_since_last_purchase", "orders_30d", "orders_90d", "orders_365d", "orders_life", "spend_30d", "spend_90d",
    "spend_365d", "spend_life", "purchase_gap_mean_days", "purchase_gap_sd_days", "items_life",
    "days_since_last_activity", "active_days_30d", "active_days_90d", "visits_30d", "views_30d", "carts_30d",
    "weekend_share_365d", "tenure_days",
)  # fmt: skip
_READ = ["user_id", "event_type", "event_at", "item_id", "order_id", "amount"]
_COUNTED = {"visits": "visit", "views": "view", "carts": "cart"}
_DAY_US = 86_400_000_000
_ABSENT_IS_0 = [name for name in TWENTY if name.startswith(("orders", "spend", "items", "active", *_COUNTED))]


def by_us(config: Config, files: Sequence[Path], as_ofs: Sequence[datetime]) -> pa.Table:
    """The catalogue's own expressions; DuckDB leaves out what it sees that nobody asks for."""
    connection = engine.connect(config)
    events = connection.read_parquet([str(file) for file in files])
    table: pa.Table = connection.to_pyarrow(user_features(events, as_ofs).select("user_id", "as_of", *TWENTY))
    return table


def by_pandas(config: Config, files: Sequence[Path], as_ofs: Sequence[datetime]) -> pa.Table:
    """One group-by after the other; ids as categories."""
    import pandas as pd

    asked: Any = [str(file) for file in files]
    events = pd.read_parquet(asked, columns=_READ, read_dictionary=["user_id", "event_type", "item_id"])
    frame = pd.concat([_pandas_at(events, as_of).assign(as_of=as_of) for as_of in as_ofs])
    return pa.Table.from_pandas(frame, preserve_index=False)


def _pandas_at(events: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    import pandas as pd

    events = events[events["event_at"] <= as_of]
    kind, whom = events["event_type"], "user_id"
    ago = (pd.Timestamp(as_of) - events["event_at"]).dt.as_unit("us").astype("int64")
    events = events.assign(ago=ago, age=ago // _DAY_US)

    def days(rows: pd.DataFrame, how: str) -> pd.Series[Any]:
        return rows.groupby(whom, observed=True)["ago"].agg(how) / _DAY_US

    def count(rows: pd.DataFrame) -> pd.Series[Any]:
        return rows.groupby(whom, observed=True).size()

    found: dict[str, Any] = {"tenure_days": days(events, "max")}
    for plural, name in _COUNTED.items():
        found[f"{plural}_30d"] = count(events[(kind == name) & (events["age"] < 30)])
    active = events[~kind.isin(PASSIVE_KINDS)]
    found["days_since_last_activity"] = days(active, "min")
    active_days = active[active["age"] < 90].drop_duplicates([whom, "age"])
    for window in (30, 90):
        found[f"active_days_{window}d"] = count(active_days[active_days["age"] < window])
    year = active[active["age"] < 365]
    weekend = (year["event_at"].dt.dayofweek >= 5).groupby(year[whom], observed=True)
    found["weekend_share_365d"] = weekend.mean()
    bought = events[kind == "purchase"]
    found["days_since_last_purchase"] = days(bought, "min")
    found["items_life"] = count(bought[bought["item_id"].notna()].drop_duplicates([whom, "item_id"]))
    receipt = bought["order_id"].fillna("at " + bought["ago"].astype(str))
    orders = bought.groupby([whom, receipt], observed=True)["age"].max().reset_index()
    for name, longest in {"30d": 30, "90d": 90, "365d": 365, "life": 10**6}.items():
        found[f"orders_{name}"] = count(orders[orders["age"] < longest])
        found[f"spend_{name}"] = bought[bought["age"] < longest].groupby(whom, observed=True)["amount"].sum()
    dates = bought.drop_duplicates([whom, "age"]).sort_values([whom, "age"])
    gaps = dates.groupby(whom, observed=True)["age"].diff().groupby(dates[whom], observed=True)
    found["purchase_gap_mean_days"], found["purchase_gap_sd_days"] = gaps.mean(), gaps.std()
    frame = pd.DataFrame(found, index=found["tenure_days"].index)
    return frame.fillna(dict.fromkeys(_ABSENT_IS_0, 0.0)).reset_index()


def by_polars(config: Config, files: Sequence[Path], as_ofs: Sequence[datetime]) -> pa.Table:
    """One lazy query per snapshot; polars plans them together and runs them in its streaming engine."""
    import polars as pl

    scanned = pl.scan_parquet([str(file) for file in files]).select(_READ)
    asked = [_polars_at(scanned, as_of).with_columns(as_of=pl.lit(as_of)) for as_of in as_ofs]
    return pl.concat(pl.collect_all(asked, engine="streaming")).to_arrow()


def _polars_at(scanned: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    import polars as pl

    ago = (pl.lit(as_of).dt.cast_time_unit("us") - pl.col("event_at")).dt.total_microseconds()
    known = scanned.filter(pl.col("event_at") <= as_of)
    events = known.with_columns(ago=ago).with_columns(age=pl.col("ago") // _DAY_US)
    kind, age, days = pl.col("event_type"), pl.col("age"), pl.col("ago") / _DAY_US
    active, whom = ~kind.is_in(PASSIVE_KINDS), "user_id"
    year = active & (age < 365)
    weekend = pl.col("event_at").dt.weekday() >= 6
    everybody = events.group_by(whom).agg(
        tenure_days=days.max(),
        days_since_last_activity=days.filter(active).min(),
        weekend_share_365d=(year & weekend).sum() / year.sum(),
        **{f"{plural}_30d": ((kind == name) & (age < 30)).sum() for plural, name in _COUNTED.items()},
    )
    active_days = events.filter(active & (age < 90)).unique([whom, "age"]).group_by(whom)
    bought = events.filter(kind == "purchase")
    receipt = pl.col("order_id").fill_null(pl.concat_str(pl.lit("at "), pl.col("ago").cast(pl.String)))
    orders = bought.group_by(whom, receipt).agg(age.max()).group_by(whom)
    items = bought.filter(pl.col("item_id").is_not_null()).unique([whom, "item_id"]).group_by(whom)
    gaps = bought.unique([whom, "age"]).sort(whom, "age").select(whom, gap=age.diff().over(whom)).group_by(whom)
    windows = {"30d": age < 30, "90d": age < 90, "365d": age < 365, "life": pl.lit(True)}
    parts = (
        active_days.agg(active_days_30d=(age < 30).sum(), active_days_90d=pl.len()),
        bought.group_by(whom).agg(
            days_since_last_purchase=days.min(),
            **{f"spend_{name}": pl.col("amount").filter(inside).sum() for name, inside in windows.items()},
        ),
        orders.agg(**{f"orders_{name}": age.filter(inside).len() for name, inside in windows.items()}),
        items.agg(items_life=pl.len()),
        gaps.agg(purchase_gap_mean_days=pl.col("gap").mean(), purchase_gap_sd_days=pl.col("gap").std()),
    )
    for part in parts:
        everybody = everybody.join(part, whom, "left")
    return everybody.with_columns(pl.col(_ABSENT_IS_0).fill_null(0))


WAYS: dict[str, Callable[[Config, Sequence[Path], Sequence[datetime]], pa.Table]] = {
    "ours": by_us,
    "pandas": by_pandas,
    "polars": by_polars,
}


def frames(
    config: Config, scratch: Path, files: Sequence[Path], as_ofs: Sequence[datetime], repeats: int
) -> dict[str, dict[str, Any]]:
    """Of each way the ``seconds`` of its repeats and ``peak_mb``; all have the same answer.

    Raises
    ------
    FeatureError
        When a user or a value differs, by more than 1e-9 of itself.
    """
    found, tables = {}, {}
    for way in WAYS:
        answer = scratch / f"{way}.parquet"
        asked = {
            "way": way,
            "files": [str(file) for file in files],
            "as_ofs": [as_of.isoformat() for as_of in as_ofs],
            "repeats": repeats,
            "answer": str(answer),
            "home": str(scratch / "home"),
            "threads": config.threads,
            "memory_limit": config.memory_limit,
        }
        environment = {**os.environ, "POLARS_MAX_THREADS": str(config.threads)}
        found[way] = alone("features.benchmark_frames", asked, environment)
        tables[way] = pq.read_table(answer)
    for way in WAYS:
        check_equal(way, tables[way], tables["ours"])
    return found


def check_equal(way: str, theirs: pa.Table, ours: pa.Table) -> None:
    """Both hold the same twenty values of the same users at the same snapshots."""
    theirs, ours = (_in_order(table) for table in (theirs, ours))
    for key in ("user_id", "as_of"):
        if not theirs[key].equals(ours[key]):
            raise FeatureError(f"{way} has other users or snapshots", got=len(theirs), expected=len(ours))
    for name in TWENTY:
        a, b = (table[name].to_numpy() for table in (theirs, ours))
        if not (same := np.isclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)).all():
            worst = int(np.argmin(same))
            user = ours["user_id"][worst].as_py()
            raise FeatureError(f"{way}: {name} of {user} is not ours", got=float(a[worst]), expected=float(b[worst]))


def _in_order(table: pa.Table) -> pa.Table:
    """Text, microseconds and float64, sorted by user and snapshot."""
    at = pa.timestamp("us", "UTC")
    columns: dict[str, Any] = {"user_id": table["user_id"].cast(pa.string()), "as_of": table["as_of"].cast(at)}
    plain = pa.table(columns | {name: table[name].cast(pa.float64()) for name in TWENTY})
    return plain.sort_by([("user_id", "ascending"), ("as_of", "ascending")])


def _run(asked: dict[str, Any]) -> dict[str, Any]:
    """One way, so many times, in this process."""
    config = replace(load(home=asked["home"]), threads=asked["threads"], memory_limit=asked["memory_limit"])
    files, as_ofs = [Path(file) for file in asked["files"]], [as_utc(as_of) for as_of in asked["as_ofs"]]
    taken = []
    for _ in range(asked["repeats"]):
        began = time.perf_counter()
        answer = WAYS[asked["way"]](config, files, as_ofs)
        taken.append(time.perf_counter() - began)
    peak = peak_mb()
    pq.write_table(answer, asked["answer"])
    return {"seconds": taken, "peak_mb": peak}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(json.loads(sys.argv[1]))) + "\n")
