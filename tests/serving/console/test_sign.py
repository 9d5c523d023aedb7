"""Signing on the console: whose key, which files, which word; what is refused, and that a word is written once."""

import dataclasses
import json
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

import configs
from configs.audit import entries, verify
from configs.keys import Keys
from serving.access.guesses import Guesses
from serving.console import sign
from serving.console.words import words

PATH = "/models/churn/3/sign"


@pytest.fixture(autouse=True)
def guesses(monkeypatch):
    """Nobody has guessed yet."""
    monkeypatch.setattr(sign, "guesses", Guesses())


@pytest.fixture
def keys(console, monkeypatch, tmp_path):
    """A file of keys of this test's own."""
    monkeypatch.setenv("USEROPS_KEYS", str(tmp_path / "keys.json"))
    return Keys(tmp_path / "keys.json")


@pytest.fixture
def audit(console, monkeypatch, tmp_path):
    """The address of an audit table of this test's own."""
    monkeypatch.setenv("USEROPS_AUDIT", f"sqlite:///{tmp_path / 'audit.db'}")
    return f"sqlite:///{tmp_path / 'audit.db'}"


@pytest.fixture
def card(console):
    """The card of churn 3, whose file a test may change: put back afterwards."""
    path = console.home / "desk" / "churn" / "3" / "card.json"
    before = path.read_bytes()
    yield json.loads(before)
    path.write_bytes(before)


@pytest.fixture
def send(console, keys, audit, card):
    """Sends the form of churn 3 under a new key of wu, but for what a test changes."""
    text = keys.add("wu", ["sign"])[1]

    def send(path=PATH, lang="en", headers=None, **changes):
        fields = {"word": "approved", "comment": "reads well", "key": text, "model_json": card["model_json"], **changes}
        told = {"headers": headers} if headers else {}
        return console.post(path, fields, lang, follow_redirects=False, **told)

    send.key = text
    return send


def fault(seen, answer):
    """The alert of a page that says why nothing was signed."""
    page = seen(answer.text)
    assert [one for one in page.all("div") if one.get("role") == "alert"]
    return page


def test_a_word_becomes_one_row_and_leads_back_to_the_card(send, audit, card, console):
    answer = send(comment="  生鲜 <b>looks</b> fine\r\nto me ")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/models/churn/3?signed=1"
    (row,) = entries(audit)
    assert (row.who, row.action, row.model, row.version, row.run_id) == ("wu", "approved", "churn", "3", "run3")
    assert row.comment == "生鲜 <b>looks</b> fine\nto me"
    key = send.key.split("_")[1]
    assert row.evidence == {
        "model_json": card["model_json"],
        "account": row.evidence["account"],
        "trained_by_account": "trainer",
        "key": key,
        "by": "console",
    }
    assert send.key not in json.dumps(row.as_json())
    assert verify(audit) == 1
    page = console.get("/models/churn/3?signed=1")
    assert page.status_code == 200


def test_each_of_the_three_words(send, audit):
    for word in ("approved", "rejected", "asked"):
        assert send(word=word, comment=f"why {word}").status_code == 303
    assert [row.action for row in entries(audit)] == ["approved", "rejected", "asked"]


def test_the_same_again_is_not_written_twice_and_says_so(send, audit, console):
    send()
    answer = send()
    assert answer.headers["location"] == "/console/models/churn/3?signed=1&again=1"
    assert len(entries(audit)) == 1
    assert send(comment="another").headers["location"].endswith("?signed=2")
    assert send().headers["location"].endswith("?signed=3")  # back to the first: that is news


def test_without_a_right_key_nothing_is_written(send, keys, audit, seen):
    other = {
        "key_absent": "",
        "key_wrong": "uo_000000000000_" + "A" * 43,
        "key_scope": keys.add("wu", ["read", "admin"])[1],
        "key_revoked": keys.add("wu", ["sign"])[1],
    }
    keys.revoke(other["key_revoked"].split("_")[1])
    for reason, text in other.items():
        for lang in ("en", "zh"):
            answer = send(key=text, comment="kept <i>comment</i>", lang=lang)
            assert answer.status_code == 403, reason
            page = fault(seen, answer)
            assert words(lang)(f"sign.{reason}") in page.words
            assert "kept <i>comment</i>" in page.words  # in the form, to be sent again
            assert {one["value"]: "checked" in one for one in page.all("input") if one["type"] == "radio"}["approved"]
            assert text == "" or text not in answer.text
    assert entries(audit) == []


