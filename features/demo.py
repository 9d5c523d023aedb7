"""Where a demo lives and at which time: a home of its own beside other events, a clock where the data end."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from configs import Config, load
from configs.terminal import console

__all__ = ["at_the_end_of_the_data", "demo_home"]


def demo_home(config: Config, source: str) -> Config:
    """The home of a demo: the given one, or a folder in it when that holds events which this demo did not bring."""
    name = Path(source).stem
    from features.ledger import Ledger

    marker = config.home / "demo-source"
    ours = marker.exists() and marker.read_text(encoding="utf-8") == name
    if not ours and Ledger(config).batches():
        config = replace(config, home=config.home / f"demo-{name}")
        marker = config.home / "demo-source"
        console.print(f"this demo lives in {config.home}: go on with  export USEROPS_HOME={config.home}")
    config.home.mkdir(parents=True, exist_ok=True)
    marker.write_text(name, encoding="utf-8")
    return config


def at_the_end_of_the_data(config: Config) -> Config:
    """Hold the clock at the end of data that ended long ago: asked today, every feature would be stale."""
    from features.events import span
    from features.periods import midnight, now

    end = midnight(span(config)[1]) + timedelta(days=1)
    if config.now is None and now(config) - end > timedelta(days=7):
        os.environ["USEROPS_NOW"] = end.isoformat()
        console.print(f"these data end on {span(config)[1]:%Y-%m-%d}: the clock is held at {end:%Y-%m-%d %H:%M} UTC")
    return load(config.home)
