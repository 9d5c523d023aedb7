"""A reviewer's word holds the account that said it, beside the name that the environment may give."""

import dataclasses
import json

import pytest

from configs.account import account
from configs.audit import entries
from configs.errors import GateError, RegistryError
from configs.reviews import LONGEST_COMMENT, last_words, missing_approval
from training.aliases import move
from training.gate.sign import rejected_champion, sign


@pytest.mark.parametrize("own", [True, False])
def test_the_account_that_trained_under_another_name_is_no_second_pair_of_eyes(config, monkeypatch, own):
    monkeypatch.setenv("USER", "somebody")  # no variable changes whose process it is
    (path,) = (path for path in config.home.rglob("model.json") if json.loads(path.read_text())["version"] == "2")
    trained_by = account() if own else "another account"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trained_by_account": trained_by}))
    row, new = sign(config, "churn", "2", "approved", "")
    assert new
    assert (row.who, row.evidence["account"]) == ("wu", account())
    digest = row.evidence["model_json"]
    lacks = missing_approval("other_than_trainer", last_words([row]), digest, "lin", trained_by)
    said = f"approved only by wu, under {account()}, the account that trained it"
    assert [lack.got for lack in lacks] == ([said] if own else [])


def test_what_a_word_says_of_the_trainer_does_not_outweigh_what_the_files_say(config):
    row, _ = sign(config, "churn", "2", "approved", "")
    told = dataclasses.replace(row, evidence={**row.evidence, "account": "eve", "trained_by_account": "another"})
    digest = row.evidence["model_json"]
    assert missing_approval("other_than_trainer", {"wu": told}, digest, "lin", "another one") == []
    (lack,) = missing_approval("other_than_trainer", {"wu": told}, digest, "lin", "eve")
    assert lack.what["zh"] == "只有训练它的账户批准：wu（eve）"


def test_the_same_word_about_the_same_files_is_written_once(config, monkeypatch):
    first, new = sign(config, "churn", "2", "approved", "  fine\r\n")
    assert (new, first.comment) == (True, "fine")
    assert sign(config, "churn", "2", "approved", "fine") == (first, False)
    for word, comment, who in (
        ("approved", "so far", "wu"),
        ("rejected", "fine", "wu"),
        ("approved", "fine", "wu"),
        ("approved", "fine", "mei"),
    ):
        monkeypatch.setenv("USEROPS_USER", who)
        assert sign(config, "churn", "2", word, comment)[1]
    assert len(entries(config.audit_uri)) == 5


def test_a_comment_of_blanks_is_none_and_a_long_one_is_refused(config):
    assert sign(config, "churn", "2", "approved", " \n ")[0].comment == ""
    with pytest.raises(GateError, match="asked needs a comment"):
        sign(config, "churn", "2", "asked", " \x00\t ")
    with pytest.raises(GateError, match="at most 2000 characters"):
        sign(config, "churn", "2", "approved", "x" * (LONGEST_COMMENT + 1))
    assert sign(config, "churn", "2", "approved", "好" * LONGEST_COMMENT)[1]


def test_a_champion_that_is_rejected_is_named_with_the_way_out(config):
    assert rejected_champion(config, "churn") is None
    move(config, {"churn": {"champion": "2"}})
    sign(config, "churn", "3", "rejected", "not this one")
    assert rejected_champion(config, "churn") is None
    sign(config, "churn", "2", "rejected", "too\nbold")
    said = rejected_champion(config, "churn")
    assert "champion version 2 is rejected by wu (too bold)" in said
    assert "userops rollback churn" in said
    sign(config, "churn", "2", "approved", "")
    assert rejected_champion(config, "churn") is None


def test_a_version_that_there_is_not_is_told_beside_those_there_are(config):
    with pytest.raises(RegistryError) as told:
        sign(config, "churn", "7", "approved", "")
    assert told.value.expected == "version 1, 2 or 3, or an alias such as challenger"
    assert told.value.run == "userops status"
    with pytest.raises(RegistryError) as told:
        sign(config, "churn", "champion", "approved", "")
    assert told.value.run == "userops promote churn"
    with pytest.raises(RegistryError) as told:
        sign(config, "value", "1", "approved", "")
    assert told.value.run == "userops train value"
    with pytest.raises(RegistryError) as told:
        move(config, {"churn": {"champion": "7"}})
    assert told.value.expected == "version 1, 2 or 3, or an alias such as challenger"
