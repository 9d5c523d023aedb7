"""The only door to Optuna: trials one after the other, pruned, stored after every step, resumed where they stood.

The parameters of a trial follow from the seed and the trials before it alone: a search that was killed and started
again finds what one that was never interrupted finds.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from configs.errors import TrainingError
from training.search.space import Choice, Range, Space

__all__ = ["Study", "Trial", "open_study"]

# Pruning compares with the median of earlier trials: of fewer it says nothing.
LEAST_TO_COMPARE = 5
# A space of a few choices may have been tried out.
MOST_REPEATS = 50

VALUES, RUN, REPEATS = "values", "run_id", "repeats"


@dataclass(frozen=True)
class Trial:
    """``values`` are those of the steps that were taken; ``value`` is their mean, None when it was cut short."""

    number: int
    params: dict[str, Any]
    values: tuple[float, ...]
    value: float | None
    run_id: str | None


@dataclass(frozen=True)
class Study:
    """A study in ``home/optuna.db``."""

    study: optuna.Study
    seed: int

    @property
    def trials(self) -> list[Trial]:
        """The trials that are over, oldest first."""
        return [_read(one) for one in self._frozen() if one.state.is_finished() and REPEATS not in one.user_attrs]

    @property
    def best(self) -> Trial | None:
        """The earliest of the best among the trials that were not cut short."""
        whole = [one for one in self.trials if one.value is not None]
        sign = -1 if self.study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
        return min(whole, key=lambda one: sign * float(one.value or 0), default=None)

    def noted(self, key: str) -> Any:
        """What `note` kept under ``key``; None when nothing."""
        return self.study.user_attrs.get(key)

    def note(self, key: str, value: object) -> None:
        """Keep a JSON value with the study."""
        self.study.set_user_attr(key, value)

    def search(
        self,
        space: Space,
        start: Mapping[str, Any],
        judge: Callable[[Mapping[str, Any], int], float],
        steps: int,
        trials: int,
        until: float | None,
        over: Callable[[Trial], str],
    ) -> None:
        """Go on until ``trials`` are over, the monotonic clock passes ``until``, or the space holds nothing new.

        Parameters
        ----------
        start
            The parameters of trial 0.
        judge
            The value of parameters at one of ``steps`` steps; their mean is the trial's, the running mean prunes it.
        over
            Called with each trial before it counts as over; the identifier it returns is kept with the trial.
        """
        while len(self.trials) < trials and (trial := self._next(space, start)) is not None:
            values: list[float] = list(trial.user_attrs.get(VALUES, ()))
            while self._told(trial, values) < steps and not trial.should_prune():
                if until is not None and time.monotonic() > until:
                    return  # the trial stays open: the next search goes on with it
                values.append(judge(trial.params, len(values)))
                trial.set_user_attr(VALUES, values)
            mean = sum(values) / steps if len(values) == steps else None
            if RUN not in trial.user_attrs:
                trial.set_user_attr(RUN, over(Trial(trial.number, trial.params, tuple(values), mean, None)))
            self.study.tell(trial, mean, TrialState.PRUNED if mean is None else None)

    def _next(self, space: Space, start: Mapping[str, Any]) -> optuna.Trial | None:
        """The trial that was interrupted, or a new one whose parameters nobody tried; None when there are no more."""
        for _ in range(MOST_REPEATS):
            frozen = self._frozen()
            if not frozen:
                self.study.enqueue_trial(dict(start))
            interrupted = [one for one in frozen if one.state == TrialState.RUNNING]
            number = interrupted[0].number if interrupted else len(frozen)
            # Seeded by its number: with the seed alone, a search that goes on would draw the first parameters again.
            self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + number)
            trial = optuna.Trial(self.study, interrupted[0]._trial_id) if interrupted else self.study.ask()
            for name, one in space.items():
                _draw(trial, name, one)
            if all(trial.params != earlier.params for earlier in self.trials):
                return trial
            trial.set_user_attr(REPEATS, True)
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _told(self, trial: optuna.Trial, values: list[float]) -> int:
        """Report the mean so far, unless it was reported before an interruption; how many values there are."""
        step = len(values) - 1
        if values and step not in self._frozen()[trial.number].intermediate_values:
            trial.report(sum(values) / len(values), step)
        return len(values)

    def _frozen(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


@contextmanager
def open_study(home: Path, name: str, seed: int, higher: bool) -> Iterator[Study]:
    """The study of that name, new or as it was left; one process at a time searches in a home.

    Parameters
    ----------
    higher
        Whether higher values are better.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    home.mkdir(parents=True, exist_ok=True)
    with (home / "search.lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip()
            raise TrainingError(
                "another search is running in this home", got=f"process {holder}", run=f"ps -p {holder}"
            ) from None
        stream.seek(0)
        stream.truncate()
        stream.write(str(os.getpid()))
        stream.flush()
        storage = optuna.storages.RDBStorage(f"sqlite:///{home / 'optuna.db'}")
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                direction="maximize" if higher else "minimize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=LEAST_TO_COMPARE),
                load_if_exists=True,
            )
            yield Study(study, seed)
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _read(one: FrozenTrial) -> Trial:
    value = one.value if one.state == TrialState.COMPLETE else None
    return Trial(one.number, dict(one.params), tuple(one.user_attrs.get(VALUES, ())), value, one.user_attrs.get(RUN))


def _draw(trial: optuna.Trial, name: str, one: Range | Choice) -> None:
    if isinstance(one, Choice):
        trial.suggest_categorical(name, one.any)
    elif one.whole:
        trial.suggest_int(name, int(one.low), int(one.high), log=one.log)
    else:
        trial.suggest_float(name, one.low, one.high, log=one.log)
