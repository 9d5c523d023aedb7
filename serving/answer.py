"""From vectors to the answer: scores, reasons, waiting time. Pure: a model, a batch, nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.batch import UNREADABLE, Batch, iso
from serving.reasons import Reasons
from serving.schemas import Explain
from serving.scoring import Bundle, Model

__all__ = ["ServedModel", "Telling", "asked_together", "plain_user", "scored_users"]

_BEYOND = {"en": "less likely than not to order within {:g} days", "zh": "{:g} 天内下单的可能性不到一半"}


@dataclass(frozen=True)
class ServedModel:
    """A model of a release, with the place of its features among ``names``, the catalogue's vector."""

    model: Model
    names: tuple[str, ...]
    columns: NDArray[np.intp]
    reasons: Reasons
    release_id: str
    alias: str | None

    @classmethod
    def of(cls, bundle: Bundle, name: str, names: tuple[str, ...], reasons: Reasons) -> ServedModel:
        """Model ``name`` of a bundle; ``names`` are the catalogue's features in the order of the vector."""
        model = bundle.models[name]
        alias = bundle.meta.get("aliases", {}).get(name, bundle.meta.get("alias"))
        return cls(model, names, model.columns(names), reasons, bundle.release_id, alias)

    @cached_property
    def place(self) -> dict[str, int]:
        """Where each feature stands in the vector."""
        return {name: index for index, name in enumerate(self.names)}

    def block(self) -> dict[str, Any]:
        """The ``model`` block of an answer."""
        model = self.model
        kinds = sorted({head.calibrator.kind for head in model.heads.values()})
        return {
            "name": model.name,
            "version": model.version,
            "run_id": model.run_id,
            "alias": self.alias,
            "digest": model.digest,
            "maturity": model.meta.get("maturity"),
            "calibrator": f"{'+'.join(kinds)}@{model.version}",
            "release_id": self.release_id,
        }

    @property
    def feature_service(self) -> str:
        """Whose vector the model reads."""
        return str(self.model.meta.get("feature_service", self.model.name))


def scored_users(served: ServedModel, batch: Batch, explain: Explain) -> tuple[list[dict[str, Any]], float]:
    """One entry per user of the batch, in its order; and the seconds that the reasons took."""
    explaining = 0.0
    model = served.model
    x = np.ascontiguousarray(batch.values[:, served.columns])
    users = [plain_user(batch, row) for row in range(len(batch.user_ids))]
    scores: dict[str, list[dict[str, Any]]] = {}
    for heads in asked_together(model):
        inside = batch.found & model.in_cohort(x, heads[0])
        rows = np.flatnonzero(inside)
        own = x[rows]
        raws = model.raws(own, heads)
        scores |= {head: _scores(model, head, raws[head], rows, inside, batch, explain.lang) for head in heads}
        if explain.level != "none" and rows.size:
            began = perf_counter()
            telling = Telling(served, batch, rows, explain)
            for head, (phi, base) in model.explained(own, heads).items():
                told = telling.told(raws[head], phi, base, "log_odds")
                for row, (explanation, reasons) in zip(rows.tolist(), told, strict=True):
                    scores[head][row] |= {"explanation": explanation, "reason_codes": reasons}
            explaining += perf_counter() - began
    for head in model.heads:
        for user, score in zip(users, scores[head], strict=True):
            user["scores"][head] = score
    _add_next_order(model, x, batch, users, explain.lang)
    return users, explaining


def plain_user(batch: Batch, row: int) -> dict[str, Any]:
    """A user's entry of the answer, before any score."""
    known = bool(batch.found[row])
    return {
        "user_id": batch.user_ids[row],
        "known": known,
        "status_reason": None if known else batch.unknown(row),
        "as_of": iso(int(batch.as_of[row])) if known else None,
        "age_s": batch.age_s(row) if known else None,
        "stale": known and batch.is_stale(row),
        "scores": {},
    }


def asked_together(model: Model) -> list[list[str]]:
    """The heads, those with one booster and one cohort together: the same rows, in one question."""
    together: dict[tuple[str, str | None], list[str]] = {}
    for name, head in model.heads.items():
        together.setdefault((head.booster, head.cohort), []).append(name)
    return list(together.values())


def _scores(
    model: Model,
    head: str,
    raw: NDArray[np.float64],
    rows: NDArray[np.intp],
    inside: NDArray[np.bool_],
    batch: Batch,
    lang: str,
) -> list[dict[str, Any]]:
    """The head's score of every user; ``raw`` is that of ``rows``, those ``inside`` its cohort."""
    one = model.heads[head]
    scores = [_cold_start(model, head, batch.unknown(row)) for row in range(len(batch.user_ids))]
    if one.cohort is not None:
        meaning = model.cohorts[one.cohort].meaning.get(lang, one.cohort)
        outside = {"p": None, "status_reason": "OUT_OF_COHORT", "cohort": {"name": one.cohort, "meaning": meaning}}
        for row in np.flatnonzero(batch.found & ~inside).tolist():
            scores[row] |= outside
    answers = zip(
        rows.tolist(), one.calibrator(raw).tolist(), model.percentile(raw, head).round(2).tolist(), strict=True
    )
    for row, p, percentile in answers:
        scores[row] |= {"p": p, "percentile": percentile, "status_reason": None}
    return scores


