"""``userops readiness``: per model, head and channel, whether to use the model, a simpler baseline, or wait.

There is no number of users from which on everything works. What decides is what the labels say so far: at past origins,
with what was known then, was the model surely better than the best simple rule? Where the history does not even allow
that, the answer is the day on which it will.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Set
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs import Config, ModelConfig, model_of
from configs.errors import RegistryError, TrainingError
from features.events import span
from features.periods import now
from training.backtest.amounts import FAR_OFF, amounts, better, deciding
from training.backtest.evaluation import comparable
from training.evaluate import metrics_of
from training.forecasts import Forecasts, Recipe, forecasts, kept, past_origins
from training.labels import MONTH_HORIZON
from training.readiness.precision import Advice, Mean, Z, advise, mean_of
from training.readiness.words import sentence
from training.registry import CHAMPION, Registry

__all__ = ["ALL", "Line", "Readiness", "lines_of", "of_training", "readiness", "trainable_at", "unjudged"]

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]

ALL = "all"
# A channel with fewer rows is no channel of its own.
LEAST_ROWS = 50


@dataclass(frozen=True)
class Line:
    """One head in one channel (``all``: in every one); ``until`` is the day from which on more can be said.

    ``unknown_days`` is the horizon of a head that cannot be judged at all: no past day has so many days behind it.
    """

    head: str
    channel: str
    advice: Advice
    until: str | None
    unknown_days: float | None = None


@dataclass(frozen=True)
class Readiness:
    """What can be said of one model: ``maturity`` is that of the champion (``none`` without one), as answers carry it.

    ``reason`` says why there are no lines: the history is too short, or names nothing to learn from.
    """

    model: str
    maturity: str
    origins: list[str]
    lines: list[Line]
    reason: str | None = None
    until: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Everything, with a sentence in ``en`` and ``zh`` for every line."""
        content = asdict(self)
        content["lines"] = [_told(one) for one in self.lines]
        return content


def readiness(config: Config, name: str, progress: Progress | None = None, origins: int = 1) -> Readiness:
    """What the last ``origins`` judged origins say; forecasts that a back-test or a training left are read."""
    model = model_of(config, name)
    try:
        chosen = past_origins(config, model, origins)
        found = forecasts(config, model, chosen, progress)
    except TrainingError as error:
        at = trainable_at(model, span(config)[0])
        later = f"{at:%Y-%m-%d}" if at > now(config) else None
        return Readiness(name, _maturity(config, name), [], [], error.what, later)
    lines = lines_of(found, now(config), model.origins.every_days, model.gate.decides)
    lines += unjudged(model, {line.head for line in lines}, span(config)[0], now(config))
    return Readiness(name, _maturity(config, name), [f"{at:%Y-%m-%d}" for at in chosen], lines)


def of_training(config: Config, model: ModelConfig, judged_at: datetime) -> list[dict[str, Any]]:
    """The ``readiness`` of a ``model.json``: what training's own judgement says, where it was kept as a forecast."""
    if not kept(config, model, Recipe(model.lightgbm), [judged_at]):
        return []
    found = forecasts(config, model, [judged_at])
    lines = lines_of(found, now(config), model.origins.every_days, model.gate.decides)
    return [_told(one) for one in lines]


def lines_of(found: Forecasts, today: datetime, every_days: float, decides: str = "log_loss") -> list[Line]:
    """Every head, as a whole and by channel, of forecasts; each further origin comes ``every_days`` later.

    ``decides`` is the gate's metric, by which amounts are judged; probabilities are judged by their log-loss.
    """
    lines = []
    for head, rows in found.frame.groupby("head", sort=False):
        channels = rows["segment.channel"].value_counts() if "segment.channel" in rows else pd.Series(dtype=int)
        named = sorted(str(channel) for channel, count in channels.items() if count >= LEAST_ROWS)
        parts = {ALL: rows, **{one: rows[rows["segment.channel"] == one] for one in named if len(named) > 1}}
        whole = _advice(rows, found.kind, decides)
        for channel, part in parts.items():
            advice = whole if channel == ALL else _borrowed(_advice(part, found.kind, decides), whole)
            origins = advice.origins
            until = None
            if advice.more is not None and advice.more < 1000:
                days = (math.ceil(advice.more * origins) - origins) * every_days
                until = f"{today + timedelta(days=max(days, every_days)):%Y-%m-%d}"
            lines.append(Line(str(head), channel, advice, until))
    return lines


