"""``userops benchmark console``: the reviewers' pages over a home as large as a big shop's.

How many milliseconds the service takes for each page; how many a browser takes until its charts are drawn, with an
empty cache and with a full one; and what a reviewer who opens a page every second does to the p99 of next-best-offer.
The last is measured in turns, with the reviewer and without, because no machine is the same a minute later.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from configs import Config
from configs.databases import embedded
from configs.errors import UseropsError
from serving.benchmark_console_reviewer import click
from serving.benchmark_console_stage import Stage, lay_console
from serving.benchmark_load import Load, drive, post
from serving.benchmark_stage import Service, served, shop_of
from serving.console.pdf import BROWSERS

__all__ = ["Size", "benchmark_console"]

Progress = Callable[[str, float], None]
# When the first charts, and when all of them were drawn, in milliseconds since the navigation began.
_WATCH = """
window.seen = {};
const look = () => {
  for (const name of ["drawn", "drawnAll"])
    if (document.documentElement?.dataset[name] !== undefined && !(name in window.seen))
      window.seen[name] = performance.now();
};
new MutationObserver(look).observe(document, {attributes: true, subtree: true, attributeFilter: ["data-drawn",
  "data-drawn-all"]});
"""


@dataclass(frozen=True)
class Size:
    """How much there is and how much is asked; tests ask little."""

    users: int = 100_000
    decisions: int = 1_000_000
    features: int = 200
    clicks: int = 30
    loads: int = 5
    connections: tuple[int, ...] = (4, 16)
    rounds: int = 6
    seconds: float = 12.0


def benchmark_console(config: Config, progress: Progress | None = None, size: Size | None = None) -> dict[str, Any]:
    """Milliseconds of every page on the server and in a browser; ratios of p99 with a reviewer to that without.

    A ratio of 1.2 means that with somebody who opens a page every second, the slowest of a hundred decisions takes 1.2
    times as long. Without a release in ``config.home`` a small demo shop is walked first.
    """
    show = progress or (lambda message, fraction: None)
    size = size or Size()
    started = time.monotonic()
    config.home.mkdir(parents=True, exist_ok=True)
    # Thousands of decisions are made: into files of a scratch home, wherever else decisions go.
    with embedded(), tempfile.TemporaryDirectory(prefix="benchmark-", dir=config.home) as scratch:
        folder = Path(scratch)
        config = shop_of(config, folder, show)
        config = _at_its_features(config)
        show("laying out a large home", 0.1)
        stage = lay_console(config, folder / "home", size.users, size.decisions, size.features)
        pages = _pages(stage)
        at = {"USEROPS_HOME": str(stage.home), "USEROPS_NOW": str(config.now and config.now.isoformat())}
        metrics: dict[str, Any] = {}
        load_before = os.getloadavg()[0]
        with served("serving.service:UserOps", stage.home, "/readyz", **at) as service:
            show("opening every page", 0.35)
            sizes = _server(service, pages, size.clicks, metrics)
            show("drawing every page", 0.45)
            not_drawn = _browser(service, pages, size.loads, metrics)
            ratios: dict[str, float] = {}
            without: dict[str, float] = {}
            for number, connections in enumerate(size.connections):
                show(f"deciding on {connections} connections, with and without a reviewer", 0.6 + 0.2 * number)
                name = f"nbo_c{connections}"
                reviewed, plain = _beside(service, stage, pages, connections, size)
                for label, q in (("p50_ms", 0.5), ("p99_ms", 0.99)):
                    metrics[f"{name}_{label}"] = _spread(np.concatenate([one.taken_ms for one in reviewed]), q)
                    without[f"{name}_{label}"] = float(np.quantile(np.concatenate([one.taken_ms for one in plain]), q))
                metrics[f"{name}_rps"] = _range([one.rps for one in reviewed])
                without[f"{name}_rps"] = float(np.median([one.rps for one in plain]))
                each = [_p99(one) / _p99(other) for one, other in zip(reviewed, plain, strict=True)]
                metrics[f"{name}_p99_ratio_by_round"] = _range(each)
                ratios[f"p99_with_reviewer_{name}"] = metrics[f"{name}_p99_ms"]["value"] / without[f"{name}_p99_ms"]
    return {
        "benchmark": "console",
        "metrics": metrics,
        "baselines": {"without_reviewer": without},
        "ratios": ratios,
        "settings": {
            **stage.counted,
            "workers": config.serving.workers,
            "bytes_of_pages": sizes,
            "not_drawn": not_drawn,
            "machine_load_before": load_before,
            "rounds": size.rounds,
            "seconds_each": size.seconds,
        },
        "versions": {
            "python": platform.python_version(),
            **{one: version(one) for one in ("bentoml", "jinja2", "plotly")},
        },
        "seconds": time.monotonic() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _at_its_features(config: Config) -> Config:
    """The clock just after the newest snapshot: features are fresh."""
    from features.periods import now
    from features.snapshots import newest

    at, _ = newest(config, "user", now(config))
    return replace(config, now=config.now or at + timedelta(hours=1))


def _pages(stage: Stage) -> dict[str, list[str]]:
    """Addresses by page."""
    root = "/console"
    found = {"models": [f"{root}/models"]}
    for model, heads in stage.models.items():
        base = f"{root}/models/{quote(model)}"
        found[f"card_{model}"] = [f"{base}/champion"]
        if heads:
            found[f"learned_{model}"] = [f"{base}/champion/learned?head={quote(head)}" for head in heads]
        if pair := stage.pairs.get(model):
            found[f"compare_{model}"] = [f"{base}/compare?first={pair[0]}&second={pair[1]}"]
    found["users"] = [f"{root}/users?q={quote(user[:3])}" for user in stage.users[:20]]
    found["user"] = [f"{root}/user?id={quote(user, safe='')}" for user in stage.users]
    found["decisions"] = [
        f"{root}/decisions",
        *(f"{root}/decisions?user={quote(u, safe='')}" for u in stage.users[:20]),
    ]
    found["decision"] = [f"{root}/decision?id={quote(one)}" for one in stage.decisions]
    found["replay"] = [f"{root}/decision?id={quote(one)}&replay=1" for one in stage.decisions]
    return found


def _server(service: Service, pages: dict[str, list[str]], clicks: int, metrics: dict[str, Any]) -> dict[str, int]:
    """Median and worst milliseconds of each page, asked over loopback, and its most bytes as sent."""
    sizes: dict[str, int] = {}
    for name, paths in pages.items():
        for path in paths[:2]:
            click(service.port, path)  # each of the workers may be the first
        taken = []
        for number in range(clicks):
            path = paths[number % len(paths)]
            status, ms, size = click(service.port, path)
            sizes[name] = max(size, sizes.get(name, 0))
            if status not in (200, 303):
                raise UseropsError(f"{path} does not open", got=status)
            taken.append(ms)
        metrics[f"{name}_server_p50_ms"] = _spread(taken, 0.5)
        metrics[f"{name}_server_max_ms"] = _spread(taken, 1.0)
    return sizes


def _browser(service: Service, pages: dict[str, list[str]], loads: int, metrics: dict[str, Any]) -> str | None:
    """Milliseconds until what is in view is drawn, and until everything is; or why that was not measured."""
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        return "no browser is installed"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "playwright is not installed"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--disable-gpu"], chromium_sandbox=False)
        for name, paths in pages.items():
            taken: dict[tuple[str, str], list[float]] = {}
            for number in range(loads):
                context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
                context.add_init_script(_WATCH)
                for cache in ("cold", "warm"):
                    page = context.new_page()
                    page.goto(f"http://127.0.0.1:{service.port}{paths[number % len(paths)]}")
                    if page.locator("[data-figure]").count():
                        page.locator("html[data-drawn-all]").wait_for(state="attached", timeout=60_000)
                    seen = page.evaluate(
                        "({load: performance.getEntriesByType('navigation')[0].loadEventEnd, ...window.seen})"
                    )
                    taken.setdefault((cache, "drawn"), []).append(seen.get("drawn", seen["load"]))
                    taken.setdefault((cache, "all"), []).append(seen.get("drawnAll", seen["load"]))
                    page.close()
                context.close()
            for (cache, what), values in taken.items():
                metrics[f"{name}_{what}_{cache}_ms"] = _spread(values, 0.5)
        browser.close()
    return None


def _beside(
    service: Service, stage: Stage, pages: dict[str, list[str]], connections: int, size: Size
) -> tuple[list[Load], list[Load]]:
    """Decisions with a reviewer, and without one: a pair of each round, their order changing."""
    more = {"context": {"channel": "app"}, "limit": 3, "explain": {"level": "reason_codes", "top_n": 3, "lang": "en"}}
    requests = [post("/v1/next-best-offer", {"user_id": user, **more}) for user in stage.users]
    taken: dict[bool, list[Load]] = {False: [], True: []}
    for number in range(size.rounds):
        for reviewed in (False, True) if number % 2 == 0 else (True, False):
            with _reviewer(service.port, pages, size.seconds) if reviewed else contextlib.nullcontext():
                load = drive(service.port, requests, connections=connections, seconds=size.seconds, warm=connections)
            taken[reviewed].append(load)
    return taken[True], taken[False]


@contextlib.contextmanager
def _reviewer(port: int, pages: dict[str, list[str]], seconds: float) -> Any:
    command = [sys.executable, "-m", "serving.benchmark_console_reviewer", str(port), str(seconds)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1], text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(pages))
        process.stdin.close()
        try:
            yield
        finally:
            process.stdout.read()
    if process.returncode:
        raise UseropsError("the reviewer gave up", got=process.returncode)


def _p99(load: Load) -> float:
    return float(np.quantile(load.taken_ms, 0.99))


def _range(values: list[float]) -> dict[str, Any]:
    """The median of a few rounds, between the least and the greatest."""
    return {"value": float(np.median(values)), "ci": [min(values), max(values)]}


def _spread(taken: Any, q: float) -> dict[str, Any]:
    """The quantile of milliseconds, and its 95 % interval by order statistics."""
    error = 1.96 * np.sqrt(q * (1 - q) / len(taken))
    at, low, high = np.quantile(taken, np.clip([q, q - error, q + error], 0.0, 1.0))
    return {"value": float(at), "ci": [float(low), float(high)]}
