"""Which texts every database can hold."""

from __future__ import annotations

__all__ = ["storable"]


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
