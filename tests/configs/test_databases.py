"""Where things are kept: one line of project.yaml or one variable each, no password in a file, none in an error."""

import shutil

import pytest

import configs
from configs import load
from configs.databases import DATABASES, begun, database_uri, is_postgres, shown
from configs.errors import ConfigError

ADDRESS = "postgresql+psycopg://userops@db:5433/userops"


@pytest.fixture(params=sorted(DATABASES))
def name(request):
    return request.param


def asked(home, name):
    return getattr(load(home), f"{name}_uri")


def test_by_default_each_is_a_file_of_the_home(tmp_path, name):
    assert asked(tmp_path, name) == f"sqlite:///{tmp_path / DATABASES[name]}"


def test_one_line_of_the_file_is_enough_and_a_variable_comes_first(tmp_path, monkeypatch, name):
    folder = tmp_path / "configs"
    shutil.copytree(configs.configs_folder(), folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    project = folder / "project.yaml"
    lines = [f"{name}: {ADDRESS}" if line.startswith(f"{name}:") else line for line in project.read_text().split("\n")]
    project.write_text("\n".join(lines))
    monkeypatch.setenv("USEROPS_CONFIGS", str(folder))
    assert asked(tmp_path, name) == ADDRESS
    monkeypatch.setenv(f"USEROPS_{name.upper()}", "postgresql://wu:s3cret@other/log")
    assert asked(tmp_path, name) == "postgresql+psycopg://wu:s3cret@other/log"
    monkeypatch.setenv(f"USEROPS_{name.upper()}", "sqlite")
    assert asked(tmp_path, name) == f"sqlite:///{tmp_path / DATABASES[name]}"


@pytest.mark.parametrize("told", ["postgresql://u:s3cret@db/d", "postgresql://u@db/d?password=s3cret"])
def test_a_password_in_the_file_is_refused(tmp_path, name, told):
    with pytest.raises(ConfigError, match="holds a password") as refused:
        database_uri(name, told, tmp_path)
    assert f"USEROPS_{name.upper()}" in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "told",
    [
        *("postgresql://u:s3cret@half@db/d", "postgresql://u:s3cret/half@db/d", "postgresql://u:12/s3cret@db/d"),
        *("postgresql://u:s3cret%zz@db/d", "postgresql://u:s3cret#x@db/d", "postgresql://u:s3cret?x@db/d"),
        *("postgresql://db:s3cret/d", "mysql://u:s3cret@db/d", "postgresql:u:s3cret", "sqlite://s3cret", "s3cret"),
        "postgresql://u:p@db/d#s3cret",
    ],
)
def test_what_a_driver_would_quote_half_of_is_refused_without_being_told(tmp_path, monkeypatch, name, told):
    monkeypatch.setenv(f"USEROPS_{name.upper()}", told)
    with pytest.raises(ConfigError, match=f"USEROPS_{name.upper()}") as refused:
        load(tmp_path)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("told", ["postgresql:///log?host=/run/postgresql", "postgresql://u:p%40ss@h1:1,[::1]:2/log"])
def test_sockets_several_hosts_and_escaped_passwords_are_addresses(tmp_path, monkeypatch, name, told):
    monkeypatch.setenv(f"USEROPS_{name.upper()}", told)
    found = asked(tmp_path, name)
    assert found == told.replace("postgresql", "postgresql+psycopg", 1)
    assert is_postgres(found)
    assert "p%40ss" not in shown(found)


def test_only_mlflow_may_be_a_server(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_TRACKING", "http://tracking:5000/prefix")
    assert load(tmp_path).tracking_uri == "http://tracking:5000/prefix"
    monkeypatch.setenv("USEROPS_DECISIONS", "http://tracking:5000")
    with pytest.raises(ConfigError, match="USEROPS_DECISIONS"):
        load(tmp_path)


def test_a_file_has_begun_whatever_its_address_sets_besides(tmp_path):
    file = tmp_path / "decisions.db"
    addresses = [f"sqlite:///{file}{more}" for more in ("", "?synchronous=FULL")]
    assert not any(map(begun, addresses))
    file.touch()
    assert all(map(begun, addresses))
