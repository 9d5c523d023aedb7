"""What serving needs of the feature store: what is published of users and items; whatever has these methods will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["DecisionRow", "Reader", "Vectors"]


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


class DecisionRow(Protocol):
    """What a decision reads of one user, all from one state of the store."""

    @property
    def vector(self) -> NDArray[np.float64]:
        """float64[f], NaN where absent."""

    @property
    def found(self) -> bool:
        """False for a user who was never published."""

    @property
    def as_of_us(self) -> int:
        """The inclusive end of what is known, microseconds since 1970 (UTC); 0 where not found."""

    @property
    def history(self) -> NDArray[np.float64]:
        """Lines in the layout of ``configs.history``, flat; empty where nothing is known."""

    @property
    def profile(self) -> dict[str, Any] | None:
        """What people see of the user."""


class Reader(Protocol):
    """The online side of the feature store."""

    def online(self, user_ids: Sequence[str]) -> Vectors:
        """The published vectors."""

    def profiles(self, user_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """The published profiles, None for a user who was never published."""

    def decision_row(self, user_id: str) -> DecisionRow:
        """Vector, history and profile of one user."""

    def assortment(self) -> Any:
        """What the shop sells and each store carries (``features.shelf.Assortment``)."""

    def assortment_stamp(self) -> str | None:
        """Changes with what ``assortment`` answers; None before the first publication."""
