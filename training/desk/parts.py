"""What moves the score of each part of the customers: the same contributions, averaged over a part of the sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.segments import CHANNELS, SEGMENTS, UNKNOWN, segments

__all__ = ["by_part", "parts_of", "parts_of_pairs"]

Floats = NDArray[np.float64]

LEAST_ROWS = 15  # of a smaller part nothing is said
MOST_PARTS, MOST_FEATURES = 8, 10


def parts_of(names: Sequence[str], x: Floats, stores: NDArray[np.object_] | None) -> dict[str, NDArray[np.object_]]:
    """By segment the part of each row of ``x`` (float64[n, f], columns ``names``, rows of one instant).

    Empty when the model does not read what segments are made of; nothing by store where ``stores`` are not known.
    """
    needed = ("tenure_days", "spend_365d", *(f"{channel}_share_180d" for channel in CHANNELS))
    column = {name: k for k, name in enumerate(names)}
    if not column.keys() >= set(needed):
        return {}
    nowhere = np.full(len(x), None, dtype=object)
    found = segments({name: x[:, column[name]] for name in needed}, nowhere if stores is None else stores)
    return {by: found[by] for by in SEGMENTS if by != "store" or stores is not None}


def parts_of_pairs(categories: NDArray[np.object_]) -> dict[str, NDArray[np.object_]]:
    """The part of each pair of a user and an item or a category: its category, None where nobody knows it.

    Examples
    --------
    >>> parts_of_pairs(np.array(["tea", None], object))["category"].tolist()
    ['tea', 'unknown']
    """
    return {"category": np.array([UNKNOWN if one is None else one for one in categories], dtype=object)}


def by_part(
    names: Sequence[str], phi: Floats, parts: Mapping[str, NDArray[np.object_]]
) -> dict[str, list[dict[str, Any]]]:
    """By segment, for each part of 15 rows and more, largest first: ``part``, ``rows``, and the heaviest features."""
    told: dict[str, list[dict[str, Any]]] = {}
    for by, part in parts.items():
        found, rows = np.unique(part.astype(str), return_counts=True)
        listed = sorted(zip(rows.tolist(), found.tolist(), strict=True), key=lambda one: (-one[0], one[1]))
        told[by] = [
            {"part": name, "rows": count, "top": _heaviest(names, phi[part.astype(str) == name])}
            for count, name in listed[:MOST_PARTS]
            if count >= LEAST_ROWS
        ]
    return told


def _heaviest(names: Sequence[str], phi: Floats) -> list[dict[str, Any]]:
    mean_abs = np.abs(phi).mean(axis=0)
    share = mean_abs / max(float(mean_abs.sum()), 1e-300)
    order = [int(k) for k in np.argsort(-mean_abs, kind="stable")[:MOST_FEATURES] if mean_abs[k] > 0]
    return [{"feature": names[k], "mean_abs": float(mean_abs[k]), "share": float(share[k])} for k in order]
