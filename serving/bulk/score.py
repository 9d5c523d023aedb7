"""A batch of the user snapshot to a batch of scores: pure, the same numbers as the service's answers, bit for bit.

One row per user, in the order of the batch. Every model gives::

    user_id        string
    as_of          timestamp[us, UTC]: of the snapshot; ages count up to it
    model          string
    version        string
    stale          bool: the features are older than the configuration allowed when the scoring began
    status_reason  string: PERSONALIZATION_OFF, of whoever wants no personalisation; FEATURES_UNAVAILABLE, of whose
                   stored features hold an infinite number; else null
    <head>         struct, one per head of the model, by the head's name

A head of churn, repurchase and their like is ``struct<p, percentile, raw: double, status_reason: string, reasons>``.
Outside the head's cohort (``OUT_OF_COHORT``) and with ``FEATURES_UNAVAILABLE`` all numbers are null; with
``PERSONALIZATION_OFF`` ``p`` is that of everybody. ``raw`` is the booster's margin in log-odds. A model that knows
when the next order comes adds ``expected_next_order: struct<at, low_at, high_at: timestamp, status_reason: string>``
(80 % between the ends).

A head of value is ``struct<expected, typical, low, high, p, amount, percentile, raw, amount_raw: double,
status_reason: string, reasons>`` beside ``value_tier: string``: spend in the currency of the source, 80 % between
``low`` and ``high``, ``raw`` the log-odds of a purchase, ``amount_raw`` the log of the mean amount of those who buy.

``reasons`` is ``list<struct<part, code, feature: string, value, contribution: double, text: string>>``, the strongest
first: exact TreeSHAP values of ``raw`` (of value also of ``amount_raw``; ``part`` is ``purchase`` or ``amount``, null
elsewhere); empty where there is no score or none were asked for. Of spend, each part has that many. A list of structs
rather than columns ``reason_1_code`` ...: readers unnest it in one word, it grows with ``--reasons``, and Parquet lays
out the same leaves either way.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from configs import configs_folder
from configs.errors import BundleError
from features.catalog import NAMES, USER_FEATURES, digest
from serving.bulk.columns import INSTANT, UNAVAILABLE, instants, listed, numbers, struct, words
from serving.bulk.heads import ROWS, Asked, Said, said
from serving.bulk.sentences import Sentences
from serving.reasons import Reasons
from serving.scoring import Bundle, Model
from serving.scoring.value.model import ValueModel
from serving.scoring.value.tiers import TIERS
from serving.value import HIGH, LOW

__all__ = ["Scorer"]

_DAY_S = 86_400
_STATUS = ("OUT_OF_COHORT", "PERSONALIZATION_OFF", UNAVAILABLE, "BEYOND_HORIZON")
_OUT, _OFF, _UNAVAILABLE, _BEYOND = range(4)


class Scorer:
    """One model of a release, asked about batches of the user snapshot; threads may share it.

    Parameters
    ----------
    release_folder
        Of the release itself (not ``current``: it could move while others still score).
    model
        Of the release, one that scores users: churn, repurchase, value, ...
    reasons
        How many per score, the strongest; 0: none.
    lang
        Of their sentences, en or zh.
    stale_before_us
        Features as of an instant before this one (microseconds since 1970, UTC) are stale.

    Raises
    ------
    BundleError
        When the release cannot be verified, or has no such model.
    """

    def __init__(
        self, release_folder: str, model: str, reasons: int = 3, lang: str = "en", stale_before_us: int = 0
    ) -> None:
        bundle = Bundle.load(Path(release_folder), digest())
        if model not in bundle.models:
            raise BundleError(
                f"{release_folder}: no model of this name scores users", got=model, expected=sorted(bundle.models)
            )
        self.model: Model = bundle.models[model]
        self.release_id, self.reasons, self.lang = bundle.release_id, reasons, lang
        self._stale_before_us = stale_before_us
        told = Reasons.load(configs_folder() / "reasons.yaml", USER_FEATURES)
        self._codes = [told.code(feature) for feature in self.model.features]
        self._sentences = Sentences(told, self.model.features, lang)
        self.model.prepare()

    @cached_property
    def schema(self) -> pa.Schema:
        """Of every batch of scores; its metadata name model, version, release, language and number of reasons."""
        about = {"model": self.model.name, "version": self.model.version, "model_digest": self.model.digest}
        about |= {"release_id": self.release_id, "lang": self.lang, "reasons": str(self.reasons)}
        kinds: list[tuple[str, pa.DataType]] = [
            ("user_id", pa.string()),
            ("as_of", INSTANT),
            *((name, pa.float64()) for name in NAMES),
        ]
        return self._scored(pa.RecordBatch.from_pylist([], pa.schema(kinds)), frozenset()).schema.with_metadata(about)

    def scored(self, batch: pa.RecordBatch, withheld: Collection[str] = frozenset()) -> pa.RecordBatch:
        """The scores of the users of ``batch``, of `schema`.

        Parameters
        ----------
        batch
            Columns ``user_id``, ``as_of`` (timestamp[us, UTC]) and every feature of the catalogue.
        withheld
            Who wants no personalisation; a set, for every user is looked up in it.
        """
        return self._scored(batch, withheld).replace_schema_metadata(self.schema.metadata)

    def _scored(self, batch: pa.RecordBatch, withheld: Collection[str]) -> pa.RecordBatch:
        model, asked = self.model, Asked(self.model, batch, withheld)
        columns: dict[str, pa.Array[Any]] = {
            "user_id": batch.column("user_id").cast(pa.string()),
            "as_of": batch.column("as_of").cast(INSTANT),
            "model": pa.repeat(pa.scalar(model.name), asked.many),
            "version": pa.repeat(pa.scalar(model.version), asked.many),
            "stale": pa.array(~asked.off & (asked.as_of_us < self._stale_before_us), pa.bool_()),
            "status_reason": words(_unscored(asked, -1), _STATUS),
        }
        found = {one.head: one for one in said(model, asked, self.reasons)}
        heads = [found[name] for name in model.heads]
        if isinstance(model, ValueModel):
            columns |= self._spend(model, asked, heads)
        else:
            columns |= {one.head: self._probability(asked, one) for one in heads}
            columns |= _next_order(model, asked)
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

    def _probability(self, asked: Asked, one: Said) -> pa.Array[Any]:
        head, raw, many = self.model.heads[one.head], one.parts[""].raw, asked.many
        p = np.where(asked.off, self.model.cold_start[one.head], np.nan)
        p[one.rows] = head.calibrator(raw)
        percentile = self.model.percentile(raw, one.head).round(2)
        return struct(
            {
                "p": numbers(p, np.arange(many), many),
                "percentile": numbers(percentile, one.rows, many),
                "raw": numbers(raw, one.rows, many),
                "status_reason": _status(asked, one),
                "reasons": self._reasons_of(asked, one),
            }
        )

    def _spend(self, model: ValueModel, asked: Asked, heads: list[Said]) -> dict[str, pa.Array[Any]]:
        columns: dict[str, pa.Array[Any]] = {}
        many, tier = asked.many, np.full(asked.many, -1)
        for one in heads:
            raw, amount_raw, rows = one.parts["purchase"].raw, one.parts["amount"].raw, one.rows
            spend = model.forecast(one.head, raw, amount_raw)
            expected = np.where(asked.off, model.cold_start[one.head], np.nan)
            expected[rows] = spend.expected
            if one.head == model.tiers.rules.head:
                names = model.tier(asked.x[rows], spend.expected)
                tier[rows] = [TIERS.index(name) for name in names]
            told = {
                "typical": spend.quantile(0.5),
                "low": spend.quantile(LOW),
                "high": spend.quantile(HIGH),
                "p": spend.p,
                "amount": spend.amount,
                "percentile": model.spend_percentile(spend.expected, one.head).round(2),
                "raw": raw,
                "amount_raw": amount_raw,
            }
            columns[one.head] = struct(
                {
                    "expected": numbers(expected, np.arange(many), many),
                    **{name: numbers(values, rows, many) for name, values in told.items()},
                    "status_reason": _status(asked, one),
                    "reasons": self._reasons_of(asked, one),
                }
            )
        return {**columns, "value_tier": words(tier, TIERS)}

    def _reasons_of(self, asked: Asked, one: Said) -> pa.Array[Any]:
        parts = list(one.parts.values())
        features = np.concatenate([part.features for part in parts], axis=1)
        shares = np.concatenate([part.shares for part in parts], axis=1)
        of = np.repeat(np.arange(len(parts)), [part.features.shape[1] for part in parts])
        told = shares != 0
        counts = np.zeros(asked.many, np.int64)
        counts[one.rows] = told.sum(axis=1)
        rows, which = np.repeat(np.arange(asked.many), counts), features[told]
        part = np.broadcast_to(of, told.shape)[told]
        value = asked.x[rows, which]
        records = struct(
            {
                "part": words(part if len(parts) > 1 else np.full(len(which), -1), list(one.parts)),
                "code": words(which, self._codes),
                "feature": words(which, self.model.features),
                "value": pa.array(value, pa.float64(), mask=np.isnan(value)),
                "contribution": pa.array(shares[told], pa.float64()),
                "text": self._sentences.texts(which, rows, asked.column),
            }
        )
        return listed(records, counts)


def _status(asked: Asked, one: Said) -> pa.Array[Any]:
    status = _unscored(asked, _OUT)
    status[one.rows] = -1
    return words(status, _STATUS)


def _unscored(asked: Asked, others: int) -> NDArray[np.int64]:
    """Why nobody can say anything of a user; ``others`` where that is not so."""
    return np.select([asked.off, asked.unreadable], [_OFF, _UNAVAILABLE], others)


def _next_order(model: Model, asked: Asked) -> dict[str, pa.Array[Any]]:
    """When the next order is expected, of a model that knows."""
    rows = np.flatnonzero(asked.known & model.in_timing_cohort(asked.x))
    if model.next_order(asked.x[:0]) is None:
        return {}
    days = np.empty((len(rows), 3))
    for start in range(0, len(rows), ROWS):
        days[start : start + ROWS] = model.next_order(asked.x[rows[start : start + ROWS]])
    status = _unscored(asked, _OUT)
    status[rows] = np.where(np.isnan(days[:, 1]), _BEYOND, -1)
    at = asked.as_of_us[rows, None] + np.rint(days * _DAY_S) * 1_000_000  # whole seconds, as the service says it
    ends = {
        name: instants(at[:, place], rows, asked.many) for place, name in ((1, "at"), (0, "low_at"), (2, "high_at"))
    }
    return {"expected_next_order": struct({**ends, "status_reason": words(status, _STATUS)})}