def test_an_expired_key(send, keys, audit, monkeypatch, seen):
    text = keys.add("wu", ["sign"], days=1)[1]
    content = json.loads(keys.file.read_text())
    content[-1]["expires_at"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    keys.file.write_text(json.dumps(content))
    answer = send(key=text)
    assert answer.status_code == 403
    assert words("en")("sign.key_expired") in fault(seen, answer).words
    assert entries(audit) == []


def test_a_key_is_revoked_while_the_service_runs(send, keys, audit):
    assert send().status_code == 303
    keys.revoke(send.key.split("_")[1])
    assert send(comment="again").status_code == 403
    assert len(entries(audit)) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"word": "shrugged"}, "word"),
        ({"word": ""}, "word"),
        ({"word": "rejected", "comment": " \r\n\t"}, "comment_missing"),
        ({"word": "asked", "comment": ""}, "comment_missing"),
        ({"comment": "x" * 2001}, "comment_long"),
    ],
)
def test_what_cannot_be_said(send, audit, seen, changes, said):
    for lang in ("en", "zh"):
        answer = send(lang=lang, **changes)
        assert answer.status_code == 422
        page = fault(seen, answer)
        assert words(lang)(f"sign.{said}", longest="2,000", length="2,001") in page.words
        assert send.key not in answer.text
        (box,) = page.all("textarea")
        assert (box.get("aria-invalid") == "true") is said.startswith("comment_")
        assert "maxlength" not in box, "a browser would cut what is pasted"
    assert entries(audit) == []


def test_a_comment_that_is_too_long_stands_whole_in_the_form(send, seen):
    long = "0123456789" * 450
    assert long in seen(send(comment=long).text).words


def test_a_signature_under_the_name_of_the_trainer_says_so(send, keys, console, card):
    t = words("en")
    for who, said in (("wu", 0), (card["trained_by"], 1)):
        assert send(key=keys.add(who, ["sign"])[1]).status_code == 303
        for path in ("/models/churn/3", "/models/churn"):
            assert console.get(path).text.count(t("sign.same_name")) == said, (who, path)


def test_files_that_changed_while_the_page_was_open(send, audit, card, console, desk_files, seen):
    changed = {**card, "model_json": "sha256:" + "5" * 64}
    desk_files.write(console.home, "3", {"card.json": changed})
    answer = send(comment="a long thought")
    assert answer.status_code == 409
    page = fault(seen, answer)
    assert words("en")("sign.stale") in page.words
    assert "a long thought" in page.words
    assert not [one for one in page.all("input") if one.get("name") == "key"]  # look at the card first
    assert "/console/models/churn/3" in page.hrefs()
    assert send(model_json="").status_code == 409
    assert entries(audit) == []


@pytest.mark.parametrize("path", ["/models/churn/9/sign", "/models/none/3/sign", "/models/churn/champion/sign"])
def test_a_version_that_there_is_not(send, audit, path):
    assert send(path).status_code == 404
    assert entries(audit) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://testserver"},
        {"origin": "https://evil.example"},
        {"origin": "http://testserver.evil.example"},
    ],
)
def test_a_form_on_another_site(send, audit, seen, headers):
    answer = send(headers=headers)
    assert answer.status_code == 403
    assert words("en")("sign.foreign") in fault(seen, answer).words
    assert entries(audit) == []


def test_a_form_of_ours(send, audit, console):
    ours = ({"sec-fetch-site": "same-origin"}, {"origin": "https://desk", "host": "desk"}, {"origin": "null"})
    for place, headers in enumerate(ours):
        assert send(headers=headers, comment=str(place)).status_code == 303
    assert len(entries(audit)) == 3


def test_only_a_form_is_an_answer(send, console):
    assert console.get(PATH).status_code in (404, 405)


