"""What any model must beat: recency, frequency, the RFM rule, RFM logistic regression, BG/NBD.

Recency, frequency and ``rfm`` are logistic regressions on the features of past origins. ``rfm_rule`` is what marketing
does without a model: fifths of recency, frequency and money, and how often those in each cell did it in the past.
BG/NBD sees no label at all: it is fitted to the purchase days known at the observation date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln, hyp2f1
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from configs.errors import TrainingError
from training.stack import Family, Rows

__all__ = ["BgNbd", "GammaGamma", "RfmRule", "baselines", "fit_logistic", "predict_logistic"]

Floats = NDArray[np.float64]

# As so many rows of everybody's rate each cell of the RFM rule starts.
RULE_PRIOR = 10.0
LONG_AGO = 1e6
# Which columns stand for recency, frequency and money, by what is asked of whom.
PURCHASES: dict[str, tuple[str, ...]] = {
    "recency": ("days_since_last_purchase",),
    "frequency": ("purchase_days_life",),
    "rfm": ("days_since_last_purchase", "purchase_days_life", "spend_life", "days_since_first_purchase"),
}
ACTIVITY: dict[str, tuple[str, ...]] = {
    "recency": ("days_since_last_activity",),
    "frequency": ("active_days_90d",),
    "rfm": ("days_since_last_activity", "active_days_90d", "spend_life", "tenure_days"),
}


def baselines(
    family: Family, horizon: float | None, learn: Rows, judged: Rows, features: Sequence[str]
) -> dict[str, Floats]:
    """The probability that each baseline gives to the judged rows.

    Parameters
    ----------
    learn, judged
        Rows of one horizon, with ``features`` as their first columns.

    Returns
    -------
    dict
        ``recency``, ``frequency``, ``rfm``, ``rfm_rule`` and, where purchases or activity repeat, ``bg_nbd``;
        shape (n,) each.
    """
    columns = PURCHASES if family.label.startswith("repurchase") else ACTIVITY
    past, seen = _frame(learn, features), _frame(judged, features)
    found = {name: predict_logistic(fit_logistic(chosen, past, learn.y), seen) for name, chosen in columns.items()}
    found["rfm_rule"] = RfmRule.fit(columns["rfm"][:3], past, learn.y).rate(seen)
    if family.label == "first_order" or horizon is None:
        return found
    days, last, first = _COUNTS[columns is ACTIVITY]
    age = seen[first].to_numpy(float)
    history = (seen[days].to_numpy(float) - 1, age - seen[last].to_numpy(float), age)
    p_return = BgNbd.fit(*history).p_return(*history, horizon)
    return {**found, "bg_nbd": 1 - p_return if family.label == "inactive" else p_return}


# The days that repeat, the age of the last one, the age of the first one.
_COUNTS = {
    False: ("purchase_days_life", "days_since_last_purchase", "days_since_first_purchase"),
    True: ("active_days_life", "days_since_last_activity", "tenure_days"),
}


def _frame(rows: Rows, features: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(rows.x[:, : len(features)], columns=list(features))


def fit_logistic(columns: tuple[str, ...], frame: pd.DataFrame, label: Floats) -> tuple[Pipeline, tuple[str, ...]]:
    """Fit a logistic regression on ``log(1 + x)`` of non-negative columns; use with `predict_logistic`."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    model.fit(_logs(columns, frame), label)
    return model, columns


def predict_logistic(fitted: tuple[Pipeline, tuple[str, ...]], frame: pd.DataFrame) -> Floats:
    """Probability of the label, shape (n,)."""
    model, columns = fitted
    probability: Floats = model.predict_proba(_logs(columns, frame))[:, 1]
    return probability


def _logs(columns: tuple[str, ...], frame: pd.DataFrame) -> Floats:
    values = frame[list(columns)].to_numpy(float)
    logs: Floats = np.log1p(np.clip(np.nan_to_num(values, nan=0.0), 0, None))
    return logs


