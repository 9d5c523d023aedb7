"""What an answer of the API says of why, as bars: the same numbers, in words, perhaps a group of features as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.catalog import USER_FEATURES
from serving.batch import Batch
from serving.reasons import Reasons, write_number
from serving.scoring.calibrator import Calibrator, Sigmoid

if TYPE_CHECKING:
    from serving.answer import ServedModel
    from serving.console.words import Words

__all__ = ["SHOWN", "Share", "Speaker", "Waterfall", "holds_horizon", "mapped", "waterfalls"]

SHOWN = 12  # bars that stand alone; all others are one
CATALOGUE = {feature.name: feature for feature in USER_FEATURES}


@dataclass(frozen=True)
class Share:
    """One bar: a feature, or the ``members`` of a group added up. ``text`` is the reason, ``value`` has its unit."""

    name: str
    text: str
    contribution: float
    value: str = ""
    meaning: str = ""
    members: tuple[Share, ...] = ()


@dataclass(frozen=True)
class Waterfall:
    """From ``base`` through ``shares``, strongest first, to ``raw``; ``part`` is ``score``, ``purchase`` or ``amount``.

    ``unit`` is ``log_odds`` or ``log_amount``. ``horizon``: the base holds the horizon's share, each user's own.
    """

    part: str
    unit: str
    base: float
    raw: float
    shares: tuple[Share, ...]
    horizon: bool = False

    @property
    def base_key(self) -> str:
        """The words for the base: what everybody has, unless it holds a share of this user's own."""
        return "user.base_horizon" if self.horizon else "user.base"

    @property
    def strongest(self) -> tuple[Share, ...]:
        """The bars that stand alone."""
        return self.shares[:SHOWN]

    @property
    def others(self) -> tuple[Share, ...]:
        """Those that one bar stands for."""
        return self.shares[SHOWN:]

    @property
    def rest(self) -> float:
        """What all others move together, added up without loss."""
        return math.fsum(one.contribution for one in self.singles(self.others))

    @property
    def total(self) -> float:
        """Base and every feature's contribution added up without loss: the raw score but for its last digit."""
        return math.fsum((self.base, *(one.contribution for one in self.singles(self.shares))))

    @property
    def off(self) -> float:
        """What is missing from `total` to the raw score."""
        return self.raw - self.total

    def singles(self, shares: Iterable[Share]) -> list[Share]:
        """The features behind the bars."""
        return [single for one in shares for single in (one.members or (one,))]


class Speaker:
    """The words for the features of one user; ``value`` gives the user's value of a feature, None where absent."""

    def __init__(self, reasons: Reasons, value: Callable[[str], float | None], lang: str) -> None:
        self._reasons, self.value, self.lang = reasons, value, lang

    @classmethod
    def of(cls, served: ServedModel, batch: Batch, lang: str) -> Speaker:
        """The words for the user in row 0 of a batch."""
        vector = dict(zip(served.names, batch.values[0].tolist(), strict=True))
        known = {feature: value for feature, value in vector.items() if not math.isnan(value)}
        return cls(served.reasons, known.get, lang)

    def shown(self, feature: str, value: float | None) -> str:
        """A value of a feature with its unit."""
        unit = CATALOGUE[feature].unit
        if value is None:
            return "–"
        if unit == "days" and value == 0:  # of days counted; an age would be "less than a day"
            return "0 天" if self.lang == "zh" else "0 days"
        text = write_number(value, unit, self.lang)
        return text if unit != "rate" else f"{text} / 30 {'天' if self.lang == 'zh' else 'days'}"

    def absent(self, feature: str) -> str:
        """What it says of a user to have no value of the feature."""
        return self._reasons.text(feature, self.lang, lambda name: None)

    def meaning(self, feature: str) -> str:
        """What the feature is."""
        return CATALOGUE[feature].meaning[self.lang]

    def share(self, feature: str, contribution: float) -> Share:
        """The bar of one feature."""
        text = self._reasons.text(feature, self.lang, self.value)
        return Share(feature, text, contribution, self.shown(feature, self.value(feature)), self.meaning(feature))


def holds_horizon(model: Any, head: str) -> bool:
    """Whether the base value of a head differs between users: one booster answers several horizons by its column."""
    return bool(model.meta["boosters"][model.heads[head].booster].get("horizon_column"))


def waterfalls(
    score: Mapping[str, Any],
    speaker: Speaker,
    groups: Sequence[Mapping[str, Any]] = (),
    joined: str = " + ",
    horizon: bool = False,
) -> list[Waterfall]:
    """The waterfalls of one head's score as the API answered it in full: one, or of value both factors.

    Parameters
    ----------
    groups
        ``{"id", "features"}`` of features that go together: each becomes one bar, the sum of its members.
    horizon
        As `holds_horizon` says.
    """
    told = score["explanation"]
    if not told:
        return []
    if "raw_score" in told:
        return [_waterfall("score", "log_odds", told, speaker, groups, joined, horizon)]
    units = {"purchase": "log_odds", "amount": "log_amount"}
    return [_waterfall(part, unit, told[part], speaker, groups, joined, horizon) for part, unit in units.items()]


def mapped(t: Words, calibrator: Calibrator, raw: float, p: float) -> str:
    """How the raw score became the probability, with the numbers in it."""
    if isinstance(calibrator, Sigmoid):
        slope, intercept = calibrator.slope, calibrator.intercept
        return t("user.sigmoid", slope=repr(slope), raw=repr(raw), intercept=repr(intercept), p=repr(p))
    return t("user.isotonic", raw=repr(raw), p=repr(p))


def _waterfall(
    part: str,
    unit: str,
    told: Mapping[str, Any],
    speaker: Speaker,
    groups: Sequence[Mapping[str, Any]],
    joined: str,
    horizon: bool,
) -> Waterfall:
    bars = {one["feature"]: speaker.share(one["feature"], one["contribution"]) for one in told["contributions"]}
    for group in groups:
        members = [bars[name] for name in group["features"] if name in bars]
        if len(members) < 2:
            continue
        members.sort(key=lambda one: -abs(one.contribution))
        for one in members:
            del bars[one.name]
        text = joined.join(one.meaning for one in members)
        bars[f"group:{group['id']}"] = Share(
            str(group["id"]), text, math.fsum(one.contribution for one in members), members=tuple(members)
        )
    shares = tuple(sorted(bars.values(), key=lambda one: -abs(one.contribution)))
    return Waterfall(part, unit, told["base_value"], told["raw_score"], shares, horizon)
