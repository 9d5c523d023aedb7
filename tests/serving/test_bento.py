"""``bentoml build`` makes a bento that serves where the project is not, with only the packages that it lists."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from configs import read_yaml
from features.catalog import digest
from serving.scoring import write_release

ROOT = Path(__file__).parents[2]
BENTOFILE = ROOT / "serving" / "bentofile.yaml"

# Runs before everything in the bento's processes: the project and the packages that the bento does not list are gone.
ELSEWHERE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in repr(finder)]
sys.meta_path.insert(0, Absent())
sys.path[:] = [entry for entry in sys.path if entry.rstrip("/") != {root!r}]
"""
PROVIDES = {"scikit-learn": "sklearn", "ibis-framework": "ibis"}
HEAVY = ("pandas", "scikit-learn", "ibis-framework", "duckdb", "pyarrow", "feast", "mlflow", "shap", "optuna", "numba")


@pytest.fixture(scope="module")
def packages():
    listed = read_yaml(BENTOFILE)["python"]["packages"]
    return {re.split(r"[=\[]", line)[0]: line for line in listed}


@pytest.fixture(scope="module")
def bento(tmp_path_factory):
    store = tmp_path_factory.mktemp("bentos")
    environment = {**os.environ, "BENTOML_HOME": str(store), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "bentoml", "build", "-f", "serving/bentofile.yaml", ".", "--output", "tag"]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    name, version = built.stdout.strip().removeprefix("__tag__:").split(":")
    return store / "bentos" / name / version


def test_versions_are_those_of_the_lock(packages):
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = {line.split(" ")[0] for line in lock if "==" in line and not line.startswith((" ", "#"))}
    assert {re.sub(r"\[.*\]", "", line) for line in packages.values()} <= locked


def test_the_bento_holds_code_and_configuration_and_nothing_generated(bento, packages):
    files = {path.relative_to(bento / "src").as_posix() for path in (bento / "src").rglob("*") if path.is_file()}
    assert {"serving/service.py", "configs/reasons.yaml", "configs/project.yaml", "features/catalog.py"} <= files
    rooms = {file.split("/")[0] for file in files}
    assert rooms <= {"serving", "configs", "features", "bentofile.yaml"}
    assert {Path(file).suffix for file in files} == {".py", ".yaml", ".html", ".css", ".js", ".svg"}
    required = (bento / "env" / "python" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in required if line} == set(packages.values())


def test_the_bento_serves_elsewhere_and_drains_when_told_to_stop(
    bento, packages, start_server, tmp_path, catalogue_models, published, publish_to
):
    write_release(tmp_path / "home" / "releases", catalogue_models, digest(), datetime(2026, 11, 21, tzinfo=UTC))
    publish_to(tmp_path / "home", published)
    absent = {PROVIDES.get(name, name) for name in HEAVY if name not in packages}
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(ELSEWHERE.format(absent=absent, root=str(ROOT)))
    server = start_server(tmp_path / "home", str(bento), PYTHONPATH=str(tmp_path / "site"))
    server.wait_ready()

    where = (
        "import sys; sys.path.insert(0, sys.argv[1]); import serving.service as s, features, configs;"
        "print(s.__file__, features.__file__, configs.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "BENTOML_DO_NOT_TRACK": "True"}
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", where, str(bento / "src")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(file.startswith(str(bento / "src")) for file in loaded.stdout.split())

    answer = httpx.post(f"{server.url}/v1/score/churn", json={"user_ids": ["u1", "nobody"]}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert [user["known"] for user in answer.json()["users"]] == [True, False]
    assert httpx.get(f"{server.url}/v1/users/u1/profile").json()["profile"]["lifecycle_state"] == "at_risk"

    begun, told = threading.Event(), threading.Event()

    def slow_body():
        yield b'{"user_ids": ["u1", "u2"],'
        begun.set()
        told.wait(30)
        yield b'"strict": true}'

    answers = []
    with httpx.Client(base_url=server.url, timeout=60, headers={"content-type": "application/json"}) as client:
        client.get("/livez")  # the connection is accepted before the server is told to stop
        asking = threading.Thread(
            target=lambda: answers.append(client.post("/v1/score/churn", content=slow_body()).status_code)
        )
        asking.start()
        begun.wait(30)
        time.sleep(0.5)  # and the head of the request is read
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        told.set()
        asking.join()
    assert answers == [200]
    assert server.process.wait(30) == 0
