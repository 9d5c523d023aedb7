"""The pages of decisions, over real decisions of a small shop: what they show is what was recorded, to the last bit."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from features.catalog import digest
from serving import service
from serving.console.charts import BLUE, GREY
from serving.console.charts_decision import candidates
from serving.console.words import words
from serving.scoring import write_release

HOSTILE = "<script>alert(1)</script>"


class Seen(HTMLParser):
    """A page: its words, its links, its charts, and the rows of its tables."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.html, self.hrefs, self.figures, self.rows, self.scripts = html, [], {}, [], 0
        self._words, self._into, self._cell = [], None, False
        self.feed(html)
        self.words = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag == "a":
            self.hrefs.append(told.get("href"))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._cell = True
        if tag in ("script", "style"):
            self._into = told.get("id") or "src"
            self.scripts += told.get("type") != "application/json"

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._into = None
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        if self._into is None:
            self._words.append(data)
            if self._cell:
                self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())
        elif self._into.endswith("-data"):
            self.figures[self._into.removesuffix("-data")] = json.loads(data)


@pytest.fixture
def read(decider):
    def page(path, lang="en", status=200):
        answer = decider.client.get(f"/console{path}", headers={"cookie": f"userops_lang={lang}"})
        assert answer.status_code == status, answer.text[:2000]
        return Seen(answer.text)

    return page


def exact(rows, first):
    """The cells of the row that begins with ``first``."""
    return next(row for row in rows if row and row[0].startswith(first))


BODIES = {
    "plain": {"limit": 3},
    "reasons in Chinese": {"limit": 2, "explain": {"lang": "zh"}},
    "everything explained": {"limit": 2, "explain": {"level": "full"}},
    "nothing explained": {"limit": 2, "explain": {"level": "none"}},
    "softmax": {"limit": 4, "policy": {"exploration": {"mode": "softmax", "floor": 0.01}}},
    "conversion": {"limit": 3, "objective": "conversion"},
    "sell-through": {"limit": 3, "objective": "sell_through"},
    "a store": {"limit": 3, "context": {"store_id": "s1", "channel": "store"}},
    "a weight": {"limit": 3, "context": {"scenario": "dormant_winback", "channel": "app"}},
    "levers": {"limit": 1, "candidates": [{"offer_id": "o_tea_1", "levers": {"stock": 30.0, "brand": -5.0}}]},
    "unknown offers": {"limit": 2, "candidates": [{"offer_id": HOSTILE, "value": 9.0, "attributes": {"item_id": "x"}}]},
    "personalization off": {"limit": 2, "personalization": "off"},
}


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_the_product_shown_is_the_recorded_priority(decider, read, body, lang):
    answer = decider.ask("u1", **body)
    assert answer["status"] == "decided"
    for offer in answer["offers"]:
        page = read(f"/decision?id={answer['decision_id']}&rank={offer['rank']}", lang)
        product = re.search(r'<td id="product">([^<]*)</td>', page.html)[1]
        recorded = re.search(r'<span id="priority">([^<]*)</span>', page.html)[1]
        assert product == recorded == repr(offer["priority"])
        assert ("equal to the record" if lang == "en" else "与记录逐位相等") in page.words
        values = [row[1] for row in page.rows if row and row[0].startswith(("propensity", "接受概率的", "×"))]
        assert [repr(value) for value in offer["components"].values()] == [*dict.fromkeys(values)] or {
            repr(value) for value in offer["components"].values()
        } <= set(values) | {row[1] for row in page.rows if row and row[0] == "接受概率"}
        bars = page.figures["factors"]["data"][0]["x"]
        assert bars[-1] == offer["priority"]


TWINS = [{"offer_id": name, "value": 9.0, "attributes": {"item_id": "x"}} for name in ("twin_1", "twin_2")]


@pytest.mark.parametrize("body", [*BODIES.values(), {"limit": 2, "candidates": [*TWINS, {"offer_id": "o_tea_1"}]}])
def test_every_candidate_is_shown_or_lost_or_ruled_out_and_only_one_of_these(decider, read, body):
    answer = decider.ask("u1", **body)
    page = read(f"/decision?id={answer['decision_id']}")
    lost = re.search(r"(\d+) were scored and lost", page.words)
    out = re.search(r"(\d+) were ruled out by a rule before", page.words)
    counts = [len(answer["offers"]), *(int(found[1]) if found else 0 for found in (lost, out))]
    assert sum(counts) == answer["funnel"]["candidates"]
    if "twin" in str(body):
        assert "duplicate_of:" in page.words
        assert "arbitration ·" not in page.words
        assert len([row for row in page.rows if any("duplicate_of:" in cell for cell in row)]) == 1


