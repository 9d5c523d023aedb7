"""The one door to YAML: plain data only, every key once; and which texts count as told in both languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from configs.errors import ConfigError

__all__ = ["LANGUAGES", "check_words", "line_of", "read_yaml"]

LANGUAGES = ("en", "zh")


class _DuplicateKey(Exception):
    """Line, key, line of the first one."""


class _OneOfEachKey(yaml.SafeLoader):
    """YAML forbids to give a key twice, PyYAML takes the last: a rule would be lost without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping whose own keys are all different; what ``<<`` merges into it comes later."""
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line, name = key.start_mark.line + 1, (key.tag, key.value)
                if name in lines:
                    raise _DuplicateKey(line, key.value, lines[name])
                lines[name] = line
        return node

    def construct_scalar(self, node: Any) -> Any:
        """JSON, which is YAML, may write a character as two escapes; one half of it alone is no text."""
        value = super().construct_scalar(node)
        if isinstance(value, str) and not value.isascii():
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that one YAML file holds; duplicate keys and tags that would build Python objects are refused."""
    try:
        content = _OneOfEachKey(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", run=f"ls {path.parent}") from None
    except _DuplicateKey as twice:
        line, key, before = twice.args
        raise ConfigError(
            f"{path.name} line {line}: duplicate key {key!r}", got=f"also on line {before}", expected="each key once"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML", got=str(error).replace("\n", " ")) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping", got=type(content).__name__, expected="key: value lines")
    return content


def line_of(path: Path, keys: Sequence[str | int]) -> int:
    """The line, from 1, on which the value under ``keys`` begins in a YAML file; of a missing one, its parent's line.

    Examples
    --------
    >>> line_of(Path(__file__).parent / "project.yaml", ["name"])
    2
    """
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            below = {name.value: value for name, value in node.value}.get(str(key))
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            below = node.value[key]
        else:
            below = None
        if below is None:
            break
        node = below
    return 1 if node is None else node.start_mark.line + 1


def check_words(where: str, content: Any, *, required: bool = True) -> None:
    """Refuse a text that people read unless it is there in both languages; unless ``required``, it may be missing.

    Examples
    --------
    >>> check_words("models/churn.yaml: use", {"en": "who to write to", "zh": "联系谁"})
    """
    if not content and not required:
        return
    told = content if isinstance(content, dict) else {}
    if set(told) != set(LANGUAGES) or not all(isinstance(one, str) and one.strip() for one in told.values()):
        raise ConfigError(where, got=content, expected="a text in en and one in zh")
