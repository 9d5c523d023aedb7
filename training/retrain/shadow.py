"""The challenger beside the champion on logged decisions: what it would have said of the very vectors that were served.

Nothing is judged by outcomes here: the challenger has learned from what followed most of these decisions. What must
hold is that it answers everybody whom the champion answers, with a probability or an amount; how far the answers move
is for people to read, and the gate says which of the two was right at past origins.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from features.catalog import NAMES
from serving.scoring.model import Model
from serving.scoring.value.model import ValueModel
from training.page import Section, page, table

__all__ = ["HeadShadow", "as_page", "shadow"]

Floats = NDArray[np.float64]

FAR = 10.0


@dataclass(frozen=True)
class HeadShadow:
    """One head on the vectors of ``users``: mean answers, order, and who moves by ten percentiles or more.

    An answer is a probability; of the value model the expected spend. ``lost`` users have an answer of the champion and
    none of the challenger; ``broken`` answers are no probability, or no amount.
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
    (p, raw, place), (q, raw_after, place_after) = (
        _answers(model, x[both], name) for model, x in ((champion, before), (challenger, after))
    )
    most = np.inf if isinstance(challenger, ValueModel) else 1.0
    broken = int((~(np.isfinite(q) & (q >= 0) & (q <= most))).sum())
    if len(p) < 3:
        return HeadShadow(name, users, nothing, nothing, nothing, nothing, nothing, lost, broken)
    order = nothing if np.ptp(raw) == 0 or np.ptp(raw_after) == 0 else float(spearmanr(raw, raw_after).statistic)
    return HeadShadow(
        name,
        users,
        float(p.mean()),
        float(q.mean()),
        float(np.abs(p - q).max()),
        order,
        float((np.abs(place - place_after) >= FAR).mean()),
        lost,
        broken,
    )


def _answers(model: Model, x: Floats, head: str) -> tuple[Floats, Floats, Floats]:
    """What the service answers, what orders users, and their percentiles: float64[n] each."""
    if isinstance(model, ValueModel):
        expected = model.spend(x, [head])[head].expected
        return expected, expected, model.spend_percentile(expected, head)
    raw = model.raw(x, head)
    return model.heads[head].calibrator(raw), raw, model.percentile(raw, head)


def as_page(model: str, heads: list[HeadShadow], versions: tuple[str, str]) -> str:
    """One HTML page, in English and Chinese."""
    columns = ["head", "users", "champion", "challenger", "largest", "order", "moved ≥ 10", "lost", "broken"]
    rows = [list(asdict(one).values()) for one in heads]
    lead = {
        "en": f"Version {versions[1]} beside version {versions[0]} on the last logged vector of each user.",
        "zh": f"在每位用户最近一次记录的特征上，对照版本 {versions[1]} 与版本 {versions[0]}。",
    }
    words = {
        "en": "champion, challenger: mean answer; largest: the largest difference; order: Spearman of raw scores.",
        "zh": "champion、challenger：平均预测；largest：最大差异；order：原始得分的 Spearman 相关。",
    }
    title = {"en": f"{model}: shadow comparison", "zh": f"{model}：影子对照"}
    return page(title, lead, [Section({"en": "By head", "zh": "按输出"}, [table(columns, rows), words])])
