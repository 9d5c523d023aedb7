"""What a reviewer wants to know of each category: its rhythm, and how well its buyers are found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from serving.scoring.interest.because import HALF_LIFE
from serving.scoring.interest.statistics import places
from training.evaluate import lift
from training.interest.examples import Known
from training.interest.judge import JudgedHead

__all__ = ["buyers_found", "rhythms"]

# A model card is read by people: only the categories with the most buyers are told of.
MOST = 100
LEAST_BUYERS = 20
SHARE = 0.1


def rhythms(known: Known, name: Callable[[int], str | None]) -> dict[str, dict[str, float]]:
    """Of each category: the learned half-life of interest, the usual gap and how long a purchase satisfies, in days."""
    statistics, needs = known.statistics["category"], known.needs
    told: dict[str, dict[str, float]] = {}
    for row in statistics.popular[:MOST].tolist():
        code = int(statistics.items[row])
        place = int(places(needs.categories, np.array([code]))[0])
        label = name(code)
        if label is None or place < 0:
            continue
        half_life = float(statistics.category_values[statistics.category_of[row], HALF_LIFE])
        usual = float(needs.gap_days[place])
        told[label] = {
            "half_life_days": round(half_life, 2),
            "usual_days": round(usual, 2),
            "satisfied_days": round(usual * float(needs.window[place]), 2),
        }
    return told


def buyers_found(judged: JudgedHead, name: Callable[[int], str | None]) -> dict[str, dict[str, float | str]]:
    """Of each category: how many of the judged users bought, and how many times more the best tenth did (lift@10).

    A category with fewer than 20 buyers says so instead.
    """
    pairs = judged.pairs
    told: dict[str, dict[str, float | str]] = {}
    codes, which = np.unique(pairs["code"], return_inverse=True)
    buyers = np.bincount(which, pairs["y"])
    for place in np.argsort(-buyers, kind="stable")[:MOST].tolist():
        label, inside = name(int(codes[place])), which == place
        if label is None:
            continue
        told[label] = {"buyers": float(buyers[place]), "users": float(inside.sum())}
        if buyers[place] < LEAST_BUYERS:
            told[label]["too_few"] = f"fewer than {LEAST_BUYERS} buyers"
        else:
            told[label]["lift@10"] = round(lift(pairs["y"][inside], pairs["ours"][inside], SHARE), 3)
    return told
