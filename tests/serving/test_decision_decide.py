"""What is decided, and why not the rest: stages, statuses, money, and what must not change an answer."""

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import load
from configs.errors import ObjectiveUnavailable
from serving.decision.decide import decide, fall_back
from serving.decision.inputs import Action, GlobalCount, Inputs, Need
from serving.decision.offer_fields import Vocabulary, read_offers
from serving.decision.offers import Catalogue
from serving.decision.policy import Policy
from serving.decision.policy_fields import read_policy
from serving.decision.result import Decision, Propensity, Target
from serving.decision.source import compile_policy

NOW = 1_790_000_000_000_000  # a Monday, 14:13 UTC
DAY = 86_400_000_000
FALLBACK = {"offer_id": "fb", "fallback": "popular"}
RULES = {
    "version": "v1",
    "channels": {"app": {}, "web": {}, "sms": {"push": True, "contact_cost": 0.05, "needs_consent": True}},
    "lifecycle_states": ["new", "active", "dormant"],
    "value_tiers": ["core", "potential"],
    "exploration": {"epsilon": 0.0, "max_epsilon": 0.5},
}
GENTLE = [{"limit": 3, "window": {"n": 7, "rolling": True}}]


def policy_of(**changes) -> Policy:
    policy, _ = read_policy(json.loads(json.dumps({**RULES, **changes})))
    return Policy.load({**policy, "digest": "sha256:x"})


def catalogue_of(*offers, sets=None) -> Catalogue:
    known = Vocabulary(tuple(RULES["channels"]), ("new", "active", "dormant"), ("core", "potential"), sets or {})
    return Catalogue(read_offers([*offers, FALLBACK], ("offers",), known))


def offer(offer_id, category=None, value=10.0, **more):
    target = {} if "items" in more else {"categories": [category or f"c_{offer_id}"]}
    return {"offer_id": offer_id, "value": value, "margin": 1.0, **target, **more}


def inputs_of(**changes) -> Inputs:
    default = {"context": {"channel": "app", "placement": "home"}, "limit": 3, "explain_level": "full"}
    return Inputs("d_1", "r_1", "u_1", NOW, **{**default, **changes})


def flat(targets):
    return [Propensity(0.1, 0.05, 0.2)] * len(targets)


def run(*offers, policy=None, score=flat, sets=None, **changes) -> Decision:
    return decide(inputs_of(**changes), policy or policy_of(), catalogue_of(*offers, sets=sets), score)


def why(decision, offer_id):
    return next((f"{one.stage}: {one.rule}" for one in decision.dropped if one.offer_id == offer_id), None)


def shown(decision):
    return [one.offer_id for one in decision.chosen]


# ---- eligibility -------------------------------------------------------------------------------------------------

ELIGIBLE = [
    ({"valid_from": "2999-01-01"}, {}, "not_yet_valid"),
    ({"valid_to": "2001-01-01"}, {}, "expired"),
    ({"channels": ["web"]}, {}, "channel=app"),
    ({"placements": ["cart"]}, {}, "placement=home"),
    ({"scenarios": ["winback"]}, {}, "scenario=unknown"),
    ({"stores": ["s1"]}, {"context": {"channel": "app", "store_id": "s2"}}, "store=s2"),
    ({"stores": ["s1"]}, {}, "store=unknown"),
    ({"lifecycle_states": ["dormant"]}, {"lifecycle_state": "active"}, "lifecycle_state=active"),
    ({"lifecycle_states": ["dormant"]}, {}, "lifecycle_state=unknown"),
    ({"value_tiers": ["core"]}, {"value_tier": "potential"}, "value_tier=potential"),
    ({"tags": {"any_of": ["a", "b"]}}, {"tags": {"c": 1.0}}, "tags.any_of"),
    ({"tags": {"all_of": ["a", "b"]}}, {"tags": {"a": 1.0}}, "tags.all_of"),
    ({"tags": {"none_of": ["a"]}}, {"tags": {"a": 1.0}}, "tags.none_of"),
    ({"consents": ["ads"]}, {"consent": {"ads": False}}, "consents"),
    ({"when": "context.placement == 'cart'"}, {}, "when:context.placement == 'cart'"),
    ({"when": "offer.value > 50.0"}, {}, "when:offer.value > 50.0"),
    ({"when": "user.scores.p > 0.5"}, {}, "when:user.scores.p > 0.5"),
    ({"when": "user.scores.p > 'x'"}, {"scores": {"p": 1.0}}, "when_failed:TypeError:user.scores.p > 'x'"),
    ({"items": ["i1"]}, {"stock": {"i1": 0.0}}, "store_stock=0"),
    ({"items": ["i1"]}, {"store_items": frozenset(["i2"]), "context": {"store_id": "s1"}}, "not_in_store:s1"),
    (
        {"categories": ["x"]},
        {"store_categories": frozenset(["y", "c_b"]), "context": {"store_id": "s1"}},
        "not_in_store:s1",
    ),
    ({"items": ["i1"]}, {"items": {"i1": {"valid_to_us": NOW}}}, "item_off_sale"),
    ({"items": ["i1"]}, {"items": {"i1": {"valid_from_us": NOW + 1}}}, "item_not_yet_on_sale"),
]


