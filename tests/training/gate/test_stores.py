"""Train, promote, roll back and release with MLflow in PostgreSQL, asked directly and through a server of MLflow's."""

import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from urllib.error import URLError
from urllib.request import urlopen

import psycopg
import pytest
from psycopg import sql

from configs import load
from configs.audit import verify
from configs.errors import RegistryError
from features.catalog import digest
from serving.log.postgres_server import postgres_server
from serving.scoring import Bundle
from training.aliases import aliases_of, run_of
from training.gate.journal import Move, carry_out
from training.gate.rollback import rollback
from training.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from training.release import release
from training.version_tags import set_tags, tags_of

SECRET = "s3cret-of-tests"


@pytest.fixture(scope="module")
def postgres(postgres_program):
    with postgres_server(durable=False, password=SECRET) as server:
        yield server


@pytest.fixture(scope="module")
def empty(postgres, tmp_path_factory):
    """The name of a database in which MLflow has made its tables, which takes it seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USEROPS_TRACKING", postgres.create("empty"))
        registry = Registry(load(tmp_path_factory.mktemp("home")))
        registry.versions("churn")
        for store in (registry._client._tracking_client.store, registry._client._get_registry_client().store):
            store.engine.dispose()
    return "empty"


def copy(postgres, empty, name):
    with psycopg.connect(postgres.uri(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(empty))
        )
    return postgres.uri(name)


@pytest.fixture(scope="module")
def team(postgres, empty, tmp_path_factory):
    """The address of a server of MLflow's, with PostgreSQL behind it and a folder of its own for artefacts."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": copy(postgres, empty, "team").replace("postgresql", "postgresql+psycopg"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--serve-artifacts"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words], cwd=folder, env=given, stdout=output, stderr=output
        )
    try:
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while not healthy(address):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield address, folder / "artifacts"
        assert SECRET not in (folder / "log").read_text()
    finally:
        server.terminate()
        server.wait(60)


def healthy(address):
    try:
        with urlopen(f"{address}/health", timeout=5) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


@pytest.fixture(params=["postgres", "server"])
def artifacts(request, config, monkeypatch):
    """Sets where MLflow is; the folder in which the files of versions lie then."""
    monkeypatch.setenv("USEROPS_AUDIT", request.getfixturevalue("postgres").uri("postgres"))
    if request.param == "server":
        address, folder = request.getfixturevalue("team")
        monkeypatch.setenv("USEROPS_TRACKING", address)
        return folder
    own = copy(request.getfixturevalue("postgres"), request.getfixturevalue("empty"), "direct")
    monkeypatch.setenv("USEROPS_TRACKING", own)
    return config.home / "mlartifacts"


def promoted(config, version, before):
    carry_out(config, "promoting", [Move("churn", version, run_of(config, "churn", version), before)])


def test_train_promote_roll_back_release(config, another, artifacts):
    rows, before = verify(config.audit_uri), len(list(artifacts.rglob("model.json")))
    registry = Registry(config)
    assert registry.versions("churn") == [], "what is in the home is not what is asked"
    first, second = another(), another()
    assert (first, second) == ("1", "2")
    promoted(config, first, None)
    promoted(config, second, first)
    assert aliases_of(config, ["churn"])["churn"] == {CHALLENGER: second, CHAMPION: second, PREVIOUS: first}
    set_tags(config, {("churn", second): {"approved_by": "mei"}})
    assert tags_of(config, [("churn", second)])["churn", second]["approved_by"] == "mei"
    rollback(config, "churn")
    assert aliases_of(config, ["churn"])["churn"][CHAMPION] == first
    made = release(config)
    assert made.versions == {"churn": first}
    bundle = Bundle.load(made.folder, digest())
    assert bundle.meta["models"]["churn"]["version"] == first
    assert verify(config.audit_uri) > rows, "the audit table is in PostgreSQL, too"
    assert not (config.home / "audit.db").exists()
    # The files lie where we say that they do, and nothing that is kept tells the password.
    assert len(list(artifacts.rglob("model.json"))) == before + 2
    assert SECRET not in json.dumps([dict(one.tags) for one in registry.versions("churn")])
    assert not [path for path in config.home.rglob("*.json") if SECRET in path.read_text()]


@pytest.mark.parametrize("wrong", ["password", "port", "server"])
def test_an_mlflow_that_is_not_there_is_told_at_once_without_its_password(tmp_path, postgres, monkeypatch, wrong):
    told = {
        "password": postgres.uri().replace(SECRET, "wr0ng"),
        "port": postgres.uri().replace(str(postgres.port), "1"),
        "server": f"http://wu:{SECRET}@127.0.0.1:1",
    }[wrong]
    monkeypatch.setenv("USEROPS_TRACKING", told)
    with pytest.raises(RegistryError, match="cannot be reached") as refused:
        Registry(load(tmp_path, datetime(2026, 6, 1, tzinfo=UTC)))
    assert SECRET not in str(refused.value)
    assert "wr0ng" not in str(refused.value)
