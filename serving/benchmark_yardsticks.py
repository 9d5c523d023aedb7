"""The yardsticks of accuracy whose data a user may have, as parts of ``userops benchmark all --accuracy DATA``."""

from __future__ import annotations

from pathlib import Path

from serving.benchmark_parts import Part, Row

__all__ = ["FILES", "yardsticks"]

FILES = {
    "cdnow": "cdnow/CDNOW_master.txt",
    "retail": "online_retail/online_retail_II.parquet",
    "TaFeng": "next_basket/TaFeng.json",
    "DC": "next_basket/DC.json",
    "hillstrom": "hillstrom/hillstrom.csv",
}
_THREE, _FOUR = "{:.3f}", "{:.4f}"


def yardsticks(folder: Path) -> tuple[Part, ...]:
    """Those of `FILES` that lie in ``folder``, each as its own command would run it."""
    there = {name: folder / file for name, file in FILES.items() if (folder / file).exists()}
    parts: list[Part] = []
    asked: tuple[str, ...]
    words: tuple[str, ...]
    for name, file in there.items():
        if name == "cdnow":
            asked = ("--source", "cdnow", "--data", str(file), "--observe-until")
            words = (*asked, "1997-12-31", "--horizon-days", "181")
            parts.append(_repurchase("cdnow", "CDNOW, 181 days", words, 0.810, 0.412))
            parts.append(_value((*asked, "1997-09-30", "--horizon-days", "273")))
        elif name == "retail":
            asked = ("--source", "online_retail", "--data", str(file))
            for day, auroc, loss in _DAYS:
                words = (*asked, "--observe-until", day)
                parts.append(_repurchase(day, f"Online Retail II, 90 days after {day}", words, auroc, loss))
            parts.append(_interest(asked))
        elif name == "hillstrom":
            parts.append(_uplift(("--data", str(file))))
        else:
            parts.append(_nextbasket(name, ("--sets", str(file))))
    return tuple(parts)


# Goals of AUROC and log-loss.
_DAYS = (("2011-03-14", 0.787, 0.525), ("2011-06-12", 0.826, 0.470), ("2011-09-10", 0.812, 0.535))


def _repurchase(short: str, called: str, words: tuple[str, ...], auroc: float, log_loss: float) -> Part:
    beside = ("bg_nbd", "BG/NBD")
    rows = (
        Row(f"{called}: AUROC", "auroc", _THREE, *beside, goal=auroc, goal_of="ours"),
        Row(f"{called}: log-loss", "log_loss", _THREE, *beside, "ours_vs_bg_nbd", log_loss, "ours", at_most=True),
    )
    return Part(f"repurchase-{short}", 90, rows, "repurchase", words, can_be_quick=False)


def _value(words: tuple[str, ...]) -> Part:
    beside = ("bg_nbd_gamma_gamma", "BG/NBD + Gamma-Gamma")
    rows = (
        Row("CDNOW, spend in 39 weeks: rank correlation", "spearman", _THREE, *beside),
        Row("… top-decile capture", "capture@10", _THREE, *beside),
        Row("… mean absolute error", "mae", "{:.1f}", *beside, "ours_vs_bg_nbd_gamma_gamma"),
    )
    return Part("value-cdnow", 60, rows, "value", words, can_be_quick=False)


def _interest(words: tuple[str, ...]) -> Part:
    ratio = "ours_vs_personal_frequency.item.recall@10"
    row = Row("Online Retail II, items of four weeks: recall@10", "item.recall@10", _THREE, "personal_frequency",
              "own frequency", ratio)  # fmt: skip
    return Part("interest-retail", 900, (row,), "interest", words, can_be_quick=False)


def _nextbasket(name: str, words: tuple[str, ...]) -> Part:
    goals = {"TaFeng": (0.205, 0.183), "DC": (0.478, 0.356)}[name]
    rows = tuple(
        Row(f"{name}, next basket: {metric}", metric, _FOUR, "personal_frequency", "personal frequency", goal=goal,
            goal_of="ours")
        for metric, goal in zip(("recall@10", "ndcg@10"), goals, strict=True)
    )  # fmt: skip
    return Part(f"nextbasket-{name}", 300, rows, "nextbasket", words, can_be_quick=False)


def _uplift(words: tuple[str, ...]) -> Part:
    rows = tuple(
        Row(f"Hillstrom, conversion of the {one}-learner's policy", f"{one}_learner.policy_value", "{:.3f} %",
            "mens_email_to_all", "men's e-mail to everyone", f"ours_vs_best_constant.{one}_learner",
            metric_beside="policy_value")
        for one in "stx"
    )  # fmt: skip
    return Part("uplift-hillstrom", 60, rows, "uplift", words, can_be_quick=False)
