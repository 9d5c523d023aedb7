"""A reviewer's word holds the account that said it, beside the name that the environment may give."""

import json

import pytest

from configs.account import account
from training.gate.sign import last_words, missing_approval, sign


@pytest.mark.parametrize("own", [True, False])
def test_the_account_that_trained_under_another_name_is_no_second_pair_of_eyes(config, monkeypatch, own):
    monkeypatch.setenv("USER", "somebody")  # no variable changes whose process it is
    (path,) = (path for path in config.home.rglob("model.json") if json.loads(path.read_text())["version"] == "2")
    trained_by = account() if own else "another account"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trained_by_account": trained_by}))
    row = sign(config, "churn", "2", "approved", "")
    assert (row.who, row.evidence["account"]) == ("wu", account())
    reasons = missing_approval("other_than_trainer", last_words([row]), row.evidence["model_json"], "lin")
    assert reasons == ([f"approved only by wu, under {account()}, the account that trained it"] if own else [])
