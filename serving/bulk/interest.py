"""A batch of histories to scores of categories: pure, the same numbers as ``POST /v1/score/interest``, bit for bit.

One row per user and category, of each user the most wanted first. A shop of more than 200 categories is answered as the
service does: those that the user had to do with. The moment that counts as now is the snapshot's ``as_of``::

    user_id, as_of, model, version, stale     as `serving.bulk.score` says
    status_reason  string: PERSONALIZATION_OFF, or FEATURES_UNAVAILABLE of whose stored history is not in the layout of
                   `configs.history`; such a user has one row, without category and numbers
    head           string: category
    category_id    string
    rank           int32: 1 is the most wanted of the user
    p              double: P(buys anything of it within the horizon), with its 95 % interval p_low, p_high
    percentile     double: in [0, 100], of the reference pairs of user and category with a smaller raw
    raw            double: the margin in log-odds, by which to rank
    need           struct<days_since, usual_days: double, satisfied: bool>; null where it was never bought
    because        struct<id: string, days_ago: double, text: string>: what of the user's past speaks most for it
    reasons        list<struct<code, feature: string, value, contribution: double, text: string>>, the strongest first:
                   exact TreeSHAP values of raw; none that says what one before it says

``because`` and ``reasons`` are null and empty where no reasons were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from configs import configs_folder
from configs.errors import BundleError
from configs.history import WIDTH, History, code, unpack
from features.catalog import digest
from serving.bulk.columns import INSTANT, UNAVAILABLE, listed, numbers, struct, words
from serving.bulk.many import Lines, cut, need_of, readable
from serving.bulk.occasions import Occasions
from serving.bulk.sentences import Sentences
from serving.bulk.strongest import strongest
from serving.nbo.reasons import InterestReasons
from serving.nbo.tags import FEW_CATEGORIES, PREFIX
from serving.scoring import Bundle
from serving.scoring.interest.features import featurise_lines
from serving.scoring.interest.lines import lines_from
from serving.scoring.interest.model import InterestModel

__all__ = ["InterestScorer"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HEAD = "category"
_STATUS = ("PERSONALIZATION_OFF", UNAVAILABLE)
_OFF, _UNAVAILABLE = range(2)
_ROWS = 256  # of them, while tree after tree reads them


class InterestScorer:
    """The interest model of a release, asked about batches of histories; threads may share it.

    Parameters as of `serving.bulk.score.Scorer`.

    Raises
    ------
    BundleError
        When the release cannot be verified, or has no interest model.
    """

    def __init__(self, release_folder: str, reasons: int = 3, lang: str = "en", stale_before_us: int = 0) -> None:
        bundle = Bundle.load(Path(release_folder), digest())
        if bundle.interest is None:
            raise BundleError(f"{release_folder} holds no interest model", got=sorted(bundle.models))
        self.model: InterestModel = bundle.interest
        self.release_id, self.reasons, self.lang = bundle.release_id, reasons, lang
        self._stale_before_us = stale_before_us
        own, told = self.model.heads[HEAD], InterestReasons.load(configs_folder() / "reasons_interest.yaml")
        self._known = np.array([k for k, name in enumerate(own.features) if name in told.known], np.int64)
        self._features = [own.features[k] for k in self._known.tolist()]
        self._codes = [told.plain.code(feature) for feature in self._features]
        self._place = {name: k for k, name in enumerate(own.features)}
        self._sentences = Sentences(told.plain, self._features, lang)
        self._told = told
        self._occasions = Occasions(self.model, lang)
        self._all = self.model.statistics[HEAD].items
        self.model.prepare()
        self.model.heads[HEAD].raw(np.zeros((1, len(own.features))))

    @cached_property
    def schema(self) -> pa.Schema:
        """Of every batch of scores; its metadata name model, version, release, language and number of reasons."""
        about = {"model": self.model.name, "version": self.model.version, "model_digest": self.model.digest}
        about |= {"release_id": self.release_id, "lang": self.lang, "reasons": str(self.reasons)}
        about |= {"horizon_days": f"{self.model.horizon_days:g}"}
        kinds: list[tuple[str, pa.DataType]] = [("user_id", pa.string()), ("as_of", INSTANT)]
        kinds += [("history", pa.list_(pa.float64()))]
        return self._scored(pa.RecordBatch.from_pylist([], pa.schema(kinds)), {}, frozenset()).schema.with_metadata(
            about
        )

    def scored(
        self,
        batch: pa.RecordBatch,
        withheld: frozenset[str] = frozenset(),
        refused: Mapping[str, frozenset[str]] | None = None,
    ) -> pa.RecordBatch:
        """The scores of the users of ``batch``, of `schema`.

        Parameters
        ----------
        batch
            Columns ``user_id``, ``as_of`` (timestamp[us, UTC]) and ``history`` (list<double>, in the layout of
            `configs.history`, null where nothing is known).
        withheld
            Who wants no personalisation.
        refused
            By user, the tags that were deleted: nothing of those categories is remembered.
        """
        return self._scored(batch, refused or {}, withheld).replace_schema_metadata(self.schema.metadata)

    def _scored(
        self, batch: pa.RecordBatch, refused: Mapping[str, frozenset[str]], withheld: frozenset[str]
    ) -> pa.RecordBatch:
        ids = batch.column("user_id").to_pylist()
        off = np.array([one in withheld for one in ids] if withheld else np.zeros(len(ids)), np.bool_)
        lines, unreadable = self._remembered(batch, ids, refused)
        status = np.select([off, unreadable], [_OFF, _UNAVAILABLE], -1)
        codes, pairs = self._asked(lines, status >= 0)
        parts = []
        for begin, end in cut(pairs):
            here = slice(int(pairs[begin]), int(pairs[end]))
            parts.append(
                self._part(
                    batch.slice(begin, end - begin),
                    status[begin:end],
                    lines.part(begin, end),
                    codes[here],
                    pairs[begin : end + 1] - here.start,
                )
            )
        return pa.Table.from_batches(parts).combine_chunks().to_batches()[0] if len(parts) > 1 else parts[0]

    def _remembered(
        self, batch: pa.RecordBatch, ids: list[Any], refused: Mapping[str, frozenset[str]]
    ) -> tuple[Lines, NDArray[np.bool_]]:
        """Every user's lines, without those of categories whose tag was deleted; and whose history is none."""
        flat, lengths, unreadable = readable(batch.column("history"))
        counts, whole = lengths // WIDTH, unpack(flat)
        as_of_us = batch.column("as_of").cast(INSTANT).cast(pa.int64()).to_numpy()
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        deleted = {
            row: [code(tag.removeprefix(PREFIX)) for tag in tags if tag.startswith(PREFIX)]
            for row, one in enumerate(ids)
            if (tags := refused.get(one))
        }
        if any(deleted.values()):
            kept = np.ones(len(whole), np.bool_)
            for row, categories in deleted.items():
                own = slice(int(start[row]), int(start[row + 1]))
                of_items = np.array([self.model.category_of(int(item)) for item in whole.item[own]], np.int64)
                group = np.where(whole.category[own] == 0, of_items, whole.category[own])
                kept[own] = ~np.isin(group, categories)
            whole = History(*(getattr(whole, name)[kept] for name in History.__slots__))
            start = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[start]
        return Lines(whole, start, as_of_us), unreadable

    def _asked(self, lines: Lines, off: NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """The categories of every user, one user after the other, and where those of each begin."""
        many = len(lines.as_of_us)
        if len(self._all) <= FEW_CATEGORIES:
            counts = np.where(off, 0, len(self._all))
            codes = np.tile(self._all, int((~off).sum()))
        else:
            user = np.repeat(np.arange(many), np.diff(lines.start))
            known = (lines.whole.category != 0) & ~off[user]
            both = np.unique(np.stack([user[known], lines.whole.category[known]], axis=1), axis=0)
            counts, codes = np.bincount(both[:, 0], minlength=many), np.ascontiguousarray(both[:, 1])
        return codes, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    def _part(self, batch: pa.RecordBatch, status: Ints, lines: Lines, codes: Ints, pairs: Ints) -> pa.RecordBatch:
        x, raw, need = self._margins(lines, codes, pairs)
        user = np.repeat(np.arange(len(status)), np.diff(pairs))
        order = np.lexsort((-raw, user))  # stable: of equal ones the first code, as the service orders them
        x, raw, need, codes = x[order], raw[order], need[:, order], codes[order]
        rank = np.arange(len(codes)) - np.repeat(pairs[:-1], np.diff(pairs)) + 1
        # Of whom nothing can be said has one row, of nothing.
        owner = np.repeat(np.arange(len(status)), np.where(status >= 0, 1, np.diff(pairs)))
        rows, many = np.flatnonzero(status[owner] < 0), len(owner)
        own = self.model.heads[HEAD]
        p, low, high = own.probability(raw)
        told = {"p": p, "p_low": low, "p_high": high, "percentile": own.percentile(raw).round(2), "raw": raw}
        head = np.full(many, -1)
        head[rows] = 0
        taken = pa.array(owner, pa.int64())
        stale = (status != _OFF) & (lines.as_of_us < self._stale_before_us)
        columns: dict[str, pa.Array[Any]] = {
            "user_id": batch.column("user_id").cast(pa.string()).take(taken),
            "as_of": batch.column("as_of").cast(INSTANT).take(taken),
            "model": pa.repeat(pa.scalar(self.model.name), many),
            "version": pa.repeat(pa.scalar(self.model.version), many),
            "stale": pa.array(stale[owner], pa.bool_()),
            "status_reason": words(status[owner], _STATUS),
            "head": words(head, [HEAD]),
            "category_id": self._named(codes, rows, many),
            "rank": numbers(rank.astype(np.float64), rows, many).cast(pa.int32()),
            **{name: numbers(values, rows, many) for name, values in told.items()},
            "need": need_of(need, rows, many),
            "because": self._occasions.told(lines, pairs, codes, user, rows, many, self.reasons > 0),
            "reasons": self._reasons_of(x, rows, many),
        }
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

    def _margins(self, lines: Lines, codes: Ints, pairs: Ints) -> tuple[Floats, Floats, Floats]:
        """Features, margins and rhythm (days since, usual days, window) of each pair."""
        model = self.model
        statistics, as_head = model.statistics[HEAD], replace(lines.whole, item=lines.whole.category)
        translated = lines_from(statistics, as_head, lines.start, codes)
        plain = featurise_lines(statistics, translated, lines.as_of_us, pairs, codes)
        need = model.rhythms(lines.whole, lines.start, lines.as_of_us, pairs, codes)
        since, usual, window = need
        satisfied = np.where(usual == usual, since < window, np.nan)
        x = np.concatenate([plain, np.stack([since / usual, satisfied], axis=1)], axis=1)
        raw = np.empty(len(x))
        for start in range(0, len(x), _ROWS):
            raw[start : start + _ROWS] = model.heads[HEAD].raw(x[start : start + _ROWS])
        return x, raw, need

    def _named(self, codes: Ints, rows: NDArray[np.intp], many: int) -> pa.Array[Any]:
        different, which = np.unique(codes, return_inverse=True)
        place = np.full(many, -1)
        place[rows] = which
        return words(place, [self.model.text(one) or "" for one in different.tolist()])

    def _reasons_of(self, x: Floats, rows: NDArray[np.intp], many: int) -> pa.Array[Any]:
        most = min(self.reasons, len(self._known))
        counts = np.zeros(many, np.int64)
        columns: list[NDArray[Any]] = [np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)]
        written: list[str] = []
        texts = np.empty(0, np.int64)
        if most and len(x):
            phi = self.model.contributions(HEAD, x)[0][:, self._known]
            # A few more than are told: two features that say the same are one reason to a reader.
            columns, written, texts = self._different(x, phi, most, min(most + 4, len(self._known)))
            counts[rows] = np.bincount(columns[0], minlength=len(x))
        row, which, share = columns
        value = x[row, self._known[which]] if len(row) else np.empty(0)
        records = struct(
            {
                "code": words(which, self._codes),
                "feature": words(which, self._features),
                "value": pa.array(value, pa.float64(), mask=np.isnan(value)),
                "contribution": pa.array(share, pa.float64()),
                "text": words(texts, written),
            }
        )
        return listed(records, counts)

    def _different(
        self, x: Floats, phi: Floats, most: int, looked_at: int
    ) -> tuple[list[NDArray[Any]], list[str], Ints]:
        """Row, feature and share of at most so many reasons of each row; all sentences, and which each reason has."""
        chosen = strongest(phi, looked_at)
        share = np.take_along_axis(phi, chosen, axis=1)
        row = np.repeat(np.arange(len(x)), looked_at)
        written, which = self._sentences.written(chosen.reshape(-1), row, self._column(x))
        written = [self._told.named(one, self.lang, HEAD) for one in written]
        number = {one: k for k, one in enumerate(dict.fromkeys(written))}
        text = np.array([number[one] for one in written], np.int64)[which].reshape(chosen.shape)
        told = share != 0
        for later in range(1, looked_at):
            before = (text[:, :later] == text[:, later : later + 1]) & told[:, :later]
            told[:, later] &= ~before.any(axis=1)
        rank = np.cumsum(told, axis=1)
        short = (rank[:, -1] < most) & (share[:, -1] != 0)
        if short.any() and looked_at < phi.shape[1]:
            return self._different(x, phi, most, phi.shape[1])
        told &= rank <= most
        at, place = np.nonzero(told)
        return [at, chosen[at, place], share[at, place]], list(number), text[at, place]

    def _column(self, x: Floats) -> Callable[[str], Floats | None]:
        return lambda name: x[:, self._place[name]] if name in self._place else None
