"""The page of one user: every number is the API's, bit for bit; what cannot be said is said so."""

from __future__ import annotations

import dataclasses
import json
import math
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from serving.console.user import _chosen
from serving.console.words import words

MODELS = {"churn": ("p_inactive_14d", "p_inactive_30d"), "repurchase": ("p_repurchase_30d",), "value": ("spend_30d",)}
ANSWERED = [(model, head) for model, heads in MODELS.items() for head in heads]


def asked(console, model, user_id, lang="en"):
    """The API's own answer about one user."""
    question = {"user_ids": [user_id], "explain": {"level": "full", "top_n": 20, "lang": lang}}
    answer = console.client.post(f"/v1/score/{model}", json=question)
    assert answer.status_code == 200, answer.text
    return answer.json()["users"][0]


def somebody(console, model, head):
    """A user of whom the head has a score."""
    return next(f"u{k}" for k in range(40) if asked(console, model, f"u{k}")["scores"][head]["explanation"])


def parts(score):
    told = score["explanation"]
    return {"score": told} if "raw_score" in told else told


@pytest.mark.parametrize(("model", "head"), ANSWERED)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_number_is_the_one_of_the_api(console, model, head, lang):
    user_id = somebody(console, model, head)
    score = asked(console, model, user_id, lang)["scores"][head]
    page = console.read(f"/user?id={user_id}&model={model}&head={head}", lang)
    for told in parts(score).values():
        for number in (told["base_value"], told["raw_score"], *(one["contribution"] for one in told["contributions"])):
            assert repr(number) in page.words
        total = math.fsum([told["base_value"], *(one["contribution"] for one in told["contributions"])])
        assert repr(total) in page.words
        assert repr(told["raw_score"] - total) in page.words
        assert abs(told["raw_score"] - total) < 1e-12
    assert repr(score["p"]) in page.words
    if model == "value":
        assert repr(score["expected"]) in page.words
        assert repr(score["amount"]) in page.words
    for reason in score["reason_codes"]:
        assert reason["text"] in page.words


def test_a_link_to_somebodys_interests_leads_to_their_page():
    """Such as those of a comparison of two interest models, which name what was scored."""
    heads = {"p_a": {"explanation": None}, "p_b": {"explanation": {}, "status_reason": None}}
    told = {"scores": {"churn": {"scores": heads}}, "interests": {"categories": [], "items": []}}
    asked_for = SimpleNamespace(given={"model": "interest", "head": "item"}, t=words("en"))
    assert _chosen(asked_for, told) == ("churn", "p_a")


@pytest.mark.parametrize(("model", "head"), ANSWERED)
def test_the_bars_are_the_contributions(console, model, head):
    user_id = somebody(console, model, head)
    charts = console.read(f"/user?id={user_id}&model={model}&head={head}").charts()
    for part, told in parts(asked(console, model, user_id)["scores"][head]).items():
        drawn = charts[f"why-{part}"]["data"][0]["x"]
        shares = [one["contribution"] for one in told["contributions"]]
        assert drawn[0] == told["base_value"]
        assert drawn[-1] == told["raw_score"]
        assert drawn[1:13] == shares[:12]
        assert drawn[13] == math.fsum(shares[12:])
        assert math.fsum(drawn[:-1]) == pytest.approx(drawn[-1], abs=1e-12)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(("model", "head", "own"), [
    ("churn", "p_inactive_30d", True), ("repurchase", "p_first_order_30d", False),
])  # fmt: skip
def test_a_base_that_holds_the_share_of_the_horizon_is_not_called_everybodys(console, model, head, own, lang):
    t = words(lang)
    page = console.read(f"/user?id={somebody(console, model, head)}&model={model}&head={head}", lang)
    right, wrong = t("user.base_horizon"), t("user.base")
    right, wrong = (right, wrong) if own else (wrong, right)
    assert right in page.words
    assert wrong not in page.words
    assert (t("user.base_says") in page.words) is own
    assert page.charts()["why-score"]["layout"]["annotations"][0]["text"] == right