def test_alpha_and_the_money_are_multiplied_out(decider, read):
    best = decider.ask("u1", limit=1)["offers"][0]["offer_id"]
    wanted = {"offer_id": best, "value": 30.0, "cost": 0.5, "margin": 0.3}
    answer = decider.ask("u1", limit=1, candidates=[wanted])
    offer = answer["offers"][0]
    page = read(f"/decision?id={answer['decision_id']}")
    assert "worth 30.0 × margin 0.3 − cost 0.5" in page.words
    assert offer["components"]["value"] == 30.0 * 0.3 - 0.5
    assert f"p × value − contact cost = {offer['p']!r}" in page.words


def test_the_waterfall_is_that_of_the_api(decider, read):
    answer = decider.ask("u1", limit=2)
    explained = decider.client.post(f"/v1/decisions/{answer['decision_id']}:explain", json={"lang": "en"}).json()
    for offer in explained["offers"]:
        page = read(f"/decision?id={answer['decision_id']}&rank={offer['rank']}")
        told = {bar["feature"]: repr(bar["contribution"]) for bar in offer["waterfall"]}
        shown = {row[0].rpartition(" ")[2]: row[2] for row in page.rows if len(row) == 3}
        assert {name: shown[name] for name in told} == told
        assert exact([row for row in page.rows if len(row) == 3], "Base value")[2] == repr(offer["base_value"])
        assert repr(offer["raw_score"]) in page.words
        assert repr(offer["additivity_residual"]) in page.words
        assert page.figures["waterfall"]["data"][0]["type"] == "bar"


def test_reasons_are_told_in_the_language_of_the_reader(decider, read):
    answer = decider.ask("u1", limit=1, explain={"lang": "zh"})
    told = [one["text"] for one in answer["offers"][0]["reason_codes"]]
    assert told[0] in read(f"/decision?id={answer['decision_id']}", "zh").words
    page = read(f"/decision?id={answer['decision_id']}", "en").words
    assert told[0] not in page.partition("The full record")[0]


def test_every_offer_that_was_dropped_is_named_with_stage_and_rule(decider, read):
    full = decider.ask("u3", limit=2, explain={"level": "full"})
    page = read(f"/decision?id={full['decision_id']}")
    assert full["filtered"]
    for one in full["filtered"]:
        assert one["offer_id"] in page.words
        # What arbitration dropped stands among those that were scored and lost.
        before = "" if one["stage"] == "arbitration" else f"{one['stage']} · "
        assert f"{before}{one['rule']}" in page.words
    short = decider.ask("u3", limit=2)
    assert all(one["offer_id"] is None for one in short["filtered"])
    again = read(f"/decision?id={short['decision_id']}")
    assert all(one["offer_id"] in again.words for one in full["filtered"]), "by name, though the answer only counted"


def test_of_two_offers_of_one_name_one_was_shown():
    priced, names = {"o1": 3.0, "o2": 2.0, "o3": 1.0}, {"o1": "Tea", "o2": "Tea"}
    chart = candidates(words("en"), priced, {"o2": 1}, names)
    assert chart["data"][0]["customdata"] == ["Tea", "#1 Tea", "o3"]
    assert chart["data"][0]["marker"]["color"] == [GREY, BLUE, GREY]
    assert [[row[0], row[2]] for row in chart["table"]["rows"]] == [["Tea (o1)", "–"], ["Tea (o2)", 1], ["o3", "–"]]


def test_candidates_that_lost_are_listed_with_what_they_lacked(decider, read, nbo_log):
    answer = decider.ask("u1", limit=2)
    row = nbo_log.decision(answer["decision_id"])
    page = read(f"/decision?id={answer['decision_id']}")
    shown = {one["offer_id"]: one["priority"] for one in answer["offers"]}
    for one in row.candidates:
        if one.offer_id not in shown:
            cells = next(cells for cells in page.rows if len(cells) == 6 and one.offer_id in cells[0])
            assert cells[2] == f"{one.priority:,.4f}"
            assert cells[3] == f"{min(shown.values()) - one.priority:,.4f}"
    figure = page.figures["priorities"]
    assert sum(label.startswith("#") for label in figure["layout"]["yaxis"]["ticktext"]) == len(shown)
    assert figure["data"][0]["x"] == sorted(figure["data"][0]["x"], reverse=True)
    assert page.figures["funnel"]["data"][0]["x"][:-1] == [float(n) for n in answer["funnel"].values()]


