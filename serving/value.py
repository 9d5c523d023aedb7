"""From vectors to expected spend: forecasts, tiers, and exact reasons of both boosters. Pure, as `serving.answer`."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.answer import ServedModel, Telling, asked_together, plain_user
from serving.batch import UNREADABLE, Batch
from serving.schemas import Explain
from serving.scoring.value.model import ValueModel
from serving.scoring.value.tiers import TIER_NAMES

__all__ = ["PARTS", "valued_users"]

Floats = NDArray[np.float64]

# Whether they buy, and how much if they do: the two factors of expected spend, each with reasons of its own.
PARTS = {"purchase": "log_odds", "amount": "log_amount"}
LOW, HIGH = 0.1, 0.9


def valued_users(served: ServedModel, batch: Batch, explain: Explain) -> tuple[list[dict[str, Any]], float]:
    """One entry per user of the batch, in its order; and the seconds that the reasons took."""
    model = served.model
    assert isinstance(model, ValueModel)
    explaining = 0.0
    x = np.ascontiguousarray(batch.values[:, served.columns])
    users = [{**plain_user(batch, row), "value_tier": None, "value_tier_text": None} for row in range(len(x))]
    for heads in asked_together(model):
        inside = batch.found & model.in_cohort(x, heads[0])
        rows = np.flatnonzero(inside)
        own = x[rows]
        raws = {"purchase": model.raws(own, heads), "amount": model.amount_raws(own, heads)}
        for head in heads:
            purchase, amount = raws["purchase"][head], raws["amount"][head]
            _score(model, head, purchase, amount, rows, inside, batch, users, explain.lang)
        if model.tiers.rules.head in heads:
            expected = np.array([users[row]["scores"][model.tiers.rules.head]["expected"] for row in rows.tolist()])
            for row, tier in zip(rows.tolist(), model.tier(own, expected), strict=True):
                users[row] |= {"value_tier": tier, "value_tier_text": TIER_NAMES[tier][explain.lang]}
        if explain.level != "none" and rows.size:
            began = perf_counter()
            _explain(served, model, heads, raws, own, rows, batch, users, explain)
            explaining += perf_counter() - began
    for user in users:
        user["scores"] = {head: user["scores"][head] for head in model.heads}
    return users, explaining


def _score(
    model: ValueModel,
    head: str,
    raw: Floats,
    amount_raw: Floats,
    rows: NDArray[np.intp],
    inside: NDArray[np.bool_],
    batch: Batch,
    users: list[dict[str, Any]],
    lang: str,
) -> None:
    """Write one head's score into every user; ``raw`` and ``amount_raw`` are those of ``rows``, inside its cohort."""
    one, judged = model.heads[head], head in model.meta.get("metrics", {})
    for user in users:
        reason = user["status_reason"]
        user["scores"][head] = {
            "head": head,
            "horizon_days": one.horizon_days,
            "expected": None if reason == UNREADABLE else model.cold_start[head],
            "typical": None,
            "interval": None,
            "p": None,
            "amount": None,
            "percentile": None,
            "judged": judged,
            "status_reason": reason,
            "cohort": None,
            "reason_codes": [],
            "explanation": None,
        }
    if one.cohort is not None:
        meaning = model.cohorts[one.cohort].meaning.get(lang, one.cohort)
        outside = {"expected": None, "status_reason": "OUT_OF_COHORT"}
        for row in np.flatnonzero(batch.found & ~inside).tolist():
            users[row]["scores"][head] |= {**outside, "cohort": {"name": one.cohort, "meaning": meaning}}
    spend = model.forecast(head, raw, amount_raw)
    columns = {
        "expected": spend.expected.tolist(),
        "typical": spend.quantile(0.5).tolist(),
        "p": spend.p.tolist(),
        "amount": spend.amount.tolist(),
        "percentile": model.spend_percentile(spend.expected, head).round(2).tolist(),
    }
    ends = zip(spend.quantile(LOW).tolist(), spend.quantile(HIGH).tolist(), strict=True)
    for place, (row, (low, high)) in enumerate(zip(rows.tolist(), ends, strict=True)):
        told = {name: values[place] for name, values in columns.items()}
        users[row]["scores"][head] |= {**told, "interval": {"level": 0.8, "low": low, "high": high}}


def _explain(
    served: ServedModel,
    model: ValueModel,
    heads: list[str],
    raws: dict[str, dict[str, Floats]],
    own: Floats,
    rows: NDArray[np.intp],
    batch: Batch,
    users: list[dict[str, Any]],
    explain: Explain,
) -> None:
    """Both factors of every head, the reasons of the purchase first."""
    telling = Telling(served, batch, rows, explain)
    explained = {"purchase": model.explained(own, heads), "amount": model.amount_explained(own, heads)}
    for part, unit in PARTS.items():
        for head, (phi, base) in explained[part].items():
            told = telling.told(raws[part][head], phi, base, unit)
            for row, (explanation, reasons) in zip(rows.tolist(), told, strict=True):
                score = users[row]["scores"][head]
                score["explanation"] = {**(score["explanation"] or {}), part: explanation}
                score["reason_codes"] += [{"part": part, **reason} for reason in reasons]
