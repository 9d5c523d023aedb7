"""The strongest contributions of each row, in the order in which answers tell them."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["strongest"]


def strongest(phi: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """The columns of the largest ``abs(phi)`` of each row, int64[n, min(most, f)]; of equal ones the first column.

    Examples
    --------
    >>> strongest(np.array([[0.1, -3.0, 0.1, 2.0]]), 3).tolist()
    [[1, 3, 0]]
    """
    found = np.empty((len(phi), min(most, phi.shape[1])), np.int64)
    _choose(np.ascontiguousarray(phi), found)
    return found


@njit(cache=True, nogil=True)
def _choose(phi, found):  # type: ignore[no-untyped-def]
    most = found.shape[1]
    for row in range(len(phi)):
        held = 0
        for column in range(phi.shape[1]):
            size = abs(phi[row, column])
            if held == most and size <= abs(phi[row, found[row, most - 1]]):
                continue
            place = held if held < most else most - 1
            while place > 0 and size > abs(phi[row, found[row, place - 1]]):
                found[row, place] = found[row, place - 1]
                place -= 1
            found[row, place] = column
            held = min(held + 1, most)
