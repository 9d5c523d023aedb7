"""The challenger beside the champion on logged decisions: what it would have said of the very vectors that were served.

Nothing is judged by outcomes here: the challenger has learned from what followed most of these decisions. What must
hold is that it answers everybody whom the champion answers, with a probability; how far the answers move is for people
to read, and the gate says which of the two was right at past origins.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from features.catalog import NAMES
from serving.scoring.model import Model
from training.page import Section, page, table

__all__ = ["HeadShadow", "as_page", "shadow"]

FAR = 10.0


@dataclass(frozen=True)
class HeadShadow:
    """One head on the vectors of ``users``: mean probabilities, order, and who moves by ten percentiles or more.

    ``lost`` users have an answer of the champion and none of the challenger; ``broken`` answers are no probability.
    """

    head: str
    users: int
    champion: float
    challenger: float
    largest: float
    order: float
    far: float
    lost: int
    broken: int

    @property
    def sound(self) -> bool:
        """Whether nobody would be worse off for want of an answer."""
        return self.lost == 0 and self.broken == 0

    def as_json(self) -> dict[str, Any]:
        """The numbers; None where too few users have an answer of both."""
        return {name: None if value != value else value for name, value in asdict(self).items()} | {"sound": self.sound}


def shadow(champion: Model, challenger: Model, vectors: pd.DataFrame) -> list[HeadShadow]:
    """Both models on the last logged vector of each user (`monitor.served.read_vectors`), by head of the champion."""
    values = vectors[list(NAMES)].to_numpy(np.float64)
    before, after = values[:, champion.columns(NAMES)], values[:, challenger.columns(NAMES)]
    return [_head(name, champion, before, challenger, after) for name in champion.heads]


def _head(name: str, champion: Model, before: Any, challenger: Model, after: Any) -> HeadShadow:
    asked = champion.in_cohort(before, name)
    users = int(asked.sum())
    nothing = float("nan")
    if name not in challenger.heads:
        return HeadShadow(name, users, nothing, nothing, nothing, nothing, nothing, users, 0)
    both = asked & challenger.in_cohort(after, name)
    lost = users - int(both.sum())
    raws = champion.raw(before[both], name), challenger.raw(after[both], name)
    p, q = champion.heads[name].calibrator(raws[0]), challenger.heads[name].calibrator(raws[1])
    broken = int((~(np.isfinite(q) & (q >= 0) & (q <= 1))).sum())
    if len(p) < 3:
        return HeadShadow(name, users, nothing, nothing, nothing, nothing, nothing, lost, broken)
    percentiles = champion.percentile(raws[0], name), challenger.percentile(raws[1], name)
    order = nothing if np.ptp(raws[0]) == 0 or np.ptp(raws[1]) == 0 else float(spearmanr(*raws).statistic)
    return HeadShadow(
        name,
        users,
        float(p.mean()),
        float(q.mean()),
        float(np.abs(p - q).max()),
        order,
        float((np.abs(percentiles[0] - percentiles[1]) >= FAR).mean()),
        lost,
        broken,
    )


def as_page(model: str, heads: list[HeadShadow], versions: tuple[str, str]) -> str:
    """One HTML page, in English and Chinese."""
    columns = ["head", "users", "champion", "challenger", "largest", "order", "moved ≥ 10", "lost", "broken"]
    rows = [list(asdict(one).values()) for one in heads]
    lead = {
        "en": f"Version {versions[1]} beside version {versions[0]} on the last logged vector of each user.",
        "zh": f"在每位用户最近一次记录的特征上，对照版本 {versions[1]} 与版本 {versions[0]}。",
    }
    words = {
        "en": "champion, challenger: mean probability; largest: the largest difference; order: Spearman of raw scores.",
        "zh": "champion、challenger：平均概率；largest：最大差异；order：原始得分的 Spearman 相关。",
    }
    title = {"en": f"{model}: shadow comparison", "zh": f"{model}：影子对照"}
    return page(title, lead, [Section({"en": "By head", "zh": "按输出"}, [table(columns, rows), words])])
