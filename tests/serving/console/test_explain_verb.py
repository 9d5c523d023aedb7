"""``userops explain``: the numbers of the service, to the last digit, of every model; groups add up."""

from __future__ import annotations

import math
import re

import pytest
import typer
from typer.testing import CliRunner

from configs.terminal import console as terminal
from serving import local
from serving.console.people import age
from serving.console.words import words
from serving.tables import print_explained
from serving.verbs import explain

HEADS = {"churn": "p_inactive_30d", "repurchase": "p_repurchase_30d", "value": "spend_30d"}


def answered(console, model, lang="en"):
    """Somebody with a score of the model, as the API answers."""
    for k in range(40):
        question = {"user_ids": [f"u{k}"], "explain": {"level": "full", "top_n": 20, "lang": lang}}
        user = console.client.post(f"/v1/score/{model}", json=question).json()["users"][0]
        if user["scores"][HEADS[model]]["explanation"]:
            return user
    raise AssertionError


def printed(user, *arguments):
    with terminal.capture() as caught:
        print_explained(user, *arguments)
    return caught.get()


def numbers(text):
    return {float(one) for one in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)}


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(terminal, "width", 200)


@pytest.mark.parametrize("model", HEADS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_number_is_the_services(console, model, lang):
    user, head = answered(console, model, lang), HEADS[model]
    score = user["scores"][head]
    said = printed(user, lang, 5, [head], {})
    parts = [score["explanation"]] if "raw_score" in score["explanation"] else list(score["explanation"].values())
    wanted = {score[key] for key in ("p", "amount", "expected") if key in score}
    for part in parts:
        shares = [one["contribution"] for one in part["contributions"]]
        wanted |= {part["base_value"], part["raw_score"], *shares[:5], math.fsum(shares[5:])}
        total = math.fsum([part["base_value"], *shares])
        wanted |= {total, part["raw_score"] - total}  # what rounding left is said
    assert wanted <= numbers(said)
    for reason in score["reason_codes"][:5]:
        assert reason["text"] in said


def test_only_the_head_that_is_asked_for_is_told(console):
    user = answered(console, "churn")
    said = printed(user, "en", 3, ["p_inactive_30d"], {})
    assert "p_inactive_30d" in said
    assert "p_inactive_14d" not in said
    assert "p_inactive_14d" in printed(user, "en", 3, list(user["scores"]), {})


def test_a_group_is_one_line_that_is_its_sum(console):
    user = answered(console, "churn")
    shares = user["scores"]["p_inactive_30d"]["explanation"]["contributions"]
    groups = {"p_inactive_30d": [{"id": "g1", "features": [one["feature"] for one in shares[:3]]}]}
    told = numbers(printed(user, "en", 20, ["p_inactive_30d"], groups))
    assert math.fsum(one["contribution"] for one in shares[:3]) in told
    assert shares[0]["contribution"] not in told


@pytest.mark.parametrize(("lang", "said"), [("en", "unknown user"), ("zh", "未知用户")])
def test_a_score_that_is_none_says_why(console, lang, said):
    user = console.client.post("/v1/score/churn", json={"user_ids": ["stranger"]}).json()["users"][0]
    assert f"p_inactive_30d: {said}" in printed(user, lang, 3, ["p_inactive_30d"], {})


@pytest.mark.parametrize(("lang", "said"), [("en", "only for users who are “away”"), ("zh", "仅面向“away”的用户")])
def test_who_is_not_asked_is_told_whom_the_question_is_for(lang, said):
    cohort = {"name": "gone", "meaning": "away"}
    score = {"explanation": None, "status_reason": "OUT_OF_COHORT", "cohort": cohort}
    text = printed({"scores": {"p": score}}, lang, 3, ["p"], {})
    assert said in text
    assert "OUT_OF_COHORT" not in text


@pytest.mark.parametrize(("reason", "code"), [("UNKNOWN_USER", 1), ("OUT_OF_COHORT", 0), ("PERSONALIZATION_OFF", 0)])
def test_only_an_unknown_id_is_a_failure(monkeypatch, tmp_path, reason, code):
    score = {"explanation": None, "status_reason": reason, "cohort": {"name": "gone", "meaning": "away"}}
    answer = {"model": {"version": "3"}, "users": [{"user_id": "u", "scores": {"p": score}}]}
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    monkeypatch.setattr(local, "ask", lambda *asked: answer)
    app = typer.Typer()
    app.command()(explain)
    assert CliRunner().invoke(app, ["u"]).exit_code == code


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "less than a minute"), (60, "1 min"), (7199, "119 min"), (7200, "2 hours"), (172_799, "47 hours"),
     (172_800, "2 days"), (8_640_000, "100 days")],
)  # fmt: skip
def test_an_age_is_said_in_its_largest_whole_unit(seconds, said):
    assert age(words("en"), seconds) == said
