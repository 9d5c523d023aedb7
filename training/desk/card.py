"""``card.json``: what a version is, what it is for, how good it is and where it comes from, for somebody who decides.

Its figures, and where it comes from, are read from what the training stored with its run: a card made later says the
same. Use, limits, what decides, and what heads and features mean are today's ``configs`` and catalogue: where these
were changed since the training, a card made later says it in the new words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from configs import Config, ModelConfig
from serving.scoring.interest.model import NAME as INTEREST
from serving.scoring.value.model import NAME as VALUE
from training.desk.features import features_of_pairs, features_of_users
from training.desk.lineage import lineage_of

__all__ = ["SCHEMA", "card_of", "kind_of"]

SCHEMA = 1
NOT_JUDGED = {
    "en": "Not judged yet: its horizon was not over on any day that could judge it.",
    "zh": "尚未评估：没有任何一天的预测期已经结束，可供检验。",
}
NO_SEGMENTS = {
    "en": "Not measured by segment: the events do not say to which part the judged rows belong.",
    "zh": "未按人群评估：事件数据不能说明被评估的样本属于哪类人群。",
}

NOT_THEN = {
    "en": "Not measured then, and cannot be now: the events are others, or the procedure cannot be run again.",
    "zh": "训练时未按人群评估，现在也无法补做：事件数据已变，或当时的流程无法重现。",
}


def kind_of(model: str) -> str:
    """``users``, ``value`` or ``interest``: what a model gives a number to, and in which unit."""
    return {INTEREST: "interest", VALUE: "value"}.get(model, "users")


def card_of(
    config: Config,
    model: ModelConfig,
    meta: Mapping[str, Any],
    digest: str,
    evaluation: Mapping[str, Any],
    reference: Mapping[str, Any],
    weights: pd.DataFrame,
) -> dict[str, Any]:
    """The card of a registered version.

    Parameters
    ----------
    meta, digest
        Its ``model.json`` and the digest of that file, which is what a reviewer signs.
    evaluation, reference
        ``evaluation.json`` and ``reference.json`` of its run; no ``segments`` where they were not measured, and cannot
        be any more.
    weights
        As `explain.weights` gives them.
    """
    training = meta.get("training", {})
    kind = kind_of(meta["name"])
    split = training.get("split", {})
    described = features_of_pairs if kind == "interest" else features_of_users
    return {
        "schema": SCHEMA,
        "model": meta["name"],
        "version": str(meta["version"]),
        "run_id": meta["run_id"],
        "kind": kind,
        "created_at": meta["created_at"],
        "trained_by": meta.get("trained_by"),
        "trained_by_account": meta.get("trained_by_account"),
        "model_json": digest,
        "purpose": meta.get("purpose", model.purpose),
        "use": model.use,
        "limits": model.limits,
        "judged_on": str(split.get("judged_at", ""))[:10] or None,
        "known_until": meta.get("known_until"),
        "decides": model.gate.decides,
        "maturity": meta.get("maturity"),
        "heads": {head: _head(model, meta, head, kind, evaluation, weights) for head in meta["heads"]},
        "features": described(reference),
        "data": training.get("data", {}),
        "split": split,
        "left_out": training.get("left_out", {}),
        "search": training.get("search"),
        "lineage": lineage_of(config, meta),
    }


def _head(
    model: ModelConfig,
    meta: Mapping[str, Any],
    head: str,
    kind: str,
    evaluation: Mapping[str, Any],
    weights: pd.DataFrame,
) -> dict[str, Any]:
    registered, configured = meta["heads"][head], model.heads.get(head, {})
    metrics = evaluation["metrics"].get(head, {})
    segments = evaluation.get("segments")
    lack = NOT_JUDGED if not metrics else NOT_THEN if segments is None else NO_SEGMENTS
    heavy = weights[weights["head"] == head].sort_values("share", ascending=False, kind="stable")
    listed = zip(heavy["feature"], heavy["share"], heavy["mean_abs"], strict=True)
    return {
        "meaning": configured.get("meaning") or {"en": head, "zh": head},
        "cohort": _cohort(model, meta, registered.get("cohort") or configured.get("cohort")),
        "horizon_days": registered.get("horizon_days"),
        "unit": "money" if kind == "value" else "probability",
        "metrics": metrics,
        **({} if metrics else {"judged": NOT_JUDGED}),
        "baselines": evaluation["baselines"].get(head, {}),
        "curves": evaluation["curves"].get(head, {}),
        "calibrator": registered.get("calibrator"),
        "readiness": _readiness(meta, head),
        "segments": (segments or {}).get(head) or {"status": "not_measured", "words": lack},
        "weights": [
            {"feature": name, "share": float(f"{share:.6g}"), "mean_abs": float(f"{mean:.6g}")}
            for name, share, mean in listed
            if mean > 0
        ],
    }


def _cohort(model: ModelConfig, meta: Mapping[str, Any], name: str | None) -> dict[str, Any] | None:
    if name is None:
        return None
    known = meta.get("cohorts", {}).get(name) or model.cohorts.get(name, {})
    return {"name": name, "meaning": known.get("meaning") or {"en": name, "zh": name}, "rule": known.get("rule", [])}


def _readiness(meta: Mapping[str, Any], head: str) -> dict[str, Any] | None:
    """What the training said of all channels together, and below ``channels`` of each."""
    rows = [one for one in meta.get("readiness") or [] if one["head"] == head]
    told = [
        {
            "channel": one["channel"],
            **{key: one["advice"].get(key) for key in ("use", "baseline", "rows", "users", "positives", "more")},
            "until": one["until"],
            "text": one["text"],
        }
        for one in rows
    ]
    whole = [one for one in told if one["channel"] == "all"]
    return {**whole[0], "channels": [one for one in told if one["channel"] != "all"]} if whole else None
