"""Search parameters of one model: trials on past origins, then the winner against the defaults on later ones.

::

    ── learn ── search origins ─────────┬── later origins ──────────┬── judged origin of `userops train`
                (labels known there) ───┘  (labels known there) ────┘

The search knows what was known at the first of the later origins, the decision what was known at the judged one: so
what `userops train` says of the version was seen by neither.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.catalog import digest
from features.events import content_hash, span
from features.periods import now
from features.source_code import digest_of
from serving.scoring.interest.model import NAME as INTEREST
from training.forecasts import code_digest
from training.interest.histories import read_histories
from training.interest.train import learner_of, left_out
from training.judge import horizons_of
from training.registry import Registry, Run
from training.resample import Interval
from training.search.decide import Decision, kept, paired_gain, verdict
from training.search.exam import Exam, Yardstick
from training.search.lists import lists
from training.search.probabilities import probabilities
from training.search.space import space_of
from training.search.study import Study, Trial, open_study
from training.splits import rolling, split_at

__all__ = ["origins_of", "tune"]

Progress = Callable[[str, float], None]
Origins = tuple[datetime, ...]

RUN, DECIDED = "run_id", "decided"


@dataclass(frozen=True)
class _Case:
    """What is searched: at ``searched`` with labels known at ``later[0]``, confirmed with those known at ``judged``."""

    config: Config
    model: ModelConfig
    yardstick: Yardstick
    searched: Origins
    later: Origins
    judged: datetime

    @property
    def name(self) -> str:
        """The study's name: other data or code, another space or definition make another study."""
        asked = {
            "data": content_hash(self.config),
            "catalogue": digest(),
            "code": [code_digest(), digest_of(Path(__file__).parents[1], ("judge.py", "search"))],
            "model": asdict(self.model) | {"gate": None, "ignored_checks": None, "purpose": None},
            "origins": [origin.isoformat() for origin in (*self.searched, *self.later, self.judged)],
            "seed": self.config.seed,
            "versions": [version(name) for name in ("userops", "lightgbm", "optuna")],
        }
        text = json.dumps(asked, sort_keys=True, default=str)
        return f"{self.model.name} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def tune(
    config: Config, model: ModelConfig, trials: int, timeout: float | None = None, progress: Progress | None = None
) -> Decision:
    """What to train ``model`` with; every origin of a trial is stored when it is examined, and so is the decision.

    Parameters
    ----------
    trials
        How many there are in all, trial 0 with the defaults among them; those of an earlier call count.
    timeout
        Seconds after which no further origin is examined; the decision is made with what there is.
    """
    show = progress or (lambda message, fraction: None)
    until = None if timeout is None else time.monotonic() + timeout
    if not model.search.space:
        return kept(model.lightgbm, "models/*.yaml: search: space is empty", "配置文件的 search: space 为空")
    try:
        case = _case(config, model, show)
    except TrainingError as error:
        return kept(model.lightgbm, f"nothing to search on: {error.what}", f"无法搜索：{error.what}")
    space, start = space_of(model, case.yardstick.defaults)
    registry = Registry(config)
    with open_study(config.home, case.name, config.seed, case.yardstick.higher) as study:
        parent = _parent(registry, case, study)
        exams: dict[int, Exam] = {}

        def judge(params: Mapping[str, Any], step: int) -> float:
            done = len(study.trials)
            show(_so_far(case, study, trials), 0.1 + 0.75 * (done + step / len(case.searched)) / trials)
            if step not in exams:
                exams[step] = case.yardstick.exam(case.searched[step], case.later[0])
            return exams[step].answers({**model.lightgbm, **params}).mean

        def over(trial: Trial) -> str:
            return _log_trial(registry, parent, case, trial)

        study.search(space, start, judge, len(case.searched), trials, until, over)
        exams.clear()
        show("the best against the defaults, on later origins", 0.88)
        decision = _decide(case, study)
    parent.note("\n\n".join(decision.words.values()))
    parent.tags({"search": decision.outcome, "trials": str(decision.evidence["trials"])})
    parent.json(decision.evidence, "search.json")
    return decision


