"""The frame of the console: what every page has, what goes wrong as a page, and that nothing else gets in."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse

from serving.console import app, frame
from serving.console.assets import address, asset, files, plotly_styles, text_of
from serving.console.page import Page, embedded
from serving.errors.middleware import ProblemMiddleware
from serving.errors.problem import Problem

PAGES = ("/models", "/models/churn", "/models/churn/3", "/models/churn/challenger", "/users", "/decisions")
LOST = ("/nothing", "/models/nope", "/models/nope/1", "/models/churn/99", "/models/churn/x", "/static/nope.js")


def headers_are_there(answer):
    for name, value in frame.HEADERS.items():
        if name not in ("cache-control", "vary"):
            assert answer.headers[name] == value, (answer.url, name)
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_and_holds_no_script_of_its_own(console, seen, path, lang):
    answer = console.get(path, lang)
    assert answer.status_code == 200, answer.text
    headers_are_there(answer)
    assert answer.headers["cache-control"] == "no-store"
    whole(seen(answer.text), lang)


@pytest.mark.parametrize("path", LOST)
def test_what_is_not_there_is_a_page_that_says_so(console, seen, path):
    answer = console.get(path, "zh")
    assert answer.status_code == 404
    headers_are_there(answer)
    page = seen(answer.text)
    whole(page, "zh")
    assert "没有找到" in page.words


def whole(page, lang):
    """What a page must have to be read by everybody, and must not have to be safe."""
    assert page.tags[0] == ("html", {"lang": "zh-CN" if lang == "zh" else "en"})
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert not page.all("style")
    for tag, attributes in page.tags:
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "action"):
            assert not str(attributes.get(name) or "").startswith(("http:", "https:", "//", "javascript:")), attributes
    for script in page.all("script"):
        assert "src" in script or script["type"] == "application/json", script
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled(page)
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert name not in attributes or attributes[name] in ids, attributes


def labelled(page):
    """Every control of a form has a label: around it, by its id, or its own."""
    wanted, inside = {one.get("for") for one in page.all("label")}, re.findall(r"<label>.*?</label>", page.html, re.S)
    for tag in ("input", "textarea", "select"):
        for one in page.all(tag):
            around = any(f'name="{one.get("name")}"' in label for label in inside)
            named = one.get("type") == "hidden" or one.get("id") in wanted - {None} or "aria-label" in one or around
            assert named, one


def test_the_way_in(console):
    assert console.client.get("/console").headers["location"] == "/console/models"
    assert console.get("/").headers["location"] == "/console/models"
    head = console.client.request("HEAD", "/console/models")
    assert (head.status_code, head.content) == (200, b"")
    headers_are_there(head)
    slash = console.get("/models/")
    assert slash.headers["location"].endswith("/console/models")
    headers_are_there(slash)


def test_a_method_that_no_page_takes(console, seen):
    answer = console.post("/models", {})
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    headers_are_there(answer)
    assert "This address does not answer that" in seen(answer.text).words
    assert console.get("/language").status_code == 405


def test_the_language_is_the_browsers_until_it_is_chosen(console):
    def title(**headers):
        return re.search("<h1>(.*?)</h1>", console.client.get("/console/models", headers=headers).text)[1]

    assert title() == title(**{"accept-language": "de,zh;q=0.5"}) == "Models"
    assert title(**{"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}) == "模型"
    assert title(**{"accept-language": "zh", "cookie": "userops_lang=en"}) == "Models"
    assert title(cookie="userops_lang=<script>") == "Models"


def test_a_chosen_language_is_remembered(console):
    answer = console.post("/language", {"lang": "zh", "back": "/console/user?id=a%2Fb&model=churn"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/user?id=a%2Fb&model=churn")
    cookie = answer.headers["set-cookie"]
    for part in ("userops_lang=zh", "HttpOnly", "Max-Age=31536000", "Path=/console", "SameSite=lax"):
        assert part in cookie
    headers_are_there(answer)
    assert "set-cookie" not in console.post("/language", {"lang": "xx", "back": "/console/models"}).headers


@pytest.mark.parametrize(
    "back",
    [
        "", "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example/console/",
        "javascript:alert(1)",
        "/console/../v1/models", "/console/..%2f..", "/console/%2e%2e/v1", "/console/./x", "/consolex/", "/v1/models",
        "/console/\\..\\evil", "/console/a\r\nset-cookie: x=1", "/console/\tx", " /console/models", "http://[::1",
    ],
)  # fmt: skip
def test_the_way_back_leads_nowhere_else(console, back):
    answer = console.post("/language", {"lang": "en", "back": back})
    assert answer.headers["location"] == "/console/models"
    assert "x=1" not in str(answer.headers)


def test_files_are_packed_once_and_kept_for_ever(console):
    for name in ("plotly.min.js", "console.js", "console.css", "plotly.css", "icon.svg"):
        answer = console.client.get(address(name))
        assert answer.status_code == 200
        assert answer.content == text_of(name).encode()
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["etag"].strip('"') in address(name)
        headers_are_there(answer)
        plain = console.client.get(address(name), headers={"accept-encoding": "identity"})
        assert plain.content == answer.content
        assert "content-encoding" not in plain.headers
        again = console.client.get(address(name), headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert console.client.get("/console/static/console.css").headers["cache-control"] == "public, max-age=3600"
    assert asset("../app.py") is None
    assert console.client.get("/console/static/..%2fapp.py").status_code == 404


def test_names_of_no_file_drive_out_none_that_is_packed(console):
    packed = asset("console.js")
    for number in range(20):
        assert console.get(f"/static/{number}.js").status_code == 404
    assert asset("console.js") is packed


def test_more_questions_than_may_wait_are_a_page_that_says_so(console, seen, monkeypatch, in_process):
    monkeypatch.setattr(app, "MOST_WAITING", -1)
    with in_process(app.console_app(lambda: console.client.live, lambda: None)) as full:
        answer = full.get("/models", headers={"cookie": "userops_lang=en"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    headers_are_there(answer)
    assert seen(answer.text).all("h1")


def test_long_pages_are_packed(console):
    answer = console.get("/models/churn/3")
    assert answer.headers["content-encoding"] == "gzip"
    plain = console.get("/models/churn/3", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == answer.text
    assert re.fullmatch(r"page;dur=[0-9.]+", answer.headers["server-timing"])


def test_pages_name_every_style_that_plotly_would_write(console):
    assert plotly_styles()
    script = files()["plotly.min.js"].read_text(encoding="utf-8")
    # Style elements are made behind a look for an id: that of the maps', and the one that plotly lets pages bring.
    assert script.count('createElement("style")') == len(plotly_styles()) + 1
    page = console.read("/models/churn/3")
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {*plotly_styles(), "plotly.js-style-global"} <= ids
    assert not [one for one in console.read("/models").all("script") if "plotly" in one.get("src", "")]


def test_what_fails_inside_is_a_page_that_tells_nothing(console, seen, caplog):
    def fail(asked):
        raise RuntimeError("secret of /srv/home")

    def broken(asked):
        return Page("models.html", "no values", "models")

    for view in (fail, broken):
        answer = asked_of(console, view)
        assert answer.status_code == 500
        page = seen(bytes(answer.body).decode())
        whole(page, "en")
        assert "secret" not in page.html
        assert "Something went wrong on our side" in page.words
    assert "secret of" in caplog.text
    assert not [record for record in caplog.records if "u1" in record.getMessage()]  # nor whom the page was about


def asked_of(console, view):
    scope = {"type": "http", "method": "GET", "path": "/console/user", "query_string": b"id=u1", "headers": []}
    scope |= {"server": ("test", 80), "scheme": "http"}
    return frame.answer(view, console.client.live, Request(scope), {"id": "u1"})


def test_problems_are_told_in_the_words_of_the_page(console, seen):
    def view(asked):
        raise Problem(404, "unknown", "<b>no</b> such", expected="userops report churn --version 9")

    answer = asked_of(console, view)
    page = seen(bytes(answer.body).decode())
    assert (answer.status_code, "<b>no</b> such" in page.words, "<b>no</b>" in page.html) == (404, True, False)
    assert "Run: userops report churn --version 9" in page.words


def test_a_desk_file_that_cannot_be_read_is_a_page(console, seen, desk_files):
    broken = console.home / "desk" / "churn" / "7" / "card.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    try:
        answer = console.get("/models/churn/7")
        assert answer.status_code == 503
        page = seen(answer.text)
        assert "desk/churn/7/card.json cannot be read" in page.words
        assert "userops report churn --version 7" in page.words
        assert str(console.home) not in page.html
    finally:
        broken.unlink()
        broken.parent.rmdir()


@pytest.mark.parametrize("name", ["...", "a/b", "a\\b", "\x00", "<script>alert(1)</script>", "%2e%2e", "x" * 500])
def test_names_that_do_harm_find_nothing(console, seen, name):
    for path in (f"/models/{quote(name, safe='')}", f"/models/churn/{quote(name, safe='')}"):
        answer = console.get(path)
        assert answer.status_code == 404, path
        page = seen(answer.text)
        whole(page, "en")
        assert "<script>alert" not in answer.text


def test_the_border_speaks_html_below_the_console_only(console, seen):
    large = {"content": b"x" * 10, "headers": {"content-length": "999999999"}}
    page = console.client.request("POST", "/console/models/churn/3/sign", **large)
    assert (page.status_code, page.headers["content-type"]) == (413, "text/html; charset=utf-8")
    headers_are_there(page)
    assert "That is too much at once" in seen(page.text).words
    other = console.client.request("POST", "/v1/score/churn", **large)
    assert (other.status_code, other.headers["content-type"]) == (413, "application/problem+json")
    assert console.client.get("/consolex").headers["content-type"] == "application/problem+json"
    assert console.client.get("/nothing").headers["content-type"] == "application/problem+json"


def border(answer, path, pages, **settings):
    """What leaves through the middleware when the app behind it is ``answer``."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    middleware = ProblemMiddleware(answer, 1000, pages=pages, **settings)
    asyncio.run(middleware(scope, receive, send))
    kind = dict(sent[0]["headers"])[b"content-type"].decode()
    return sent[0]["status"], kind, b"".join(message.get("body", b"") for message in sent[1:])


