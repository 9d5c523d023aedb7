"""Where published features are: one line of project.yaml, or the environment, which alone may hold a password."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import load
from configs.errors import ConfigError
from configs.online import LOCAL_REDIS, online_uri

ADDRESS = "redis://cache:6380/3"


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.delenv("USEROPS_ONLINE", raising=False)


def test_the_embedded_store_lies_in_the_home(tmp_path):
    assert load(tmp_path).online_uri == f"sqlite:///{tmp_path / 'online.db'}"


@pytest.mark.parametrize(
    ("told", "expected"), [("redis", LOCAL_REDIS), (ADDRESS, ADDRESS), ("rediss://h", "rediss://h")]
)
def test_one_line_or_one_variable_names_a_redis(told, expected, tmp_path, monkeypatch):
    assert dataclasses.replace(load(tmp_path), online_store=told).online_uri == expected
    monkeypatch.setenv("USEROPS_ONLINE", told)
    assert load(tmp_path).online_uri == expected


def test_the_variable_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_ONLINE", "sqlite")
    assert online_uri(ADDRESS, tmp_path).startswith("sqlite")


def test_a_file_holds_no_password(tmp_path):
    with pytest.raises(ConfigError, match="holds a password") as refusal:
        online_uri("redis://:s3cret@h/0", tmp_path)
    assert "s3cret" not in str(refusal.value)


@settings(deadline=None)
@given(st.one_of(st.none(), st.booleans(), st.integers(), st.text()))
def test_anything_else_is_refused_and_not_repeated(told):
    if told in ("sqlite", "redis"):
        return
    with pytest.raises(ConfigError) as refusal:
        online_uri(told, load().home)
    assert "s3cret" not in str(refusal.value)
