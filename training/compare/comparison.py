"""Two versions of a model side by side: how good at past origins, where they disagree, what weighs in them, what moves.

How good they are is measured at past origins, on what each would honestly have said then (`sides`). What weighs, who
moves and what an answer costs is asked of the very files, of the users of today.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.catalog import NAMES
from features.events import span
from serving.scoring.model import Model
from training.compare.disagree import parts_apart, users_apart
from training.compare.paired import Pair, direction, paired, same_rows
from training.compare.sides import Side, foreseen
from training.compare.today import cost, moves, weights
from training.dataset import assemble
from training.evaluate import Interval, calibration_curve
from training.forecasts import known_until
from training.judge import MONTH_HORIZON
from training.registry import CHALLENGER, CHAMPION, Registry, Version
from training.splits import rolling

__all__ = ["Comparison", "compare"]

Progress = Callable[[str, float], None]

# Of more rows the bootstrap draws from a part of the users: an interval of 100,000 rows is narrow enough.
MOST_ROWS = 100_000
SAMPLE = 400


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; ``first`` and ``second`` say of each version where it comes from and how it was asked.

    ``heads[head][metric]`` is a `Pair`, whose difference is second - first; ``heads_of_first`` are those that the first
    answers. ``calibration``, ``users``, ``parts``, ``weights``, ``moves`` and ``cost`` are JSON, empty where the models
    are of a kind that cannot be asked, or only a brief answer was wanted.
    """

    model: str
    kind: str
    first: dict[str, Any]
    second: dict[str, Any]
    origins: list[str]
    rows: int
    heads: dict[str, dict[str, Pair]]
    heads_of_first: list[str]
    calibration: dict[str, dict[str, Any]] = field(default_factory=dict)
    users: list[dict[str, Any]] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)
    weights: list[dict[str, Any]] = field(default_factory=list)
    moves: dict[str, dict[str, Any]] = field(default_factory=dict)
    cost: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[dict[str, str]] = field(default_factory=list)

    def worse_by(self, head: str, metric: str) -> Interval | None:
        """How much worse the second is, in units of the metric, whichever way it runs; None where it was not measured.

        Examples
        --------
        >>> auroc = Pair(*(Interval(*values) for values in ((0.8, 0.7, 0.9), (0.75, 0.6, 0.9), (-0.05, -0.1, 0.0))))
        >>> made = Comparison("churn", "probability", {}, {}, [], 0, {"p": {"auroc": auroc}}, ["p"])
        >>> made.worse_by("p", "auroc")
        Interval(value=0.05, low=-0.0, high=0.1)
        """
        pair = self.heads.get(head, {}).get(metric)
        if pair is None or not np.isfinite(pair.difference.value):
            return None
        d = pair.difference
        if direction(metric) == 0:  # the nearer to 0 the better: of an interval that holds 0, the farther end counts
            worse = abs(pair.second.value) - abs(pair.first.value)
            return Interval(worse, float("nan"), float("nan"))
        return Interval(-d.value, -d.high, -d.low) if direction(metric) > 0 else d

    def verdict(self, head: str, metric: str) -> str:
        """``better``, ``worse``, or ``same`` where the interval of the difference holds 0 and noise explains it."""
        worse = self.worse_by(head, metric)
        if worse is None or not np.isfinite([worse.low, worse.high]).all():
            return "same"
        return "worse" if worse.low > 0 else "better" if worse.high < 0 else "same"

    def as_json(self) -> dict[str, Any]:
        """The comparison as JSON."""
        pairs = {head: {name: pair.as_json() for name, pair in found.items()} for head, found in self.heads.items()}
        return {**asdict(self), "heads": pairs}


