"""What reviewers say of a version: approved, rejected, or a question; in the audit table, and as tags in MLflow.

What may be said, and what the gate makes of it, stands in `configs.reviews`: the console keeps to the same rules.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from configs import Config, model_of
from configs.account import account
from configs.audit import Entry, Row, append_unless, entries
from configs.errors import GateError
from configs.reviews import LONGEST_COMMENT, WORDS, brief, cleaned, counted, fault_of, said_already
from serving.scoring import verified
from training.aliases import aliases_of
from training.gate.mirror import mirror
from training.registry import CHAMPION, Registry, Version
from training.run import MODEL_FOLDER

__all__ = ["model_digest", "rejected_champion", "sign"]


def sign(config: Config, name: str, version: str, word: str, comment: str) -> tuple[Row, bool]:
    """Say ``word`` of a version (a number or an alias): a row of the audit table first, then tags of the version.

    Returns the row and whether it is new: the same word about the same files is not written twice.

    Raises
    ------
    GateError
        When the word is none of `WORDS`, the comment too long, or a rejection or a question has none.
    """
    model_of(config, name)
    _refuse(name, version, word, comment)
    registry = Registry(config)
    found = registry.version(name, version)
    meta = registry.read_json(found.run_id, f"{MODEL_FOLDER}/model.json")
    accounts = {"account": account(), "trained_by_account": meta.get("trained_by_account")}
    evidence = {"model_json": model_digest(registry, found), **accounts}
    entry = Entry(config.user, word, name, found.version, found.run_id, cleaned(comment), evidence)
    row, new = append_unless(config.audit_uri, entry, lambda rows: said_already(rows, entry))
    mirror(config)
    return row, new


def rejected_champion(config: Config, name: str) -> str | None:
    """Who rejects the version that is champion now, and why, in one sentence; None where nobody does."""
    champion = aliases_of(config, [name])[name].get(CHAMPION)
    if champion is None:
        return None
    words = counted(entries(config.audit_uri, name, champion))
    said = [f"{row.who} ({brief(row.comment)})" for row in words if row.action == "rejected"]
    if not said:
        return None
    return (
        f"{name}: champion version {champion} is rejected by {', '.join(said)} and stays champion until another one is:"
        f" userops rollback {name}, or userops promote {name} --version N"
    )


def _refuse(name: str, version: str, word: str, comment: str) -> None:
    fault = fault_of(word, comment)
    if fault == "word":
        run = f"userops sign {name} {version} --approve, --reject or --ask"
        raise GateError(f"{word!r} is no word of a reviewer", got=word, expected=WORDS, run=run)
    if fault == "comment_missing":
        option = {"rejected": "--reject", "asked": "--ask"}[word]
        run = f'userops sign {name} {version} {option} --comment "..."'
        raise GateError(f"{word} needs a comment", got="none", expected="what is wrong, or the question", run=run)
    if fault == "comment_long":
        length = f"{len(cleaned(comment))} characters"
        raise GateError("the comment is too long", got=length, expected=f"at most {LONGEST_COMMENT} characters")


def model_digest(registry: Registry, version: Version) -> str:
    """The digest of the version's ``model.json``, which pins every other file of it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = registry.folder(version.model, version.version, Path(scratch) / version.model)
        return verified.sha256((folder / "model.json").read_bytes())
