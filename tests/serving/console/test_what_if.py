"""What if: the model's own answer about the changed vector, refused out of range, the same with and without script."""

from __future__ import annotations

import math

import numpy as np
import pytest

from features.catalog import NAMES, USER_FEATURES
from serving.answer import ServedModel
from serving.console import whatif
from serving.console.whatif import Range, range_of
from serving.scoring import Bundle, current

HEAD = "p_inactive_30d"
ADDRESS = f"/user/what-if?model=churn&head={HEAD}"
PAGE = f"/user?model=churn&head={HEAD}"


@pytest.fixture(scope="module")
def user_id(console):
    """Somebody of whom the head has a score."""
    for k in range(40):
        told = console.get(f"{ADDRESS}&id=u{k}").json()
        if told["p"] is not None:
            return f"u{k}"
    raise AssertionError


@pytest.fixture(scope="module")
def model(console):
    return Bundle.load(current(console.home / "releases")).models["churn"]


def test_nothing_changed_is_the_answer_of_the_api(console, user_id):
    question = {"user_ids": [user_id], "explain": {"level": "full", "top_n": 20, "lang": "en"}}
    score = console.client.post("/v1/score/churn", json=question).json()["users"][0]["scores"][HEAD]
    told = console.get(f"{ADDRESS}&id={user_id}").json()
    assert {key: told[key] for key in ("p", "percentile", "explanation")} == {
        key: score[key] for key in ("p", "percentile", "explanation")
    }
    assert told["what_if"] == {}
    assert told["said"]["moved"].startswith("+0.0")


@pytest.mark.parametrize("seed", range(6))
def test_a_change_is_the_model_asked_about_the_changed_vector(console, user_id, published, model, seed):
    draw = np.random.default_rng(seed)
    features = [one for one in USER_FEATURES if one.name in model.features and one.name != "days_since_last_activity"]
    chosen = [features[k] for k in draw.permutation(len(features))[: 1 + seed]]
    # The card says that training saw 0 to 90; the catalogue may allow less.
    ends = [(f.low if f.low is not None else 0.0, min(90.0, f.high if f.high is not None else 90.0)) for f in chosen]
    digits = [0 if whatif.is_counted(f.name) else 3 for f in chosen]
    new = {f.name: float(np.round(draw.uniform(low, high), k))
           for f, (low, high), k in zip(chosen, ends, digits, strict=True)}  # fmt: skip
    told = console.get(f"{ADDRESS}&id={user_id}&" + "&".join(f"w.{name}={value}" for name, value in new.items()))
    assert told.status_code == 200, told.text
    vector = published.values[int(user_id[1:])].copy()
    for name, value in new.items():
        vector[NAMES.index(name)] = value
    x = np.ascontiguousarray(vector[model.columns(NAMES)])[None, :]
    content = told.json()
    assert content["what_if"] == new
    assert content["p"] == float(model.probability(x, HEAD)[0])
    phi, base = model.contributions(x, HEAD)
    shares = {one["feature"]: one["contribution"] for one in content["explanation"]["contributions"]}
    assert shares == dict(zip(model.features, phi[0].tolist(), strict=True))
    assert content["explanation"]["base_value"] == base[0]
    assert "of the model" in f"of {content['of']}"
    assert "world" in content["of"]


