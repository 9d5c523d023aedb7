"""The parts of ``userops benchmark all``: which verbs run, about how long, and which of their numbers people read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["PARTS", "Part", "Row"]


@dataclass(frozen=True)
class Row:
    """A line of the table: which metric, beside which baseline, with which ratio, against which goal.

    ``unit`` formats ``scale`` times the number; ``named`` says what the baseline is; ``goal_of`` whether the goal is
    one of the ratio or of our own number.
    """

    what: str
    ours: str
    unit: str
    beside: str = ""
    named: str = ""
    ratio: str = ""
    goal: float | None = None
    goal_of: Literal["ratio", "ours"] = "ratio"
    at_most: bool = False
    scale: float = 1.0
    metric_beside: str = ""


@dataclass(frozen=True)
class Part:
    """``userops benchmark VERB WORDS``, expected to take ``seconds`` on two quiet cores."""

    name: str
    seconds: float
    rows: tuple[Row, ...]
    verb: str = ""
    words: tuple[str, ...] = ()
    asks_release: bool = False
    can_be_quick: bool = True

    @property
    def typed(self) -> str:
        """What a user types for the same, without the files of whoever ran it."""
        words = () if any(word.startswith(("/", "--data", "--sets")) for word in self.words) else self.words
        return " ".join(("userops benchmark", self.verb or self.name, *words))

    def command(self, quick: bool) -> list[str]:
        """The command line, but for ``--json``."""
        root = Path(__file__).parents[1]
        words = [*self.words, *(["--quick"] if quick and self.can_be_quick else [])]
        return [sys.executable, "-W", "ignore", str(root / "userops.py"), "benchmark", self.verb or self.name, *words]


_RATE, _SECONDS, _MS, _MICRO = "{:,.0f} users/s", "{:,.1f} s", "{:,.2f} ms", "{:,.0f} µs"


def _publish(where: str, prefix: str, goal_read: float | None) -> tuple[Row, ...]:
    return (
        Row(f"publication, 60 features into {where}", f"{prefix}users_per_second", _RATE, "feast_materialize",
            "`feast materialize`", f"{prefix}ours_vs_feast_materialize", 20),
        Row(f"one user's 60 features out of {where}", f"{prefix}read_microseconds", _MICRO, "feast_scalar_views",
            "Feast in process", f"{prefix}ours_vs_feast_read", goal_read),
    )  # fmt: skip


def _serving(models: str, called: str, rps: float, bulk: float | None, stores: str = "") -> tuple[Row, ...]:
    suffix = "" if models == "shipped" else f"_{models}"
    p50, p99, one50, one99 = (6, 15, 2.5, 8) if models == "shipped" else (None,) * 4
    beside = ("plain", "the plain way")
    return (
        Row(f"next best offer, 50 candidates, 3 reasoned, logged; {called}{stores}: p50", f"nbo_50_{models}_c1_p50_ms",
            _MS, *beside, goal=p50, goal_of="ours", at_most=True),
        Row("… p99", f"nbo_50_{models}_c1_p99_ms", _MS, *beside, goal=p99, goal_of="ours", at_most=True),
        Row("… at 16 callers", f"nbo_50_{models}_c16_rps", "{:,.0f} decisions/s", *beside,
            f"ours_vs_plain_nbo_rps{suffix}", rps),
        Row("… 200 candidates: p50", f"nbo_200_{models}_c1_p50_ms", _MS, *beside, goal=p50 and 15, goal_of="ours",
            at_most=True),
        Row(f"churn of one user with 3 reasons; {called}{stores}: p50", f"churn_1_{models}_c1_p50_ms", _MS, *beside,
            goal=one50, goal_of="ours", at_most=True),
        Row("… p99", f"churn_1_{models}_c1_p99_ms", _MS, *beside, goal=one99, goal_of="ours", at_most=True),
        Row("… 500 users", f"churn_500_{models}_c1_p50_ms", _MS, *beside, f"ours_vs_plain_bulk{suffix}", bulk),
    )  # fmt: skip


PARTS: tuple[Part, ...] = (
    Part("features", 180, (
        Row("86 features of 10 million events, one snapshot", "events_per_second", "{:,.2f} million events/s",
            scale=1e-6),
        Row("… 52 weekly snapshots in one pass", "seconds_52_snapshots", _SECONDS, "one_scan_per_snapshot",
            "a scan for each", "ours_vs_one_scan_per_snapshot"),
        Row("20 of them, 2 million events, one snapshot", "twenty_seconds_1", _SECONDS, "pandas", "pandas",
            "ours_vs_pandas_1"),
        Row("… beside polars", "twenty_seconds_1", _SECONDS, "polars", "polars", "ours_vs_polars_1"),
        Row("… 12 snapshots, beside pandas", "twenty_seconds_12", _SECONDS, "pandas", "pandas", "ours_vs_pandas_12"),
        Row("… 12 snapshots, beside polars", "twenty_seconds_12", _SECONDS, "polars", "polars", "ours_vs_polars_12"),
    ), words=("--events", "10000000")),
    Part("pit", 60, (
        Row("point-in-time join, 20,000 labels × 365 days × 30 features", "seconds", _SECONDS, "feast_duckdb",
            "Feast's DuckDB store", "ours_vs_feast_duckdb", 8),
    )),
    Part("publish", 120, (*_publish("SQLite", "", 5), *_publish("Redis", "redis_", None))),
    Part("online", 60, (
        Row("one user's 60 features, where they are needed", "one_microseconds", _MICRO, "feast_server",
            "Feast's feature server (SQLite)", "ours_vs_feast_server"),
        Row("… out of Redis", "redis_one_microseconds", _MICRO, "feast_server", "Feast's feature server (Redis)",
            "redis_ours_vs_feast_server"),
        Row("100 users' 60 features", "many_microseconds", _MICRO, "feast_server", "Feast's feature server (SQLite)",
            "ours_vs_feast_server_many"),
        Row("… out of Redis", "redis_many_microseconds", _MICRO, "feast_server", "Feast's feature server (Redis)",
            "redis_ours_vs_feast_server_many"),
    )),
    Part("train", 90, (
        Row("churn on the simulated shop, held-out log-loss (mean of 14, 30, 60 days)", "log_loss", "{:.4f}", "plain",
            "one LGBMClassifier, calibrated, newest origin", "ours_vs_plain", 1),
        Row("… seconds, features included", "seconds", _SECONDS, "plain", "the same", "ours_vs_plain_seconds"),
    )),
    Part("bgnbd", 15, (
        Row("BG/NBD (a baseline of ours) fitted to 20,000 customers", "seconds", "{:.2f} s", "lifetimes", "`lifetimes`",
            "ours_vs_lifetimes_seconds"),
    )),
    Part("predict", 30, (
        Row("raw score of one row, 300 trees × 63 leaves", "one_row_microseconds", _MICRO, "lightgbm",
            "LightGBM's `predict`", "ours_vs_lightgbm_one_row"),
        Row("… of 100,000 rows, one thread", "rows_per_second", "{:,.0f} rows/s", "lightgbm", "LightGBM's `predict`",
            "ours_vs_lightgbm"),
    )),
    Part("explain", 45, (
        Row("exact reasons of one row, 300 trees × 63 leaves", "microseconds_per_row", _MICRO, "pred_contrib",
            "LightGBM's `pred_contrib`", "ours_vs_pred_contrib", 6),
        Row("… of 500 rows, each", "microseconds_per_row_500", _MICRO, "shap", "`shap.TreeExplainer`",
            "ours_vs_shap_500"),
    )),
    Part("serving", 230, (
        Row("an endpoint that does nothing: p50 (the floor)", "nothing_shipped_c1_p50_ms", _MS, "plain",
            "the plain way"),
        *_serving("shipped", "shipped models", 8, 20),
        *_serving("large", "300 × 63 models", 15, None),
    ), words=("--stores", "embedded", "--seconds", "3"), asks_release=True),
    Part("serving-real", 120, _serving("shipped", "shipped models", 8, 20, ", Redis and PostgreSQL"), verb="serving",
         words=("--stores", "real", "--models", "shipped", "--seconds", "3"), asks_release=True),
    Part("bulk", 420, (
        Row("bulk scores with three reasons", "users_per_second_reasons", _RATE, "lightgbm",
            "LightGBM's `predict` + `pred_contrib`", "ours_vs_lightgbm_contrib", 5),
        Row("bulk scores without reasons", "users_per_second", _RATE, "lightgbm", "LightGBM's `predict`",
            "ours_vs_lightgbm_predict", 0.8),
    ), asks_release=True),
)  # fmt: skip
