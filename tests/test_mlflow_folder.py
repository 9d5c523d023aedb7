"""What mlflow/ tells a team is well-formed, and no default of it opens a door."""

import re
import shlex
import warnings
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

with warnings.catch_warnings():
    # MLflow 3.17 warns of its own type hints when its pyfunc module is loaded.
    warnings.simplefilter("ignore", UserWarning)
    from mlflow.cli import cli

FOLDER = Path(__file__).parents[1] / "mlflow"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")


def options(name):
    command = cli.get_command(click.Context(cli), name)
    return {option for one in command.params for option in (*one.opts, *one.secondary_opts)}


def test_every_variable_has_a_place_in_the_example_and_no_secret_has_a_value():
    given = dict(
        line.split("=", 1) for line in (FOLDER / "example.env").read_text().splitlines() if line and line[0] != "#"
    )
    assert set(re.findall(r"\$\{(\w+)", TEXT)) == set(given)
    assert not any(given[name] for name in given if "PASSWORD" in name or "KEY" in name)


def test_only_the_server_is_reachable_and_only_from_here():
    services = COMPOSE["services"]
    assert [name for name, one in services.items() if one.get("ports")] == ["mlflow"]
    assert all(port.startswith("127.0.0.1:") for port in services["mlflow"]["ports"])
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert all(one["networks"] == ["inside"] for name, one in services.items() if name != "mlflow")


def test_the_server_refuses_jobs_pickles_and_foreign_hosts():
    server = COMPOSE["services"]["mlflow"]
    for name in ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"):
        assert server["environment"][name] == "false"
    assert any(word.startswith("--allowed-hosts=") for word in server["command"])
    assert "--disable-security-middleware" not in TEXT


@pytest.mark.parametrize("where", ["compose", "readme"])
def test_the_commands_have_options_that_mlflow_knows(where):
    if where == "compose":
        commands = [COMPOSE["services"]["mlflow"]["command"]]
    else:
        joined = README.replace("\\\n", " ")
        commands = [
            shlex.split(line)[shlex.split(line).index("mlflow") :]
            for line in joined.replace(".venv/bin/", "").splitlines()
            if re.match(r"(\w+=\S+ )*(mlflow) (ui|server)", line)
        ]
        assert len(commands) == 2
    for _, verb, *words in commands:
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options(verb)


def test_mlflow_runs_at_all():
    assert CliRunner().invoke(cli, ["server", "--help"]).exit_code == 0
