"""Features that say nearly the same: a contribution may stand at one of them or at another, and is read as theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

__all__ = ["LEAST", "correlations", "groups_of", "ranked_correlation"]

Floats = NDArray[np.float64]

LEAST = 0.8  # |Spearman| of any two features of a group
# Of fewer rows that know both, and of a smaller share of them, no correlation is believed.
LEAST_ROWS, LEAST_SHARE = 20, 0.25


def correlations(x: Floats) -> Floats:
    """Spearman's correlation of every two columns of ``x`` (float64[n, f]) over the rows that know both, [f, f].

    0 where a column is constant or too few rows know both.

    Examples
    --------
    >>> a = np.arange(40.0)
    >>> correlations(np.column_stack([a, a**3, -a, np.ones(40)])).round(2).tolist()[0]
    [1.0, 1.0, -1.0, 0.0]
    """
    frame = pd.DataFrame(x)
    if not np.isnan(x).any():
        ranks = frame.rank().to_numpy()
        centred = ranks - ranks.mean(axis=0)
        length = np.sqrt((centred**2).sum(axis=0))
        with np.errstate(invalid="ignore", divide="ignore"):
            found = centred.T @ centred / np.outer(length, length)
    else:
        least = max(LEAST_ROWS, int(np.ceil(LEAST_SHARE * len(x))))
        found = frame.corr("spearman", min_periods=least).to_numpy(np.float64, copy=True)
    found = np.nan_to_num(np.clip(found, -1.0, 1.0), nan=0.0)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found, dtype=np.float64)


def ranked_correlation(a: Floats, b: Floats, least: int = LEAST_ROWS) -> float | None:
    """Spearman's correlation of two columns where both are known; None of a constant or of under ``least`` rows."""
    known = ~(np.isnan(a) | np.isnan(b))
    if known.sum() < least:
        return None
    first, second = (pd.Series(one[known]).rank().to_numpy() for one in (a, b))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def groups_of(x: Floats, names: Sequence[str], shares: Sequence[float]) -> list[dict[str, Any]]:
    """Groups of two and more of ``names``, the heaviest first: ``id``, ``features``, ``least_correlation``, ``share``.

    Complete linkage: any two features of a group are correlated at least as much as `LEAST`, in either direction.

    Parameters
    ----------
    x
        The columns of ``names``, float64[n, f].
    shares
        How much each feature weighs; a group weighs as much as its features together, the heaviest named first.
    """
    if len(names) < 2:
        return []
    alike = np.abs(correlations(x))
    apart = np.clip(1.0 - (alike + alike.T) / 2, 0.0, 1.0)
    np.fill_diagonal(apart, 0.0)
    cluster = fcluster(linkage(squareform(apart, checks=False), "complete"), 1.0 - LEAST, "distance")
    found = []
    for one in np.unique(cluster):
        members = [int(k) for k in np.flatnonzero(cluster == one)]
        if len(members) > 1:
            members.sort(key=lambda k: -shares[k])
            least = min(float(alike[a, b]) for a in members for b in members if a != b)
            found.append((members, least, float(sum(shares[k] for k in members))))
    found.sort(key=lambda one: -one[2])
    return [
        {"id": f"g{place}", "features": [names[k] for k in members], "least_correlation": least, "share": share}
        for place, (members, least, share) in enumerate(found, 1)
    ]
