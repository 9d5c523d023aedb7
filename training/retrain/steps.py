"""What each step of a retraining does, and what it leaves in its MLflow run; a step begun twice leaves the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from configs import Config, model_of
from configs.audit import entries
from configs.errors import BundleError, CatalogueMismatch, FeatureError, GateError
from features.catalog import digest
from features.periods import now
from serving.scoring import Bundle, current
from serving.scoring.model import Model
from training.registry import CHALLENGER, CHAMPION, Registry, Run, tagged
from training.report import TrainReport
from training.retrain.work import Step, Work

__all__ = ["OUTCOMES", "Serving", "steps_of"]

#: How a retraining ends, and what ``userops retrain`` ends with.
OUTCOMES = {"quiet": 0, "released": 0, "left_out": 0, "refused": 5}
DECISION_DAYS = 28
WORK = "work"  # the tag of a run that says for which retraining it is

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Serving:
    """What a retraining needs of the service, handed in by the command line: training never imports it.

    ``export(config, file, since_us, until_us)`` writes logged decisions as Parquet and says how many rows;
    ``documents(config)`` are the checked policy and offers of a release; ``logged(config, report)`` stores what
    reviewers read of a version with its run.
    """

    export: Callable[[Config, Path, int, int], int]
    documents: Callable[[Config], Mapping[str, bytes]]
    logged: Callable[[Config, TrainReport], None] = lambda config, report: None


@dataclass(frozen=True)
class _Retraining:
    config: Config
    name: str
    if_needed: bool
    serving: Serving
    registry: Registry
    parent: Run
    show: Progress

    @contextmanager
    def run(self, step: str, work: Work) -> Iterator[Run]:
        with self.registry.run("retrain", f"{self.name} {step}", {"step": step, WORK: work.id}, self.parent) as run:
            yield run

    @contextmanager
    def decisions(self, work: Work) -> Iterator[Path | None]:
        """The decisions of the last four weeks, as a file; None when there are none with vectors of this catalogue.

        The file holds vectors of users: nothing of it is left afterwards.
        """
        from training.monitor.served import read_vectors

        file = work.file.with_name(f"{self.name}-decisions.parquet")
        until = now(self.config)
        since = until - timedelta(days=DECISION_DAYS)
        try:
            rows = self.serving.export(self.config, file, int(since.timestamp() * 1e6), int(until.timestamp() * 1e6))
            try:
                there = bool(rows) and not read_vectors(file).empty
            except FeatureError:
                there = False
            yield file if there else None
        finally:
            file.unlink(missing_ok=True)

    def drift(self, work: Work) -> Mapping[str, Any]:
        from training.monitor.monitor import monitor
        from training.monitor.report import write_to

        with self.run("drift", work) as run:
            if self.registry.aliased(self.name, CHAMPION) is None:
                return {"verdict": "untrained", "reasons": [{"code": "untrained", "en": "there is no champion yet"}]}
            try:
                with self.decisions(work) as served:
                    found = monitor(self.config, self.name, CHAMPION, self.show, served=served)
            except CatalogueMismatch as error:
                return {"verdict": "catalogue", "reasons": [{"code": "catalogue", "en": error.what}]}
            write_to(run, found)
            said: dict[str, Any] = {"verdict": found.verdict, "reasons": found.reasons, "run_id": run.run_id}
            needed = found.verdict == "drift" or not self.if_needed
            return said if needed else {**said, "end": "quiet"}

    def train(self, work: Work) -> Mapping[str, Any]:
        from training.train import train

        # Begun before, perhaps, and finished then: a version becomes challenger when all of it is there, and its run
        # says for which work. Whoever trained beside it has a challenger of his own, which is none of this work.
        with self.run("train", work) as run, tagged({WORK: work.id}):
            challenger = self.registry.aliased(self.name, CHALLENGER)
            if challenger is None or self._work_of(challenger) != work.id:
                report = train(self.config, self.name, self.show)
                run.json(asdict(report), "train.json")
                if not report.version:
                    return {"left_out": report.left_out, "end": "left_out"}
                self.serving.logged(self.config, report)
                challenger = report.version
            version = self.registry.version(self.name, challenger)
            run.tags({"version": version.version, "trained_in": version.run_id})
            return {"version": version.version, "run_id": version.run_id}

    def _work_of(self, version: str) -> str | None:
        """The retraining for which a version was trained; None when it was for none."""
        run = self.registry.reopen(self.registry.version(self.name, version).run_id)
        work: str | None = run.client.get_run(run.run_id).data.tags.get(WORK)
        return work

    def backtest(self, work: Work) -> Mapping[str, Any]:
        from training.backtest.backtest import backtest
        from training.forecasts import Recipe

        with self.run("backtest", work) as run:
            meta = self.registry.read_json(work.done["train"]["run_id"], "model/model.json")
            origins = model_of(self.config, self.name).gate.origins
            recipe = Recipe.of_version(meta)
            # Forecasts are kept by origin: the comparison at the gate finds them, and a killed back-test goes on.
            found = backtest(self.config, self.name, origins, progress=self.show, recipe=recipe)
            run.tags({"version": self._version(work), "backtested_in": found.run_id})
            run.text(Path(found.page).read_text(encoding="utf-8"), "backtest.html")
            run.json({"origins": found.origins, "verdict": found.verdict, "heads": found.heads}, "backtest.json")
            return {"origins": found.origins, "run_id": found.run_id, "verdict": found.verdict}

    def checks(self, work: Work) -> Mapping[str, Any]:
        from training.checks.run import run_checks

        with self.run("checks", work) as run:
            model = model_of(self.config, self.name)
            outcomes = run_checks(self.config, model, self._version(work), self.show)
            run.json({"outcomes": [one.as_json() for one in outcomes]}, "checks.json")
            run.tags({f"check.{one.code}": one.status for one in outcomes})
            return {one.code: one.status for one in outcomes}

    def shadow(self, work: Work) -> Mapping[str, Any]:
        from training.monitor.served import read_vectors
        from training.retrain.shadow import as_page, shadow

        with self.run("shadow", work) as run:
            champion, version = self.registry.aliased(self.name, CHAMPION), self._version(work)
            with self.decisions(work) as file:
                if champion is None or champion == version or file is None:
                    return _without_shadow(run, "no champion beside it" if file else "no decisions")
                vectors = read_vectors(file)
            pair = [self.registry.model(self.name, one) for one in (champion, version)]
            if not (isinstance(pair[0], Model) and isinstance(pair[1], Model)):
                return _without_shadow(run, "the log holds vectors; this model reads histories")
            if pair[0].catalogue_digest != digest():
                return _without_shadow(run, "the champion reads another feature catalogue")
            heads = shadow(pair[0], pair[1], vectors)
            told = {"status": "compared", "users": len(vectors), "heads": [one.as_json() for one in heads]}
            run.json(told, "shadow.json")
            run.text(as_page(self.name, heads, (champion, version)), "shadow.html")
            if all(one.sound for one in heads):
                return told
            bad = [one.head for one in heads if not one.sound]
            return {**told, "end": "refused", "refused": f"no sound answer for logged users: {', '.join(bad)}"}

    def gate(self, work: Work) -> Mapping[str, Any]:
        from training.gate.promote import promote

        with self.run("gate", work) as run:
            if (refused := self._taken_back(work)) is not None:
                return _refused(run, refused)
            try:
                (moved,) = promote(self.config, [self.name], self._version(work), self.show, f"retrain {work.id}")
            except GateError as error:
                return _refused(run, str(error))
            run.tags({"allowed": "true"})
            run.json(moved.verdict.as_json() if moved.verdict else {"already": True}, "verdict.json")
            return {"version": moved.version, "before": moved.before}

    def release(self, work: Work) -> Mapping[str, Any]:
        from training.release import release

        with self.run("release", work) as run:
            if (refused := self._taken_back(work)) is not None:
                return _refused(run, refused)
            documents = self.serving.documents(self.config)
            made = self._in_force(documents) or release(self.config, documents).release_id
            run.tags({"release_id": made})
            return {"release_id": made}

    def _taken_back(self, work: Work) -> str | None:
        """Why the version must not be released: it was promoted, and somebody made another one champion since."""
        version, champion = self._version(work), self.registry.aliased(self.name, CHAMPION)
        if champion == version:
            return None
        said = [row for row in entries(self.config.audit_uri, self.name, version) if row.action == "promoted"]
        if not said and "gate" not in work.done:
            return None
        return f"version {version} was promoted, but the champion is version {champion} now: nothing was released"

    def _in_force(self, documents: Mapping[str, bytes]) -> str | None:
        """The release in force when it is the one that would be made: this step was finished but for its note."""
        try:
            bundle = Bundle.load(current(self.config.home / "releases"))
        except BundleError:
            return None
        served = {name: str(one["version"]) for name, one in bundle.meta["models"].items()}
        champions = {name: self.registry.aliased(name, CHAMPION) for name in self.config.models}
        same = served == {name: version for name, version in champions.items() if version is not None}
        return bundle.release_id if same and bundle.documents == dict(documents) else None

    def _version(self, work: Work) -> str:
        version: str = work.done["train"]["version"]
        return version


def _refused(run: Run, why: str) -> dict[str, Any]:
    run.text(why, "refused.txt")
    run.tags({"allowed": "false"})
    return {"end": "refused", "refused": why}


def _without_shadow(run: Run, reason: str) -> dict[str, Any]:
    said = {"status": "not_applicable", "reason": reason}
    run.json(said, "shadow.json")
    return said


def steps_of(
    config: Config,
    name: str,
    *,
    if_needed: bool,
    serving: Serving,
    registry: Registry,
    parent: Run,
    show: Progress,
) -> list[Step]:
    """The seven steps for one model."""
    one = _Retraining(config, name, if_needed, serving, registry, parent, show)
    every = (one.drift, one.train, one.backtest, one.checks, one.shadow, one.gate, one.release)
    return [Step(do.__name__, do) for do in every]
