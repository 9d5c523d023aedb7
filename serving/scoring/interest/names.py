"""The ids behind codes, as three arrays that all workers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["Names"]

Ints = NDArray[np.int64]
REMEMBERED = 1 << 16  # of a worker: a few megabytes
_UNREAD = object()


@dataclass(frozen=True, slots=True)
class Names:
    """Ids by code, in three arrays: codes rising, where each id ends, and all ids in UTF-8, one after the other.

    Examples
    --------
    >>> names = Names.of({7: "tea", 3: "milk"})
    >>> names.text(7), names.text(8)
    ('tea', None)
    """

    code: Ints
    end: Ints
    utf8: NDArray[np.uint8]
    _known: dict[int, object] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, names: Mapping[int, str]) -> Names:
        """The arrays of ``names``."""
        ordered = sorted(names.items())
        texts = [name.encode("utf-8") for _, name in ordered]
        end = np.cumsum([len(text) for text in texts], dtype=np.int64)
        codes = np.array([code for code, _ in ordered], dtype=np.int64)
        return cls(codes, end, np.frombuffer(b"".join(texts), dtype=np.uint8))

    def text(self, code: int) -> str | None:
        """The id behind a code."""
        found = self._known.get(code, _UNREAD)
        if found is _UNREAD:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[code] = self._read(code)
        return cast("str | None", found)

    def _read(self, code: int) -> str | None:
        place = int(np.searchsorted(self.code, code))
        if place == len(self.code) or self.code[place] != code:
            return None
        start = int(self.end[place - 1]) if place else 0
        return self.utf8[start : int(self.end[place])].tobytes().decode("utf-8")
