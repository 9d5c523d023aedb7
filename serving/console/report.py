"""A report: pages of the console joined in one file, made in this process by the console's own views.

Of a model: the card, what it has learned for each head, the comparison with the version before, and everything that
was said and done about it. Of a single page: that page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from markupsafe import Markup

from configs import Config, model_of
from configs.audit import entries, verify
from configs.errors import UseropsError
from serving.console import card, compare, decision, learned, standing, user
from serving.console.asked import Asked, View
from serving.console.desk import Desk
from serving.console.export import self_contained
from serving.console.frame import PREFIX
from serving.console.join import content_of
from serving.console.page import Page, render
from serving.console.words import words
from serving.errors.problem import Problem

if TYPE_CHECKING:
    from serving.live import Live

__all__ = ["PAGES", "Wanted", "opened", "report", "version_of"]

PAGES = ("card", "learned", "compare", "user", "decision")
#: What a card says of one head only: what the report repeats for each further head.
OF_HEAD = ("how-good", "segments")


class Wanted(NamedTuple):
    """A page: its view, its path below the console, its query, the parts of its path; only ``sections``, if any."""

    view: View
    path: str
    given: Mapping[str, str]
    parts: Mapping[str, str]
    sections: Sequence[str] | None = None


@contextmanager
def opened(config: Config) -> Iterator[Live]:
    """What a worker of the service holds, in this process; without a release, pages say that there is none."""
    from features.store import Store
    from serving.live import Live, Release
    from serving.pickup import Pickup
    from serving.scoring import current

    live = Live(config, Store)
    # As a worker does it, but that nothing is made ready for quick answers, which takes seconds.
    live.pickup = Pickup(config.home / "releases", lambda releases: Release.load(current(releases), live.reasons))
    try:
        if live.pickup.releases.joinpath("current").exists():  # before the first release there is nothing to refuse
            live.pickup.start()
        yield live
    finally:
        live.close()


def version_of(live: Live, model: str, version: str | None) -> str:
    """The version that is meant: the given number or role, else the one in force, else the newest one with a card.

    Raises
    ------
    UseropsError
        When no version has this role, or there is none at all.
    """
    model_of(live.config, model)
    if version is not None:
        asked = Asked(live, Desk(live.config.home), words("en"), PREFIX, {}, {})
        try:
            return standing.version_of(asked, model, version)
        except Problem as problem:
            raise UseropsError(
                problem.detail,
                got=version,
                expected=[*(problem.expected or []), "champion", "challenger"],
                run="userops status",
            ) from None
    release = live.pickup.live
    served = release.bundle.meta["models"].get(model) if release else None
    if served:
        return str(served["version"])
    newest = next(iter(Desk(live.config.home).versions(model)), None)
    if newest is None:
        raise UseropsError(f"there is no version of {model} to report on", run=f"userops train {model}")
    return newest


def report(
    live: Live,
    model: str,
    version: str,
    langs: Sequence[str] = ("en",),
    page: str | None = None,
    user_id: str = "",
    decision_id: str = "",
    packed: bool = True,
    told: Callable[[Any], Any] | None = None,
) -> str:
    """The report as HTML, one language after the other; ``page`` is one of `PAGES`, else a report of the version.

    Parameters
    ----------
    told
        What may be told of the files of the desk, which name users; everything by default.
    packed
        As for `self_contained`: not for print.
    """
    desk = Desk(live.config.home) if told is None else _Guarded(live, told)
    wanted = _single(page, model, version, user_id, decision_id) if page else _pages(desk, model, version)
    parts: list[dict[str, Any]] = [
        {"lang": lang, "t": words(lang), "pages": [_part(live, desk, lang, one) for one in wanted]} for lang in langs
    ]
    for number, part in enumerate(parts):
        for place, one in enumerate(part["pages"]):
            name = f"{part['lang']}{place + 1}"
            one |= {"name": name, "content": Markup(content_of(one["html"], f"{name}-", one["sections"]))}
        part["audit"] = None if page else _audit(live.config, model, version)
        part["first"] = number == 0
    made = f"{live.now():%Y-%m-%d %H:%M}"
    release = live.pickup.live.bundle.release_id if live.pickup.live else None
    title = words(langs[0])("report.title", model=model, version=version)
    shown = Page("report.html", title, "", {"parts": parts, "model": model, "version": version, "single": bool(page)})
    frame = {"path": PREFIX, "release": release, "exported": made}
    return self_contained(render(shown, langs[0], frame), packed)


class _Guarded(Desk):
    """A desk whose files pass through ``told`` first."""

    def __init__(self, live: Live, told: Callable[[Any], Any]) -> None:
        super().__init__(live.config.home)
        self._live, self._told = live, told

    def read(self, model: str, version: str, name: str) -> dict[str, Any] | None:
        found = super().read(model, version, name)
        if found is not None and name.startswith("versus-"):  # by their ids, before these are something else
            try:
                found = compare.willing(self._live, found)
            except Problem as problem:  # the decision log, which holds people's wishes, cannot be read
                raise UseropsError(f"{name} cannot be shown", got=problem.detail, run="userops status") from None
        told: dict[str, Any] | None = None if found is None else self._told(found)
        return told


def _pages(desk: Desk, model: str, version: str) -> list[Wanted]:
    """The card, how good each further head is, what every head has learned, the last comparison for every head."""
    parts, base = {"model": model, "version": version}, f"/models/{quote(model)}/{quote(version)}"
    heads = list((desk.read(model, version, "card.json") or {}).get("heads", {}))
    told = [head for head in heads if desk.read(model, version, f"learned/{head}.json") is not None]
    found = [Wanted(card.page, base, {}, parts)]
    found += [Wanted(card.page, base, {"head": head}, parts, OF_HEAD) for head in heads[1:]]
    found += [Wanted(learned.page, f"{base}/learned", {"head": head}, parts) for head in told]
    for other in desk.versions(model):
        versus = desk.read(model, version, f"versus-{other}.json")
        if versus is not None:
            asked = {"first": other, "second": version}
            compared = list(versus.get("heads") or versus.get("paired") or {})
            each = [{**asked, "head": head} for head in compared] or [asked]
            found += [Wanted(compare.page, f"/models/{quote(model)}/compare", one, {"model": model}) for one in each]
            break
    return found


def _single(page: str, model: str, version: str, user_id: str, decision_id: str) -> list[Wanted]:
    parts, base = {"model": model, "version": version}, f"/models/{quote(model)}"
    one: dict[str, Wanted] = {
        "card": Wanted(card.page, f"{base}/{quote(version)}", {}, parts),
        "learned": Wanted(learned.page, f"{base}/{quote(version)}/learned", {}, parts),
        "compare": Wanted(compare.page, f"{base}/compare", {"second": version}, {"model": model}),
        "user": Wanted(user.page, "/user", {"id": user_id, "model": model}, {}),
        "decision": Wanted(decision.page, "/decision", {"id": decision_id}, {}),
    }
    if page not in one:
        raise UseropsError(f"there is no page {page!r}", expected=PAGES, run="userops report churn --page card")
    for name, given in (("user", user_id), ("decision", decision_id)):
        if page == name and not given:
            raise UseropsError(f"which {name}?", run=f"userops report {model} --page {name} --{name} ID")
    return [one[page]]


def _part(live: Live, desk: Desk, lang: str, one: Wanted) -> dict[str, Any]:
    """One page as the console shows it; one that cannot be shown is an error that says why."""
    t, query = words(lang), f"?{urlencode(one.given)}" if one.given else ""
    release = live.pickup.live.bundle.release_id if live.pickup.live else None
    asked = Asked(live, desk, t, f"{PREFIX}{one.path}{query}", one.given, one.parts)
    try:
        made = one.view(asked)
        if not isinstance(made, Page):
            raise UseropsError(f"{one.path}{query} is no page", run="userops status")
        html = render(made, lang, {"path": asked.path, "release": release, "exported": None})
    except Problem as problem:
        raise UseropsError(f"{one.path}{query} cannot be shown", got=problem.detail, run="userops status") from None
    except UseropsError:
        raise
    except Exception as error:  # whatever a file of the desk holds that a page cannot draw: said, not thrown
        said = f"{type(error).__name__}: {error}"[:300]
        raise UseropsError(f"{one.path}{query} cannot be shown", got=said, run="userops status") from error
    title, head = made.title, one.given.get("head", "")
    number = one.parts.get("version") or one.given.get("second", "")
    card_read = desk.read(one.parts.get("model", ""), number, "card.json") or {"heads": {}}
    first = ""
    if one.sections:
        title = t("card.how_good")
    elif one.view is card.page and len(card_read["heads"]) > 1:
        first = f"{t('card.how_good')}: {t.of(next(iter(card_read['heads'].values()))['meaning'])}"
    if head in card_read["heads"]:
        # One page for each head: else all have one name.
        title = f"{title}: {t.of(card_read['heads'][head]['meaning'])}"
    return {"title": title, "html": html, "sections": one.sections, "first": first}


def _audit(config: Config, model: str, version: str) -> dict[str, Any]:
    """Everything that the audit table holds about the version, and whether its chain of digests is whole."""
    rows = entries(config.audit_uri, model, version)
    try:
        return {"rows": rows, "of": verify(config.audit_uri), "broken": None}
    except UseropsError as error:
        return {"rows": rows, "of": None, "broken": error.what}