def origins_of(model: ModelConfig, first_event: datetime, known_until: datetime) -> tuple[Origins, Origins, datetime]:
    """Where to search (the latest first), where to confirm (the oldest first), and what neither may see.

    They lie two steps of the grid apart where the history is long enough, else one; else there are fewer.

    Raises
    ------
    TrainingError
        When the history does not even hold one of each.
    """
    horizons, most = horizons_of(model), model.search.origins
    judged = split_at(model.origins, horizons, first_event, known_until).judge
    for count, every in dict.fromkeys([(most, 2), (most, 1), (max(most // 2, 1), 1), (1, 1)]):
        try:
            later = rolling(model.origins, horizons, first_event, judged, count, every)
            searched = rolling(model.origins, horizons, first_event, later[0], count, every)
        except TrainingError:
            continue
        if len(later) == len(searched) == count:
            return searched[::-1], later, judged
    raise TrainingError(
        "the history is too short to search, to confirm and to judge one after the other",
        got=f"{(known_until - first_event).days} days",
        expected=f"about {3 * max(horizons) + model.origins.warm_up_days + 5 * model.origins.every_days:.0f}",
        run=f"userops train {model.name}",
    )


def _case(config: Config, model: ModelConfig, show: Progress) -> _Case:
    first, last = span(config)
    known_until = min(last, now(config))
    searched, later, judged = origins_of(model, first, known_until)
    if model.name == INTEREST:
        show("reading", 0.02)
        histories = read_histories(config, known_until)
        if (reason := left_out(histories)) is not None:
            raise TrainingError(reason)
        yardstick = lists(learner_of(config, model, histories, first, lambda message, fraction: None))
    else:
        yardstick = probabilities(config, model, (*searched, *later), first, lambda m, f: show(m, 0.1 * f))
    return _Case(config, model, yardstick, searched, later, judged)


def _decide(case: _Case, study: Study) -> Decision:
    """The winner against the defaults; asked once, however often the search is gone on with."""
    trials, best, measure = study.trials, study.best, case.yardstick.measure
    evidence: dict[str, Any] = {
        "run_id": study.noted(RUN),
        "measure": measure,
        "trials": len(trials),
        "pruned": sum(one.value is None for one in trials),
        "searched_on": [f"{origin:%Y-%m-%d}" for origin in case.searched],
        "confirmed_on": [f"{origin:%Y-%m-%d}" for origin in case.later],
    }
    mine = case.model.lightgbm
    if best is None or trials[0].value is None:
        return kept(mine, "no trial was finished in time", "规定时间内没有完成任何试验", evidence)
    found = abs(float(best.value or 0) - trials[0].value)
    evidence |= {"best": asdict(best), "defaults": asdict(trials[0]), "found": found}
    if best.number == 0:
        return verdict(mine, best.params, evidence, None)
    decided = study.noted(DECIDED) or {}
    if decided.get("number") != best.number:
        exams = [case.yardstick.exam(origin, case.judged) for origin in case.later]
        answers = [[one.answers({**mine, **given}) for one in exams] for given in ({}, best.params)]
        gain = paired_gain(answers[0], answers[1], measure, case.config.seed)
        decided = {"number": best.number, "gain": asdict(gain)}
        study.note(DECIDED, decided)
    return verdict(mine, best.params, evidence, Interval(**decided["gain"]))


def _so_far(case: _Case, study: Study, trials: int) -> str:
    """What the progress bar says."""
    done, best = study.trials, study.best
    text = f"trial {len(done) + 1} of {trials}"
    if best is None:
        return text
    return f"{text}, best {case.yardstick.measure} {best.value:.4f} (trial {best.number}; defaults {done[0].value:.4f})"


def _parent(registry: Registry, case: _Case, study: Study) -> Run:
    """The run that holds the trials: the same one however often the search is interrupted."""
    if (run_id := study.noted(RUN)) is None:
        with registry.run(case.model.name, "search", {"study": case.name}) as run:
            run.parameters({f"space.{name}": one for name, one in case.model.search.space.items()})
        run_id = run.run_id
        study.note(RUN, run_id)
    return registry.reopen(run_id)


def _log_trial(registry: Registry, parent: Run, case: _Case, trial: Trial) -> str:
    measure, value = case.yardstick.measure, trial.value
    tags = {"trial": str(trial.number), "state": "pruned" if value is None else "complete"}
    with registry.run(case.model.name, f"trial {trial.number}", tags, parent=parent) as run:
        run.parameters(trial.params)
        for origin, one in zip(case.searched, trial.values, strict=False):
            run.metrics({f"{measure}.{origin:%Y-%m-%d}": one})
        if value is not None:
            run.metrics({measure: value})
            parent.metrics({measure: value}, step=trial.number)
    return run.run_id