@pytest.mark.parametrize(("restriction", "world", "rule"), ELIGIBLE)
def test_what_may_not_be_shown_is_dropped_by_a_named_rule(restriction, world, rule):
    decision = run(offer("a", **restriction), offer("b"), **world)
    assert why(decision, "a") == f"eligibility: {rule}"
    assert shown(decision) == ["b"]
    assert ("eligibility", rule, 1) in decision.dropped_counts
    assert decision.funnel["candidates"] == 2
    assert decision.funnel["eligible"] == 1


MET = [
    ({"valid_from": "2001-01-01", "valid_to": "2999-01-01"}, {}),
    ({"channels": ["app", "web"], "placements": ["home"]}, {}),
    ({"channels": ["web"], "placements": ["cart"]}, {"context": {}}),  # no channel, no placement asked for
    ({"lifecycle_states": ["dormant"], "value_tiers": ["core"]}, {"lifecycle_state": "dormant", "value_tier": "core"}),
    ({"tags": {"any_of": ["a", "b"], "none_of": ["c"]}}, {"tags": {"b": 0.1}}),
    ({"tags": {"all_of": ["a", "b"]}}, {"tags": {"a": 0.1, "b": 0.2, "x": 1.0}}),
    ({"consents": ["ads"]}, {"consent": {"ads": True}}),
    ({"when": "has(user.scores.p) && user.scores.p > 0.5"}, {"scores": {"p": 0.6}}),
    (
        {"when": "item.price < 5.0 && user.lifecycle_state == 'unknown'", "items": ["i1"]},
        {"items": {"i1": {"price": 4.0}}},
    ),
    ({"items": ["i1", "i2"]}, {"stock": {"i1": 0.0, "i2": 1.0}}),
    ({"items": ["i1"]}, {"stock": {"i1": None}}),
]


@pytest.mark.parametrize(("restriction", "world"), MET)
def test_what_meets_its_conditions_is_shown(restriction, world):
    assert shown(run(offer("a", **restriction), **world)) == ["a"]


def test_items_out_of_stock_leave_the_target():
    decision = run(offer("a", items=["i1", "i2"]), stock={"i1": 0.0})
    assert decision.chosen[0].target == Target(("i2",), ())


# ---- suppression and caps ----------------------------------------------------------------------------------------


def test_a_satisfied_need_is_not_offered_again_before_its_time():
    needs = {"fresh": Need(2.12, 6.5, True), "books": Need(2.0, 1.0, False)}
    offers = (offer("a", "fresh"), offer("b", "books"), offer("care", "fresh", ignore_need=True))
    decision = run(*offers, needs=needs)
    assert why(decision, "a") == "suppression: need_satisfied:fresh:2.1d<6.5d"
    assert sorted(shown(decision)) == ["b", "care"]
    assert run(*offers, needs=needs, policy=policy_of(suppression={"need_satisfied": False})).funnel["scored"] == 3


def test_a_refused_thing_goes_and_so_do_its_neighbours():
    world = {
        "not_interested": {"i1": NOW, "books": NOW, "d": NOW, "i9": NOW - 400 * DAY},
        "damped": {"i2": 0.3, "i3": 0.8},
        "items": {"i4": {"category_id": "books"}},
    }
    decision = run(
        *(offer(f"of_{item}", items=[item]) for item in ("i1", "i2", "i3", "i4", "i9")),
        offer("d"),
        offer("e", "books"),
        **world,
    )
    assert why(decision, "of_i1") == "suppression: not_interested:i1"
    assert why(decision, "of_i2") == "suppression: not_interested_neighbour:i2:0.30"
    assert why(decision, "of_i4") == "suppression: not_interested:books"
    assert why(decision, "d") == "suppression: not_interested:d"
    assert why(decision, "e") == "suppression: not_interested:books"
    assert shown(decision) == [
        "of_i9",
        "of_i3",
    ]  # what was refused long ago is forgotten; what is a bit like it comes later
    assert decision.chosen[1].components["context_weight"] == pytest.approx(0.8)
    assert decision.chosen[1].weights == {"not_interested_neighbour": pytest.approx(-20.0)}


def test_the_same_thing_under_another_name_goes_with_it():
    offers = (
        offer("a", "x"),
        offer("b", "x"),
        offer("c", items=["i1"]),
        offer("d", items=["i1", "i2"]),
        offer("e", "y"),
    )
    world = {"not_interested": {"a": NOW, "c": NOW}, "damped": {"y": 0.4}, "allow_duplicates": True}
    decision = run(*offers, **world)
    assert why(decision, "b") == "suppression: not_interested_neighbour:a"
    assert why(decision, "e") == "suppression: not_interested_neighbour:y:0.40"
    assert shown(decision) == ["d"]  # about more than what was refused
    assert sorted(shown(run(*offers, **world, personalization=False))) == ["b", "d", "e"]  # nothing is inferred


