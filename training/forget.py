"""Taking people out of what training keeps in the home; and which versions learned from them, which cannot forget."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from configs import Config
from configs.errors import RegistryError
from features import forgotten
from features.forgotten import Named
from features.periods import as_utc
from training.aliases import registered
from training.registry import Registry, Version
from training.unnamed import digits_of, without

__all__ = ["Artefacts", "artefacts", "forget_desk", "forget_forecasts", "forget_reports", "seen_by"]

Progress = Callable[[str, float], None]
REPORTS = ("reports", "retrain")
_READ = 1 << 20  # bytes of a file that are looked at together


@dataclass(frozen=True)
class Artefacts:
    """How many files of MLflow name the people by id, and by digits of a hash; None: they lie on another machine."""

    named: int
    hashed: int


def forget_forecasts(config: Config, user_ids: Sequence[str], show: Progress) -> int:
    """Take the people out of what would have been said of them at past origins; how many rows that was."""
    files = sorted((config.home / "backtests").glob("*.parquet"))
    taken = 0
    for number, path in enumerate(files):
        show(path.stem[:8], number / len(files))
        taken += forgotten.leave_out(config, path, Named(tuple(user_ids)))
    return taken


def forget_desk(config: Config, user_ids: Sequence[str]) -> int:
    """Take the people out of lists and examples of the desk, also where digits of a hash name them; how many places."""
    gone, taken = {*user_ids, *map(digits_of, user_ids)}, 0
    for path in sorted((config.home / "desk").rglob("[!.]*.json")):
        with forgotten.holding(config.home, alone=True):
            places, rest = without(json.loads(path.read_text(encoding="utf-8")), gone)
            if places:
                _replace(path, json.dumps(rest, ensure_ascii=False, separators=(",", ":")))
                taken += places
    return taken


def forget_reports(config: Config, user_ids: Sequence[str]) -> list[str]:
    """Remove the reports of the home that name the people; which they were: each can be written anew."""
    removed = []
    for path in sorted(path for folder in REPORTS for path in (config.home / folder).rglob("*") if path.is_file()):
        if holds(path, user_ids):
            path.unlink()
            removed.append(str(path.relative_to(config.home)))
    return removed


def artefacts(config: Config, user_ids: Sequence[str]) -> Artefacts | None:
    """Who is named in what the runs of this home keep: nobody by an id, unless somebody put such a file there."""
    folder = config.home / "mlartifacts"
    if not folder.is_dir():
        return None
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    digits = [digits_of(one) for one in user_ids]
    return Artefacts(sum(holds(path, user_ids) for path in files), sum(holds(path, digits) for path in files))


def seen_by(config: Config, first_event_us: int | None) -> list[Version]:
    """The versions that may have learned from somebody whose first event was then; None: nobody knows any more.

    A version has learned from events up to its last origin and from labels up to the instant until which it knew them.
    """
    if not registered(config):
        return []
    registry = Registry(config)
    return [
        version
        for model in sorted(config.models)
        for version in registry.versions(model)
        if first_event_us is None or _known_until(registry, version).timestamp() * 1e6 >= first_event_us
    ]


def holds(path: Path, words: Sequence[str]) -> bool:
    r"""Whether a file holds one of the words, not as a part of a longer one; Unicode as JSON escapes it counts too.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w") as file:
    ...     print("u1,u22", file=file, flush=True)
    ...     holds(Path(file.name), ["u2"]), holds(Path(file.name), ["u22"])
    (False, True)
    """
    forms = {
        form for word in words for form in (word, json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1])
    }
    longest = max((len(form.encode()) for form in forms), default=0)
    if not longest:
        return False
    either = b"|".join(re.escape(form.encode()) for form in sorted(forms))
    pattern = re.compile(rb"(?<![0-9A-Za-z_])(?:" + either + rb")(?![0-9A-Za-z_])")
    with path.open("rb") as stream:
        before = b""
        while part := stream.read(_READ):
            if pattern.search(before + part, 1 if before else 0):  # what begins there was looked at before
                return True
            before = (before + part)[-longest - 1 :]
    return False


def _known_until(registry: Registry, version: Version) -> datetime:
    try:
        split = registry.read_json(version.run_id, "evidence.json")["split"]
        instants = (split.get(name) for name in ("labels_known_until", "judged_at", "last_origin"))
        return max(as_utc(str(one)) for one in instants if one)
    except (RegistryError, KeyError, TypeError, ValueError):
        return datetime.fromtimestamp(version.created_at_ms / 1e3, UTC)  # it knew nothing later


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".part.{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
