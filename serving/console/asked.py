"""What a page is asked: by whom in which language, with which parameters, about which home."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serving.console.desk import Desk
from serving.console.page import Page
from serving.console.words import Words
from serving.errors.problem import Problem

if TYPE_CHECKING:
    from starlette.responses import Response

    from serving.live import Live

__all__ = ["Asked", "View"]


@dataclass(frozen=True)
class Asked:
    """One question to the console. ``given`` holds the query string or, of a POST, the form; ``path`` is our own.

    ``headers`` have names in lower case; ``address`` is whoever connected, a proxy perhaps;
    ``holder`` whose session it is, nobody's where the service asks for no key.
    """

    live: Live
    desk: Desk
    t: Words
    path: str
    given: Mapping[str, str]
    parts: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    holder: str = ""

    @property
    def lang(self) -> str:
        """``en`` or ``zh``."""
        return self.t.lang

    def need(self, name: str) -> str:
        """A parameter that the page cannot do without."""
        value = self.given.get(name, "")
        if not value:
            raise Problem(400, "invalid-request", f"{name} is missing", field=name)
        return value


#: Runs in the console's own thread, never on the event loop that answers campaigns.
View = Callable[[Asked], "Page | Response"]