def seen(n, offer_id="a", event="impression"):
    return tuple(Action(offer_id, event, "home", NOW - k * DAY) for k in range(n))


def test_an_offer_at_its_cap_is_dropped_with_the_count():
    decision = run(offer("a", caps=GENTLE), offer("b"), actions=seen(4))
    assert [(d.offer_id, d.stage, d.rule, d.events) for d in decision.dropped] == [("a", "cap", "per_user_3_per_7d", 4)]
    assert shown(decision) == ["b"]
    assert shown(run(offer("a", caps=GENTLE), actions=seen(2))) == ["a"]


def test_caps_may_be_ignored_unless_the_policy_says_always():
    world = {"actions": seen(4), "respect_caps": False}
    assert shown(run(offer("a", caps=GENTLE), **world)) == ["a"]
    assert "CAPS_IGNORED" in run(offer("a", caps=GENTLE), **world).notes
    assert run(offer("a", caps=GENTLE), **world, policy=policy_of(caps_always=True)).status_reason == "CAPPED"


def test_the_policy_caps_all_offers_together():
    policy = policy_of(caps=[{"limit": 5, "window": {"n": 30, "rolling": True}}])
    decision = run(offer("a"), offer("b"), policy=policy, actions=seen(3) + seen(2, "x"))
    assert {why(decision, "a"), why(decision, "b")} == {"cap: per_user_5_per_30d"}
    assert (decision.status, decision.status_reason) == ("fallback", "CAPPED")


def test_a_global_cap_counts_everybody():
    caps = [{"scope": "global", "event": "order", "limit": 10, "window": {"n": 2}}]
    counts = (GlobalCount("a", "order", "2026-09-20", None, 4), GlobalCount("a", "order", "2026-09-21", "home", 6))
    decision = run(offer("a", caps=caps), global_counts=counts)
    assert why(decision, "a") == "cap: global_10_order_per_2_calendar_days"
    assert shown(run(offer("a", caps=caps), global_counts=counts[:1])) == ["a"]


# ---- money -------------------------------------------------------------------------------------------------------

PERCENTS = st.integers(-90, 200)
MONEY = st.integers(0, 10_000).map(lambda cents: cents / 100)


@given(
    st.lists(st.tuples(MONEY.filter(bool), st.floats(0, 1), MONEY, PERCENTS, st.floats(0, 1)), min_size=1, max_size=6),
    st.sampled_from([0.5, 1.0, 1.7]),
    st.integers(-100, 300),
)
def test_priority_is_the_product_of_its_components_and_the_arithmetic_is_right(lines, alpha, percent):
    offers = [
        offer(f"o{k}", value=value, cost=cost, margin=margin, levers={"push": lever})
        for k, (value, margin, cost, lever, _) in enumerate(lines)
    ]
    policy = policy_of(
        arbitration={"alpha": alpha, "lever_range": [0.5, 2.0], "context_weight_range": [0.0, 3.0]},
        context_weights=[{"name": "w", "weight": percent}] if percent else [],
    )
    ps = {f"c_o{k}": line[4] for k, line in enumerate(lines)}
    decision = run(
        *offers, policy=policy, limit=9, score=lambda ts: [Propensity(ps[t.category_ids[0]], 0, 1) for t in ts]
    )
    for one in decision.chosen:
        value, margin, cost, lever, p = lines[int(one.offer_id[1:])]
        parts = one.components
        product = parts["propensity"] ** alpha * parts["context_weight"] * parts["value"] * parts["lever"]
        assert one.priority == product
        exact = Fraction(value) * Fraction(margin) - Fraction(cost)
        assert parts["value"] == pytest.approx(float(exact), rel=1e-9, abs=1e-9)
        assert parts["lever"] == pytest.approx(min(max(1 + lever / 100, 0.5), 2.0))
        assert parts["context_weight"] == pytest.approx(min(max(1 + percent / 100, 0.0), 3.0))
        assert one.expected_value > 0
        assert one.p == p
    # Whatever is not shown is worth no more than silence.
    for name in set(ps) - {f"c_{name}" for name in shown(decision)}:
        value, margin, cost, lever, p = lines[int(name[3:])]
        worth = Fraction(p) * (Fraction(value) * Fraction(margin) - Fraction(cost))
        weight = max(1 + percent / 100, 0.0)
        assert worth <= Fraction(1, 10**9) or weight == 0 or float(p) ** alpha * weight * float(worth) < 1e-300
    priorities = [one.priority for one in decision.chosen]
    assert priorities == sorted(priorities, reverse=True)


