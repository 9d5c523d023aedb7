"""Which values every database can hold."""

from __future__ import annotations

import math

__all__ = ["finite", "storable"]


def storable(*texts: str | None) -> bool:
    r"""Whether each text, None aside, is valid Unicode without NUL.

    Examples
    --------
    >>> storable("生鲜", None), storable("a\x00"), storable("\ud800")
    (True, False, False)
    """
    text = "".join(text for text in texts if text is not None)
    if text.isascii():
        return "\x00" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def finite(*numbers: float | None) -> bool:
    """Whether each number, None aside, is one that a float64 can hold, and neither infinite nor NaN.

    Examples
    --------
    >>> finite(1.5, None), finite(float("nan")), finite(10**400)
    (True, False, False)
    """
    try:
        return all(number is None or math.isfinite(number) for number in numbers)
    except OverflowError:
        return False