def compare(
    config: Config,
    model: ModelConfig,
    first: str = CHAMPION,
    second: str = CHALLENGER,
    progress: Progress | None = None,
    origins: int | None = None,
    *,
    in_brief: bool = False,
) -> Comparison:
    """Compare two versions (numbers or aliases) at the last ``origins`` judged origins, those of the gate by default.

    ``in_brief`` leaves out what nobody decides by: the gate asks for that.

    Raises
    ------
    TrainingError
        When the history is too short for a single origin, or the two share no head.
    """
    show = progress or (lambda message, fraction: None)
    registry = Registry(config)
    versions = registry.version(model.name, first), registry.version(model.name, second)
    with TemporaryDirectory() as scratch:
        folders = [
            registry.folder(model.name, one.version, Path(scratch) / side)
            for one, side in zip(versions, ("first", "second"), strict=True)
        ]
        sides = Side.read(versions[0], folders[0]), Side.read(versions[1], folders[1])
        shared = [head for head in _heads(model, versions[0]) if head in _heads(model, versions[1])]
        if not shared:
            raise TrainingError(
                f"{model.name}: the two versions share no head",
                got=[_heads(model, one) for one in versions],
                run=f"userops train {model.name}",
            )
        horizons = [float(model.heads[head].get("horizon_days", MONTH_HORIZON)) for head in shared]
        asked = rolling(model.origins, horizons, span(config)[0], known_until(config), origins or model.gate.origins)
        said = foreseen(config, model, sides, asked, lambda message, fraction: show(message, 0.6 * fraction))
        rows = same_rows(said[0].frame, said[1].frame)
        rows = rows[rows["head"].isin(shared)]
        kept = _part(rows, config.seed)
        heads = {}
        for place, head in enumerate(shared):
            show(f"measuring {head}", 0.6 + 0.3 * place / len(shared))
            if len(inside := kept[kept["head"] == head]):
                heads[head] = paired(inside, said[1].kind, seed=config.seed)
        more = {} if in_brief else _more(config, sides, rows, said[1].kind, show)
        show("compared", 1.0)
        return Comparison(
            model.name,
            said[1].kind,
            _told(sides[0], first),
            _told(sides[1], second),
            [origin.isoformat() for origin in asked],
            len(rows),
            heads,
            _heads(model, versions[0]),
            notes=_notes(rows, kept),
            **more,
        )


def _heads(model: ModelConfig, version: Version) -> list[str]:
    return version.tags.get("heads", "").split() or list(model.heads)


def _told(side: Side, asked: str) -> dict[str, Any]:
    version = side.version
    origin = {name: side.meta.get(name) for name in ("known_until", "trained_by", "created_at")}
    said = {"asked_for": asked, "version": version.version, "run_id": version.run_id, **origin}
    return {**said, "recipe": side.meta.get("recipe"), "how": dict(side.how)}


def _part(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """At most about `MOST_ROWS` rows: all those of users drawn evenly."""
    if len(rows) <= MOST_ROWS:
        return rows
    users = np.sort(rows["user_id"].unique())
    drawn = np.random.default_rng(seed).random(len(users)) < MOST_ROWS / len(rows)
    return rows[rows["user_id"].isin(users[drawn])]


def _notes(rows: pd.DataFrame, kept: pd.DataFrame) -> list[dict[str, str]]:
    notes = []
    if len(kept) < len(rows):
        notes.append(
            {
                "en": f"Metrics are those of {len(kept):,} of {len(rows):,} rows: all rows of users drawn evenly.",
                "zh": f"指标基于 {len(rows):,} 行中的 {len(kept):,} 行:随机抽取的用户的全部数据。",
            }
        )
    if len(rows) and bool((rows["p_first"] == rows["p_second"]).all()):
        notes.append(
            {
                "en": "Both say the same of everybody at every origin: the same recipe, fitted to the same past.",
                "zh": "两个版本在所有起点上的预测完全相同:同一方法,同样的历史数据。",
            }
        )
    return notes


def _more(config: Config, sides: tuple[Side, Side], rows: pd.DataFrame, kind: str, show: Progress) -> dict[str, Any]:
    """What people look at beside the metrics."""
    show("where they disagree", 0.9)
    found: dict[str, Any] = {
        "calibration": {
            str(head): {side: calibration_curve(inside["y"], inside[f"p_{side}"]) for side in ("first", "second")}
            for head, inside in rows.groupby("head")
        },
        "users": users_apart(rows),
        "parts": parts_apart(rows, kind),
    }
    models = [side.model for side in sides if isinstance(side.model, Model)]
    if len(models) < len(sides):
        return {**found, "cost": {name: cost(side, np.empty((0, 0))) for name, side in _named(sides)}}
    show("what weighs in each", 0.95)
    frame = assemble(config, [known_until(config)]).frame
    x = frame[list(NAMES)].to_numpy(np.float64)
    users = frame["user_id"].to_numpy(object)
    some = np.sort(np.random.default_rng(config.seed).permutation(len(x))[:SAMPLE])
    # Two catalogues have two orders of columns: then each side would need a vector of its own.
    if any(model.features != NAMES for model in models):
        return found
    return {
        **found,
        "weights": weights(sides, x[some]),
        "moves": moves(sides, x, users),
        "cost": {name: cost(side, x[some]) for name, side in _named(sides)},
    }


def _named(sides: tuple[Side, Side]) -> list[tuple[str, Side]]:
    return [("first", sides[0]), ("second", sides[1])]