def test_silence_when_nothing_is_worth_more():
    decision = run(offer("a", value=10.0, cost=10.0), offer("b", value=10.0, cost=12.0))
    assert (decision.status, decision.status_reason) == ("suppressed", "LOW_EV")
    assert decision.fallback is None
    assert why(decision, "a") == "arbitration: expected_value<=0"
    assert [one.offer_id for one in decision.candidates] == ["a", "b"]


def test_what_is_worth_just_the_least_stays_unsaid():
    policy = policy_of(arbitration={"min_expected_value": 1.0})
    assert run(offer("a", value=10.0), policy=policy).status_reason == "LOW_EV"  # 0.1 * 10 is 1
    assert shown(run(offer("a", value=10.1), policy=policy)) == ["a"]


def test_a_contact_has_its_price_and_the_more_of_them_the_higher():
    sms = {"context": {"channel": "sms"}, "consent": {"sms": True}}
    assert shown(run(offer("a", value=0.6), **sms)) == ["a"]  # 0.1 * 0.6 > 0.05
    assert run(offer("a", value=0.4), **sms).status_reason == "LOW_EV"
    tired = policy_of(suppression={"fatigue": {"event": "impression", "days": 7, "cost_each": 0.02}})
    assert run(offer("a", value=0.6), **sms, policy=tired, actions=seen(3, "x")).status_reason == "LOW_EV"
    assert shown(run(offer("a", value=0.6), **sms, policy=tired)) == ["a"]


def test_young_propensities_are_drawn_towards_the_prior():
    policy = policy_of(smoothing={"p0": 0.02, "n0": 100, "mature_n": 1000})
    for n, p, maturity in ((0, 0.02, "prior"), (100, 0.06, "young"), (1000, 0.1, "mature"), (None, 0.1, "mature")):
        one = run(offer("a"), policy=policy, score=lambda ts, n=n: [Propensity(0.1, 0.1, 0.2, n=n)]).chosen[0]
        assert (one.p, one.maturity) == (pytest.approx(p), maturity)
        assert one.p_interval[0] == pytest.approx(p)
    own = run(offer("a", prior_p=0.5), policy=policy, score=lambda ts: [Propensity(0.1, 0.1, 0.2, n=0)]).chosen[0]
    assert own.p == 0.5


def test_slow_moving_items_get_their_lever_and_sell_through_asks_for_nothing_else():
    items = {"i1": {"is_slow_moving": True}, "i2": {"is_slow_moving": False}}
    offers = (offer("slow", items=["i1"]), offer("quick", items=["i2"], value=30.0))
    policy = policy_of(levers={"slow_moving": 20})
    decision = run(*offers, policy=policy, items=items)
    assert shown(decision) == ["quick", "slow"]
    assert decision.chosen[1].levers == {"slow_moving": 20.0}
    assert decision.chosen[1].components["lever"] == 1.2
    decision = run(*offers, policy=policy, items=items, objective="sell_through")
    assert shown(decision) == ["slow", "quick"]
    assert [one.components["value"] for one in decision.chosen] == [1.0, 0.1]


def test_conversion_asks_for_no_money():
    decision = run(offer("a", cost=100.0), objective="conversion")
    assert shown(decision) == ["a"]
    assert decision.chosen[0].components["value"] == 1.0


def test_uplift_needs_a_model_of_it():
    class Uplift:
        uplift = True

        def __call__(self, targets):
            return [Propensity(0.5, 0.4, 0.6, uplift=0.2 if t.category_ids == ("c_a",) else 0.01) for t in targets]

    with pytest.raises(ObjectiveUnavailable, match="no experiment"):
        run(offer("a"), objective="uplift_value")
    decision = run(offer("a", cost=1.0), offer("b", cost=1.0), objective="uplift_value", score=Uplift())
    assert shown(decision) == ["a"]
    assert decision.chosen[0].components == {"propensity": 1.0, "context_weight": 1.0, "value": 1.0, "lever": 1.0}
    assert decision.chosen[0].p == 0.5
    assert why(decision, "b") == "arbitration: expected_value<=0"


def test_margins_come_from_the_offer_its_items_or_the_policy():
    items = {"i1": {"margin": 0.2}, "i2": {"margin": 0.4}}
    policy = policy_of(arbitration={"default_margin": 0.7})
    for more, margin in (({"margin": 0.5}, 0.5), ({"margin": 0.0}, None), ({"items": ["i1", "i2"]}, 0.3), ({}, 0.7)):
        one = {"offer_id": "a", "value": 10.0, **({} if "items" in more else {"categories": ["c"]}), **more}
        decision = run(one, policy=policy, items=items)
        if margin is None:
            assert decision.status_reason == "LOW_EV"
        else:
            assert decision.chosen[0].components["value"] == pytest.approx(10 * margin)


# ---- statuses ----------------------------------------------------------------------------------------------------


