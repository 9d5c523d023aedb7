"""What of each user's past speaks most for each category: `because` of the service, for many users at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from serving.bulk.columns import numbers, words
from serving.bulk.many import Lines
from serving.nbo.reasons import occasion_text
from serving.scoring.interest.because import Past
from serving.scoring.interest.model import InterestModel

__all__ = ["Occasions"]

Ints = NDArray[np.int64]

_LONG = 1 << 20  # days; nothing is remembered for so long


class Occasions:
    """The occasions of one model in one language; threads may share it."""

    def __init__(self, model: InterestModel, lang: str) -> None:
        self._model, self._lang = model, lang
        statistics = model.statistics["item"]
        # A category of the same id as an item is also what that item leads to: the service's own way finds it.
        both = model.statistics["category"].items
        self._twofold = both[np.isin(both, statistics.items)]
        self._names: dict[int, str | None] = {}

    def told(
        self,
        lines: Lines,
        pairs: Ints,
        codes: Ints,
        user: Ints,
        rows: NDArray[np.intp],
        many: int,
        asked: bool,
    ) -> pa.Array[Any]:
        """``struct<id, days_ago, text>`` of each pair, at ``rows`` of ``many``; null where nothing speaks for it."""
        line = np.full(len(codes), -1)
        days = np.empty(0)
        if asked and len(lines.whole):
            past = Past(self._model.statistics["item"], lines.whole, np.repeat(lines.as_of_us, np.diff(lines.start)))
            days = past.days
            own = (lines.whole.item, lines.whole.category, past.weight, past.known)
            _strongest(line, lines.start, own, pairs, codes)
            for pair in np.flatnonzero(np.isin(codes, self._twofold)).tolist():
                line[pair] = self._by_itself(lines, int(user[pair]), int(codes[pair]))
        which, names = self._named(lines, line)
        said = np.flatnonzero(which >= 0)
        ago = days[line[said]] if len(said) else np.empty(0)
        whole = np.floor(ago).astype(np.int64)
        different, text = np.unique(which[said] * _LONG + whole, return_inverse=True)
        texts = [occasion_text(names[one // _LONG], one % _LONG, self._lang) for one in different.tolist()]
        at = rows[said]
        absent = np.ones(many, np.bool_)
        absent[at] = False
        arrays = [_spread(which[said], names, at, many), numbers(ago, at, many), _spread(text, texts, at, many)]
        return pa.StructArray.from_arrays(arrays, ["id", "days_ago", "text"], mask=pa.array(absent))

    def _by_itself(self, lines: Lines, user: int, code: int) -> int:
        one = lines.part(user, user + 1)
        found = Past(self._model.statistics["item"], one.whole, int(one.as_of_us[0])).strongest(code)
        return -1 if found is None else int(lines.start[user]) + found[0]

    def _named(self, lines: Lines, line: Ints) -> tuple[Ints, list[str]]:
        """Which name each pair's line has, of the item, else of the category; -1 where there is none."""
        names: dict[str, int] = {}
        known = line >= 0
        items, of_item = np.unique(
            np.where(known, lines.whole.item[line] if known.any() else 0, 0), return_inverse=True
        )
        groups, of_group = np.unique(
            np.where(known, lines.whole.category[line] if known.any() else 0, 0), return_inverse=True
        )
        numbered = [
            np.array([self._number(int(one), names) for one in different], np.int64) for different in (items, groups)
        ]
        which = np.where(numbered[0][of_item] >= 0, numbered[0][of_item], numbered[1][of_group])
        return np.where(known, which, -1), list(names)

    def _number(self, code: int, names: dict[str, int]) -> int:
        if code not in self._names:
            self._names[code] = self._model.text(code)
        name = self._names[code]
        return names.setdefault(name, len(names)) if name else -1


def _spread(which: Ints, known: list[str], rows: NDArray[np.intp], many: int) -> pa.Array[Any]:
    place = np.full(many, -1)
    place[rows] = which
    return words(place, known)


@njit(cache=True, nogil=True)
def _strongest(line, start, lines, pairs, codes):  # type: ignore[no-untyped-def]
    item, category, weight, known = lines
    for user in range(len(start) - 1):
        begin, end = start[user], start[user + 1]
        for pair in range(pairs[user], pairs[user + 1]):
            best, most = -1, 0.0
            for one in range(begin, end):
                near = item[one] == codes[pair] or category[one] == codes[pair]
                if near and weight[one] > most:
                    best, most = one, weight[one]
            # Where everything counts nothing, the first line is the strongest.
            first = begin < end and known[begin] and (item[begin] == codes[pair] or category[begin] == codes[pair])
            if best < 0 and first:
                best = begin
            line[pair] = best
