"""Train the value model: judge the procedure as of a past day, fit it to everything, register a challenger."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from configs import Config, configs_folder, model_of, read_yaml
from configs.errors import ConfigError, TrainingError
from features.catalog import NAMES, digest
from features.events import span
from features.periods import now
from serving.scoring.value.model import NAME, write_value
from serving.scoring.value.tiers import TierRules, Tiers, read_rules
from training.artifact import provenance
from training.dataset import TrainingSet, assemble
from training.desk.sample import sample_of_users
from training.desk.stability import other_seeds
from training.forecasts import Recipe
from training.forecasts_of_spend import keep_spend
from training.monitor.reference import reference_of
from training.readiness.readiness import of_training
from training.registry import CHALLENGER, Registry
from training.report import TrainReport
from training.tracking import log_training
from training.value.artifact import BOOSTERS, boosters_of, describe_value
from training.value.forecast import Foreseen, Learned, as_frame, foreseen, learn_at
from training.value.judge import judge_value, split_of, tiers_held
from training.value.spend import Spend
from training.value.tiers import moved_since

__all__ = ["train_value"]

Progress = Callable[[str, float], None]

# Over how many days tiers are said to be stable or not.
LOOKS_BACK = (28, 84, 364)


def train_value(config: Config, progress: Progress | None = None) -> TrainReport:
    """Judge every horizon that is over, refit to all that is known, register the refitted version as challenger.

    A source without amounts teaches no spend: the report then has no version, and says why. A horizon that cannot be
    judged yet is served all the same, and ``left_out`` says that its judgement is missing.

    Raises
    ------
    TrainingError
        When the history is too short for the shortest horizon.
    """
    show = progress or (lambda message, fraction: None)
    model, recipe = model_of(config, NAME), Recipe(model_of(config, NAME).lightgbm)
    rules = read_rules(read_yaml(configs_folder() / "tiers.yaml"), "tiers.yaml")
    if rules.head not in model.heads:
        raise ConfigError("tiers.yaml: head", got=rules.head, expected=sorted(model.heads))
    first, last = span(config)
    # A clock ahead of ours may have stamped an event with tomorrow: nothing after now is known.
    split = split_of(model, first, min(last, now(config)))
    show(f"{len(split.origins)} origins", 0.05)
    origins = (*split.origins, split.known_until)
    data = assemble(config, origins, lambda message, fraction: show(message, 0.05 + 0.3 * fraction))
    spend, day = Spend.read(config), f"{split.judge:%Y-%m-%d}"
    show("judging", 0.4)
    try:
        past = learn_at(config, model, recipe, data, spend, split.judge)
    except TrainingError as error:
        return TrainReport(NAME, "", "", "", {}, {}, {NAME: error.words}, {})
    registry = Registry(config)
    with registry.run(NAME, "train", {"judged_on": day}) as run:
        told = foreseen(model, past, data, spend, split.judge, split.known_until)
        judged = judge_value(told, config.seed)
        said = keep_spend(config, model, recipe, data, split.judge, as_frame(told), past.fitted.log)
        left_out = _not_judged(list(model.heads), told)
        show("learning from everything", 0.7)
        learned = learn_at(
            config, model, recipe, data, spend, split.known_until, past.fitted.chance.blend, other_seeds(config.seed)
        )
        horizon = float(model.heads[rules.head]["horizon_days"])
        tiers, stability = _tiers(rules, horizon, learned, data, split.known_until)
        evidence = {
            "split": split.log,
            "data": data.log,
            "judged": {"purchase": past.fitted.log["chance"], "amount": past.fitted.log},
            "left_out": left_out,
            "fits": {"purchase": learned.fitted.log["chance"], "amount": learned.fitted.log},
            "tiers": {"held": tiers_held(rules, told[-1], NAMES) if told else None, "stability": stability},
        }
        tags = {"judged_on": day, "catalogue": digest(), "heads": " ".join(model.heads)}
        version = registry.new_version(NAME, run, tags)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                folder, origin = Path(scratch) / "model", provenance(config, model.lightgbm, split.known_until)
                at = now(config)
                meta = describe_value(model, learned, tiers, judged.metrics, evidence, version, run.run_id, at, origin)
                meta["readiness"] = of_training(config, model, split.judge)
                written = write_value(folder, meta, boosters_of(learned))
                run.model(folder, written.features, list(written.heads))
        except BaseException:
            registry.withdraw(NAME, version)
            raise
        report = TrainReport(NAME, version, run.run_id, day, judged.metrics, judged.baselines, left_out, evidence)
        show("logging", 0.95)
        sample = sample_of_users(written, data.frame, split.known_until)
        reference = reference_of(written, data.frame, split.known_until)
        again = {BOOSTERS[0]: learned.fitted.chance.again}
        log_training(config, registry, run, report, judged.curves, written, sample, said, reference, again)
        registry.alias(NAME, CHALLENGER, version)
    show("registered", 1.0)
    return report


def _not_judged(heads: Sequence[str], told: Sequence[Foreseen]) -> dict[str, dict[str, str]]:
    """Of which heads nothing can be said yet."""
    judged = {one.head for one in told}
    reason = {
        "en": "only its judgement: it is served, and not judged yet; the history must be twice as long as the horizon",
        "zh": "仅缺评估：该目标已提供服务，但尚未评估；历史须达到预测期的两倍",
    }
    return {head: reason for head in heads if head not in judged}


def _tiers(
    rules: TierRules, horizon: float, learned: Learned, data: TrainingSet, known_until: datetime
) -> tuple[Tiers, dict[str, Any]]:
    """The tiers of today's customers, and how customers came to them over `LOOKS_BACK`, as far as there are origins."""
    today = learned.today.where(learned.today.horizon == horizon)
    expected = learned.fitted.expected(today.x, horizon)
    tiers = Tiers.fit(rules, expected)
    tier = tiers.of(expected, today.x[:, NAMES.index(rules.recency)])
    origins = {at.to_pydatetime() for at in data.frame["as_of"].unique()}
    stability = {}
    for days in LOOKS_BACK:
        away = {origin: abs(known_until - timedelta(days=days) - origin) for origin in origins}
        nearest = min(away, key=away.__getitem__)
        if away[nearest] <= timedelta(days=28):
            stability[f"{nearest:%Y-%m-%d}"] = moved_since(nearest, tiers, learned.fitted, data, today, tier)
    return tiers, stability
