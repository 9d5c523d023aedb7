"""Where two forecasts disagree most, and who was right: users, and parts of the customers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["parts_apart", "users_apart"]

USERS, PARTS = 12, 12
LEAST_ROWS = 30
EPSILON = 1e-15
SIDES = ("first", "second")


def users_apart(rows: pd.DataFrame, most: int = USERS) -> list[dict[str, Any]]:
    """The rows (of `paired.same_rows`) whose forecasts lie furthest apart, each user once; what followed is ``y``."""
    apart = (rows["p_second"] - rows["p_first"]).abs()
    furthest = rows.assign(apart=apart).sort_values(["apart", "user_id"], ascending=[False, True])
    named = [name for name in ("user_id", "item", "head") if name in rows]
    return [
        {
            **{name: str(row[name]) for name in named},
            "as_of": row["as_of"].isoformat(),
            "p": [float(row["p_first"]), float(row["p_second"])],
            "y": float(row["y"]),
        }
        for row in furthest.drop_duplicates("user_id").head(most).to_dict("records")
        if row["apart"] > 0
    ]


def parts_apart(rows: pd.DataFrame, kind: str, most: int = PARTS) -> list[dict[str, Any]]:
    """The segments of at least 30 rows in which the two forecasts differ most in their mean.

    ``mean`` is what both foresaw, ``truth`` what followed, ``loss`` the mean log-loss (of spend: the absolute error).
    """
    losses = {side: _loss(rows["y"].to_numpy(float), rows[f"p_{side}"].to_numpy(float), kind) for side in SIDES}
    measured = rows.assign(**{f"loss_{side}": loss for side, loss in losses.items()})
    found: list[dict[str, Any]] = []
    for column in (name for name in rows.columns if name.startswith("segment.")):
        for (head, part), inside in measured.groupby(["head", column], observed=True):
            if len(inside) < LEAST_ROWS or part == "unknown":
                continue
            means = {name: float(inside[name].mean()) for name in ("p_first", "p_second", "loss_first", "loss_second")}
            found.append(
                {
                    "head": str(head),
                    "segment": column.partition(".")[2],
                    "part": str(part),
                    "rows": len(inside),
                    "mean": [means["p_first"], means["p_second"]],
                    "truth": float(inside["y"].mean()),
                    "loss": [means["loss_first"], means["loss_second"]],
                }
            )
    apart = [one for one in found if one["mean"][0] != one["mean"][1]]
    return sorted(apart, key=lambda one: -abs(one["mean"][1] - one["mean"][0]))[:most]


def _loss(y: Any, p: Any, kind: str) -> Any:
    if kind == "spend":
        return np.abs(p - y)
    clipped = np.clip(p, EPSILON, 1 - EPSILON)
    return -np.where(y == 1, np.log(clipped), np.log1p(-clipped))
