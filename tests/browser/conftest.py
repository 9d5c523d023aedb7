"""The real service over a home with trained models, and Debian's Chromium looking at it.

The home is the one that tests/test_whole_way.py walks, or `USEROPS_TEST_HOME`, which is copied. Whatever a page says to
the console of the browser, and whatever it asks of another origin, fails the test that opened it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, sync_playwright

from configs import load
from configs.keys import SCOPES, Keys
from serving.access.sessions import COOKIE, opened
from serving.local import post, running

END = datetime(2026, 6, 1, tzinfo=UTC)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: What the first customer of a simulated shop may be called; any home of the demo has one.
FLAGS = ["--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"]


@dataclass(frozen=True)
class Desk:
    """A service that runs: its address, its home and its clock, and what to look at in it."""

    url: str
    home: Path
    now: datetime
    user: str
    decision: str
    key: str  # of all scopes: without one, the service answers nobody
    line: Any  # the command line, as tests/conftest.py has it

    def api(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON answer of the service to a POST."""
        return post(f"{self.url}{path}", json.dumps(body), self.key)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``userops WORDS`` in this home at its clock."""
        return self.line.run(self.home, *words, now=self.now.isoformat())

    def paths(self) -> dict[str, str]:
        """An address of every page, by name."""
        released = json.loads((self.home / "releases" / "current" / "release.json").read_text())["models"]
        found = {"models": "/console/models"}
        for model in released:
            found[f"card-{model}"] = f"/console/models/{model}/champion"
            found[f"learned-{model}"] = f"/console/models/{model}/champion/learned"
        found |= {"challenger": "/console/models/churn/challenger", "compare": "/console/models/churn/compare"}
        found |= {"users": f"/console/users?q={self.user[:3]}", "decisions": "/console/decisions"}
        for model in released:
            found[f"user-{model}"] = f"/console/user?id={self.user}&model={model}"
        found["decision"] = f"/console/decision?id={self.decision}"
        found["replay"] = f"/console/decision?id={self.decision}&replay=1"
        return found


def copied(source: Path, home: Path) -> Path:
    """A home as it stands, with the addresses inside its registry turned to the copy."""
    shutil.copytree(source, home, ignore=shutil.ignore_patterns("*.lock", "benchmark-*"), symlinks=True)
    current = home / "releases" / "current"
    target = current.resolve().name
    current.unlink()
    current.symlink_to(target)
    columns = {"experiments": ["artifact_location"], "runs": ["artifact_uri"]}
    columns["model_versions"] = ["source", "storage_location"]
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        for table, names in columns.items():
            for name in names:
                sql = f"UPDATE {table} SET {name} = replace({name}, ?, ?)"
                connection.execute(sql, (str(source.resolve()), str(home)))
        connection.commit()
    return home


@pytest.fixture(scope="session")
def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, command_line: Any
) -> tuple[Path, datetime]:
    """A home of which churn has two versions, both with what reviewers read; and its clock."""
    given = os.environ.get("USEROPS_TEST_HOME")
    if given:
        home = copied(Path(given), tmp_path_factory.mktemp("desk") / "home")
        newest = max(path.stem for path in (home / "features" / "user").glob("*.parquet"))
        now = datetime.strptime(newest, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(hours=1)
    else:
        home, now = request.getfixturevalue("walked").home, END
    if not (home / "desk" / "churn" / "2" / "card.json").exists():
        # As if it had been trained a week before: a version that says something else.
        command_line.run(home, "train", "churn", now=(now - timedelta(days=7)).isoformat())
    if not (home / "desk" / "churn" / "1" / "checks.json").exists():
        # It ends with 4 where a blocker fires.
        command_line.run(home, "check", "churn", "champion", now=now.isoformat(), check=False)
    return home, now


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serve(home: Path, now: datetime, **more: str) -> Iterator[str]:
    """The address of the service over ``home`` at ``now``."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"USEROPS_HOME": str(home), "USEROPS_NOW": now.isoformat(), **more}.items():
            patch.setenv(name, value)
        config = load(home, now)
        config = dataclasses.replace(config, serving=dataclasses.replace(config.serving, port=free_port(), workers=1))
        with running(config, lambda message, fraction: None) as address:
            yield address