def test_the_page_says_what_the_script_says(console, user_id):
    query = f"&id={user_id}&w.orders_30d=7&w.active_days_30d=3"
    told, page = console.get(f"{ADDRESS}{query}").json(), console.read(f"{PAGE}{query}")
    for key in ("was", "now", "moved", "hint"):
        assert told["said"][key] in page.words
    charts = page.charts()
    for name, figure in told["figures"].items():
        assert charts[name] == {"data": figure["data"], "layout": figure["layout"]}
    given = {one.get("name"): one.get("value") for one in page.all("input") if one.get("type") != "checkbox"}
    assert given["w.orders_30d"] == "7"
    assert given["w.active_days_30d"] == "3"
    assert "A what-if of the model, not of the world" in page.words


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ("w.active_days_30d=31", 422, "0 – 30"),
        ("w.active_days_30d=-1", 422, "0 – 30"),
        ("w.orders_trend_90d=1.01", 422, "0 – 1"),
        ("w.orders_30d=inf", 422, "0 – "),
        ("w.orders_30d=nan", 422, "0 – "),
        ("w.orders_30d=1e400", 422, "0 – "),
        ("w.orders_30d=many", 422, "not a number"),
        ("w.orders_30d=2.5", 422, "orders_30d = 2.5 is not a whole number"),
        ("w.no_such=1", 422, "no such feature"),
        ("w.%3Cscript%3E=1", 422, "no such feature"),
    ],
)
def test_out_of_range_is_refused_with_the_range(console, seen, user_id, change, status, said):
    answer = console.get(f"{ADDRESS}&id={user_id}&{change}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    page = console.get(f"{PAGE}&id={user_id}&{change}")
    assert page.status_code == status
    found = seen(page.text)
    assert said in found.words
    assert "why-score" in found.charts()


def test_both_ends_of_a_range_are_in_it(console, user_id):
    for value in ("0", "30"):
        assert console.get(f"{ADDRESS}&id={user_id}&w.active_days_30d={value}").status_code == 200


def test_what_is_not_there_is_a_problem(console, user_id):
    assert console.get(f"/user/what-if?id={user_id}&model=nope&head=x").status_code == 404
    assert console.get(f"/user/what-if?id={user_id}&model=churn&head=nope").status_code == 404
    assert console.get(f"/user/what-if?id=nobody&model=churn&head={HEAD}").status_code == 404
    assert console.get(f"/user/what-if?model=churn&head={HEAD}").status_code == 400


def test_leaving_the_cohort_leaves_no_score_and_says_so(console, user_id):
    query = f"&id={user_id}&w.days_since_last_activity=90.5"
    answer = console.get(f"{ADDRESS}{query}")
    if answer.status_code == 422:  # nobody is silent for so long in this home: the range says so
        assert "90" in answer.json()["expected"]
        return
    told = answer.json()
    assert told["p"] is None
    assert told["status_reason"] == "OUT_OF_COHORT"
    assert "would not be one whom this question is asked about" in told["said"]["cohort"]
    assert told["said"]["moved"] == "–"


def test_the_curve_goes_through_the_present_and_the_asked_value(console, user_id):
    told = console.get(f"{ADDRESS}&id={user_id}&w.orders_90d=11&along=orders_90d").json()
    now = console.get(f"{ADDRESS}&id={user_id}").json()
    line, present, asked, absent = told["figures"]["whatif-curve"]["data"]
    at = dict(zip(line["x"], line["y"], strict=True))
    assert line["x"] == sorted(set(line["x"]))
    assert len(line["x"]) >= whatif.POINTS
    assert asked["x"] == [11.0]
    assert asked["y"] == [told["p"]] == [at[11.0]]
    assert at[present["x"][0]] == present["y"][0] == now["p"]
    assert absent["x"][0] < line["x"][0]
    assert absent["y"] == [console.get(f"{ADDRESS}&id={user_id}&w.orders_90d=absent").json()["p"]]


def test_a_value_that_is_taken_away_is_the_model_asked_without_it(console, user_id, published, model):
    told = console.get(f"{ADDRESS}&id={user_id}&w.days_since_last_purchase=absent&w.orders_30d=2").json()
    vector = published.values[int(user_id[1:])].copy()
    vector[NAMES.index("days_since_last_purchase")], vector[NAMES.index("orders_30d")] = math.nan, 2.0
    x = np.ascontiguousarray(vector[model.columns(NAMES)])[None, :]
    assert told["what_if"] == {"days_since_last_purchase": None, "orders_30d": 2.0}
    assert told["p"] == float(model.probability(x, HEAD)[0])
    shares = {one["feature"]: one["contribution"] for one in told["explanation"]["contributions"]}
    assert shares == dict(zip(model.features, model.contributions(x, HEAD)[0][0].tolist(), strict=True))


@pytest.mark.parametrize(("lang", "said"), [("en", "absent: no purchase yet"), ("zh", "缺失：尚无购买")])
def test_the_page_offers_to_take_a_value_away_and_says_what_that_means(console, seen, user_id, lang, said):
    address = f"{PAGE}&id={user_id}&w.days_since_last_purchase=&w.days_since_last_purchase=absent&add=tenure_days"
    page = console.read(address, lang)
    boxes = {one["name"]: "checked" in one for one in page.all("input") if one.get("type") == "checkbox"}
    assert boxes["w.days_since_last_purchase"]
    assert "w.tenure_days" not in boxes  # everybody has one
    assert "w.tenure_days" in {one.get("name") for one in page.all("input")}
    assert said in page.words
    mark = page.charts()["whatif-curve"]["data"][-1]
    assert mark["text"] == ["asked: no value" if lang == "en" else "假设：无值"]


def test_what_everybody_has_cannot_be_taken_away(console, seen, user_id):
    answer = console.get(f"{ADDRESS}&id={user_id}&w.tenure_days=absent")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "tenure_days is never absent: every user has a value."
    page = seen(console.get(f"{PAGE}&id={user_id}&w.tenure_days=absent", "zh").text)
    assert "tenure_days 不会缺失" in page.words


def test_the_curve_is_the_model_at_every_point(console, user_id, published, model):
    told = console.get(f"{ADDRESS}&id={user_id}&along=days_since_last_purchase").json()
    line = told["figures"]["whatif-curve"]["data"][0]
    rows = np.repeat(published.values[int(user_id[1:])][None, :], len(line["x"]), axis=0)
    rows[:, NAMES.index("days_since_last_purchase")] = line["x"]
    x = np.ascontiguousarray(rows[:, model.columns(NAMES)])
    assert line["y"] == model.probability(x, HEAD).tolist()


def test_features_of_the_same_events_are_named(console, user_id):
    hint = console.get(f"{ADDRESS}&id={user_id}&w.orders_30d=3").json()["said"]["hint"]
    assert "may be asked about a combination that cannot exist" in hint
    assert "orders in the last 7 days" in hint
    served = ServedModel.of(Bundle.load(current(console.home / "releases")), "churn", NAMES, None)
    found = whatif.related({"orders_30d": 3.0}, served)
    assert "orders_90d" in found
    assert "orders_30d" not in found
    assert "views_30d" not in found


def test_value_moves_with_both_factors(console, published):
    for k in range(40):
        address = f"/user/what-if?id=u{k}&model=value&head=spend_30d"
        before = console.get(address).json()
        if before["expected"]:
            break
    after = console.get(f"{address}&w.orders_life=12").json()
    assert math.isclose(after["p"] * after["amount"], after["expected"])
    assert set(after["figures"]) == {"whatif-purchase", "whatif-amount", "whatif-curve"}


def test_a_range_is_the_catalogues_else_what_was_seen():
    card = {"features": [{"name": "spend_30d", "seen": [0.0, 500.0]}]}
    assert range_of("active_days_30d", 3.0, None, {"active_days_30d": (0.0, 25.0)}) == Range(0, 30, (0, 25), False)
    assert range_of("spend_30d", 20.0, card, {"spend_30d": (0.0, 9.0)}) == Range(0.0, 500.0, (0.0, 500.0), True)
    assert range_of("spend_30d", 20.0, None, {"spend_30d": (0.0, 9.0)}) == Range(0.0, 20.0, (0.0, 20.0), False)
    assert range_of("spend_30d", 900.0, card, {}).holds(900.0)
    assert range_of("spend_30d", 9.0, None, {}) == Range(0.0, None, (0.0, 18.0), False)
    for feature in USER_FEATURES:
        span = range_of(feature.name, None, None, {})
        assert span.span[0] < span.span[1]
        assert all(math.isfinite(end) for end in span.span)


def test_too_many_changes_are_refused(console, user_id):
    query = "&".join(f"w.{name}=1" for name in NAMES[:60])
    assert console.get(f"{ADDRESS}&id={user_id}&{query}").status_code == 422


@pytest.mark.parametrize(("unit", "low", "high"), [
    ("share", 0.0, 0.973), ("currency", 0.0, 18234.7), ("days", 0.4, 394.2), ("rate", 0.00013, 0.0841),
    ("index", -1.0, 1.0),
])  # fmt: skip
def test_a_slider_writes_numbers_of_few_digits(unit, low, high):
    step = whatif.step_of(unit, high - low)
    first, last = whatif.on_steps(low, high, step)
    assert low <= first < last <= high
    assert 190 <= (high - low) / step <= 510
    for place in (0, 1, 7, 130):
        digits = f"{first + place * step:.12g}".replace(".", "").replace("-", "").strip("0")
        assert len(digits) <= 4, digits
