"""``userops score --out PATH``: everybody's scores by several models, in threads, in constant memory, resumable.

Threads, not processes: what costs (trees, exact reasons, Parquet) runs outside of Python's lock, so that threads are as
quick, and one copy of the models serves all. A part is read, scored and written ten thousand users at a time.
"""

from __future__ import annotations

import resource
import shutil
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
from serving.bulk import plan
from serving.bulk import staged as staging
from serving.bulk.folder import Folder
from serving.bulk.interest import InterestScorer
from serving.bulk.plan import BATCH, Part, Source, sha256_of, user_snapshot
from serving.bulk.score import Scorer
from serving.bulk.staged import GROUP, history_snapshot, staged
from serving.bulk.wishes import Wishes, log_of, wishes_of
from serving.scoring import Bundle, current
from serving.scoring.interest.model import NAME as INTEREST

__all__ = ["MODELS", "Job", "Run", "job_of", "score_everybody"]

MODELS = ("churn", "repurchase", "value", INTEREST)
Progress = Callable[[str, float], None]
#: How many reasons, in which language, and which instant makes features stale: the options of a scorer.
How = tuple[int, str, int]


@dataclass(frozen=True)
class Job:
    """One model's share of a run: ``score`` makes rows of ``schema`` of each batch of the source's ``columns``.

    ``release`` and ``how`` are what `job_of` makes the same job of in another process.
    """

    model: str
    source: Source
    columns: tuple[str, ...]
    batch: int
    schema: pa.Schema
    score: Callable[[pa.RecordBatch, Wishes], pa.RecordBatch]
    release: str
    how: How


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
    on: type[Run] | None = None,
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
    on
        Who writes the parts; default: threads of this process.

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
            "most_users_per_part": [plan.ROWS, staging.USERS],
            "scored_at": now.isoformat(),
        }
        asked: dict[str, Any] = {name: {"version": str(bundle.meta["models"][name]["version"])} for name in models}
        if INTEREST in models:
            asked[INTEREST] |= {"histories": sha256_of(history_snapshot(config, source.as_of))}
        manifest = folder.begin(made_from, asked, fresh)
        # Also in a run that goes on tomorrow, the features are as old as they were when it began.
        then = datetime.fromisoformat(manifest["scored_at"])
        stale_before = microseconds(then - timedelta(hours=config.max_feature_age_hours))
        told: dict[str, Any] = {}
        run = (on or Run)(config, folder, source.rows * len(models), progress)
        for name in models:
            if folder.finished(manifest, name) is None:
                run.show(f"{name} · reading the model")
                job = _job(name, config, source, folder, str(release), (reasons, lang, stale_before))
                if name == INTEREST:
                    folder.same(manifest, name, "staged", job.source.sha256)
                seconds, before = run.all(job)
                manifest["models"][name] |= {
                    "parts": len(job.source.parts),
                    "finished_at": periods.now(config).isoformat(),
                }
                folder.write(manifest)
            else:
                seconds, before = 0.0, manifest["models"][name]["parts"]
                run.count(source.rows)
            told[name] = _told(folder, manifest, name, source, before, seconds)
        shutil.rmtree(folder.work, ignore_errors=True)
    return {
        "out": str(out),
        **{key: manifest[key] for key in ("release_id", "snapshot", "reasons", "lang", "scored_at")},
        "models": told,
        "seconds": time.monotonic() - began,
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    """The most memory this program held; `getrusage` counts also what forked it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _check(models: Sequence[str], bundle: Bundle) -> None:
    known = [*bundle.models, *([INTEREST] if bundle.interest is not None else [])]
    if unknown := [name for name in models if name not in known]:
        raise UseropsError("the release in force has no such model", got=unknown, expected=sorted(known))


def _job(name: str, config: Config, source: Source, folder: Folder, release: str, how: How) -> Job:
    if name == INTEREST:
        source = staged(config, source, history_snapshot(config, source.as_of), folder.work)
    return job_of(name, source, release, how)


def job_of(name: str, source: Source, release: str, how: How) -> Job:
    """The job of one model over what it reads: `plan.Source` of the users, or of `staged`."""
    if name != INTEREST:
        users = Scorer(release, name, *how)
        return Job(
            name,
            source,
            ("user_id", "as_of", *NAMES),
            BATCH,
            users.schema,
            lambda batch, asked: users.scored(batch, asked.withheld),
            release,
            how,
        )
    interest = InterestScorer(release, *how)
    return Job(
        name,
        source,
        ("user_id", "as_of", "history"),
        GROUP,
        interest.schema,
        lambda batch, asked: interest.scored(batch, asked.withheld, asked.refused),
        release,
        how,
    )


def _told(
    folder: Folder, manifest: dict[str, Any], name: str, source: Source, before: int, seconds: float
) -> dict[str, Any]:
    rows = folder.finished(manifest, name)
    if rows is None:
        raise UseropsError(f"{folder.path / name} lost parts while it was written", run="the same command again")
    return {
        "users": source.rows,
        "unavailable": sum(folder.unavailable(name, number) for number in range(len(rows))),
        "rows": sum(rows),
        "parts": len(rows),
        "parts_done_before": before,
        "bytes": sum(folder.part(name, number).stat().st_size for number in range(len(rows))),
        "seconds": seconds,
        "users_per_s": source.rows * (1 - before / len(rows)) / seconds if before < len(rows) else None,
    }


class Run:
    """The parts of several models, one model after the other, its parts side by side."""

    def __init__(self, config: Config, folder: Folder, users: int, progress: Progress | None) -> None:
        self.config, self.folder, self.progress = config, folder, progress
        self.log = log_of(config)
        self.stop, self._counting = Event(), Lock()
        self._done, self._all = 0, users  # over all models

    def show(self, what: str) -> None:
        """Tell what is going on."""
        if self.progress:
            self.progress(what, self._done / max(self._all, 1))

    def count(self, users: int) -> None:
        """So many users more are scored."""
        with self._counting:
            self._done += users

    def all(self, job: Job) -> tuple[float, int]:
        """Write every part of a model that is not there yet; the seconds it took, and how many were there."""
        began = time.monotonic()
        todo = [part for part in job.source.parts if self.folder.rows(job.model, part.number) is None]
        users = sum(part.rows for part in todo)
        self.count(job.source.rows - users)
        pool = ThreadPoolExecutor(max(1, self.config.threads), thread_name_prefix="bulk")
        try:
            self._watch(job, {pool.submit(self.part, job, part) for part in todo}, users)
        except BaseException:
            self.stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return time.monotonic() - began, len(job.source.parts) - len(todo)

    def _watch(self, job: Job, running: set[Future[None]], users: int) -> None:
        began, before = time.monotonic(), self._done
        while running:
            done, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for one in done:
                one.result()
            now, taken = self._done - before, time.monotonic() - began
            told = f"{job.model} · {now:,} of {users:,} users"
            if now:
                told += f" · {now / taken:,.0f} users/s · {_duration((users - now) * taken / now)} left"
            self.show(told)

    def part(self, job: Job, part: Part) -> None:
        """Write one part, unless the run ends meanwhile."""
        if self.stop.is_set():
            raise _Interrupted
        try:
            with self.folder.writing(job.model, part.number, job.schema) as writer:
                for batch in job.source.batches(part, job.columns, job.batch):
                    if self.stop.is_set():
                        raise _Interrupted
                    asked = wishes_of(self.log, [str(one) for one in batch.column("user_id").to_pylist()])
                    writer.write_batch(job.score(batch, asked))
                    self.count(batch.num_rows)
        finally:
            if self.log is not None:
                self.log.close()  # the connections of this thread


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
