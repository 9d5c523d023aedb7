"""Two versions before the same users: what the file says is what the page shows; what is not there says what to run."""

from __future__ import annotations

import json
import shutil

import pytest

import configs
from features.catalog import NAMES
from serving.console.desk import Desk
from serving.console.report import opened, report
from serving.console.steps import Steps, steps
from serving.console.words import LANGUAGES, words

PAGE = "/models/churn/compare"
HEAD = "p_inactive_30d"
read = Desk.read


def digits(content):
    """Every ``user_id`` as something else, as in a report for strangers."""
    if isinstance(content, dict):
        return {key: f"[{one}]" if key == "user_id" else digits(one) for key, one in content.items()}
    return [digits(one) for one in content] if isinstance(content, list) else content


@pytest.fixture
def page(console):
    return console.read(PAGE)


def test_champion_against_challenger_is_the_default(console, page):
    assert "churn: version 4 against 3" in page.words
    assert console.read(f"{PAGE}?first=champion&second=challenger").words == page.words
    assert console.read(f"{PAGE}?first=3&second=4").words == page.words
    assert "版本 4 对比 3" in console.read(PAGE, "zh").words


def test_every_point_and_every_move_is_drawn(console, page):
    head = json.loads((console.home / "desk/churn/4/versus-3.json").read_text())["heads"][HEAD]
    charts = page.charts()
    dots = charts["both"]["data"][1]
    assert [list(pair) for pair in zip(dots["x"], dots["y"], strict=True)] == head["points"]
    assert sum(charts["histogram"]["data"][0]["y"]) == sum(head["moves"]["counts"])
    assert "0.930" in page.words


def test_who_moves_links_to_the_user(page, hostile):
    links = [href for href in page.hrefs() if href.startswith("/console/user?id=")]
    assert any(href.startswith("/console/user?id=u1&") for href in links)
    assert not any("<" in href or '"' in href for href in links)
    assert "40.0 → 75.0" in page.words
    assert hostile in page.words
    assert "<script>alert" not in page.html


def test_who_switched_personalisation_off_is_no_longer_shown(console, seen, hostile):
    log = console.client.live.log()
    log.set_personalization("u1", False, 1)
    try:
        page, export = console.read(PAGE), console.read(f"{PAGE}?export=html")
        with opened(configs.load(console.home)) as live:
            told = seen(report(live, "churn", "4", page="compare", told=digits))
    finally:
        log.set_personalization("u1", True, 2)
    for one in (page, export, told):
        assert "they switched personalisation off: 1." in one.words
        assert "u1" not in one.words.split()
        assert "[u1]" not in one.words
        assert "40.0 → 75.0" not in one.words
        assert len([name for name in one.charts() if "example-" in name]) == 2, "the other one's"
    assert hostile in page.words
    assert "u1" in console.read(PAGE).words.split()
    assert "personalisation off" not in console.read(PAGE).words


def test_both_waterfalls_of_a_user_have_one_scale_and_add_up(page):
    charts = page.charts()
    examples = sorted(name for name in charts if name.startswith("example-"))
    assert examples == ["example-1-first", "example-1-second", "example-2-first", "example-2-second"]
    first, second = charts["example-1-first"], charts["example-1-second"]
    assert first["layout"]["xaxis"]["range"] == second["layout"]["xaxis"]["range"]
    for chart, raw in ((first, -1.25), (second, -0.25)):
        bars = chart["data"][0]
        assert bars["base"][-1] + bars["x"][-1] == pytest.approx(raw)
        assert bars["base"][-2] + bars["x"][-2] == pytest.approx(raw)
        assert bars["base"][0] + bars["x"][0] == pytest.approx(-1.0)
        assert bars["base"][0] == bars["base"][-1] == 0.0, "from the line at 0: a length is its number"
        assert chart["layout"]["xaxis"]["zeroline"]
        low, high = chart["layout"]["xaxis"]["range"]
        assert low < 0.0 < high


def test_where_reasons_changed_and_flipped(page):
    assert "30.0 %" in page.words
    assert "+0.2000" in page.words
    chart = page.charts()["reasons"]
    assert [bar["x"] for bar in chart["data"]] == [[0.2], [0.4]]


def test_the_measured_differences_have_intervals(console, page):
    assert "surely better" in page.words
    assert "-0.0100 [-0.0140, -0.0060]" in page.words
    assert "userops compare churn 3 4" not in page.words
    assert "no difference" not in page.words


def test_pairs_as_the_comparison_writes_them(console, desk_files):
    """``first``, ``second``, ``better`` and the verdict, per metric."""

    def interval(value):
        return {"value": value, "ci": [value - 0.01, value + 0.01]}

    told = {"first": interval(0.44), "second": interval(0.40), "better": interval(0.04), "verdict": "better"}
    versus = desk_files.versus("3", "5") | {"paired": {HEAD: {"auroc": told, "log_loss": told}}, "verdict": None}
    versus["origins"] = ["2026-08-17T00:00:00+00:00", "2026-09-14T00:00:00+00:00"]
    desk_files.write(console.home, "5", {"versus-3.json": versus})
    page = console.read(f"{PAGE}?first=3&second=5")
    assert "+0.0400 [+0.0300, +0.0500]" in page.words
    assert "Past origins: 2 (2026-08-17, 2026-09-14)." in page.words
    assert "历史起点：2 个" in console.read(f"{PAGE}?first=3&second=5", "zh").words
    assert "log loss decides" in page.words, "the metric that decides, first"
    assert page.charts()["differences"]["data"][0]["x"] == [pytest.approx(4.0)] * 2


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_missing_says_what_to_run(console, desk_files, lang):
    assert "userops compare churn 4 3" in console.read(f"{PAGE}?first=4&second=3", lang).words
    versus = desk_files.versus("3", "6") | {"paired": None, "verdict": None}
    desk_files.write(console.home, "6", {"versus-3.json": versus})
    assert "userops compare churn 3 6" in console.read(f"{PAGE}?first=3&second=6", lang).words
    assert "userops train repurchase" in console.read("/models/repurchase/compare", lang).words
    assert console.get(PAGE + "?first=3&second=3", lang).status_code == 200