@dataclass(frozen=True)
class RfmRule:
    """Fifths of recency, frequency and money make 125 cells; who is in a cell does as those in it did before.

    A cell with few rows is drawn towards everybody's rate, as if it held `RULE_PRIOR` rows more with that rate.

    Examples
    --------
    >>> frame = pd.DataFrame({"r": np.arange(100.0), "f": 1.0, "m": 1.0})
    >>> rule = RfmRule.fit(("r", "f", "m"), frame, (np.arange(100) < 20).astype(float))
    >>> rule.rate(frame.iloc[[5, 50]]).round(2).tolist()
    [0.73, 0.07]
    """

    columns: tuple[str, ...]
    edges: tuple[Floats, ...]
    rates: Floats

    @classmethod
    def fit(cls, columns: tuple[str, ...], frame: pd.DataFrame, label: Floats) -> RfmRule:
        """``columns`` are recency, frequency and money; an absent value counts as the least of its kind."""
        fifths = (np.quantile(_filled(frame, name), (0.2, 0.4, 0.6, 0.8)) for name in columns)
        edges = tuple(np.asarray(fifth, dtype=np.float64) for fifth in fifths)
        cell = cls(columns, edges, np.zeros(0))._cell(frame)
        count, done = (np.bincount(cell, weight, 5 ** len(columns)) for weight in (None, label))
        return cls(columns, edges, (done + RULE_PRIOR * label.mean()) / (count + RULE_PRIOR))

    def rate(self, frame: pd.DataFrame) -> Floats:
        """The rate of each row's cell, shape (n,)."""
        rates: Floats = self.rates[self._cell(frame)]
        return rates

    def _cell(self, frame: pd.DataFrame) -> NDArray[np.intp]:
        cell = np.zeros(len(frame), dtype=np.intp)
        for name, edges in zip(self.columns, self.edges, strict=True):
            cell = cell * 5 + np.searchsorted(edges, _filled(frame, name))
        return cell


def _filled(frame: pd.DataFrame, name: str) -> Floats:
    """The column; who never did it did it long ago, and spent nothing."""
    values: Floats = np.nan_to_num(frame[name].to_numpy(float), nan=LONG_AGO if name.startswith("days_since") else 0.0)
    return values


@dataclass(frozen=True)
class BgNbd:
    """Buying at gamma-distributed rates until a beta-geometric dropout.

    Fader, Hardie and Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2).
    Times are in days.

    Examples
    --------
    >>> x, t, T = np.array([0, 2, 5, 0, 1]), np.array([0.0, 30, 80, 0, 10]), np.array([90.0, 90, 90, 60, 60])
    >>> p = BgNbd.fit(x, t, T).p_return(x, t, T, 90)
    >>> bool((p > 0).all() and (p < 1).all() and p[2] > p[0])
    True
    """

    r: float
    alpha: float
    a: float
    b: float

    @classmethod
    def fit(cls, repeats: Floats, last: Floats, age: Floats) -> BgNbd:
        """Maximum likelihood from ``repeats`` purchases after the first, the ``last`` one's age, and ``age`` itself.

        Parameters
        ----------
        repeats
            Purchase days after the first, shape (n,).
        last
            Days from the first purchase to the last, shape (n,); 0 when there was only one.
        age
            Days from the first purchase to the observation date, shape (n,).
        """
        x, t, big_t = (np.asarray(v, float) for v in (repeats, last, age))
        if len(x) == 0:
            raise TrainingError("BG/NBD has nobody to learn from", got=0, expected="at least one buyer")
        # Equal customers are counted once: the likelihood needs their sufficient statistics only.
        stats, counts = np.unique(np.column_stack([x, np.round(t), np.round(big_t)]), axis=0, return_counts=True)
        x, t, big_t = stats.T

        def loss(theta: Floats) -> float:
            r, alpha, a, b = np.exp(theta)
            common = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
            alive = betaln(a, b + x) - (r + x) * np.log(alpha + big_t)
            gone = np.where(x > 0, betaln(a + 1, b + x - 1 + (x == 0)) - (r + x) * np.log(alpha + t), -np.inf)
            likelihood = common - betaln(a, b) + np.logaddexp(alive, gone)
            return float(-(counts * likelihood).sum() / counts.sum() + 1e-4 * (theta**2).sum() / 4)

        start = np.log([0.5, max(float(np.median(big_t)) / 2, 1.0), 1.0, 2.0])
        found = minimize(loss, start, method="L-BFGS-B", bounds=[(-8, 12)] * 4)
        return cls(*np.exp(found.x))

    def p_alive(self, repeats: Floats, last: Floats, age: Floats) -> Floats:
        """Probability of not having dropped out by ``age``; 1 for a customer without repeats, by the model's nature."""
        x, t, big_t = (np.asarray(v, float) for v in (repeats, last, age))
        odds_gone = (
            np.log(self.a)
            - np.log(self.b + np.maximum(x, 1) - 1)
            + (self.r + x) * (np.log(self.alpha + big_t) - np.log(self.alpha + t))
        )
        alive: Floats = np.where(x > 0, expit(-odds_gone), 1.0)
        return alive

    def p_return(self, repeats: Floats, last: Floats, age: Floats, horizon_days: float) -> Floats:
        """Probability of at least one purchase in ``(age, age + horizon]``; not to be mistaken for `p_alive`."""
        x, big_t = np.asarray(repeats, float), np.asarray(age, float)
        silent = np.exp((self.r + x) * (np.log(self.alpha + big_t) - np.log(self.alpha + big_t + horizon_days)))
        probability: Floats = self.p_alive(repeats, last, age) * (1 - silent)
        return probability

    def expected(self, repeats: Floats, last: Floats, age: Floats, horizon_days: float) -> Floats:
        """Purchases to expect in ``(age, age + horizon]``: equation (10) of the paper, shape (n,)."""
        x, t, big_t = (np.asarray(v, float) for v in (repeats, last, age))
        # The formula has a pole at a = 1, where both of its parts vanish.
        a = self.a if abs(self.a - 1) > 1e-6 else 1 + 1e-6
        share = (self.alpha + big_t) / (self.alpha + big_t + horizon_days)
        series = hyp2f1(self.r + x, self.b + x, a + self.b + x - 1, 1 - share)
        unconditional = (a + self.b + x - 1) / (a - 1) * (1 - share ** (self.r + x) * series)
        expected: Floats = np.maximum(unconditional * self.p_alive(x, t, big_t), 0.0)
        return expected


