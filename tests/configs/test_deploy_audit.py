"""The bill of materials is valid and complete, and what runs stands under licences that we may use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs import read_yaml
from configs.deploy import audit
from configs.deploy.slim import pinned
from configs.errors import ConfigError

RULES = read_yaml(Path(audit.__file__).parent / "licences.yaml")


def test_the_bill_names_everything_in_the_lock(tmp_path, monkeypatch):
    # Every eighth package: validating all of them takes eight seconds.
    blocks = [block for _, block in pinned(audit.LOCK.read_text("utf-8"))][::8]
    monkeypatch.setattr(audit, "LOCK", tmp_path / "lock")
    audit.LOCK.write_text("\n".join(blocks) + "\n")
    file = tmp_path / "sbom.json"
    components = audit.bill(file)  # cyclonedx validates it against the schema of its version
    bill = json.loads(file.read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "userops"
    locked = {(name, block.split("==")[1].split()[0]) for name, block in pinned(audit.LOCK.read_text("utf-8"))}
    listed = {(one["name"].lower().replace("_", "-").replace(".", "-"), one["version"]) for one in bill["components"]}
    assert listed == locked
    assert components == len(bill["components"]) > 30
    assert all(one["purl"].startswith("pkg:pypi/") for one in bill["components"])


def test_no_licence_that_is_not_allowed():
    found = audit.licences()
    assert len(found) > 100
    assert audit.refused(found, RULES) == {}
    assert set(RULES["exceptions"]) <= set(found)  # none that has become superfluous


@pytest.mark.parametrize(
    ("said", "fine"),
    [
        ("GPL-3.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("MIT AND GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("UNKNOWN", False),
        ("Apache Software License; MIT License", True),
    ],
)
def test_a_licence_is_judged_by_all_that_it_asks(said, fine):
    assert (audit.refused({"some-package": said}, RULES) == {}) is fine


def test_who_cannot_ask_says_why(monkeypatch, capsys):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens there
    assert audit.main(["holes"]) == audit.UNREACHABLE
    assert "not looked for known holes" in capsys.readouterr().out


def test_a_question_that_fails_of_itself_is_no_excuse(monkeypatch, tmp_path):
    (tmp_path / "lock").write_text("some==1.0 what\n    --hash=sha256:0\n")
    monkeypatch.setattr(audit, "LOCK", tmp_path / "lock")
    with pytest.raises(ConfigError, match="cannot be audited"):
        audit.main(["holes"])


def test_a_hole_is_told_although_another_pin_was_not_looked_up(monkeypatch, capsys):
    hole = {"name": "some", "version": "1.0", "vulns": [{"id": "PYSEC-1"}]}
    answers = iter([([], None), ([hole], "1 pins were not looked up, other: no such version")])
    monkeypatch.setattr(audit, "_ask", lambda blocks: next(answers))
    assert audit.main(["holes"]) == 1
    told = capsys.readouterr().out
    assert "some 1.0: PYSEC-1" in told
    assert "not looked for known holes: 1 pins" in told


def test_a_hole_is_told_and_ends_with_1(monkeypatch, capsys):
    hole = {"name": "some", "version": "1.0", "vulns": [{"id": "PYSEC-1"}]}
    monkeypatch.setattr(audit, "_ask", lambda blocks: ([hole, {"name": "other", "version": "2", "vulns": []}], None))
    assert audit.main(["holes"]) == 1
    assert "some 1.0: PYSEC-1\n1 packages with known holes" in capsys.readouterr().out
