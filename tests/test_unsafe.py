"""What no module may do: run what it reads, open what a request names, put outside text into SQL."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("configs", "features", "training", "serving")
FILES = sorted([*(path for room in ROOMS for path in (ROOT / room).rglob("*.py")), ROOT / "userops.py"])
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]

#: Formats that run code when they are read.
RUNNING = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle", "code", "pty"}
#: Of what is built in, and of modules.
NEVER = {
    *("eval", "exec", "compile", "__import__", "execfile"),
    *("os.system", "os.popen", "os.spawnl", "os.spawnv", "os.spawnlp", "os.spawnvp", "commands.getoutput"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"),
    *("tempfile.mktemp", "builtins.eval", "builtins.exec", "runpy.run_path", "runpy.run_module", "torch.load"),
    *("pd.read_pickle", "pandas.read_pickle", "np.fromregex", "types.FunctionType", "ctypes.CDLL"),
}
#: Of anything: what pickles, runs, or unpacks wherever an archive says.
NEVER_METHODS = {
    "to_pickle",
    "read_pickle",
    "extractall",
    "load_module",
    "exec_module",
    "unsafe_load",
    "install_packages",
}
#: MLflow's ways of keeping a model as a pickle; ours is `serving.scoring.pyfunc`, which holds text.
MLFLOW = re.compile(
    r"mlflow\.(sklearn|lightgbm|pytorch|statsmodels|catboost|xgboost|pyfunc)\.(load_model|log_model|save_model)"
)

#: Modules that run in a service and read files, and whose names never come from a request but through a check that
#: `test_no_request_names_a_file` tries: a new one is looked at before it is added here.
READS_FILES = {
    "serving/bulk",  # a command: the paths are its arguments
    "serving/chaos",
    "serving/forget",
    "serving/log",
    "serving/nbo/replay.py",  # the folder of a release: `folder_of`
    "serving/pickup.py",  # releases/current
    "serving/scoring",  # a release, file by file, each with its digest
    "serving/console/assets.py",
    "serving/console/export.py",  # the files of `assets`
    "serving/gauges.py",  # one report of the monitor
    "serving/console/desk.py",  # a model, a version and a head: `Desk`
    "serving/console/history.py",  # every snapshot; the user is a value
    "serving/console/report.py",
    "serving/console/words.py",
    "serving/console/plotly_script.py",
    "serving/console/pdf.py",
    "serving/trajectory.py",
}


@functools.cache
def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


@functools.cache
def called(node: ast.Call) -> str:
    """What is called, as it is written; `ast.unparse` takes its time."""
    inner, names = node.func, list[str]()
    while isinstance(inner, ast.Attribute):
        names.append(inner.attr)
        inner = inner.value
    names.append(inner.id if isinstance(inner, ast.Name) else ast.unparse(inner) if names == ["format"] else "()")
    return ".".join(reversed(names))


@functools.cache
def calls(name: str) -> tuple[ast.Call, ...]:
    return tuple(node for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call))


def told(name: str, node: ast.expr) -> str:
    return f"{name}:{node.lineno} {ast.unparse(node)[:100]}"


def test_no_format_that_runs_code_is_imported() -> None:
    found = []
    for name in NAMES:
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
                found += [f"{name}:{node.lineno} {one}" for one in modules if one.partition(".")[0] in RUNNING]
    assert found == []


def test_nothing_read_is_run() -> None:
    assert [told(name, node) for name in NAMES for node in calls(name) if runs(name, node)] == []


def runs(name: str, node: ast.Call) -> bool:
    """Whether a call runs what it is given: as code, as a command line, as a pickle, as an archive's own paths."""
    what, given = called(node), {one.arg: one.value for one in node.keywords}
    if what in NEVER or what.rpartition(".")[2] in NEVER_METHODS or MLFLOW.search(what):
        return True
    if "shell" in given and not is_false(given["shell"]):
        return True
    if what in ("np.load", "np.save", "numpy.load", "numpy.save") and not is_false(given.get("allow_pickle")):
        return True
    if what == "yaml.compose" or (what.startswith("yaml.") and "Loader" in given):
        return "Safe" not in ast.unparse(given["Loader"])
    if (
        what.startswith("subprocess.")
        and node.args
        and isinstance(node.args[0], ast.Constant | ast.JoinedStr | ast.BinOp)
    ):
        return True  # a line for a shell to read; a list of arguments is none
    if what.endswith("import_module"):
        return name not in ("serving/lean.py", "serving/verbs_bulk.py")  # constants of these modules
    if name.startswith("features/online") and what.endswith(".eval"):  # Redis
        return re.fullmatch(r"redis_scripts\.[A-Z]+", ast.unparse(node.args[0])) is None
    return False


def is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


OPENS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "unlink", "iterdir", "glob", "rglob"}
COMMANDS = re.compile(r"/(benchmark|verbs|demo|client|local|follow|keeper|logs)")  # run by whoever runs the service


def test_what_answers_requests_opens_no_file_but_where_it_was_looked_at() -> None:
    found = [
        told(name, node)
        for name in NAMES
        if name.startswith("serving/") and not name.startswith(tuple(READS_FILES)) and not COMMANDS.search(name)
        for node in calls(name)
        if called(node).rpartition(".")[2] in OPENS and called(node) != "DecisionLog.open"
    ]
    assert found == []


