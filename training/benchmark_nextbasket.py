"""``userops benchmark nextbasket``: rank all items for each test user's next set, on a public file of sets in order.

A file holds ``{"train" | "validate" | "test": {user: [[item, ...], ...]}}``; the last set of a test user is the label,
the earlier ones the history. Train and validate users teach. Sets have no dates: set k is bought on day k.

Nothing sees a target: the statistics behind a training example are counted on other users (five folds), those behind
the test users on the train and validate users alone.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import Config
from configs.errors import SourceError
from configs.history import History, code
from serving.scoring.interest.candidates import candidates_of
from serving.scoring.interest.features import NAMES, Pairs, featurise_pairs
from serving.scoring.interest.lines import DAY_US, lines_of
from serving.scoring.interest.statistics import ItemStatistics, places
from training.interest.ranker import MOST_ROWS, PARAMETERS, TREES, fit_ranker, sample_rows
from training.interest.statistics import item_statistics, vocabulary_of

__all__ = ["benchmark_nextbasket"]

Progress = Callable[[str, float], None]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Sets = list[list[Any]]

FOLDS = 5
DEPTHS = (1, 5, 10)
PARTS = ("train", "validate", "test")
CANDIDATES = 150
MOST_PAIRS = 3_500_000
# An example's weight halves after so many sets from its user's end: this share of the mean number of sets, at least 1.
# Without dates the statistics tell of everybody's latest sets, and earlier ones were bought in another assortment.
HALF_LIFE = 0.15
SEEDS = 2
ALL_TIME = 2**52


@dataclass(frozen=True)
class Examples:
    """Users at moments before one of their sets: row of the user, number of the set, its items' codes."""

    user: Ints
    set_number: Ints
    target: list[Ints]

    @property
    def as_of_us(self) -> Ints:
        """Just before the set's day begins."""
        return self.set_number * DAY_US - 1


