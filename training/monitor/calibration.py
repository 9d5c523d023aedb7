"""Are a served version's probabilities still true? Judged at instants after everything it has seen.

At each such instant the version itself is asked, and the answer compared with what followed, once the label window is
over. What counts is how much a new calibration alone (slope and intercept, fitted to these very rows) would win: a
probability that is off by 0.07 at a base rate of 0.4, or by 0.04 at 0.1, costs about 0.01 nats of log-loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from configs import ModelConfig
from features.periods import midnight
from serving.scoring.model import Model
from training.evaluate import evaluate
from training.labels import LABELS, MONTH_HORIZON, label

__all__ = ["HeadCalibration", "calibration_shift", "judge_calibration", "matured"]

Floats = NDArray[np.float64]

LARGE_LOSS = 0.01
LEAST_OF_A_KIND = 30
MOST_ORIGINS = 6
RESAMPLES = 200


@dataclass(frozen=True)
class HeadCalibration:
    """One head after training: ``status`` is ``true``, ``drifted``, ``worse_order`` or ``not_yet``; why is in words.

    ``loss`` is the log-loss that a new calibration would win, with its 95 % interval; ``auroc`` that of later users,
    ``judged_auroc`` the interval with which the version was registered.
    """

    head: str
    status: str
    rows: int
    positives: int
    origins: tuple[str, ...]
    mean_prediction: float | None = None
    observed: float | None = None
    loss: tuple[float, float, float] | None = None
    auroc: tuple[float, float, float] | None = None
    judged_auroc: tuple[float, float] | None = None
    matures_at: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The numbers."""
        return asdict(self)


def matured(as_of: datetime, known_until: datetime, horizon_days: float, every_days: int) -> list[datetime]:
    """The instants at or after ``as_of``, ``every_days`` apart, whose label windows are over; the newest six.

    Examples
    --------
    >>> from features.periods import as_utc
    >>> [f"{at:%m-%d}" for at in matured(as_utc("2024-01-01"), as_utc("2024-02-15"), 30, 14)]
    ['01-01', '01-15']
    """
    last = midnight(known_until) - timedelta(days=horizon_days)
    found: list[datetime] = []
    while (at := as_of + len(found) * timedelta(days=every_days)) <= last:
        found.append(at)
    return found[-MOST_ORIGINS:]


def judge_calibration(
    config: ModelConfig,
    model: Model,
    frame_of: Callable[[Sequence[datetime]], pd.DataFrame],
    as_of: datetime,
    known_until: datetime,
    seed: int = 0,
) -> list[HeadCalibration]:
    """Every head of ``model`` whose label is one of `labels.LABELS`; of spend, the probability of a purchase.

    Parameters
    ----------
    frame_of
        Gives a training set's frame (features and waiting times) at instants.
    as_of
        The last instant of which the version has seen anything.
    """
    definitions = {head: _definition(config.heads.get(head, {})) for head in model.heads}
    asked = {}
    for head, definition in definitions.items():
        if definition.get("label") in LABELS:
            horizon = float(definition.get("horizon_days", MONTH_HORIZON))
            asked[head] = matured(as_of, known_until, horizon, config.origins.every_days)
    every = sorted({at for origins in asked.values() for at in origins})
    frame = frame_of(every) if every else pd.DataFrame()
    found: list[HeadCalibration] = []
    for head, origins in asked.items():
        definition = definitions[head]
        horizon = float(definition.get("horizon_days", MONTH_HORIZON))
        if not origins:
            ripe = (as_of + timedelta(days=horizon)).isoformat()
            found.append(HeadCalibration(head, "not_yet", 0, 0, (), matures_at=ripe))
            continue
        rows = frame[frame["as_of"].isin(pd.DatetimeIndex(origins))]
        x = rows[list(model.features)].to_numpy(np.float64)
        y = label(definition, rows, known_until)
        kept = model.in_cohort(x, head) & ~np.isnan(y)
        raw = model.raw(x[kept], head)
        metrics = model.meta.get("metrics", {}).get(head, {}).get("auroc", {}).get("ci")
        found.append(
            calibration_shift(
                head,
                y[kept],
                model.heads[head].calibrator(raw),
                raw,
                rows["user_id"].to_numpy(object)[kept],
                origins,
                (metrics[0], metrics[1]) if metrics else None,
                seed,
            )
        )
    return found


def _definition(head: Mapping[str, Any]) -> dict[str, Any]:
    """The label of what a head's calibrator says: of spend, whether there is any."""
    return {**head, "label": "repurchase"} if head.get("label") == "spend" else dict(head)


def calibration_shift(
    head: str,
    y: Floats,
    p: Floats,
    raw: Floats,
    users: ArrayLike,
    origins: Sequence[datetime],
    judged_auroc: tuple[float, float] | None = None,
    seed: int = 0,
) -> HeadCalibration:
    """What the rows say: a drift when a new calibration wins more than 0.01 nats for sure, or the order is lost.

    The order is lost when today's AUROC lies, with its whole 95 % interval, below the interval of the judgement.
    """
    positives = int(y.sum())
    days = tuple(f"{at:%Y-%m-%d}" for at in origins)
    if min(positives, len(y) - positives) < LEAST_OF_A_KIND:
        return HeadCalibration(head, "not_yet", len(y), positives, days)
    win = _win(y, p)
    codes = np.unique(np.asarray(users, dtype=object).astype(str), return_inverse=True)[1]
    rng, count = np.random.default_rng(seed), int(codes.max()) + 1
    drawn = []
    for _ in range(RESAMPLES):
        weight = np.bincount(rng.integers(0, count, count), minlength=count)[codes].astype(float)
        drawn.append(float((weight * win).sum() / weight.sum()))
    low, high = np.percentile(drawn, [2.5, 97.5])
    order = evaluate(y, p, users, raw, resamples=RESAMPLES, seed=seed)["auroc"]
    lost = judged_auroc is not None and order.high < judged_auroc[0]
    status = "drifted" if low > LARGE_LOSS else "worse_order" if lost else "true"
    return HeadCalibration(
        head,
        status,
        len(y),
        positives,
        days,
        float(p.mean()),
        float(y.mean()),
        (float(win.mean()), float(low), float(high)),
        (order.value, order.low, order.high),
        judged_auroc,
    )


def _win(y: Floats, p: Floats) -> Floats:
    """Per row, how much log-loss a slope and an intercept fitted to the rows would win; less what two numbers cost."""
    margin = logit(np.clip(p, 1e-6, 1 - 1e-6))
    fitted = LogisticRegression(C=1e6, max_iter=500).fit(margin[:, None], y)
    better = fitted.predict_proba(margin[:, None])[:, 1]
    gain = _losses(y, p) - _losses(y, better)
    return np.asarray(gain - 1 / len(y), dtype=np.float64)


def _losses(y: Floats, p: Floats) -> Floats:
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(-np.where(y == 1, np.log(clipped), np.log1p(-clipped)), dtype=np.float64)
