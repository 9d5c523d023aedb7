"""The interest model of a release: candidates, probabilities, needs and reasons for one user's history.

Two heads answer, each a booster with a calibrator: ``item``, P(the user buys the item within ``horizon_days``), and
``category``, P(the user buys anything of the category within ``horizon_days``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import BundleError
from configs.history import History
from serving.scoring.calibrator import Calibrator
from serving.scoring.folder import Folder, read_folder, write_folder
from serving.scoring.interest.because import Past
from serving.scoring.interest.candidates import candidates
from serving.scoring.interest.features import NAMES, featurise
from serving.scoring.interest.head import read_interest_head
from serving.scoring.interest.names import Names
from serving.scoring.interest.needs import Need, Needs, rhythms
from serving.scoring.interest.statistics import ItemStatistics, places
from serving.scoring.treeshap import TreeShap

__all__ = [
    "FEATURES",
    "HEADS",
    "KIND",
    "NAME",
    "About",
    "InterestModel",
    "Scored",
    "as_head",
    "write_interest",
]

NAME = "interest"
KIND = "interest"
HEADS = ("item", "category")
# Beside the columns of `features.NAMES`: days since the last purchase in the category over the usual gap; satisfied.
NEEDS = ("need_place", "need_satisfied")
FEATURES = (*NAMES, *NEEDS)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a head says of n items or categories.

    ``raw`` is the margin in log-odds, by which to rank; ``p`` the calibrated probability with its 95 % interval
    ``[p_low, p_high]``; ``x`` the features as scored, float64[n, f].
    """

    codes: Ints
    raw: Floats
    p: Floats
    p_low: Floats
    p_high: Floats
    x: Floats
    head: str
    calibrated: bool


@dataclass(frozen=True)
class About:
    """What an answer says of the model that gave it."""

    name: str
    version: str
    run_id: str
    digest: str
    maturity: str | None
    calibrators: dict[str, Calibrator]
    meta: dict[str, Any]


