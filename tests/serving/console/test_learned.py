"""The page of what a version learned shows the file's own numbers, in words, and copes with what is not there."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from configs import read_yaml
from features.catalog import NAMES
from serving.console.charts_learned import bars, letters
from serving.console.charts_swarm import beeswarm, dependence
from serving.console.features_said import FeatureWords
from serving.console.words import words

PAGE = "/models/churn/3/learned"
HEAD = "p_inactive_30d"


@pytest.fixture(scope="module")
def content(console):
    return json.loads((console.home / "desk/churn/3/learned" / f"{HEAD}.json").read_text())


@pytest.fixture(scope="module")
def rich(console, desk_files):
    """Version 5 with all that real files hold beside those made by hand; version 6 with as little as may be."""
    full = desk_files.learned("5", HEAD)
    grid = np.linspace(-3, 2, 9)
    full["curve"] = {
        "raw": grid.tolist(),
        "answer": (1 / (1 + np.exp(-grid))).tolist(),
        "quantiles": [-2.8, -2, -1, 0, 0.5, 1, 1.9],
    }
    full["stability"] |= {"seeds": [8], "overlap": 0.9, "first": 0.95}
    poor = desk_files.learned("6", HEAD)
    told = {"en": "not measured, and why", "zh": "未测量及原因"}
    poor |= {
        "interactions": {"status": "not_measured", "words": told},
        "stability": {"status": "not_measured", "words": told},
        "flips": {"against": None, "features": []},
        "groups": [], "parts": {}, "by_segment": {},
    }  # fmt: skip
    for version, one in (("5", full), ("6", poor)):
        files = {"card.json": desk_files.card(version, "sha256:0"), f"learned/{HEAD}.json": one}
        desk_files.write(console.home, version, files)
    amount = {**full, "unit": "log_amount", "flips": {"against": "4", "features": []}}
    desk_files.write(console.home, "5", {f"learned/{HEAD}.amount.json": amount})
    return full


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_says_what_is_explained_and_of_whom(console, content, lang):
    page = console.read(f"{PAGE}?head={HEAD}", lang)
    assert content["sample"]["words"][lang] in page.words
    assert ("log-odds" if lang == "en" else "对数几率") in page.words
    assert ("exact TreeSHAP" if lang == "en" else "精确的 TreeSHAP") in page.words


def test_a_tab_per_head_and_the_first_is_open(console):
    page = console.read(PAGE)
    tabs = [one for one in page.all("a") if re.fullmatch(r"\?head=\w+", str(one.get("href")))]
    assert [one["href"] for one in tabs] == [f"?head=p_inactive_{days}d" for days in (14, 30, 60)]
    assert [one.get("aria-current") for one in tabs] == ["page", None, None]


def test_the_swarm_shows_every_person_of_the_sample(console, content):
    figure = console.read(f"{PAGE}?head={HEAD}").charts()["swarm"]
    dots = [(x, round(y)) for trace in figure["data"] for x, y in zip(trace["x"], trace["y"], strict=True)]
    for place, name in enumerate(content["features"]):
        shown = sorted(x for x, at in dots if at == place)
        assert shown == pytest.approx(sorted(content["contributions"][name]), abs=1e-4)
    absent = figure["data"][1]
    assert len(absent["x"]) == sum(value is None for name in content["features"] for value in content["values"][name])
    assert all(text for trace in figure["data"] for text in trace["text"])


def test_bars_are_the_files_and_mark_groups(console, content):
    page = console.read(f"{PAGE}?head={HEAD}")
    figure = page.charts()["bars"]
    assert figure["data"][0]["x"] == [bar["mean_abs"] for bar in content["bars"]]
    assert [label.endswith("[A]") for label in figure["layout"]["yaxis"]["ticktext"]] == [
        True,
        True,
        False,
        False,
        False,
    ]
    for bar in content["bars"]:
        assert f"{bar['mean_abs']:.4f}" in page.words
        assert bar["feature"] in page.words


def test_one_feature_is_chosen_by_the_query_and_keeps_the_rest(console, content):
    name = content["features"][2]
    page = console.read(f"{PAGE}?head={HEAD}&feature={name}")
    chosen = [one["value"] for one in page.all("option") if "selected" in one]
    assert chosen == [name]
    hidden = {one["name"]: one["value"] for one in page.all("input") if one.get("type") == "hidden"}
    assert hidden["head"] == HEAD
    figure = page.charts()["dependence"]
    shown = sorted(zip(*(np.concatenate([trace[axis] for trace in figure["data"]]) for axis in "xy"), strict=True))
    expected = sorted(zip(content["values"][name], content["contributions"][name], strict=True))
    assert np.array(shown) == pytest.approx(np.array(expected), abs=1e-4)


def test_an_absent_value_stands_apart(console, content):
    name = content["features"][4]
    values = [value for value in content["values"][name] if value is not None]
    figure = console.read(f"{PAGE}?head={HEAD}&feature={name}").charts()["dependence"]
    apart = figure["data"][2]
    assert len(apart["x"]) == len(content["values"][name]) - len(values) == 6
    assert max(apart["x"]) < min(values)
    assert apart["marker"]["symbol"] == "diamond"
    assert figure["layout"]["annotations"][0]["text"] == "no value"


def test_the_partner_colours_it(console, content):
    a, b = content["interactions"][0]["a"], content["interactions"][0]["b"]
    page = console.read(f"{PAGE}?head={HEAD}&feature={a}")
    assert f"({b})" in page.words[page.words.index("Colour:") :]
    assert page.words.count("low value high value ○ no value") == 2
    assert "colorbar" not in page.html  # it would write style attributes
    alone = console.read(f"{PAGE}?head={HEAD}&feature={content['features'][4]}")
    assert "Colour:" not in alone.words


def test_what_the_query_may_ask_for_is_listed_in_the_file(console, hostile):
    page = console.get(f"{PAGE}", params={"head": HEAD, "feature": hostile, "by": hostile, "part": hostile})
    assert page.status_code == 200
    assert hostile not in page.text
    unknown = console.get(f"{PAGE}", params={"head": hostile})
    assert unknown.status_code == 404
    assert hostile not in unknown.text


def test_flips_are_flagged_on_top_and_listed(console, desk_files):
    page = console.read("/models/churn/4/learned")
    assert "Reasons that changed direction since version 3: 1." in page.words
    assert "#flips" in page.hrefs()
    flipped = desk_files.learned("4", HEAD)["flips"]["features"][0]["feature"]
    assert f"({flipped})" in page.words[page.words.index("Reasons that changed direction") :]
    assert "↑ raises the score (+0.60)" in page.words
    assert "↓ lowers the score (-0.50)" in page.words
    assert "#flips" not in console.read(PAGE).hrefs()


def test_stability_is_told_in_words(console, rich):
    page = console.read("/models/churn/5/learned")
    assert "The strongest reasons stay." in page.words
    assert "90 %" in page.words
    assert "95 %" in page.words


def test_calibration_is_drawn_and_told(console, rich):
    page = console.read("/models/churn/5/learned")
    curve = page.charts()["curve"]["data"][0]
    assert curve["y"] == pytest.approx(rich["curve"]["answer"], rel=1e-3)
    assert "the probability is 50.0%" in page.words


def test_the_amount_of_a_value_model_is_a_second_half(console, rich):
    both = console.read("/models/churn/5/learned")
    assert f"?head={HEAD}&part=amount" in both.hrefs()
    amount = console.read(f"/models/churn/5/learned?head={HEAD}&part=amount")
    assert "logarithm of the mean amount" in amount.words
    assert "no list of contributions adds up to their product" in amount.words


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_was_not_measured_is_said(console, rich, lang):
    page = console.read("/models/churn/6/learned", lang)
    assert page.words.count({"en": "not measured, and why", "zh": "未测量及原因"}[lang]) == 2
    assert {"swarm", "bars", "dependence"} == set(page.charts())


@pytest.mark.parametrize(("lang", "said"), [("en", "0.0521 per day"), ("zh", "每天 0.0521")])
def test_a_rate_is_the_number_of_its_axis(lang, said):
    names = FeatureWords(None, words(lang))
    assert names.value("orders_per_day", 0.05213) == said
    assert names.axis("orders_per_day").endswith("(per day)" if lang == "en" else "(每天)")


def test_on_how_many_rows_pairs_were_measured_is_said_where_it_is_known(console, desk_files):
    told = desk_files.learned("7", HEAD) | {"interactions_rows": 25}
    files = {"card.json": desk_files.card("7", "sha256:0"), f"learned/{HEAD}.json": told}
    desk_files.write(console.home, "7", files)
    assert "Measured on 25 of the 60 above" in console.read("/models/churn/7/learned").words
    assert "在上述 60 个样本中等距抽取 25 个计算" in console.read("/models/churn/7/learned", "zh").words
    assert "evenly drawn" not in console.read(f"{PAGE}?head={HEAD}").words


def test_parts_by_the_query(console, content):
    page = console.read(f"{PAGE}?head={HEAD}&by=tenure")
    told = page.words[page.words.index("By part of the customers") :]
    places = [told.index(words) for words in ("up to 30 days", "31 to 90 days", "91 to 365 days")]
    assert places == sorted(places)
    assert told.count("n = 20") == len(content["by_segment"]["tenure"])
    assert f"{100 * content['bars'][0]['share']:.0f} %" in told
    shades = [one["class"] for one in page.all("td") if str(one.get("class", "")).startswith("shade")]
    assert len(shades) == sum(len(one["top"]) for one in content["by_segment"]["tenure"])
    assert shades[0] == "shade9"


@pytest.mark.parametrize("version", ["churn/2", "churn/99", "repurchase/3"])
def test_no_file_says_how_to_write_one(console, version):
    answer = console.get(f"/models/{version}/learned")
    assert answer.status_code == 404
    assert "userops report" in answer.text


def test_by_role(console):
    assert "churn, version 3" in console.read("/models/churn/champion/learned").words
    assert console.get("/models/nothing/champion/learned").status_code == 404


def test_every_chart_has_its_table_and_the_page_stays_small(console, rich):
    page = console.read("/models/churn/5/learned")
    assert len(page.charts()) == page.html.count("<details><summary>")
    assert len(page.html) < 300_000


def wide(features=200, people=400):
    """A file as large as one may become: 200 features, of which 20 are kept row by row."""
    rng = np.random.default_rng(0)
    names = [NAMES[k] if k < len(NAMES) else f"other_{k}" for k in range(features)]
    shown = names[:20]
    sizes = np.sort(rng.random(features))[::-1]
    return {
        "unit": "log_odds",
        "sample": {"rows": people},
        "bars": [
            {"feature": name, "mean_abs": size, "share": size / sizes.sum(), "direction": 0.1, "group": None}
            for name, size in zip(names, sizes.tolist(), strict=True)
        ],
        "features": shown,
        "values": {name: rng.normal(size=people).round(4).tolist() for name in shown},
        "contributions": {name: rng.normal(size=people).round(5).tolist() for name in shown},
        "groups": [{"id": f"g{k}", "features": names[:2]} for k in range(1, 31)],
    }


def test_two_hundred_features_embed_little():
    file, said, t = wide(), FeatureWords(None, words("en")), words("en")
    charts = [beeswarm(file, said, t), bars(file, said, t), dependence(file, NAMES[0], NAMES[1], said, t)]
    size = sum(len(json.dumps({"data": one["data"], "layout": one["layout"]})) for one in charts)
    assert size < 250_000
    assert len(charts[1]["table"]["rows"]) == 200
    assert list(letters(file).values())[24:27] == ["Y", "Z", "27"]


def test_of_a_large_sample_every_second_person_is_drawn_and_all_are_told():
    file, said, t = wide(), FeatureWords(None, words("en")), words("en")
    figure = beeswarm(file, said, t)
    dots = {place: [] for place in range(12)}
    for x, y in zip(figure["data"][0]["x"], figure["data"][0]["y"], strict=True):
        dots[round(y)].append(x)
    for place, name in enumerate(file["features"][:12]):
        assert dots[place] == pytest.approx(file["contributions"][name][::2], abs=1e-4)
        lowest = figure["table"]["rows"][place][4]
        assert float(lowest) == pytest.approx(min(file["contributions"][name]), abs=1e-3)


def test_dots_lie_where_they_lay_before_and_apart_from_each_other():
    file, said, t = wide(), FeatureWords(None, words("en")), words("en")
    first, second = (beeswarm(file, said, t) for _ in range(2))
    assert first == second
    heights = np.array(first["data"][0]["y"])
    assert np.abs(heights - heights.round()).max() <= 0.42 + 1e-9


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_labels_keep_every_word_in_short_lines(name, lang):
    said = FeatureWords(None, words(lang))
    label = said.wrapped(name, 99)
    assert re.sub(r"\s", "", label.replace("<br>", "")) == re.sub(r"\s", "", said.meaning(name))
    width = {"en": 27, "zh": 22}[lang]
    assert all(len(line) <= width for line in label.split("<br>"))


def test_none_of_the_days_that_are_counted_is_no_short_time():
    said = FeatureWords(None, words("en"))
    for name in ("active_days_14d", "purchase_days_life"):
        assert said.value(name, 0.0) == "0 days"
    assert said.value("days_since_last_visit", 0.0) == "less than a day"
    assert FeatureWords(None, words("zh")).value("active_days_14d", 0.0) == "0 天"


def test_names_from_elsewhere_are_text(hostile):
    card = {"features": [{"name": "x", "meaning": {"en": hostile, "zh": hostile}, "unit": "days", "absent": hostile}]}
    said = FeatureWords(card, words("en"))
    assert "<img" not in said.wrapped("x", 99).replace("<br>", "")
    assert "<script" not in said.axis("x")
    assert said.full("y") == "y"


def test_every_unit_and_part_has_its_words():
    known = words("en").known
    from configs import configs_folder
    from features.catalog import USER_FEATURES

    units = {one.unit for one in USER_FEATURES} | set(read_yaml(configs_folder() / "reasons_interest.yaml")["units"])
    assert [unit for unit in units if not known(f"learned.unit.{unit}")] == []
