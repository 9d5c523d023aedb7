"""Past forecasts of interest: pairs of a user and an item or category, and how good the lists of ten were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.events import span
from training.forecasts import Recipe
from training.interest.histories import Histories, read_histories
from training.interest.judge import COLUMNS, JudgedHead, judge_head
from training.interest.procedure import Fitted, Learner
from training.interest.train import learner_of, left_out
from training.segments import SEGMENTS, UNKNOWN

__all__ = ["PastOfPairs", "told"]

Progress = Callable[[str, float], None]

NOTHING = ["user_id", "head", "item", "category", "y", "p", "raw"]


@dataclass(frozen=True)
class PastOfPairs:
    """The procedure of `training.interest.train` at past origins; histories are read once."""

    config: Config
    model: ModelConfig
    recipe: Recipe
    known_until: datetime
    show: Progress = field(repr=False)

    @cached_property
    def learner(self) -> Learner:
        """Histories and the procedure with the recipe's settings."""
        histories = read_histories(self.config, self.known_until)
        if (reason := left_out(histories)) is not None:
            raise TrainingError("no interest can be learned", because=reason["en"], zh=f"无法学习兴趣：{reason['zh']}")
        seed = self.config.seed if self.recipe.seed is None else self.recipe.seed
        config, model = replace(self.config, seed=seed), replace(self.model, lightgbm=dict(self.recipe.lightgbm))
        return learner_of(config, model, histories, span(self.config)[0], self.show)

    def at(self, origin: datetime) -> tuple[pd.DataFrame, dict[str, Any]]:
        """What would have been said at ``origin``, beside what followed until ``known_until``.

        The log's ``lists`` hold recall and NDCG of the lists of ten, with intervals, beside those of the baselines.
        """
        try:
            learner = self.learner
            if origin + timedelta(days=learner.horizon_days) > self.known_until:
                day = f"{self.known_until:%Y-%m-%d}"
                raise TrainingError("the label window is not over", got=day, zh=f"标签窗口尚未结束：数据截至 {day}")
            past = learner.fit(origin)
        except TrainingError as error:
            return pd.DataFrame(columns=NOTHING), {"left_out": {self.model.name: error.words}}
        known, users = learner.known(origin), learner.users(origin)
        judged = {
            head: judge_head(
                learner.histories, known, fitted, past.later[head], learner.horizon_days, users, learner.seed
            )
            for head, fitted in past.heads.items()
        }
        return told(learner, past, judged)


def told(learner: Learner, past: Fitted, judged: Mapping[str, JudgedHead]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows and the log of one origin, from what was fitted and judged there."""
    log = {
        "learned_origins": len(past.origins),
        "calibrated_at": past.calibrated_at,
        "families": {
            head: {**fitted.log, "last_label_end": _end(past, learner)} for head, fitted in past.heads.items()
        },
        "left_out": {},
        "lists": {head: _lists(one) for head, one in judged.items()},
    }
    frames = [_frame(learner.histories, head, one.pairs) for head, one in judged.items()]
    return pd.concat(frames, ignore_index=True), log


def _end(past: Fitted, learner: Learner) -> str:
    """When the last label window of the calibration was over."""
    return (datetime.fromisoformat(past.calibrated_at) + timedelta(days=learner.horizon_days)).isoformat() + "Z"


def _frame(histories: Histories, head: str, pairs: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    names = histories.item_names if head == "item" else histories.category_names
    return pd.DataFrame(
        {
            "user_id": histories.users[pairs["user"]],
            "head": head,
            "item": [names.get(code) for code in pairs["code"].tolist()],
            "category": histories.categories_of(head, pairs["code"]),
            "y": pairs["y"],
            "p": pairs["ours"],
            "raw": logit(np.clip(pairs["ours"], 1e-12, 1 - 1e-12)),
            **{f"baseline.{name}": pairs[name] for name in COLUMNS},
            **{f"segment.{name}": UNKNOWN for name in SEGMENTS},
        }
    )


def _lists(judged: JudgedHead) -> dict[str, Any]:
    ours = {name: value for name, value in judged.metrics.items() if name.startswith(("recall@", "ndcg@"))}
    others = {
        baseline: {name: values[name] for name in ours if name in values}
        for baseline, values in judged.baselines.items()
    }
    return {"ours": ours, "baselines": others}
