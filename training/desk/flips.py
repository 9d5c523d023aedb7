"""Reasons that changed their mind: what raised a score before and lowers it now, asked about the same people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.desk.groups import ranked_correlation

__all__ = ["CLEAR", "LEAST_SHARE", "directions", "flips_of"]

Floats = NDArray[np.float64]

LEAST_SHARE = 0.01  # of the weight of all features, in either version
CLEAR = 0.2  # a weaker correlation of value and contribution is no direction


def directions(x: Floats, phi: Floats) -> list[float | None]:
    """By column, Spearman's correlation of value and contribution; None where either never changes.

    Examples
    --------
    >>> x = np.arange(30.0)[:, None]
    >>> directions(x, 2 * x), directions(x, -x), directions(x, 0 * x)
    ([1.0], [-1.0], [None])
    """
    found = (ranked_correlation(x[:, k], phi[:, k]) for k in range(x.shape[1]))
    return [None if one is None else round(one, 12) for one in found]


def flips_of(
    names: Sequence[str],
    was: Sequence[float | None],
    now: Sequence[float | None],
    shares_before: Sequence[float],
    shares: Sequence[float],
) -> list[dict[str, Any]]:
    """The features whose direction changed its sign, the heaviest first: ``feature``, ``was``, ``now``, ``share``.

    Both directions are clear (`CLEAR`) and the feature weighs at least `LEAST_SHARE` in one of the two versions.
    """
    found = [
        {"feature": name, "was": before, "now": after, "share": float(share)}
        for name, before, after, share_before, share in zip(names, was, now, shares_before, shares, strict=True)
        if before is not None
        and after is not None
        and before * after < 0
        and min(abs(before), abs(after)) >= CLEAR
        and max(share, share_before) >= LEAST_SHARE
    ]
    return sorted(found, key=lambda one: (-one["share"], one["feature"]))