class InterestModel:
    """One per release; its arrays are memory-mapped and never written to."""

    def __init__(self, folder: Folder) -> None:
        meta, where = folder.meta, folder.where
        self.meta = meta
        self.digest = folder.digest
        self.name: str = meta["name"]
        self.version = str(meta["version"])
        self.run_id = str(meta["run_id"])
        self.catalogue_digest: str = meta["catalogue_digest"]
        self.horizon_days = float(meta["horizon_days"])
        self.heads = {name: read_interest_head(name, meta, folder, where) for name in HEADS}
        self._shap: dict[str, TreeShap | None] = {}
        self.statistics = {
            name: ItemStatistics(**{f.name: folder.arrays[f"{name}_{f.name}"] for f in fields(ItemStatistics)})
            for name in HEADS
        }
        self._needs = Needs(
            folder.arrays["needs_categories"],
            folder.arrays["needs_gap_days"],
            folder.arrays["needs_window"],
            float(meta["needs"]["prior_gaps"]),
        )
        self._names = Names(folder.arrays["names_code"], folder.arrays["names_end"], folder.arrays["names_text"])
        calibrators = {name: head.calibrator for name, head in self.heads.items()}
        self.model = About(
            self.name, self.version, self.run_id, self.digest, meta.get("maturity"), calibrators, self.meta
        )

    @classmethod
    def load(cls, folder: Path, expected_sha256: str | None = None) -> InterestModel:
        """The model in ``folder``; every file is verified before it is parsed."""
        read = read_folder(folder, expected_sha256)
        if (kind := read.meta.get("kind")) != KIND:
            raise BundleError(f"{read.where}: another kind of model", got=kind, expected=KIND)
        try:
            return cls(read)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{read.where} does not have the shape of an interest model", got=repr(error)) from None

    def candidates(self, history: History, as_of_us: int, most: int = 200, allowed: Ints | None = None) -> Ints:
        """Codes of the items worth a score, none twice, the most promising sources first.

        ``allowed`` are the codes, rising, of what can be had at all (in stock, in this store); the answer is filled up
        from them, also with items that nobody bought yet.
        """
        return candidates(self.statistics["item"], history, as_of_us, most, allowed)

    def score_items(self, history: History, as_of_us: int, items: Ints, categories: Ints | None = None) -> Scored:
        """P(the user buys the item within ``horizon_days``) of each item code.

        An unknown item is scored by the user's own lines and by its category, where ``categories`` gives it.
        """
        return self._scored("item", history, as_of_us, items, categories)

    def score_categories(self, history: History, as_of_us: int, categories: Ints | None = None) -> Scored:
        """P(the user buys anything of the category within ``horizon_days``); of all known categories by default."""
        asked = self.statistics["category"].items if categories is None else categories
        return self._scored("category", history, as_of_us, asked, None)

    def contributions(self, head: str, x: Floats) -> tuple[Floats, Floats]:
        """Exact TreeSHAP values of the margin, float64[n, f], and the base values, float64[n]."""
        if len(x) == 0:
            return np.empty(x.shape), np.empty(0)
        if (shap := self._explainer(head)) is not None:
            phi, base = shap(x)
            return phi, np.full(len(x), base)
        both = np.asarray(self.heads[head].booster.predict(x, pred_contrib=True, num_threads=1), dtype=np.float64)
        return both[:, :-1], both[:, -1]

    def prepare(self) -> None:
        """Work out now what the first `contributions` of every head would."""
        for head in self.heads:
            self._explainer(head)

    def needs(self, history: History, as_of_us: int) -> dict[int, Need]:
        """Per category bought before, by code: days since, the usual gap, and whether the need is satisfied."""
        return self._needs.of(history, as_of_us)

    def need_columns(self, history: History, as_of_us: int, categories: Ints) -> Floats:
        """The columns `NEEDS` of each category, by code: float64[n, 2], NaN where never bought."""
        return self._needs.columns(history, as_of_us, categories)

    def rhythms(self, whole: History, start: Ints, as_of_us: Ints, pairs: Ints, categories: Ints) -> Floats:
        """Of many users at once what `needs` tells: see `needs.rhythms`."""
        return rhythms(self._needs, whole, start, as_of_us, pairs, categories)

    def neighbours(self, item: int, most: int = 20) -> list[tuple[int, float]]:
        """Similar items, (code, similarity in [0, 1]), the most similar first."""
        return self.statistics["item"].neighbours(item, most)

    def category_of(self, item: int) -> int:
        """The category of an item, by code; 0 when unknown."""
        return int(self._categories(np.array([item], dtype=np.int64))[0])

    def because(self, history: History, as_of_us: int, code: int) -> tuple[str, float] | None:
        """What of the user's past speaks most for an item or a category: its id, and how many days ago; or None."""
        return self.occasion(self.past(history, as_of_us), code)

    def past(self, history: History, as_of_us: int) -> Past:
        """What `because` needs of a history, for whoever asks about several items or categories."""
        return Past(self.statistics["item"], history, as_of_us)

    def occasion(self, past: Past, code: int) -> tuple[str, float] | None:
        """What `because` says of an item or a category."""
        found = past.strongest(code)
        if found is None:
            return None
        (line, days), history = found, past.history
        name = self.text(int(history.item[line])) or self.text(int(history.category[line]))
        return None if name is None else (name, days)

    def _explainer(self, head: str) -> TreeShap | None:
        if head not in self._shap:
            self._shap[head] = TreeShap.of(self.heads[head].booster)
        return self._shap[head]

    def _categories(self, items: Ints) -> Ints:
        statistics = self.statistics["item"]
        place = places(statistics.items, items)
        row = np.where(place >= 0, statistics.category_of[place], -1)
        return np.where(row >= 0, statistics.categories[row], 0)

    def _scored(self, head: str, history: History, as_of_us: int, codes: Ints, categories: Ints | None) -> Scored:
        one = self.heads[head]
        codes = np.asarray(codes, dtype=np.int64)
        x = featurise(self.statistics[head], as_head(history, head), as_of_us, codes, categories)
        if head == "item":
            group = self._categories(codes)
            group = group if categories is None else np.where(group != 0, group, categories)
        else:
            group = codes
        x = np.concatenate([x, self.need_columns(history, as_of_us, group)], axis=1)
        raw = one.raw(x)
        p, low, high = one.probability(raw)
        return Scored(codes, raw, p, low, high, x, head, True)

    def text(self, code: int) -> str | None:
        """The id of an item or category; None when the model does not know the code."""
        return self._names.text(code)


def as_head(history: History, head: str) -> History:
    """The history as a head reads it: to the category head, categories are the items."""
    return history if head == "item" else replace(history, item=history.category)


def write_interest(
    folder: Path,
    meta: Mapping[str, Any],
    boosters: Mapping[str, str],
    statistics: Mapping[str, ItemStatistics],
    needs: Needs,
    names: Mapping[int, str],
) -> InterestModel:
    """Write an interest model's folder and read it back: what could not be served cannot be written.

    ``meta`` is ``model.json`` without ``format``, ``kind``, files and hashes; ``names`` are the ids of items and
    categories by code.
    """
    ids = Names.of(names)
    arrays = {f"{head}_{f.name}": getattr(one, f.name) for head, one in statistics.items() for f in fields(one)}
    arrays |= {
        "needs_categories": needs.categories,
        "needs_gap_days": needs.gap_days,
        "needs_window": needs.window,
        "names_code": ids.code,
        "names_end": ids.end,
        "names_text": ids.utf8,
    }
    document = {**meta, "kind": KIND, "needs": {"prior_gaps": needs.prior_gaps}}
    write_folder(folder, document, boosters, arrays)
    return InterestModel.load(folder)
