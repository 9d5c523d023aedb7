"""What reviewers say of a version: approved, rejected, or a question; in the audit table, and as tags in MLflow.

The word is about the files that were there when it was said: it holds their digest, and says nothing about others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from configs import Config, model_of
from configs.account import account
from configs.audit import Entry, Row, append
from configs.errors import GateError
from serving.scoring import verified
from training.registry import Registry, Version
from training.run import MODEL_FOLDER

__all__ = ["WORDS", "last_words", "missing_approval", "model_digest", "sign"]

WORDS = ("approved", "rejected", "asked")


def sign(config: Config, name: str, version: str, word: str, comment: str) -> Row:
    """Say ``word`` of a version (a number or an alias): a row of the audit table first, then tags of the version.

    Raises
    ------
    GateError
        When the word is none of `WORDS`, or a rejection or a question has no comment.
    """
    model_of(config, name)
    if word not in WORDS:
        raise GateError(
            f"{word!r} is no word of a reviewer",
            got=word,
            expected=WORDS,
            run=f"userops sign {name} {version} --approve, --reject or --ask",
        )
    if word != "approved" and not comment.strip():
        option = {"rejected": "--reject", "asked": "--ask"}[word]
        raise GateError(
            f"{word} needs a comment",
            got="none",
            expected="what is wrong, or the question",
            run=f'userops sign {name} {version} {option} --comment "..."',
        )
    registry = Registry(config)
    found = registry.version(name, version)
    meta = registry.read_json(found.run_id, f"{MODEL_FOLDER}/model.json")
    accounts = {"account": account(), "trained_by_account": meta.get("trained_by_account")}
    evidence = {"model_json": model_digest(registry, found), **accounts}
    (row,) = append(config.audit_uri, Entry(config.user, word, name, found.version, found.run_id, comment, evidence))
    tags = {"review": word, "review.by": row.who, "review.at": row.at, "review.comment": comment}
    registry.set_version_tags(name, found.version, {**tags, "review.audit": row.digest})
    return row


def model_digest(registry: Registry, version: Version) -> str:
    """The digest of the version's ``model.json``, which pins every other file of it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = registry.folder(version.model, version.version, Path(scratch) / version.model)
        return verified.sha256((folder / "model.json").read_bytes())


def last_words(rows: Iterable[Row]) -> dict[str, Row]:
    """What each reviewer said last, by name.

    Examples
    --------
    >>> said = [("lin", "rejected"), ("wu", "asked"), ("lin", "approved")]
    >>> {who: row.action for who, row in last_words(Row(*one, "churn", "3") for one in said).items()}
    {'lin': 'approved', 'wu': 'asked'}
    """
    return {row.who: row for row in rows if row.action in WORDS}


def missing_approval(policy: str, words: dict[str, Row], digest: str, trained_by: str | None) -> list[str]:
    """Why the policy's demand for approval is not met; empty when it is. A rejection counts under every policy.

    Parameters
    ----------
    words
        As `last_words` gives them.
    digest
        Of the files that are to be promoted.

    Examples
    --------
    >>> said = {"lin": Row("lin", "approved", "churn", "3", evidence={"model_json": "sha256:1"})}
    >>> missing_approval("other_than_trainer", said, "sha256:1", "lin")
    ['approved only by lin, who trained it']
    >>> accounts = {"account": "ubuntu", "trained_by_account": "ubuntu"}
    >>> other = {"wu": Row("wu", "approved", "churn", "3", evidence={"model_json": "sha256:1", **accounts})}
    >>> missing_approval("other_than_trainer", other, "sha256:1", "lin")
    ['approved only by wu, under ubuntu, the account that trained it']
    >>> missing_approval("reviewer", said, "sha256:1", "lin")
    []
    """
    rejected = [f"rejected by {row.who}: {row.comment}" for row in words.values() if row.action == "rejected"]
    if rejected or policy == "none":
        return rejected
    approved = [row for row in words.values() if row.action == "approved"]
    current = [row for row in approved if row.evidence.get("model_json") == digest]
    if not current:
        return ["approved before its files were changed" if approved else "nobody approved it"]
    if policy == "other_than_trainer":
        if not trained_by:
            return ["nobody knows who trained it"]
        others = [row for row in current if row.who != trained_by]
        if not others:
            return [f"approved only by {trained_by}, who trained it"]
        # A name is whatever USEROPS_USER says. Versions of before accounts were kept are judged by names alone.
        own = [(row.who, row.evidence["account"]) for row in others if _same_account(row)]
        if len(own) == len(others):
            said = ", ".join(f"{who}, under {name}" for who, name in own)
            return [f"approved only by {said}, the account that trained it"]
    return []


def _same_account(row: Row) -> bool:
    name = row.evidence.get("account")
    return name is not None and name == row.evidence.get("trained_by_account")