def test_a_cap_is_told_with_its_limit_and_the_count(decider, read):
    for _ in range(3):
        answer = decider.ask("u9", limit=1, candidates=[{"offer_id": "c_tea"}, {"offer_id": "o_soap_1"}],
                             policy={"exploration": {"epsilon": 0.0}}, explain={"level": "full"})  # fmt: skip
        capped = [one for one in answer["filtered"] if one["stage"] == "cap"]
    if not capped:  # soap was the better one: then the cap of tea is not reached
        for _ in range(2):
            decider.ask("u9", limit=1, candidates=[{"offer_id": "c_tea"}])
        answer = decider.ask("u9", limit=1, candidates=[{"offer_id": "c_tea"}], explain={"level": "full"})
    page = read(f"/decision?id={answer['decision_id']}")
    assert "limit reached: 2 × decision for this user in 7 calendar day(s)" in page.words
    assert "counted 2" in page.words
    assert "已达上限：该用户在7 个自然日内 2 次决策" in read(f"/decision?id={answer['decision_id']}", "zh").words


def test_feedback_is_shown_with_its_times_and_as_text(decider, read):
    answer = decider.ask("u4", limit=1)
    said = {"comment": HOSTILE, "stars": 3}
    decider.feedback(answer, "click", attributes=said, value=12.5, currency="CNY", ts="2026-11-21T10:11:57Z")
    page = read(f"/decision?id={answer['decision_id']}")
    cells = exact(page.rows, "clicked")
    assert cells[2] == "2026-11-21 10:11:57"
    assert cells[3] == "45.0 s"
    assert "12.5 CNY" in cells[5]
    assert f"comment: {HOSTILE}" in cells[5]
    assert HOSTILE not in page.html


def test_hostile_offers_are_text_everywhere(decider, read):
    candidates = [{"offer_id": HOSTILE, "value": 30.0, "attributes": {"category_id": "tea"}}, {"offer_id": "c_soap"}]
    for user in ("u1", HOSTILE):
        answer = decider.ask(user, limit=2, candidates=candidates, context={"attributes": {HOSTILE: HOSTILE}})
        for path in (f"/decision?id={answer['decision_id']}&replay=1", "/decisions"):
            page = read(path)
            assert HOSTILE in page.words
            assert "<script>alert" not in page.html
    labels = page.figures  # the list has none
    assert labels == {}


def test_a_replay_says_that_nothing_differs(decider, read):
    for body in BODIES.values():
        answer = decider.ask("u5", **body)
        assert (
            "Same answer: nothing differs in a single bit."
            in read(f"/decision?id={answer['decision_id']}&replay=1").words
        )
    assert "结果相同" in read(f"/decision?id={answer['decision_id']}&replay=1", "zh").words


def test_differences_are_a_table(decider, read, monkeypatch):
    answer = decider.ask("u5", limit=1)
    live = service._rest.state.live
    was = live.records.replay

    def other(decision_id, asked):
        told = was(decision_id, asked)
        return {**told, "identical": False, "differences": [{"path": "offers[0].p", "was": 0.5, "now": None}]}

    monkeypatch.setattr(live.records, "replay", other)
    page = read(f"/decision?id={answer['decision_id']}&replay=1")
    assert "Not the same answer: 1 places differ." in page.words
    assert exact(page.rows, "offers[0].p") == ["offers[0].p", "0.5", "absent"]


def test_a_fallback_and_silence_are_told_with_their_reason(decider, read):
    late = decider.ask("u1", timeout_ms=1)
    if late["status"] == "fallback":
        page = read(f"/decision?id={late['decision_id']}&replay=1")
        assert "The caller's time would have run out" in page.words
        assert "popular" in page.words
        assert "Same answer" in page.words
    mute = decider.ask("u1", context={"channel": "sms"})
    assert mute["status_reason"] == "NO_CONSENT"
    page = read(f"/decision?id={mute['decision_id']}&replay=1")
    assert "Nothing was shown. There is no consent for this channel." in page.words
    assert "no consent for sms" in page.words
    assert "该渠道" in read(f"/decision?id={mute['decision_id']}", "zh").words


