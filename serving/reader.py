"""What serving needs of the feature store: vectors and profiles of users, by id; whatever has these methods will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Reader", "Vectors"]


class Vectors(Protocol):
    """One row per asked user, in the order asked."""

    @property
    def values(self) -> NDArray[np.float64]:
        """float64[n, f]: the catalogue's features in its order, NaN where absent."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """bool[n]: False for a user who was never published; that row is NaN."""

    @property
    def as_of(self) -> NDArray[np.datetime64]:
        """datetime64[us][n], UTC: the inclusive end of what each vector knows; NaT where not found."""


class Reader(Protocol):
    """The online side of the feature store."""

    def online(self, user_ids: Sequence[str]) -> Vectors:
        """The published vectors."""

    def profiles(self, user_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """The published profiles, None for a user who was never published."""