@dataclass(frozen=True)
class GammaGamma:
    """Amounts of one customer are gamma distributed, and their scale is gamma distributed over customers.

    Fader, Hardie and Lee (2005), "RFM and CLV", Journal of Marketing Research 42(4); the notation of Fader and Hardie
    (2013), "The Gamma-Gamma Model of Monetary Value". Amounts are taken to be independent of how often one buys.

    Examples
    --------
    A customer seen once is mostly taken for an average one, a customer seen often for himself.

    >>> model = GammaGamma(p=6.25, q=3.74, gamma=15.44)
    >>> model.mean_amount(np.array([0.0, 1.0, 50.0]), np.array([0.0, 100.0, 100.0])).round(1).tolist()
    [35.2, 80.3, 99.4]
    """

    p: float
    q: float
    gamma: float

    @classmethod
    def fit(cls, count: Floats, mean: Floats) -> GammaGamma:
        """Maximum likelihood from the ``count`` of amounts of each customer and their ``mean``; only those above 0."""
        seen = (np.asarray(count, float) > 0) & (np.asarray(mean, float) > 0)
        x, z = np.asarray(count, float)[seen], np.asarray(mean, float)[seen]
        if len(x) == 0:
            raise TrainingError("Gamma-Gamma has nobody to learn from", got=0, expected="at least one amount above 0")

        def loss(theta: Floats) -> float:
            p, q, gamma = np.exp(theta)
            likelihood = (
                gammaln(p * x + q)
                - gammaln(p * x)
                - gammaln(q)
                + q * np.log(gamma)
                + (p * x - 1) * np.log(z)
                + p * x * np.log(x)
                - (p * x + q) * np.log(gamma + x * z)
            )
            return float(-likelihood.mean() + 1e-4 * (theta**2).sum() / 4)

        start = np.log([2.0, 3.0, max(float(np.median(z)), 1e-6)])
        found = minimize(loss, start, method="L-BFGS-B", bounds=[(-8, 16)] * 3)
        return cls(*np.exp(found.x))

    def mean_amount(self, count: Floats, mean: Floats) -> Floats:
        """The expected amount of each customer's next purchase: between his own mean and everybody's, shape (n,)."""
        x, z = np.asarray(count, float), np.asarray(mean, float)
        # Without a finite mean over customers (q <= 1) nobody without a purchase has one; likelihoods end there too.
        amount: Floats = self.p * (self.gamma + x * z) / np.maximum(self.p * x + self.q - 1, 1e-3)
        return amount