def test_an_unknown_decision_is_a_404(read):
    for decision_id in ("d_nothing", HOSTILE, "a%00b", "%F0%9F%8D%B5", "x" * 5000):
        page = read(f"/decision?id={decision_id}", status=404)
        assert "<script>alert" not in page.html
    assert read("/decision", status=400).words


def test_a_decision_of_another_release_is_shown_as_recorded_and_decided_again_when_asked(
    decider, read, all_models, documents
):
    answer = decider.ask("u6", limit=2, explain={"level": "full"})
    live = service._rest.state.live
    before = live.release.bundle.release_id
    half = {name: all_models[name] for name in all_models if name != "repurchase"}
    write_release(decider.home / "releases", half, digest(), live.now(), {}, documents(version="arb-other"))
    asyncio.run(live.pickup.look())
    assert live.release.bundle.release_id != before
    page = read(f"/decision?id={answer['decision_id']}")
    assert "no longer in force" in page.words
    assert 'id="product">–<' in page.html
    assert repr(answer["offers"][0]["priority"]) in page.words
    page = read(f"/decision?id={answer['decision_id']}&replay=1")
    assert "Same answer" in page.words
    assert f'id="product">{answer["offers"][0]["priority"]!r}<' in page.html
    assert "The release in force today" in page.words
    (decider.home / "releases" / before).rename(decider.home / "releases" / f".{before}")
    live.records._named.cache_clear()
    page = read(f"/decision?id={answer['decision_id']}&replay=1")
    assert "is no longer here, so the decision cannot be made again" in page.words
    assert "Same answer" not in page.words
    (decider.home / "releases" / f".{before}").rename(decider.home / "releases" / before)
    policy = decider.home / "releases" / before / "policy.json"
    content = policy.read_bytes()
    policy.write_bytes(content + b" ")
    live.records._named.cache_clear()
    assert "It cannot be asked:" in read(f"/decision?id={answer['decision_id']}&replay=1").words
    policy.write_bytes(content)


def test_the_list_is_paged_by_key(decider, read):
    made = [decider.ask("paged", limit=1)["decision_id"] for _ in range(3)]
    seen, path = [], "/decisions?user=paged"
    page = read(path)
    ids = [href.partition("id=")[2] for href in page.hrefs if href and href.startswith("/console/decision?id=")]
    assert sorted(ids) == sorted(made)
    everything, path = [], "/decisions"
    while path:
        page = read(path)
        everything += [href for href in page.hrefs if href and href.startswith("/console/decision?id=")]
        older = [href for href in page.hrefs if href and "before=" in href and "export" not in href]
        path = older[-1].removeprefix("/console") if older and older[-1] not in seen else ""
        seen += older
    assert len(everything) == len(set(everything)) > 50
    assert read("/decisions?before=yesterday", status=400).words
    assert "Nothing was decided for nobody" in read("/decisions?user=nobody").words
    assert "Nothing older." in read("/decisions?before=1~x").words


def test_the_record_is_linked_and_folded(decider, read):
    answer = decider.ask("u1", limit=1)
    page = read(f"/decision?id={answer['decision_id']}")
    assert f"/v1/decisions/{answer['decision_id']}" in page.hrefs
    record = decider.client.get(f"/v1/decisions/{answer['decision_id']}").json()
    written = re.search(r"<pre>(.*?)</pre>", page.html, re.DOTALL)[1]
    assert json.loads(Seen(f"<p>{written}</p>").words)["vector_hash"] == record["vector_hash"]


def test_a_holdout_says_so(nbo_home, in_process, decider):
    home = nbo_home(holdout={"share": 0.9, "salt": "s", "period": "month", "scenarios": [], "treatment": "none"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "CONFIG", dataclasses.replace(service.CONFIG, home=home))
        with in_process(service.UserOps.to_asgi()) as client:
            asked = [{"user_id": f"u{k}"} for k in range(20)]
            answers = [client.post("/v1/next-best-offer", json=body).json() for body in asked]
            told = next(one for one in answers if one["status"] == "holdout")
            answer = client.get(f"/console/decision?id={told['decision_id']}&replay=1")
    page = Seen(answer.text)
    assert "belongs to the control group" in page.words
    assert "In the control group that is left alone." in page.words
    assert "Same answer" in page.words
