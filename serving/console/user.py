"""One user: what we know, what every model says today and said over the last weeks, why, and what if."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import numpy as np

from features.catalog import NAMES
from serving.batch import Batch, microseconds
from serving.console import asked_again, charts_user, whatif
from serving.console.asked import Asked
from serving.console.explained import CATALOGUE, Speaker, holds_horizon, mapped, waterfalls
from serving.console.history import asked_then, rows_of
from serving.console.page import Page
from serving.console.people import (
    because_words,
    cards,
    happened,
    head_words,
    is_id,
    percentile_words,
    probability_words,
)
from serving.console.users import nobody
from serving.errors.problem import Problem
from serving.schemas import Explain
from serving.scoring.interest.model import NAME as INTEREST
from serving.scoring.value.model import ValueModel

if TYPE_CHECKING:
    from serving.answer import ServedModel

__all__ = ["page"]

FIRST_FIELDS = 6  # features of the what-if that are offered at once: the strongest reasons
SILENT_DAYS = 14
_SILENT = NAMES.index("days_since_last_activity")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def page(asked: Asked) -> Page:
    """Answer ``GET /console/user?id=&model=&head=``; nobody's page is a 404 that says so."""
    user_id, live = asked.need("id"), asked.live
    if not is_id(user_id):
        return nobody(asked, user_id, "refused")
    explain = Explain.model_validate({"level": "full", "top_n": 20, "lang": asked.lang})
    release = live.release  # once: another one may come while the page is made
    told = asyncio.run(live.profile(user_id, explain, False, release))
    state = live.log().state(user_id, microseconds(live.now()), after_us=0)
    values: dict[str, Any] = {
        "user_id": user_id,
        "api": f"/v1/users/{quote(user_id, safe='')}/profile",
        "decisions": f"/console/decisions?{urlencode({'user': user_id})}",
        "state": state,
    }
    if told["personalization"] == "off":
        return Page("user.html", asked.t("user.title", id=user_id), "users", {**values, "known": False})
    if not told["known"]:
        return nobody(asked, user_id, "unknown", told)
    batch = live.read([user_id])
    if not batch.found[0]:  # opted out, or went, since
        return nobody(asked, user_id, "unknown", told)
    model, head = _chosen(asked, told)
    values |= {"known": True, "told": told, "cards": cards(asked.t, told, batch), "events": happened(asked, told)}
    values |= {"rows": _rows(asked, told, model, head), "model": model, "head": head, "stale": batch.is_stale(0)}
    values["because"] = partial(because_words, asked.t)
    values["silent"] = not batch.values[0, _SILENT] < SILENT_DAYS
    values["allowed_hours"] = live.config.max_feature_age_hours
    interest = release.bundle.interest
    values["wants_days"] = 0.0 if interest is None else interest.horizon_days
    values |= _one(asked, told, batch, release.models[model], head)
    return Page("user.html", asked.t("user.title", id=user_id), "users", values, values.pop("status", 200))


def _chosen(asked: Asked, told: dict[str, Any]) -> tuple[str, str]:
    """The model and head that are looked at: those asked for, else the first that has an answer."""
    scores = told["scores"]
    model, head = asked.given.get("model") or next(iter(scores), ""), asked.given.get("head")
    if model == INTEREST and told["interests"] is not None:  # no score of the user: it stands on the page anyway
        model, head = next(iter(scores), ""), None
    if model not in scores:
        raise Problem(404, "unknown-model", asked.t("user.no_model"), expected=sorted(scores), got=model[:80])
    heads = scores[model]["scores"]
    answered = next((name for name, score in heads.items() if score["explanation"]), next(iter(heads)))
    head = head or answered
    if head not in heads:
        raise Problem(404, "unknown-head", asked.t("user.no_head"), expected=list(heads), got=head[:80])
    return model, head


