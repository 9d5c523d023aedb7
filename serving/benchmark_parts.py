"""The parts of ``userops benchmark all``: which verbs run, about how long, and which of their numbers people read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["PARTS", "Part", "Row", "accuracy"]


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


def _serving(models: str, called: str, goals: tuple[float, float]) -> tuple[Row, ...]:
    suffix = "" if models == "shipped" else f"_{models}"
    limit: tuple[float | None, float | None] = (6, 15) if models == "shipped" else (None, None)
    return (
        Row(f"next best offer, 50 candidates, 3 reasoned, logged; {called}: p50", f"nbo_50_{models}_c1_p50_ms", _MS,
            "plain", "the plain way", goal=limit[0], goal_of="ours", at_most=True),
        Row(f"… p99; {called}", f"nbo_50_{models}_c1_p99_ms", _MS, "plain", "the plain way", goal=limit[1],
            goal_of="ours", at_most=True),
        Row(f"… at 16 callers; {called}", f"nbo_50_{models}_c16_rps", "{:,.0f} decisions/s", "plain", "the plain way",
            f"ours_vs_plain_nbo_rps{suffix}", goals[0]),
        Row(f"churn of 500 users with reasons; {called}", f"churn_500_{models}_c1_p50_ms", _MS, "plain",
            "the plain way", f"ours_vs_plain_bulk{suffix}", goals[1]),
    )  # fmt: skip


PARTS: tuple[Part, ...] = (
    Part("features", 260, (
        Row("86 features of everybody, one snapshot", "events_per_second", "{:,.2f} million events/s", scale=1e-6),
        Row("… 52 weekly snapshots in one pass", "seconds_52_snapshots", _SECONDS, "one_scan_per_snapshot",
            "a scan for each", "ours_vs_one_scan_per_snapshot"),
        Row("20 features, 2 million events, one snapshot", "twenty_seconds_1", _SECONDS, "pandas", "pandas",
            "ours_vs_pandas_1"),
        Row("…", "twenty_seconds_1", _SECONDS, "polars", "polars", "ours_vs_polars_1"),
        Row("… 12 snapshots", "twenty_seconds_12", _SECONDS, "pandas", "pandas", "ours_vs_pandas_12"),
        Row("…", "twenty_seconds_12", _SECONDS, "polars", "polars", "ours_vs_polars_12"),
    )),
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
    Part("serving", 270, (
        Row("an endpoint that does nothing, p50 (the floor)", "nothing_shipped_c1_p50_ms", _MS, "plain", "the same"),
        Row("churn of one user with 3 reasons: p50", "churn_1_shipped_c1_p50_ms", _MS, "plain", "the plain way",
            goal=2.5, goal_of="ours", at_most=True),
        Row("… p99", "churn_1_shipped_c1_p99_ms", _MS, "plain", "the plain way", goal=8, goal_of="ours", at_most=True),
        *_serving("shipped", "shipped models", (8, 20)),
        *_serving("large", "300 × 63 models", (15, 20)),
    ), asks_release=True),
    Part("bulk", 120, (
        Row("bulk scores with three reasons", "users_per_second_reasons", _RATE, "lightgbm",
            "LightGBM's `predict` + `pred_contrib`", "ours_vs_lightgbm_contrib", 5),
        Row("bulk scores without reasons", "users_per_second", _RATE, "lightgbm", "LightGBM's `predict`",
            "ours_vs_lightgbm_predict", 0.8),
    ), asks_release=True),
)  # fmt: skip

_AUROC, _RECALL = "{:.3f}", "{:.4f}"


def accuracy(folder: Path) -> tuple[Part, ...]:
    """The yardsticks whose files lie in ``folder``, each as its own command would run it."""
    cdnow, retail = folder / "cdnow" / "CDNOW_master.txt", folder / "online_retail" / "online_retail_II.parquet"
    again = ("--source", "online_retail", "--data", str(retail))
    days = (("2011-03-14", 0.787, 0.525), ("2011-06-12", 0.826, 0.470), ("2011-09-10", 0.812, 0.535))
    parts = {
        cdnow: [
            _repurchase("cdnow", "CDNOW, 181 days", ("--source", "cdnow", "--data", str(cdnow), "--observe-until",
                        "1997-12-31", "--horizon-days", "181"), 0.810, 0.412),
        ],
        retail: [
            _repurchase(day, f"Online Retail II, 90 days after {day}", (*again, "--observe-until", day), *goals)
            for day, *goals in days
        ] + [Part("interest-retail", 1100, (
            Row("Online Retail II, next items: recall@10", "item_recall@10", _RECALL),
        ), "interest", again, can_be_quick=False)],
    }  # fmt: skip
    for name, goals in {"TaFeng": (0.205, 0.183), "DC": (0.478, 0.356)}.items():
        file = folder / "next_basket" / f"{name}.json"
        rows = tuple(
            Row(f"{name}, next basket: {metric}", metric, _RECALL, goal=goal, goal_of="ours")
            for metric, goal in zip(("recall@10", "ndcg@10"), goals, strict=True)
        )
        parts[file] = [Part(f"nextbasket-{name}", 300, rows, "nextbasket", ("--sets", str(file)), can_be_quick=False)]
    return tuple(part for file, found in parts.items() if file.exists() for part in found)


def _repurchase(short: str, called: str, words: tuple[str, ...], auroc: float, log_loss: float) -> Part:
    beside = ("bg_nbd", "BG/NBD")
    rows = (
        Row(f"{called}: AUROC", "auroc", _AUROC, *beside, goal=auroc, goal_of="ours"),
        Row(f"{called}: log-loss", "log_loss", _AUROC, *beside, "ours_vs_bg_nbd", log_loss, "ours", at_most=True),
    )
    return Part(f"repurchase-{short}", 90, rows, "repurchase", words, can_be_quick=False)
