"""From vectors to the answer: scores, reasons, waiting time. Pure: a model, a batch, nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.batch import Batch, iso
from serving.reasons import Reasons
from serving.schemas import Explain
from serving.scoring import Bundle, Model

__all__ = ["ServedModel", "scored_users"]

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
    x = np.ascontiguousarray(batch.values[:, served.columns])
    users: list[dict[str, Any]] = []
    for row, user_id in enumerate(batch.user_ids):
        known = bool(batch.found[row])
        users.append(
            {
                "user_id": user_id,
                "known": known,
                "status_reason": None if known else "UNKNOWN_USER",
                "as_of": iso(int(batch.as_of[row])) if known else None,
                "age_s": batch.age_s(row) if known else None,
                "stale": known and batch.is_stale(row),
                "scores": {},
            }
        )
    for head in served.model.heads:
        scores, raw, rows = _scores(served, head, x, batch, explain)
        if explain.level != "none" and rows.size:
            began = perf_counter()
            _explain(served, head, x[rows], batch, explain, raw, rows, scores)
            explaining += perf_counter() - began
        for user, score in zip(users, scores, strict=True):
            user["scores"][head] = score
    _add_next_order(served.model, x, batch, users, explain.lang)
    return users, explaining


def _scores(
    served: ServedModel, head: str, x: NDArray[np.float64], batch: Batch, explain: Explain
) -> tuple[list[dict[str, Any]], NDArray[np.float64], NDArray[np.intp]]:
    """The head's score of every user; the raw scores of those who have one, and which rows those are."""
    model = served.model
    scores = [_cold_start(model, head) for _ in range(len(x))]
    inside = batch.found & model.in_cohort(x, head)
    cohort = model.heads[head].cohort
    if cohort is not None:
        meaning = model.cohorts[cohort].meaning.get(explain.lang, cohort)
        outside = {"p": None, "status_reason": "OUT_OF_COHORT", "cohort": {"name": cohort, "meaning": meaning}}
        for row in np.flatnonzero(batch.found & ~inside):
            scores[row] |= outside
    rows = np.flatnonzero(inside)
    raw = model.raw(x[rows], head)
    answers = zip(
        rows.tolist(),
        model.heads[head].calibrator(raw).tolist(),
        model.percentile(raw, head).round(2).tolist(),
        strict=True,
    )
    for row, p, percentile in answers:
        scores[row] |= {"p": p, "percentile": percentile, "status_reason": None}
    return scores, raw, rows


def _explain(
    served: ServedModel,
    head: str,
    x: NDArray[np.float64],
    batch: Batch,
    explain: Explain,
    raw: NDArray[np.float64],
    rows: NDArray[np.intp],
    scores: list[dict[str, Any]],
) -> None:
    """Add reasons and explanation to the scores of ``rows``; ``x`` and ``raw`` are theirs."""
    phi, base = served.model.contributions(x, head)
    strongest = np.argsort(-np.abs(phi), axis=1, kind="stable")
    for place, row in enumerate(rows.tolist()):
        scores[row] |= _explained(
            served, batch.values[row], phi[place], strongest[place], float(base[place]), float(raw[place]), explain
        )


def _cold_start(model: Model, head: str) -> dict[str, Any]:
    return {
        "head": head,
        "p": model.cold_start[head],
        "p_calibrated": True,
        "percentile": None,
        "status_reason": "UNKNOWN_USER",
        "cohort": None,
        "reason_codes": [],
        "explanation": None,
    }


def _explained(
    served: ServedModel,
    vector: NDArray[np.float64],
    phi: NDArray[np.float64],
    strongest: NDArray[np.intp],
    base: float,
    raw: float,
    explain: Explain,
) -> dict[str, Any]:
    features = served.model.features
    value = _values(served.names, vector)
    explanation: dict[str, Any] = {
        "base_value": base,
        "raw_score": raw,
        "additivity_residual": raw - base - float(phi.sum()),
    }
    if explain.level == "full":
        explanation["contributions"] = [
            {"feature": features[i], "value": value(features[i]), "contribution": float(phi[i])} for i in strongest
        ]
    reasons = [
        {
            "code": served.reasons.code(features[i]),
            "feature": features[i],
            "value": value(features[i]),
            "contribution": float(phi[i]),
            "unit": "log_odds",
            "direction": "+" if phi[i] > 0 else "-",
            "text": served.reasons.text(features[i], explain.lang, value),
        }
        for i in strongest[: explain.top_n]
        if phi[i] != 0
    ]
    return {"reason_codes": reasons, "explanation": explanation}


def _values(names: tuple[str, ...], vector: NDArray[np.float64]) -> Callable[[str], float | None]:
    values = dict(zip(names, vector.tolist(), strict=True))

    def value(name: str) -> float | None:
        number = values.get(name)
        return None if number is None or math.isnan(number) else number

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
            reason = "UNKNOWN_USER"
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