def test_grouped_features_are_one_bar_that_is_their_sum(console, desk_files):
    user_id = somebody(console, "churn", "p_inactive_30d")
    shares = asked(console, "churn", user_id)["scores"]["p_inactive_30d"]["explanation"]["contributions"]
    own = {one["feature"]: one["contribution"] for one in shares}
    members = [one["feature"] for one in shares[:3]]
    learned = desk_files.learned("3", "p_inactive_30d")
    learned["groups"] = [{"id": "g1", "features": members, "least_correlation": 0.9, "share": 0.5}]
    desk_files.write(console.home, "3", {"learned/p_inactive_30d.json": learned})
    address = f"/user?id={user_id}&model=churn&head=p_inactive_30d"
    apart, together = console.read(address), console.read(f"{address}&grouped=1")
    assert f"/console{address}&grouped=1#why" in apart.hrefs()
    assert f"/console{address}#why" in together.hrefs()
    total = math.fsum(own[name] for name in members)
    assert total in together.charts()["why-score"]["data"][0]["x"]
    assert total not in apart.charts()["why-score"]["data"][0]["x"]
    assert "3 features that go together" in together.words
    assert "the sum of its members" in together.words
    for name in members:  # each still stands by itself, to the last digit
        assert repr(own[name]) in together.words


def test_the_scores_table_says_every_head_and_why_not(console):
    page = console.read("/user?id=u1")
    words = []
    for model in ("churn", "repurchase", "value"):
        for score in asked(console, model, "u1")["scores"].values():
            if score["status_reason"] == "OUT_OF_COHORT":
                words.append(f"not asked: only for users who are “{score['cohort']['meaning']}”")
            elif model == "value":
                words.append(f"{score['expected']:,.2f}")
            else:
                words += [f"{100 * score['p']:.1f} %", f"higher than {math.floor(score['percentile'])} % of users"]
    assert any(word.startswith("not asked") for word in words)
    for word in words:
        assert word in page.words
    assert "no activity" not in page.words
    assert "does nothing within 30 days" in page.words


def test_what_the_page_links_to(console):
    page = console.read("/user?id=u1")
    assert "/v1/users/u1/profile" in page.hrefs()
    assert console.client.get("/v1/users/u1/profile").json()["user_id"] == "u1"
    assert "/console/decisions?user=u1" in page.hrefs()
    assert "/console/models/churn/3" in page.hrefs()


def test_a_release_that_comes_while_the_page_is_made_does_not_mix_in(console, monkeypatch):
    live = console.client.live
    before, profile = live.release, live.profile

    async def swapped(*arguments):
        told = await profile(*arguments)
        live.pickup.live = dataclasses.replace(before, models={})
        return told

    address = "/user?id=u1&model=churn&head=p_inactive_30d"
    whole = console.read(address)
    monkeypatch.setattr(live, "profile", swapped)
    try:
        assert console.read(address).words == whole.words
    finally:
        live.pickup.live = before


def test_old_features_are_said_to_be_old(console):
    assert "older than the 48 hours allowed" in console.read("/user?id=u45").words
    assert "hours allowed" not in console.read("/user?id=u1").words
    assert "超过允许的 48 小时" in console.read("/user?id=u45", "zh").words


def test_a_model_or_head_that_is_not_there_is_a_404(console):
    assert console.get("/user?id=u1&model=nope").status_code == 404
    assert console.get("/user?id=u1&model=churn&head=nope").status_code == 404
    assert console.get("/user").status_code == 400


def test_a_head_without_an_answer_has_nothing_to_explain(console):
    scores = asked(console, "repurchase", "u1")["scores"]
    head = next(name for name, score in scores.items() if score["status_reason"] == "OUT_OF_COHORT")
    page = console.read(f"/user?id=u1&model=repurchase&head={head}")
    assert "there is nothing to explain" in page.words
    assert not [name for name in page.charts() if name.startswith(("why", "whatif"))]


def test_whoever_wants_no_personalisation_has_no_scores(console):
    answer = console.client.request("PUT", "/v1/users/u7/personalization", json={"personalization": "off"})
    assert answer.status_code == 200, answer.text
    try:
        page = console.read("/user?id=u7")
        assert "This person wants no personalisation" in page.words
        assert "Personalisation: off" in page.words
        assert page.charts() == {}
        assert "%" not in page.words
        assert "此人已关闭个性化" in console.read("/user?id=u7", "zh").words
        found = console.get("/users?q=u7")
        assert (found.status_code, found.headers["location"]) == (303, "/console/user?id=u7")
        assert console.get("/user/what-if?id=u7&model=churn&head=p_inactive_30d").status_code == 404
    finally:
        console.client.request("PUT", "/v1/users/u7/personalization", json={"personalization": "on"})


