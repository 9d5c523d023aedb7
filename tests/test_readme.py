"""The README is executed: its commands run (those of userops in test_whole_way.py), its links lead somewhere."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from features.sources import load_source

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_each_target_exists(command):
    # .ci/run runs them for real.
    done = subprocess.run(
        ["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_all_commands_are_covered():
    assert len(COMMANDS) > 10
    assert all(c.startswith(("userops ", "make ")) for c in COMMANDS)


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_example_of_a_source_is_one(tmp_path):
    example = re.search(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert example is not None
    path = tmp_path / "till.yaml"
    path.write_text(example[1], encoding="utf-8")
    assert yaml.safe_load(example[1])["dedup"] == "exact"
    assert load_source(path)