def test_a_comparison_the_other_way_round_is_offered(console):
    page = console.read(f"{PAGE}?first=4&second=3")
    assert "/console/models/churn/compare?first=3&second=4" in page.hrefs()


def test_versions_that_read_different_features_say_so(console, desk_files):
    said = {"en": "The two read different features.", "zh": "特征不同。"}
    versus = {**desk_files.versus("3", "7"), "heads": {}, "paired": None, "words": said}
    desk_files.write(console.home, "7", {"versus-3.json": versus})
    assert "The two read different features." in console.read(f"{PAGE}?first=3&second=7").words


def test_two_that_answer_alike_are_no_broken_page(console, desk_files):
    versus = desk_files.versus("3", "8")
    same = {"feature": NAMES[0], "first": 0.2, "second": 0.2, "change": 0.0, "flipped": 0.0}
    versus["heads"][HEAD] |= {"up": [], "down": [], "examples": [], "changed": [same], "mean_move": 0.0}
    versus["heads"][HEAD]["moves"]["counts"] = [0, 0, 0, 0]
    desk_files.write(console.home, "8", {"versus-3.json": versus})
    page = console.read(f"{PAGE}?first=3&second=8")
    assert "both give the same answers" in page.words
    assert "The reasons are the same in both." in page.words


def test_pairs_of_user_and_item_name_the_item(console, desk_files, hostile):
    versus = desk_files.versus("3", "9")
    head = versus["heads"][HEAD]
    for rows in (head["up"], head["down"], head["examples"]):
        for row in rows:
            row["item"] = f"tea {hostile}"
    desk_files.write(console.home, "9", {"versus-3.json": versus})
    page = console.read(f"{PAGE}?first=3&second=9")
    assert f"tea {hostile}" in page.words
    assert "Item" in page.words
    assert "<script>alert" not in page.html


def test_amounts_are_no_per_cent(console, desk_files):
    versus = desk_files.versus("3", "10")
    card = desk_files.card("10", "sha256:10")
    card["heads"][HEAD]["unit"] = "money"
    for row in versus["heads"][HEAD]["up"]:
        row["p"] = [1234.5, 2345.75]
    desk_files.write(console.home, "10", {"versus-3.json": versus, "card.json": card})
    page = console.read(f"{PAGE}?first=3&second=10")
    assert "1,234.50 → 2,345.75" in page.words
    assert "contributions to whether anything is bought" in page.words
    assert page.charts()["both"]["layout"]["xaxis"]["tickformat"] == ",.0f"


@pytest.mark.parametrize(
    "path",
    [
        "/models/nothing/compare",
        f"{PAGE}?first=zero",
        f"{PAGE}?second=99",
        f"{PAGE}?first=99&second=99",
        f"{PAGE}?second=<script>",
        "/models/..%2f..%2fetc/compare",
    ],
)
def test_what_does_not_exist_is_a_404(console, path):
    answer = console.get(path)
    assert answer.status_code == 404
    assert "<script>&" not in answer.text


def test_a_head_that_does_not_exist_is_the_usual_one(console, page):
    assert console.read(f"{PAGE}?head=nothing").charts().keys() == page.charts().keys()


def test_without_a_release_there_is_nobody_to_compare_with(bare):
    assert "userops" in bare.get(PAGE).text


def test_steps_beyond_the_most_are_one_and_everything_adds_up():
    bars = [(f"f{k}", (-1.0) ** k / (k + 1)) for k in range(12)]
    raw = 0.3 + sum(value for _, value in bars)
    told = Steps("base", 0.3, bars, "raw", raw, 4, words("en")("decision.other_features"))
    assert told.drawn[-1][0] == "8 other features together"
    assert told.ends[-1] == pytest.approx(raw)
    chart = steps(told, (told.low, told.high), ("feature", "contribution"))
    assert [row[1] for row in chart["table"]["rows"]] == [repr(0.3), *(repr(v) for _, v in bars), repr(raw)]
    trace = chart["data"][0]
    ends = [start + length for start, length in zip(trace["base"], trace["x"], strict=True)]
    assert ends == pytest.approx([0.3, *told.ends[2:], raw])
    empty = Steps("base", 0.3, [], "raw", 0.3, 4, "{n}")
    assert len(steps(empty, (0.3, 0.3), ("a", "b"))["data"][0]["x"]) == 2


def test_users_named_by_digits_have_no_link_and_the_page_says_why(console, seen, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(console.home, home)
    file = home / "desk" / "churn" / "4" / "versus-3.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "users_hashed": True}), encoding="utf-8")
    said = "nobody can be looked up here"
    with opened(configs.load(home)) as live:
        page = seen(report(live, "churn", "4", page="compare"))
        assert said in page.words
        assert "userops compare churn 3 4" in page.words
        assert "无法在此查询" in seen(report(live, "churn", "4", ("zh",), page="compare")).words
    assert "u1" in page.words
    named = console.read(f"{PAGE}?first=3&second=4")
    assert said not in named.words
    assert [href for href in named.hrefs() if href.startswith("/console/user?id=u1")]
    monkeypatch.setattr(Desk, "read", lambda self, *asked: read(Desk(home), *asked))
    hidden = console.read(f"{PAGE}?first=3&second=4")
    assert said in hidden.words
    assert not [href for href in hidden.hrefs() if href.startswith("/console/user?")]
