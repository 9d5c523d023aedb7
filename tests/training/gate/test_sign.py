"""A reviewer's word holds the account that said it, beside the name that the environment may give."""

import dataclasses
import json

import pytest

from configs.account import account
from configs.audit import Entry, Row, append, entries
from configs.errors import GateError, RegistryError
from configs.reviews import LONGEST_COMMENT, counted, missing_approval, said_already, shown
from training.aliases import move
from training.gate.sign import rejected_champion, sign
from training.registry import Registry


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
    lacks = missing_approval("other_than_trainer", [row], digest, "lin", trained_by)
    said = f"approved only by wu, under {account()}, the account that trained it"
    assert [lack.got for lack in lacks] == ([said] if own else [])


def test_what_a_word_says_of_the_trainer_does_not_outweigh_what_the_files_say(config):
    row, _ = sign(config, "churn", "2", "approved", "")
    told = dataclasses.replace(row, evidence={**row.evidence, "account": "eve", "trained_by_account": "another"})
    digest = row.evidence["model_json"]
    assert missing_approval("other_than_trainer", [told], digest, "lin", "another one") == []
    (lack,) = missing_approval("other_than_trainer", [told], digest, "lin", "eve")
    assert lack.what["zh"] == "只有训练它的账户批准：wu（eve）"


def word(who, action, account="reviewers", key=None, comment=""):
    evidence = {"model_json": "sha256:1", "account": account, "key": key}
    return Row(who, action, "churn", "2", "", comment, {name: value for name, value in evidence.items() if value})


def lacking(*rows):
    return [lack.got for lack in missing_approval("reviewer", rows, "sha256:1", "chen", "trainer")]


def test_a_question_lifts_no_rejection_and_takes_no_approval_away():
    rows = [word("wu", "approved"), word("lin", "rejected", comment="no"), word("lin", "asked", comment="why?")]
    assert lacking(*rows) == ["rejected by lin: no"]
    assert [(row.who, row.action) for row in shown(rows)] == [
        ("wu", "approved"),
        ("lin", "rejected"),
        ("lin", "asked"),
    ]
    assert lacking(word("wu", "approved"), word("wu", "asked", comment="why?")) == []
    assert lacking(word("wu", "asked", comment="why?")) == ["nobody approved it"]


OLD, PLAIN, KEYED = {"account": None}, {}, {"key": "a"}


@pytest.mark.parametrize(
    ("rejection", "approval", "falls"),
    [
        (PLAIN, PLAIN, True),
        (KEYED, KEYED, True),
        (KEYED, {"key": "another of theirs"}, True),
        (PLAIN, KEYED, True),
        (KEYED, PLAIN, False),  # USEROPS_USER=lin, without a key
        (KEYED, {"account": "trainer"}, False),
        (KEYED, {"account": "trainer", "key": "b"}, False),  # a key in lin's name that the trainer issued
        (PLAIN, {"account": "trainer"}, False),
        (PLAIN, {"account": "trainer", "key": "b"}, False),
        (OLD, OLD, True),
        (OLD, PLAIN, True),
        (OLD, KEYED, True),
        (PLAIN, OLD, False),
        (KEYED, OLD, False),
        ({"account": None, "key": "a"}, PLAIN, False),
        ({"account": None, "key": "a"}, KEYED, True),
    ],
)
def test_a_rejection_falls_only_to_an_approval_from_the_same_source(rejection, approval, falls):
    rows = [word("lin", "rejected", comment="no", **rejection), word("lin", "approved", **approval)]
    assert lacking(*rows) == ([] if falls else ["rejected by lin: no"])
    # Nothing that is said before, after or by others changes that.
    others = [word("wu", "rejected", comment="no"), word("lin", "asked", "trainer"), word("wu", "approved")]
    assert lacking(*others, *rows, *others) == lacking(*rows)
    assert lacking(word("wu", "approved"), word("lin", "approved", **approval), rows[0]) == ["rejected by lin: no"]


def test_an_approval_that_takes_nothing_back_does_not_stop_the_one_that_does():
    rejected, forged = word("lin", "rejected", key="a", comment="no"), word("lin", "approved")
    own = word("lin", "approved", key="a")
    assert said_already([rejected, forged], own) is None
    assert said_already([rejected, forged, own], own) is own
    assert lacking(rejected, forged, own) == []
    assert lacking(rejected, own, rejected, forged) == ["rejected by lin: no"]


def test_a_rejection_says_who_can_take_it_back_and_how():
    def said(row):
        (lack,) = missing_approval("none", [row], "sha256:1", None)
        return lack.what["en"], lack.what["zh"], lack.expected

    assert said(word("lin", "rejected", key="a", comment="no")) == (
        "lin rejects it, until they approve it with a key that reviewers issued: no",
        "lin 已否决，直到其用 reviewers 签发的密钥改为批准：no",
        "a version that nobody rejects, or approval by lin with a key that reviewers issued",
    )
    assert said(word("lin", "rejected", comment="no"))[0] == "lin rejects it, until they approve it under reviewers: no"
    assert said(word("lin", "rejected", comment="no", account=None))[1] == "lin 已否决，直到其改为批准：no"


def test_whoever_borrows_a_name_lifts_no_rejection_by_key_and_hides_it_nowhere(config, monkeypatch):
    """The whole way: lin rejects with a key, and somebody runs ``USEROPS_USER=lin userops sign --approve``."""
    first, _ = sign(config, "churn", "2", "approved", "")
    by_key = {**first.evidence, "key": "0123456789ab", "by": "console"}
    append(config.audit_uri, Entry("lin", "rejected", "churn", "2", "", "no", by_key))
    monkeypatch.setenv("USEROPS_USER", "lin")
    assert sign(config, "churn", "2", "approved", "")[1]
    move(config, {"churn": {"champion": "2"}})
    assert "champion version 2 is rejected by lin (no)" in rejected_champion(config, "churn")
    rows = entries(config.audit_uri)
    assert [(row.who, row.action) for row in counted(rows)] == [
        ("wu", "approved"),
        ("lin", "rejected"),
        ("lin", "approved"),
    ]
    assert Registry(config).version("churn", "2").tags["review"] == "rejected"
    append(config.audit_uri, Entry("lin", "approved", "churn", "2", "", "", by_key))
    assert rejected_champion(config, "churn") is None


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
