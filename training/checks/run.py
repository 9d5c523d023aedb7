"""Run the checks of one version and keep their outcomes with its MLflow run, where the gate and people find them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from configs import Config, ModelConfig
from configs.errors import ConfigError, RegistryError, UseropsError
from features.catalog import digest
from features.events import content_hash
from features.periods import now
from serving.scoring import verified
from training.checks.catalogue import CHECKS
from training.checks.outcome import STATUSES, Check, Found, Outcome
from training.checks.subject import Subject
from training.desk.files import write
from training.registry import CHAMPION, Registry, Version
from training.search.touched import note_of

__all__ = ["FILE", "check_of", "look_at", "run_checks", "seal_of", "stored_checks", "stored_outcomes"]

#: The artefact of a version's run: ``at``, `seal_of` what was looked at, ``thorough`` (whether every outcome is that of
#: a thorough look), ``seconds`` per code, and ``outcomes``.
FILE = "checks.json"
#: The tag of a version that says how many checks ended how.
TAG = "checks"
#: The checks that judge by past origins, which a search of the parameters may have seen.
BY_ORIGINS = ("P004", "P008")
SEAL = ("data_hash", "catalogue_digest", "model_json")

Progress = Callable[[str, float], None]


def run_checks(
    config: Config,
    model: ModelConfig,
    version: str,
    progress: Progress | None = None,
    only: Sequence[str] | None = None,
    thorough: bool | None = None,
) -> list[Outcome]:
    """Ask every check (or ``only`` these codes) about a version (a number or an alias) and store what they say.

    A check that cannot be asked now is ``skipped`` with the reason. What was stored of the checks that are not asked
    stays as long as data, features and files are those it was said of; the answer holds those that are, in the order of
    their codes. The version and its run get a tag each, such as ``check.P001=passed``; the run gets ``checks.json``.

    Parameters
    ----------
    thorough
        Whether to forecast at all origins of the gate; else only forecasts that were made before are looked at. By
        default as soon as there is a champion to compare with.

    Raises
    ------
    ConfigError
        When a code of ``only``, or of the model's ``ignored_checks``, is no check.
    """
    show = progress or (lambda message, fraction: None)
    chosen = [check_of(code) for code in sorted(set(only))] if only else list(CHECKS)
    for code in model.ignored_checks:
        check_of(code)
    registry = Registry(config)
    if thorough is None:
        thorough = registry.aliased(model.name, CHAMPION) is not None
    subject = Subject(config, model, registry.version(model.name, version), show, thorough)
    outcomes, seconds = [], {}
    for number, check in enumerate(chosen):
        show(f"{check.code} {check.title['en']}", number / len(chosen))
        started = time.process_time()
        outcomes.append(look_at(subject, check))
        seconds[check.code] = round(time.process_time() - started, 2)
    seal = seal_of(config, registry, subject.version)
    _store(registry, subject, outcomes, seconds, {"at": now(config).isoformat(), **seal, "thorough": thorough})
    show("stored", 1.0)
    return outcomes


def stored_outcomes(config: Config, model_name: str, version: str) -> list[Outcome]:
    """What `run_checks` stored of a version (a number or an alias); empty when it never ran."""
    return [Outcome(**one) for one in stored_checks(config, model_name, version)["outcomes"]]


def stored_checks(config: Config, model_name: str, version: str) -> dict[str, Any]:
    """The content of `FILE` of a version (a number or an alias); no outcomes when the checks never ran."""
    registry = Registry(config)
    return _stored(registry, registry.version(model_name, version))


def seal_of(config: Config, registry: Registry, version: Version) -> dict[str, str | None]:
    """What an outcome is said of: ``data_hash``, ``catalogue_digest``, and ``model_json``, the digest of that file.

    ``model_json`` is None where the version has no files.
    """
    with TemporaryDirectory() as scratch:
        try:
            folder = registry.folder(version.model, version.version, Path(scratch) / "model")
            model_json = verified.sha256((folder / "model.json").read_bytes())
        except (RegistryError, OSError):
            model_json = None
    return {"data_hash": content_hash(config), "catalogue_digest": digest(), "model_json": model_json}


def look_at(subject: Subject, check: Check) -> Outcome:
    """The outcome of one check; nothing is stored."""
    if subject.kind not in check.kinds:
        reason = check.otherwise or {"en": "The question has no meaning here.", "zh": "该检查对此模型没有意义。"}
        return check.outcome(Found("not_applicable", reason, {"kind": subject.kind}))
    try:
        outcome = _noted(check.outcome(check.look(subject)), subject)
    except UseropsError as error:
        said = str(error).replace("\n ", ";")
        words = {"en": f"Could not be asked now: {said}", "zh": f"目前无法检查：{said}"}
        run = error.run or f"userops check {subject.model.name} --only {check.code}"
        step = {"en": f"Run: {run}", "zh": f"请运行：{run}"}
        return check.outcome(Found("skipped", words, {"error": error.what}, step))
    accepted = subject.model.ignored_checks.get(check.code)
    return outcome if accepted is None else outcome.ignored(accepted)


def _noted(outcome: Outcome, subject: Subject) -> Outcome:
    """The outcome of a check that judges by past origins says which of them a search has seen."""
    note = note_of(subject.meta, subject.origins) if outcome.code in BY_ORIGINS else None
    if note is None:
        return outcome
    joined = {"en": f"{outcome.explanation['en']} {note['en']}", "zh": f"{outcome.explanation['zh']}{note['zh']}"}
    return replace(outcome, explanation=joined)


def check_of(code: str) -> Check:
    """The check with this code."""
    found = {check.code: check for check in CHECKS}
    if code not in found:
        raise ConfigError(f"there is no check {code!r}", got=code, expected=sorted(found))
    return found[code]


def _stored(registry: Registry, version: Version) -> dict[str, Any]:
    # The tag says that the artefact is there: asking MLflow for one that is not costs seconds and an error of its own.
    return registry.read_json(version.run_id, FILE) if TAG in version.tags else {"outcomes": [], "seconds": {}}


def _store(
    registry: Registry,
    subject: Subject,
    outcomes: Sequence[Outcome],
    seconds: dict[str, float],
    seen: dict[str, Any],
) -> None:
    version, new = subject.version, {one.code for one in outcomes}
    before = _stored(registry, version)
    same = all(before.get(name) == seen[name] for name in SEAL)
    kept = {one["code"]: one for one in before["outcomes"] if same and one["code"] not in new}
    every = kept | {one.code: one.as_json() for one in outcomes}
    content = {
        **seen,
        "thorough": seen["thorough"] and (not kept or before["thorough"]),
        "seconds": {code: taken for code, taken in before["seconds"].items() if code in kept} | seconds,
        "outcomes": [every[code] for code in sorted(every)],
    }
    run = registry.reopen(version.run_id)
    run.json(content, FILE)
    # Reviewers read it there; MLflow's server need not be within reach of the console.
    write(subject.config.home, version.model, version.version, FILE, content)
    for name, text in subject.files.items():
        run.text(text, name)
    tags = {f"check.{one.code}": one.status for one in outcomes}
    run.tags(tags)
    counted = Counter(one["status"] for one in every.values())
    summary = ", ".join(f"{counted[status]} {status}" for status in STATUSES)
    registry.set_version_tags(version.model, version.version, {**tags, TAG: summary})
