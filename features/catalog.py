"""The feature dictionary: every column of the user vector, in the order of the vector.

Importing it does not import ibis or Feast, so that serving can hold its model against it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from features.behaviour import activity, basket, habits, purchases, season, taste
from features.behaviour.feature import Feature

__all__ = ["NAMES", "USER_FEATURES", "Feature", "digest"]

USER_FEATURES: tuple[Feature, ...] = (
    *purchases.FEATURES,
    *activity.FEATURES,
    *basket.FEATURES,
    *taste.FEATURES,
    *habits.FEATURES,
    *season.FEATURES,
)

NAMES: tuple[str, ...] = tuple(feature.name for feature in USER_FEATURES)


def digest(features: Sequence[Feature] = USER_FEATURES) -> str:
    """The identity of a vector: SHA-256 of the names, types, windows and units, in order.

    Examples
    --------
    >>> digest() == digest(USER_FEATURES), digest() == digest(USER_FEATURES[::-1])
    (True, False)
    """
    content = [[f.name, "double", f.window_days, f.unit] for f in features]
    return "sha256:" + hashlib.sha256(json.dumps(content).encode()).hexdigest()
