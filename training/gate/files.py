"""What a version's own files say of a period whose outcome is known: the comparison asks its recipe, serving its files.

A comparison fits recipes anew at past origins, because the files have learned what followed. So it cannot see files
that hold something else: a calibrator of another version, a sign turned round, a fit to weeks in which a source was
silent. Here the files are asked at the newest judged origin, beside the kept forecast, which had not seen what
followed. The files had: they must not be worse than it there, nor far from what was observed, nor order users in
another way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from configs import Config, ModelConfig
from configs.errors import UseropsError
from features.catalog import digest
from serving.scoring.model import Model
from training.compare.sides import Side, by_files
from training.forecasts import forecasts, kept, past_origins
from training.gate.case import Case, Reason

__all__ = ["FilesLook", "HeadOfFiles", "look_at_files", "measured", "own_files"]

Floats = NDArray[np.float64]

# Refused: a loss this share above that of the kept forecast.
LOSS_SHARE = 0.05
# A mean is far from what was observed when its odds (of spend: itself) are so many times too high or too low,
# ...and that is more than so many standard errors of what was observed, and further than the kept forecast was.
FAR, SURE = 2.0, 4.0
LEAST_ORDER = 0.8
EPSILON = 1e-15
SPEND = "spend"


@dataclass(frozen=True)
class HeadOfFiles:
    """One head at the origin: the files beside the kept forecast (``kept``) and what was ``observed``.

    ``loss`` is the log-loss; of spend the absolute error, each forecast scaled to the total that was observed: where
    most buy nothing, whoever foresees less errs less. ``order`` is Spearman's correlation of both raw scores, None
    where the kept forecast has no order. ``faults`` is empty when nothing speaks against the files.
    """

    rows: int
    loss: float
    kept_loss: float
    at_most: float
    mean: float
    kept_mean: float
    observed: float
    order: float | None
    faults: tuple[str, ...]


@dataclass(frozen=True)
class FilesLook:
    """What was compared, as of which origin, and what it showed by head; ``unasked`` names heads without an outcome."""

    origin: str
    compared: str
    heads: dict[str, HeadOfFiles]
    unasked: list[str]

    def as_json(self) -> dict[str, Any]:
        """The look as JSON."""
        return asdict(self)


def own_files(case: Case) -> Iterator[Reason]:
    """The version's own files say of a judged period what its recipe said, and not worse."""
    # Files that are not whole, or of other features, were refused already and cannot be asked.
    if not case.meta or case.meta["catalogue_digest"] != digest():
        return
    try:
        found = look_at_files(case.config, case.model, Side.read(case.candidate, case.folder))
    except UseropsError as error:
        what, zh = f"its own files cannot be asked about a past origin: {error.what}", "无法用其模型文件回看历史"
        yield case.reason("files", what, zh, error.got, error.expected, error.run or "userops status")
        return
    if found is None:
        case.evidence["files"] = "not applicable: the model reads histories, not rows of features"
        return
    case.evidence["files"] = found.as_json()
    yield from _unlike(case, found)


def _unlike(case: Case, found: FilesLook) -> Iterator[Reason]:
    words = {
        "loss": ("have a higher loss than", "损失高于"),
        "mean": ("are further from what was observed than", "均值偏离实际，远于"),
        "order": ("order users unlike", "排序不同于"),
    }
    for head, one in found.heads.items():
        values = {
            "loss": (one.loss, f"at most {one.at_most:.4g}"),
            "mean": (one.mean, one.observed),
            "order": (one.order, f"at least {LEAST_ORDER}"),
        }
        for fault in one.faults:
            en, zh = words[fault]
            what = f"{head}: its own files {en} its recipe's forecast of {found.origin[:10]}"
            told = f"{head}：其模型文件的{zh}同一方法在 {found.origin[:10]} 的预测"
            yield case.reason("files", what, told, *values[fault], "userops train {model}")


def look_at_files(config: Config, model: ModelConfig, side: Side) -> FilesLook | None:
    """Ask the files of ``side`` at the newest origin with a kept forecast; None where the model reads histories.

    Raises
    ------
    UseropsError
        When there is no origin at which anything followed.
    """
    if not isinstance(side.model, Model):
        return None
    recipe, every = side.recipe(model), past_origins(config, model, model.gate.origins)
    origin = (kept(config, model, recipe, every) or every)[-1]
    ground = forecasts(config, model, [origin], recipe=recipe)
    told = ground.frame[ground.frame["head"].isin(list(side.model.heads))]
    own = by_files(config, side, told, [origin])
    margin = model.gate.margin if model.gate.decides == "log_loss" else 0.0
    heads = {str(head): measured(part, own.loc[part.index], ground.kind, margin) for head, part in told.groupby("head")}
    measure = "absolute error at the observed total" if ground.kind == SPEND else "log_loss"
    return FilesLook(
        origin.isoformat(),
        f"the version's own files, which have seen what followed, beside its recipe as it was fitted at the origin: "
        f"{measure}, mean, order",
        heads,
        sorted(set(side.model.heads) - set(heads)),
    )


def measured(forecast: pd.DataFrame, files: pd.DataFrame, kind: str, margin: float) -> HeadOfFiles:
    """Both forecasts of the same rows, in the same order: ``y``, ``p`` and ``raw`` as `Forecasts` has them."""
    y, p, q = (part.to_numpy(np.float64) for part in (forecast["y"], forecast["p"], files["p"]))
    loss, kept_loss = _loss(y, q, kind), _loss(y, p, kind)
    at_most = kept_loss + max(margin, LOSS_SHARE * kept_loss)
    mean, kept_mean, observed = (float(part.mean()) for part in (q, p, y))
    order = _order(forecast["raw"].to_numpy(np.float64), files["raw"].to_numpy(np.float64))
    noise = SURE * float(y.std()) / max(1.0, np.sqrt(len(y)))
    times = _times(mean, observed, kind)
    gross = times > FAR and abs(mean - observed) > noise and times > _times(kept_mean, observed, kind)
    faults = (
        *(["loss"] if not loss <= at_most else []),
        *(["mean"] if gross or not np.isfinite(mean) else []),
        *(["order"] if order is not None and not order >= LEAST_ORDER else []),
    )
    return HeadOfFiles(len(y), loss, kept_loss, at_most, mean, kept_mean, observed, order, faults)


def _loss(y: Floats, p: Floats, kind: str) -> float:
    if kind == SPEND:
        total = float(p.sum())
        return float(np.abs(p * (float(y.sum()) / total if total > 0 else 1.0) - y).mean())
    if not (np.isfinite(p) & (p >= 0) & (p <= 1)).all():
        return float("inf")  # no probability
    clipped = np.clip(p, EPSILON, 1 - EPSILON)
    return float(-np.where(y == 1, np.log(clipped), np.log1p(-clipped)).mean())


def _times(mean: float, observed: float, kind: str) -> float:
    """How many times too high or too low a mean is.

    Examples
    --------
    >>> round(_times(0.5, 0.2, "probability"), 6), _times(10.0, 20.0, "spend")
    (4.0, 2.0)
    """
    least = 1e-12
    both = np.clip([mean, observed], least, None if kind == SPEND else 1 - least)
    first, second = both if kind == SPEND else both / (1 - both)
    return float(max(first / second, second / first))


def _order(before: Floats, after: Floats) -> float | None:
    if len(before) < 3 or np.ptp(before) == 0:
        return None
    if not np.isfinite(after).all() or np.ptp(after) == 0:
        return 0.0
    return float(spearmanr(before, after).statistic)