def test_the_line_over_time_ends_with_the_score_of_the_api(console, tmp_path):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from features.catalog import NAMES, digest
    from features.snapshots import DIGEST_KEY

    folder = console.home / "features" / "user"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for day in (1, 8, 14):
        columns = {name: pa.array(rng.gamma(1.5, 4.0, 3)) for name in NAMES}
        table = pa.table({"user_id": ["u1", "u2", "u3"], **columns})
        table = table.replace_schema_metadata({DIGEST_KEY: digest().encode()})
        pq.write_table(table, folder / f"2026-11-{day:02d}T000000Z.parquet")
    user_id = next(f"u{k}" for k in (1, 2, 3) if asked(console, "churn", f"u{k}")["scores"]["p_inactive_30d"]["p"])
    figure = console.read(f"/user?id={user_id}&model=churn&head=p_inactive_30d").charts()["over-time"]
    strong = figure["data"][-1]
    assert strong["x"] == ["2026-11-01", "2026-11-14", "2026-11-21"]
    assert strong["y"][-1] == asked(console, "churn", user_id)["scores"]["p_inactive_30d"]["p"]
    told = console.read(f"/user?id={user_id}&model=churn&head=p_inactive_30d").words
    assert "What moves is the user, not the model" in told


@pytest.mark.parametrize(
    "user_id", ['"><script>alert(1)</script>', "🙂", "a/b/../c", "%00", "{{ 7 * 7 }}", "a&b=c", "\u202eabc", "x" * 128]
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_strange_id_is_shown_as_text(console, seen, user_id, lang):
    for address in (f"/user?id={quote(user_id, safe='')}", f"/users?q={quote(user_id, safe='')}"):
        answer = console.get(address, lang)
        assert answer.status_code == 404, answer.text
        page = seen(answer.text)
        assert user_id in page.words
        assert all("src" in one for one in page.all("script"))


@pytest.mark.parametrize("user_id", ["a\x00b", "a\nb", "\x7f", "x" * 10_000, "<b>" * 5000])
def test_what_cannot_be_an_id_is_refused(console, seen, user_id):
    for address in (f"/user?id={quote(user_id, safe='')}", f"/users?q=u{quote(user_id, safe='')}"):
        answer = console.get(address)
        assert answer.status_code == 400
        page = seen(answer.text)
        assert "This cannot be a user id" in page.words
        assert len(user_id) < 200 or user_id not in page.words  # a book is not read out


def test_a_known_hostile_id_stays_text(console, hostile):
    page = console.read(f"/user?id={quote(hostile, safe='')}")
    assert hostile in page.words
    assert not list(page.all("img"))
    assert f"/v1/users/{quote(hostile, safe='')}/profile" in page.hrefs()
    assert json.dumps(hostile)[1:-1] not in page.html


def test_a_stranger_is_told_what_the_api_answers(console, seen):
    answer = console.get("/user?id=stranger")
    page = seen(answer.text)
    assert answer.status_code == 404
    assert "We know no such user" in page.words
    assert "cold start" in page.words
    rate = asked(console, "churn", "stranger")["scores"]["p_inactive_30d"]["p"]
    assert f"about {round(100 * rate)} of 100 such users" in page.words


def test_search_without_words_shows_a_form(console):
    page = console.read("/users")
    assert [one.get("action") for one in page.all("form")].count("/console/users") == 1


def test_without_a_release_the_page_says_so(bare):
    assert bare.get("/user?id=u1").status_code == 503


def test_what_a_person_wished_is_shown_as_text(console, seen):
    log = console.client.live.log()
    log.set_consent("u9", "<b>sms</b>", True, 1)
    log.set_consent("u9", "wecom", False, 1)
    log.delete_tag("u9", "interest:tea", 1)
    page = console.read("/user?id=u9")
    for said in ("<b>sms</b>: agreed", "wecom: withdrawn", "tags they deleted: 1", "Personalisation: on"):
        assert said in page.words
    assert "wecom：已撤回" in console.read("/user?id=u9", "zh").words


def test_nothing_of_a_search_is_logged(console, caplog, capfd):
    with caplog.at_level("DEBUG"):
        for address in ("/users?q=quietperson", "/user?id=quietperson", "/user?id=u1&w.orders_30d=quietperson"):
            console.get(address)
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]  # not the client's
    assert "quietperson" not in "".join([*ours, *capfd.readouterr()])


def test_another_model_of_the_release_leads_to_the_page(console):
    assert console.get("/user?id=u1&model=interest").status_code == 404  # this release has none


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_says_no_code_without_its_words(console, lang):
    page = console.read("/user?id=u1", lang)
    assert ("Falling silent" if lang == "en" else "沉默风险") in page.words
    assert ("does nothing within 14 days" if lang == "en" else "14天内没有任何行为") in page.words
