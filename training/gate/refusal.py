"""What the gate says when it refuses: every reason of every version, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.errors import GateError
from training.gate.case import Reason

if TYPE_CHECKING:
    from training.gate.judge import Verdict

__all__ = ["refuse"]


def refuse(verdicts: list[Verdict], lang: str = "en") -> GateError:
    """The error that names every reason of every refused version."""
    refused = [verdict for verdict in verdicts if not verdict.allowed]
    colon = "：" if lang == "zh" else ": "
    lines = [f"{one.model} {one.version}{colon}{_line(reason, lang)}" for one in refused for reason in one.reasons]
    if lang == "zh":
        names = "、".join(f"{verdict.model} 第 {verdict.version} 版" for verdict in refused)
        return GateError("\n  - ".join([f"未能晋级：{names}；没有任何改动", *lines]))
    names = ", ".join(f"{verdict.model} version {verdict.version}" for verdict in refused)
    return GateError("\n  - ".join([f"the gate refuses {names}; nothing was promoted", *lines]))


def _line(reason: Reason, lang: str) -> str:
    run, what = reason.run, reason.what.get(lang, reason.what["en"])
    if reason.code == "approval":  # its sentence says what is there and what is not
        return f"{what}；请运行：{run}" if lang == "zh" else f"{what}; run: {run}"
    if lang == "zh":
        return f"{what}；现为 {reason.got}，应为 {reason.expected}；请运行：{run}"
    return f"{what}; got {reason.got}, expected {reason.expected}; run: {run}"
