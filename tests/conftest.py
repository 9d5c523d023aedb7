"""A home in which the whole way has been walked once, by the commands a user would type; PostgreSQL and Redis."""

import dataclasses
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from configs import Config
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
#: What takes longest comes first: a long file that one process begins last is what the other processes wait for.
LONG = (
    "tests/test_whole_way.py",
    "tests/serving/nbo/test_nbo_server.py",
    "tests/test_notebooks.py",
    "tests/training/test_forecasts.py",
    "tests/training/gate/test_gate.py",
    "tests/training/compare/test_comparison.py",
    "tests/training/test_value_train.py",
    "tests/serving/test_server.py",
    "tests/serving/nbo/test_benchmark_serving.py",
    "tests/training/test_interest_train.py",
    "tests/features/test_fresh.py",
    "tests/features/test_build.py",
    "tests/features/test_behaviour.py",
    "tests/serving/nbo/test_nbo.py",
    "tests/test_command_line.py",
    "tests/training/test_models.py",
    "tests/training/test_value.py",
    "tests/serving/test_bento.py",
)


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
            if file.endswith("test_bulk_spark.py"):
                return "tests/features/spark/test_spark_build.py"  # one cluster serves both
            return LONG[0] if file.startswith("tests/browser/") else file

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


@pytest.fixture(scope="session", autouse=True)
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home's first registry copies MLflow's database: making it anew takes all of MLflow's migrations each time.

    Commands in processes of their own (`walked`) still make theirs.
    """
    template = tmp_path_factory.mktemp("mlflow")
    opened = Registry.__init__

    def open_registry(registry: Registry, config: Config) -> None:
        path = config.home / "mlflow.db"
        if config.tracking_uri == f"sqlite:///{path}" and not path.exists():
            if not (template / path.name).exists():
                opened(Registry.__new__(Registry), dataclasses.replace(config, home=template))
                assert [file.name for file in template.iterdir()] == [path.name]  # nothing of it lies in a journal
            config.home.mkdir(parents=True, exist_ok=True)
            shutil.copy(template / path.name, path)
        opened(registry, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "__init__", open_registry)
        yield


@dataclass(frozen=True)
class Walked:
    """A home after ``userops`` went from a simulated shop to published features."""

    home: Path
    shop: Path

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``userops WORDS`` in this home, with the clock at the end of the shop."""
        done = self.python(str(ROOT / "userops.py"), *words)
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``python WORDS`` for this home."""
        return subprocess.run(
            [sys.executable, *words],
            env={**os.environ, "USEROPS_HOME": str(self.home), "USEROPS_NOW": f"{END}T00:00:00+00:00"},
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """Simulate, ingest, train, promote, release, build and publish: 2,000 people over 300 days."""
    home = tmp_path_factory.mktemp("home")
    walked = Walked(home, home / "shop")
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
