"""How often an offer may meet a person, or everybody: rules, windows, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from serving.decision.fields import Fields, Refused
from serving.decision.inputs import Action, GlobalCount

__all__ = ["MOST_CAPS", "MOST_DAYS", "Cap", "Counts", "read_cap", "read_cap_sets", "read_caps", "window_start"]

DAY_US = 86_400_000_000
MOST_CAPS = 10
MOST_DAYS = 93  # as far back as actions are read
_DAYS = {"day": 1, "week": 7, "month": 31}


class Cap(NamedTuple):
    """At most ``limit`` times ``event`` in the window; the offer is dropped once the count has reached the limit.

    A rolling window is ``(at - span, at]``, a month being 30 days of 24 hours; a calendar one is ``[start, at]``, from
    the first midnight (UTC; of a week: Monday's) of the ``n``-th last day, week or month, the current one included.
    ``each`` counts only events at the placement that is asked for. ``everyone`` counts all users, else this one.
    """

    name: str
    event: str
    everyone: bool
    limit: int
    n: int
    unit: str
    rolling: bool
    each: bool


def read_cap(content: Any, keys: Sequence[str | int]) -> dict[str, Any]:
    """A checked cap rule, as the release keeps it."""
    fields = Fields(content, keys, {"name", "event", "scope", "limit", "window", "placement"})
    fields.required("limit", "how many are allowed")
    fields.required("window", "{n: 7, unit: day, rolling: true}")
    limit = fields.whole("limit", 0, low=0)
    if limit == 0:
        raise fields.refuse("limit", "contradicts the offer: it could never be shown", "at least 1")
    scope = fields.text("scope", "user", one_of=("user", "global"))
    window = Fields(content["window"], (*keys, "window"), {"n", "unit", "rolling"})
    unit = window.text("unit", "day", one_of=_DAYS)
    n, rolling = window.whole("n", 1, low=1), window.flag("rolling")
    assert unit is not None
    if n * _DAYS[unit] > MOST_DAYS:
        raise window.refuse("n", "reaches beyond what is kept", f"at most {MOST_DAYS // _DAYS[unit]} {unit}s")
    if rolling and scope == "global":
        raise window.refuse("rolling", "global counts are kept per calendar day", "rolling: false, or scope: user")
    placement = fields.text("placement", "all", one_of=("each", "all"))
    event = fields.text("event", "impression") or "impression"
    cap = Cap("", event, scope == "global", limit, n, unit, rolling, placement == "each")
    return {**cap._asdict(), "name": fields.text("name") or _name(cap)}


def _name(cap: Cap) -> str:
    """For example ``per_user_3_per_7d`` or ``global_100_click_per_calendar_week``."""
    counted = f"{'global' if cap.everyone else 'per_user'}_{cap.limit}"
    counted += "" if cap.event == "impression" else f"_{cap.event}"
    if cap.rolling:
        window = f"{cap.n}{cap.unit[0]}"
    else:
        window = f"calendar_{cap.unit}" if cap.n == 1 else f"{cap.n}_calendar_{cap.unit}s"
    return f"{counted}_per_{window}" + ("_each_placement" if cap.each else "")


def read_caps(
    content: Any, keys: Sequence[str | int], sets: Mapping[str, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """A list of cap rules and names of cap sets, flattened in order, free of contradictions."""
    listed = [content] if isinstance(content, str) else [] if content is None else content
    if not isinstance(listed, list | tuple):
        raise Refused(keys, "must be a list of caps", got=type(content).__name__, expected="[{limit, window}, ...]")
    found: list[dict[str, Any]] = []
    for place, one in enumerate(listed):
        at = keys if isinstance(content, str) else (*keys, place)
        if isinstance(one, str) and one not in sets:
            raise Refused(at, f"unknown cap set {one!r}", got=one, expected=sorted(sets))
        for cap in sets[one] if isinstance(one, str) else [read_cap(one, at)]:
            for other in found:
                _agree(Cap(**other), Cap(**cap), at)
            found.append(cap)
    if len(found) > MOST_CAPS:
        raise Refused(keys, "too many caps", got=len(found), expected=f"at most {MOST_CAPS}")
    return found


def _agree(first: Cap, second: Cap, keys: Sequence[str | int]) -> None:
    """Refuse two rules of which one can never be the one that stops anything."""
    same = ("event", "everyone", "rolling", "each")
    if any(getattr(first, name) != getattr(second, name) for name in same):
        return
    long, short = sorted((first, second), key=lambda cap: (-cap.n * _DAYS[cap.unit], cap.limit))
    if long.n * _DAYS[long.unit] == short.n * _DAYS[short.unit]:
        raise Refused(keys, "two caps on the same window contradict each other", got=[first.name, second.name])
    if long.limit <= short.limit:
        raise Refused(
            keys,
            f"{short.name} contradicts {long.name}: it can never be reached",
            got=[first.name, second.name],
            expected="a longer window with a higher limit",
        )


def read_cap_sets(content: Any, keys: Sequence[str | int]) -> dict[str, list[dict[str, Any]]]:
    """Named lists of caps, each with what it ``extends``; a set that extends itself is refused with its circle."""
    sets = Fields({} if content is None else content, keys, set(content or {}) if isinstance(content, Mapping) else ())
    done: dict[str, list[dict[str, Any]]] = {}

    def resolve(name: str, path: tuple[str, ...]) -> list[dict[str, Any]]:
        at = (*keys, name)
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise Refused((*keys, path[-1], "extends"), f"cyclic cap sets: {circle}", got=circle)
        if name not in done:
            one = Fields(sets.content[name], at, {"extends", "rules"})
            parents = one.texts("extends", one_of=set(sets.content), what="cap set")
            for parent in parents:
                resolve(parent, (*path, name))
            rules = one.content.get("rules") or []
            if not isinstance(rules, list):
                raise one.refuse("rules", "must be a list of caps", "[{limit, window}, ...]")
            inherited = read_caps(parents, (*at, "extends"), done)
            own = read_caps(rules, (*at, "rules"), {})
            for place, cap in enumerate(own):
                for other in inherited:
                    _agree(Cap(**other), Cap(**cap), (*at, "rules", place))
            done[name] = inherited + own
        return done[name]

    for name in sets.content:
        resolve(str(name), ())
    return done


def window_start(cap: Cap, at_us: int) -> int:
    """The first microsecond that the cap counts at ``at_us``.

    Examples
    --------
    >>> cap = Cap("", "impression", False, 3, 1, "week", False, False)
    >>> window_start(cap, 10 * DAY_US) // DAY_US  # 1970-01-11 was a Sunday, its Monday the 5th
    4
    """
    if cap.rolling:
        return at_us - cap.n * {"day": 1, "week": 7, "month": 30}[cap.unit] * DAY_US + 1
    today = at_us // DAY_US
    if cap.unit == "day":
        first = today - (cap.n - 1)
    elif cap.unit == "week":
        first = today - (today + 3) % 7 - 7 * (cap.n - 1)
    else:
        day = _civil(today)
        months = day.year * 12 + day.month - 1 - (cap.n - 1)
        first = date(months // 12, months % 12 + 1, 1).toordinal() - _EPOCH
    return first * DAY_US


_EPOCH = date(1970, 1, 1).toordinal()


def _civil(days: int) -> date:
    return date.fromordinal(days + _EPOCH)


class Counts:
    """What happened so far, ready to be held against the caps of many offers at one instant."""

    def __init__(
        self, actions: Sequence[Action], everyone: Sequence[GlobalCount], at_us: int, placement: str | None
    ) -> None:
        self._at_us, self._placement, self._all = at_us, placement, actions
        self._today = _civil(at_us // DAY_US).isoformat()
        self._starts: dict[tuple[int, str, bool], int] = {}
        self._mine: dict[str, list[Action]] = {}
        for action in actions:
            if action[0] in self._mine:
                self._mine[action[0]].append(action)
            else:
                self._mine[action[0]] = [action]
        self._theirs: dict[str, list[GlobalCount]] = {}
        for count in everyone:
            self._theirs.setdefault(count.offer_id, []).append(count)

    def hit(self, offer_id: str, caps: Sequence[Cap]) -> tuple[str, int] | None:
        """The first cap of an offer whose limit is reached, and the count; None if none is."""
        for cap in caps:
            lines = self._theirs.get(offer_id) if cap.everyone else self._mine.get(offer_id)
            if lines and (n := self._count(cap, lines)) >= cap.limit:
                return cap.name, n
        return None

    def pressed(self, caps: Sequence[Cap]) -> tuple[str, int] | None:
        """As ``hit``, for caps over all offers together (scope user)."""
        for cap in caps:
            if (n := self._count(cap, self._all)) >= cap.limit:
                return cap.name, n
        return None

    def recent(self, event: str, days: float) -> int:
        """How often ``event`` reached this user in the last ``days``, over all offers."""
        after = self._at_us - int(days * DAY_US)
        return sum(1 for a in self._all if a.event == event and after < a.at_us <= self._at_us)

    def _count(self, cap: Cap, lines: Sequence[Any]) -> int:
        window = (cap.n, cap.unit, cap.rolling)
        start = self._starts.get(window)
        if start is None:
            start = self._starts[window] = window_start(cap, self._at_us)
        if cap.everyone:
            first = _civil(start // DAY_US).isoformat()
            return sum(
                line.n
                for line in lines
                if line.event == cap.event
                and first <= line.day <= self._today
                and (not cap.each or line.placement == self._placement)
            )
        return sum(
            1
            for line in lines
            if line.event == cap.event
            and start <= line.at_us <= self._at_us
            and (not cap.each or line.placement == self._placement)
        )