def _cold_start(model: Model, head: str, reason: str) -> dict[str, Any]:
    return {
        "head": head,
        # Somebody whom we know, but cannot read, is no stranger: no number is made up.
        "p": None if reason == UNREADABLE else model.cold_start[head],
        "p_calibrated": True,
        "percentile": None,
        "status_reason": reason,
        "cohort": None,
        "reason_codes": [],
        "explanation": None,
    }


class Telling:
    """Reasons and explanations for ``rows`` of a batch."""

    def __init__(self, served: ServedModel, batch: Batch, rows: NDArray[np.intp], explain: Explain) -> None:
        self.served, self.explain = served, explain
        self.values = [_values(served.place, vector) for vector in batch.values[rows].tolist()]
        # The same feature is a strong reason at several horizons.
        self.texts: dict[tuple[int, str], str] = {}

    def told(
        self, raw: NDArray[np.float64], phi: NDArray[np.float64], base: NDArray[np.float64], unit: str
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """The explanation and the reasons of each row; ``raw``, ``phi`` and ``base`` are those of one head."""
        everything = self.explain.level == "full"
        strongest = np.argsort(-np.abs(phi), axis=1, kind="stable")
        if not everything:
            strongest = strongest[:, : self.explain.top_n]
        shares = np.take_along_axis(phi, strongest, axis=1).tolist()
        residuals = (raw - base - phi.sum(axis=1)).tolist()
        each = zip(strongest.tolist(), shares, residuals, base.tolist(), raw.tolist(), strict=True)
        for place, (features, share, residual, base_value, raw_score) in enumerate(each):
            told = list(zip(features, share, strict=True))
            explanation: dict[str, Any] = {"base_value": base_value, "raw_score": raw_score}
            explanation["additivity_residual"] = residual
            if everything:
                explanation["contributions"] = [self._share(place, i, value) for i, value in told]
            reasons = [self._reason(place, i, value, unit) for i, value in told[: self.explain.top_n] if value != 0]
            yield explanation, reasons

    def _share(self, place: int, i: int, contribution: float) -> dict[str, Any]:
        feature = self.served.model.features[i]
        return {"feature": feature, "value": self.values[place](feature), "contribution": contribution}

    def _reason(self, place: int, i: int, contribution: float, unit: str) -> dict[str, Any]:
        feature, value = self.served.model.features[i], self.values[place]
        text = self.texts.get((place, feature))
        if text is None:
            text = self.texts[place, feature] = self.served.reasons.text(feature, self.explain.lang, value)
        return {
            "code": self.served.reasons.code(feature),
            "feature": feature,
            "value": value(feature),
            "contribution": contribution,
            "unit": unit,
            "direction": "+" if contribution > 0 else "-",
            "text": text,
        }


def _values(place: Mapping[str, int], vector: Sequence[float]) -> Callable[[str], float | None]:
    def value(name: str) -> float | None:
        at = place.get(name)
        return None if at is None or math.isnan(vector[at]) else vector[at]

    return value


def _add_next_order(model: Model, x: NDArray[np.float64], batch: Batch, users: list[dict[str, Any]], lang: str) -> None:
    inside = batch.found & model.in_timing_cohort(x)
    days = model.next_order(x[inside])
    if days is None:
        return
    waits = iter(days.tolist())
    horizon = model.last_horizon_days
    for row, user in enumerate(users):
        instants: list[str | None] = [None, None, None]
        reason: str | None
        text = None
        if not user["known"]:
            reason = batch.unknown(row)
        elif not inside[row]:
            reason = "OUT_OF_COHORT"
            text = model.cohorts[model.timing_cohort].meaning.get(lang) if model.timing_cohort else None
        else:
            instants = [_after(int(batch.as_of[row]), wait) for wait in next(waits)]
            reason = "BEYOND_HORIZON" if instants[1] is None else None
            text = _BEYOND[lang].format(horizon) if reason else None
        user["expected_next_order_at"] = instants[1]
        user["expected_next_order"] = {
            "level": 0.8,
            "low_at": instants[0],
            "high_at": instants[2],
            "horizon_days": horizon,
            "status_reason": reason,
            "text": text,
        }


def _after(as_of: int, days: float) -> str | None:
    # Whole seconds: nobody orders by the microsecond.
    return None if math.isnan(days) else iso(as_of + round(days * 86_400) * 1_000_000)
