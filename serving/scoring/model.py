"""A model: boosters in LightGBM's text format and one ``model.json`` that says how to ask them.

Layout of a model folder, written by ``write_model`` and read by ``Model.load``::

    model.json     format, name, version, features in order, catalogue_digest, boosters with SHA-256, heads, cohorts,
                   timing, cold_start, and whatever training adds (training, metrics, maturity, ...)
    inactive.txt   one LightGBM text file per booster

``boosters.<name>.horizon_column``: the booster's last column is the horizon in days: one booster answers every
horizon. ``boosters.<name>.monotone`` (``increasing`` or ``decreasing``) promises the direction of the raw score along
it; the calibrators of its heads must keep that promise. ``timing.head_grid`` names the booster, the horizons and one
calibrator for all or each, from which the waiting time until the next order is read; ``timing.cohort`` for whom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from configs.errors import BundleError, FeatureError
from serving.scoring import waiting
from serving.scoring.calibrator import Calibrator, read_calibrator
from serving.scoring.folder import FORMAT, read_folder, write_folder
from serving.scoring.head import Cohort, Head, check_family, read_cohort, read_head
from serving.scoring.margins import Margins
from serving.scoring.treeshap import TreeShap

__all__ = ["FORMAT", "LEVELS", "Model", "write_model"]

Floats = NDArray[np.float64]

_MANY_THREADS = 4  # from here on LightGBM's threads are sooner than `Margins`, which has one
LEVELS = (0.1, 0.5, 0.9)  # median and 80 % interval of the waiting time


class Model:
    """What one model folder answers.

    ``x`` is always float64[n, f] with the columns of ``features`` in that order, NaN where a value is absent.
    """

    kind: ClassVar[str] = "users"  # one row of user features per answer

    def __init__(self, meta: Mapping[str, Any], boosters: Mapping[str, lgb.Booster], digest: str, where: str) -> None:
        self.meta = dict(meta)
        self.digest = digest
        self.name: str = meta["name"]
        self.version = str(meta["version"])
        self.run_id = str(meta["run_id"])
        self.catalogue_digest: str = meta["catalogue_digest"]
        self.features: tuple[str, ...] = tuple(meta["features"])
        self.cold_start: dict[str, float] = dict(meta.get("cold_start", {}))
        self.cohorts: dict[str, Cohort] = {
            name: read_cohort(name, content, self.features, where) for name, content in meta.get("cohorts", {}).items()
        }
        self.heads: dict[str, Head] = {
            name: read_head(name, content, f"{where}: {name}") for name, content in meta["heads"].items()
        }
        self.boosters = own = dict(boosters)
        # Worked out when first needed, of each booster once.
        self._explainer = cache(lambda name: TreeShap.of(own[name]))
        self._margins = cache(lambda name: Margins.of(own[name]))
        self._horizon = {name: bool(one.get("horizon_column")) for name, one in meta["boosters"].items()}
        self._grid = meta.get("timing", {}).get("head_grid")
        self.timing_cohort = self._timing_cohort(meta.get("timing", {}))
        self._grid_calibrators: list[Calibrator] = []
        self._check(where)

    @classmethod
    def load(cls, folder: Path, expected_sha256: str | None = None) -> Self:
        """The model in ``folder``; every file is verified before it is parsed."""
        read = read_folder(folder, expected_sha256)
        if (kind := read.meta.get("kind", Model.kind)) != cls.kind:
            raise BundleError(f"{read.where}: another kind of model", got=kind, expected=cls.kind)
        try:
            return cls(read.meta, read.boosters, read.digest, read.where)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{read.where} does not have the shape of a model", got=repr(error)) from None

    def columns(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Where each feature of this model stands among ``names``: ``vector[:, columns]`` is its ``x``."""
        place = {name: index for index, name in enumerate(names)}
        if missing := [name for name in self.features if name not in place]:
            raise BundleError(f"model {self.name}: no such feature", got=missing[:5], expected=f"{len(names)} names")
        return np.array([place[name] for name in self.features], dtype=np.intp)

    def raw(self, x: Floats, head: str, *, threads: int = 1) -> Floats:
        """The booster's margin in log-odds, float64[n], before calibration: rank by this."""
        return self.raws(x, [head], threads=threads)[head]

    def raws(self, x: Floats, heads: Sequence[str], *, threads: int = 1) -> dict[str, Floats]:
        """`raw` of several heads: one question to each booster, however many horizons it answers."""
        return {
            name: raw
            for booster, names in self._by_booster(heads).items()
            for name, raw in zip(names, self._raw(booster, x, self._horizons(names), threads), strict=True)
        }

    def probability(self, x: Floats, head: str, *, threads: int = 1) -> Floats:
        """The calibrated probability, float64[n] in [0, 1]."""
        return self._head(head).calibrator(self.raw(x, head, threads=threads))

    def percentile(self, raw: Floats, head: str) -> Floats:
        """The share of the reference population, in [0, 100], with a smaller raw score."""
        return self._head(head).percentile(raw)

    def contributions(self, x: Floats, head: str, *, threads: int = 1) -> tuple[Floats, Floats]:
        """Exact TreeSHAP values of the raw score, float64[n, f], and the base values, float64[n].

        ``contributions.sum(axis=1) + base == raw`` up to rounding. The horizon is the question and not a reason: its
        share is part of the base value.
        """
        return self.explained(x, [head], threads=threads)[head]

    def explained(self, x: Floats, heads: Sequence[str], *, threads: int = 1) -> dict[str, tuple[Floats, Floats]]:
        """`contributions` of several heads: one question to each booster."""
        return {
            name: (phi, base)
            for booster, names in self._by_booster(heads).items()
            for name, phi, base in zip(names, *self._explained(booster, x, self._horizons(names), threads), strict=True)
        }

    def prepare(self) -> None:
        """Work out now what the first `contributions` of every booster would."""
        for name in self.boosters:
            self._explainer(name)
            if (margins := self._margins(name)) is not None:
                margins(np.zeros((1, margins.width)))

    def in_cohort(self, x: Floats, head: str) -> NDArray[np.bool_]:
        """For which rows the head has an answer: bool[n]."""
        return self._contains(self._head(head).cohort, x)

    def in_timing_cohort(self, x: Floats) -> NDArray[np.bool_]:
        """For which rows ``next_order`` has an answer (``timing.cohort``): bool[n]."""
        return self._contains(self.timing_cohort, x)

    def next_order(self, x: Floats, *, threads: int = 1) -> Floats | None:
        """Days until the next order at ``LEVELS``: float64[n, 3], NaN beyond the last horizon; None without timing."""
        if self._grid is None:
            return None
        horizons = [float(days) for days in self._grid["horizons_days"]]
        raw = self._raw(self._grid["booster"], x, horizons, threads)
        columns = [calibrator(one) for calibrator, one in zip(self._grid_calibrators, raw, strict=True)]
        return waiting.quantiles(np.stack(columns, axis=1), horizons, LEVELS)

    @property
    def last_horizon_days(self) -> float:
        """Beyond how many days ``next_order`` is NaN."""
        return float(self._grid["horizons_days"][-1]) if self._grid else 0.0

    def _timing_cohort(self, timing: Mapping[str, Any]) -> str | None:
        booster = (self._grid or {}).get("booster")
        shared = {head.cohort for head in self.heads.values() if head.booster == booster}
        given = timing.get("cohort", shared.pop() if len(shared) == 1 else None)
        return None if given is None else str(given)

    def _contains(self, cohort: str | None, x: Floats) -> NDArray[np.bool_]:
        return np.ones(len(x), dtype=np.bool_) if cohort is None else self.cohorts[cohort].contains(x, self.features)

    def _by_booster(self, heads: Sequence[str]) -> dict[str, list[str]]:
        asked: dict[str, list[str]] = {}
        for head in heads:
            asked.setdefault(self._head(head).booster, []).append(head)
        return asked

    def _horizons(self, heads: Sequence[str]) -> list[float | None]:
        return [self.heads[head].horizon_days for head in heads]

    def _raw(self, booster: str, x: Floats, horizons: Sequence[float | None], threads: int) -> Floats:
        """float64[h, n]."""
        asked = self._asked(booster, x, horizons)
        if len(x) == 0:
            return np.empty((len(horizons), 0))
        margins = self._margins(booster) if threads < _MANY_THREADS else None
        raw = self._predict(booster, asked, threads, raw_score=True) if margins is None else margins(asked)
        rows = raw.reshape(-1, len(x))
        return rows if len(rows) == len(horizons) else np.broadcast_to(rows, (len(horizons), len(x)))

    def _explained(
        self, booster: str, x: Floats, horizons: Sequence[float | None], threads: int
    ) -> tuple[Floats, Floats]:
        """float64[h, n, f] and float64[h, n]."""
        width, many = len(self.features), len(horizons)
        if len(x) == 0:
            return np.empty((many, 0, width)), np.empty((many, 0))
        if (shap := self._explainer(booster)) is None:
            phi, expected = self._predict(booster, self._asked(booster, x, horizons), threads, pred_contrib=True), 0.0
        elif self._horizon[booster]:
            phi, expected = shap.at(self._checked(x), [float(days or 0.0) for days in horizons])
        else:
            phi, expected = shap(self._checked(x))
        phi = phi.reshape(-1, len(x), phi.shape[-1])
        base = phi[:, :, width:].sum(axis=2) + expected
        return (
            np.broadcast_to(phi[:, :, :width], (many, len(x), width)),
            np.broadcast_to(base, (many, len(x))),
        )

    def _predict(self, booster: str, asked: Floats, threads: int, **how: bool) -> Floats:
        return np.asarray(self.boosters[booster].predict(asked, num_iteration=-1, num_threads=threads, **how), float)

    def _asked(self, booster: str, x: Floats, horizons: Sequence[float | None]) -> Floats:
        """All rows once per horizon; once where the booster knows of none."""
        if not self._horizon[booster]:
            return self._checked(x)
        rows = np.empty((len(horizons), len(x), x.shape[1] + 1))
        rows[:, :, :-1] = self._checked(x)
        rows[:, :, -1] = np.array(horizons, dtype=np.float64)[:, None]
        return rows.reshape(-1, x.shape[1] + 1)

    def _checked(self, x: Floats) -> Floats:
        if x.ndim != 2 or x.shape[1] != len(self.features):
            raise FeatureError(f"model {self.name}: wrong width", got=x.shape, expected=f"[n, {len(self.features)}]")
        return x

    def _head(self, name: str) -> Head:
        try:
            return self.heads[name]
        except KeyError:
            raise BundleError(f"model {self.name} has no head", got=name, expected=sorted(self.heads)) from None

    def _check(self, where: str) -> None:
        if self.timing_cohort is not None and self.timing_cohort not in self.cohorts:
            raise BundleError(f"{where}: timing names an unknown cohort", got=self.timing_cohort)
        for name, booster in self.boosters.items():
            expected = [*self.features, *(["horizon_days"] if self._horizon[name] else [])]
            names = booster.feature_name()
            unnamed = all(given == f"Column_{index}" for index, given in enumerate(names))
            if len(names) != len(expected) or not (unnamed or names == expected):
                differ = [pair for pair in zip(names, expected, strict=False) if pair[0] != pair[1]]
                raise BundleError(
                    f"{where}: booster {name!r} was trained on other columns",
                    got=[len(names), *(got for got, _ in differ[:3])],
                    expected=[len(expected), *(wanted for _, wanted in differ[:3])],
                )
        for head in self.heads.values():
            if head.booster not in self.boosters:
                raise BundleError(f"{where}: {head.name} names an unknown booster", got=head.booster)
            if head.cohort is not None and head.cohort not in self.cohorts:
                raise BundleError(f"{where}: {head.name} names an unknown cohort", got=head.cohort)
            if self._horizon[head.booster] and head.horizon_days is None:
                raise BundleError(f"{where}: {head.name} has no horizon_days", expected="a number of days")
        for name, one in self.meta["boosters"].items():
            direction = one.get("monotone")
            if direction is not None:
                if direction not in ("increasing", "decreasing"):
                    raise BundleError(f"{where}: monotone", got=direction, expected="increasing or decreasing")
                sign = 1 if direction == "increasing" else -1
                trained = (self.boosters[name].params.get("monotone_constraints") or [0])[-1]
                if not self._horizon[name] or trained != sign:
                    raise BundleError(
                        f"{where}: booster {name!r} was not trained to be {direction} in the horizon",
                        got=f"monotone constraint {trained} of its last column",
                        expected=f"{sign}, of a horizon_column",
                    )
                check_family(direction, (head for head in self.heads.values() if head.booster == name), where)
        if unanswered := sorted(set(self.heads) - set(self.cold_start)):
            raise BundleError(f"{where}: cold_start", got=sorted(self.cold_start), expected=f"also {unanswered}")
        if self._grid is not None:
            self._check_grid(where)

    def _check_grid(self, where: str) -> None:
        grid = self._grid
        horizons = [float(days) for days in grid.get("horizons_days", [])]
        rising = horizons == sorted(set(horizons)) and bool(horizons) and horizons[0] > 0
        if not rising or not self._horizon.get(grid.get("booster", ""), False):
            raise BundleError(
                f"{where}: timing.head_grid",
                got=grid,
                expected="a booster with a horizon_column, horizons_days rising from above 0, calibrator",
            )
        given = grid.get("calibrator", {"kind": "sigmoid", "slope": 1.0, "intercept": 0.0})
        each = given if isinstance(given, list) else [given] * len(horizons)
        if len(each) != len(horizons):
            raise BundleError(f"{where}: timing.head_grid.calibrator", got=len(each), expected=len(horizons))
        self._grid_calibrators = [read_calibrator(one, f"{where}: timing.head_grid") for one in each]


def write_model(folder: Path, meta: Mapping[str, Any], boosters: Mapping[str, str]) -> Model:
    """Write a model folder and read it back: what could not be served cannot be written.

    Parameters
    ----------
    folder
        New or empty.
    meta
        ``model.json`` without ``format`` and without the files and hashes: ``boosters.<name>`` may hold
        ``horizon_column`` and ``monotone``.
    boosters
        The LightGBM text (``Booster.model_to_string()``) of every booster.
    """
    write_folder(folder, meta, boosters)
    return Model.load(folder)
