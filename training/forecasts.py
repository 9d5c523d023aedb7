"""What a procedure would have said at past origins, beside what followed: the ground on which models are compared.

::

    ── origins to learn from ──┬── origin ──┬──────────── known until
         windows over at origin│            │
                               └ fit        └ (origin, origin + horizon]: y

At each origin the procedure is fitted anew to the rows whose label windows were over then, and asked about everybody in
the cohort. One file per origin: whoever kills the work loses one origin, and the same question twice costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from configs import Config, ModelConfig
from configs.errors import TrainingError
from features.catalog import NAMES, digest
from features.events import content_hash, span
from features.forgotten import Forgotten, place
from features.periods import as_utc, midnight, now
from features.source_code import digest_of, features_digest
from serving.scoring.interest.model import NAME as INTEREST
from serving.scoring.value.model import NAME as VALUE
from training.labels import MONTH_HORIZON
from training.splits import rolling

__all__ = ["Forecasts", "Past", "Recipe", "code_digest", "forecasts", "keep", "kept", "known_until", "past_origins"]

Progress = Callable[[str, float], None]

# What the answer depends on besides data and settings: the code of the procedure, of features and of the models that
# it asks. Folders stand for all in them.
SCORING = ("serving/scoring",)
CODE = (
    *("baselines.py", "boost.py", "calibrate.py", "dataset.py", "forecasts.py", "forecasts_of_pairs.py"),
    *(
        "forecasts_of_spend.py",
        "forecasts_of_users.py",
        "labels.py",
        "level.py",
        "models.py",
        "npmle.py",
        "prepare.py",
        "segments.py",
    ),
    *("splits.py", "stack.py", "teacher.py", "interest", "value"),
)
# Fewer origins than this say nothing of how much time changes.
FEW = 3
LOG = b"log"


@dataclass(frozen=True)
class Recipe:
    """What makes one procedure differ from another: LightGBM parameters over the defaults, features it may see, seed.

    ``seed`` None stands for the one of the project. The interest model has features of its own and sees all of them.
    """

    lightgbm: Mapping[str, Any]
    features: tuple[str, ...] = NAMES
    seed: int | None = None

    @classmethod
    def of_version(cls, meta: Mapping[str, Any]) -> Recipe:
        """The recipe of a registered version, from its ``model.json``.

        Examples
        --------
        >>> Recipe.of_version({"recipe": {"lightgbm": {"num_leaves": 7}, "features": ["a"], "seed": 3}})
        Recipe(lightgbm={'num_leaves': 7}, features=('a',), seed=3)
        """
        recipe = meta["recipe"]
        seen = None if meta.get("name") == INTEREST else recipe.get("features")
        return cls(recipe.get("lightgbm") or {}, tuple(seen) if isinstance(seen, list) else NAMES, recipe.get("seed"))


@dataclass(frozen=True)
class Forecasts:
    """What was foreseen at past origins with what was known then, beside what followed.

    ``frame`` has a row per origin, head and user, or per pair of a user and an item:

    ==================  ==========================================================================================
    ``user_id``         string
    ``as_of``           the origin, datetime64[us, UTC]
    ``head``            string
    ``item``            string, only where pairs of a user and an item or category are judged
    ``category``        string, of the same pairs: that of the item, or the category itself
    ``y``               what followed: 0 or 1; the spend in the horizon
    ``p``               the calibrated probability; the expected spend
    ``raw``             what orders users: a calibrator may make ties, the raw score does not
    ``baseline.NAME``   what a baseline said, as ``p``; NaN where the head has none of that name
    ``segment.NAME``    string, ``unknown`` where the events do not tell; see `training.segments`
    ==================  ==========================================================================================

    ``kind`` is ``probability`` or ``spend``. ``log`` says per origin what was learned from, until when, how long it
    took, whether it was read from a file, and what was left out.
    """

    frame: pd.DataFrame
    kind: str
    log: dict[str, Any]

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names of the baselines."""
        return tuple(column.partition(".")[2] for column in self.frame.columns if column.startswith("baseline."))

    def of(self, head: str) -> pd.DataFrame:
        """The rows of one head, with a fresh index."""
        return self.frame[self.frame["head"] == head].reset_index(drop=True)


class Past(Protocol):
    """A procedure that can be asked at any past origin: the columns of `Forecasts` but ``as_of``, and its log."""

    def at(self, origin: datetime) -> tuple[pd.DataFrame, dict[str, Any]]:
        """What would have been said at ``origin``, beside what followed until now."""
        ...


