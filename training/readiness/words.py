"""What the readiness of a head says in words: one thought per sentence, in English and Chinese."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.readiness.precision import LEAST_OF_A_KIND, Advice

if TYPE_CHECKING:
    from training.readiness.readiness import Line

__all__ = ["sentence"]

MEASURES = {"log_loss": ("log-loss", "对数损失"), "mae": ("mean error", "平均误差")}


def sentence(line: Line) -> dict[str, str]:
    """What a line means: what to use, why, and when to ask again."""
    advice = line.advice
    told = [_waits(line) if advice.use == "wait" else _uses(advice)]
    if line.until:
        told.append({"en": f"Ask again on {line.until}.", "zh": f"可在 {line.until} 再判断。"})
    if advice.left_out:
        rows, origins, out = advice.rows, advice.origins, advice.left_out
        days = "1 past day" if origins == 1 else f"{origins} past days"
        told.append(
            {
                "en": f"Judged on {rows:,} rows of {days}; {out:,} more have no simple rule to compare with.",
                "zh": f"依据 {origins} 个历史时点的 {rows:,} 行；另有 {out:,} 行没有简单规则可比。",
            }
        )
    return {lang: joint.join(one[lang] for one in told) for lang, joint in (("en", " "), ("zh", ""))}


def _waits(line: Line) -> dict[str, str]:
    one = line.advice
    if line.unknown_days is not None:
        days = f"{line.unknown_days:g}"
        return {
            "en": f"Wait. No past day has its next {days} days behind it yet, so nothing can be judged.",
            "zh": f"请等待。历史中尚无一个时点已过满 {days} 天，无法评判。",
        }
    if min(one.positives, one.rows - one.positives) >= LEAST_OF_A_KIND:
        return {
            "en": f"Wait. No simple rule could be learned yet to compare the model with on {one.rows:,} rows.",
            "zh": f"请等待。尚无法学习任何简单规则，{one.rows:,} 行预测无从比较。",
        }
    kind, zh = ("positive", "正例") if one.positives <= one.rows - one.positives else ("negative", "负例")
    rarer = min(one.positives, one.rows - one.positives)
    return {
        "en": f"Wait. Only {rarer} of {one.rows:,} rows {'is' if rarer == 1 else 'are'} {kind}: too few to judge by.",
        "zh": f"请等待。{one.rows:,} 行中仅 {rarer} 个{zh}，不足以评判。",
    }


def _uses(one: Advice) -> dict[str, str]:
    best = one.baseline or "base rate"
    by, by_zh = _gap(one)
    if one.far_off:
        return {
            "en": f"Use {best}. The model's total is much further from the truth.",
            "zh": f"使用 {best}。模型的总额偏离明显更大。",
        }
    if one.use == "model" and one.more is not None:
        return {
            "en": f"Use the model. For all users it surely beats every simple rule. Here alone, against {best}, "
            f"that is not certain{by}.",
            "zh": f"使用模型。就全体用户而言，它确定优于所有简单规则。仅看此处，与 {best} 相比尚不能确定{by_zh}。",
        }
    if one.use == "model":
        return {
            "en": f"Use the model. It surely beats {best}{by}.",
            "zh": f"使用模型。它确定优于 {best}{by_zh}。",
        }
    if one.better_by is not None and one.better_by > 0:
        return {
            "en": f"Use {best} for now. The model looks better, but that may be chance{by}.",
            "zh": f"使用 {best}。模型看似更好，但可能只是偶然{by_zh}。",
        }
    return {"en": f"Use {best}. The model is not better{by}.", "zh": f"使用 {best}。模型并不更好{by_zh}。"}


def _gap(one: Advice) -> tuple[str, str]:
    if one.better_by is None:
        return "", ""
    number = f"{one.better_by:+.4f} ± {one.better_half:.4f}"
    en, zh = MEASURES.get(one.measure, (one.measure, one.measure))
    return f" ({en} better by {number})", f"（{zh}改善 {number}）"