def html_error(status):
    async def answer(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"<p>own page</p>"})

    return answer


def made(scope, problem):
    return HTMLResponse(f"<p>page of {problem.status}</p>", problem.status)


def test_html_errors_pass_where_pages_are_and_nowhere_else():
    pages = {"/console": made}
    assert border(html_error(404), "/console/x", pages)[2] == b"<p>own page</p>"
    assert border(html_error(404), "/console", pages)[2] == b"<p>own page</p>"
    for path in ("/consolex", "/v1/models", "/v1/console/x"):
        status, kind, body = border(html_error(404), path, pages)
        assert (status, kind) == (404, "application/problem+json")
        assert json.loads(body)["type"] == "urn:userops:problem:not-found"


def test_the_border_makes_pages_of_its_own_errors():
    async def slow(scope, receive, send):
        await asyncio.sleep(30)

    async def broken(scope, receive, send):
        raise RuntimeError("inside")

    pages = {"/console": made}
    assert border(slow, "/console/x", pages, answer_timeout_s=0.01)[2] == b"<p>page of 504</p>"
    assert border(broken, "/console/x", pages)[2] == b"<p>page of 500</p>"


def test_where_no_page_can_be_made_the_answer_is_plain(caplog):
    async def broken(scope, receive, send):
        raise RuntimeError("inside")

    def unmade(scope, problem):
        raise RuntimeError("no words")

    status, kind, _ = border(broken, "/console/x", {"/console": unmade})
    assert (status, kind) == (500, "application/problem+json")
    assert "no page could be made" in caplog.text


def test_json_within_a_page_cannot_end_it(hostile):
    text = str(embedded({hostile: "</script><!--"}))
    assert "<" not in text
    assert json.loads(text) == {hostile: "</script><!--"}


def test_the_console_opens_without_a_release(bare, seen):
    answer = bare.get("/models")
    assert answer.status_code == 200
    page = seen(answer.text)
    whole(page, "en")
    assert "No release is in force" in page.words
    assert "no release in force" in page.words
    assert "userops train churn" in page.words
    assert bare.get("/models/churn/1").status_code == 404
    assert bare.get("/user?id=u1").status_code in (404, 503)


def test_packed_files_are_the_same_bytes_each_time():
    found = asset("console.css")
    assert found is not None
    assert gzip.decompress(found.packed) == (Path(app.__file__).parent / "static" / "console.css").read_bytes()
    assert found.packed[4:8] == b"\0\0\0\0"  # no time of packing