def test_the_person_comes_first():
    for world, reason in (
        ({"opted_out": True}, "OPTED_OUT"),
        ({"paused_channels": ("app",)}, "PAUSED_CHANNEL"),
        ({"consent": {"app": False}}, "NO_CONSENT"),
        ({"context": {"channel": "sms"}}, "NO_CONSENT"),
        ({"context": {}, "paused_channels": ("app", "web")}, "NO_CONSENT"),
    ):
        for decision in (
            run(offer("a"), offer("b"), **world),
            fall_back(inputs_of(**world), policy_of(), catalogue_of(offer("a"), offer("b")), "TIMEOUT"),
        ):
            assert (decision.status, decision.status_reason) == ("suppressed", reason)
            assert decision.fallback is None
            assert decision.funnel["candidates"] == 2
            assert len(decision.dropped) == 2


def test_where_a_place_must_be_filled_the_fallback_fills_it_and_elsewhere_there_is_silence():
    capped = {"actions": seen(4)}
    decision = run(offer("a", caps=GENTLE), **capped)
    assert (decision.status, decision.status_reason) == ("fallback", "CAPPED")
    assert decision.fallback == ("fb", "popular")
    sms = {"context": {"channel": "sms"}, "consent": {"sms": True}}
    assert run(offer("a", caps=GENTLE), **capped, **sms).status == "suppressed"
    assert run(offer("a", channels=["web"])).status_reason == "NO_ELIGIBLE"
    assert run(offer("a", "x"), needs={"x": Need(1, 2, True)}).status_reason == "ALL_SUPPRESSED"
    refused = run(offer("a", caps=GENTLE), **capped, not_interested={"fb": NOW})
    assert (refused.status, refused.fallback) == ("suppressed", None)


def test_a_fallback_needs_no_scores():
    decision = fall_back(inputs_of(), policy_of(), catalogue_of(offer("a")), "TIMEOUT")
    assert (decision.status, decision.status_reason, decision.fallback) == ("fallback", "TIMEOUT", ("fb", "popular"))


def test_who_is_held_out_gets_the_control_treatment():
    rules = {"share": 0.5, "salt": "s", "period": "month"}
    treated = {"none": 0, "fallback": 0}
    for treatment in treated:
        policy = policy_of(holdout={**rules, "treatment": treatment})
        for k in range(40):
            inputs = dataclasses.replace(inputs_of(), user_id=f"u_{k}")
            decision = decide(inputs, policy, catalogue_of(offer("a")), flat)
            assert decision.group["holdout"] == (decision.status == "holdout")
            if decision.status == "holdout":
                treated[treatment] += 1
                assert (decision.fallback is None) == (treatment == "none")
                assert decision.chosen == ()
    assert treated["none"] == treated["fallback"]
    assert 8 < treated["none"] < 32


def test_an_experiment_is_echoed_and_changes_how_offers_compete():
    variants = [{"name": "A", "share": 0.4}, {"name": "B", "share": 0.4, "arbitration": {"objective": "conversion"}}]
    policy = policy_of(experiments=[{"experiment_id": "e", "scenarios": ["x"], "variants": variants}])
    found = {None: 0, "A": 0, "B": 0}
    for k in range(60):
        inputs = dataclasses.replace(inputs_of(context={"scenario": "x"}), user_id=f"u_{k}")
        decision = decide(inputs, policy, catalogue_of(offer("a")), flat)
        found[decision.group["variant"]] += 1
        assert decision.objective == ("conversion" if decision.group["variant"] == "B" else "expected_value")
        assert decision.group["experiment_id"] == (None if decision.group["variant"] is None else "e")
        assert (
            decide(dataclasses.replace(inputs, context={}), policy, catalogue_of(offer("a")), flat).group["variant"]
            is None
        )
    assert min(found.values()) > 3


def test_stale_features_are_said():
    decision = run(offer("a"), features_stale=True)
    assert (decision.status, decision.status_reason) == ("decided", "FEATURES_STALE")


def test_exploration_is_clamped_and_flagged():
    decision = run(offer("a"), offer("b"), exploration={"mode": "epsilon", "epsilon": 0.9})
    assert decision.exploration["mix"] == 0.5
    assert "EPSILON_CLAMPED" in decision.notes
    assert decision.usable_for_ope
    assert not run(offer("a"), offer("b"), exploration={"epsilon": 0.0}).usable_for_ope


def test_without_personalization_nothing_is_inferred_but_what_was_said_counts():
    world = {
        "personalization": False,
        "lifecycle_state": "dormant",
        "tags": {"t": 1.0},
        "scores": {"p": 1.0},
        "needs": {"c_need": Need(1, 2, True)},
        "damped": {"c": 0.1, "i2": 0.1},
        "not_interested": {"said": NOW},
        "actions": seen(4, "capped"),
    }
    decision = run(
        offer("lifecycle", lifecycle_states=["dormant"]),
        offer("when", when="user.scores.p > 0.5"),
        offer("tagged", tags={"any_of": ["t"]}),
        offer("free", tags={"none_of": ["t"]}),
        offer("need", "c_need"),
        offer("like", items=["i2"]),
        offer("said"),
        offer("capped", caps=GENTLE),
        limit=9,
        **world,
    )
    assert sorted(shown(decision)) == ["free", "like", "need"]
    assert decision.chosen[0].weights == {}
    assert "PERSONALIZATION_OFF" in decision.notes


