"""The card of a version: its numbers are those of the desk, everything from outside is text, every table is told."""

from __future__ import annotations

import json

import pytest

from serving.console.card import tidied
from serving.console.card_head import _parts
from serving.console.charts_card import _wilson
from serving.console.measures import MEASURES, against, best, listed, measure, ready
from serving.console.words import words


@pytest.fixture(scope="module")
def card(console):
    return json.loads((console.home / "desk" / "churn" / "3" / "card.json").read_text())


def test_by_number_and_by_role_it_is_the_same_card(console):
    assert console.read("/models/churn/champion").words == console.read("/models/churn/3").words
    assert "churn, version 4" in console.read("/models/churn/challenger").words


def test_what_it_is_for_and_whom(console):
    page = console.read("/models/churn/3")
    for said in ("choose whom to write to", "says nothing of people without consent", "active in the last 90 days",
                  "does nothing within 14 days", "104,078 of 5,985 users", "24 days from 2025-12-08 to 2026-10-26",
                  "use the model: surely better than RFM regression"):  # fmt: skip
        assert said in page.words
    chinese = console.read("/models/churn/3", "zh")
    for said in ("选择联系哪些用户", "不适用于未同意的用户", "14天内没有任何行为", "近90天有活动"):
        assert said in chinese.words


@pytest.mark.parametrize(("lang", "said"), [("en", "nobody ordered"), ("zh", "无人下单")])
def test_what_is_left_out_is_said_in_the_readers_language_and_as_older_versions_said_it(
    console, desk_files, card, lang, said
):
    left_out = {"first_order": {"en": "nobody ordered", "zh": "无人下单"}, "p_inactive_60d": "too few rows"}
    desk_files.write(console.home, "3", {"card.json": {**card, "left_out": left_out}})
    try:
        page = console.read("/models/churn/3", lang)
    finally:
        desk_files.write(console.home, "3", {"card.json": card})
    assert f"first_order: {said}" in page.words
    assert f"{card['heads']['p_inactive_60d']['meaning'][lang]}: too few rows" in page.words


def test_numbers_stand_beside_the_baselines_and_the_best_is_said(console):
    words = console.read("/models/churn/3").words
    assert "log loss lower is better 0.4400 best 0.4200 – 0.4600 0.4700 0.4630" in words
    assert "lift in the top 10 % higher is better 3.07 × best 2.87 × – 3.27 × 2.97 ×" in words


def test_a_head_is_chosen_by_its_link(console):
    page = console.read("/models/churn/3?head=p_inactive_60d")
    assert "/console/models/churn/3?head=p_inactive_30d#how-good" in page.hrefs()
    chosen = [one for one in page.all("a") if one.get("aria-current") == "true"]
    assert [one["href"] for one in chosen] == ["/console/models/churn/3?head=p_inactive_60d#how-good"]
    nonsense = console.read("/models/churn/3?head=<script>")
    assert "p_inactive_14d" in next(one for one in nonsense.all("a") if one.get("aria-current") == "true")["href"]


def test_every_curve_of_the_gain_is_named_and_looks_its_own(console, card):
    traces = console.read("/models/churn/3").charts()["gain"]["data"]
    names = [trace["name"] for trace in traces]
    curves = card["heads"]["p_inactive_14d"]["curves"]["gain"]
    assert len(set(names)) == len(names) == len(curves), "the model, each baseline and chance; not the share"
    assert all(trace.get("showlegend", True) for trace in traces)
    looks = [(trace["line"]["color"], trace["line"].get("dash")) for trace in traces]
    assert len({colour for colour, _ in looks}) == len(looks)


def test_parts_stand_in_natural_order():
    rows = [{"by": by, "part": part, "rows": 9, "metrics": {}} for by, part in (
        ("tenure", "91-365 d"), ("tenure", "over 365 d"), ("tenure", "31-90 d"), ("tenure", "up to 30 d"),
        ("channel", "web"), ("channel", "app"), ("value", "middle"), ("value", "low"), ("value", "high"),
        ("value", "none"), ("store", "s10"), ("store", "unknown"), ("store", "s2"), ("store", "2"),
    )]  # fmt: skip
    found, _ = _parts(words("en"), {"segments": rows})
    assert [row["part"] for row in found] == [
        *("up to 30 d", "31-90 d", "91-365 d", "over 365 d", "web", "app", "none", "low", "middle", "high"),
        *("2", "s2", "s10", "unknown"),
    ]


def test_charts_hold_the_numbers_of_the_card(console, card):
    charts = console.read("/models/churn/3").charts()
    curves = card["heads"]["p_inactive_14d"]["curves"]
    assert sorted(charts) == ["calibration", "gain", "parts", "scores"]
    drawn = charts["calibration"]["data"][1]
    assert drawn["x"] == [one["mean_prediction"] for one in curves["calibration"]]
    assert drawn["y"] == [one["rate"] for one in curves["calibration"]]
    assert charts["gain"]["data"][-1]["y"] == [0.0, *curves["gain"]["model"]]
    assert [trace["y"] for trace in charts["scores"]["data"]] == [curves["scores"]["without"], curves["scores"]["with"]]
    assert charts["parts"]["data"][0]["x"] == [
        one["metrics"]["log_loss"]["value"] for one in card["heads"]["p_inactive_14d"]["segments"]
    ]


def test_the_mapping_from_raw_score_to_probability_is_said(console):
    page = console.read("/models/churn/3")
    assert "probability = 1 / (1 + exp(−(1.050 × s − 0.030)))" in page.words
    assert "The best-scored 10 % hold 32 % of all cases, 3.2 times as many as by chance" in page.words


