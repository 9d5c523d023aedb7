"""P007: the metrics are stated more precisely than so few positives allow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from training.checks.clustered import auroc
from training.checks.outcome import Check, Found

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["CHECK"]

# Fewer users of the rarer kind, and an interval is itself a guess.
LEAST = 30
# Half widths of the AUROC's 95 % interval: within 0.05 a good model is told from a middling one, beyond 0.1 it is not.
FINE, COARSE = 0.05, 0.1
# A stated interval may be this much narrower than the one worked out here before it claims too much.
CLAIMED = 0.5


def look(subject: Subject) -> Found:
    """Count users of the rarer kind at the last judged origin, and work out the AUROC's interval from them anew."""
    frame = subject.forecasts.frame
    last = frame[frame["as_of"] == frame["as_of"].max()]
    heads = [_head(subject, str(head), last[last["head"] == head]) for head in last["head"].unique()]
    evidence: dict[str, Any] = {"origin": str(last["as_of"].iloc[0]), "heads": heads}
    few = [one for one in heads if one["rarer_users"] < LEAST]
    coarse = [one for one in heads if one not in few and one["half_width"] > COARSE]
    claimed = [one for one in heads if one["claimed"] is not None and one["claimed"] < CLAIMED * one["half_width"]]
    rough = [one for one in heads if one["half_width"] > FINE]
    words = {lang: _said(few, coarse, claimed, lang) for lang in ("en", "zh")}
    step = {
        "en": f"Wait for more labels, or serve a baseline till then: userops readiness {subject.model.name}.",
        "zh": f"请等待更多标签，或在此之前使用基线：userops readiness {subject.model.name}。",
    }
    if few or coarse or claimed:
        return Found("issue", words, evidence, step)
    if rough:
        wanted = max(one["wanted"] for one in rough)
        widths = [(one["head"], one["rarer_users"], f"± {one['half_width']:.3f}") for one in rough]
        tip = {
            "en": "; ".join(f"{head}: {users} users of the rarer kind, AUROC {width}" for head, users, width in widths)
            + f". About {wanted} would make it ± {FINE:g}.",
            "zh": "；".join(f"{head}：较少一类{users}人，AUROC {width}" for head, users, width in widths)
            + f"。约需{wanted}人才能达到 ± {FINE:g}。",
        }
        return Found("tip", tip, evidence, step)
    least = min(heads, key=lambda one: one["rarer_users"])
    fine = {
        "en": f"At least {least['rarer_users']} users of the rarer kind in every head ({least['head']}); AUROC within "
        f"± {max(one['half_width'] for one in heads):.3f}.",
        "zh": f"每个目标中较少一类至少{least['rarer_users']}人（{least['head']}）；AUROC误差不超过 ± "
        f"{max(one['half_width'] for one in heads):.3f}。",
    }
    return Found("passed", fine, evidence)


def _head(subject: Subject, head: str, rows: pd.DataFrame) -> dict[str, Any]:
    happened = (rows["y"].to_numpy(float) > 0).astype(float)
    users = rows["user_id"].to_numpy(str)
    estimate, _ = auroc(happened, rows["raw"].to_numpy(float), users)
    low, high = estimate.interval()
    half = (high - low) / 2 if math.isfinite(estimate.error) else 1.0
    rarer = min(len(np.unique(users[happened == kind])) for kind in (0.0, 1.0))
    return {
        "head": head,
        "users": len(np.unique(users)),
        "rarer_users": rarer,
        "auroc": estimate.value if math.isfinite(estimate.value) else None,
        "half_width": half,
        "claimed": _claimed(subject, head),
        # Intervals shrink with the root of what they rest on.
        "wanted": math.ceil(max(rarer, 1) * max(half / FINE, 1.0) ** 2),
    }


def _claimed(subject: Subject, head: str) -> float | None:
    """The half width that the version states, where it was judged at the same origin."""
    interval = subject.meta.get("metrics", {}).get(head, {}).get("auroc", {}).get("ci")
    if interval is None or subject.trained_at != subject.judged_at:
        return None
    return float(interval[1] - interval[0]) / 2


def _said(few: list[dict[str, Any]], coarse: list[dict[str, Any]], claimed: list[dict[str, Any]], lang: str) -> str:
    if lang == "en":
        parts = [f"{one['head']}: only {one['rarer_users']} users of the rarer kind" for one in few]
        parts += [f"{one['head']}: AUROC ± {one['half_width']:.2f}" for one in coarse]
        parts += [
            f"{one['head']} states ± {one['claimed']:.3f} where the rows allow ± {one['half_width']:.3f}"
            for one in claimed
        ]
        return "; ".join(parts) + ": the stated metrics may be luck."
    parts = [f"{one['head']}：较少一类仅{one['rarer_users']}人" for one in few]
    parts += [f"{one['head']}：AUROC ± {one['half_width']:.2f}" for one in coarse]
    parts += [f"{one['head']}声称 ± {one['claimed']:.3f}，而数据只支持 ± {one['half_width']:.3f}" for one in claimed]
    return "；".join(parts) + "：所报指标可能只是偶然。"


CHECK = Check(
    "P007", {"en": "too few positives for the claimed precision", "zh": "正样本不足以支撑所称精度"}, "warning", look
)
