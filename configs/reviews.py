"""What a reviewer may say of a version, what counts of it, and what the gate's policy still lacks.

Reviewers sign from the command line and on the console, so these rules lie in the room that both see. A word is about
the files that were there when it was said: it holds the digest of their ``model.json``, and says nothing about others.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from configs.audit import Entry, Row

__all__ = [
    *("LONGEST_COMMENT", "WORDS", "Lack", "brief", "cleaned", "counted"),
    *("fault_of", "missing_approval", "said_already", "shown"),
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


def counted(rows: Iterable[Row]) -> list[Row]:
    """The approvals and rejections that count, oldest first: the last word of each source, less what was taken back.

    A source is a name, the account behind it, and whether a key was used. A name alone is whatever ``USEROPS_USER``
    says, so a rejection falls only to an approval under the same name and account, by a key where it was by a key.
    A rejection of before accounts were kept is known by its name. A question takes nothing back.

    Examples
    --------
    >>> said = [("lin", "rejected"), ("wu", "approved"), ("wu", "asked"), ("lin", "asked")]
    >>> [(row.who, row.action) for row in counted(Row(*one, "churn", "3") for one in said)]
    [('lin', 'rejected'), ('wu', 'approved')]
    """
    last: dict[tuple[str, str | None, bool], Row] = {}
    for row in rows:
        if row.action == "approved":
            last = {source: one for source, one in last.items() if not _takes_back(row, one)}
        if row.action in ("approved", "rejected"):
            last.pop(_source(row), None)
            last[_source(row)] = row
    return list(last.values())


def shown(rows: Iterable[Row]) -> list[Row]:
    """What reviewers have to say now, oldest first: the words that count, and questions that were somebody's last word.

    Examples
    --------
    >>> said = [("wu", "asked"), ("lin", "rejected"), ("wu", "approved"), ("lin", "asked")]
    >>> [(row.who, row.action) for row in shown(Row(*one, "churn", "3") for one in said)]
    [('lin', 'rejected'), ('wu', 'approved'), ('lin', 'asked')]
    """
    words = [row for row in rows if row.action in WORDS]
    open_questions = [row for row in {row.who: row for row in words}.values() if row.action == "asked"]
    kept = {id(row) for row in (*counted(words), *open_questions)}
    return [row for row in words if id(row) in kept]


def said_already(rows: Iterable[Row], entry: Entry) -> Row | None:
    """The last word of that reviewer, when it was the same one, about the same files, from the same source."""
    said = [row for row in rows if row.who == entry.who and row.action in WORDS]
    if not said or (said[-1].action, said[-1].comment) != (entry.action, entry.comment):
        return None
    same_files = said[-1].evidence.get("model_json") == entry.evidence.get("model_json")
    return said[-1] if same_files and _source(said[-1]) == _source(entry) else None


def missing_approval(
    policy: str,
    rows: Iterable[Row],
    digest: str,
    trained_by: str | None,
    trained_by_account: str | None = None,
) -> list[Lack]:
    """Why the policy's demand for approval is not met; empty when it is. A rejection counts under every policy.

    Parameters
    ----------
    rows
        Of the version, oldest first; what is no word of a reviewer is passed over.
    digest
        Of the files that are to be promoted.
    trained_by, trained_by_account
        As those files say.

    Examples
    --------
    >>> said = [Row("lin", "approved", "churn", "3", evidence={"model_json": "sha256:1", "account": "ubuntu"})]
    >>> missing_approval("other_than_trainer", said, "sha256:1", "lin")[0].got
    'approved only by lin, who trained it'
    >>> missing_approval("other_than_trainer", said, "sha256:1", "wu", "ubuntu")[0].got
    'approved only by lin, under ubuntu, the account that trained it'
    >>> missing_approval("reviewer", said, "sha256:1", "lin")
    []
    """
    words = counted(rows)
    rejected = [_rejection(row) for row in words if row.action == "rejected"]
    if rejected or policy == "none":
        return rejected
    approved = [row for row in words if row.action == "approved"]
    current = [row for row in approved if row.evidence.get("model_json") == digest]
    names = ", ".join(dict.fromkeys(row.who for row in approved))
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


def _source(said: Entry) -> tuple[str, str | None, bool]:
    return said.who, said.evidence.get("account"), bool(said.evidence.get("key"))


def _takes_back(approval: Row, word: Row) -> bool:
    (who, account, keyed), (whose, against, locked) = _source(approval), _source(word)
    return word.action == "rejected" and who == whose and against in (None, account) and keyed >= locked


def _rejection(row: Row) -> Lack:
    why, (who, account, keyed) = brief(row.comment), _source(row)
    en, zh = (f" under {account}", f"以 {account} 账户") if account else ("", "")
    if keyed:
        en, zh = (
            (f" with a key that {account} issued", f"用 {account} 签发的密钥") if account else (" with a key", "用密钥")
        )
    return Lack(
        {"en": f"{who} rejects it, until they approve it{en}: {why}", "zh": f"{who} 已否决，直到其{zh}改为批准：{why}"},
        f"rejected by {who}: {why}",
        f"a version that nobody rejects, or approval by {who}{en}",
        "userops train {model}",
    )


def _lack(policy: str, what: dict[str, str], got: str) -> Lack:
    whose = {"reviewer": "an approval by a reviewer", "other_than_trainer": "an approval by another than the trainer"}
    return Lack(what, got, f"{whose[policy]}, of these files", "userops sign {model} {version} --approve")


def _same_account(row: Row, trained_by_account: str | None) -> bool:
    name = row.evidence.get("account")
    return name is not None and name in (trained_by_account, row.evidence.get("trained_by_account"))