def _rows(asked: Asked, told: dict[str, Any], model: str, head: str) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Every model with its version and a line per head."""
    rows = []
    for name, block in told["scores"].items():
        version = block["model"]["version"]
        card = asked.desk.read(name, version, "card.json")
        lines = [
            {
                "head": one,
                "meaning": head_words(asked, card, one),
                "score": asked_again.said_score(score),
                "words": probability_words(asked.t, score),
                "percentile": percentile_words(asked.t, score),
                "why_not": _why_not(asked, score),
                "chosen": (name, one) == (model, head),
                "href": _address(asked, model=name, head=one),
            }
            for one, score in block["scores"].items()
        ]
        rows.append((name, version, lines))
    return rows


def _why_not(asked: Asked, score: dict[str, Any]) -> str:
    if score["status_reason"] == "OUT_OF_COHORT":
        return asked.t("user.out_of_cohort", meaning=score["cohort"]["meaning"])
    return asked.t.or_code("user.status", score["status_reason"]) if score["status_reason"] else ""


def _one(asked: Asked, told: dict[str, Any], batch: Batch, served: ServedModel, head: str) -> dict[str, Any]:
    """The chosen head: over time, why, and what if."""
    model = served.model.name
    card = asked.desk.read(model, served.model.version, "card.json")
    score, grouped = told["scores"][model]["scores"][head], asked.given.get("grouped") == "1"
    learned = asked.desk.read(model, served.model.version, f"learned/{head}.json") or {}
    groups = learned.get("groups") or []
    speaker = Speaker.of(served, batch, asked.lang)
    falls = waterfalls(score, speaker, groups if grouped else (), horizon=holds_horizon(served.model, head))
    names = {one: head_words(asked, card, one) for one in served.model.heads}
    money = isinstance(served.model, ValueModel)
    as_of = _EPOCH + timedelta(microseconds=int(batch.as_of[0]))
    before, rows = rows_of(asked.live.config.home, batch.user_ids[0], as_of)
    history = asked_then(served, [*before, as_of], np.vstack([rows, batch.values]))
    values: dict[str, Any] = {
        "question": names[head],
        "score": score,
        "money": money,
        "points": len(history.as_ofs),
        "over_time": charts_user.over_time(asked.t, history, names, head, money),
        "has_history": any(one is not None for one in history.heads[head]),
        "falls": [
            {
                "one": one,
                "figure": charts_user.shares(asked.t, one, beside=True),
                "mapped": _mapped(asked, served, head, score, one),
            }
            for one in falls
        ],
        "groups": len(groups),
        "grouped": grouped,
        "switch": _address(asked, grouped="" if grouped else "1") + "#why",
        "explained": bool(falls),
        "version": served.model.version,
        "as_of": told["features"]["as_of"],
    }
    return values | (_what_if(asked, served, head, batch, speaker, score, card) if falls else {"what_if": None})


def _mapped(asked: Asked, served: ServedModel, head: str, score: dict[str, Any], one: Any) -> str:
    if one.part == "amount":
        return asked.t("user.amount_is", raw=repr(one.raw), amount=repr(score["amount"]))
    return mapped(asked.t, served.model.heads[head].calibrator, one.raw, score["p"])


def _what_if(
    asked: Asked,
    served: ServedModel,
    head: str,
    batch: Batch,
    speaker: Speaker,
    score: dict[str, Any],
    card: dict[str, Any] | None,
) -> dict[str, Any]:
    """The form and its answer; a refused value is said beside the form, and the answer is the present."""
    refused, status = "", 200
    try:
        found = asked_again.ask_again(asked, served, head, batch)
    except Problem as problem:
        refused, status = problem.detail, problem.status
        plain = {key: value for key, value in asked.given.items() if not key.startswith("w.")}
        again = Asked(asked.live, asked.desk, asked.t, asked.path, plain, asked.parts)
        found = asked_again.ask_again(again, served, head, batch)
    reasons = [one["feature"] for one in score["reason_codes"]]
    given = [key.removeprefix("w.") for key, text in asked.given.items() if key.startswith("w.") and text.strip()]
    also = [asked.given.get("add", ""), found.along, *(name for name in given)]
    names = list(dict.fromkeys([*reasons[:FIRST_FIELDS], *(name for name in also if name in served.model.features)]))
    spans = asked_again.spans_of(asked, served, speaker, card, names)
    fields = [_field(asked, speaker, name, spans[name]) for name in names]
    others = sorted((speaker.meaning(name), name) for name in served.model.features if name not in names)
    return {
        "what_if": found,
        "refused": refused,
        "status": status,
        "fields": fields,
        "others": others,
        "every": sorted((speaker.meaning(name), name) for name in served.model.features),
        "json": "/console/user/what-if",
        "back": _address(asked, bare=True) + "#what-if",
    }


def _field(asked: Asked, speaker: Speaker, name: str, span: Any) -> dict[str, Any]:
    value, given = speaker.value(name), asked.given.get(f"w.{name}", "").strip()[:40]
    low, high = span.span
    unit = CATALOGUE[name].unit
    counted = whatif.is_counted(name)
    if counted:  # a slider that begins at a half would stop at halves
        low, high = math.ceil(low), math.floor(high)
    whole = counted or (unit == "days" and (value is None or value == int(value)) and high - low >= 10)
    step = 1 if whole else whatif.step_of(unit, high - low)
    ends = (low, high) if counted else whatif.on_steps(low, high, step)
    return {
        "name": name,
        "meaning": speaker.meaning(name),
        "present": _now(asked, speaker, name),
        "at": low if value is None else value,
        "given": "" if given == whatif.ABSENT else given,
        "absent": speaker.absent(name) if whatif.can_be_absent(name) else "",
        "taken": given == whatif.ABSENT,
        "placeholder": "" if value is None else f"{value:.4g}",
        "least": span.low,
        "most": span.high,
        "low": ends[0],
        "high": ends[1],
        "step": step,
        "range": asked_again.written(span),
        "seen": f"{low:.4g} – {high:.4g}",
        "trained": span.trained,
    }


def _now(asked: Asked, speaker: Speaker, name: str) -> str:
    """The present value as the field beside it takes it."""
    value = speaker.value(name)
    if value is None:
        return asked.t("user.absent", said=speaker.absent(name))
    return f"{value:.4g}" if CATALOGUE[name].unit == "rate" else speaker.shown(name, value)


def _address(asked: Asked, bare: bool = False, **changed: str) -> str:
    """The page with other parameters; an empty one goes."""
    kept = {key: asked.given[key] for key in ("id", "model", "head", "grouped") if key in asked.given}
    if "model" in changed:
        kept = {"id": asked.given["id"], **({"grouped": "1"} if kept.get("grouped") else {})}
    kept |= changed
    return f"/console/user?{urlencode({key: value for key, value in kept.items() if value})}"
