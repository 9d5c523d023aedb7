"""Keys: shown once, kept as a digest, refused without telling more than their holder knows."""

import json
import stat
import string
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import userops
from configs import load
from configs.account import account
from configs.audit import entries, verify
from configs.errors import AuditError, KeyRefused, KeysError
from configs.keys import SCOPES, Keys, keys_file


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "some where" / "keys.json")


def refused(keys, text, scope="sign", now=None):
    with pytest.raises(KeyRefused) as told:
        keys.check(text, scope, now)
    assert text.strip() == "" or text not in str(told.value)
    return told.value.reason


def test_a_key_opens_what_its_scopes_say_and_nothing_else(keys):
    key, text = keys.add("林 wu", ["sign", "read"])
    assert keys.check(text, "sign") == key == keys.check(f" {text}\n", "read")
    assert (key.name, key.scopes, key.issued_by) == ("林 wu", ("read", "sign"), account())
    for scope in set(SCOPES) - {"sign", "read"}:
        assert refused(keys, text, scope) == "scope"


def test_the_file_holds_no_secret_and_is_its_owners_alone(keys):
    _, text = keys.add("wu", ["sign"])
    assert text.split("_", 2)[2] not in keys.file.read_text()
    assert stat.S_IMODE(keys.file.stat().st_mode) == 0o600
    assert {path.name for path in keys.file.parent.iterdir()} == {"keys.json", "keys.json.lock"}  # no draft is left
    keys.file.chmod(0o622)
    with pytest.raises(KeysError, match="others may write"):
        keys.check(text, "sign")


def test_a_secret_has_256_random_bits(keys):
    texts = [keys.add("wu", ["sign"])[1] for _ in range(20)]
    secrets = [text.split("_", 2)[2] for text in texts]
    assert len(set(secrets)) == len({text.split("_")[1] for text in texts}) == 20
    assert all(len(secret) == 43 for secret in secrets)  # 32 bytes in base64


@settings(deadline=None)
@given(place=st.integers(0, 59), letter=st.sampled_from(string.ascii_letters + string.digits + "_-"))
def test_no_other_text_is_a_key(tmp_path_factory, place, letter):
    keys = Keys(tmp_path_factory.mktemp("keys") / "keys.json")
    _, text = keys.add("wu", ["sign"])
    place %= len(text)
    other = text[:place] + letter + text[place + 1 :]
    if other != text:
        assert refused(keys, other) == "wrong"


@pytest.mark.parametrize("text", ["", " ", "wu", "uo__", "uo_000000000000_" + "A" * 43, "é" * 60, "uo_\x00", "\ud800"])
def test_what_is_no_key_is_refused(keys, text):
    keys.add("wu", ["sign"])
    assert refused(keys, text) == ("wrong" if text.strip() else "absent")
    assert refused(Keys(keys.file.parent / "none.json"), text) == ("wrong" if text.strip() else "absent")


def test_an_expired_key_opens_nothing_from_its_last_instant_on(keys):
    key, text = keys.add("wu", ["sign"], days=2)
    ends = datetime.fromisoformat(key.expires_at)
    assert ends - datetime.fromisoformat(key.created_at) == timedelta(days=2)
    assert keys.check(text, "sign", ends - timedelta(microseconds=1)) == key
    assert refused(keys, text, now=ends) == "expired"


def test_a_wrong_secret_does_not_tell_what_became_of_the_key(keys):
    key, text = keys.add("wu", ["sign"])
    keys.revoke(key.id)
    assert refused(keys, text) == "revoked"
    assert refused(keys, f"uo_{key.id}_{'A' * 43}") == "wrong"
    assert keys.known(f"uo_{key.id}_{'A' * 43}") == key.id
    assert keys.known("uo_000000000000_" + "A" * 43) == keys.known("no key") == ""


def test_a_change_of_the_file_is_noticed_without_a_restart(keys):
    reader = Keys(keys.file)
    first, old = keys.add("wu", ["sign"])
    assert reader.check(old, "sign").name == "wu"
    _, new = keys.add("wu", ["sign"])
    assert reader.check(new, "sign").name == reader.check(old, "sign").name == "wu"
    revoked = keys.revoke(first.id)
    assert refused(reader, old) == "revoked"
    assert keys.revoke(first.id) == revoked  # the first instant stays
    assert reader.check(new, "sign")
    keys.file.unlink()
    assert refused(reader, new) == "wrong"


def test_keys_issued_at_once_are_all_kept(keys):
    texts = []
    threads = [threading.Thread(target=lambda: texts.append(Keys(keys.file).add("wu", ["sign"])[1])) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({keys.check(text, "sign").id for text in texts}) == 12


@pytest.mark.parametrize(
    ("name", "scopes", "days"),
    [
        *((name, ["sign"], None) for name in ("", " wu", "wu ", "a\nb", "-x", "x" * 81, "a/b", "<b>", "[red]")),
        *(("wu", scopes, None) for scopes in ([], ["sing"], ["sign", "Sign"])),
        *(("wu", ["sign"], days) for days in (0, -1, float("nan"), float("inf"))),
    ],
)
def test_a_key_that_cannot_be_issued(keys, name, scopes, days):
    with pytest.raises(KeysError):
        keys.add(name, scopes, days)
    assert keys.all() == []


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"id": "x"}]', "\udcff", "[", '[{"id":1,"scopes":3}]'])
def test_a_file_that_is_none_of_ours(keys, text):
    keys.file.parent.mkdir()
    keys.file.write_bytes(text.encode("utf-8", "surrogateescape"))
    keys.file.chmod(0o600)
    with pytest.raises(KeysError, match="no file of keys"):
        keys.check("uo_000000000000_" + "A" * 43, "sign")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    monkeypatch.delenv("USEROPS_KEYS", raising=False)
    return lambda *words: CliRunner().invoke(userops.app, ["keys", *words])


