"""What the heads of one model say of a batch: margins and strongest contributions, a cacheful of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.catalog import NAMES
from serving.answer import asked_together
from serving.bulk.strongest import strongest
from serving.scoring import Model
from serving.scoring.value.model import ValueModel

__all__ = ["ROWS", "Asked", "Said", "said"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Explained = Mapping[str, tuple[Floats, Floats]]

ROWS = 256  # scored at a time: they stay in the processor's cache while tree after tree reads them


class Asked:
    """A batch as its model sees it.

    ``off`` marks who wants no personalisation, ``unreadable`` whose vector holds an infinite number: no model has seen
    such a user, and a forest answers all the same. The service refuses such vectors too. ``known`` are all others.
    """

    def __init__(self, model: Model, batch: pa.RecordBatch, withheld: Collection[str]) -> None:
        self.batch, self.many = batch, batch.num_rows
        self._columns: dict[str, Floats] = {}
        self.x = np.empty((self.many, len(model.features)))
        for place, name in enumerate(model.features):
            self.x[:, place] = self.column(name)
        ids = batch.column("user_id").to_pylist() if withheld else []
        self.off = np.array([one in withheld for one in ids] or np.zeros(self.many), np.bool_)
        self.unreadable = np.zeros(self.many, np.bool_)
        for name in NAMES:  # also what this model does not read: the vector is no vector
            self.unreadable |= np.isinf(self.column(name))
        self.known = ~(self.off | self.unreadable)
        self.as_of_us = batch.column("as_of").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()

    def column(self, name: str) -> Floats:
        """All values of a feature of the catalogue, NaN where absent."""
        if name not in self._columns:
            column = self.batch.column(name).to_numpy(zero_copy_only=False)
            self._columns[name] = np.asarray(column, np.float64)
        return self._columns[name]


@dataclass(frozen=True)
class Part:
    """One factor of a head, at the rows that have a score: margins, and what adds most to each."""

    raw: Floats
    features: NDArray[np.int64]  # [n, k]
    shares: Floats  # [n, k]


@dataclass(frozen=True)
class Said:
    """One head: ``rows`` of the batch that have a score, its factors by name (the only one of a probability is "")."""

    head: str
    rows: Places
    parts: dict[str, Part]


def said(model: Model, asked: Asked, reasons: int) -> Iterator[Said]:
    """Every head of the model; those of one booster and one cohort are asked together."""
    for heads in asked_together(model):
        rows = np.flatnonzero(asked.known & model.in_cohort(asked.x, heads[0]))
        found = {"": _part(asked.x, rows, heads, reasons, model.raws, model.explained)}
        if isinstance(model, ValueModel):
            found = {"purchase": found[""]}
            found["amount"] = _part(asked.x, rows, heads, reasons, model.amount_raws, model.amount_explained)
        for head in heads:
            yield Said(head, rows, {name: part[head] for name, part in found.items()})


def _part(
    x: Floats,
    rows: Places,
    heads: Sequence[str],
    reasons: int,
    raws: Callable[[Floats, Sequence[str]], Mapping[str, Floats]],
    explained: Callable[[Floats, Sequence[str]], Explained],
) -> dict[str, Part]:
    most = min(reasons, x.shape[1])
    told = {
        head: Part(np.empty(len(rows)), np.empty((len(rows), most), np.int64), np.empty((len(rows), most)))
        for head in heads
    }
    for start in range(0, len(rows), ROWS):
        here = slice(start, start + ROWS)
        own = x[rows[here]]
        for head, raw in raws(own, heads).items():
            told[head].raw[here] = raw
        if most:
            for head, (phi, _) in explained(own, heads).items():
                chosen = strongest(phi, most)
                told[head].features[here] = chosen
                told[head].shares[here] = np.take_along_axis(phi, chosen, axis=1)
    return told
