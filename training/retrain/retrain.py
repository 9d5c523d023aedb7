"""``userops retrain``: begin, or go on with, the retraining of one model, under one MLflow run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from configs import Config, model_of
from features.catalog import digest
from features.periods import as_utc, now
from training.registry import Registry, Run
from training.retrain.steps import Serving, steps_of
from training.retrain.work import Step, Unreadable, Work, alone, carry_on

__all__ = ["EXPERIMENT", "GIVEN_UP_AFTER", "begin", "folder_of", "followed", "retrain"]

Progress = Callable[[str, float], None]

EXPERIMENT = "retrain"
# What was found drifting a week ago and is not released says nothing of today: cron begins anew.
GIVEN_UP_AFTER = timedelta(days=7)


def folder_of(config: Config) -> Path:
    """Where the states of retrainings lie, and the lock."""
    return config.home / "retrain"


def retrain(
    config: Config,
    name: str,
    serving: Serving,
    *,
    if_needed: bool = True,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Work:
    """Bring one model from drift to a release; what was begun before and not finished goes on where it stood.

    Parameters
    ----------
    if_needed
        Only when `userops monitor` sees drift; otherwise in any case.
    fresh
        Give up what was begun before and begin anew.

    Raises
    ------
    Busy
        When another retraining is at work in this home.
    """
    show = progress or (lambda message, fraction: None)
    model_of(config, name)
    with alone(folder_of(config)):
        registry = Registry(config)
        work = begin(config, name, registry, fresh=fresh)

        def steps(parent: Run) -> list[Step]:
            return steps_of(
                config, name, if_needed=if_needed, serving=serving, registry=registry, parent=parent, show=show
            )

        return followed(work, registry, steps, show)


def begin(config: Config, name: str, registry: Registry, *, fresh: bool = False) -> Work:
    """The unfinished work of ``name``, or new one, which says in ``gave_up`` what it stands in for.

    Given up is, besides whatever is open when ``fresh``, work that cannot end well: begun under another feature
    catalogue or longer ago than `GIVEN_UP_AFTER`, or with a version that somebody deleted.

    Raises
    ------
    Unreadable
        When the state is not one, unless ``fresh``.
    """
    at, file, gave_up = now(config), folder_of(config) / f"{name}.json", ""
    try:
        before = Work.read(file)
    except Unreadable as error:
        if not fresh:
            raise
        before, gave_up = None, error.what
    if before is not None and not before.outcome:
        why = "--fresh" if fresh else _hopeless(before, at, registry)
        if why is None:
            return before
        gave_up = f"{before.id}, begun {before.began_at}, after {', '.join(before.done) or 'nothing'}: {why}"
        # Its run may have been deleted with the version; MLflow tells that in ways of its own.
        with suppress(Exception):
            run = registry.reopen(before.run_id)
            run.tags({"outcome": "given up", "because": why})
            _end(run, "KILLED")
    work_id = f"{name}-{at:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    return Work(file, work_id, name, at.isoformat(), digest(), gave_up=gave_up)


def _hopeless(work: Work, at: datetime, registry: Registry) -> str | None:
    """Why it cannot end well; None when it can."""
    if work.catalogue != digest():
        return "the feature catalogue has changed"
    if at - as_utc(work.began_at) > GIVEN_UP_AFTER:
        return f"it is older than {GIVEN_UP_AFTER.days} days"
    version = work.done.get("train", {}).get("version")
    # The list, not the version by its number: a server that does not answer must not look like a deleted version.
    if version is not None and version not in {one.version for one in registry.versions(work.model)}:
        return f"version {version} is no longer registered"
    return None


def followed(work: Work, registry: Registry, steps: Callable[[Run], list[Step]], show: Progress | None = None) -> Work:
    """Carry ``work`` on under its own MLflow run, which says in the end how it ended."""
    with _parent(work, registry) as parent:
        carry_on(work, steps(parent), "released", show)
        parent.tags({"outcome": work.outcome, **_tags(work)})
        parent.json(
            {"id": work.id, "outcome": work.outcome, "gave_up": work.gave_up, "steps": work.done}, "retrain.json"
        )
        lines = "\n".join(f"* **{name}**: {_short(step)}" for name, step in work.done.items())
        parent.note(f"**{work.model}: {work.outcome}**\n\n{lines}")
        return work


@contextmanager
def _parent(work: Work, registry: Registry) -> Iterator[Run]:
    if work.run_id:
        run = registry.reopen(work.run_id)
        for child in _open_children(run):
            _end(child, "KILLED")
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        finally:
            _end(run, status)
        return
    with registry.run(EXPERIMENT, f"{work.model} {work.began_at[:10]}", {"model": work.model, "work": work.id}) as run:
        work.run_id = run.run_id
        work.save()
        yield run


def _open_children(run: Run) -> list[Run]:
    """Runs of steps that nobody ended, because their process was killed."""
    experiment = run.client.get_run(run.run_id).info.experiment_id
    inside = f"tags.`mlflow.parentRunId` = '{run.run_id}' and attributes.status = 'RUNNING'"
    return [Run(run.client, one.info.run_id) for one in run.client.search_runs([experiment], inside)]


def _end(run: Run, status: str) -> None:
    run.client.set_terminated(run.run_id, status)


def _tags(work: Work) -> dict[str, str]:
    found = {"version": work.done.get("train", {}).get("version"), "drift": work.done.get("drift", {}).get("verdict")}
    return {name: str(value) for name, value in found.items() if value}


def _short(step: object) -> str:
    text = str(step)
    return text if len(text) <= 300 else text[:300] + " …"
