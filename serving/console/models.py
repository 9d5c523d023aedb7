"""The page of all models, or of one: champion beside challenger, and what was said of them."""

from __future__ import annotations

from typing import Any

from serving.console.asked import Asked
from serving.console.freshness import freshness
from serving.console.measures import against, in_words, measure, ready
from serving.console.page import Page
from serving.console.standing import Standing, Version, standing, standings

__all__ = ["page"]

#: The ten questions; those that are missing among the outcomes were not put to the version.
CHECKS = [f"P{number:03d}" for number in range(1, 11)]
#: What came of them with its tint, what keeps the version back first.
OUTCOMES = {
    "blocked": "bad",
    "issue": "warn",
    "passed": "good",
    **dict.fromkeys(("tip", "ignored", "not_applicable", "skipped"), "mute"),
}


def page(asked: Asked) -> Page:
    """Answer ``GET /console/models`` and ``GET /console/models/{model}``."""
    named = asked.parts.get("model")
    if named is None:
        found, readable = standings(asked)
        title = asked.t("models.title")
    else:
        found, readable = [standing(asked, named)], True
        title = asked.t("models.title_one", model=named)
    values = {"one": named, "models": [_shown(asked, one) for one in found], "notices": _notices(asked, readable)}
    return Page("models.html", title, "models", values)


def _notices(asked: Asked, readable: bool) -> list[tuple[str, str]]:
    """What is not as it should be, with its tint."""
    pickup, t = asked.live.pickup, asked.t
    why = (pickup.refusal or "").partition("\n")[0].replace(str(asked.live.config.home), "home")
    found = []
    if pickup.live is None:
        found.append(("bad", f"{t('models.no_release')} {t('models.refused_first', why=why) if why else ''}".strip()))
    elif why:
        found.append(("warn", t("models.refused", why=why)))
    if pickup.live is not None:
        fresh = freshness(asked.live)
        at = f"{fresh.as_of:%Y-%m-%d %H:%M}" if fresh.as_of else ""
        if fresh.fault:
            found.append(("bad", t("models.absent", why=fresh.fault)))
        elif fresh.stale:
            found.append(("warn", t("models.stale", at=at)))
    return found if readable else [*found, ("warn", t("models.no_audit"))]


def _shown(asked: Asked, one: Standing) -> dict[str, Any]:
    row, t = one.waiting, asked.t
    waiting = None
    if row is not None:
        key = "models.waiting" if one.champion and one.champion.meta is not None else "models.waiting_first"
        waiting = t(key, version=row.version, who=row.who, at=row.at[:16].replace("T", " "))
    versions = [_version(asked, one, of) for of in (one.champion, one.challenger) if of is not None]
    compared = one.champion is not None and one.champion.card is not None and one.challenger is not None
    return {"standing": one, "waiting": waiting, "versions": versions, "compared": compared}


def _version(asked: Asked, one: Standing, of: Version) -> dict[str, Any]:
    promoted = of.latest("promoted", "rolled_back")
    return {
        "version": of,
        "since": one.since if of.role == "champion" and of.meta is not None else None,
        "promoted": promoted,
        "heads": _heads(asked, of),
        "reviews": of.reviews(),
        "checks": _checks(asked, of),
    }


def _checks(asked: Asked, of: Version) -> list[tuple[str, str]]:
    """How many checks came out how, and which were not run, in words with a tint."""
    outcomes = of.outcomes()
    found = [(tint, asked.t(f"models.checks_{name}", n=len(outcomes[name]))) for name, tint in OUTCOMES.items()
             if outcomes.get(name)]  # fmt: skip
    run = {one["code"] for some in outcomes.values() for one in some}
    if left := [code for code in CHECKS if code not in run]:
        found.append(("mute", asked.t("models.checks_left", n=len(left), which=", ".join(left))))
    return found


def _heads(asked: Asked, of: Version) -> dict[str, Any] | None:
    """The measure that decides, per head, beside the best baseline."""
    if of.card is None:
        return None
    code = of.card.get("decides", "log_loss")
    rows: list[dict[str, Any]] = []
    for name, head in of.card["heads"].items():
        found = against(head.get("metrics", {}), head.get("baselines", {}), code)
        advice = head.get("readiness") or {}
        told = {"advice": ready(asked.t, advice), "tint": "good" if advice.get("use") == "model" else "warn"}
        rows.append({"meaning": asked.t.of(head.get("meaning")) or name, "found": found, **told})
    one = measure(code)
    better = asked.t(f"measure.{one.better}") if one.better else ""
    return {"words": in_words(asked.t, one), "better": better, "rows": rows}