def test_a_table_that_cannot_be_written_is_said_and_nothing_is_pretended(send, audit, seen, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("USEROPS_AUDIT", f"sqlite:///{tmp_path / 'file' / 'audit.db'}")
    for lang in ("en", "zh"):
        answer = send(lang=lang, comment="kept")
        assert answer.status_code == 503
        page = fault(seen, answer)
        assert words(lang)("sign.unwritable") in page.words
        assert "kept" in page.words
        assert send.key not in answer.text


def test_keys_that_cannot_be_read(send, keys, audit, seen):
    keys.file.chmod(0o666)
    answer = send()
    assert answer.status_code == 503
    assert words("en")("sign.keys_unreadable") in fault(seen, answer).words
    assert str(keys.file) not in answer.text
    assert entries(audit) == []


def test_guessing_is_slowed_down_but_keeps_no_holder_of_a_key_out(send, audit, seen):
    wrong = "uo_000000000000_" + "A" * 43
    assert [send(key=wrong).status_code for _ in range(11)] == [403] * 10 + [429]
    assert words("en")("sign.key_often") in fault(seen, send(key="nonsense")).words
    assert send().status_code == 303
    assert len(entries(audit)) == 1


def test_wrong_tries_at_somebodys_key_do_not_lock_them_out(send, audit, seen):
    wrong = send.key[:-43] + "A" * 43
    assert [send(key=wrong).status_code for _ in range(11)] == [403] * 10 + [429]
    assert send().status_code == 303
    assert send(key=wrong).status_code == 429
    assert len(entries(audit)) == 1


def test_what_is_remembered_of_guessing_is_bounded_and_passes():
    now = [0.0]
    guesses = Guesses(most=2, seconds=60, most_places=3, clock=lambda: now[0])
    for address in "abcde":
        guesses.failed(address, "")
    assert len(guesses) == 3
    guesses.failed("e", "")
    assert guesses.wait("e", "") == 60
    assert guesses.wait("e", "another key") == guesses.wait("d", "") == 0
    now[0] = 59.0
    assert guesses.wait("e", "") == 1
    now[0] = 60.0
    assert guesses.wait("e", "") == 0
    guesses.failed("e", "")
    assert guesses.wait("e", "") == 0


def test_two_reviewers_at_once_both_count(send, keys, audit):
    texts = [keys.add(f"reviewer {place}", ["sign"])[1] for place in range(4)]
    answers = []
    threads = [threading.Thread(target=lambda text=text: answers.append(send(key=text))) for text in texts * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [303] * 8
    assert sorted(row.who for row in entries(audit)) == [f"reviewer {place}" for place in range(4)]
    assert verify(audit) == 4


def test_words_from_outside_are_shown_as_text(send, audit, console, hostile, seen):
    answer = send(word="rejected", comment=hostile, key="wrong")
    assert hostile not in answer.text
    page = seen(answer.text)
    assert hostile in page.words
    assert not page.all("img")
    assert send(word="rejected", comment=f"{hostile}\x00\u202e").status_code == 303
    assert entries(audit)[0].comment == hostile


def test_a_form_too_large_or_full_of_fields(console, send, audit):
    assert send(comment="x" * 2_000_000).status_code == 413
    fields = {str(place): "x" for place in range(200)}
    assert console.post(PATH, fields, follow_redirects=False).status_code in (400, 422)
    assert entries(audit) == []


def test_logs_hold_no_key(send, keys, caplog, capfd):
    send()
    send(key=send.key[:-1] + ("A" if send.key[-1] != "A" else "B"))
    secret = send.key.split("_", 2)[2]
    out, err = capfd.readouterr()
    assert "is refused: wrong" in caplog.text + err + out
    assert secret[:-1] not in caplog.text + out + err


def test_a_row_is_confirmed_and_nothing_else(send, console, audit, seen):
    send(word="rejected", comment="no")
    asked = Asking(console, signed="1")
    said = sign.confirmation(asked, "churn", "3")
    assert "rejected by wu" in said
    assert sign.confirmation(asked, "churn", "4") is None
    for signed in ("2", "0", "-1", "x", "1" * 40, ""):
        assert sign.confirmation(Asking(console, signed=signed), "churn", "3") is None
    assert "already" in sign.confirmation(Asking(console, signed="1", again="1"), "churn", "3")


class Asking:
    """As much of a question as the functions for other pages need."""

    def __init__(self, console, lang="en", approval="none", **given):
        config = configs.load(console.home)
        churn = config.models["churn"]
        churn = dataclasses.replace(churn, gate=dataclasses.replace(churn.gate, approval=approval))
        self.t, self.given = words(lang), given
        self.live = SimpleNamespace(config=dataclasses.replace(config, models={**config.models, "churn": churn}))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_rules_say_who_may_approve_and_what_is_missing(console, send, audit, card, lang):
    t = words(lang)

    def rules(approval):
        return " ".join(sign.rules_in_words(Asking(console, lang, approval), card))

    assert t("sign.policy_none") in rules("none")
    nobody = {"en": "nobody approved it", "zh": "尚无人批准"}[lang]
    assert nobody not in rules("none")
    for approval in ("reviewer", "other_than_trainer"):
        assert nobody in rules(approval)
    assert t("sign.policy_other_than_trainer", trainer="chen") in rules("other_than_trainer")
    assert t("sign.policy_account", account="trainer") in rules("other_than_trainer")
    send()
    assert t("sign.lacks_nothing") in rules("other_than_trainer")
    send(word="rejected", comment="no")
    assert {"en": "wu rejects it", "zh": "wu 已否决"}[lang] in rules("none")


def test_a_key_issued_by_the_account_that_trained_is_named_as_missing(console, send, keys, audit, card, monkeypatch):
    monkeypatch.setattr("configs.keys.account", lambda: "trainer")
    send(key=keys.add("somebody", ["sign"])[1])
    rules = sign.rules_in_words(Asking(console, approval="other_than_trainer"), card)
    assert any("approved only by somebody, under trainer, the account that trained it" in rule for rule in rules)


def test_the_whole_form_is_what_a_keyboard_needs(console, send, card, seen):
    page = seen(send(key="").text)
    (form,) = [one for one in page.all("form") if one["action"].endswith("/sign")]
    assert form["method"] == "post"
    names = {one.get("name") for one in page.all("input")} | {one.get("name") for one in page.all("textarea")}
    assert {"word", "comment", "key", "model_json"} <= names
    labelled = {one.get("for") for one in page.all("label")}
    assert {"sign-comment", "sign-key"} <= labelled
    (key,) = [one for one in page.all("input") if one.get("name") == "key"]
    assert key["type"] == "password"
    assert not key.get("value")
