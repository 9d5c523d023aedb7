"""The verbs about the decision log: identify, decisions export | replay | migrate | prune."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from configs import Config, load
from configs.databases import shown
from configs.errors import UseropsError
from configs.terminal import JsonFile, Lang, console, print_table, showing, writable, write_json

__all__ = ["export", "identify", "migrate", "prune", "replay"]

Since = Annotated[str | None, typer.Option(help="The first instant, in UTC.", show_default="the first decision")]
Until = Annotated[str | None, typer.Option(help="The first instant that does not count, in UTC.", show_default="now")]


def identify(
    file: Annotated[
        Path, typer.Argument(help="A CSV or Parquet file with the columns namespace, id, user_id.", exists=True)
    ],
) -> None:
    """Learn which ids of other systems belong to which user, so that requests may name a person by any of them."""
    import duckdb

    from serving.log import DecisionLog

    with duckdb.connect() as connection:
        try:
            # As text: an id that looks like a number keeps its zeros.
            table = (
                connection.read_parquet(str(file))
                if file.suffix == ".parquet"
                else connection.read_csv(str(file), all_varchar=True)
            )
            rows = table.project("namespace::TEXT, id::TEXT, user_id::TEXT").fetchall()
        except duckdb.Error as error:
            raise UseropsError(
                f"{file} cannot be read", got=str(error).partition("\n")[0], expected="columns namespace, id, user_id"
            ) from None
    if any(not value for row in rows for value in row):
        raise UseropsError(f"{file} leaves something empty", expected="namespace, id and user_id in every line")
    known = DecisionLog.open(load().decisions_uri).identify(rows)
    console.print(f"{known:,} identities known")


def export(
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    since: Since = None,
    until: Until = None,
) -> None:
    """Write logged decisions with their rewards as Parquet, in the Open Bandit data set's field names."""
    from serving.log import DecisionLog

    config = load()
    with showing("exporting decisions"):
        rows = DecisionLog.open(config.decisions_uri).export(writable(file) or file, *_between(config, since, until))
    console.print(f"{rows:,} shown offers in {file}")


