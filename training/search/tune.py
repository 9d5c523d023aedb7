"""Search parameters of one model: trials on past origins, then the winner against the defaults on later ones.

Which origins see what is said in `training.search.origins`. A study that goes on may find another winner, which is
asked at the same later origins: the n-th is believed only if an interval at the level 1 - 0.05 / n is above noise. That
does not reach from one study to another: whoever changes the space, and searches the same data again, starts to count
anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
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
from training.registry import Registry, Run
from training.resample import Interval
from training.search.decide import Decision, kept, paired_gain, verdict
from training.search.exam import Exam, Yardstick
from training.search.lists import lists
from training.search.origins import Origins, origins_of
from training.search.probabilities import probabilities
from training.search.space import space_of
from training.search.study import Study, Trial, open_study

__all__ = ["tune"]

Progress = Callable[[str, float], None]

RUN, DECIDED, LEFT_OUT = "run_id", "decided", "left_out"


@dataclass(frozen=True)
class _Case:
    """What is searched: at ``searched`` with labels known at ``later[0]``, confirmed with those known at ``until``.

    ``spared`` says whether the gate's origins lie at ``until`` or after it.
    """

    config: Config
    model: ModelConfig
    yardstick: Yardstick
    searched: Origins
    later: Origins
    until: datetime
    spared: bool

    @property
    def name(self) -> str:
        """The study's name: other data or code, another space or definition make another study."""
        asked = {
            "data": content_hash(self.config),
            "catalogue": digest(),
            "code": [code_digest(), digest_of(Path(__file__).parents[1], ("judge.py", "search"))],
            "model": asdict(self.model) | {"gate": None, "ignored_checks": None, "purpose": None},
            "origins": [origin.isoformat() for origin in (*self.searched, *self.later, self.until)],
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
        exams: dict[datetime, Exam] = {}
        show("preparing the origins of the search", 0.1)
        case = replace(case, searched=_examined(case, study, exams))

        def judge(params: Mapping[str, Any], step: int) -> float:
            done, origin = len(study.trials), case.searched[step]
            show(_so_far(case, study, trials), 0.1 + 0.75 * (done + step / len(case.searched)) / trials)
            if origin not in exams:
                exams[origin] = case.yardstick.exam(origin, case.later[0])
            return exams[origin].answers({**model.lightgbm, **params}).mean

        def over(trial: Trial) -> str:
            return _log_trial(registry, parent, case, trial)

        if case.searched:
            study.search(space, start, judge, len(case.searched), trials, until, over)
        exams.clear()
        show("the best against the defaults, on later origins", 0.88)
        decision = _decide(case, study)
    parent.note("\n\n".join(decision.words.values()))
    parent.tags({"search": decision.outcome, "trials": str(decision.evidence["trials"])})
    parent.json(decision.evidence, "search.json")
    return decision


def _case(config: Config, model: ModelConfig, show: Progress) -> _Case:
    first, last = span(config)
    known_until = min(last, now(config))
    searched, later, until, spared = origins_of(model, first, known_until)
    if model.name == INTEREST:
        show("reading", 0.02)
        histories = read_histories(config, known_until)
        if (reason := left_out(histories)) is not None:
            raise TrainingError(reason["en"])
        yardstick = lists(learner_of(config, model, histories, first, lambda message, fraction: None))
    else:
        yardstick = probabilities(config, model, (*searched, *later), first, lambda m, f: show(m, 0.1 * f))
    return _Case(config, model, yardstick, searched, later, until, spared)


def _examined(case: _Case, study: Study, exams: dict[datetime, Exam]) -> Origins:
    """The searched origins that teach and tell something; why others do not is noted, and found out once."""
    left_out: dict[str, str] | None = study.noted(LEFT_OUT)
    if left_out is None:
        left_out = {}
        for origin in case.searched:
            try:
                exams[origin] = case.yardstick.exam(origin, case.later[0])
            except TrainingError as error:
                left_out[f"{origin:%Y-%m-%d}"] = error.what
        study.note(LEFT_OUT, left_out)
    return tuple(origin for origin in case.searched if f"{origin:%Y-%m-%d}" not in left_out)


def _decide(case: _Case, study: Study) -> Decision:
    """The winner against the defaults; asked once, however often the search is gone on with."""
    trials, best, left_out = study.trials, study.best, dict(study.noted(LEFT_OUT) or {})
    evidence: dict[str, Any] = {
        "run_id": study.noted(RUN),
        "measure": case.yardstick.measure,
        "trials": len(trials),
        "pruned": sum(one.value is None for one in trials),
        "searched_on": [f"{origin:%Y-%m-%d}" for origin in case.searched],
        "confirmed_on": [f"{origin:%Y-%m-%d}" for origin in case.later],
        "left_out": left_out,
        "touched_until": case.later[0].isoformat(),
        "gate_spared": case.spared,
    }
    mine = case.model.lightgbm
    if not case.searched:
        reason = next(iter(left_out.values()))
        return kept(mine, f"nothing to search on: {reason}", f"无法搜索：{reason}", evidence)
    if best is None or trials[0].value is None:
        return kept(mine, "no trial was finished in time", "规定时间内没有完成任何试验", evidence)
    found = abs(float(best.value or 0) - trials[0].value)
    evidence |= {"best": asdict(best), "defaults": asdict(trials[0]), "found": found}
    if best.number == 0:
        return verdict(mine, best.params, evidence, None)
    decided = study.noted(DECIDED) or {}
    if decided.get("number") != best.number:
        decided = {"number": best.number, "tests": decided.get("tests", 0) + 1, **_confirmed(case, best, decided)}
        study.note(DECIDED, decided)
    evidence |= {
        "confirmed_on": decided["confirmed_on"],
        "left_out": left_out | decided["left_out"],
        "tests": decided["tests"],
        "touched_until": case.until.isoformat(),
    }
    if decided["gain"] is None:
        reason = next(iter(decided["left_out"].values()))
        return kept(mine, f"nothing to confirm on: {reason}", f"无法验证：{reason}", evidence)
    return verdict(mine, best.params, evidence, Interval(**decided["gain"]))


def _confirmed(case: _Case, best: Trial, before: Mapping[str, Any]) -> dict[str, Any]:
    """The gain of ``best`` over the defaults on the later origins that tell something; None where none does."""
    mine, answers, left_out = case.model.lightgbm, {}, {}
    for origin in case.later:
        try:
            exam = case.yardstick.exam(origin, case.until)
        except TrainingError as error:
            left_out[f"{origin:%Y-%m-%d}"] = error.what
            continue
        answers[f"{origin:%Y-%m-%d}"] = [exam.answers({**mine, **given}) for given in ({}, best.params)]
    gain = None
    if answers:
        defaults, others = (list(one) for one in zip(*answers.values(), strict=True))
        tests = before.get("tests", 0) + 1
        gain = asdict(paired_gain(defaults, others, case.yardstick.measure, case.config.seed, tests))
    return {"gain": gain, "confirmed_on": list(answers), "left_out": left_out}


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
