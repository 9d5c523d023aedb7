"""The house rules that a program can check: who may import whom, and one door per outside library."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("configs", "features", "training", "serving")

# What a room may import of ours; serving/scoring is the one thing of serving that training sees.
MAY_IMPORT = {
    "configs": {"configs"},
    "features": {"configs", "features"},
    "training": {"configs", "features", "training", "serving.scoring"},
    "serving": {"configs", "features", "serving"},
    "serving.scoring": {"configs", "serving.scoring"},
}

# Benchmarks measure the stock libraries beside ours, so they may hold them.
DOORS = {
    "feast": {"features/store.py", "features/definitions.py", "features/asof_store.py", "features/vector_store.py"},
    "mlflow": {"training/registry.py", "training/run.py"},
    "optuna": {"training/search/study.py"},
    "shap": {"training/explain.py"},
    "bentoml": {"serving/service.py"},
    "redis": {"features/online/redis_store.py"},
    "pyspark": {"features/spark/cluster.py", "features/spark/session.py"},
    "yaml": {"configs/documents.py"},
}


def modules() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; say where it comes from"
            names.add(str(node.module))
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_lies_before_them(path):
    relative = path.relative_to(ROOT)
    room = "serving.scoring" if relative.parts[:2] == ("serving", "scoring") else relative.parts[0]
    for name in imported(path):
        ours = name.split(".")[0] in (*ROOMS, "userops")
        assert not ours or name == "serving" or any(within(name, other) for other in MAY_IMPORT[room]), (room, name)


@pytest.mark.parametrize("library", sorted(DOORS))
def test_each_outside_library_has_one_door(library):
    inside = {
        str(path.relative_to(ROOT))
        for path in modules()
        if "benchmark" not in path.name and any(within(name, library) for name in imported(path))
    }
    assert inside <= DOORS[library]


def test_nothing_of_ours_shadows_a_package():
    assert not list((ROOT / "mlflow").rglob("*.py")), "a .py in mlflow/ hides the package of that name"
    assert not list((ROOT / "tests").rglob("__init__.py")), "an __init__.py here makes `import features` the tests"


def test_no_module_can_run_what_it_reads():
    forbidden = ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not any(within(name, library) for name in imported(path) for library in forbidden), path
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"eval", "exec", "compile", "__import__"}, path
        loads = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml"
        }
        assert not loads & {"load", "load_all", "unsafe_load", "full_load"}, path


def test_the_lock_names_hashes_and_no_address():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert pinned
    assert all("==" in line for line in pinned)
    assert "://" not in lock
    assert lock.count("--hash=sha256:") >= len(pinned)


def test_tracked_files_are_small_and_the_top_level_is_fixed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    allowed = {
        *ROOMS,
        "notebooks",
        "mlflow",
        "tests",
        "pyproject.toml",
        "README.md",
        "userops.py",
        "Makefile",
        "LICENSE",
    }
    top = {name.split("/")[0] for name in tracked if not name.startswith(".")} - {"requirements.lock", "docs"}
    assert top <= allowed
    assert all((ROOT / name).stat().st_size < 1_000_000 for name in tracked if (ROOT / name).exists())