def test_checks_explain_themselves_and_fold_their_evidence(console, hostile):
    page = console.read("/models/churn/4")
    order = [page.words.index(code) for code in ("P004", "P005", "P008", "P001")]
    assert order == sorted(order)  # what blocks first
    assert "P004 Is it better than every free baseline? blocks Not better than a baseline. P004 looked at" in page.words
    assert "P001 Does a feature know the label? passed P001 looked at" in page.words
    assert "Next: Run: userops backtest churn" in page.words
    assert '"auroc": 0.7356' in page.words
    assert hostile in page.words
    assert "<img src=x" not in page.html


def test_features_say_meaning_unit_and_range(console, card):
    page = console.read("/models/churn/3")
    for one in card["features"]:
        assert one["meaning"]["en"] in page.words
        assert one["name"] in page.words
    heaviest = card["heads"]["p_inactive_14d"]["weights"][0]["feature"]
    first = next(one["meaning"]["en"] for one in card["features"] if one["name"] == heaviest)
    assert page.words.index(f"{first} {heaviest}") < page.words.index("25.0 %")


def test_lineage_and_the_trail_of_the_audit_table(console, card, hostile):
    page = console.read("/models/churn/3")
    for said in (card["run_id"], card["lineage"]["code"], card["data"]["data_hash"], card["model_json"]):
        assert said in page.words
    assert "approved reads well" in page.words
    assert "lin" in page.words
    challenger = console.read("/models/churn/4")
    assert f"why? {hostile}" in challenger.words
    assert "rejected about other files the older files" in challenger.words


def test_the_form_signs_the_files_that_are_shown(console, card):
    page = console.read("/models/churn/3")
    form = next(one for one in page.all("form") if one["action"].endswith("/sign"))
    assert (form["method"], form["action"]) == ("post", "/console/models/churn/3/sign")
    fields = {one["name"]: one for one in [*page.all("input"), *page.all("textarea")] if "name" in one}
    assert fields["model_json"]["value"] == card["model_json"]
    assert fields["key"]["type"] == "password"
    assert {one["value"] for one in page.all("input") if one.get("name") == "word"} == {"approved", "rejected", "asked"}


def test_a_card_that_leaves_out_what_has_no_meaning(console, desk_files, card):
    bare = {**card, "version": "5", "split": {}, "data": {}, "search": None, "lineage": {"run_id": "r"}}
    head = {"meaning": {"en": "buys it", "zh": "购买"}, "cohort": None, "horizon_days": None, "unit": "probability",
            "metrics": {}, "baselines": {}, "curves": {}, "calibrator": None, "readiness": None, "weights": [],
            "judged": {"en": "Not judged yet.", "zh": "尚未评估。"},
            "segments": {"status": "not_measured", "words": {"en": "Not by segment.", "zh": "未按人群。"}}}  # fmt: skip
    desk_files.write(console.home, "5", {"card.json": {**bare, "heads": {"item": head}}})
    try:
        page = console.read("/models/churn/5")
        assert "Not judged yet." in page.words
        assert "Not by segment." in page.words
        assert "No check was run on this version" in page.words
        assert not page.charts()
        assert "尚未评估" in console.read("/models/churn/5", "zh").words
    finally:
        (console.home / "desk" / "churn" / "5" / "card.json").unlink()
        (console.home / "desk" / "churn" / "5").rmdir()


def test_released_without_a_card_says_what_writes_it(console, seen):
    answer = console.get("/models/repurchase/3")
    assert answer.status_code == 404
    page = seen(answer.text)
    assert "has no card for reviewers yet" in page.words
    assert "userops report repurchase --version 3" in page.words
    assert "There is no version 8" in seen(console.get("/models/repurchase/8").text).words


@pytest.mark.parametrize("code", [*MEASURES, "vs_x.auroc", "buyers"])
def test_the_best_is_never_beaten(code):
    values = {"a": 0.3, "b": -0.1, "c": 2.0, "d": None}
    one = measure(code)
    winner = best(one, values)
    if not one.better:
        assert winner is None
    else:
        assert winner == {"high": "c", "low": "b", "zero": "b"}[one.better]
    assert best(one, {}) is None


def test_what_decides_comes_first_and_differences_are_left_out():
    codes = [one.code for one in listed(["auroc", "log_loss", "vs_rfm.auroc", "odd", "ece"], "ece")]
    assert codes == ["ece", "log_loss", "auroc", "odd"]


def test_a_measure_stands_beside_the_best_baseline():
    found = against(
        {"auroc": {"value": 0.8, "ci": None}}, {"x": {"auroc": 0.7}, "y": {"auroc": 0.75}, "z": {}}, "auroc"
    )
    assert found is not None
    assert (found["baseline"], found["other"], found["ci"]) == ("y", 0.75, None)
    assert against({}, {}, "auroc") is None


def test_advice_names_baselines_in_words():
    advice = {"baseline": "bg_nbd", "text": {"en": "surely better than bg_nbd, +0.1", "zh": "确定优于 bg_nbd，+0.1"}}
    assert ready(words("en"), advice) == "surely better than BG/NBD, +0.1"
    assert ready(words("zh"), None) == ""


def test_intervals_of_shares_hold_the_share():
    for rate in (0.0, 1e-6, 0.5, 1.0):
        for rows in (1, 10, 1e6):
            low, high = _wilson(rate, rows)
            assert 0.0 <= low <= rate <= high <= 1.0


def test_evidence_is_cut_to_what_people_read():
    told = tidied({"parts": [0.123456789] * 100, "n": 3, "big": 123456.7, "none": None})
    assert told == {"parts": [0.1235] * 40 + ["… 60 more"], "n": 3, "big": 123457, "none": None}
