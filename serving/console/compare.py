"""The page of two versions: champion against challenger, before the same users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serving.console import charts_compare as charts
from serving.console.asked import Asked
from serving.console.features_said import FeatureWords
from serving.console.measures import in_words, listed, measure, shown
from serving.console.page import Page
from serving.console.parts import by_words, natural, part_words
from serving.console.standing import Standing, no_version, standing, version_of

if TYPE_CHECKING:
    from serving.live import Live

__all__ = ["page", "willing"]

MOST_CHANGED = 15
NAMED = ("up", "down", "examples")  # the lists of a head that name users
VERDICTS = {"better": "good", "worse": "bad", "same": "mute"}


def page(asked: Asked) -> Page:
    """``GET /console/models/{model}/compare?first=&second=&head=``; default: champion against challenger."""
    t, model = asked.t, asked.parts["model"]
    known = standing(asked, model)
    first, second = _asked(asked, known, "first"), _asked(asked, known, "second")
    title = t("compare.title", model=model, first=first or "–", second=second or "–")
    values: dict[str, Any] = {
        "model": model,
        "first": first,
        "second": second,
        "roles": _roles(known),
        "numbers": sorted({*known.numbers, *_roles(known)}, key=lambda one: (len(one), one), reverse=True),
        "versus": None,
        "swapped": False,
    }
    versus = None
    if first is not None and second is not None and first != second:
        versus = asked.desk.read(model, second, f"versus-{first}.json")
    if versus is None:
        there = {*known.numbers, *_roles(known), *(row.version for row in known.rows)}
        for number in (first, second):
            if number is not None and number not in there:
                raise no_version(asked, model, number)
    if first is None or second is None or first == second:
        return Page("compare.html", title, "models", values)
    if versus is None:
        values["swapped"] = asked.desk.read(model, first, f"versus-{second}.json") is not None
        return Page("compare.html", title, "models", values)
    return Page("compare.html", title, "models", values | _told(asked, model, willing(asked.live, versus)))


def willing(live: Live, versus: Mapping[str, Any]) -> dict[str, Any]:
    """The file without the users who have switched personalisation off since; ``left_out`` of a head counts them."""
    heads = dict(versus.get("heads") or {})
    named = {one["user_id"] for head in heads.values() for name in NAMED for one in head.get(name) or []}
    gone: frozenset[str] = frozenset()
    if named:
        with live.logging():
            gone = live.log().unpersonalised(sorted(named))
    for name, head in heads.items():
        theirs = {one["user_id"] for part in NAMED for one in head.get(part) or []} & gone
        lists = {part: [one for one in head.get(part) or [] if one["user_id"] not in gone] for part in NAMED}
        # What comes from a report may have been through here before its users became digits.
        heads[name] = {**head, **lists, "left_out": head.get("left_out", 0) + len(theirs)}
    # Digits out of MLflow name nobody: whose they are cannot be looked up, neither here nor by a reader.
    return {**versus, "heads": heads, "users_hashed": bool(versus.get("users_hashed"))}


def _told(asked: Asked, model: str, versus: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the file says, for the head asked for."""
    t = asked.t
    cards = tuple(asked.desk.read(model, str(versus[side]), "card.json") or {} for side in ("first", "second"))
    heads = list(versus.get("heads") or {}) or list(versus.get("paired") or {})
    wanted = asked.given.get("head", "")
    head = wanted if wanted in heads else heads[len(heads) // 2] if heads else None
    about = cards[1].get("heads", {})
    values: dict[str, Any] = {
        "versus": versus,
        "head": head,
        "heads": [(one, t.of(about.get(one, {}).get("meaning")) or one) for one in heads],
        "verdict": t.of(versus.get("verdict")),
        "origins": [str(one)[:10] for one in versus.get("origins") or []],
        "words": t.of(versus.get("words")),
        "found": None,
        "paired": None,
        "segments": [],
    }
    if head is None:
        return values
    money = about.get(head, {}).get("unit") == "money"
    titles = (t("compare.version", version=versus["first"]), t("compare.version", version=versus["second"]))
    decides = cards[1].get("decides", "log_loss")
    values |= {
        "titles": titles,
        "money": money,
        "paired": _paired(asked, (versus.get("paired") or {}).get(head), decides, money),
        "segments": _segments(asked, cards, head, decides, money),
        "decides": in_words(t, measure(decides)),
    }
    found = (versus.get("heads") or {}).get(head)
    if isinstance(found, dict) and "points" in found:
        names = FeatureWords(cards[1], t)
        values |= {"found": found} | _drawn(asked, found, names, titles, money)
    return values


def _drawn(
    asked: Asked, found: Mapping[str, Any], names: FeatureWords, titles: tuple[str, str], money: bool
) -> dict[str, Any]:
    t, changed = asked.t, found.get("changed") or []
    moved = [row for row in changed if row["change"] or row["flipped"]]
    return {
        "both": charts.said_by_both(t, found["points"], titles, money),
        "moves": charts.moves(t, found["moves"]["edges"], found["moves"]["counts"]),
        "sides": [(name, found.get(name) or []) for name in ("up", "down")],
        "examples": [
            {**one, "charts": charts.example(t, one, names)} for one in found.get("examples") or []
        ],
        "changed": [
            {**row, "name": names.meaning(row["feature"])}
            for row in sorted(moved[:MOST_CHANGED], key=lambda row: -abs(row["change"]))
        ],
        "changed_chart": charts.changed(t, moved, names, titles) if moved else None,
    }  # fmt: skip


def _paired(asked: Asked, metrics: Mapping[str, Any] | None, decides: str, money: bool) -> dict[str, Any] | None:
    """Every metric of both with what the second is better by; the one that decides first."""
    if not metrics:
        return None
    rows = []
    for one in listed(list(metrics), decides):
        told = metrics[one.code]
        better = told.get("better", told)
        if not isinstance(better, Mapping) or better.get("ci") is None:
            continue
        low, high = better["ci"]
        verdict = told.get("verdict") or ("better" if low > 0 else "worse" if high < 0 else "same")
        rows.append(
            {
                "name": in_words(asked.t, one),
                "decides": one.code == decides,
                "first": _spanned(one, told.get("first"), money),
                "second": _spanned(one, told.get("second"), money),
                "better": f"{better['value']:+.4f} [{low:+.4f}, {high:+.4f}]",
                "value": better["value"],
                "ci": [low, high],
                "verdict": asked.t.or_code("compare.verdict", verdict),
                "tone": VERDICTS.get(verdict, "mute"),
            }
        )
    decided = next((row["verdict"] for row in rows if row["decides"]), None)
    return {"rows": rows, "chart": charts.differences(asked.t, rows), "decided": decided} if rows else None


def _spanned(one: Any, told: Mapping[str, Any] | None, money: bool) -> str:
    if told is None:
        return "–"
    value = shown(one, told["value"], money)
    return (
        f"{value} [{shown(one, told['ci'][0], money)}, {shown(one, told['ci'][1], money)}]" if told.get("ci") else value
    )


def _segments(
    asked: Asked, cards: Sequence[Mapping[str, Any]], head: str, decides: str, money: bool
) -> list[dict[str, Any]]:
    """Each part of the users as the cards of both judge it, by the metric that decides."""
    told = []
    for card in cards:
        listed_parts = card.get("heads", {}).get(head, {}).get("segments") or []
        told.append({(row["by"], str(row["part"])): row for row in listed_parts if isinstance(row, Mapping)}
                    if isinstance(listed_parts, list) else {})  # fmt: skip
    code = decides if any(decides in row.get("metrics", {}) for row in told[1].values()) else "log_loss"
    one, t = measure(code), asked.t
    rows, kinds = [], list(dict.fromkeys(by for by, _ in told[1]))
    for key, row in sorted(told[1].items(), key=lambda item: (kinds.index(item[0][0]), natural(*item[0]))):
        pair = [side.get(key, {}).get("metrics", {}).get(code) for side in told]
        if any(pair):
            rows.append(
                {
                    "by": by_words(t, key[0]),
                    "part": part_words(t, *key),
                    "rows": row.get("rows"),
                    "first": _spanned(one, pair[0], money),
                    "second": _spanned(one, pair[1], money),
                }
            )
    return rows


def _asked(asked: Asked, known: Standing, side: str) -> str | None:
    """The version of one side: as named, else the champion and the challenger; None where there is none."""
    named = asked.given.get(side, "")
    if named:
        return version_of(asked, known.model, named)
    found = known.champion if side == "first" else known.challenger
    return None if found is None else found.number


def _roles(known: Standing) -> dict[str, str]:
    return {one.number: one.role for one in (known.champion, known.challenger) if one is not None}
