"""plotly.js with the kinds of charts that the console draws: a browser starts it in a quarter of the time.

The script of the package registers every kind it knows, maps and globes among them, and runs all of their modules as
soon as it is loaded: .9 s of a processor. Its modules are functions that run when first asked for, so it is enough to
shorten the list of those that are registered.
"""

from __future__ import annotations

import re

__all__ = ["KINDS", "only_drawn"]

#: What our charts use; lines and dots (``scatter``) are in the script's core.
KINDS = frozenset({"bar", "waterfall"})
_BEFORE, _LIST = ".register([", re.compile(r"((?:[\w$]+\(\),?)+)\]\);([\w$]+)\.exports=")
_HANDS_ON = re.compile(r"[\w$]+\(\([\w$,]*\)=>\{\"use strict\";[\w$]+\.exports=([\w$]+)\(\)")
_KIND = re.compile(r'moduleType:"trace",name:"(\w+)"')
_LOOK = 6_000  # characters of a module in which its name stands


def only_drawn(script: str) -> str:
    """The script with a shorter list; as it is where it does not look as expected, as another version may.

    Examples
    --------
    >>> only_drawn("a script of somebody else")
    'a script of somebody else'
    """
    start = script.rfind(_BEFORE) + len(_BEFORE)
    listed = _LIST.match(script, start) if start >= len(_BEFORE) else None
    if listed is None:
        return script
    kept = [one for one in listed[1].split(",") if _kind(script, one.removesuffix("()")) in KINDS]
    if len(kept) != len(KINDS):
        return script
    return f"{script[:start]}{','.join(kept)}{script[listed.end(1) :]}"


def _kind(script: str, module: str) -> str | None:
    """The kind of chart that a registered module stands for: it hands on another one, which says its name."""
    handed = _HANDS_ON.match(script, script.find(f"var {module}=") + len(f"var {module}="))
    defined = script.find(f"var {handed[1]}=") if handed else -1
    named = _KIND.search(script, defined, defined + _LOOK) if defined >= 0 else None
    return named[1] if named else None
