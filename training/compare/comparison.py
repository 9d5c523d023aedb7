"""Two versions of a model side by side: how good at past origins, where they disagree, what weighs in them, what moves.

How good they are is measured at past origins, on what each would honestly have said then (`sides`). What weighs, who
moves and what an answer costs is asked of the very files, of the users of today.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.catalog import NAMES
from serving.scoring.interest.model import InterestModel
from serving.scoring.model import Model
from training.compare.disagree import parts_apart, users_apart
from training.compare.paired import Pair, against_baselines, paired, same_rows
from training.compare.sides import REFITTED, Side, foreseen, refitted
from training.compare.today import cost, moves, weights
from training.dataset import assemble
from training.desk.sample import sample_of, sample_of_users
from training.desk.versus import versus_of
from training.evaluate import calibration_curve
from training.forecasts import known_until, past_origins
from training.registry import CHALLENGER, CHAMPION, Registry, Version
from training.resample import Interval
from training.search.touched import note_of
from training.unnamed import unnamed

__all__ = ["BASELINE", "Comparison", "compare"]

Progress = Callable[[str, float], None]

# Of more rows the bootstrap draws from a part of the users: an interval of 100,000 rows is narrow enough.
MOST_ROWS = 100_000
SAMPLE = 400
BASELINE = "baseline"
NOBODY = np.empty((0, 0))


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; ``first`` and ``second`` say of each version where it comes from and how it was asked.

    ``heads[head][metric]`` is a `Pair`; ``heads_of_first`` are those that the first answers. ``calibration``,
    ``users``, ``parts``, ``weights``, ``moves`` and ``cost`` are JSON, empty where the models are of a kind that cannot
    be asked, or only a brief answer was wanted; ``desk`` is what reviewers read of the two (`versus_of`). Where nobody
    serves yet, the first is the strongest baseline of each head, and its ``version`` is ``baseline``.
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
    desk: dict[str, Any] = field(default_factory=dict, repr=False)
    notes: list[dict[str, str]] = field(default_factory=list)

    @property
    def titles(self) -> tuple[str, str]:
        """What the two are called in tables."""
        names = [str(one["version"]) for one in (self.first, self.second)]
        first, second = (name if name == BASELINE else f"version {name}" for name in names)
        return first, second

    def worse_by(self, head: str, metric: str) -> Interval | None:
        """How much worse the second is, whichever way the metric runs; None where it was not measured.

        Examples
        --------
        >>> auroc = Pair(*(Interval(*values) for values in ((0.8, 0.7, 0.9), (0.75, 0.6, 0.9), (-0.05, -0.1, 0.0))))
        >>> made = Comparison("churn", "probability", {}, {}, [], 0, {"p": {"auroc": auroc}}, ["p"])
        >>> made.worse_by("p", "auroc")
        Interval(value=0.05, low=-0.0, high=0.1)
        """
        pair = self.heads.get(head, {}).get(metric)
        if pair is None or not np.isfinite(pair.better.value):
            return None
        return Interval(-pair.better.value, -pair.better.high, -pair.better.low)

    def unnamed(self) -> Comparison:
        """The same with digits in place of the ids of users: what MLflow may hold (`training.unnamed`)."""
        return replace(self, users=unnamed(self.users), moves=unnamed(self.moves), desk=unnamed(self.desk))

    def as_json(self) -> dict[str, Any]:
        """The comparison as JSON, but for what goes to the desk."""
        told = {name: value for name, value in asdict(self).items() if name != "desk"}
        return {**told, "heads": self.paired}

    @property
    def paired(self) -> dict[str, dict[str, Any]]:
        """Every metric of both, and the difference, as JSON."""
        return {head: {name: pair.as_json() for name, pair in found.items()} for head, found in self.heads.items()}


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

    Where there is no champion to be the first, the strongest baselines are. ``in_brief`` leaves out what nobody decides
    by: the gate asks for that.

    Raises
    ------
    TrainingError
        When the history is too short for a single origin, or the two share no head.
    """
    show = progress or (lambda message, fraction: None)
    registry = Registry(config)
    newer = registry.version(model.name, second)
    nobody = first == CHAMPION and registry.aliased(model.name, CHAMPION) is None
    older = None if nobody else registry.version(model.name, first)
    asked = past_origins(config, model, origins or model.gate.origins)
    with TemporaryDirectory() as scratch:
        sides = [
            Side.read(one, registry.folder(model.name, one.version, Path(scratch) / str(place)))
            for place, one in enumerate((older, newer))
            if one is not None
        ]
        if len(sides) == 1:
            said = refitted(config, model, sides[0], asked, lambda message, fraction: show(message, 0.6 * fraction))
            frame, names = against_baselines(said.frame, said.kind, model.gate.decides)
            rows, told = same_rows(frame, said.frame), _told_baselines(names, asked)
            shared = served = [head for head in _heads(model, newer) if head in names]
        else:
            pair = sides[0], sides[1]
            one, said = foreseen(config, model, pair, asked, lambda message, fraction: show(message, 0.6 * fraction))
            rows, told = same_rows(one.frame, said.frame), _told(sides[0], first)
            served = _heads(model, sides[0].version)
            shared = [head for head in served if head in _heads(model, newer)]
        rows = rows[rows["head"].isin(shared)]
        if rows.empty:
            raise TrainingError(
                f"{model.name}: the two share no head that can be judged",
                got=served,
                expected=_heads(model, newer),
                run=f"userops train {model.name}",
            )
        kept = _part(rows, config.seed)
        heads = {}
        for place, head in enumerate(shared):
            show(f"measuring {head}", 0.6 + 0.3 * place / len(shared))
            if len(inside := kept[kept["head"] == head]):
                heads[head] = paired(inside, said.kind, seed=config.seed)
        more = {} if in_brief else _more(config, sides, rows, said.kind, show)
        show("compared", 1.0)
        return Comparison(
            model.name,
            said.kind,
            told,
            _told(sides[-1], second),
            [origin.isoformat() for origin in asked],
            len(rows),
            heads,
            served,
            notes=[
                *_notes(rows, kept, told),
                *(note for side in sides if (note := _searched(side, asked)) is not None),
            ],
            **more,
        )


