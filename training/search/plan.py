"""What ``--trials`` will do, said before it is done: where is searched, where is confirmed, or why nothing is."""

from __future__ import annotations

from datetime import datetime

from configs import Config, ModelConfig
from configs.errors import UseropsError
from features.events import span
from features.periods import now
from training.search.origins import origins_of

__all__ = ["plan"]


def plan(config: Config, model: ModelConfig, trials: int) -> dict[str, str]:
    """One or two sentences in ``en`` and ``zh``."""
    try:
        first, last = span(config)
        if not model.search.space:
            return _nothing(model, trials, f"configs/models/{model.name}.yaml names no search space", "未定义搜索空间")
        searched, later, until, spared = origins_of(model, first, min(last, now(config)))
    except UseropsError as error:
        if error.got is None:
            return _nothing(model, trials, error.what, error.what)
        return _nothing(model, trials, f"{error.what} ({error.got})", f"历史过短（{error.got}）")
    many, ways = len(searched), len(later)
    en = (
        f"{trials} trials on {many} past {_days(many)} ({_span(searched)}); the best must then beat the defaults on "
        f"{ways} later {_days(ways)} ({_span(later)})."
    )
    zh = (
        f"在 {many} 个历史时点（{_span(searched)}）试验 {trials} 次；"
        f"最优者须在更晚的 {ways} 个时点（{_span(later)}）胜过默认参数。"
    )
    if not spared:
        en += f" The history is short: the gate looks at some of these days again, those before {until:%Y-%m-%d}."
        zh += f"历史较短：晋级评审会再次用到 {until:%Y-%m-%d} 之前的部分时点。"
    return {"en": f"{model.name}: {en}", "zh": f"{model.name}：{zh}"}


def _nothing(model: ModelConfig, trials: int, en: str, zh: str) -> dict[str, str]:
    return {
        "en": f"{model.name}: none of the {trials} trials can be made: {en}. It is trained without a search, with the "
        f"parameters of configs/models/{model.name}.yaml.",
        "zh": f"{model.name}：无法进行 {trials} 次搜索试验：{zh}。"
        f"将不搜索，直接用 configs/models/{model.name}.yaml 的参数训练。",
    }


def _days(count: int) -> str:
    return "day" if count == 1 else "days"


def _span(origins: tuple[datetime, ...]) -> str:
    first, last = (f"{at:%Y-%m-%d}" for at in (min(origins), max(origins)))
    return first if first == last else f"{first} .. {last}"
