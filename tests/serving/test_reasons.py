"""Every feature of the catalogue has its sentence, in both languages, and it reads as one would say it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

import configs
from configs.documents import LANGUAGES
from configs.errors import ConfigError
from features.catalog import NAMES, USER_FEATURES
from serving.reasons import Reasons, write_number

PATH = configs.configs_folder() / "reasons.yaml"


@pytest.fixture(scope="module")
def reasons():
    return Reasons.load(PATH, USER_FEATURES)


def say(reasons, feature, lang, **values):
    return reasons.text(feature, lang, values.get)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("feature", NAMES)
def test_every_feature_has_a_code_and_sentences(reasons, feature, lang):
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", reasons.code(feature))
    low = say(reasons, feature, lang, **dict.fromkeys(NAMES, 0.37))
    absent = say(reasons, feature, lang)
    for text in (low, absent):
        assert len(text) > 3
        assert not re.search(r"[{}\[\]|]|None|nan", text)
        assert bool(re.search(r"[\u4e00-\u9fff]", text)) == (lang == "zh")


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("feature", USER_FEATURES, ids=lambda feature: feature.name)
def test_a_sentence_holds_at_the_ends_of_a_features_range(reasons, feature, lang):
    ends = {feature.low or 0.0, 0.0, 1.0, 1e-9, feature.high if feature.high is not None else 1e6}
    for value in ends:
        for others in (0.0, value, 1e6):  # sentences name other features beside their own
            text = say(reasons, feature.name, lang, **{**dict.fromkeys(NAMES, others), feature.name: value})
            assert len(text) > 3
            assert not re.search(r"[{}\[\]|]|None|nan|inf|-0\b|e[+-]\d", text)
            assert bool(re.search(r"[\u4e00-\u9fff]", text)) == (lang == "zh")


def test_a_sentence_differs_from_the_one_for_no_value(reasons):
    for feature in NAMES:
        assert say(reasons, feature, "en", **dict.fromkeys(NAMES, 1.0)) != say(reasons, feature, "en")


@pytest.mark.parametrize(
    ("feature", "values", "zh", "en"),
    [
        (
            "days_since_last_purchase",
            {"days_since_last_purchase": 23.4, "purchase_gap_mean_days": 12.0},
            "已经 23 天没有购买（平时每 12 天一次）",
            "23 days since the last purchase (usually every 12 days)",
        ),
        (
            "days_since_last_purchase",
            {"days_since_last_purchase": 1.0},
            "已经 1 天没有购买",
            "1 day since the last purchase",
        ),
        ("days_since_last_purchase", {}, "尚无购买", "no purchase yet"),
        ("orders_30d", {"orders_30d": 0.0}, "近 30 天下单 0 次", "no orders in the last 30 days"),
        ("orders_30d", {"orders_30d": 1.0}, "近 30 天下单 1 次", "1 order in the last 30 days"),
        ("spend_90d", {"spend_90d": 1234.5}, "近 90 天消费 1,234.50", "spent 1,234.50 in the last 90 days"),
        (
            "orders_trend_90d",
            {"orders_trend_90d": 0.25},
            "近 180 天的订单中有 25% 在近 90 天",
            "25% of the orders of 180 days fell in the last 90",
        ),
        ("orders_per_day", {"orders_per_day": 0.05}, "平均每 30 天约 1.5 单", "about 1.5 orders per 30 days"),
    ],
)
def test_sentences(reasons, feature, values, zh, en):
    assert say(reasons, feature, "zh", **values) == zh
    assert say(reasons, feature, "en", **values) == en


@given(st.floats(-1e12, 1e12), st.sampled_from(sorted({f.unit for f in USER_FEATURES})), st.sampled_from(LANGUAGES))
def test_any_number_can_be_written(value, unit, lang):
    text = write_number(value, unit, lang)
    assert text
    assert not text.startswith("-0 ")
    assert "e" not in text.replace("less than a day", "")


@dataclass(frozen=True)
class Feature:
    name: str
    unit: str


ENTRY = {"feature": "a", "code": "A", "zh": "甲 {value}", "en": "a {value}", "absent": {"zh": "无", "en": "none"}}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "exactly one reason"),
        ([ENTRY, ENTRY], "exactly one reason"),
        ([{**ENTRY, "feature": "b"}], "exactly one reason"),
        ([{**ENTRY, "en": "a {other}"}], "catalogue feature"),
        ([{**ENTRY, "en": "a {w}"}], "catalogue feature"),
        ([{**ENTRY, "en": ""}], "catalogue feature"),
        ([{k: v for k, v in ENTRY.items() if k != "zh"}], "incomplete"),
        ([{**ENTRY, "absent": {"zh": "无"}}], "incomplete"),
    ],
)
def test_no_silent_fallback(entries, message):
    with pytest.raises(ConfigError, match=message):
        Reasons(entries, [Feature("a", "count")], "reasons.yaml")
