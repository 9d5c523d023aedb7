"""Everybody's scores by the workers of a Spark cluster: each takes parts of the snapshot and writes them itself.

The parts, the folder and every byte are those of `serving.bulk.run`: a worker runs the same scorer over the same groups
of rows, as one task after the other of ``mapInArrow`` over the numbers of the parts. No row passes through Spark or the
driver. Workers find snapshot, release and output by their paths: all three lie where every worker sees them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from configs import Config
from configs.errors import UseropsError
from features.spark.session import session
from serving.bulk import run
from serving.bulk.folder import Folder
from serving.bulk.plan import Part

__all__ = ["score_everybody"]

_SCHEMA = "part long, users long"
_TASKS_PER_CORE = 4  # so few that a model is read seldom, so many that a slow worker holds up nobody


def score_everybody(config: Config, out: Path, models: list[str], **options: Any) -> dict[str, Any]:
    """`serving.bulk.run.score_everybody` on the cluster ``config.spark_master``; ``out`` must be seen by every worker.

    Raises
    ------
    FeatureError
        When there is no cluster.
    """
    session(config)  # before anything is written
    return run.score_everybody(config, out.absolute(), models, **options, on=Cluster)


class Cluster(run.Run):
    """A run whose parts are written by workers."""

    def all(self, job: run.Job) -> tuple[float, int]:
        """Write every part of a model that is not there yet; the seconds it took, and how many were there."""
        began = time.monotonic()
        todo = [part for part in job.source.parts if self.folder.rows(job.model, part.number) is None]
        users = sum(part.rows for part in todo)
        self.count(job.source.rows - users)
        if todo:
            self._work(job, todo, users)
        return time.monotonic() - began, len(job.source.parts) - len(todo)

    def _work(self, job: run.Job, todo: list[Part], users: int) -> None:
        spark = session(self.config)
        tasks = min(len(todo), _TASKS_PER_CORE * spark.sparkContext.defaultParallelism)
        places = spark.range(0, len(todo), 1, tasks).mapInArrow(
            _writer(self.config, self.folder.path, job, todo), _SCHEMA
        )
        failed: list[Exception] = []

        def work() -> None:
            try:
                places.write.format("noop").mode("overwrite").save()
            except Exception as error:
                failed.append(error)

        worker = threading.Thread(target=work, name="spark")
        worker.start()
        try:
            left = list(todo)
            while worker.is_alive():
                worker.join(0.5)
                done = [part for part in left if self.folder.part(job.model, part.number).exists()]
                left = [part for part in left if part not in done]
                self.count(sum(part.rows for part in done))
                now = users - sum(part.rows for part in left)
                self.show(f"{job.model} · {now:,} of {users:,} users · {tasks} tasks")
        except BaseException:  # Ctrl-C: the workers end what they are doing
            spark.sparkContext.cancelAllJobs()
            worker.join()
            raise
        unseen = [part.number for part in todo if self.folder.rows(job.model, part.number) is None]
        if unseen and not failed:
            raise UseropsError(
                f"the cluster wrote parts of {job.model} that are not in {self.folder.path}",
                got=f"{len(unseen)} of {len(todo)} parts missing",
                because="the folder is not the same one on every machine",
                run="the same command with --out on a folder that all of them share",
            )
        if failed:
            raise UseropsError(
                f"the cluster failed on {job.model}",
                because=_reason(failed[0]),
                run="the same command again: finished parts are kept",
            ) from failed[0]


def _writer(config: Config, out: Path, job: run.Job, todo: list[Part]) -> Callable[..., Iterator[pa.RecordBatch]]:
    """What a worker does with the numbers of parts; it takes along plain values only."""
    model, source, release, how = job.model, job.source, job.release, job.how
    environment = {name: value for name, value in os.environ.items() if name.startswith("USEROPS_")}

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        os.environ.update(environment)
        made, here = None, run.Run(config, Folder(out), 0, None)
        for batch in batches:
            for part in (todo[place] for place in batch.column(0).to_numpy().tolist()):
                made = made or run.job_of(model, source, release, how)
                here.part(made, part)
                yield pa.RecordBatch.from_pydict({"part": [part.number], "users": [part.rows]})

    return write


def _reason(error: Exception) -> str:
    """The line of a worker's traceback that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "Error: " in line), lines[0] if lines else type(error).__name__)
