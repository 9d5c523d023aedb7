"""The simulated shop as files: what its logs would hold, and beside them what only the simulator knows."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from configs import load
from configs.errors import ConfigError
from features.periods import as_utc, midnight, now
from features.simulate.assortment import CITIES, STORES, draw_assortment
from features.simulate.files import microseconds, write_events, write_table, write_truth
from features.simulate.journal import write_journal
from features.simulate.occasions import CHANNELS, MINUTE, draw_habits, draw_occasions
from features.simulate.people import draw_people
from features.simulate.process import Process

__all__ = ["Shop", "simulate"]

_LATE_SHARE = 0.03  # of the rows reach us hours late, up to a day and a half; the others within minutes
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Shop:
    """How large a shop, for how long, until when (a midnight, exclusive); the same values give the same files.

    ``end`` is today's midnight (UTC, by the clock of `features.periods.now`) when left out.

    Examples
    --------
    >>> Shop(days=7, end=as_utc("2024-03-08")).first.isoformat()
    '2024-03-01T00:00:00+00:00'
    """

    users: int = 6000
    days: int = 420
    seed: int = 20261121
    end: datetime | None = None
    process: Process = field(default_factory=Process)

    def __post_init__(self) -> None:
        if self.users < 1 or self.days < 1:
            raise ConfigError("a shop needs users and days", got=(self.users, self.days), expected="at least 1 of each")
        if self.end is not None and as_utc(self.end) != midnight(as_utc(self.end)):
            raise ConfigError("a shop ends at a midnight (UTC)", got=self.end, expected=midnight(as_utc(self.end)))

    @property
    def last(self) -> datetime:
        """The instant before which everything happens."""
        return midnight(now(load())) if self.end is None else as_utc(self.end)

    @property
    def first(self) -> datetime:
        """The shop's first midnight."""
        return self.last - timedelta(days=self.days)


def simulate(folder: Path, shop: Shop, progress: Progress | None = None) -> Path:
    """Writes ``events``, ``users``, ``items``, ``stores`` (``.parquet``) and ``truth/`` into ``folder``, all or none.

    An earlier shop in ``folder`` is replaced; any other folder that is not empty is refused.

    Examples
    --------
    >>> import tempfile
    >>> folder = simulate(Path(tempfile.mkdtemp()) / "shop", Shop(users=20, days=30))
    >>> sorted(path.name for path in folder.iterdir())
    ['events.parquet', 'items.parquet', 'stores.parquet', 'truth', 'users.parquet']
    """
    folder, shop = Path(folder), replace(shop, end=shop.last)  # the same instant throughout, even at midnight
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "truth" / "process.json").exists():
        raise ConfigError(
            f"{folder} is not empty and holds no simulated shop",
            got=sorted(path.name for path in folder.iterdir())[:5],
            expected="an empty or absent folder",
            run=f"choose another folder, or empty {folder}",
        )
    say = progress or (lambda what, share: None)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(draft, shop, say)
        _replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    say("shop written", 1.0)
    return folder


def _replace(draft: Path, folder: Path) -> None:
    """``draft`` becomes ``folder``; a crash in between leaves the old shop beside it, whole."""
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        os.replace(folder, old)  # an empty folder may be replaced by a folder
        os.replace(draft, folder)
        shutil.rmtree(old)
    else:
        os.replace(draft, folder)
    folder.chmod(0o755)


def _write(folder: Path, shop: Shop, say: Progress) -> None:
    first = pd.Timestamp(shop.first)
    streams = [np.random.default_rng(seed) for seed in np.random.SeedSequence(shop.seed).spawn(6)]
    say("people", 0.0)
    seasons = shop.process.seasons(shop.first.date(), shop.days)
    people = draw_people(shop.process, seasons, shop.users, streams[0])
    say("occasions", 0.2)
    city = streams[1].integers(0, len(CITIES), shop.users)
    near = city + len(CITIES) * streams[1].integers(0, len(STORES) // len(CITIES), shop.users)
    source = streams[1].choice(len(CHANNELS), size=shop.users, p=[0.4, 0.25, 0.2, 0.15])
    habits = draw_habits(shop.users, near, streams[2])
    occasions = draw_occasions(people, habits, streams[3])
    say("events", 0.5)
    goods = draw_assortment(first, shop.days, streams[4])
    journal = write_journal(people, habits, occasions, goods, source, streams[5])
    say("files", 0.7)
    ids = np.array([f"u{k + 1:06d}" for k in range(shop.users)])
    late = streams[5].exponential(4 * MINUTE, len(journal))
    some = streams[5].random(len(journal)) < _LATE_SHARE
    late[some] = streams[5].uniform(2 / 24, 1.5, int(some.sum()))
    items = goods.items["item_id"].tolist()
    write_events(folder / "events.parquet", journal, ids, items, shop.first, shop.days, late)
    registered = first + pd.to_timedelta(microseconds(people.registered), unit="us")
    users = {"user_id": ids, "registered_at": registered}
    write_table(
        folder / "users.parquet",
        {**users, "city": np.array(CITIES)[city], "source_channel": np.array(CHANNELS)[source]},
    )
    write_table(folder / "items.parquet", goods.items.to_dict("series"))
    write_table(folder / "stores.parquet", {"store_id": [s for s, _ in STORES], "city": [c for _, c in STORES]})
    write_truth(folder / "truth", people, habits, ids, shop.first, shop.process)
