"""The exam of the interest model: NDCG of lists of ten, among whoever bought within the horizon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from configs.errors import TrainingError
from training.interest.examples import Asked, ask
from training.interest.fit import LEAST_POSITIVES, SIZE, fit_head
from training.interest.judge import MOST_CANDIDATES
from training.interest.procedure import Learner, Lessons
from training.interest.ranker import PARAMETERS
from training.interest.ranking import K, Task, ranking_values, scattered, task_of
from training.search.exam import Answers, Exam, Yardstick

__all__ = ["lists"]

DAY_US = 86_400_000_000


def lists(learner: Learner) -> Yardstick:
    """NDCG@10 of every head of ``learner``; labels are known until the horizon is over, whatever else is."""

    def exam(origin: datetime, known_until: datetime) -> Exam:
        lessons, known, users = learner.lessons(origin), learner.known(origin), learner.users(origin)
        questions = []
        for head in learner.heads:
            if min(pairs.y.sum() for pairs in (lessons.learned[head], lessons.later[head])) < LEAST_POSITIVES:
                continue  # that day taught too little of this head
            task = task_of(learner.histories, known, head, round(learner.horizon_days * DAY_US), users)
            if not len(task.user):
                continue  # nobody bought: it tells nothing
            rng = np.random.default_rng(learner.seed)
            asked = ask(
                learner.histories, known, head, learner.horizon_days, task.user, rng, most=MOST_CANDIDATES, blind=0
            )
            questions.append(_Question(head, task, asked, known.statistics[head].items))
        if not questions:
            raise TrainingError(f"interest: nothing could be learned on {origin:%Y-%m-%d}", run="userops status")
        return _Lists(learner, lessons, tuple(questions))

    return Yardstick(f"ndcg@{K}", True, {**PARAMETERS, **SIZE}, exam)


@dataclass(frozen=True)
class _Question:
    head: str
    task: Task
    asked: Asked
    items: np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class _Lists:
    learner: Learner
    lessons: Lessons
    questions: tuple[_Question, ...]

    def answers(self, lightgbm: Mapping[str, Any]) -> Answers:
        users, gains = {}, {}
        for one in self.questions:
            learned, later = self.lessons.learned[one.head], self.lessons.later[one.head]
            fitted = fit_head(learned, later, self.learner.seed, self.learner.threads, lightgbm)
            scores = scattered(one.asked, fitted.raw(one.asked.x), one.items, one.task)
            users[one.head], gains[one.head] = one.task.user, ranking_values(one.task, scores)[f"ndcg@{K}"]
        return Answers(users, gains)
