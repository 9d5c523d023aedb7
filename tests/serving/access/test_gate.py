"""A service with keys: what it answers to whom; nothing to nobody."""

import json
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from configs.keys import SCOPES, Keys
from serving import service
from serving.access.guesses import Guesses
from serving.access.sessions import HOURS, opened, session_of

CHURN = {"user_ids": ["u1"], "explain": {"level": "none"}}
ASKED = {
    "score": ("POST", "/v1/score/churn", CHURN),
    "decide": ("POST", "/v1/next-best-offer", {"user_id": "u1"}),
    "feedback": ("POST", "/v1/feedback", {"events": []}),
    "read": ("GET", "/v1/models", None),
    "sign": ("GET", "/console/models", None),
    "admin": ("PUT", "/v1/users/u1/personalization", {"personalization": "on"}),
}
EVERYWHERE = (
    "/", "/nowhere", "/v1", "/v1/nowhere", "/v1/models", "/v1/models/churn/card", "/metrics", "/docs.json",
    "/schema.json", "/static_content/x.js", "/console", "/console/", "/console/models", "/console/static/console.css",
    "/console/nowhere", "/console/enter", "/v1/users/u1/profile", "/v1/decisions/d_1", "//livez", "/livez/", "/LIVEZ",
    "/v1/score/churn", "/v1/feedback", "/healthz",
)  # fmt: skip


@pytest.fixture(scope="module")
def keys(served):
    """The keys of the service; from the first on it is closed."""
    keys = Keys(served.home / "keys.json")
    keys.add("somebody", ["score"])
    return keys


@pytest.fixture(scope="module")
def texts(keys):
    """A key of each scope."""
    return {scope: keys.add(f"the {scope}", [scope])[1] for scope in SCOPES}


@pytest.fixture(autouse=True)
def guesses(keys, monkeypatch):
    """Nobody has guessed yet."""
    monkeypatch.setattr(service._rest.state.gate, "guesses", Guesses())


@pytest.fixture
def ask(served):
    def ask(method, path, key=None, content=None, **headers):
        shown = {"authorization": f"Bearer {key}"} if key is not None else {}
        told = {"json": content} if content is not None else {}
        return served.client.request(method, path, headers=shown | headers, **told)

    return ask


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "LIVEZ"])
def test_without_a_key_every_address_and_method_is_refused_alike(ask, method):
    told = set()
    for path in EVERYWHERE:
        if (method, path) == ("POST", "/console/enter"):
            continue
        answer = ask(method, path)
        assert answer.status_code == 401, (path, answer.text)
        assert answer.headers["www-authenticate"] == 'Bearer realm="userops"'
        assert answer.headers["cache-control"] == "no-store"
        if not path.startswith("/console"):
            told.add(answer.text)
    assert len(told) == 1, "what is there and what is not look the same"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_whoever_starts_services_needs_no_key(ask, path):
    assert ask("GET", path).status_code == 200
    assert ask("GET", path, "uo_nonsense").status_code == 200


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_opens_its_addresses_and_no_other(ask, texts, scope):
    for needed, (method, path, content) in ASKED.items():
        answer = ask(method, path, texts[scope], content)
        if needed == scope or (needed, scope) == ("sign", "read"):
            assert answer.status_code not in (401, 403), answer.text
            continue
        assert answer.status_code == 403, (path, scope)
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        if needed != "sign":  # a page
            assert needed in answer.json()["detail"]
            assert answer.json()["expected"] == f"userops keys add NAME --scope {needed}"


def test_an_address_that_there_is_not_is_a_404_for_every_holder(ask, texts):
    for scope in SCOPES:
        assert ask("GET", "/nowhere", texts[scope]).status_code == 404
        assert ask("POST", "/v1/nowhere", texts[scope]).status_code == 404


@pytest.mark.parametrize(
    "shown",
    ["", "Bearer", "Bearer ", "Basic dTpw", "uo_000000000000_" + "A" * 43, "Bearer  ", "Bearer é", "Bearer uo__",
     "Bearer uo_000000000000_" + "A" * 43, "Bearer " + "A" * 5000],
)  # fmt: skip
def test_what_is_no_key_opens_nothing(served, shown):
    headers = {"authorization": shown.encode("latin-1")}
    answer = served.client.request("POST", "/v1/score/churn", json=CHURN, headers=headers)
    assert answer.status_code == 401
    assert "uo_0000" not in answer.text


def test_the_word_bearer_is_read_in_any_case(served, texts):
    for word in ("bearer", "BEARER", "Bearer"):
        headers = {"authorization": f"{word} {texts['score']}"}
        assert served.client.request("POST", "/v1/score/churn", json=CHURN, headers=headers).status_code == 200


def test_a_key_nowhere_but_in_its_header(ask, texts):
    assert ask("GET", f"/v1/models?key={texts['read']}&access_token={texts['read']}").status_code == 401
    assert ask("GET", "/v1/models", cookie=f"userops_session={texts['read']}").status_code == 401