HOSTILE = (
    "..",
    "../..",
    "../secret",
    "/etc/passwd",
    "a/../../secret",
    "..\\secret",
    ".",
    "",
    "secret\x00",
    "%2e%2e",
    "a\nb",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_request_names_a_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    """Each has a file that it would find if it took a name for a way."""
    from serving.console.assets import asset
    from serving.console.desk import Desk
    from serving.nbo.rules import folder_of

    for folder in ("desk/churn/1/learned", "learned", "secret/learned", "desk/1", "releases"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for path in (
        "card.json",
        "learned/x.json",
        "desk/card.json",
        "desk/1/card.json",
        "release.json",
        "secret/card.json",
    ):
        (tmp_path / path).write_text("{}", encoding="utf-8")
    desk = Desk(tmp_path)
    assert desk.read(name, "1", "card.json") is None
    assert desk.read("churn", name, "card.json") is None
    assert desk.read("churn", "1", name) is None
    assert desk.read("churn", "1", f"learned/{name}") is None
    assert desk.versions(name) == []
    assert desk.learned(name, "1") == desk.learned("churn", name) == set()
    assert folder_of(tmp_path / "releases", name) is None
    assert asset(name) is None


# ── SQL ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

_SQL = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|COPY|CREATE|ATTACH|WITH|FROM|DROP|SET|PRAGMA|LOCK|TRUNCATE|ALTER|DESCRIBE|"
    r"REPLACE INTO|UNION|LEFT JOIN|ANTI JOIN|WHERE|CAST\(|read_parquet\(|read_csv\()|"
    r"\b(SELECT|FROM|WHERE|INSERT INTO|DELETE FROM|read_parquet)\b"
)
#: What makes of any text one literal or one name; numbers of places; constants of a module.
_QUOTED = re.compile(
    r"(literal|identifier|marks|table_of|_quoted|_name|_text|len|int)\(|[A-Z_][A-Z0-9_]*$|"
    r"', '\.join\((map\((literal|identifier|_text), |'\?' \* )"
)
#: Where a service writes SQL with more than values: every one of these is a text of the module itself.
OURS = {
    "serving/log/feedback.py": {"within"},
    "serving/log/live.py": {"after", "refreshed"},
    "serving/log/postgres.py": {"limits[0]", "limits[1]"},  # integers
    "serving/log/pruning.py": {"these", "pairs"},
    "serving/log/reading.py": {"of_user"},
    "serving/log/sqlite.py": {"synchronous"},  # one of SYNCHRONOUS
    "training/aliases.py": {"name"},
}
#: Where features and commands compose queries: of columns, expressions and files, each quoted where it comes in.
#: `tests/features/test_hostile_names.py` tries them with hostile ids, columns and files.
COMPOSED = {
    *("features/asof.py", "features/by_user.py", "features/engine.py", "features/entities.py", "features/few_users.py"),
    *("features/forget.py", "features/forgotten.py", "features/inputs.py", "features/ledger.py"),
    *("features/live_events.py", "features/online/sqlite_store.py", "features/online/sqlite_writer.py"),
    *("features/publish.py", "features/rules.py", "features/sources.py", "features/staging.py"),
    "features/benchmark_features.py",
}
#: A value between quotes that is no `literal`: its quotes are doubled where it is made, or it is a constant.
BETWEEN_QUOTES = {
    ("features/engine.py", "target"),
    ("features/benchmark_features.py", "target"),
    ("serving/log/migrate.py", "VERSIONS"),
}


def statements(name: str) -> Iterator[tuple[ast.JoinedStr, list[str], list[str]]]:
    """Every f-string of SQL: its interpolated expressions, and those of them that stand between quotes."""
    for node in ast.walk(tree_of(name)):
        if not isinstance(node, ast.JoinedStr):
            continue
        parts = [str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values]
        if not _SQL.search("".join(parts)):
            continue
        every, quoted = [], []
        for place, one in enumerate(node.values):
            if isinstance(one, ast.FormattedValue):
                every.append(ast.unparse(one.value))
                if place and parts[place - 1].endswith("'"):
                    quoted.append(every[-1])
        yield node, every, quoted


def test_sql_takes_text_from_outside_as_parameters_or_quoted() -> None:
    found = []
    for name in NAMES:
        for node, every, quoted in statements(name):
            loose = {one for one in quoted if (name, one) not in BETWEEN_QUOTES}
            if name not in COMPOSED and not re.search("chaos|benchmark|migrations", name):  # nobody asks those
                loose |= {one for one in every if not _QUOTED.match(one)} - OURS.get(name, set())
            found += [f"{name}:{node.lineno} {one}" for one in sorted(loose)]
    assert found == []


def test_what_was_looked_at_is_still_there() -> None:
    """A module that composes no SQL, or opens no file, any more leaves these lists."""
    composing = {name for name in NAMES if any(every for _, every, _ in statements(name))}
    assert {*COMPOSED, *OURS} - composing == set()
    assert {one for one in READS_FILES if not any(name.startswith(one) for name in NAMES)} == set()


def test_no_sql_is_made_by_adding_or_formatting() -> None:
    found = []
    for name in NAMES:
        for node in calls(name):
            if (
                called(node).rpartition(".")[2] in ("execute", "executemany", "raw_sql", "exec_driver_sql")
                and node.args
            ):
                first = node.args[0]
                made = isinstance(first, ast.BinOp) and isinstance(first.op, ast.Mod)
                # psycopg's own `SQL.format` quotes what it is given.
                made |= (
                    isinstance(first, ast.Call) and called(first).endswith(".format") and "SQL(" not in called(first)
                )
                if made and "benchmark" not in name:
                    found.append(told(name, node))
    assert found == []
