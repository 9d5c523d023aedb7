"""How much of a model's reasons is chance: grown again from another seed on other rows, asked about the same people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.desk.groups import ranked_correlation

__all__ = ["NOT_MEASURED", "TOP", "other_seeds", "stability_of"]

Floats = NDArray[np.float64]

#: Each costs some hundredths of a training; more would tell the same more surely.
AGAIN = 1
TOP, OF_FEATURES = 3, 10

NOT_MEASURED = {
    "amount": {
        "en": "Not measured for the amount: only the model of purchases is grown again from another seed.",
        "zh": "金额部分未测量：只有购买部分用另一随机种子重新拟合。",
    },
    "later": {
        "en": "Not measured: these files were written after the training, which alone can grow the model again.",
        "zh": "未测量：本文件在训练之后补写，而只有训练时才能用另一随机种子重新拟合。",
    },
}


def other_seeds(seed: int) -> tuple[int, ...]:
    """The seeds from which a fit with ``seed`` is grown again."""
    return tuple(seed + k for k in range(1, AGAIN + 1))


def stability_of(
    names: Sequence[str], groups: Sequence[Mapping[str, Any]], own: Floats, again: Mapping[int, Floats]
) -> dict[str, Any]:
    """How far contributions of the same rows agree between seeds, mean over the seeds; see ``learned/<head>.json``.

    Correlated features share what they say by chance, so reasons are compared group by group: a group says the sum of
    what its features say, and a feature without a group is one of its own.

    Parameters
    ----------
    own, again
        Contributions, float64[n, f], of the version and of the fit from each other seed; columns as ``names``.

    Returns
    -------
    dict
        ``seeds``, ``top``; ``agreement``: the share of rows whose strongest `TOP` groups are the same set;
        ``overlap``: the mean share of a row's `TOP` groups that are among them again; ``first``: the share of rows
        whose strongest group is the same; ``rank_correlation``: Spearman's of the groups' weights; ``features``: of
        the ten heaviest features the share of seeds in which each is among the ten heaviest.
    """
    joined = _joined(names, groups)
    mine = own @ joined
    top = min(TOP, mine.shape[1])
    strongest = _strongest(mine, top)
    ten = [names[k] for k in np.argsort(-np.abs(own).mean(axis=0), kind="stable")[:OF_FEATURES]]
    same, kept, first, ranks = [], [], [], []
    stays = dict.fromkeys(ten, 0.0)
    for phi in again.values():
        theirs = phi @ joined
        other = _strongest(theirs, top)
        common = (strongest[:, :, None] == other[:, None, :]).any(axis=2).sum(axis=1)
        same.append(float((common == top).mean()))
        kept.append(float(common.mean() / top))
        first.append(float((strongest[:, 0] == other[:, 0]).mean()))
        weights = (np.abs(mine).mean(axis=0), np.abs(theirs).mean(axis=0))
        weighing = (weights[0] > 0) | (weights[1] > 0)
        ranks.append(ranked_correlation(weights[0][weighing], weights[1][weighing], 3))
        heaviest = {names[k] for k in np.argsort(-np.abs(phi).mean(axis=0), kind="stable")[:OF_FEATURES]}
        for name in ten:
            stays[name] += (name in heaviest) / len(again)
    known = [rank for rank in ranks if rank is not None]
    return {
        "seeds": list(again),
        "top": top,
        "agreement": float(np.mean(same)),
        "overlap": float(np.mean(kept)),
        "first": float(np.mean(first)),
        "rank_correlation": float(np.mean(known)) if known else None,
        "features": stays,
    }


def _joined(names: Sequence[str], groups: Sequence[Mapping[str, Any]]) -> Floats:
    """float64[f, g]: 1 where a feature belongs to a group."""
    place = {name: str(group["id"]) for group in groups for name in group["features"]}
    of = [place.get(name, name) for name in names]
    known = list(dict.fromkeys(of))
    return np.array([[float(one == group) for group in known] for one in of])


def _strongest(phi: Floats, top: int) -> NDArray[np.intp]:
    return np.argsort(-np.abs(phi), axis=1, kind="stable")[:, :top]
