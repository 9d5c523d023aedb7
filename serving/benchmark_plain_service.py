"""The plain way, the baseline of ``userops benchmark serving``: what a capable user writes in an afternoon.

A BentoML handler, Feast's ``get_online_features`` on scalar views, a pandas DataFrame, scikit-learn's interface of
LightGBM, ``shap.TreeExplainer`` built once; the same boosters and calibrators as ours, out of the same release. Asked
the same, it scores the user and every candidate, gives three reasons for each offer it shows, and writes the decision
down in SQLite, committed, before it answers. It is spared a good part of the work of `next-best-offer`: the columns of
each pair of user and item come ready-made out of memory, there are no rules, caps, probabilities of exploration and
idempotency, its log could not be replayed, and its reasons are names and numbers.

``USEROPS_PLAIN`` names a folder with ``feature_store.yaml``, ``features.json`` (the columns), ``decisions.db``,
``offers.json`` (whose items it knows) and ``release`` (a release).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import bentoml
import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel

from configs import load
from serving.benchmark_stage import PLAIN

REASONS = 3
ITEM_MODEL, ITEM_HEAD, VALUE = "interest", "item", "value"
STATE = ("p_inactive_14d", "p_inactive_30d", "p_inactive_60d", "p_repurchase_90d")  # what our answer says of the user


class Candidate(BaseModel):
    """One offer to consider."""

    offer_id: str
    value: float
    cost: float
    attributes: dict[str, Any]


class PlainModel:
    """One model of the release: every head by its own booster, wrapped for scikit-learn."""

    def __init__(self, folder: Path) -> None:
        import shap

        self.meta = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.classifiers = {
            name: as_classifier(lgb.Booster(model_file=folder / one["file"]))
            for name, one in self.meta["boosters"].items()
        }
        self.explainers = {name: shap.TreeExplainer(one.booster_) for name, one in self.classifiers.items()}

    def score(self, rows: pd.DataFrame, reasons: int, only: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
        """Of every head (of ``only`` these) and row the probability, and with ``reasons`` the strongest features."""
        answer: dict[str, list[dict[str, Any]]] = {}
        for name, head in self.meta["heads"].items():
            if only and name not in only:
                continue
            booster = head["booster"]
            frame = self.frame(rows, booster, head.get("horizon_days"))
            p = calibrated(head["calibrator"], self.classifiers[booster].predict_proba(frame)[:, 1])
            answer[name] = [{"p": float(value)} for value in p]
            if reasons:
                for one, because in zip(answer[name], self.reasons(booster, frame, reasons), strict=True):
                    one["reasons"] = because
        return answer

    def spend(self, rows: pd.DataFrame) -> list[dict[str, Any]]:
        """What the value tier follows from: the probability of a purchase times the mean amount of those who buy."""
        head, amount = self.meta["tiers"]["head"], self.meta["amount"]
        frame = self.frame(rows, amount["booster"], self.meta["heads"][head].get("horizon_days"))
        mean = np.exp(self.classifiers[amount["booster"]].booster_.predict(frame) + amount["constants"][head])
        return [
            {**one, "spend": one["p"] * float(each)}
            for one, each in zip(self.score(rows, 0, (head,))[head], mean, strict=True)
        ]

    def frame(self, rows: pd.DataFrame, booster: str, horizon_days: float | None) -> pd.DataFrame:
        """The columns of a booster, in its order."""
        frame = rows[columns_of(self.meta, booster)]
        return (
            frame.assign(horizon_days=horizon_days) if self.meta["boosters"][booster].get("horizon_column") else frame
        )

    def reasons(self, booster: str, frame: pd.DataFrame, most: int) -> list[list[dict[str, Any]]]:
        """The strongest features of every row."""
        values = self.explainers[booster].shap_values(frame)
        phi = np.asarray(values[1] if isinstance(values, list) else values)
        strongest = np.argsort(-np.abs(phi), axis=1)[:, :most]
        return [
            [
                {"feature": frame.columns[i], "value": float(row.iloc[i]), "contribution": float(phi[number, i])}
                for i in strongest[number]
            ]
            for number, (_, row) in enumerate(frame.iterrows())
        ]


@bentoml.service(name="plain", workers=load().serving.workers, traffic={"timeout": 300})
class Plain:
    """Scores and offers, the plain way."""

    def __init__(self) -> None:
        from feast import FeatureStore

        folder = Path(os.environ[PLAIN])
        self.store = FeatureStore(repo_path=str(folder))
        self.features = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        release = folder / "release"
        listed = json.loads((release / "release.json").read_text(encoding="utf-8"))["models"]
        self.models = {name: PlainModel(release / one["folder"]) for name, one in listed.items()}
        # One connection for all threads of the pool.
        self.log = sqlite3.connect(folder / "decisions.db", timeout=30, isolation_level=None, check_same_thread=False)
        self.log.execute("PRAGMA synchronous = NORMAL")
        self.logging = threading.Lock()
        if ITEM_MODEL in self.models:
            offers = json.loads((folder / "offers.json").read_text(encoding="utf-8"))
            items = sorted({one["attributes"]["item_id"] for one in offers})
            columns = columns_of(self.models[ITEM_MODEL].meta, ITEM_HEAD)
            values = np.random.default_rng(0).random((len(items), len(columns)))
            self.pairs = pd.DataFrame(values, index=items, columns=columns)

    @bentoml.api  # type: ignore[untyped-decorator]
    def nothing(self) -> dict[str, str]:
        """The floor under everything here."""
        return {}

    @bentoml.api  # type: ignore[untyped-decorator]
    def churn(self, user_ids: list[str]) -> dict[str, Any]:
        """Scores of ``churn`` with reasons."""
        scores = self.models["churn"].score(self.rows(user_ids), REASONS)
        return {
            "users": [
                {"user_id": user, "scores": {head: scores[head][number] for head in scores}}
                for number, user in enumerate(user_ids)
            ]
        }

    @bentoml.api  # type: ignore[untyped-decorator]
    def offer(
        self, user_id: str, context: dict[str, Any], candidates: list[Candidate], limit: int = 3
    ) -> dict[str, Any]:
        """The best ``limit`` of the candidates by p x value - cost, with reasons."""
        user = self.rows([user_id])
        state: dict[str, Any] = {}
        for name, one in self.models.items():
            if name == VALUE:
                state[name] = one.spend(user)
            elif name != ITEM_MODEL:
                state[name] = one.score(user, 0, STATE)
        model = self.models[ITEM_MODEL]
        head = model.meta["heads"][ITEM_HEAD]
        frame = self.pairs.loc[[one.attributes["item_id"] for one in candidates]]
        p = calibrated(head["calibrator"], model.classifiers[head["booster"]].predict_proba(frame)[:, 1])
        value = p * np.array([one.value for one in candidates]) - np.array([one.cost for one in candidates])
        best = np.argsort(-value, kind="stable")[:limit]
        reasons = model.reasons(head["booster"], frame.iloc[best], REASONS)
        answer = {
            "decision_id": uuid4().hex,
            "decided_at": datetime.now(UTC).isoformat(),
            "user_state": state,
            "offers": [
                {"offer_id": candidates[i].offer_id, "p": float(p[i]), "priority": float(value[i]), "reasons": because}
                for i, because in zip(best, reasons, strict=True)
            ],
        }
        asked = {"context": context, "candidates": [one.model_dump() for one in candidates], "limit": limit}
        with self.logging:
            self.log.execute(
                "INSERT INTO decisions VALUES (?, ?, ?, ?, ?)",
                (answer["decision_id"], user_id, answer["decided_at"], json.dumps(asked), json.dumps(answer)),
            )
        return answer

    def rows(self, user_ids: Sequence[str]) -> pd.DataFrame:
        """The features of users, one column each."""
        answer = self.store.get_online_features(
            features=[f"plain:{name}" for name in self.features],
            entity_rows=[{"user_id": user} for user in user_ids],
        )
        rows: pd.DataFrame = pd.DataFrame(answer.to_dict())[self.features].astype(np.float64)
        return rows


def columns_of(meta: Mapping[str, Any], booster: str) -> list[str]:
    """Which columns a booster reads, without the horizon."""
    features = meta["features"]
    return list(features[booster] if isinstance(features, dict) else features)


def as_classifier(booster: lgb.Booster) -> lgb.LGBMClassifier:
    """A fitted classifier around a booster that is already there."""
    from sklearn.preprocessing import LabelEncoder

    classifier = lgb.LGBMClassifier(n_jobs=1)
    classifier._Booster = booster
    classifier.fitted_ = True
    classifier._n_features = classifier._n_features_in = booster.num_feature()
    classifier._n_classes = 2
    classifier._objective = "binary"
    classifier._le = LabelEncoder().fit([0, 1])
    classifier._classes = classifier._le.classes_
    return classifier


def calibrated(calibrator: Mapping[str, Any], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The calibrator of the release on what the booster calls a probability."""
    raw = np.log(p) - np.log1p(-p)
    if calibrator["kind"] == "isotonic":
        return np.asarray(np.interp(raw, calibrator["x"], calibrator["y"]))
    return np.asarray(1 / (1 + np.exp(-(calibrator["slope"] * raw + calibrator["intercept"]))))
