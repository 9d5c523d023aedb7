"""What people call categories: ``categories.yaml`` among the configs; one that it does not list stands for itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from configs import configs_folder
from configs.documents import check_words, read_yaml
from serving.console.words import Words

__all__ = ["category_said"]

FILE = "categories.yaml"


def category_said(t: Words, category_id: str) -> str:
    """The name of a category.

    Examples
    --------
    >>> from serving.console.words import words
    >>> category_said(words("zh"), "pet_food"), category_said(words("zh"), "851")
    ('宠物食品', '851')
    """
    return t.of(_names(configs_folder() / FILE).get(category_id)) or category_id


@lru_cache(maxsize=2)
def _names(path: Path) -> Mapping[str, Mapping[str, str]]:
    names = {str(key): entry for key, entry in read_yaml(path).items()} if path.exists() else {}
    for key, entry in names.items():
        check_words(f"{path.name}: {key}", entry)
    return names
