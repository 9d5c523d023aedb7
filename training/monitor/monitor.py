"""``userops monitor``: one verdict per served model, from shifts, calibration and freshness, with its reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import Config, model_of
from configs.errors import CatalogueMismatch
from features.catalog import digest
from features.periods import DAY
from serving.scoring.model import Model
from training.monitor.calibration import HeadCalibration
from training.monitor.freshness import Freshness, freshness
from training.monitor.reference import COHORT
from training.monitor.served import Served, read_vectors, served_shifts
from training.monitor.shifts import Shift, drifted_weight, shifts
from training.monitor.watched import Watched
from training.registry import CHAMPION, Registry

__all__ = ["LARGE_WEIGHT", "Monitoring", "Reason", "monitor", "verdict_of"]

Progress = Callable[[str, float], None]
Reason = dict[str, str]

# Features that carry less of the model than this may drift as they like.
LARGE_WEIGHT = 0.05


@dataclass(frozen=True)
class Monitoring:
    """What one look found: ``verdict`` is ``drift``, ``stale`` (fresh features are missing) or ``quiet``.

    ``reasons`` hold a ``code`` and the words in ``en`` and ``zh``; empty when all is quiet.
    """

    model: str
    version: str
    verdict: str
    reasons: list[Reason]
    trained_until: str
    as_of: str
    age_days: float
    rows: int
    drifted_weight: float
    shifts: list[Shift]
    calibration: list[HeadCalibration]
    freshness: Freshness
    served: Served | None

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON."""
        served = self.served and {
            "users": self.served.users,
            "to_training": [one.as_json() for one in self.served.to_training],
            "to_offline": [one.as_json() for one in self.served.to_offline],
        }
        return {
            **{name: getattr(self, name) for name in ("model", "version", "verdict", "reasons", "trained_until")},
            **{name: getattr(self, name) for name in ("as_of", "age_days", "rows", "drifted_weight")},
            "shifts": [one.as_json() for one in self.shifts],
            "calibration": [one.as_json() for one in self.calibration],
            "freshness": self.freshness.as_json(),
            "served": served,
        }


def monitor(
    config: Config,
    model: str,
    version: str = CHAMPION,
    progress: Progress | None = None,
    *,
    served: Path | None = None,
) -> Monitoring:
    """Look at one version (a number or an alias).

    Parameters
    ----------
    served
        An export of the decision log (`userops decisions export`); without it nothing is said of served vectors.

    Raises
    ------
    RegistryError
        When there is no such version.
    CatalogueMismatch
        When it reads other features than there are today: nothing can be compared, and nothing served.
    """
    show = progress or (lambda message, fraction: None)
    watched = Watched(config, model_of(config, model), Registry(config).version(model, version), show)
    if watched.scorer.catalogue_digest != digest():
        raise CatalogueMismatch(
            f"{model} version {watched.version.version} was trained on another feature catalogue",
            got=watched.scorer.catalogue_digest,
            expected=digest(),
            run=f"userops retrain {model}",
        )
    show("reference", 0.1)
    reference = watched.reference
    show("features of today", 0.3)
    present = watched.present()
    moved = shifts(reference, present, config.seed)
    show("calibration since training", 0.6)
    calibration = watched.calibration()
    beside = None
    if served is not None and isinstance(watched.scorer, Model):
        show("served vectors", 0.85)
        vectors = read_vectors(served)
        beside = served_shifts(config, watched.scorer, reference, vectors, watched.today) if len(vectors) else None
    fresh = freshness(config)
    verdict, reasons = verdict_of(moved, calibration, fresh, beside.to_offline if beside else [])
    show("looked", 1.0)
    return Monitoring(
        model,
        watched.version.version,
        verdict,
        reasons,
        reference.as_of.isoformat(),
        watched.today.isoformat(),
        (watched.today - reference.as_of) / DAY,
        present.rows,
        drifted_weight(moved),
        moved,
        calibration,
        fresh,
        beside,
    )


def verdict_of(
    moved: Sequence[Shift],
    calibration: Sequence[HeadCalibration],
    fresh: Freshness,
    served: Sequence[Shift] = (),
) -> tuple[str, list[Reason]]:
    """``drift`` when the model's inputs, scores or truth have changed; else ``stale`` or ``quiet``; with reasons."""
    reasons: list[Reason] = []
    for code, found, en, zh in (
        ("features", moved, "have moved since training", "自训练以来已漂移"),
        ("served", served, "differ between what was served and what the store says offline", "线上取值与离线不一致"),
    ):
        weight = drifted_weight(found)
        # Of served vectors also who belongs to a cohort at all: of nobody there is no feature to compare.
        kinds = ("feature", "score") if code == "served" else ("feature",)
        names = [one.name for one in found if one.kind in kinds and one.status == "drifted"]
        if weight >= LARGE_WEIGHT or COHORT in names:
            listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
            reasons.append(
                {
                    "code": code,
                    "en": f"{len(names)} features that carry {weight:.0%} of the model {en}: {listed}",
                    "zh": f"占模型权重 {weight:.0%} 的 {len(names)} 个特征{zh}：{listed}",
                }
            )
    reasons += [
        {
            "code": "scores",
            "en": f"the scores of {one.name} have moved: PSI {one.psi:.2f}, KS {one.ks:.2f}",
            "zh": f"{one.name} 的得分分布已漂移：PSI {one.psi:.2f}，KS {one.ks:.2f}",
        }
        for one in moved
        if one.kind == "score" and one.status == "drifted"
    ]
    reasons += [_said(one) for one in calibration if one.status in ("drifted", "worse_order")]
    if reasons:
        return "drift", reasons
    if fresh.stale:
        told: Mapping[str, str] = {
            "en": f"published features are {fresh.age_hours:.0f} h old, {fresh.limit_hours:.0f} h are allowed",
            "zh": f"已发布特征距今 {fresh.age_hours:.0f} 小时，上限 {fresh.limit_hours:.0f} 小时",
        }
        return "stale", [{"code": "freshness", **told}]
    return "quiet", []


def _said(one: HeadCalibration) -> Reason:
    if one.status == "drifted" and one.loss is not None:
        numbers = f"{one.mean_prediction:.3f} / {one.observed:.3f}"
        return {
            "code": "calibration",
            "en": f"{one.head} is no longer true: predicted / observed {numbers}; a new calibration would win"
            f" {one.loss[0]:.4f} [{one.loss[1]:.4f}, {one.loss[2]:.4f}] of log-loss",
            "zh": f"{one.head} 的概率已失准：预测/实际 {numbers}；重新校准可降低对数损失"
            f" {one.loss[0]:.4f} [{one.loss[1]:.4f}, {one.loss[2]:.4f}]",
        }
    now, then = one.auroc or (0.0, 0.0, 0.0), one.judged_auroc or (0.0, 0.0)
    return {
        "code": "order",
        "en": f"{one.head} orders worse than it did: AUROC {now[0]:.3f} [{now[1]:.3f}, {now[2]:.3f}],"
        f" judged [{then[0]:.3f}, {then[1]:.3f}]",
        "zh": f"{one.head} 的排序能力下降：AUROC {now[0]:.3f} [{now[1]:.3f}, {now[2]:.3f}]，"
        f"训练时为 [{then[0]:.3f}, {then[1]:.3f}]",
    }
