"""The notebooks run, hold no output, define nothing that belongs into a room, and stay small."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path, kind):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def python(path):
    return "\n\n".join(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE) for cell in cells(path, "code"))


def test_there_are_the_five():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_is_stripped_and_small(self, path):
        assert path.stat().st_size < 10_000
        nbformat.validate(nbformat.read(path, as_version=4))
        assert all(not cell.outputs and cell.execution_count is None for cell in cells(path, "code"))

    def test_only_calls_the_rooms(self, path):
        tree = ast.parse(python(path))
        assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        assert all(len(node.body) == 1 for node in defined), "a function worth having lives in the package"
        roots = {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert roots & {"features", "training", "serving"}

    def test_speaks_both_languages(self, path):
        words = " ".join(cell.source for cell in cells(path, "markdown"))
        assert re.search(r"[a-z]{4}", words)
        assert re.search(r"[\u4e00-\u9fff]{4}", words)
