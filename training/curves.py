"""What a judgement looks like when it is drawn: numbers small enough to keep beside the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from training.evaluate import calibration_curve

__all__ = ["curves_of"]

STEPS = 20
BINS = 25


def curves_of(
    label: ArrayLike,
    probability: ArrayLike,
    score: ArrayLike,
    baselines: Mapping[str, ArrayLike] | None = None,
) -> dict[str, Any]:
    """Calibration, gain and scores of one head, as JSON.

    Parameters
    ----------
    label
        0 or 1, or an amount, shape (n,).
    probability
        What was promised, shape (n,): a probability or an expected amount.
    score
        What orders the rows.
    baselines
        What else could order them, by name.

    Returns
    -------
    dict
        ``calibration`` (see `calibration_curve`); ``gain``: ``share`` of the rows, best first, in (0, 1], and by name
        the share of all labels that is found among them, ``model`` and every baseline; ``scores``: the ``edges`` of
        25 bins of ``probability`` and how many rows ``with`` and ``without`` the label lie in each.

    Examples
    --------
    >>> curves_of([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], [1, 3, 2, 4])["gain"]["model"][9]
    0.5
    """
    y, p = np.asarray(label, float), np.asarray(probability, float)
    edges = np.histogram_bin_edges(p, BINS)
    orders = {"model": score, **(baselines or {})}
    return {
        "calibration": calibration_curve(y, p),
        "gain": {
            "share": [(step + 1) / STEPS for step in range(STEPS)],
            **{name: _found(y, np.asarray(order, float)) for name, order in orders.items()},
        },
        "scores": {
            "edges": edges.tolist(),
            "with": np.histogram(p[y > 0], edges)[0].tolist(),
            "without": np.histogram(p[~(y > 0)], edges)[0].tolist(),
        },
    }


def _found(y: np.ndarray[Any, Any], score: np.ndarray[Any, Any]) -> list[float]:
    """Rows of one score share what they find: a baseline of few values promises no order among equals."""
    order = np.argsort(-np.where(np.isnan(score), -np.inf, score), kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(y) else np.zeros(0, int)
    sizes = np.diff(np.r_[starts, len(y)])
    even = np.repeat(np.add.reduceat(y[order], starts) / sizes, sizes)
    reached = np.r_[0.0, np.cumsum(even)] / max(float(y.sum()), 1e-300)
    return [float(reached[round(len(y) * (step + 1) / STEPS)]) for step in range(STEPS)]