def test_revoked_and_expired_keys_say_so_only_to_their_holders(ask, keys):
    key, text = keys.add("past", ["score"])
    assert ask("POST", "/v1/score/churn", text, CHURN).status_code == 200
    keys.revoke(key.id)
    answer = ask("POST", "/v1/score/churn", text, CHURN)
    assert answer.status_code == 401
    assert "revoked" in answer.json()["detail"]
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    wrong = ask("POST", "/v1/score/churn", text[:-43] + "A" * 43, CHURN)
    assert wrong.json()["detail"] == "no such key"


def test_a_change_of_keys_refuses_nobody(ask, keys):
    first, old = keys.add("shop", ["score"])
    _, new = keys.add("shop", ["score"])
    assert ask("POST", "/v1/score/churn", old, CHURN).status_code == 200
    assert ask("POST", "/v1/score/churn", new, CHURN).status_code == 200
    keys.revoke(first.id)
    assert ask("POST", "/v1/score/churn", new, CHURN).status_code == 200
    assert ask("POST", "/v1/score/churn", old, CHURN).status_code == 401


def test_wrong_keys_are_refused_more_shortly_after_a_while_and_right_ones_never(ask, texts):
    wrong = "uo_000000000000_" + "A" * 43
    statuses = [ask("POST", "/v1/score/churn", wrong, CHURN).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert int(ask("POST", "/v1/score/churn", wrong, CHURN).headers["retry-after"]) > 0
    assert ask("POST", "/v1/score/churn", texts["score"], CHURN).status_code == 200
    assert ask("POST", "/v1/score/churn").status_code == 401  # no key is no guess


def test_a_key_asks_as_often_as_it_may(ask, keys):
    _, text = keys.add("slow", ["score"], rate="3/hour")
    answers = [ask("POST", "/v1/score/churn", text, CHURN) for _ in range(5)]
    assert [one.status_code for one in answers] == [200] * 3 + [429] * 2
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert answers[-1].json()["expected"] == "at most 3/hour"
    assert 3500 < int(answers[-1].headers["retry-after"]) <= 3600
    _, other = keys.add("slow", ["score"], rate="3/hour")
    assert ask("POST", "/v1/score/churn", other, CHURN).status_code == 200


def test_an_address_without_the_scope_counts_as_no_question(ask, keys):
    _, text = keys.add("slow", ["score"], rate="1/hour")
    assert ask("GET", "/v1/models", text).status_code == 403
    assert ask("POST", "/v1/score/churn", text, CHURN).status_code == 200


def test_keys_that_cannot_be_read_let_nobody_in_and_say_nothing(ask, keys, texts):
    keys.file.chmod(0o666)
    try:
        answer = ask("POST", "/v1/score/churn", texts["score"], CHURN)
        assert answer.status_code == 503
        assert str(keys.file) not in answer.text
        assert ask("GET", "/livez").status_code == 200
    finally:
        keys.file.chmod(0o600)
    assert ask("POST", "/v1/score/churn", texts["score"], CHURN).status_code == 200


def test_a_file_of_keys_that_vanishes_opens_nothing(ask, keys, texts):
    content = keys.file.read_bytes()
    keys.file.unlink()
    try:
        assert ask("POST", "/v1/score/churn", None, CHURN).status_code == 401
        assert ask("POST", "/v1/score/churn", texts["score"], CHURN).status_code == 401
    finally:
        keys.file.write_bytes(content)
        keys.file.chmod(0o600)
    assert ask("POST", "/v1/score/churn", texts["score"], CHURN).status_code == 200


def test_the_document_says_which_scope_is_needed_and_what_may_go_wrong(ask, texts):
    document = ask("GET", "/docs.json", texts["read"]).json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for told in methods.values():
            if path in ("/livez", "/readyz"):
                assert told["security"] == []
                continue
            (first, *_) = told["security"]
            assert set(first["key"]) <= set(SCOPES)
            assert {} not in told["security"]
            assert {"401", "403", "429", "503"} <= set(told["responses"])


# The console.


def enter(served, text, back="/console/models", **headers):
    fields = {"key": text, "back": back}
    answer = served.client.request("POST", "/console/enter", data=fields, headers=headers, follow_redirects=False)
    served.client._client.cookies.clear()  # what a test wants sent, it sends
    return answer


def session(answer):
    return httpx.Cookies(dict([answer.headers["set-cookie"].partition(";")[0].split("=", 1)]))


@pytest.mark.parametrize("scope", ["read", "sign"])
def test_a_reviewer_comes_in_with_a_key_and_goes_on_where_they_were(served, texts, scope):
    asked = served.client.request("GET", "/console/models/churn?x=%22%3E", headers={"accept-language": "zh"})
    assert asked.status_code == 401
    assert 'lang="zh-CN"' in asked.text
    assert "您的密钥" in asked.text
    assert "Your key" in asked.text
    assert re.search(r'name="back" value="/console/models/churn\?x=%22%3E"', asked.text)
    answer = enter(served, texts[scope], "/console/models/churn?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/models/churn?x=1")
    told = answer.headers["set-cookie"]
    assert texts[scope].split("_")[2] not in told
    assert "HttpOnly" in told
    assert "SameSite=strict" in told
    assert f"Max-Age={HOURS * 3600}" in told
    cookie = f"userops_session={session(answer)['userops_session']}"
    page = served.client.request("GET", "/console/models", headers={"cookie": f"a=b; {cookie}"})
    assert page.status_code == 200
    assert f"the {scope}" in page.text
    assert served.client.request("GET", "/console/static/console.css", headers={"cookie": cookie}).status_code == 200
    # The session opens pages, and nothing that a key opens.
    for method, path, content in ASKED.values():
        if not path.startswith("/console"):
            told = {"json": content} if content is not None else {}
            assert served.client.request(method, path, headers={"cookie": cookie}, **told).status_code == 401


def test_a_session_holds_behind_a_proxy_that_asks_for_a_word_of_its_own(served, texts):
    cookie = f"userops_session={session(enter(served, texts['read']))['userops_session']}"
    headers = {"cookie": cookie, "authorization": "Basic d3U6d3U="}
    assert served.client.request("GET", "/console/models", headers=headers).status_code == 200
    assert served.client.request("GET", "/v1/models", headers=headers).status_code == 401
    headers["authorization"] = "Bearer uo_000000000000_" + "A" * 43
    assert served.client.request("GET", "/console/models", headers=headers).status_code == 401


def test_the_page_for_the_key_needs_nothing_from_elsewhere(served):
    page = served.client.request("GET", "/console/models")
    assert "src=" not in page.text
    assert "href=" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_a_key_that_may_not_look(served, texts, keys):
    for text, status, said in (
        (texts["score"], 403, "neither read nor sign"),
        ("uo_000000000000_" + "A" * 43, 401, "opens nothing here"),
        ("", 401, "Your key"),
    ):
        answer = enter(served, text)
        assert answer.status_code == status
        assert said in answer.text
        assert "set-cookie" not in answer.headers
        assert not text or text not in answer.text
    assert [enter(served, "uo_000000000000_" + "A" * 43).status_code for _ in range(12)][-1] == 429


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_lets_nobody_in(served, texts, site):
    answer = enter(served, texts["read"], **{"sec-fetch-site": site})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert enter(served, texts["read"], **{"sec-fetch-site": "same-origin"}).status_code == 303


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/v1/models", "/console/../v1", ""])
def test_nobody_is_led_elsewhere(served, texts, back):
    assert enter(served, texts["read"], back).headers["location"] == "/console/models"


def test_a_session_ends_with_its_key_with_its_time_and_by_leaving(served, keys):
    key, text = keys.add("wu", ["read"])
    cookie = {"cookie": f"userops_session={session(enter(served, text))['userops_session']}"}
    assert served.client.request("GET", "/console/models", headers=cookie).status_code == 200
    left = served.client.request("POST", "/console/leave", headers=cookie, follow_redirects=False)
    assert left.status_code == 303
    assert 'userops_session=""' in left.headers["set-cookie"]
    keys.revoke(key.id)
    assert served.client.request("GET", "/console/models", headers=cookie).status_code == 401
    other, _ = keys.add("wu", ["read"])
    now = datetime.now(UTC)
    token = opened(other, now.timestamp())
    assert session_of(keys, token, (now + timedelta(hours=HOURS, seconds=-2)).timestamp()) == other.id
    assert session_of(keys, token, (now + timedelta(hours=HOURS, seconds=2)).timestamp()) is None


def test_no_other_text_is_a_session(keys):
    key, _ = keys.add("wu", ["read"])
    token = opened(key)
    number, ends, mac = token.split(".")
    later = f"{number}.{int(ends) + 1}.{mac}"
    another = f"{keys.add('li', ['read'])[0].id}.{ends}.{mac}"
    for text in ("", ".", "..", number, f"{number}.{ends}", f"{number}.{ends}.", later, another, token + "0", "é.1.é",
                 f"{number}.²²²²²²²²²².{mac}", f"{number}.-1.{mac}", f"{number}.{ends}.{mac.upper()}"):  # fmt: skip
        assert session_of(keys, text) is None, text
    assert session_of(keys, token) == key.id


def test_the_file_of_keys_is_not_read_again_while_it_stays_the_same(keys, monkeypatch):
    reader = Keys(keys.file)
    _, text = keys.add("wu", ["score"])
    reader.find(text)
    monkeypatch.setattr(json, "loads", None)
    assert reader.find(text).name == "wu"