# ---- candidates of the request -----------------------------------------------------------------------------------


def test_a_request_overrides_the_catalogue_and_brings_offers_of_its_own():
    known = offer("a", value=10.0, cost=1.0, levers={"push": 10}, caps=GENTLE)
    asked = [
        {"offer_id": "a", "value": 30.0, "levers": {"slow_moving": 20}, "attributes": {"x": 1}},
        {"offer_id": "new", "value": 20.0, "cost": 2.0, "margin": 1.0, "attributes": {"category_id": "books"}},
        {"offer_id": "item", "margin": 1.0, "attributes": {"item_id": "i1", "category_id": "fresh"}},
        {"offer_id": "item", "value": 5.0},
        {"offer_id": "nothing", "value": 5.0},
        {"offer_id": "worthless", "attributes": {"category_id": "books"}},
    ]
    decision = run(known, offer("other"), candidates=asked, items={"i1": {"price": 7.0}}, limit=9)
    values = {one.offer_id: one.components["value"] for one in decision.chosen}
    assert values == {"a": 29.0, "new": 18.0, "item": 7.0}
    assert {one.offer_id: one.target for one in decision.chosen}["new"] == Target((), ("books",))
    best = next(one for one in decision.chosen if one.offer_id == "a")
    assert best.levers == {"push": 10.0, "slow_moving": 20}
    assert best.attributes == {"x": 1}
    assert why(decision, "nothing") == "eligibility: no_target"
    assert why(decision, "worthless") == "eligibility: no_value"
    assert [d.rule for d in decision.dropped if d.offer_id == "item"] == ["duplicate_offer_id"]
    assert decision.funnel["candidates"] == 6
    assert run(known, candidates=asked[:1], actions=seen(4)).status_reason == "CAPPED"
    satisfied = run(candidates=asked[2:3], items={"i1": {"price": 7.0}}, needs={"fresh": Need(1, 2, True)})
    assert satisfied.status_reason == "ALL_SUPPRESSED"


def test_one_target_is_offered_once_unless_duplicates_are_allowed():
    offers = (offer("a", "x", value=5.0), offer("b", "x", value=9.0), offer("c", "y"))
    decision = run(*offers)
    assert shown(decision) == ["c", "b"]
    assert why(decision, "a") == "arbitration: duplicate_of:b"
    assert sorted(shown(run(*offers, allow_duplicates=True))) == ["a", "b", "c"]


def test_a_collection_chooses_and_a_maximum_limits_what_is_looked_at():
    offers = [offer(f"o{k}", value=1.0 + k, collections=["picks"] if k % 2 else []) for k in range(10)]
    decision = run(*offers, candidate_source={"collection": "picks", "max": 2}, interests={"c_o1": 0.9})
    assert sorted(one.offer_id for one in decision.candidates) == [
        "o1",
        "o9",
    ]  # of known interest; of the largest value
    assert decision.funnel["candidates"] == 5
    assert ("generation", "beyond_max:2", 3) in decision.dropped_counts


@pytest.mark.parametrize("channel", ["SMS", "fax", " sms"])
def test_an_unknown_channel_does_not_evade_consent(channel):
    for consent in ({}, {channel: True}, {"sms": False}):
        decision = run(offer("a"), context={"channel": channel}, consent=consent)
        assert (decision.status, decision.status_reason) == ("suppressed", "NO_CONSENT")
        assert ("eligibility", f"unknown_channel:{channel}", 1) in decision.dropped_counts
    assert run(offer("a"), context={}).status == "decided"


# ---- what an answer says -----------------------------------------------------------------------------------------


def test_channels_are_ranked_by_smoothed_response_times_propensity():
    decision = run(offer("a", channels=["app", "sms", "web"]), response_counts={"app": (100, 18), "sms": (100, 2)})
    assert decision.chosen[0].channel_priority == (("app", pytest.approx(0.1 * 23 / 150)), ("web", pytest.approx(0.01)))
    agreed = run(offer("a"), response_counts={"app": (100, 18), "sms": (100, 2)}, consent={"sms": True})
    assert [name for name, _ in agreed.chosen[0].channel_priority] == ["app", "web", "sms"]


def test_an_answer_ends_with_what_it_offers():
    policy = policy_of(limits={"answer_ttl_hours": 24})
    assert run(offer("a"), policy=policy).chosen[0].valid_until_us == NOW + DAY
    soon = NOW + DAY // 2
    assert (
        run(offer("a", items=["i1"]), policy=policy, items={"i1": {"valid_to_us": soon}}).chosen[0].valid_until_us
        == soon
    )
    ends = run(offer("a", valid_to="2026-09-22"), policy=policy).chosen[0].valid_until_us
    assert NOW < ends < NOW + DAY


