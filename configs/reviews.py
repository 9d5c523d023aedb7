"""What a reviewer may say of a version, what counts of it, and what the gate's policy still lacks.

Reviewers sign from the command line and on the console, so these rules lie in the room that both see. A word is about
the files that were there when it was said: it holds the digest of their ``model.json``, and says nothing about others.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from configs.audit import Entry, Row

__all__ = [
    *("LONGEST_COMMENT", "WORDS", "Lack", "brief", "cleaned"),
    *("fault_of", "last_words", "missing_approval", "said_already"),
]

WORDS = ("approved", "rejected", "asked")
LONGEST_COMMENT = 2000
_SHOWN = 200
# They turn the reading direction round: a comment must not change how the text beside it reads.
_DIRECTIONS = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


@dataclass(frozen=True)
class Lack:
    """One thing that the policy lacks: ``what`` in ``en`` and ``zh``, what is there, what ought to be, what to run.

    ``run`` may name the model as ``{model}`` and the version as ``{version}``.
    """

    what: dict[str, str]
    got: str
    expected: str
    run: str


def cleaned(comment: str) -> str:
    r"""A comment as it is kept: without blanks around it, control characters and turns of the reading direction.

    Examples
    --------
    >>> cleaned("  fine\r\nso\x00 far \u202e")
    'fine\nso far'
    """
    lines = comment.replace("\r\n", "\n").replace("\r", "\n")
    kept = (c for c in lines if c in "\n\t" or (unicodedata.category(c) not in ("Cc", "Cs") and c not in _DIRECTIONS))
    return "".join(kept).strip()


def brief(comment: str) -> str:
    r"""A comment on one line, 200 characters at most.

    Examples
    --------
    >>> brief("too\n  early"), len(brief("x" * 999))
    ('too early', 200)
    """
    line = " ".join(comment.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def fault_of(word: str, comment: str) -> str | None:
    """Why nobody can say that: ``word``, ``comment_missing``, ``comment_long``; None when it can be said.

    Examples
    --------
    >>> fault_of("approved", ""), fault_of("rejected", "  "), fault_of("shrugged", "so")
    (None, 'comment_missing', 'word')
    """
    if word not in WORDS:
        return "word"
    if word != "approved" and not cleaned(comment):
        return "comment_missing"
    return "comment_long" if len(cleaned(comment)) > LONGEST_COMMENT else None


def last_words(rows: Iterable[Row]) -> dict[str, Row]:
    """What each reviewer said last, by name.

    Examples
    --------
    >>> said = [("lin", "rejected"), ("wu", "asked"), ("lin", "approved")]
    >>> {who: row.action for who, row in last_words(Row(*one, "churn", "3") for one in said).items()}
    {'lin': 'approved', 'wu': 'asked'}
    """
    return {row.who: row for row in rows if row.action in WORDS}


def said_already(rows: Iterable[Row], entry: Entry) -> Row | None:
    """The last word of that reviewer, when it was the same one, about the same files, under the same account."""
    row = last_words(rows).get(entry.who)
    if row is None or (row.action, row.comment) != (entry.action, entry.comment):
        return None
    return row if all(row.evidence.get(k) == entry.evidence.get(k) for k in ("model_json", "account")) else None


def missing_approval(
    policy: str,
    words: Mapping[str, Row],
    digest: str,
    trained_by: str | None,
    trained_by_account: str | None = None,
) -> list[Lack]:
    """Why the policy's demand for approval is not met; empty when it is. A rejection counts under every policy.

    Parameters
    ----------
    words
        As `last_words` gives them.
    digest
        Of the files that are to be promoted.
    trained_by, trained_by_account
        As those files say.

    Examples
    --------
    >>> said = {"lin": Row("lin", "approved", "churn", "3", evidence={"model_json": "sha256:1", "account": "ubuntu"})}
    >>> missing_approval("other_than_trainer", said, "sha256:1", "lin")[0].got
    'approved only by lin, who trained it'
    >>> missing_approval("other_than_trainer", said, "sha256:1", "wu", "ubuntu")[0].got
    'approved only by lin, under ubuntu, the account that trained it'
    >>> missing_approval("reviewer", said, "sha256:1", "lin")
    []
    """
    rejected = [_rejection(row) for row in words.values() if row.action == "rejected"]
    if rejected or policy == "none":
        return rejected
    approved = [row for row in words.values() if row.action == "approved"]
    current = [row for row in approved if row.evidence.get("model_json") == digest]
    names = ", ".join(row.who for row in approved)
    if approved and not current:
        what = {"en": f"its files changed after {names} approved it", "zh": f"{names} 批准之后模型文件又有变动"}
        return [_lack(policy, what, f"approved by {names} before its files were changed")]
    if not current:
        return [_lack(policy, {"en": "nobody approved it", "zh": "尚无人批准"}, "nobody approved it")]
    if policy != "other_than_trainer":
        return []
    if not trained_by:
        what = {"en": "nobody knows who trained it", "zh": "不知道由谁训练"}
        return [Lack(what, what["en"], "a version that says so", "userops train {model}")]
    others = [row for row in current if row.who != trained_by]
    if not others:
        said = f"approved only by {trained_by}, who trained it"
        return [_lack(policy, {"en": said, "zh": f"只有训练者 {trained_by} 本人批准"}, said)]
    # A name is whatever USEROPS_USER says. Versions of before accounts were kept are judged by names alone.
    own = [(row.who, row.evidence["account"]) for row in others if _same_account(row, trained_by_account)]
    if len(own) < len(others):
        return []
    said = f"approved only by {', '.join(f'{who}, under {name}' for who, name in own)}, the account that trained it"
    zh = f"只有训练它的账户批准：{'、'.join(f'{who}（{name}）' for who, name in own)}"
    return [_lack(policy, {"en": said, "zh": zh}, said)]


def _rejection(row: Row) -> Lack:
    why = brief(row.comment)
    return Lack(
        {"en": f"{row.who} rejects it, until they approve it: {why}", "zh": f"{row.who} 已否决，直到其改为批准：{why}"},
        f"rejected by {row.who}: {why}",
        f"a version that nobody rejects, or approval by {row.who}",
        "userops train {model}",
    )


def _lack(policy: str, what: dict[str, str], got: str) -> Lack:
    whose = {"reviewer": "an approval by a reviewer", "other_than_trainer": "an approval by another than the trainer"}
    return Lack(what, got, f"{whose[policy]}, of these files", "userops sign {model} {version} --approve")


def _same_account(row: Row, trained_by_account: str | None) -> bool:
    name = row.evidence.get("account")
    return name is not None and name in (trained_by_account, row.evidence.get("trained_by_account"))
