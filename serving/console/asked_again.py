"""What-if on the page and as JSON: the same user with other values, the score before and after, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from serving.console import charts_user, whatif
from serving.console.explained import Speaker, Waterfall, holds_horizon, waterfalls
from serving.console.history import newest_snapshot
from serving.console.page import number, percent
from serving.console.snapshot_rows import ranges
from serving.errors.problem import Problem
from serving.scoring.value.model import ValueModel

if TYPE_CHECKING:
    from serving.answer import ServedModel
    from serving.batch import Batch
    from serving.console.asked import Asked

__all__ = ["WhatIf", "answer", "ask_again", "said_score"]

HINTED = 4  # names of related features that are spelled out


@dataclass(frozen=True)
class WhatIf:
    """One what-if: the score ``before`` and ``after``, its waterfalls, and the curve along ``along``.

    ``new`` holds None for a value that is taken away.
    """

    new: Mapping[str, float | None]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    said: Mapping[str, str]
    figures: Mapping[str, Any]
    along: str
    tables: list[Waterfall]


def answer(asked: Asked) -> Response:
    """``GET /console/user/what-if``: the numbers, sentences and charts of a what-if as JSON."""
    try:
        user_id, name = asked.need("id"), asked.need("model")
        _, served = asked.live.model(name)
        head = asked.need("head")
        if head not in served.model.heads:
            raise Problem(404, "unknown-head", "the model has no such head", expected=list(served.model.heads))
        batch = asked.live.read([user_id])
        if not batch.found[0]:
            raise Problem(404, "unknown-user", asked.t("users.unknown"), field="id")
        found = ask_again(asked, served, head, batch)
    except Problem as problem:
        return problem.response()
    after = found.after
    content: dict[str, Any] = {"what_if": dict(found.new), "of": "the model, not the world"}
    content |= {key: after.get(key) for key in ("head", "p", "percentile", "expected", "amount", "status_reason")}
    content |= {"explanation": after["explanation"], "said": dict(found.said), "figures": dict(found.figures)}
    return JSONResponse(content, headers={"cache-control": "no-store"})


def ask_again(asked: Asked, served: ServedModel, head: str, batch: Batch) -> WhatIf:
    """The what-if that the query string asks for; one without changes is the present."""
    new = whatif.changes(asked.given, served)
    card = asked.desk.read(served.model.name, served.model.version, "card.json")
    present = Speaker.of(served, batch, asked.lang)
    spans = spans_of(asked, served, present, card, [*new])
    for feature, value in new.items():
        check(asked, feature, value, spans[feature])
    again = whatif.changed(batch, served, new)
    before = whatif.explained_user(served, batch, asked.lang)["scores"][head]
    after = whatif.explained_user(served, again, asked.lang)["scores"][head] if new else before
    speaker, groups = Speaker.of(served, again, asked.lang), _groups(asked, served, head)
    falls = waterfalls(after, speaker, groups, horizon=holds_horizon(served.model, head))
    along = asked.given.get("along", "")
    if along not in served.model.features:
        along = next(iter(new), "") or (falls[0].shares[0].name if falls and not falls[0].shares[0].members else "")
    along = along or served.model.features[0]
    figures: dict[str, Any] = {f"whatif-{one.part}": charts_user.shares(asked.t, one) for one in falls}
    span = spans_of(asked, served, present, card, [along])[along]
    money = isinstance(served.model, ValueModel)
    here, there = present.value(along), new.get(along)
    also = [value for value in (here, there) if value is not None]
    points, scores = whatif.curve(served, head, again, along, span, also)
    place: dict[float | None, float | None] = dict(zip(points, scores, strict=True))
    if whatif.can_be_absent(along):
        place[None] = whatif.score_of(served, head, whatif.changed(again, served, {along: None}))
    figures["whatif-curve"] = charts_user.whole_range(
        asked.t,
        present.meaning(along),
        points,
        scores,
        (here, place.get(here)),
        (there, place[there]) if along in new else None,
        place.get(None),
        money,
    )
    return WhatIf(new, before, after, _said(asked, served, before, after, new, present), figures, along, falls)


def spans_of(
    asked: Asked, served: ServedModel, present: Speaker, card: Mapping[str, Any] | None, features: list[str]
) -> dict[str, whatif.Range]:
    """What each feature may be set to."""
    newest = newest_snapshot(asked.live.config.home)
    everybody = {} if newest is None else ranges(newest)
    return {name: whatif.range_of(name, present.value(name), card, everybody) for name in features}


def check(asked: Asked, feature: str, value: float | None, span: whatif.Range) -> None:
    """Refuse a value out of range, with the range, a part of what is counted, and none of what everybody has."""
    if value is None:
        if not whatif.can_be_absent(feature):
            detail = asked.t("user.never_absent", feature=feature)
            raise Problem(422, "never-absent", detail, field=feature, expected=written(span), got=whatif.ABSENT)
        return
    if not span.holds(value):
        raise Problem(
            422,
            "out-of-range",
            asked.t("user.out_of_range", feature=feature, value=f"{value:g}", range=written(span)),
            field=feature,
            expected=written(span),
            got=value if value - value == 0 else str(value),
        )
    if whatif.is_counted(feature) and value != int(value):
        detail = asked.t("user.not_whole", feature=feature, value=f"{value:g}")
        raise Problem(422, "not-whole", detail, field=feature, expected="a whole number", got=value)


def written(span: whatif.Range) -> str:
    """A range for reading."""
    low = "−∞" if span.low is None else f"{span.low:.6g}"
    return f"{low} – {'∞' if span.high is None else f'{span.high:.6g}'}"


def said_score(score: Mapping[str, Any]) -> str:
    """A score in figures: a probability, or an expected spend."""
    return number(score["expected"], 2) if "expected" in score else percent(score["p"])


def _groups(asked: Asked, served: ServedModel, head: str) -> list[dict[str, Any]]:
    if asked.given.get("grouped") != "1":
        return []
    learned = asked.desk.read(served.model.name, served.model.version, f"learned/{head}.json")
    groups: list[dict[str, Any]] = (learned or {}).get("groups") or []
    return groups


def _said(
    asked: Asked,
    served: ServedModel,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    new: Mapping[str, float | None],
    present: Speaker,
) -> dict[str, str]:
    t, key = asked.t, "expected" if "expected" in before else "p"
    said = {"was": said_score(before), "now": said_score(after), "moved": "–", "cohort": "", "hint": ""}
    if before[key] is not None and after[key] is not None:
        move = after[key] - before[key]
        said["moved"] = f"{move:+,.2f}" if key == "expected" else t("user.points", move=f"{100 * move:+.1f}")
    if after["cohort"]:
        said["cohort"] = t("user.leaves_cohort", meaning=after["cohort"]["meaning"])
    together = whatif.related(new, served)
    if together:
        names = t("user.and").join(present.meaning(name) for name in together[:HINTED])
        said["hint"] = t("user.together", names=names, n=len(together))
    return said
