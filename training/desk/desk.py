"""Everything of a version's desk, in one go: what it learned, who moves under it, and last the card.

A version without a card is none for the console, so that a desk whose writing was interrupted is not taken for whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from configs import Config, model_of
from configs.errors import UseropsError
from training.desk.card import card_of
from training.desk.files import log_desk, write
from training.desk.learned import write_learned
from training.desk.sample import Sample
from training.desk.versus import versus_of, write_versus
from training.explain import Scorer, weights
from training.registry import CHAMPION, Registry
from training.run import Run

if TYPE_CHECKING:
    import lightgbm as lgb

__all__ = ["CARD", "Again", "Told", "before", "weights_of", "write_card", "write_desk", "write_reasons"]

#: By the name of a booster, and by seed, the same grown from other seeds.
Again = Mapping[str, Mapping[int, "lgb.Booster"]]

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
    """Write ``card.json`` of a registered version: after all else of its desk."""
    card = card_of(
        config, model_of(config, model.name), model.meta, model.digest, told.evaluation, told.reference, told.weights
    )
    write(config.home, model.name, model.version, CARD, card)


def write_desk(
    config: Config, registry: Registry, run: Run, model: Scorer, told: Told, sample: Sample, again: Again | None = None
) -> None:
    """Write the desk of a version that was just trained, and store it with its run."""
    write_reasons(config, registry, model, sample, again)
    write_card(config, model, told)
    log_desk(config.home, run, model.name, model.version)


def write_reasons(
    config: Config,
    registry: Registry,
    model: Scorer,
    sample: Sample,
    again: Again | None = None,
    *,
    heads: Collection[str] | None = None,
    versus: bool = True,
    other_events: bool = False,
) -> None:
    """Write what a version learned, and how it differs from the one before.

    Parameters
    ----------
    heads
        Of which heads to say what was learned; of all by default.
    versus
        Whether to put it before the same users as the one that serves, or that came before it.
    other_events
        Whether ``sample`` was drawn from other events than those of training.
    """
    other = before(registry, model)
    asked = {head: x for head, x in sample.x.items() if len(x) and (heads is None or head in heads)}
    against = None if other is None else (other.version, other)
    tags = write_learned(
        config,
        model,
        model.version,
        asked,
        as_of=sample.as_of,
        users=sample.users,
        categories=sample.categories,
        again=again,
        against=against,
        other_events=other_events,
    )
    registry.set_version_tags(model.name, model.version, tags)
    if other is not None and versus:
        write_versus(config, versus_of(other, model, sample))


def before(registry: Registry, model: Scorer) -> Scorer | None:
    """The champion; the version before where the champion is this one or a later one, or there is none."""
    earlier = [one.version for one in registry.versions(model.name) if int(one.version) < int(model.version)]
    champion = registry.aliased(model.name, CHAMPION)
    for number in ([champion] if champion in earlier else []) + earlier[:1]:
        try:
            return registry.model(model.name, number)
        except UseropsError:  # of another format, or its training was interrupted: nothing to put it beside
            continue
    return None