def _borrowed(part: Advice, whole: Advice) -> Advice:
    """What is surely better for everybody, and looks better here too, is used here."""
    looks_better = part.use == "baseline" and part.better_by is not None and part.better_by > 0 and not part.far_off
    return replace(part, use="model") if whole.use == "model" and looks_better else part


def unjudged(model: ModelConfig, judged: Set[str], first_event: datetime, today: datetime) -> list[Line]:
    """A line for each head that no past day says anything of: its horizon is longer than what followed."""
    lines = []
    for head, definition in model.heads.items():
        if head not in judged:
            days = float(definition.get("horizon_days", MONTH_HORIZON))
            at = _judged_from(model, first_event, days)
            until = f"{at:%Y-%m-%d}" if at > today else None
            lines.append(Line(head, ALL, Advice("wait", None, 0, 0, 0), until, days))
    return lines


def trainable_at(model: ModelConfig, first_event: datetime) -> datetime:
    """The first day on which the history is long enough to learn the shortest head and to judge it.

    Examples
    --------
    >>> from configs import load
    >>> from features.periods import as_utc
    >>> f"{trainable_at(load().models['churn'], as_utc('2026-01-01')):%Y-%m-%d}"
    '2026-04-27'
    """
    shortest = min(float(head.get("horizon_days", MONTH_HORIZON)) for head in model.heads.values())
    return _judged_from(model, first_event, shortest)


def _judged_from(model: ModelConfig, first_event: datetime, horizon_days: float) -> datetime:
    # The grid of origins hangs on a fixed Monday: one step more than three may pass before the third.
    days = model.origins.warm_up_days + 3 * model.origins.every_days + horizon_days
    return first_event + timedelta(days=days)


def _told(line: Line) -> dict[str, Any]:
    return {**asdict(line), "text": sentence(line)}


def _advice(rows: pd.DataFrame, kind: str, decides: str) -> Advice:
    """What the rows that the baselines answer say; where none answers, what all rows say."""
    names, there = comparable(rows, kind)
    y, p, users = there["y"].to_numpy(float), there["p"].to_numpy(float), there["user_id"].to_numpy(str)
    positive = (y > 0).astype(float)
    order = metrics_of(positive, np.full(len(y), 0.5), there["raw"].to_numpy(float))["auroc"] if len(y) else math.nan
    measure = deciding(decides) if kind == "spend" else "log_loss"
    losses = (_absolute if kind == "spend" else _log_losses)(y, p)
    compared = (
        (_amounts(there, names, measure) if kind == "spend" else _losses(there, names)) if names else (None, None)
    )
    found = advise(y, losses, users, None if math.isnan(order) else order, p - y, *compared)
    left_out = len(rows) - len(there)
    return replace(found, measure=measure, origins=int(there["as_of"].nunique()), left_out=left_out)


def _losses(rows: pd.DataFrame, names: list[str]) -> tuple[str, Mean]:
    """The baseline of the smallest log-loss, and how much smaller ours is."""
    y = rows["y"].to_numpy(float)
    beside = {name: _log_losses(y, rows[f"baseline.{name}"].to_numpy(float)) for name in names}
    best = min(beside, key=lambda name: float(beside[name].mean()))
    return best, mean_of(beside[best] - _log_losses(y, rows["p"].to_numpy(float)), rows["user_id"].to_numpy(str))


def _amounts(rows: pd.DataFrame, names: list[str], measure: str) -> tuple[str, Mean, bool]:
    """The best baseline by ``measure``, how much better ours is, and whether our total is much further off for sure."""
    drawn = amounts(rows, names)
    best = min(names, key=lambda name: better(drawn, name, measure)[0])
    value, error, _ = better(drawn, best, measure)
    nearer, off, _ = better(drawn, best, "bias")
    return best, Mean(value, Z * error), nearer + Z * off < -FAR_OFF


def _absolute(y: Floats, p: Floats) -> Floats:
    return np.asarray(np.abs(p - y), dtype=np.float64)


def _log_losses(y: Floats, p: Floats) -> Floats:
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    return np.asarray(-np.where(y > 0, np.log(clipped), np.log1p(-clipped)), dtype=np.float64)


def _maturity(config: Config, name: str) -> str:
    registry = Registry(config)
    try:
        run_id = registry.version(name, CHAMPION).run_id
    except RegistryError:
        return "none"
    return str(registry.read_json(run_id, "model/model.json").get("maturity", "none"))