def test_counts_only_unless_everything_is_asked_for():
    decision = run(offer("a", channels=["web"]), offer("b"), explain_level="reason_codes")
    assert decision.dropped == ()
    assert decision.dropped_counts == (("eligibility", "channel=app", 1),)


# ---- what must hold for every decision ---------------------------------------------------------------------------

POLICY, OFFERS = (json.loads(one) for one in compile_policy(load()))
SHIPPED = Policy.load(POLICY)
SHOP = Catalogue.load(OFFERS)
CATEGORIES = sorted({category for one in SHOP.offers for category in one.category_ids})
ITEMS = sorted({item for one in SHOP.offers for item in one.item_ids})
IDS = [one.offer_id for one in SHOP.offers]


@st.composite
def worlds(draw):
    some = lambda values: st.lists(st.sampled_from(values), max_size=4)  # noqa: E731
    when = st.integers(0, 60).map(lambda days: NOW - days * DAY)
    return dataclasses.replace(
        inputs_of(),
        user_id=draw(st.integers(0, 60).map("u_{}".format)),
        context=draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "channel": st.sampled_from(["app", "sms", "wecom", "fax"]),
                    "placement": st.sampled_from(["home", "cart"]),
                    "scenario": st.sampled_from(["homepage", "dormant_winback"]),
                    "store_id": st.sampled_from(["s01", "s99"]),
                    "attributes": st.dictionaries(st.text(max_size=3), st.integers() | st.none() | st.text(max_size=3)),
                },
            )
        ),
        limit=draw(st.integers(1, 6)),
        objective=draw(st.sampled_from([None, "expected_value", "conversion", "sell_through"])),
        exploration=draw(
            st.none()
            | st.fixed_dictionaries(
                {"mode": st.sampled_from(["epsilon", "softmax"])}, optional={"epsilon": st.floats(0, 1)}
            )
        ),
        personalization=draw(st.booleans()),
        lifecycle_state=draw(st.sampled_from([None, "new", "at_risk", "dormant"])),
        consent=draw(st.dictionaries(st.sampled_from(["app", "sms", "wecom"]), st.booleans())),
        not_interested=dict.fromkeys(draw(some(IDS + ITEMS + CATEGORIES)), NOW),
        damped=dict.fromkeys(draw(some(ITEMS)), draw(st.floats(0, 1))),
        actions=tuple(Action(o, "impression", "home", draw(when)) for o in draw(some(IDS)) * 4),
        needs={c: Need(1.0, 2.0, draw(st.booleans())) for c in draw(some(CATEGORIES))},
        stock=dict.fromkeys(draw(some(ITEMS)), draw(st.sampled_from([0.0, 3.0, None]))),
        items={
            i: {"category_id": draw(st.sampled_from(CATEGORIES)), "price": 3.0, "margin": 0.3}
            for i in draw(some(ITEMS))
        },
        store_items=draw(st.none() | some(ITEMS).map(frozenset)),
        store_categories=draw(st.none() | some(CATEGORIES).map(frozenset)),
        candidates=draw(
            st.none() | st.lists(st.sampled_from([*IDS, "x"]).map(lambda o: {"offer_id": o, "value": 5.0}), max_size=9)
        ),
    )


def scorer(targets):
    """Different targets, different propensities, nothing random."""
    return [Propensity((len(str(t)) % 17 + 1) / 100, 0.0, 0.5, n=len(str(t)) * 20) for t in targets]


