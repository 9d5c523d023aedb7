"""How fast the user features are built, what one more snapshot costs, and twenty of them beside pandas and polars.

The events are drawn by DuckDB before anything is measured: two years of sessions of users of very different activity,
each a visit with views in one or two categories, perhaps a search, a basket, a purchase of one to four lines, a return.
Each build runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from configs import Config, load
from features import engine
from features.benchmark_frames import TWENTY, frames
from features.benchmark_report import Progress, alone, peak_mb, report, scratch
from features.build import build
from features.catalog import NAMES

__all__ = ["benchmark_features", "measure_build", "write_events"]

START = datetime(2023, 1, 1, tzinfo=UTC)
DAYS = 730
EVENTS_PER_USER = 50
EVENTS_PER_SESSION = 4.0
CATEGORIES = 200
ITEMS_PER_CATEGORY = 100
FRAME_SNAPSHOTS = 12

_EVENTS = """
WITH sessions AS (
    SELECT i AS session, CAST(floor($users * pow(random(), 2)) AS BIGINT) AS u,
           make_timestamptz(CAST($start_us + (i - $first) * $step_us AS BIGINT)) AS began,
           random() AS a, random() AS b, random() AS c, random() AS d
    FROM range($first, $last) AS numbers(i)
), kinds AS (
    SELECT *, unnest(list_concat(
        [{'kind': 'visit', 'line': 0}],
        list_transform(range(CAST(floor(-ln(1 - a * 0.98) * 2.6) AS BIGINT)), j -> {'kind': 'view', 'line': j}),
        CASE WHEN b < 0.3 THEN [{'kind': 'search', 'line': 0}] ELSE [] END,
        CASE WHEN c < 0.3 THEN [{'kind': 'cart', 'line': 0}] ELSE [] END,
        CASE WHEN c < 0.15
             THEN list_transform(range(1 + CAST(floor(d * 4) AS BIGINT)), j -> {'kind': 'purchase', 'line': j})
             ELSE [] END,
        CASE WHEN c < 0.01 THEN [{'kind': 'return', 'line': 0}] ELSE [] END
    ), recursive := true) FROM sessions
)
SELECT concat(session, kind, line) AS event_id,
       concat('u', lpad(CAST(u AS VARCHAR), 8, '0')) AS user_id,
       kind AS event_type,
       began + to_seconds(CASE kind WHEN 'visit' THEN 0 WHEN 'purchase' THEN 900 ELSE 30 + 40 * line END) AS event_at,
       event_at AS ingested_at,
       list_value('app', 'web', 'store', 'wecom', 'mini')[1 + CAST(floor(d * 5) AS BIGINT)] AS channel,
       CASE WHEN kind <> 'visit'
            THEN concat('c', (u * 7 + CAST(floor(pow(b, 3) * 20) AS BIGINT) * 3 + line // 3) % $categories)
       END AS category_id,
       CASE WHEN kind NOT IN ('visit', 'search')
            THEN concat('i', (u * 7 + CAST(floor(pow(b, 3) * 20) AS BIGINT) * 3 + line // 3) % $categories, '-',
                        CAST(floor(pow(random(), 2) * $items) AS BIGINT))
       END AS item_id,
       CASE WHEN d BETWEEN 0.4 AND 0.6 THEN concat('s', u % 50) END AS store_id,
       CASE WHEN kind IN ('purchase', 'return') THEN concat('o', session) END AS order_id,
       CASE WHEN kind IN ('purchase', 'return') THEN 1 + floor(random() * 3) END AS quantity,
       CASE WHEN kind IN ('purchase', 'return') THEN round(5 + 100 * pow(random(), 3), 2) END AS amount,
       CASE WHEN kind = 'purchase' AND b < 0.3 THEN concat('{"discount": ', round(random() * 10, 2), '}') END AS props
FROM kinds
"""


def write_events(folder: Path, events: int, seed: int, threads: int = 2, parts: int = 24) -> int:
    """Write about ``events`` events as Parquet files, one per month or so, and give their number.

    One user for 50 events; the most active ones have hundreds of sessions, the least active two or three.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sessions = int(events / EVENTS_PER_SESSION)
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        # One thread draws the same numbers on every machine.
        connection.execute("SET threads = 1")
        connection.execute("SELECT setseed(?)", [seed % 1000 / 1000])
        written = 0
        step = DAYS * 86_400_000_000 / sessions
        for part in range(parts):
            first, last = sessions * part // parts, sessions * (part + 1) // parts
            values = {
                "users": max(1, events // EVENTS_PER_USER),
                "start_us": int(START.timestamp() * 1_000_000 + first * step),
                "step_us": step,
                "first": first,
                "last": last,
                "categories": CATEGORIES,
                "items": ITEMS_PER_CATEGORY,
            }
            connection.execute(f"CREATE OR REPLACE TEMP TABLE part AS {_EVENTS}", values)
            target = str(folder / f"{part:02d}.parquet").replace("'", "''")
            connection.execute(f"COPY part TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
            (count,) = connection.execute("SELECT count(*) FROM part").fetchone() or (0,)
            written += count
    return written


def benchmark_features(
    config: Config,
    events: int = 20_000_000,
    snapshots: int = 52,
    frame_events: int = 2_000_000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Build all user features at one snapshot, then at ``snapshots`` weekly ones, from the same events.

    ``events_per_second`` is events ÷ seconds of the one-snapshot build, from reading Parquet to the finished file. Then
    twenty features of ``frame_events`` other events beside pandas and polars, at one snapshot and at `FRAME_SNAPSHOTS`.
    """
    started = time.monotonic()

    def tell(message: str, fraction: float) -> None:
        if progress:
            progress(message, fraction)

    with scratch(config) as folder:
        tell(f"drawing {events:,} events (not measured)", 0.0)
        written = write_events(folder / "events", events, config.seed, config.threads)
        tell("one snapshot", 0.2)
        one = measure_build(config, folder, 1)
        tell(f"{snapshots} snapshots", 0.3)
        many = measure_build(config, folder, snapshots)
        tell("beside pandas and polars", 0.8)
        beside = _beside(config, folder, frame_events)
    extra = (many["seconds"] - one["seconds"]) / max(1, snapshots - 1)
    metrics = {
        "events_per_second": written / one["seconds"],
        "seconds_one_snapshot": one["seconds"],
        f"seconds_{snapshots}_snapshots": many["seconds"],
        f"ratio_{snapshots}_vs_1": many["seconds"] / one["seconds"],
        "seconds_per_extra_snapshot": extra,
        "extra_snapshot_vs_one": extra / one["seconds"],
        "peak_mb_one_snapshot": one["peak_mb"],
        f"peak_mb_{snapshots}_snapshots": many["peak_mb"],
        **beside["ours"],
    }
    others = {way: beside[way] for way in beside if way != "ours"}
    baselines = {
        "one_scan_per_snapshot": {
            f"ratio_{snapshots}_vs_1": float(snapshots),
            f"seconds_{snapshots}_snapshots": snapshots * one["seconds"],
        },
        **others,
    }
    ratios = {
        "ours_vs_one_scan_per_snapshot": snapshots * one["seconds"] / many["seconds"],
        **{
            f"ours_vs_{way}_{asked}": other[f"twenty_seconds_{asked}"] / metrics[f"twenty_seconds_{asked}"]
            for way, other in others.items()
            for asked in (1, FRAME_SNAPSHOTS)
        },
    }
    settings = {
        "events": written,
        "twenty": {"events": frame_events, "features": TWENTY},
        "users": one["rows"],
        "features": len(NAMES),
        "snapshots": snapshots,
        "every_days": 7,
        "threads": config.threads,
        "memory_limit": config.memory_limit,
    }
    shown = {name: {"value": value, "ci": None} for name, value in metrics.items()}
    libraries = ("duckdb", "ibis-framework", "pandas", "polars")
    told = report("features", shown, baselines, ratios, settings, libraries, started)
    return told | {"peak_mb": max(one["peak_mb"], many["peak_mb"])}


def _beside(config: Config, scratch: Path, events: int) -> dict[str, dict[str, float]]:
    """Seconds and peak memory of twenty features, by way."""
    write_events(scratch / "few", events, config.seed, config.threads)
    files, end = sorted((scratch / "few").glob("*.parquet")), START + timedelta(days=DAYS)
    found: dict[str, dict[str, float]] = {}
    for many, repeats in ((1, 3), (FRAME_SNAPSHOTS, 1)):
        as_ofs = [end - timedelta(weeks=week) for week in range(many)]
        for way, one in frames(config, scratch, files, as_ofs, repeats).items():
            found.setdefault(way, {})[f"twenty_seconds_{many}"] = statistics.median(one["seconds"])
            found[way][f"twenty_peak_mb_{many}"] = one["peak_mb"]
    return found


def measure_build(config: Config, scratch: Path, snapshots: int) -> dict[str, Any]:
    """One build in a fresh process."""
    asked = {
        "scratch": str(scratch),
        "snapshots": snapshots,
        "threads": config.threads,
        "memory_limit": config.memory_limit,
    }
    return alone("features.benchmark_features", asked)


def _build_once(asked: dict[str, Any]) -> dict[str, Any]:
    scratch = Path(asked["scratch"])
    end = START + timedelta(days=DAYS)
    config = replace(load(home=scratch / "home", now=end), threads=asked["threads"], memory_limit=asked["memory_limit"])
    events = engine.connect(config).read_parquet([str(path) for path in sorted((scratch / "events").glob("*.parquet"))])
    as_ofs = [end - timedelta(weeks=week) for week in range(asked["snapshots"])]
    report = build(config, as_ofs, source_events=events)
    return {
        "seconds": report.seconds,
        "rows": report.tables["user"]["rows"] // len(as_ofs),
        "peak_mb": peak_mb(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_build_once(json.loads(sys.argv[1]))) + "\n")
