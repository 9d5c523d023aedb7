"""A home in which the whole way has been walked once, by the commands a user would type; PostgreSQL and Redis."""

import fcntl
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from configs import Config, load
from features.redis_server import RedisServer, is_installed, redis_server
from features.spark.cluster import cluster, missing
from serving.log.postgres_server import postgres_server, why_not
from training.registry import Registry

# LightGBM reads it when it is loaded; `make test` sets it too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# No test writes into stores that whoever runs it works with.
for name in ("USEROPS_ONLINE", "USEROPS_DECISIONS", "USEROPS_AUDIT", "USEROPS_REGISTRY", "USEROPS_TRACKING"):
    os.environ.pop(name, None)

ROOT = Path(__file__).parents[1]
END = "2026-06-01"
#: What takes longest comes first: a long file that one process begins last is what the other processes wait for. What
#: needs the compiled core of interests comes after some minutes: the walk has compiled it by then.
LONG = (
    "tests/test_whole_way.py",
    "tests/features/spark/test_spark_build.py",
    "tests/features/test_fresh.py",
    "tests/features/test_build.py",
    "tests/serving/nbo/test_nbo_server.py",
    "tests/serving/nbo/chaos/test_faults.py",
    "tests/training/desk/test_card.py",
    "tests/training/test_forecasts.py",
    "tests/training/gate/test_gate.py",
    "tests/training/compare/test_comparison.py",
    "tests/training/test_value_train.py",
    "tests/serving/access/test_server_access.py",
    "tests/serving/test_server.py",
    "tests/serving/nbo/test_benchmark_serving.py",
    "tests/training/test_interest_train.py",
    "tests/features/test_behaviour.py",
    "tests/serving/nbo/test_nbo.py",
    "tests/training/test_models.py",
    "tests/training/test_value.py",
    "tests/serving/test_bento.py",
)
#: Files that go to one process for what costs most in them: a Spark cluster, a model that is trained twice.
BESIDE = {
    "tests/serving/bulk/test_bulk_spark.py": "tests/features/spark/test_spark_build.py",
    "tests/training/desk/test_versus.py": "tests/training/desk/test_card.py",
}


def pytest_configure(config: pytest.Config) -> None:
    """Files go to the processes in the order below, not in that of their number of tests."""
    config.option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files that look at the home that is walked go to one process: walking takes minutes."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return LONG[0] if file.startswith("tests/browser/") else BESIDE.get(file, file)

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first; everything else stays in its place."""
    rank = {name: place for place, name in enumerate(LONG)}

    def place_of(item: pytest.Item) -> float:
        file = item.nodeid.partition("::")[0]
        return 0.5 if file.startswith("tests/browser/") else rank.get(file, len(rank))

    items.sort(key=place_of)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what collecting has imported, and come less often.

    Compiling a query makes hundreds of thousands of small objects: a fifth of a build's time went into looking for
    cycles among them and among the modules, which never go.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """``once(name, make)`` is a folder that ``make`` filled in whichever process of this run asked first."""
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if root.name.startswith("popen-") else root

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = shared / name
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / f"{name}.made").exists():
                folder.mkdir()
                make(folder)
                (shared / f"{name}.made").touch()
        return folder

    return made


@pytest.fixture(scope="session", autouse=True)
def mlflow_template(once: Callable[[str, Callable[[Path], object]], Path]) -> Iterator[None]:
    """A home's first registry copies MLflow's database: making it anew takes all of MLflow's migrations each time.

    The home that is `walked` makes its own.
    """
    opened = Registry.__init__

    def template(folder: Path) -> None:
        opened(Registry.__new__(Registry), load(folder))
        assert [file.name for file in folder.iterdir()] == ["mlflow.db"]  # nothing of it lies in a journal

    def open_registry(registry: Registry, config: Config) -> None:
        path = config.home / "mlflow.db"
        if config.tracking_uri == f"sqlite:///{path}" and not path.exists():
            config.home.mkdir(parents=True, exist_ok=True)
            shutil.copy(once("mlflow", template) / path.name, path)
        opened(registry, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "__init__", open_registry)
        yield


class CommandLine:
    """``userops`` as one process for all commands of a session: they are typed in turn, and imports happen once."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "tests" / "in_turn.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def run(self, home: Path, *words: str, now: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """``userops WORDS`` in ``home``, typed in that folder if it is there; the clock stands at ``now``, if given."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        environment = {"USEROPS_HOME": str(home), "USEROPS_NOW": now}
        folder = home if home.is_dir() else home.parent
        self._process.stdin.write(f"{json.dumps([words, str(folder), environment])}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self._log.read_text()
        done = subprocess.CompletedProcess(words, *json.loads(answer))
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def close(self) -> None:
        self._process.communicate(timeout=60)  # it ends with its input


@dataclass(frozen=True)
class Walked:
    """A home after ``userops`` went from a simulated shop to published features."""

    home: Path
    shop: Path
    line: CommandLine

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``userops WORDS`` in this home, with the clock at the end of the shop."""
        return self.line.run(self.home, *words, now=f"{END}T00:00:00+00:00", check=check)


@pytest.fixture(scope="session")
def command_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """Runs commands in homes of their own; `tests/test_command_line.py` starts processes of its own."""
    line = CommandLine(tmp_path_factory.mktemp("command_line") / "log")
    yield line
    line.close()


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory, command_line: CommandLine) -> Walked:
    """Simulate, ingest, train, promote, release, build and publish: 2,000 people over 300 days."""
    home = tmp_path_factory.mktemp("home")
    walked = Walked(home, home / "shop", command_line)
    walked.run("simulate", str(walked.shop), "--users", "2000", "--days", "300", "--end", END)
    walked.run("ingest", "shop", "--data", str(walked.shop), "--json", str(home / "ingest.json"))
    walked.run("train", "--json", str(home / "train.json"))
    walked.run("promote")
    walked.run("release")
    walked.run("features", "build")
    walked.run("features", "publish", "--json", str(home / "publish.json"))
    return walked


