"""A reviewer's word on a version, under the reviewer's key: one row of the audit table, or a page that says why not.

The row is all that is written here; `training.gate.mirror` makes tags of MLflow's version of it, and the gate reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.responses import RedirectResponse, Response

from configs.audit import Entry, append_unless, entries
from configs.errors import AuditError, KeyRefused, KeysError
from configs.keys import Key, Keys, keys_file
from configs.reviews import (
    LONGEST_COMMENT,
    WORDS,
    cleaned,
    fault_of,
    missing_approval,
    said_already,
)
from serving.access.guesses import guesses
from serving.console.asked import Asked
from serving.console.page import Page, instant
from serving.errors.problem import Problem

__all__ = ["confirmation", "form", "post", "rules_in_words"]

SCOPE = "sign"
SHOWN = 19  # characters of a digest

_log = logging.getLogger("bentoml.userops")


def post(asked: Asked) -> Page | Response:
    """Answer ``POST /console/models/{model}/{version}/sign``: word, comment, key and the digest that was looked at."""
    card = _card(asked)
    word, comment = asked.given.get("word", ""), cleaned(asked.given.get("comment", ""))
    if _foreign(asked.headers):
        return _again(asked, card, 403, "foreign")
    if (fault := fault_of(word, comment)) is not None:
        return _again(asked, card, 422, fault)
    try:
        key = _key(asked)
    except KeyRefused as refused:
        return _again(asked, card, 403, f"key_{refused.reason}")
    except KeysError as error:
        _log.error("signing: %s", error)
        return _again(asked, card, 503, "keys_unreadable")
    except Problem:
        return _again(asked, card, 429, "key_often")
    if asked.given.get("model_json", "") != card["model_json"]:
        return _again(asked, card, 409, "stale")
    evidence = {
        "model_json": card["model_json"],
        "account": key.issued_by,
        "trained_by_account": card.get("trained_by_account"),
        "key": key.id,
        "by": "console",
    }
    entry = Entry(key.name, word, card["model"], card["version"], card.get("run_id") or "", comment, evidence)
    try:
        row, new = append_unless(asked.live.config.audit_uri, entry, lambda rows: said_already(rows, entry))
    except AuditError as error:
        _log.error("signing: %s", error)
        return _again(asked, card, 503, "unwritable")
    query = f"signed={row.seq}" + ("" if new else "&again=1")
    return RedirectResponse(f"{_address(card)}?{query}", 303)


def form(asked: Asked, card: Mapping[str, Any], word: str = "", comment: str = "") -> dict[str, Any]:
    """What ``_sign.html`` shows: where it goes, what was typed (never the key), and the rules."""
    return {
        "action": f"{_address(card)}/sign",
        "model_json": card["model_json"],
        "word": word if word in WORDS else "",
        "comment": comment,
        "unguarded": asked.t("sign.unguarded", model=card["model"]) if _policy(asked, card) == "none" else "",
        "rules": rules_in_words(asked, card),
        "fault": "",
        "longest": f"{LONGEST_COMMENT:,}",
        "words": [(one, asked.t(f"sign.{one}")) for one in WORDS],
    }


def confirmation(asked: Asked, model: str, version: str) -> str | None:
    """What was signed a moment ago, when the address says so and the audit table, too."""
    seq = asked.given.get("signed", "")
    if not seq.isdecimal() or len(seq) > 15:
        return None
    try:
        rows = entries(asked.live.config.audit_uri, model, version, after=int(seq) - 1)
    except AuditError:
        return None
    for row in rows[:1]:
        if row.seq == int(seq) and row.action in WORDS:
            key = "sign.again" if "again" in asked.given else "sign.done"
            return asked.t(key, who=row.who, word=asked.t(f"sign.said_{row.action}"), at=instant(row.at), seq=row.seq)
    return None


def rules_in_words(asked: Asked, card: Mapping[str, Any]) -> list[str]:
    """Who may approve this version, what is still missing, and which files a word is about; a sentence each."""
    t, policy = asked.t, _policy(asked, card)
    trainer, account = card.get("trained_by"), card.get("trained_by_account")
    said = [t(f"sign.policy_{policy}")]
    if policy == "other_than_trainer":
        said = [t("sign.policy_other_than_trainer", trainer=trainer or "?")]
        said += [t("sign.policy_account", account=account)] if account else []
    said.append(t("sign.policy_rejection"))
    try:
        rows = entries(asked.live.config.audit_uri, card["model"], card["version"])
    except AuditError:
        return [*said, t("sign.unreadable")]
    lacks = missing_approval(policy, rows, card["model_json"], trainer, account)
    for lack in lacks:
        said.append(t("sign.lacks", what=t.of(lack.what)))
    if not lacks and policy != "none":
        said.append(t("sign.lacks_nothing"))
    return [*said, t("sign.files", digest=card["model_json"][:SHOWN])]


def _policy(asked: Asked, card: Mapping[str, Any]) -> str:
    model = asked.live.config.models.get(card["model"])
    return model.gate.approval if model is not None else "none"


def _card(asked: Asked) -> dict[str, Any]:
    model, version = asked.parts["model"], asked.parts["version"]
    card = asked.desk.read(model, version, "card.json") if version.isdecimal() else None
    if card is None:
        run = f"userops report {model} --version {version}"
        raise Problem(404, "unknown-version", asked.t("sign.unknown", model=model, version=version), expected=run)
    return card


def _key(asked: Asked) -> Key:
    keys, text = _keys(keys_file(asked.live.config)), asked.given.get("key", "")
    try:
        return keys.check(text, SCOPE)
    except KeyRefused as refused:
        if refused.reason != "absent":
            named = keys.known(text)
            if guesses.wait(asked.address, named):
                raise Problem(429, "too-many-requests", "") from None
            guesses.failed(asked.address, named)
            _log.warning("signing from %s: key %s is refused: %s", asked.address, named or "unknown", refused.reason)
        raise


@lru_cache(maxsize=4)
def _keys(file: Path) -> Keys:
    return Keys(file)


def _foreign(headers: Mapping[str, str]) -> bool:
    """Whether the form stood on another site. Every form asks for the key, so this is the second lock on that door."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin", "null")
    # Without https, a browser that is told to send no referrer sends "null" of our own pages, too.
    return origin != "null" and urlsplit(origin).netloc != headers.get("host")


def _again(asked: Asked, card: Mapping[str, Any], status: int, fault: str) -> Page:
    """The form once more with what was typed, but for the key; of changed files the comment alone: look first."""
    comment, word = cleaned(asked.given.get("comment", "")), asked.given.get("word", "")
    said = asked.t(f"sign.{fault}", longest=f"{LONGEST_COMMENT:,}", length=f"{len(comment):,}")
    own = {"fault": said if fault.startswith("comment_") else ""}
    values = {
        "model": card["model"],
        "version": card["version"],
        "card": _address(card),
        "fault": said,
        "form": None if status == 409 else form(asked, card, word, comment) | own,
        "comment": comment,
    }
    title = asked.t("sign.title", model=card["model"], version=card["version"])
    return Page("sign.html", title, "models", values, status)


def _address(card: Mapping[str, Any]) -> str:
    return f"/console/models/{quote(card['model'])}/{quote(card['version'])}"
