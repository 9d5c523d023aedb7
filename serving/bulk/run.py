"""``userops score --out PATH``: everybody's scores by several models, in threads, in constant memory, resumable.

Threads, not processes: what costs (trees, exact reasons, Parquet) runs outside of Python's lock, so that threads are as
quick, and one copy of the models serves all. A part is read, scored and written ten thousand users at a time.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock
from typing import Any

import pyarrow as pa

from configs import Config
from configs.errors import UseropsError
from features import periods
from features.catalog import NAMES, digest
from serving.batch import microseconds
from serving.bulk.folder import Folder
from serving.bulk.plan import BATCH, Part, Source, user_snapshot
from serving.bulk.score import Scorer
from serving.bulk.wishes import Wishes, log_of, wishes_of
from serving.scoring import Bundle, current

__all__ = ["MODELS", "score_everybody"]

MODELS = ("churn", "repurchase", "value", "interest")
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Job:
    """One model's share of a run: ``score`` makes rows of ``schema`` of each batch of the source's ``columns``."""

    model: str
    source: Source
    columns: tuple[str, ...]
    batch: int
    schema: pa.Schema
    score: Callable[[pa.RecordBatch, Wishes], pa.RecordBatch]


class _Interrupted(Exception):
    """The run ends: parts that are being written are given up."""


def score_everybody(
    config: Config,
    out: Path,
    models: Sequence[str] = MODELS,
    *,
    as_of: datetime | None = None,
    reasons: int = 3,
    lang: str = "en",
    fresh: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write ``out/<model>/part-NNNNN.parquet`` of every user of a stored snapshot, and say how it went.

    What lies there of an earlier run over the same release, snapshot and options stays and is not done again.

    Parameters
    ----------
    as_of
        The newest snapshot at or before it; default: the newest.
    reasons, lang
        How many reasons per score, 0 for none, and the language of their sentences.
    fresh
        Remove the scores that are there first.

    Raises
    ------
    UseropsError
        When another run writes there, or scores of something else lie there; when a model is not in the release.
    """
    began, now = time.monotonic(), periods.now(config)
    folder, release = Folder(out), current(config.home / "releases")
    bundle = Bundle.load(release, digest())
    _check(models, bundle)
    with folder.alone():
        if progress:
            progress("reading the snapshot", 0.0)
        source = user_snapshot(config, as_of or now)
        made_from: dict[str, Any] = {
            "release_id": bundle.release_id,
            "release_digest": bundle.digest,
            "catalogue_digest": digest(),
            "snapshot": {"as_of": source.as_of.isoformat(), "sha256": source.sha256, "users": source.rows},
            "reasons": reasons,
            "lang": lang,
            "scored_at": now.isoformat(),
        }
        asked = {name: {"version": str(bundle.meta["models"][name]["version"])} for name in models}
        manifest = folder.begin(made_from, asked, fresh)
        # Also in a run that goes on tomorrow, the features are as old as they were when it began.
        then = datetime.fromisoformat(manifest["scored_at"])
        stale_before = microseconds(then - timedelta(hours=config.max_feature_age_hours))
        jobs = [_job(name, source, release, reasons, lang, stale_before) for name in models]
        run = _Run(config, folder, jobs, progress)
        told = run.all(manifest)
    return {
        "out": str(out),
        **{key: manifest[key] for key in ("release_id", "snapshot", "reasons", "lang", "scored_at")},
        "models": told,
        "seconds": time.monotonic() - began,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _check(models: Sequence[str], bundle: Bundle) -> None:
    known = [*bundle.models, *(["interest"] if bundle.interest is not None else [])]
    if unknown := [name for name in models if name not in known]:
        raise UseropsError("the release in force has no such model", got=unknown, expected=sorted(known))


def _job(name: str, source: Source, release: Path, reasons: int, lang: str, stale_before: int) -> Job:
    scorer = Scorer(str(release), name, reasons, lang, stale_before)
    columns = ("user_id", "as_of", *NAMES)
    return Job(name, source, columns, BATCH, scorer.schema, lambda batch, asked: scorer.scored(batch, asked.withheld))


class _Run:
    """The parts of several jobs, one after the other, some side by side."""

    def __init__(self, config: Config, folder: Folder, jobs: Sequence[Job], progress: Progress | None) -> None:
        self.config, self.folder, self.jobs, self.progress = config, folder, jobs, progress
        self.log = log_of(config)
        self.stop, self._counting = Event(), Lock()
        self.users = 0  # scored by this run
        self.left = 0

    def all(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Every part that is not there yet; what was done of each model."""
        told: dict[str, Any] = {}
        todo: dict[str, list[Part]] = {}
        for job in self.jobs:
            todo[job.model] = [part for part in job.source.parts if self.folder.rows(job.model, part.number) is None]
        self.left = sum(part.rows for parts in todo.values() for part in parts)
        with ThreadPoolExecutor(max(1, self.config.threads), thread_name_prefix="bulk") as pool:
            try:
                for job in self.jobs:
                    began = time.monotonic()
                    running = {pool.submit(self._part, job, part) for part in todo[job.model]}
                    self._watch(job, running)
                    self._look_whole(job)
                    seconds, users = time.monotonic() - began, sum(part.rows for part in todo[job.model])
                    told[job.model] = self._told(job, len(todo[job.model]), users, seconds)
                    manifest["models"][job.model]["finished_at"] = periods.now(self.config).isoformat()
                    self.folder.write(manifest)
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return told

    def _watch(self, job: Job, running: set[Future[None]]) -> None:
        began, before = time.monotonic(), self.users
        while running:
            done, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for one in done:
                one.result()
            if self.progress:
                taken = time.monotonic() - began
                rate = (self.users - before) / taken if taken else 0.0
                left = self.left - self.users
                told = f"{job.model} · {self.users:,} of {self.left:,} users"
                if rate:
                    told += f" · {rate:,.0f} users/s · {_duration(left / rate)} left"
                self.progress(told, self.users / max(self.left, 1))

    def _part(self, job: Job, part: Part) -> None:
        if self.stop.is_set():
            raise _Interrupted
        try:
            with self.folder.writing(job.model, part.number, job.schema) as writer:
                for batch in job.source.batches(part, job.columns, job.batch):
                    if self.stop.is_set():
                        raise _Interrupted
                    asked = wishes_of(self.log, [str(one) for one in batch.column("user_id").to_pylist()])
                    writer.write_batch(job.score(batch, asked))
                    with self._counting:
                        self.users += batch.num_rows
        finally:
            if self.log is not None:
                self.log.close()  # the connections of this thread

    def _look_whole(self, job: Job) -> None:
        missing = [part.number for part in job.source.parts if self.folder.rows(job.model, part.number) is None]
        if missing:
            raise UseropsError(
                f"{self.folder.path / job.model} lost parts while it was written", got=missing[:5], run="the same again"
            )

    def _told(self, job: Job, parts: int, users: int, seconds: float) -> dict[str, Any]:
        files = [self.folder.part(job.model, part.number) for part in job.source.parts]
        return {
            "users": job.source.rows,
            "rows": sum(self.folder.rows(job.model, part.number) or 0 for part in job.source.parts),
            "parts": len(files),
            "parts_done_before": len(files) - parts,
            "bytes": sum(file.stat().st_size for file in files),
            "seconds": seconds,
            "users_per_s": users / seconds if users else None,
        }


def _duration(seconds: float) -> str:
    """A time to wait, as people say it.

    Examples
    --------
    >>> _duration(48), _duration(700), _duration(9000)
    ('48 s', '12 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