@settings(deadline=None)
@given(worlds())
def test_every_decision_keeps_the_rules_of_the_contract(inputs):
    decision = decide(inputs, SHIPPED, SHOP, scorer)
    # offers xor fallback xor a said silence
    assert decision.status in {"decided", "fallback", "holdout", "suppressed"}
    assert bool(decision.chosen) == (decision.status == "decided")
    assert (decision.fallback is not None) == (decision.status == "fallback")
    assert decision.status == "decided" or decision.status_reason
    assert len(decision.chosen) <= inputs.limit
    assert [one.rank for one in decision.chosen] == list(range(1, len(decision.chosen) + 1))
    for one in decision.chosen:
        parts = one.components
        alpha = 1.3 if decision.group["variant"] == "B" else 1.0
        assert one.priority == parts["propensity"] ** alpha * parts["context_weight"] * parts["value"] * parts["lever"]
        assert 0.0 < one.action_probability <= 1.0
        assert one.valid_until_us > inputs.at_us
    # every candidate is somewhere
    funnel = decision.funnel
    assert funnel["candidates"] == sum(n for _, _, n in decision.dropped_counts) + (
        funnel["worthwhile"] if decision.status != "holdout" else funnel["candidates"]
    )
    assert len(decision.dropped) == sum(n for _, _, n in decision.dropped_counts)
    stages = [
        funnel[name] for name in ("candidates", "eligible", "after_suppression", "after_caps", "scored", "worthwhile")
    ]
    assert stages == sorted(stages, reverse=True)
    # the same inputs, written down and read back, cut down to what was read: the same decision, bit for bit
    again = decide(Inputs.from_json(inputs.to_json()), SHIPPED, SHOP, scorer)
    assert again == decision
    narrow = Inputs.from_json(inputs.narrowed(decision.items_read, decision.categories_read).to_json())
    assert (
        decide(narrow, Policy.load(POLICY), Catalogue.load(OFFERS) if inputs.limit == 1 else SHOP, scorer) == decision
    )


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=2, max_size=6), st.integers(0, 5), st.integers(1, 50))
def test_raising_a_value_never_lowers_its_rank(values, which, more):
    which %= len(values)

    def rank(values):
        offers = [offer(f"o{k}", value=float(value)) for k, value in enumerate(values)]
        return shown(run(*offers, limit=9, score=scorer)).index(f"o{which}")

    raised = [value + more if k == which else value for k, value in enumerate(values)]
    assert rank(raised) <= rank(values)


@settings(deadline=None)
@given(
    st.integers(0, 5),
    st.sampled_from([{"channels": ["web"]}, {"valid_to": "2001-01-01"}, {"when": "user.user_id == 'x'"}]),
    st.integers(0, 10**6),
)
def test_an_offer_that_may_not_be_shown_changes_nothing_but_counts(place, restriction, decision_number):
    offers = [offer(f"o{k}", value=3.0 + k) for k in range(5)]
    world = {"policy": policy_of(exploration={"mode": "softmax", "floor": 0.05, "max_epsilon": 0.5}), "score": scorer}
    plain = inputs_of()
    plain = dataclasses.replace(plain, decision_id=f"d_{decision_number}")
    with_it = [*offers[:place], offer("bad", value=99.0, **restriction), *offers[place:]]
    before = decide(plain, world["policy"], catalogue_of(*offers), scorer)
    after = decide(plain, world["policy"], catalogue_of(*with_it), scorer)
    assert after.chosen == before.chosen
    assert after.candidates == before.candidates
    assert after.funnel == {**before.funnel, "candidates": before.funnel["candidates"] + 1}
    assert [one for one in after.dropped if one.offer_id != "bad"] == list(before.dropped)


def test_the_probability_of_what_is_shown_is_how_often_it_is_shown():
    catalogue = catalogue_of(*(offer(f"o{k}", value=float(5 + 3 * k)) for k in range(4)))
    policy = policy_of(
        exploration={"mode": "softmax", "temperature": 0.4, "floor": 0.02, "top_k": 3, "max_epsilon": 0.5}
    )
    seen: dict[tuple[str, int], int] = {}
    said: dict[tuple[str, int], float] = {}
    trials = 4_000
    for k in range(trials):
        inputs = dataclasses.replace(inputs_of(limit=2), decision_id=f"d_{k}")
        for one in decide(inputs, policy, catalogue, flat).chosen:
            key = one.offer_id, one.rank
            seen[key] = seen.get(key, 0) + 1
            assert said.setdefault(key, one.action_probability) == one.action_probability
    for key, p in said.items():
        assert abs(seen[key] / trials - p) < 4.5 * (p * (1 - p) / trials) ** 0.5, key


def test_a_scorer_that_loses_a_target_is_an_error_and_not_a_shift():
    with pytest.raises(ValueError, match="1 of 2 targets"):
        run(offer("a"), offer("b"), score=lambda targets: flat(targets)[:1])


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.none() | st.floats(0, 2000), st.floats(0, 1))
def test_an_interval_contains_its_p(p, low, high, n, prior):
    young = lambda targets: [Propensity(p, low, high, n=n)] * len(targets)  # noqa: E731
    for one in run(offer("a", prior_p=prior), score=young, objective="conversion").chosen:
        assert one.p_interval[0] <= one.p <= one.p_interval[1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_the_best_of_many_offers_is_among_those_that_are_scored(seed):
    rng = np.random.default_rng(seed)
    p = {f"i{k}": float(rng.uniform(0.001, 0.3)) for k in range(40)}
    items = [f"i{k}" for k in rng.integers(0, 40, 300)]
    offers = [offer(f"o{k}", items=[item], value=float(rng.integers(1, 99))) for k, item in enumerate(items)]
    score = lambda targets: [Propensity(p[one.item_ids[0]], 0.0, 1.0) for one in targets]  # noqa: E731
    world = {"score": score, "interests": p, "limit": 3}
    few = run(*offers, policy=policy_of(limits={"max_candidates": 5}), **world)
    everything = run(*offers, policy=policy_of(limits={"max_candidates": 300}), **world)
    assert shown(few) == shown(everything)