def _told_baselines(names: dict[str, str], origins: Sequence[datetime]) -> dict[str, Any]:
    how = {origin.isoformat(): REFITTED for origin in origins}
    return {"asked_for": CHAMPION, "version": BASELINE, "run_id": None, "baselines": names, "how": how}


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


def _searched(side: Side, origins: Sequence[datetime]) -> dict[str, str] | None:
    """Whether the search of a version's parameters has seen some of the origins, and so flatters it."""
    note = note_of(side.meta, origins)
    number = side.version.version
    return note and {"en": f"Version {number}: {note['en']}", "zh": f"第 {number} 版：{note['zh']}"}


def _notes(rows: pd.DataFrame, kept: pd.DataFrame, first: dict[str, Any]) -> list[dict[str, str]]:
    notes = []
    if first["version"] == BASELINE:
        named = ", ".join(f"{head}: {name}" for head, name in first["baselines"].items())
        notes.append(
            {
                "en": f"Nobody serves yet: compared with the strongest baseline of each head ({named}).",
                "zh": f"尚无冠军模型：与各输出最强的基线比较（{named}）。",
            }
        )
    if "item" in rows:
        notes.append(
            {
                "en": "Judged, and decided at the gate, by the probabilities of pairs of a user and an item or "
                "category, because decisions weigh offers by them. How good the lists of ten are (NDCG@10, by which "
                "the search chooses parameters) is not compared here: it stands with each version's training.",
                "zh": "此处与发布审核都依据用户—商品（品类）组合的概率，因为决策用概率权衡各优惠。"
                "前十推荐列表的质量（NDCG@10，参数搜索的依据）不在此比较，见各版本的训练记录。",
            }
        )
    if len(kept) < len(rows):
        notes.append(
            {
                "en": f"Metrics are those of {len(kept):,} of {len(rows):,} rows: all rows of users drawn evenly.",
                "zh": f"指标基于 {len(rows):,} 行中的 {len(kept):,} 行：随机抽取的用户的全部数据。",
            }
        )
    if len(rows) and bool((rows["p_first"] == rows["p_second"]).all()):
        notes.append(
            {
                "en": "Both say the same of everybody at every origin: the same recipe, fitted to the same past.",
                "zh": "两个版本在所有起点上的预测完全相同：同一方法，同样的历史数据。",
            }
        )
    return notes


def _more(config: Config, sides: Sequence[Side], rows: pd.DataFrame, kind: str, show: Progress) -> dict[str, Any]:
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
    names = ("first", "second")[-len(sides) :]
    if not all(isinstance(side.model, Model) and side.model.features == NAMES for side in sides):
        found["cost"] = {name: cost(side, NOBODY) for name, side in zip(names, sides, strict=True)}
        if len(sides) == 2 and all(isinstance(side.model, InterestModel) for side in sides):
            show("who moves", 0.95)
            found["desk"] = versus_of(sides[0].model, sides[1].model, sample_of(config, sides[1].model))
        return found
    show("what weighs in each", 0.95)
    frame = assemble(config, [known_until(config)]).frame
    x = frame[list(NAMES)].to_numpy(np.float64)
    some = x[np.sort(np.random.default_rng(config.seed).permutation(len(x))[:SAMPLE])]
    found["cost"] = {name: cost(side, some) for name, side in zip(names, sides, strict=True)}
    if len(sides) == 1:
        return found
    both = sides[0], sides[1]
    assert isinstance(both[1].model, Model)
    found["desk"] = versus_of(both[0].model, both[1].model, sample_of_users(both[1].model, frame, known_until(config)))
    return {**found, "weights": weights(both, some), "moves": moves(both, x, frame["user_id"].to_numpy(object))}
