"""Let versions become champions: all that were asked for, or none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from configs import Config, model_of
from configs.audit import Row
from training.aliases import aliases_of
from training.gate.journal import Move, carry_out, settle
from training.gate.judge import Verdict, judge_promotion
from training.gate.mirror import mirror
from training.gate.refusal import refuse
from training.registry import CHALLENGER, CHAMPION, Registry

__all__ = ["Promotion", "promote", "trained"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Promotion:
    """``version`` is the champion of ``model``; ``before`` was, and is None when it is the first.

    ``row`` is the audit row and ``verdict`` what it rests on; both are None when it had been the champion already.
    """

    model: str
    version: str
    before: str | None
    row: Row | None = None
    verdict: Verdict | None = None


def trained(config: Config) -> list[str]:
    """The models that have a version; all of them when none has, so that whoever asks is told what to run."""
    registry = Registry(config)
    return [name for name in config.models if registry.versions(name)] or list(config.models)


def promote(
    config: Config,
    names: Sequence[str],
    version: str = CHALLENGER,
    progress: Progress | None = None,
    comment: str = "",
    lang: str = "en",
) -> list[Promotion]:
    """Judge ``version`` (a number or an alias) of every model named, then move all of them at once.

    Raises
    ------
    GateError
        When one of them is refused: with every reason, in ``lang``, and nothing moved.
    """
    show = progress or (lambda message, fraction: None)
    models = [model_of(config, name) for name in names]
    registry = Registry(config)
    settle(config, lambda row: _note(registry, row))
    mirror(config)
    chosen = {model.name: registry.version(model.name, version).version for model in models}
    pointed = aliases_of(config, list(chosen))
    verdicts = []
    for place, model in enumerate(models):
        if pointed[model.name].get(CHAMPION) == chosen[model.name]:
            continue
        verdicts.append(
            judge_promotion(
                config,
                model,
                chosen[model.name],
                lambda message, fraction, name=model.name, place=place: show(  # type: ignore[misc]
                    f"{name}: {message}", (place + fraction) / len(models)
                ),
            )
        )
    if any(not verdict.allowed for verdict in verdicts):
        raise refuse(verdicts, lang)
    moves = [Move(v.model, v.version, v.run_id, v.champion, comment, v.evidence) for v in verdicts]
    rows = carry_out(config, "promoting", moves, lambda row: _note(registry, row)) if moves else []
    judged = {verdict.model: (row, verdict) for row, verdict in zip(rows, verdicts, strict=True)}
    return [
        Promotion(name, number, pointed[name].get(CHAMPION), *judged.get(name, (None, None)))
        for name, number in chosen.items()
    ]


def _note(registry: Registry, intent: Row) -> None:
    """What MLflow shows of a promotion: the evidence with the run, who and when with the version."""
    registry.reopen(intent.run_id).json(intent.as_json(), "promotion.json")
    tags = {"promoted.by": intent.who, "promoted.at": intent.at, "promoted.audit": intent.digest}
    registry.set_version_tags(intent.model, intent.version, tags)