def benchmark_nextbasket(
    config: Config, sets: Path, progress: Progress | None = None, *, keep_lists: bool = False
) -> dict[str, Any]:
    """Recall, NDCG and PHR at 1, 5 and 10 over the test users with a history, with 95 % intervals from resampled users.

    Parameters
    ----------
    keep_lists
        Return also ``lists``: the ten best items' codes of each test user.

    Returns
    -------
    dict
        ``metrics``, the same of each baseline, ratios of recall@10 (above 1: ours is better), settings, versions,
        seconds, peak memory.

    Raises
    ------
    SourceError
        The file is not of this form.
    """
    show = progress or (lambda message, fraction: None)
    started = time.monotonic()
    parts = read_sets(sets)
    learners = [*parts["train"], *parts["validate"]]
    judged = [user for user in parts["test"] if len(user) > 1 and any(map(len, user[:-1])) and len(user[-1])]
    examples = prefixes(learners)
    for what, count in (("train and validate", len(examples.user)), ("test", len(judged))):
        if not count:
            raise SourceError(f"{sets}: {what}", got="no set after another", expected="a user with two sets or more")
    histories, known = [history_of(user) for user in learners], [history_of(user[:-1]) for user in judged]
    show("counting", 0.1)
    vocabulary = vocabulary_of([*histories, *known])
    fold = np.random.default_rng(config.seed).permutation(len(learners)) % FOLDS
    most = min(CANDIDATES, len(vocabulary.items))
    kept = latest_examples(learners, examples, MOST_PAIRS // max(most, 1))
    share = min(1.0, MOST_ROWS / max(len(kept.user) * most, 1))
    half_life = max(1.0, HALF_LIFE * float(np.mean([len(sets) for sets in learners])))
    learned = []
    for each in range(FOLDS):
        others = [history for history, other in zip(histories, fold, strict=True) if other != each]
        statistics = item_statistics(others, ALL_TIME, vocabulary=vocabulary, own_clock=True, seed=config.seed)
        of_fold = pick(kept, np.flatnonzero(fold[kept.user] == each))
        if not len(of_fold.user):
            continue
        start, item, x = describe(statistics, histories, of_fold, most)
        y = hits(statistics, of_fold, start, item)
        rows, weight = sample_rows(y, share, config.seed + each)
        # Recall and NDCG count users and not items: an example with a hundred targets must not outweigh a hundred.
        sizes = np.array([len(target) for target in of_fold.target])
        recent = 0.5 ** (sets_back(learners, of_fold) / half_life)
        learned.append((x[rows], y[rows], weight * np.repeat(recent / np.sqrt(sizes), np.diff(start))[rows]))
        show("describing", 0.1 + 0.4 * (each + 1) / FOLDS)
    show("learning", 0.55)
    x, y, weight = (np.concatenate(column) for column in zip(*learned, strict=True))
    seeds = tuple(config.seed + k for k in range(SEEDS))
    ranker = fit_ranker(x, y, weight, NAMES, seeds=seeds, threads=config.threads)
    show("judging", 0.9)
    statistics = item_statistics(histories, ALL_TIME, vocabulary=vocabulary, own_clock=True, seed=config.seed)
    targets = Examples(
        np.arange(len(judged)), np.array([len(user) - 1 for user in judged]), [codes_of(user[-1]) for user in judged]
    )
    start, item, x = describe(statistics, known, targets, most)
    score = ranker.score(x, config.threads)
    lists = top(statistics, start, item, score)
    ours = measures(statistics, targets, lists)
    beside = {
        name: {metric: float(values.mean()) for metric, values in measures(statistics, targets, found).items()}
        for name, found in baselines(statistics, known, start, item, x).items()
    }
    metrics = {name: interval(values, config.seed) for name, values in ours.items()}
    return {
        "benchmark": "nextbasket",
        "n": len(judged),
        "metrics": metrics,
        "baselines": beside,
        "ratios": {
            f"ours_vs_{name}": metrics["recall@10"]["value"] / max(found["recall@10"], 1e-12)
            for name, found in beside.items()
        },
        "settings": {
            "sets": sets.name,
            "users": {name: len(parts[name]) for name in PARTS},
            "items": len(vocabulary.items),
            "examples": len(kept.user),
            "half_life_sets": half_life,
            "candidates": most,
            "folds": FOLDS,
            "trees": TREES,
            "seeds": SEEDS,
            "share_of_negatives": share,
            "lightgbm": PARAMETERS,
        },
        "versions": {name: version(name) for name in ("userops", "lightgbm", "numpy", "numba", "scipy")},
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **({"lists": [statistics.items[each].tolist() for each in lists]} if keep_lists else {}),
    }


def read_sets(path: Path) -> dict[str, list[Sets]]:
    """Each part's users, in the file's order."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as JSON", got=str(error)) from None
    found = {}
    for part in PARTS:
        users = content.get(part) if isinstance(content, Mapping) else None
        if not isinstance(users, Mapping) or not users:
            raise SourceError(f"{path}: {part}", got=type(users).__name__, expected="{user: [[item, ...], ...]}")
        for user, sets in users.items():
            if not isinstance(sets, list) or not all(isinstance(each, list) for each in sets):
                raise SourceError(f"{path}: {part}, user {user!r}", got=sets, expected="[[item, ...], ...]")
        found[part] = list(users.values())
    return found


def codes_of(items: Sequence[Any]) -> Ints:
    """Codes of a set, none twice, in the set's order."""
    return np.array(list(dict.fromkeys(code(str(item)) for item in items)), np.int64)


def history_of(sets: Sets) -> History:
    """One purchase line an item, one order a set, set k at midnight of day k."""
    codes = [codes_of(items) for items in sets]
    item = np.concatenate(codes) if codes else np.empty(0, np.int64)
    number = np.repeat(np.arange(len(codes)), [len(each) for each in codes])
    none = np.zeros(len(item), np.int64)
    return History(item, none, number * DAY_US, none.astype(np.int8), np.ones(len(item)), number + 1)


def prefixes(users: Sequence[Sets]) -> Examples:
    """Every set that has a set before it, as the target of a training example."""
    rows = [(u, k) for u, sets in enumerate(users) for k in range(1, len(sets)) if sets[k] and any(map(len, sets[:k]))]
    user, number = np.array(rows, np.int64).reshape(-1, 2).T
    return Examples(user, number, [codes_of(users[u][k]) for u, k in rows])


def latest_examples(users: Sequence[Sets], examples: Examples, most: int) -> Examples:
    """At most `most` examples, those nearest to each user's end first."""
    return pick(examples, np.sort(np.argsort(sets_back(users, examples), kind="stable")[:most]))


def sets_back(users: Sequence[Sets], examples: Examples) -> Ints:
    """How many sets follow each example's target: 0 for a user's last set."""
    length: Ints = np.array([len(sets) for sets in users], np.int64)
    return length[examples.user] - 1 - examples.set_number


def pick(examples: Examples, rows: Ints) -> Examples:
    """Some of the examples."""
    return Examples(examples.user[rows], examples.set_number[rows], [examples.target[row] for row in rows])


def describe(
    statistics: ItemStatistics, histories: Sequence[History], examples: Examples, most: int
) -> tuple[Ints, NDArray[np.int32], NDArray[np.floating]]:
    """Each example's candidates start[k] : start[k + 1] and their features."""
    lines = lines_of(statistics, histories)
    start, item = candidates_of(statistics, lines, examples.user, examples.as_of_us, most)
    pairs = Pairs(examples.user, examples.as_of_us, start, item, statistics.category_of[item])
    return start, item, featurise_pairs(statistics, lines, pairs, np.float32)


def hits(statistics: ItemStatistics, examples: Examples, start: Ints, item: NDArray[np.int32]) -> NDArray[np.bool_]:
    """For each candidate whether the target holds it."""
    size = len(statistics.items)
    wanted = np.concatenate([places(statistics.items, target) for target in examples.target])
    example = np.repeat(np.arange(len(examples.user)), [len(target) for target in examples.target])
    here = np.repeat(np.arange(len(examples.user)), np.diff(start)) * size + item
    return np.isin(here, (example * size + wanted)[wanted >= 0])


def top(
    statistics: ItemStatistics, start: Ints, item: NDArray[np.int32], score: Floats, most: int = max(DEPTHS)
) -> list[Ints]:
    """The best items of each example; all items rank: those without a score follow in the order of popularity."""
    found = []
    for k in range(len(start) - 1):
        here = slice(int(start[k]), int(start[k + 1]))
        best = item[here][np.argsort(-score[here], kind="stable")][:most]
        if len(best) < most:
            others = statistics.popular[: most + (start[k + 1] - start[k])]
            best = np.concatenate([best, others[~np.isin(others, best)]])[:most]
        found.append(best.astype(np.int64))
    return found


def measures(statistics: ItemStatistics, examples: Examples, lists: Sequence[Ints]) -> dict[str, Floats]:
    """Recall, NDCG (ideal cut at k) and PHR at each depth, float64[users]."""
    discount = 1 / np.log2(np.arange(2, max(DEPTHS) + 2))
    found = {f"{name}@{k}": np.zeros(len(lists)) for name in ("recall", "ndcg", "phr") for k in DEPTHS}
    for row, (ranked, target) in enumerate(zip(lists, examples.target, strict=True)):
        hit = np.isin(statistics.items[ranked], target)
        for k in DEPTHS:
            first = hit[:k]
            found[f"recall@{k}"][row] = first.sum() / len(target)
            found[f"ndcg@{k}"][row] = first @ discount[: len(first)] / discount[: min(k, len(target))].sum()
            found[f"phr@{k}"][row] = first.any()
    return found


def baselines(
    statistics: ItemStatistics,
    histories: Sequence[History],
    start: Ints,
    item: NDArray[np.int32],
    x: NDArray[np.floating],
) -> dict[str, list[Ints]]:
    """Most often bought by this user, then by all; most bought by all; what follows this user's items, by counts."""
    frequency = x[:, NAMES.index("own_orders")].astype(np.float64)
    popularity = x[:, NAMES.index("buyers_share")].astype(np.float64)
    links = x[:, NAMES.index("link_later")].astype(np.float64)
    most_bought = np.argsort(-statistics.item_values[:, 3], kind="stable")[: max(DEPTHS)].astype(np.int64)
    return {
        "personal_frequency": top(statistics, start, item, frequency + popularity / 2),
        "popularity": [most_bought] * len(histories),
        "item_to_item": top(statistics, start, item, links),
    }


def interval(values: Floats, seed: int, draws: int = 1000) -> dict[str, Any]:
    """The mean and its 95 % interval from resampled users."""
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return {"value": float(values.mean()), "ci": [float(low), float(high)]}