@pytest.fixture(scope="session")
def postgres_program() -> None:
    """Skips where no PostgreSQL can be started."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def server(postgres_program: None) -> Iterator[str]:
    """The address, but for the database, of a PostgreSQL server of our own on a free loopback port."""
    with postgres_server(durable=False) as running:
        yield running.uri("").replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture(scope="session")
def redis_program() -> None:
    """Skips where no ``redis-server`` can be started."""
    if not is_installed():
        pytest.skip("Redis is not installed (apt-get install redis-server)")


@pytest.fixture(scope="session")
def redis(redis_program: None) -> Iterator[RedisServer]:
    """A Redis of our own on a free loopback port, with a password that no error may tell."""
    with redis_server("p4ssword-of-tests") as server:
        yield server


databases = count()


def unused(redis: RedisServer) -> str:
    """The address of a database that no other test of this process has."""
    return redis.uri(next(databases))


@pytest.fixture
def redis_uri(redis: RedisServer) -> str:
    """The address of an empty database of the test's own."""
    return unused(redis)


class OnlineKind:
    """Which online store the tests of a module run with at the moment."""

    def __init__(self, redis: RedisServer | None) -> None:
        self.redis = redis

    def fresh(self, patch: pytest.MonkeyPatch) -> str | None:
        """From now on homes have an empty store of their own; its address if it is a Redis."""
        if self.redis is None:
            patch.delenv("USEROPS_ONLINE", raising=False)
            return None
        uri = unused(self.redis)
        patch.setenv("USEROPS_ONLINE", uri)
        return uri


@pytest.fixture(params=["sqlite", "redis"])
def either_online_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that asks for it runs twice: with the embedded online store of its home and with an empty Redis."""
    OnlineKind(request.getfixturevalue("redis") if request.param == "redis" else None).fresh(monkeypatch)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def online_store(request: pytest.FixtureRequest) -> Iterator[OnlineKind]:
    """The tests of a module that ask for it run twice: with the embedded online store and with a Redis."""
    kind = OnlineKind(request.getfixturevalue("redis") if request.param == "redis" else None)
    with pytest.MonkeyPatch.context() as patch:
        kind.fresh(patch)
        yield kind


#: Small data: what costs is the start of Java and the compiling of queries, so neither is optimised for later.
SPARK = """
spark.driver.extraJavaOptions    -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
spark.executor.extraJavaOptions  -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
spark.executor.memory            600m
spark.sql.codegen.wholeStage     false
spark.sql.codegen.factoryMode    NO_CODEGEN
spark.sql.shuffle.partitions     2
spark.sql.files.openCostInBytes  1000
"""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Spark cluster of our own: a master and two workers on loopback that know of another time zone.

    It is in USEROPS_SPARK too, as long as the tests last.
    """
    if (lacking := missing()) is not None:
        pytest.skip(lacking)
    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark-defaults.conf").write_text(SPARK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        patch.setenv("TZ", "Asia/Tokyo")
        with cluster() as running:
            patch.setenv("TZ", "UTC")
            patch.setenv("USEROPS_SPARK", running.address)
            yield running.address
            from features.spark.session import end

            end()
