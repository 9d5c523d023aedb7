"""HTML read and written again as it stood: what exports and joined pages have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from html.parser import HTMLParser

__all__ = ["VOID", "Verbatim"]

#: Elements that have no end.
VOID = ("area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")


class Verbatim(HTMLParser, ABC):
    """Text and references go to ``written`` as they stood while ``keeping``; what becomes of tags, subclasses say."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.written: list[str] = []

    @property
    @abstractmethod
    def keeping(self) -> bool:
        """Whether what is read now is wanted."""

    def write(self, text: str) -> None:
        """Keep the text, where anything is kept."""
        if self.keeping:
            self.written.append(text)

    def handle_data(self, data: str) -> None:
        """Text, and what stands in scripts and styles."""
        self.write(data)

    def handle_entityref(self, name: str) -> None:
        """Such as ``&amp;``."""
        self.write(f"&{name};")

    def handle_charref(self, name: str) -> None:
        """Such as ``&#39;``."""
        self.write(f"&#{name};")
