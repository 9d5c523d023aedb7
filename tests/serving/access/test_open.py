"""A service without keys: this machine is answered, nobody else, and no page of another site writes."""

import shutil
from types import SimpleNamespace

import pytest

from configs import configs_folder, load
from configs.access import check_host, who_may_ask
from configs.errors import ConfigError, KeysError
from configs.keys import Keys
from serving.access.gate import Gate
from serving.access.guesses import Guesses
from serving.access.rates import Rates
from serving.errors.problem import Problem


@pytest.fixture
def gate(tmp_path):
    return Gate(Keys(tmp_path / "keys.json"), Rates("sqlite"), Guesses())


def scope(method="POST", path="/v1/feedback", server=("127.0.0.1", 3000), **headers):
    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "server": server, "headers": told, "client": ("::1", 1)}


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "[::1]:3000", "a.localhost", "desk", "LOCALHOST:1"])
@pytest.mark.parametrize("server", [("127.0.0.1", 3000), ("::1", 3000), ("/run/userops.sock", None), None])
def test_this_machine_is_answered(gate, host, server):
    gate.admit(scope(host=host, server=server))
    gate.admit(scope("GET", "/console/models", host=host, server=server))


@pytest.mark.parametrize("server", [("10.0.0.5", 3000), ("172.17.0.2", 3000), ("fd00::1", 3000), ("0.0.0.0", 3000)])
def test_others_are_not_and_are_told_what_to_run(gate, server):
    with pytest.raises(Problem) as told:
        gate.admit(scope(server=server, host="10.0.0.5:3000"))
    assert told.value.status == 403
    assert told.value.expected.startswith("userops keys add")
    gate.admit(scope("GET", "/livez", server))
    gate.anywhere = True
    gate.admit(scope(server=server, host="scores.example"))


def test_a_name_of_the_web_that_points_here_is_not_this_machine(gate):
    for host in ("evil.example", "evil.example:3000", "127.0.0.1.evil.example", "10.0.0.5"):
        with pytest.raises(Problem):
            gate.admit(scope(host=host))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_writes_nothing(gate, site):
    with pytest.raises(Problem):
        gate.admit(scope(host="localhost", sec_fetch_site=site))
    gate.admit(scope("GET", host="localhost", sec_fetch_site=site))  # a link; the browser keeps the answer from pages
    gate.admit(scope(host="localhost", sec_fetch_site="same-origin"))


def test_the_first_key_closes_it_for_good(gate):
    gate.admit(scope(host="localhost"))
    key, text = gate.keys.add("shop", ["feedback"])
    with pytest.raises(Problem) as told:
        gate.admit(scope(host="localhost"))
    assert told.value.status == 401
    shown = scope(host="scores.example", authorization=f"Bearer {text}", server=("10.0.0.5", 3000))
    gate.admit(shown)
    assert shown["userops.key"] == key
    gate.keys.revoke(key.id)
    with pytest.raises(Problem) as told:
        gate.admit(scope(host="localhost"))
    assert told.value.status == 401, "a revoked key does not open the service again"


def test_an_address_that_others_reach_needs_a_key_or_a_word(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    monkeypatch.delenv("USEROPS_KEYS", raising=False)
    config = load()
    for host in ("127.0.0.1", "::1", "localhost"):
        check_host(config, host)
    for host in ("0.0.0.0", "::", "10.1.2.3"):
        with pytest.raises(KeysError, match="ask nobody for a key") as told:
            check_host(config, host)
        assert told.value.run.startswith("userops keys add")
        check_host(SimpleNamespace(serving=SimpleNamespace(without_keys="anywhere")), host)
    assert "no key was ever issued" in who_may_ask(config)
    Keys(tmp_path / "keys.json").add("shop", ["score"])
    check_host(config, "0.0.0.0")
    assert who_may_ask(config) == "holders of keys (1 in force)"


def test_a_word_that_there_is_not(tmp_path, monkeypatch):
    shutil.copytree(configs_folder(), tmp_path / "configs", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setenv("USEROPS_CONFIGS", str(tmp_path / "configs"))
    project = tmp_path / "configs" / "project.yaml"
    project.write_text(project.read_text().replace("without_keys: loopback", "without_keys: nowhere"))
    with pytest.raises(ConfigError, match="without_keys"):
        load()
