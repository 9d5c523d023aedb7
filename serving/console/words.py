"""What the pages say, in English and Chinese: ``words/*.yaml``, one file per page, every entry in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from configs.documents import LANGUAGES, check_words, read_yaml

__all__ = ["LANGUAGES", "Words", "words"]


class Words:
    """The sentences of one language; ``words("card.title", version=3)``."""

    def __init__(self, lang: str, entries: Mapping[str, Mapping[str, str]]) -> None:
        self.lang = lang
        self._entries = entries

    def __call__(self, key: str, **values: object) -> str:
        """The sentence under ``key`` with its fields filled in; an unknown key is an error of ours."""
        text = self._entries[key][self.lang]
        return text.format(**values) if values else text

    def of(self, text: Mapping[str, str] | str | None) -> str:
        """Words that came from elsewhere as ``{"en": ..., "zh": ...}``; a plain string stands for itself."""
        if text is None or isinstance(text, str):
            return text or ""
        return text.get(self.lang) or text.get("en", "")

    def known(self, key: str) -> bool:
        """Whether there is a sentence under ``key``."""
        return key in self._entries

    def or_code(self, prefix: str, code: object) -> str:
        """The words for a code of the API such as ``UNKNOWN_USER``; the code itself where there are none."""
        return self(f"{prefix}.{code}") if f"{prefix}.{code}" in self._entries else str(code)


@lru_cache(maxsize=1)
def _entries() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for path in sorted((Path(__file__).parent / "words").glob("*.yaml")):
        for key, entry in read_yaml(path).items():
            name = f"{path.stem}.{key}"
            check_words(f"console words: {name}", entry)
            found[name] = entry
    return found


@lru_cache(maxsize=len(LANGUAGES))
def words(lang: str) -> Words:
    """The words of a language; an unknown one is English.

    Examples
    --------
    >>> words("zh")("base.models"), words("en")("base.models")
    ('模型', 'Models')
    """
    return Words(lang if lang in LANGUAGES else "en", _entries())