@pytest.fixture(scope="session")
def desk(home: tuple[Path, datetime], command_line: Any) -> Iterator[Desk]:
    """The service, after somebody was made an offer and refused it."""
    folder, now = home
    key = Keys(folder / "keys.json").add("reviewer", SCOPES)[1]
    for url in serve(folder, now):
        from serving.demo import at_risk

        user = at_risk(load(folder, now))
        question = {"user_id": user, "context": {"channel": "app"}, "limit": 3, "explain": {"level": "full"}}
        answer = post(f"{url}/v1/next-best-offer", json.dumps(question), key)
        if answer["offers"]:
            event = {"event_id": f"e-{answer['decision_id']}", "decision_id": answer["decision_id"], "rank": 1}
            event |= {"offer_id": answer["offers"][0]["offer_id"], "type": "dismiss", "ts": answer["decided_at"]}
            post(f"{url}/v1/feedback", json.dumps({"events": [event]}), key)
        yield Desk(url, folder, now, user, answer["decision_id"], key, command_line)


@pytest.fixture(scope="session")
def later(home: tuple[Path, datetime], desk: Desk) -> Iterator[Desk]:
    """The same home four days later: nobody has published features since."""
    now = desk.now + timedelta(days=4)
    for url in serve(desk.home, now):
        yield dataclasses.replace(desk, url=url, now=now)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser of the machine."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no browser is installed (make browser)")
    return found


# One per file: while Playwright runs, an event loop does, in which nobody else's `asyncio.run` would be allowed.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # A sandbox needs privileges that containers do not have; these are pages of our own.
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS, chromium_sandbox=False)
        yield launched
        launched.close()


@dataclass
class Visit:
    """One window; ``expected`` are beginnings of messages in its console that are meant, such as those of a 404."""

    context: BrowserContext
    page: Page
    url: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def open(self, path: str, status: int = 200) -> Response:
        """Go to a page of the service and wait until its charts are drawn."""
        answer = self.page.goto(f"{self.url}{path}")
        assert answer is not None
        assert answer.status == status, answer.text()[:2000]
        self.drawn()
        return answer

    def drawn(self) -> None:
        """Wait until every chart of the page is drawn, those far below, too."""
        if self.page.locator("[data-figure]").count():
            # No function is waited for: the policy of the page forbids Playwright to make one out of text.
            self.page.locator("html[data-drawn-all]").wait_for(state="attached")

    def check(self) -> None:
        """Nothing was said in the console, and nobody else was asked anything."""
        unexpected = [one for one in self.said if not one.startswith(self.expected or ("\0",))]
        assert unexpected == []
        own = (f"{self.url}/", "data:", "blob:", "about:")
        abroad = [one for one in self.asked if not one.startswith(own)]
        assert abroad == []


@pytest.fixture
def window(browser: Browser, desk: Desk) -> Iterator[Callable[..., Visit]]:
    """Opens a window in a session: ``window(lang="zh", width=360)``; what it met is checked at the end of the test."""
    visits: list[Visit] = []

    def open_window(
        lang: str = "en", width: int = 1280, height: int = 900, url: str | None = None, inside: bool = True, **how: Any
    ) -> Visit:
        locale = {"en": "en-GB", "zh": "zh-CN"}[lang]
        viewport = {"width": width, "height": height}
        context = browser.new_context(locale=locale, viewport=viewport, timezone_id="UTC", **how)
        context.set_default_timeout(60_000)
        if inside:
            keys = Keys(desk.home / "keys.json")
            context.add_cookies([{"name": COOKIE, "value": opened(keys.find(desk.key)), "url": desk.url}])
        page = context.new_page()
        visit = Visit(context, page, url or desk.url)
        page.on("console", lambda message: _heard(visit, message))
        page.on("pageerror", lambda error: visit.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (visit.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        context.on("request", lambda request: _asked(visit, request))
        visits.append(visit)
        return visit

    yield open_window
    try:
        for visit in visits:
            visit.check()
    finally:
        for visit in visits:
            visit.context.close()


def _heard(visit: Visit, message: ConsoleMessage) -> None:
    visit.said.append(f"{message.type}: {message.text}")


def _asked(visit: Visit, request: Request) -> None:
    visit.asked.append(request.url)
