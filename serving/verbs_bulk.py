"""The verb for everybody's scores: `userops score --out`, which `userops score` becomes without users."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from configs import load
from configs.errors import UseropsError
from configs.terminal import print_table, showing

__all__ = ["score_all"]

ENGINES = {"threads": "serving.bulk.run", "spark": "serving.bulk.spark"}


def score_all(
    out: Path, models: list[str], as_of: str | None, reasons: int, lang: str, fresh: bool, engine: str = "threads"
) -> dict[str, Any]:
    """Score everybody, print what was written, and return it."""
    from features.periods import as_utc
    from serving.bulk.run import MODELS

    score_everybody = _engine(engine)
    with showing("scoring") as show:
        found = score_everybody(
            load(),
            out,
            list(dict.fromkeys(models)) or MODELS,
            as_of=as_utc(as_of) if as_of else None,
            reasons=reasons,
            lang=lang,
            fresh=fresh,
            progress=show,
        )
    rows: list[list[object]] = [
        [
            name,
            f"{one['rows']:,}",
            f"{one['parts']:,}" + (f" ({one['parts_done_before']:,} before)" if one["parts_done_before"] else ""),
            f"{one['bytes'] / 1e6:,.1f}",
            f"{one['seconds']:,.1f}",
            "" if one["users_per_s"] is None else f"{one['users_per_s']:,.0f}",
        ]
        for name, one in found["models"].items()
    ]
    snapshot = found["snapshot"]
    title = f"{snapshot['users']:,} users as of {snapshot['as_of'][:10]}, release {found['release_id']}: {out}"
    print_table(title, ["model", "rows", "parts", "MB", "seconds", "users/s"], rows)
    return found


def _engine(name: str) -> Callable[..., dict[str, Any]]:
    if name not in ENGINES:
        raise UseropsError("no such engine", got=name, expected=list(ENGINES))
    engine: Callable[..., dict[str, Any]] = import_module(ENGINES[name]).score_everybody
    return engine
