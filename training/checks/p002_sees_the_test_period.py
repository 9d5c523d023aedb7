"""P002: training sees the test period: a label that was not over yet, or a row that stands on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from features.events import content_hash
from features.periods import as_utc, now
from training.checks.outcome import Check, Found
from training.judge import horizons_of

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

SHOWN = 3
# What a search says of itself (`training.search.tune`): at which origins it did what.
SEARCHED = {
    "searched_on": ("the search chose parameters", "参数搜索"),
    "confirmed_on": ("the search was confirmed", "搜索结果的确认"),
}


def look(subject: Subject) -> Found:
    """Hold every split against the clock: the back-test's, the version's own, and that of its search.

    Where the version was judged at an origin that is forecast again from the same data, it must have learned from as
    many rows as were known then: one more stood in the future.
    """
    frame, log = subject.forecasts.frame, subject.forecasts.log
    keys = [name for name in ("user_id", "item", "as_of", "head") if name in frame]
    doubled = int(frame.duplicated(keys).sum())
    faults: list[dict[str, str]] = []
    if doubled:
        faults.append(
            {
                "en": f"{doubled} of {len(frame)} judged rows stand there twice",
                "zh": f"{len(frame)}行评估数据中有{doubled}行重复",
            }
        )
    ends = [one for at in log["origins"] for one in _late(at)]
    faults += ends
    faults += _version(subject)
    faults += _more_rows(subject)
    faults += _searched(subject)
    evidence: dict[str, Any] = {
        "origins": [
            {"origin": at["origin"], "last_label_end": _ends(at), "learned_rows": _counts(at)} for at in log["origins"]
        ],
        "judged_rows": len(frame),
        "doubled_rows": doubled,
        "version_split": subject.meta.get("training", {}).get("split", {}),
        "faults": faults,
    }
    if not faults:
        origins = len(log["origins"])
        words = {
            "en": f"At {origins} origins the last label learned from ended before the first that was judged; "
            f"{len(frame)} judged rows, none twice.",
            "zh": f"在{origins}个起点，学习所用的标签都在评估期开始前结束；{len(frame)}行评估数据无重复。",
        }
        return Found("passed", words, evidence)
    return Found(
        "issue",
        {
            "en": "; ".join(one["en"] for one in faults[:SHOWN]) + ": what was measured is not what will be met.",
            "zh": "；".join(one["zh"] for one in faults[:SHOWN]) + "：评估结果不可信，线上无法重现。",
        },
        evidence,
        {
            "en": f"Train again: userops train {subject.model.name}. If it stays, read training/splits.py against "
            "the evidence.",
            "zh": f"请重新训练：userops train {subject.model.name}。若仍出现，请对照证据检查training/splits.py。",
        },
    )


def _families(at: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = at.get("families") or {}
    return found


def _ends(at: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one.get("last_label_end") for name, one in _families(at).items()}


def _counts(at: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one.get("rows") for name, one in _families(at).items()}


def _late(at: Mapping[str, Any]) -> list[dict[str, str]]:
    """The families whose last label ended after the origin from which they were asked."""
    origin = as_utc(at["origin"])
    late = {name: end for name, end in _ends(at).items() if end is not None and as_utc(end) > origin}
    return [
        {
            "en": f"{name} as of {origin:%Y-%m-%d} learned from labels until {end}",
            "zh": f"{name}在{origin:%Y-%m-%d}的训练用到了截至{end}的标签",
        }
        for name, end in late.items()
    ]


def _version(subject: Subject) -> list[dict[str, str]]:
    """What the version says of its own split."""
    split = subject.meta.get("training", {}).get("split", {})
    told = {name: as_utc(split[name]) for name in ("judged_at", "labels_known_until", "first_origin") if name in split}
    told |= {name: as_utc(subject.meta[name]) for name in ("known_until",) if subject.meta.get(name)}
    faults = []
    present = now(subject.config)
    for name, at in told.items():
        if at > present:
            faults.append(
                {
                    "en": f"the version says {name} {at:%Y-%m-%d}, later than now",
                    "zh": f"版本记录的{name}为{at:%Y-%m-%d}，晚于当前时间",
                }
            )
    faults += _not_over(subject, told)
    if {"first_origin", "judged_at"} <= told.keys() and told["first_origin"] >= told["judged_at"]:
        faults.append(
            {
                "en": f"the version learned from {told['first_origin']:%Y-%m-%d} on and was judged at "
                f"{told['judged_at']:%Y-%m-%d}",
                "zh": f"版本从{told['first_origin']:%Y-%m-%d}开始学习，却在{told['judged_at']:%Y-%m-%d}评估",
            }
        )
    return faults


def _not_over(subject: Subject, told: Mapping[str, datetime]) -> list[dict[str, str]]:
    """Whether the labels that judged the version were over when it was registered."""
    if not {"judged_at", "labels_known_until"} <= told.keys():
        return []
    ends = told["judged_at"] + timedelta(days=min(horizons_of(subject.model)))
    if ends <= told["labels_known_until"]:
        return []
    return [
        {
            "en": f"the version was judged by labels until {ends:%Y-%m-%d} of which only those until "
            f"{told['labels_known_until']:%Y-%m-%d} were known",
            "zh": f"评估标签到{ends:%Y-%m-%d}才完整，但当时只知道{told['labels_known_until']:%Y-%m-%d}之前的数据",
        }
    ]


def _more_rows(subject: Subject) -> list[dict[str, str]]:
    """Families that were judged after learning from more rows than were known, told by a forecast of the same day."""
    training = subject.meta.get("training", {})
    judged_at = training.get("split", {}).get("judged_at")
    if judged_at is None or training.get("data", {}).get("data_hash") != content_hash(subject.config):
        return []
    known: dict[str, Any] = {}
    for at in subject.forecasts.log["origins"]:
        if as_utc(at["origin"]) == as_utc(judged_at):
            known = _counts(at)
    faults = []
    for name, fit in training.get("judged", {}).items():
        learned, lawful = fit.get("rows"), known.get(name)
        if learned is not None and lawful is not None and learned > lawful:
            faults.append(
                {
                    "en": f"{name} was judged at {judged_at[:10]} after learning from {learned} rows; "
                    f"{lawful} were known then",
                    "zh": f"{name}在{judged_at[:10]}评估前用了{learned}行学习，而当时只有{lawful}行已知",
                }
            )
    return faults


def _searched(subject: Subject) -> list[dict[str, str]]:
    """Origins at which parameters were searched or confirmed by labels that were not over at the judged origin."""
    training = subject.meta.get("training", {})
    judged_at = training.get("split", {}).get("judged_at")
    search = training.get("search") or {}
    if judged_at is None:
        return []
    longest = timedelta(days=max(horizons_of(subject.model)))
    faults = []
    for key, (en, zh) in SEARCHED.items():
        for at in search.get(key) or []:
            ends = as_utc(at) + longest
            if ends > as_utc(judged_at):
                faults.append(
                    {
                        "en": f"{en} at {at[:10]} by labels until {ends:%Y-%m-%d}, and what was chosen was judged at "
                        f"{judged_at[:10]}",
                        "zh": f"{zh}用到了{at[:10]}起、至{ends:%Y-%m-%d}的标签，而结果在{judged_at[:10]}评估",
                    }
                )
    return faults


CHECK = Check("P002", {"en": "training sees the test period", "zh": "训练用到了评估期"}, "blocker", look)
