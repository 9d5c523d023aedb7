"""`userops promote`, `rollback`, `sign` and `audit`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from configs import Config, load, model_of
from configs.terminal import JsonFile, Lang, Models, Named, console, print_table, showing, write_json

__all__ = ["audit", "promote", "rollback", "sign"]

Comment = Annotated[str, typer.Option(help="Why; kept in the audit table.", show_default="none")]
MOST_ROWS = 40


def promote(
    models: Models = None,
    version: Annotated[str, typer.Option(help="A version number or an alias.")] = "challenger",
    comment: Comment = "",
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Let a version be champion, if metrics, comparison, checks, parity and reviewers let it; else say what lacks."""
    from training.gate.promote import promote as move
    from training.gate.promote import trained

    config = load()
    with showing("judging") as show:
        moved = move(config, models or trained(config), version, show, comment, lang)
    for one in moved:
        told = _told_zh if lang == "zh" else _told
        console.print(told(one.model, one.version, one.before, moved=one.row is not None), highlight=False)
        _warn_of_rejection(config, one.model)
    write_json(
        json_file,
        [{"model": one.model, "version": one.version, "before": one.before, "audit": _row(one.row)} for one in moved],
    )


def rollback(
    model: Annotated[str, typer.Argument(help="Which model.")], comment: Comment = "", json_file: JsonFile = None
) -> None:
    """Let the champion before this one be champion again, at once and without asking the gate; then release."""
    from training.gate.rollback import rollback as back

    row = back(load(), model, comment)
    before = row.evidence["before"]
    console.print(f"{model}: champion is version {row.version} again (before: {before})", highlight=False)
    console.print("the service follows with: userops release", highlight=False)
    write_json(json_file, row.as_json())


def sign(
    model: Annotated[str, typer.Argument(help="Which model.")],
    version: Annotated[str, typer.Argument(help="A version number or an alias.")] = "challenger",
    named: Named = None,
    approve: Annotated[bool, typer.Option("--approve", help="It may speak to customers.", show_default="off")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="It may not.", show_default="off")] = False,
    ask: Annotated[bool, typer.Option("--ask", help="A question first.", show_default="off")] = False,
    comment: Comment = "",
    json_file: JsonFile = None,
) -> None:
    """Approve or reject a version, or ask about it: the promotion gate reads it.

    Under the name in USEROPS_USER, or that of this account; the account itself is recorded beside it, and a gate that
    asks for somebody other than the trainer looks at both. A rejection stands until the same name approves under the
    same account; one that was signed with a key, on the console, until that name approves with a key there.
    """
    from training.gate.sign import sign as say

    words = [word for word, said in (("approved", approve), ("rejected", reject), ("asked", ask)) if said]
    if len(words) != 1:
        raise typer.BadParameter("say one of --approve, --reject and --ask")
    config = load()
    row, new = say(config, model, named or version, words[0], comment)
    again = "" if new else f" already, on {row.at[:16].replace('T', ' ')} UTC: not written again"
    console.print(f"{model} version {row.version}: {row.action} by {row.who}{again}", markup=False, highlight=False)
    _warn_of_rejection(config, model)
    write_json(json_file, row.as_json())


def audit(
    model: Annotated[str | None, typer.Argument(help="Which model.", show_default="all of them")] = None,
    json_file: JsonFile = None,
) -> None:
    """Show who promoted, rolled back and signed what, after seeing that no row was altered; else this ends with 1."""
    from configs.audit import entries, verify
    from training.gate.mirror import mirror

    config = load()
    there = verify(config.audit_uri)
    if model is not None and not entries(config.audit_uri, model):
        model_of(config, model)  # one that is not configured any more is shown as long as it has rows
    mirror(config)
    rows = entries(config.audit_uri, model)
    shown: list[list[object]] = [
        [row.seq, row.at[:19].replace("T", " "), row.who, row.action, f"{row.model} {row.version}", row.comment]
        for row in rows[-MOST_ROWS:]
    ]
    print_table(f"the last {len(shown)} of {len(rows)} rows", ["", "at (UTC)", "who", "did", "version", "why"], shown)
    console.print(f"{there} rows, none altered, none missing between them", highlight=False)
    for name in config.models if model is None else [model]:
        _warn_of_rejection(config, name)
    write_json(json_file, [row.as_json() for row in rows])


def _told(model: str, version: str, before: str | None, *, moved: bool) -> str:
    if not moved:
        return f"{model}: champion is version {version} already: nothing moved"
    return f"{model}: champion is version {version} " + (f"(before: {before})" if before else "(the first champion)")


def _told_zh(model: str, version: str, before: str | None, *, moved: bool) -> str:
    if not moved:
        return f"{model}：冠军已是第 {version} 版，未作改动"
    return f"{model}：冠军为第 {version} 版" + (f"（此前为第 {before} 版）" if before else "（首个冠军）")


def _warn_of_rejection(config: Config, model: str) -> None:
    from training.gate.sign import rejected_champion

    if said := rejected_champion(config, model):
        console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _row(row: Any) -> dict[str, Any] | None:
    return None if row is None else row.as_json()
