"""Everything of a version's desk, in one go: the card first, then what it learned, then who moves under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from configs import Config, model_of
from training.desk.card import card_of
from training.desk.files import log_desk, write
from training.desk.sample import Sample
from training.explain import Scorer, weights
from training.registry import Registry
from training.run import Run

if TYPE_CHECKING:
    import lightgbm as lgb

__all__ = ["CARD", "Again", "Told", "weights_of", "write_card", "write_desk"]

Again = Sequence[tuple[int, "Mapping[str, lgb.Booster]"]]

CARD = "card.json"
ASKED = 400  # rows whose explanations are averaged


@dataclass(frozen=True)
class Told:
    """What a training stored with its run: ``evaluation.json``, ``reference.json`` and ``weights.csv``."""

    evaluation: Mapping[str, Any]
    reference: Mapping[str, Any]
    weights: pd.DataFrame


def weights_of(model: Scorer, sample: Sample) -> pd.DataFrame:
    """`explain.weights` of about 400 rows of each head."""
    return weights(model, {head: x[:: max(1, len(x) // ASKED)] for head, x in sample.x.items() if len(x)})


def write_card(config: Config, model: Scorer, told: Told) -> None:
    """Write ``card.json`` of a registered version."""
    card = card_of(
        config, model_of(config, model.name), model.meta, model.digest, told.evaluation, told.reference, told.weights
    )
    write(config.home, model.name, model.version, CARD, card)


def write_desk(
    config: Config, registry: Registry, run: Run, model: Scorer, told: Told, sample: Sample, again: Again = ()
) -> None:
    """Write the desk of a version that was just trained, and store it with its run."""
    write_card(config, model, told)
    log_desk(config.home, run, model.name, model.version)