def test_the_command_line_shows_a_key_once(run, tmp_path):
    added = run("add", "wu", "--days", "30")
    assert added.exit_code == 0, added.output
    text = added.stdout.strip()
    assert Keys(keys_file(load())).check(text, "sign").name == "wu"
    listed = run("list", "--json", str(tmp_path / "keys-shown.json"))
    assert "wu" in listed.output
    assert "in force" in listed.output
    (shown,) = json.loads((tmp_path / "keys-shown.json").read_text())
    assert shown["state"] == "in force"
    for said in (listed.output, (tmp_path / "keys-shown.json").read_text()):
        assert text.split("_", 2)[2] not in said
        assert "sha256" not in said
    done = run("revoke", shown["id"])
    assert f"key {shown['id']} of wu is revoked" in done.output
    assert "revoked" in run("list").output
    assert isinstance(run("revoke", "nothing").exception, KeysError)
    assert isinstance(run("add", "wu", "--scope", "sing").exception, KeysError)


def test_issuing_and_revoking_leave_a_row_each_and_never_the_secret(run, tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_USER", "wu")
    told = ["--scope", "score", "--scope", "decide", "--rate", "5/s", "--days", "2"]
    text = run("add", "shop", *told).stdout.strip()
    number, secret = text.split("_", 2)[1:]
    uri = load().audit_uri
    (row,) = entries(uri)
    assert (row.who, row.action, row.model, row.version) == ("wu", "key_issued", "key", number)
    assert row.evidence["scopes"] == ["score", "decide"]
    assert {row.evidence["name"], row.evidence["rate"], row.evidence["account"]} == {"shop", "5/second", account()}
    assert row.comment.startswith("shop: score, decide (5/second), until 20")
    for _ in range(2):
        assert run("revoke", number).exit_code == 0
    assert [row.action for row in entries(uri)] == ["key_issued", "key_revoked"], "once, however often it is said"
    assert verify(uri) == 2
    digest = Keys(tmp_path / "keys.json").get(number).sha256
    assert not {secret, digest} & set(json.dumps([row.as_json() for row in entries(uri)]).split('"'))
    assert "key " + number in CliRunner().invoke(userops.app, ["audit"]).output


def test_without_its_row_there_is_no_key_but_a_revoked_one_stays_revoked(run, tmp_path, monkeypatch):
    number = run("add", "shop").stdout.split("_")[1]
    good = str(load().audit_uri)
    (tmp_path / "file").touch()
    monkeypatch.setenv("USEROPS_AUDIT", f"sqlite:///{tmp_path / 'file' / 'audit.db'}")
    refused = run("add", "another")
    assert isinstance(refused.exception, AuditError)
    assert "uo_" not in refused.output
    assert [key.name for key in Keys(tmp_path / "keys.json").all()] == ["shop"]
    revoked = run("revoke", number)
    assert isinstance(revoked.exception, AuditError)
    assert "is revoked" in revoked.output
    assert Keys(tmp_path / "keys.json").get(number).revoked_at is not None
    monkeypatch.setenv("USEROPS_AUDIT", good)
    assert run("revoke", number).exit_code == 0
    assert [row.action for row in entries(good)] == ["key_issued", "key_revoked"]


def test_a_rate_is_issued_kept_and_shown(run, keys, tmp_path):
    for told, kept in (("100/s", "100/second"), ("6000/min", "6000/minute"), ("1/hour", "1/hour")):
        key, text = keys.add("wu", ["score"], rate=told)
        assert key.rate == kept == Keys(keys.file).find(text).rate
    for told in ("", "0/s", "100", "100/day", "-1/s", "1/s; 2/s", "1e3/s", "9" * 20 + "/s"):
        with pytest.raises(KeysError, match="no rate"):
            keys.add("wu", ["score"], rate=told)
    added = run("add", "shop", "--scope", "score", "--rate", "50/s", "--scope", "read")
    assert "score, read (50/second)" in added.output
    assert "the first key: from now on" in added.output
    assert "the first key" not in run("add", "shop").output
    run("list", "--json", str(tmp_path / "shown.json"))
    assert [one["rate"] for one in json.loads((tmp_path / "shown.json").read_text())] == ["50/second", None]


def test_a_file_of_keys_from_before_there_were_rates(keys):
    key, text = keys.add("wu", ["sign"])
    content = json.loads(keys.file.read_text())
    del content[0]["rate"]
    keys.file.write_text(json.dumps(content))
    assert Keys(keys.file).find(text) == key
    content[0]["rate"] = "often"
    keys.file.write_text(json.dumps(content))
    with pytest.raises(KeysError, match="no file of keys"):
        Keys(keys.file).all()


def test_the_keys_may_lie_elsewhere(run, tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_KEYS", str(tmp_path / "secret" / "k.json"))
    run("add", "wu", "--scope", "sign", "--scope", "read")
    assert [key.scopes for key in Keys(tmp_path / "secret" / "k.json").all()] == [("read", "sign")]
    assert not (tmp_path / "keys.json").exists()


def test_the_clock_of_keys_is_the_real_one(keys, monkeypatch):
    monkeypatch.setenv("USEROPS_NOW", "2011-12-10T00:00:00+00:00")
    key, _ = keys.add("wu", ["sign"])
    assert datetime.fromisoformat(key.created_at) > datetime(2025, 1, 1, tzinfo=UTC)
