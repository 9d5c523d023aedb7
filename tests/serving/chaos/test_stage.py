"""Nothing that a fault starts reaches the stores of whoever makes it, whatever they are told by file or variable."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from configs import configs_folder
from configs.databases import DATABASES
from serving.chaos.service import ROOT
from serving.chaos.stage import Stage

SEEN = """
import json
from configs import load
config = load()
told = {name: getattr(config, f"{name}_uri") for name in ("decisions", "audit", "registry", "tracking", "online")}
print(json.dumps(told))
"""


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path / "stage", 0, mount=False)
    yield stage
    stage.close()


def test_a_team_whose_servers_project_yaml_names_is_left_alone(stage, tmp_path, monkeypatch):
    folder = tmp_path / "configs"
    folder.mkdir()
    for path in configs_folder().iterdir():
        if path.suffix == ".yaml" or path.name in ("models", "sources"):
            (folder / path.name).symlink_to(path)
    text = (folder / "project.yaml").read_text(encoding="utf-8")
    servers = {**dict.fromkeys(DATABASES, "postgresql://team@db/team"), "online_store": "redis://db:6379/0"}
    for name, server in servers.items():
        assert f"\n{name}: sqlite" in text
        text = text.replace(f"\n{name}: sqlite", f"\n{name}: {server}")
    (folder / "project.yaml").unlink()
    (folder / "project.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("USEROPS_TRACKING", "http://team:5000")

    def seen(environment):
        done = subprocess.run(
            [sys.executable, "-c", SEEN], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    given = stage.environment() | {"USEROPS_CONFIGS": str(folder)}
    without = {name: value for name, value in given.items() if value != "sqlite"}
    assert {address.partition(":")[0] for address in seen(without).values()} == {"postgresql+psycopg", "redis"}
    assert all(address.startswith(f"sqlite:///{stage.home}/") for address in seen(given).values())
