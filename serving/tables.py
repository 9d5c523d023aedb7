"""Answers as tables for people: scores, spend, interests, offers, and what they are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from configs.terminal import console, print_table
from features.catalog import USER_FEATURES

if TYPE_CHECKING:
    from serving.console.explained import Waterfall

__all__ = ["next_order", "print_answer", "print_explained", "print_interest", "print_offers", "print_value", "why_none"]


def print_answer(answer: dict[str, Any]) -> None:
    """One table per user: each head, its probability, its reasons; of interest, the next categories and items."""
    for user in answer["users"]:
        if "scores" not in user:
            print_interest(user)
            continue
        if "value_tier" in user:
            print_value(user)
            continue
        rows: list[list[object]] = []
        for name, head in user["scores"].items():
            shown = "-" if head["p"] is None else f"{head['p']:.3f}"
            rank = "-" if head["percentile"] is None else f"{head['percentile']:.0f}"
            why = [f"{r['direction']} {r['text']}" for r in head["reason_codes"]] or [head["status_reason"] or ""]
            rows.append([name, shown, rank, "\n".join(why)])
        basis = f"features as of {user['as_of']}" if user["known"] else "unknown: the base rates of everybody"
        table = Table(title=f"{user['user_id']}   ({basis})", title_justify="left")
        for title, side in (("score", "left"), ("p", "right"), ("percentile", "right"), ("because", "left")):
            table.add_column(title, justify=side)  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        console.print(table)
        if user.get("expected_next_order"):
            console.print(next_order(user), highlight=False)


def print_value(user: dict[str, Any]) -> None:
    """What a user will spend within each horizon, and why: whether they buy, how much if they do."""
    rows: list[list[object]] = []
    for name, head in user["scores"].items():
        money = [head[key] for key in ("expected", "typical", "amount")]
        between = [head["interval"][end] for end in ("low", "high")] if head["interval"] else []
        why = [f"{r['direction']} {r['part']}: {r['text']}" for r in head["reason_codes"]]
        cells = ["-" if one is None else f"{one:,.2f}" for one in money]
        cells.insert(1, " .. ".join(f"{one:,.0f}" for one in between) or "-")
        p = "-" if head["p"] is None else f"{head['p']:.3f}"
        shown = name if head["judged"] else f"{name} (not judged yet)"
        rows.append([shown, *cells[:3], p, cells[3], "\n".join(why) or head["status_reason"] or ""])
    table = Table(
        title=f"{user['user_id']}   ({user['value_tier'] or user['status_reason'] or 'no tier'})", title_justify="left"
    )
    for title in ("spend", "expected", "80 %", "typical", "p(buys)", "if they buy", "because"):
        table.add_column(title, justify="left" if title in ("spend", "because") else "right")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)


def print_interest(user: dict[str, Any]) -> None:
    """What a user will want next, the likeliest first."""
    rows: list[list[object]] = []
    for kind in ("categories", "items"):
        for one in user[kind]:
            name = one["category_id"] if kind == "categories" else f"{one['item_id']} ({one['category_id']})"
            why = one["because"]["text"] if one["because"] else ""
            if one["need"] and one["need"]["satisfied"]:
                why = f"need satisfied: {one['need']['days_since']:.0f} of {one['need']['usual_days']:.0f} days"
            rows.append([kind, name, f"{one['p']:.3f}", why])
    table = Table(title=f"{user['user_id']}   ({user['status_reason'] or 'interest'})", title_justify="left")
    for title, side in (("next", "left"), ("", "left"), ("p", "right"), ("because", "left")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)


def next_order(user: dict[str, Any]) -> str:
    """When the next order is expected, as a sentence."""
    expected = user["expected_next_order"]
    if user["expected_next_order_at"] is None:
        return f"next order: {expected['text'] or expected['status_reason']}"
    until = (
        expected["high_at"][:10] if expected["high_at"] else f"later than {expected['horizon_days']:g} days from then"
    )
    low = expected["low_at"][:10] if expected["low_at"] else "then"
    return f"next order expected {user['expected_next_order_at'][:10]} (80 %: {low} to {until})"


def print_explained(
    user: dict[str, Any], lang: str, top: int, heads: Sequence[str], groups: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    """Each score of one user from base value to probability, every number as the API wrote it; of value, both parts.

    ``groups`` are by head the features that become one line.
    """
    from configs import configs_folder
    from serving.console.explained import Speaker, waterfalls
    from serving.reasons import Reasons

    reasons = Reasons.load(configs_folder() / "reasons.yaml", USER_FEATURES)
    for name in heads:
        score = user["scores"][name]
        if score["explanation"] is None:
            console.print(f"{name}: {why_none(score, lang)}", markup=False, highlight=False)
            continue
        first = score["explanation"].get("purchase", score["explanation"])
        values = {one["feature"]: one["value"] for one in first["contributions"]}
        for one in waterfalls(score, Speaker(reasons, values.get, lang), groups.get(name, ())):
            rows = _sum(one, top)
            if one.part == "amount":
                rows.append(["amount, if they buy", repr(score["amount"])])
            else:
                rows.append(["calibrated probability", repr(score["p"])])
            title = name if one.part == "score" else f"{name}: {one.part}"
            print_table(title, ["", "log-odds" if one.unit == "log_odds" else "log amount"], rows)
        if "expected" in score:
            console.print(f"{name}: {score['p']!r} x {score['amount']!r} = {score['expected']!r} expected")


def why_none(answer: Mapping[str, Any], lang: str) -> str:
    """Why there is no score, in the words of the console: whom the question is for, or that nobody knows the user."""
    from serving.console.words import words

    t = words(lang)
    if answer["status_reason"] == "OUT_OF_COHORT":
        return t("user.out_of_cohort", meaning=answer["cohort"]["meaning"])
    return t.or_code("user.status", answer["status_reason"])


def _sum(one: Waterfall, top: int) -> list[list[object]]:
    """From the base value to the raw score, one row per reason, all other features in one, and what rounding left."""
    rows: list[list[object]] = [["base value", repr(one.base)]]
    rows += [[share.text, repr(share.contribution)] for share in one.shares[:top]]
    if one.shares[top:]:
        rest = math.fsum(single.contribution for single in one.singles(one.shares[top:]))
        rows.append([f"{len(one.shares) - top} others", repr(rest)])
    rows.append(["base value + all of them", repr(one.total)])
    return [*rows, ["difference (rounding of binary numbers)", repr(one.off)], ["raw score", repr(one.raw)]]


def print_offers(answer: dict[str, Any]) -> None:
    """The offers with their reasons, and how many others fell to which rule."""
    table = Table(title=f"decision {answer['decision_id']}: {answer['status']}", title_justify="left")
    for title in ("offer", "p [95 %]", "value", "priority", "shown with probability", "because"):
        table.add_column(title, justify="left" if title in ("offer", "because") else "right")
    for offer in answer["offers"]:
        low, high = offer["p_interval"]
        why = [f"{reason['direction']} {reason['text']}" for reason in offer["reason_codes"]]
        parts = offer["components"]
        cells = (
            offer["offer_id"],
            f"{offer['p']:.3f} [{low:.3f}, {high:.3f}]",
            f"{parts['value']:.2f}",
            f"{offer['priority']:.3f}",
            f"{offer['action_probability']:.4f}",
            "\n".join(why),
        )
        table.add_row(*map(Text, cells))
    console.print(table)
    if answer["fallback"]:
        console.print(f"fallback: {answer['fallback']['offer_id']} ({answer['fallback']['rule']})")
    if answer["status_reason"]:
        console.print(f"because: {answer['status_reason']}")
    rules: dict[str, list[str]] = {}
    for one in answer["filtered"]:
        rules.setdefault(f"{one['stage']}: {one['rule']}", []).append(one["offer_id"] or f"{one['count']} offers")
    rows: list[list[object]] = [[rule, ", ".join(offers)] for rule, offers in rules.items()]
    if rows:
        print_table("why not the others", ["rule", "offers"], rows)
    funnel = " → ".join(f"{stage} {count}" for stage, count in answer["funnel"].items())
    console.print(f"{funnel}   in {answer['timing_ms']['total']:.1f} ms", highlight=False)