def forecasts(
    config: Config,
    model: ModelConfig,
    origins: Sequence[datetime],
    progress: Progress | None = None,
    *,
    recipe: Recipe | None = None,
) -> Forecasts:
    """Ask the procedure at each of ``origins``; what a file of the home answers already is read from it.

    Parameters
    ----------
    recipe
        The procedure's settings; those of the model's YAML file when absent.

    Raises
    ------
    TrainingError
        When nothing can be learned, or nothing has followed, at any of ``origins``.
    """
    recipe = recipe or Recipe(model.lightgbm)
    show = progress or (lambda message, fraction: None)
    asked = sorted({as_utc(origin) for origin in origins})
    files = {origin: _file(config, model, recipe, origin) for origin in asked}
    missing = [origin for origin in asked if not files[origin].exists()]
    past = _past(config, model, recipe, missing, lambda m, f: show(m, 0.3 * f)) if missing else None
    for number, origin in enumerate(missing):
        show(f"as of {origin:%Y-%m-%d}", 0.3 + 0.7 * number / len(missing))
        started = time.monotonic()
        assert past is not None
        frame, log = past.at(origin)
        _write(config, files[origin], frame, {**log, "seconds": round(time.monotonic() - started, 3)})
    tables = {origin: pq.read_table(files[origin]) for origin in asked}
    frames = [_framed(table, origin) for origin, table in tables.items() if table.num_rows]
    logs = [
        {"origin": origin.isoformat(), **json.loads(table.schema.metadata[LOG]), "cached": origin not in missing}
        for origin, table in tables.items()
    ]
    if not frames:
        raise TrainingError(
            f"{model.name}: nothing to forecast at any of {len(asked)} origins",
            got=[log.get("left_out") for log in logs][:1],
            expected="users in a cohort, labels to learn from before the origin, and a window that is over",
            run="userops status",
        )
    kind = "spend" if model.name == VALUE else "probability"
    context = {"data_hash": content_hash(config), "catalogue_digest": digest(), "recipe": asdict(recipe)}
    known = known_until(config).isoformat()
    return Forecasts(pd.concat(frames, ignore_index=True), kind, {"origins": logs, "known_until": known, **context})


def kept(config: Config, model: ModelConfig, recipe: Recipe, origins: Sequence[datetime]) -> tuple[datetime, ...]:
    """Those of ``origins`` that `forecasts` answers from a file: by training, or by an earlier question."""
    return tuple(origin for origin in origins if _file(config, model, recipe, as_utc(origin)).exists())


def keep(
    config: Config, model: ModelConfig, recipe: Recipe, origin: datetime, frame: pd.DataFrame, log: Mapping[str, Any]
) -> None:
    """Remember what training found out when it judged itself at ``origin``, so that `forecasts` need not ask again.

    ``frame`` and ``log`` are those of `Past.at` with the same recipe: the same procedure, or this file would lie.
    """
    _write(config, _file(config, model, recipe, origin), frame, log)


def known_until(config: Config) -> datetime:
    """The last midnight until which all events are known; a clock ahead of ours may have stamped some with tomorrow."""
    return midnight(min(span(config)[1], now(config)))


def past_origins(config: Config, model: ModelConfig, count: int, every: int = 1) -> tuple[datetime, ...]:
    """The last ``count`` origins at which the model can be judged, oldest first, ``every`` steps of its grid apart.

    Every label window is over at the last of them. Where the history is so short that this leaves fewer than three,
    the longest horizon does not decide: its head is judged at fewer origins, or not at all.

    Raises
    ------
    TrainingError
        When the history is too short to learn and to judge even the shortest horizon.
    """
    days = sorted({float(head.get("horizon_days", MONTH_HORIZON)) for head in model.heads.values()})
    first, until = span(config)[0], known_until(config)
    for longest in range(len(days), 1, -1):
        try:
            found = rolling(model.origins, days[:longest], first, until, count, every)
        except TrainingError:
            continue
        if len(found) >= min(count, FEW):
            return found
    return rolling(model.origins, days[:1], first, until, count, every)


def _past(config: Config, model: ModelConfig, recipe: Recipe, origins: Sequence[datetime], show: Progress) -> Past:
    """The procedure of a model's kind; each imports what only it needs."""
    if model.name == INTEREST:
        from training.forecasts_of_pairs import PastOfPairs

        return PastOfPairs(config, model, recipe, known_until(config), show)
    if model.name == VALUE:
        from training.forecasts_of_spend import PastOfSpend

        return PastOfSpend(config, model, recipe, origins, known_until(config), show)
    from training.forecasts_of_users import PastOfUsers

    return PastOfUsers(config, model, recipe, origins, known_until(config), show)


def _file(config: Config, model: ModelConfig, recipe: Recipe, origin: datetime) -> Path:
    """Named after everything that the answer depends on."""
    whole = asdict(model)
    question = {
        "model": {name: whole[name] for name in ("name", "cohorts", "heads", "origins", "timing")},
        "recipe": {**asdict(recipe), "seed": config.seed if recipe.seed is None else recipe.seed},
        "origin": origin.isoformat(),
        "known_until": known_until(config).isoformat(),
        "data": content_hash(config),
        "catalogue": digest(),
        "code": code_digest(),
    }
    name = hashlib.sha256(json.dumps(question, sort_keys=True, default=str).encode()).hexdigest()
    return config.home / "backtests" / f"{name}.parquet"


@cache
def code_digest() -> str:
    """Of the code that a forecast runs through, LightGBM included; the files are read once in a process."""
    room = Path(__file__).parent
    parts = [digest_of(room, CODE), digest_of(room.parent, SCORING), features_digest(), version("lightgbm")]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _write(config: Config, file: Path, frame: pd.DataFrame, log: Mapping[str, Any]) -> None:
    """The whole file or none, without whoever was forgotten while it was computed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        pq.write_table(table.replace_schema_metadata({LOG: json.dumps(log, default=str)}), part, compression="zstd")
        place(config, part, file, Forgotten())
    finally:
        part.unlink(missing_ok=True)


def _framed(table: pa.Table, origin: datetime) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    as_of = pd.Series(pd.DatetimeIndex([origin] * len(frame)).as_unit("us"))
    frame.insert(1, "as_of", as_of)
    return frame