def replay(
    since: Since = None,
    until: Until = None,
    release: Annotated[
        str | None, typer.Option(help="Ask another release instead; 'current' is the one in force.", show_default="own")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Decide logged decisions again; by their own release every bit must be the same, or this ends with 1."""
    from serving.local import replay as again

    config = load()
    decided = identical = broken = 0
    shown: list[dict[str, Any]] = []
    with showing("deciding again") as show:
        for one in again(config, *_between(config, since, until), release):
            decided, identical = decided + 1, identical + one["identical"]
            broken += one["kind"] == "replay" and not one["identical"]
            if not one["identical"] and len(shown) < 20:
                shown.append(one)
            show(f"{decided:,}", 0.5)
    console.print(f"{decided:,} decisions decided again: {identical:,} identical")
    rows: list[list[object]] = [
        [one["decision_id"], first["path"], first["was"], first["now"]]
        for one in shown
        for first in one["differences"][:1]
    ]
    if rows:
        print_table("the first that differ", ["decision", "first difference", "was", "now"], rows)
    write_json(json_file, {"decisions": decided, "identical": identical, "differing": shown})
    if broken:
        raise typer.Exit(1)


def _between(config: Config, since: str | None, until: str | None) -> tuple[int, int]:
    """Microseconds of both ends."""
    from features.periods import as_utc, now

    last = as_utc(until) if until else now(config) + timedelta(microseconds=1)
    return int(as_utc(since).timestamp() * 1e6) if since else 0, int(last.timestamp() * 1e6)


def migrate(
    to: Annotated[
        str | None, typer.Option(help="A step; head: the last one; base: no log at all.", show_default="only look")
    ] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Go back even where rows go with it.", show_default="no")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Show the steps of the decision log's schema, and with --to move it to one of them, forward or back.

    Forward nothing is lost, and whoever opens the log moves it forward anyway, so stop the service before you go back
    and start the older version after it. Back is refused, with the number of rows, where something would go.
    """
    from serving.log.database import connect
    from serving.log.migrate import BASE, HEAD, steps, version
    from serving.log.migrate import migrate as move

    uri = load().decisions_uri
    database = connect(uri)
    try:
        before, known = version(database) or BASE, steps()
        target = HEAD if to == "head" else to or before
        dropped = move(database, target, drop=drop) if before != target else {}
        now = version(database) or BASE
    finally:
        database.close()
    rows: list[list[object]] = [[one.version, one.about, "here" if one.version == now else ""] for one in known]
    print_table(f"the decision log in {shown(uri)}", ["step", "", ""], rows, words=(1, 2))
    moved = f"it is at {now}" if before == now else f"moved from {before} to {now}"
    console.print(moved + "".join(f"; {count:,} of {name} dropped" for name, count in dropped.items()))
    write_json(json_file, {"before": before, "now": now, "dropped": dropped})


_PRUNED = {
    "title": {"en": "the decision log before {before}", "zh": "{before} 之前的决策日志"},
    "rows": {"en": "rows", "zh": "行数"},
    "decisions": {"en": "decisions", "zh": "决策"},
    "offers": {"en": "offers shown", "zh": "已展示的优惠"},
    "feedback": {"en": "feedback", "zh": "反馈"},
    "actions": {"en": "actions for caps", "zh": "频控动作"},
    "contents": {"en": "vectors, histories", "zh": "特征向量与历史"},
    "would": {"en": "nothing was removed: this is what would be", "zh": "未删除任何数据：以上为将要删除的内容"},
    "ask": {
        "en": "remove them? It cannot be taken back: userops decisions export FILE --until {before} keeps what uplift "
        "and evaluation learn from",
        "zh": "删除以上数据？此操作不可撤销：userops decisions export FILE --until {before} 可保留增益与评估所需的数据",
    },
    "kept": {"en": "nothing was changed", "zh": "未作任何更改"},
    "done": {
        "en": "removed; counts per offer, placement, channel and day stay, and a file of SQLite keeps its size and is "
        "filled again",
        "zh": "已删除；按优惠、位置、渠道、日期的计数保留；SQLite 文件大小不变，空间将被重复使用",
    },
}


def prune(
    before: Annotated[
        str | None, typer.Option(help="The first instant that stays, in UTC.", show_default="none")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(help="How many days stay, counted back from now; at least 93.", show_default="none")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much it is.", show_default="off")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.", show_default="ask")] = False,
    lang: Lang = "en",
    json_file: JsonFile = None,
) -> None:
    """Remove old decisions with their feedback, vectors and histories; counts over everybody stay. Not to be undone.

    Give --before or --keep. The service goes on meanwhile; interrupted, the same command goes on.
    """
    from features.periods import as_utc, now
    from serving.log import DecisionLog

    if (before is None) == (keep is None):
        raise typer.BadParameter("give either --before or --keep")
    config = load()
    at = now(config)
    first = as_utc(before) if before is not None else at - timedelta(days=keep or 0)
    before_us, now_us = (int(one.timestamp() * 1e6) for one in (first, at))
    told = f"{first:%Y-%m-%d %H:%M} UTC"

    def table(rows: dict[str, int]) -> None:
        title = _PRUNED["title"][lang].format(before=told)
        print_table(
            title, ["", _PRUNED["rows"][lang]], [[_PRUNED[kind][lang], f"{count:,}"] for kind, count in rows.items()]
        )

    log = DecisionLog.open(config.decisions_uri)
    try:
        found, removed = dict[str, int](), dict[str, int]()
        if dry_run or not yes:
            found = log.prunable(before_us, now_us)
            table(found)
        if dry_run:
            console.print(_PRUNED["would"][lang])
        else:
            asked = _PRUNED["ask"][lang].format(before=f"{first:%Y-%m-%dT%H:%M:%SZ}")
            if not yes and not typer.confirm(asked, err=True):
                console.print(_PRUNED["kept"][lang])
                raise typer.Exit(1)
            with showing("pruning") as show:
                removed = log.prune(before_us, now_us, show)
            table(removed)
            console.print(_PRUNED["done"][lang], soft_wrap=True)
    finally:
        log.close()
    write_json(json_file, {"before": first.isoformat(), "would_remove": found, "removed": removed})
