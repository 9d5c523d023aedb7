"""The folder that a bulk run writes: parts that appear whole, one writer, and a manifest of what they were made from.

::

    PATH/
      manifest.json             what every part was made from, and how far each model is
      churn/part-00000.parquet  ... the parts of a model, in the order of the snapshot
      .lock, .work/             of the run that is going on

A part is there or it is not: it is written beside its place, flushed to the disk, and renamed. So a run that is killed
loses the parts that it was writing, and the next one does those again.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.errors import UseropsError
from serving.bulk.columns import UNAVAILABLE

__all__ = ["FORMAT", "Folder"]

FORMAT = 1
_AGAIN = "the same command with --fresh, which removes these scores, or another --out"


class Folder:
    """``PATH`` of one bulk run."""

    def __init__(self, path: Path) -> None:
        self.path, self.work = path, path / ".work"
        self._file = path / "manifest.json"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The only writer of this folder, or a refusal at once; a dead writer holds nothing."""
        if self.path.exists() and not self._file.exists() and self._strangers():
            raise UseropsError(
                f"{self.path} is not a folder of scores",
                got=self._strangers()[:3],
                expected="a new or empty folder, or one with a manifest.json of an earlier run",
            )
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                holder = stream.read().strip() or "unknown"
                raise UseropsError(
                    f"another run writes into {self.path}", got=f"process {holder}", run=f"ps -p {holder}"
                ) from None
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield

    def begin(self, made_from: Mapping[str, Any], models: Mapping[str, Any], fresh: bool) -> dict[str, Any]:
        """The manifest with which to go on: the one that is there, if it was made from the same, or a new one.

        Parameters
        ----------
        made_from
            What must be the same for all parts: release, snapshot, options; but ``scored_at``, the instant that counts
            as now, is kept from the first run.
        models
            By name, what must be the same for the parts of one model; other models may be there already.

        Raises
        ------
        UseropsError
            When the parts that are there were made from something else, unless ``fresh``.
        """
        there = self.manifest()
        if there is not None and fresh:
            self._clear(there)
            there = None
        if there is not None:
            _compare(self.path, there, {"format": FORMAT, **made_from}, kept=("scored_at", "models"))
            for name, one in models.items():
                if name in there["models"]:
                    _compare(self.path / name, there["models"][name], one, kept=("finished_at", "parts", "staged"))
        manifest = there or {"format": FORMAT, **made_from, "models": {}}
        manifest["models"] = {**models, **manifest["models"]}
        self.write(manifest)
        for name in models:
            (self.path / name).mkdir(exist_ok=True)
            for left in (self.path / name).glob(".part-*"):
                left.unlink()
        return manifest

    def same(self, manifest: dict[str, Any], model: str, name: str, value: str) -> None:
        """Note of what the parts of a model are made, found only now; refused when parts of another are there."""
        there = manifest["models"][model]
        if any((self.path / model).glob("part-*.parquet")):
            _compare(self.path / model, {name: there.get(name, value)}, {name: value}, kept=())
        there[name] = value
        self.write(manifest)

    def write(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest."""
        beside = self.path / ".manifest.json"
        with beside.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(self._file)

    def part(self, model: str, number: int) -> Path:
        """Where a part is, once it is whole."""
        return self.path / model / f"part-{number:05d}.parquet"

    def rows(self, model: str, number: int) -> int | None:
        """How many rows a finished part has; None when it is not there."""
        try:
            return int(pq.read_metadata(self.part(model, number)).num_rows)
        except (OSError, pa.ArrowInvalid):
            return None

    def unavailable(self, model: str, number: int) -> int:
        """How many users of a part have no scores because nobody can read what is stored of them."""
        told = pq.read_table(self.part(model, number), columns=["status_reason"])["status_reason"]
        return len(told.filter(pc.equal(told, pa.scalar(UNAVAILABLE))))

    def finished(self, manifest: Mapping[str, Any], model: str) -> list[int] | None:
        """The rows of every part of a model that an earlier run finished; None when it did not, or parts are gone."""
        parts = manifest["models"].get(model, {}).get("parts", 0)
        rows = [self.rows(model, number) for number in range(parts)]
        return None if not rows or None in rows else [row for row in rows if row is not None]

    @contextmanager
    def writing(self, model: str, number: int, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
        """A part that appears when the block ends, and never when it raises."""
        path = self.part(model, number)
        # A name of its own: a cluster may try a part again while the first try still writes.
        beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with pq.ParquetWriter(beside, schema, compression="zstd", compression_level=1) as writer:
                yield writer
            with beside.open("rb") as stream:
                os.fsync(stream.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def _strangers(self) -> list[str]:
        if not self.path.is_dir():
            return [f"the file {self.path.name}"]
        return sorted(one.name for one in self.path.iterdir() if one.name not in (".lock", ".work", ".manifest.json"))

    def manifest(self) -> dict[str, Any] | None:
        """What is said of the scores that are there; None where there are none."""
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UseropsError(f"{self._file} cannot be read", got=str(error), run=_AGAIN) from None
        if not isinstance(content, dict) or not isinstance(content.get("models"), dict):
            raise UseropsError(f"{self._file} is not the manifest of a bulk run", run="another --out")
        return content

    def _clear(self, manifest: Mapping[str, Any]) -> None:
        """Remove what earlier runs wrote, and nothing else; the manifest last, or a killed run leaves strangers."""
        shutil.rmtree(self.work, ignore_errors=True)
        for name in manifest["models"]:
            for pattern in ("part-*.parquet", ".part-*"):
                for part in (self.path / Path(name).name).glob(pattern):
                    part.unlink()
        self._file.unlink()


def _compare(path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any], kept: tuple[str, ...]) -> None:
    differing = [name for name in {**wanted, **there} if name not in kept and there.get(name) != wanted.get(name)]
    if differing:
        raise UseropsError(
            f"{path} holds scores that were made from something else",
            got={name: there.get(name) for name in differing},
            expected={name: wanted.get(name) for name in differing},
            because="release, snapshot or options changed since: parts of both would be mixed",
            run=_AGAIN,
        )
