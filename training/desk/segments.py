"""How good a version's procedure was on its judged day, by part of the customers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from training.backtest.evaluation import MOST_WORK, OURS, Result, by_segment, measured
from training.evaluate import Contact

__all__ = ["segments_of"]

CATEGORY = "category"
MOST = 8  # categories: those of which most was bought
# Many small parts: 80 draws tell a width, and a card must not slow the training down.
DRAWS = 80
SHOWN = {
    "probability": ("auroc", "log_loss", "ece", "lift@10"),
    "spend": ("mae", "bias", "spearman", "capture@10"),
}


def segments_of(said: pd.DataFrame, kind: str, seed: int) -> dict[str, list[dict[str, Any]]]:
    """By head a row per part, the largest parts of a segmentation first; a head without parts is left out.

    Pairs of a user and an item or a category are told by category: no part of the customers is known of them.

    Parameters
    ----------
    said
        The columns of `training.forecasts.Forecasts`, but ``as_of``: what was said on one day, beside what followed.
    kind
        ``probability`` or ``spend``.
    """
    frame = said[[name for name in said.columns if not name.startswith("baseline.")]]

    def judge(rows: pd.DataFrame) -> Result:
        return measured(rows, kind, Contact(), seed, min(MOST_WORK, DRAWS * len(rows)))

    found = {}
    for head, rows in frame.groupby("head", sort=False):
        parts = by_segment(rows, judge)
        if CATEGORY in rows:
            bought = rows.groupby(CATEGORY)["y"].sum().sort_values(ascending=False, kind="stable")
            parts = {CATEGORY: {str(name): judge(rows[rows[CATEGORY] == name]) for name in bought.index[:MOST]}}
        listed = [_told(by, part, one, kind) for by, inside in parts.items() for part, one in inside.items()]
        if listed:
            found[str(head)] = listed
    return found


def _told(by: str, part: str, result: Result, kind: str) -> dict[str, Any]:
    row = {"by": by, "part": part, "rows": result["rows"], "users": result["users"]}
    if "too_few" in result:
        return {**row, "metrics": {}, "too_few": result["too_few"]}
    ours = result[OURS]
    truth = "mean_truth" if kind == "spend" else "base_rate"
    return {
        **row,
        "base_rate": ours[truth]["value"],
        "mean_prediction": ours["mean_prediction"]["value"],
        "metrics": {name: ours[name] for name in SHOWN[kind]},
    }
