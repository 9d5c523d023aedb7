"""What people call things: names of the configs in both languages, and the data's own where there are none."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from configs import load
from configs.errors import ConfigError
from features.simulate.assortment import CATEGORIES
from serving.console.naming import category_said
from serving.console.telling import rule_said
from serving.console.words import LANGUAGES, words
from serving.decision.source import compile_policy
from serving.nbo.anatomy import names_of
from serving.nbo.rules import OFFERS


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_category_of_the_demo_has_a_name(lang):
    said = {category_said(words(lang), one.category_id) for one in CATEGORIES}
    assert len(said) == len(CATEGORIES)
    assert all(text.isascii() is (lang == "en") and "_" not in text for text in said)


def test_a_shop_without_names_and_one_with_half_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_CONFIGS", str(tmp_path / "none"))
    assert category_said(words("zh"), "pet_food") == "pet_food"
    monkeypatch.setenv("USEROPS_CONFIGS", str(tmp_path))
    (tmp_path / "categories.yaml").write_text("851: {en: mugs}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"categories\.yaml: 851"):
        category_said(words("zh"), "851")


def test_offers_are_called_by_their_name_of_the_language_else_by_the_one_they_have():
    offers = [{"offer_id": "a", "name": "Tea", "name_zh": "茶"}, {"offer_id": "b", "name": "Mug"}, {"offer_id": "c"}]
    documents = {OFFERS: json.dumps({"offers": offers}).encode()}
    release = SimpleNamespace(bundle=SimpleNamespace(documents=documents))
    assert names_of(release, "zh") == {"a": "茶", "b": "Mug"}
    assert names_of(release) == {"a": "Tea", "b": "Mug"}


def test_every_offer_of_the_demo_has_a_name_in_both_languages():
    offers = json.loads(compile_policy(load())[1])["offers"]
    assert all(one["name"] and not one["name_zh"].isascii() for one in offers)


def test_rules_name_offers_and_categories_as_people_do():
    t, names = words("zh"), {"mug": "马克杯"}
    assert rule_said(t, "suppression", "not_interested:mug", names=names) == "用户对马克杯不感兴趣"
    assert rule_said(t, "suppression", "not_interested_neighbour:pet_food:0.20", names=names).startswith("宠物食品与")
    assert rule_said(t, "suppression", "need_satisfied:baby:3.0d<7.5d") == "3.0 天前买过母婴；平常间隔 7.5 天"
    assert rule_said(t, "suppression", "not_interested:i0042", names=names) == "用户对 i0042 不感兴趣"
