"""The exam of models that answer with probabilities: calibrated log-loss, each head by the labels that were known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from configs import Config, ModelConfig
from configs.errors import TrainingError
from training.boost import DEFAULTS, TREES
from training.dataset import assemble
from training.judge import Question, question
from training.models import learn
from training.search.exam import Answers, Exam, Yardstick
from training.splits import origins_before
from training.stack import families

__all__ = ["probabilities"]

Progress = Callable[[str, float], None]

LEAST_PROBABILITY = 1e-15


def probabilities(
    config: Config, model: ModelConfig, origins: Sequence[datetime], first_event: datetime, progress: Progress
) -> Yardstick:
    """Log-loss at ``origins``, each with the origins before it that a training as of that day would learn from."""
    before = {origin: origins_before(model.origins, origin, first_event) for origin in origins}
    data = assemble(config, [*origins, *(at for learned in before.values() for at in learned)], progress)

    def exam(origin: datetime, known_until: datetime) -> Exam:
        seen = replace(data, frame=data.at([*before[origin], origin]))
        questions = []
        for family in families(model):
            try:
                questions.append(question(model, seen, family, origin, known_until, config.seed))
            except TrainingError:
                continue  # that day taught, or tells, too little of this family
        if not questions:
            raise TrainingError(f"{model.name}: nothing could be learned on {origin:%Y-%m-%d}", run="userops status")
        return _Probabilities(tuple(questions), config.threads)

    return Yardstick("log_loss", False, {**DEFAULTS, "trees": TREES}, exam)


@dataclass(frozen=True)
class _Probabilities:
    questions: tuple[Question, ...]
    threads: int

    def answers(self, lightgbm: Mapping[str, Any]) -> Answers:
        users, losses = {}, {}
        for one in self.questions:
            fitted = learn(one.prepared, self.threads, lightgbm)
            for head, rows in one.followed.items():
                p = fitted.probability(rows.x, float(rows.horizon[0]))
                users[head] = rows.user
                losses[head] = -np.log(np.maximum(np.where(rows.y > 0, p, 1 - p), LEAST_PROBABILITY))
        return Answers(users, losses)
