"""A rule that cannot be meant is refused with its file and line, before any release is made."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import sqlalchemy

from configs import load, read_yaml
from configs.errors import ConfigError, RuleError
from serving.decision.decide import decide
from serving.decision.inputs import Inputs
from serving.decision.offers import Catalogue
from serving.decision.policy import Policy
from serving.decision.result import Propensity
from serving.decision.source import compile_policy

POLICY = """\
version: v1
offers: {file: offers.yaml}
lifecycle_states: [new, active]
value_tiers: [core]
channels:
  app: {}
  sms: {push: true, contact_cost: 0.05}
"""
OFFERS = """\
offers:
  - offer_id: a
    categories: [books]
    value: 10
  - {offer_id: z, fallback: popular}
"""


def compiled(folder: Path, policy: str = POLICY, offers: str = OFFERS) -> tuple[bytes, bytes]:
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    (folder / "offers.yaml").write_text(offers, encoding="utf-8")
    return compile_policy(load(), folder)


def test_what_we_ship_is_accepted_and_loads():
    policy, offers = compile_policy(load())
    catalogue = Catalogue.load(json.loads(offers))
    assert Policy.load(json.loads(policy)).digest.startswith("sha256:")
    assert len(catalogue) >= 30
    assert catalogue.globally_capped == ("shelf_clearing",)


def test_the_same_rules_give_the_same_bytes_and_another_offer_another_digest(tmp_path):
    first = compiled(tmp_path)
    assert compiled(tmp_path) == first
    other = compiled(tmp_path, offers=OFFERS.replace("value: 10", "value: 11"))
    assert json.loads(other[0])["digest"] != json.loads(first[0])["digest"]


# Each: what stands in place of `value: 10` (line 4 of offers.yaml), the line at fault, what is said about it.
BAD_OFFERS = [
    ("valeu: 10", 4, "unknown field"),
    ("cost: 1", 2, "value: is missing"),
    ("value: 0", 4, "zero"),
    ("value: -3", 4, "negative"),
    ("value: ten", 4, "not a number"),
    ("value: .nan", 4, "not a number"),
    ("value: .inf", 4, "not a number"),
    ("value: true", 4, "not a number"),
    ("value: 10\n    cost: -1", 5, "negative"),
    ("value: 10\n    margin: 1.5", 5, "out of range"),
    ("value: 10\n    cost: 10", 5, "can never be worthwhile"),
    ("value: 10\n    margin: 0", 5, "can never be worthwhile"),
    ("value: 10\n    cost: 3\n    margin: 0.3", 5, "can never be worthwhile"),
    ("value: 10\n    prior_p: 2", 5, "out of range"),
    ("value: 10\n    lifecycle_states: [new, sleepy]", 5, "unknown lifecycle state 'sleepy'"),
    ("value: 10\n    value_tiers: gold", 5, "unknown value tier 'gold'"),
    ("value: 10\n    channels:\n      - app\n      - fax", 7, "unknown channel 'fax'"),
    ("value: 10\n    channels: 7", 5, "not a list of texts"),
    ("value: 10\n    tags: {some_of: [x]}", 5, "unknown field"),
    ("value: 10\n    tags: {any_of: [x], none_of: [x]}", 5, "contradicts"),
    ("value: 10\n    valid_from: soon", 5, "not an instant"),
    ("value: 10\n    valid_from: 2026-02-01\n    valid_to: 2026-01-01", 6, "ends before it begins"),
    ("value: 10\n    levers: {push: hard}", 5, "not a number"),
    ("value: 10\n    ignore_need: maybe", 5, "true or false"),
    ("value: 10\n    attributes: {x: {y: 1}}", 5, "attributes: must be a mapping"),
    ("value: 10\n    when: user.lifecycle_state ==", 5, "line 1, column 24"),
    ("value: 10\n    when: user.livecycle_state == 'new'", 5, "user has no field livecycle_state"),
    ("value: 10\n    when: nobody.x == 1", 5, "unknown name 'nobody'"),
    ("value: 10\n    when: launch(user)", 5, "unknown function 'launch'"),
    ("value: 10\n    when: user.user_id.matches('a+')", 5, "unknown function 'matches'"),
    ("value: 10\n    when: user.tags.all(t, t == 'x')", 5, "loops are not allowed"),
    ("value: 10\n    when: user.lifecycle_state", 5, "not true or false"),
    ("value: 10\n    when: user.lifecycle_state > 3", 5, "it fails"),
    (f"value: 10\n    when: \"user.user_id == '{'x' * 500}'\"", 5, "longer than 500"),
    ("value: 10\n    caps: [{limit: 0, window: {n: 1}}]", 5, "contradicts the offer"),
    ("value: 10\n    caps: [{limit: -1, window: {n: 1}}]", 5, "negative"),
    ("value: 10\n    caps: [{limit: 1.5, window: {n: 1}}]", 5, "not a whole number"),
    ("value: 10\n    caps: [{limit: 1}]", 5, "window: is missing"),
    ("value: 10\n    caps: [{limit: 1, windw: {n: 1}}]", 5, "unknown field"),
    ("value: 10\n    caps: [{limit: 1, window: {n: 1, unit: year}}]", 5, "unknown unit 'year'"),
    ("value: 10\n    caps: [{limit: 1, window: {n: 94}}]", 5, "reaches beyond what is kept"),
    ("value: 10\n    caps: [{limit: 1, scope: everyone, window: {n: 1}}]", 5, "unknown scope"),
    ("value: 10\n    caps: [{limit: 1, placement: some, window: {n: 1}}]", 5, "unknown placement"),
    ("value: 10\n    caps: [{limit: 1, scope: global, window: {n: 1, rolling: true}}]", 5, "per calendar day"),
    (
        "value: 10\n    caps:\n      - {limit: 3, window: {n: 1}}\n      - {limit: 2, window: {n: 7}}",
        7,
        "never be reached",
    ),
    (
        "value: 10\n    caps:\n      - {limit: 3, window: {n: 7}}\n      - {limit: 2, window: {unit: week}}",
        7,
        "contradict",
    ),
    (
        f"value: 10\n    caps: [{', '.join(f'{{event: e{k}, limit: 1, window: {{n: 1}}}}' for k in range(11))}]",
        5,
        "many",
    ),
    ("value: 10\n    caps: [gentle]", 5, "unknown cap set 'gentle'"),
    ("value: 10\n  - {offer_id: a, categories: [x], value: 1}", 5, "duplicate offer_id 'a'"),
    ("value: 10\n  - {offer_id: b, value: 1}", 5, "no target"),
    ("value: 10\n  - {categories: [x], value: 1}", 5, "offer_id: is missing"),
    ("value: 10\n  - just a text", 5, "must be a mapping"),
]


@pytest.mark.parametrize(("instead", "line", "said"), BAD_OFFERS)
def test_a_bad_offer_is_refused_with_its_line(tmp_path, instead, line, said):
    with pytest.raises(RuleError) as refused:
        compiled(tmp_path, offers=OFFERS.replace("value: 10", instead))
    assert str(refused.value).startswith(f"offers.yaml line {line}: "), refused.value
    assert said in str(refused.value)


# Each: lines after the policy's seven, the line at fault, what is said about it.
BAD_POLICIES = [
    ("exploraton: {}", 8, "unknown field"),
    ("exploration: {max_epsilon: 0.1, epsilon: 0.2}", 8, "beyond the allowed maximum"),
    ("exploration: {mode: thompson}", 8, "unknown mode"),
    ("exploration: {top_k: 9}", 8, "out of range"),
    ("exploration: {floor: -0.1}", 8, "negative"),
    ("arbitration: {objective: profit}", 8, "unknown objective"),
    ("arbitration: {alpha: -1}", 8, "negative"),
    ("arbitration:\n  lever_range: [1.5, 2]", 9, "no range around 1"),
    ("arbitration: {min_expected_value: -1}", 8, "negative"),
    ("smoothing: {n0: -5}", 8, "negative"),
    ("levers: {slow: 20}", 8, "unknown field"),
    ("context_weights:\n  - {name: x, weight: 5, lifecycle_states: [gone]}", 9, "unknown lifecycle_states 'gone'"),
    ("context_weights:\n  - {name: x, weight: 5, when: 'item.'}", 9, "no valid condition"),
    ("context_weights:\n  - {name: x}", 9, "weight: is missing"),
    ("suppression: {neighbour_drop: 2}", 8, "out of range"),
    ("suppression: {fatigue: {cost: 1}}", 8, "unknown field"),
    ("holdout: {share: 1.0}", 8, "out of range"),
    ("holdout: {period: fortnight}", 8, "unknown period"),
    ("caps: [{limit: 5, scope: global, window: {n: 1}}]", 8, "belongs to an offer"),
    ("cap_sets:\n  one: {extends: [two]}\n  two: {extends: [one]}", 10, "cyclic cap sets: one -> two -> one"),
    ("cap_sets:\n  one: {extends: [one]}", 9, "cyclic cap sets: one -> one"),
    ("cap_sets:\n  one: {extends: [none]}", 9, "unknown cap set 'none'"),
    ("cap_sets:\n  one: {rules: 3}", 9, "must be a list"),
    ("experiments:\n  - {experiment_id: e, variants: [{name: A, share: 0.6}, {name: B, share: 0.6}]}", 9, "exceed 1"),
    (
        "experiments:\n  - {experiment_id: e, variants: [{name: A, share: 0.1, arbitration: {alph: 1}}]}",
        9,
        "unknown field",
    ),
    (
        "experiments:\n  - {experiment_id: e, variants: [{name: A, share: 1, exploration: {epsilon: 0.5}}]}",
        9,
        "maximum",
    ),
    (
        "experiments:\n  - {experiment_id: e, variants: [{name: A, share: 1, arbitration: {default_margin: 1}}]}",
        9,
        "same",
    ),
    ("limits: {max_candidates: 0}", 8, "out of range"),
]


@pytest.mark.parametrize(("more", "line", "said"), BAD_POLICIES)
def test_a_bad_policy_is_refused_with_its_line(tmp_path, more, line, said):
    with pytest.raises(RuleError) as refused:
        compiled(tmp_path, policy=POLICY + more + "\n")
    assert str(refused.value).startswith(f"policy.yaml line {line}: "), refused.value
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (POLICY.replace("version: v1\n", ""), "version: is missing"),
        (POLICY.replace("{file: offers.yaml}", "{}"), "must name one source"),
        (POLICY.replace("{file: offers.yaml}", "{file: offers.yaml, table: t}"), "must name one source"),
        (POLICY.replace("{file: offers.yaml}", "{parquet: none.parquet}"), "cannot be read"),
        (POLICY.replace("{file: offers.yaml}", "{table: none, url: 'sqlite://'}"), "cannot be read"),
    ],
)
def test_a_policy_without_its_parts_is_refused(tmp_path, policy, said):
    with pytest.raises(RuleError, match=said):
        compiled(tmp_path, policy=policy)


def test_offers_without_a_fallback_are_refused(tmp_path):
    with pytest.raises(RuleError, match=r"offers\.yaml line 2: offers: no offer is a fallback"):
        compiled(tmp_path, offers="offers:\n  - {offer_id: a, categories: [x], value: 1}\n")


ROWS = [
    {
        "offer_id": "a",
        "categories": ["books", "toys"],
        "value": 10.0,
        "margin": 0.5,
        "prior_p": 0.0,
        "valid_from": datetime(2026, 1, 1, tzinfo=UTC),
        "tags": {"none_of": ["blocked"]},
        "levers": {"slow_moving": 20.0},
        "caps": [{"limit": 3, "window": {"n": 7, "rolling": True}}],
        "ignore_need": True,
    },
    {"offer_id": "z", "fallback": "popular"},
]


def table_in(folder: Path, kind: str, rows: list[dict]) -> str:
    """Write the rows and say what policy.yaml names."""
    if kind == "parquet":
        names = [name for row in rows for name in row]
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist([dict.fromkeys(names) | row for row in rows]), folder / "offers.parquet"
        )
        return "{parquet: offers.parquet}"
    texts = [
        {
            k: json.dumps(v) if isinstance(v, list | dict) else v.isoformat() if isinstance(v, datetime) else v
            for k, v in row.items()
        }
        for row in rows
    ]
    url = f"sqlite:///{folder / 'offers.db'}"
    engine = sqlalchemy.create_engine(url)
    columns = {name: type(value) for row in texts for name, value in row.items()}
    kinds = {str: sqlalchemy.Text, float: sqlalchemy.Float, bool: sqlalchemy.Integer}
    table = sqlalchemy.Table(
        "offers", sqlalchemy.MetaData(), *(sqlalchemy.Column(name, kinds[kind]) for name, kind in columns.items())
    )
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        for row in texts:
            connection.execute(table.insert().values(**row))
    engine.dispose()
    return f"{{table: offers, url: '{url}'}}"


@pytest.mark.parametrize("kind", ["parquet", "sql"])
def test_a_table_of_offers_gives_the_bytes_that_the_file_gives(tmp_path, kind):
    source = table_in(tmp_path, kind, ROWS)
    plain = json.dumps({"offers": ROWS}, default=lambda at: at.isoformat())
    of_file = compiled(tmp_path, offers=plain)
    of_table = compiled(tmp_path, policy=POLICY.replace("{file: offers.yaml}", source))
    assert of_table == of_file
    assert json.loads(of_file[1])["offers"][0]["prior_p"] == 0.0


@pytest.mark.parametrize("kind", ["parquet", "sql"])
def test_a_bad_row_of_a_table_is_named(tmp_path, kind):
    source = table_in(tmp_path, kind, [ROWS[0], {**ROWS[1], "cost": -1.0}])
    with pytest.raises(RuleError, match=r"row 2 \(offer_id 'z'\): offers\.1\.cost: is negative"):
        compiled(tmp_path, policy=POLICY.replace("{file: offers.yaml}", source))


def test_ten_thousand_offers_load_and_decide():
    rows = [{"offer_id": f"o{k}", "categories": [f"c{k % 500}"], "value": 1.0 + k % 97} for k in range(10_000)]
    rows.append({"offer_id": "z", "fallback": "popular"})
    policy, _ = compile_policy(load())
    content = json.loads(policy)
    content["holdout"]["share"] = 0.0
    inputs = Inputs("d", "r", "u", 0, context={"channel": "app"}, limit=3, interests={"c7": 0.5, "c9": 0.4})
    decision = decide(
        inputs, Policy.load(content), Catalogue(rows), lambda targets: [Propensity(0.1, 0.1, 0.1)] * len(targets)
    )
    assert decision.funnel["candidates"] == 10_000
    assert decision.funnel["scored"] == 200
    assert ("generation", "beyond_max:200", 9_800) in decision.dropped_counts
    # 20 offers are about c7 and 20 about c9: the best of each is scored, and no place goes to the others.
    places = [int(scored.offer_id[1:]) for scored in decision.candidates]
    for target in (7, 9):
        best = max(range(target, 10_000, 500), key=lambda k: k % 97)
        assert [k for k in places if k % 500 == target] == [best]
    assert len({k % 500 for k in places}) == 200


def test_a_policy_is_what_the_file_says(tmp_path):
    policy, _ = compiled(tmp_path, policy=POLICY + "arbitration: {alpha: 1.5, lever_range: [0.8, 1.4]}\n")
    loaded = Policy.load(json.loads(policy))
    assert dataclasses.asdict(loaded)["version"] == "v1"
    assert loaded.arbitration.alpha == 1.5
    assert loaded.arbitration.lever_range == (0.8, 1.4)
    assert loaded.channels["sms"].push
    assert not loaded.channels["app"].push


@pytest.mark.parametrize(
    ("policy", "offers", "said"),
    [
        (POLICY, OFFERS.replace("value: 10", "value: 10\n    value: 20"), "offers.yaml line 5: duplicate key 'value'"),
        (POLICY, OFFERS + "offers: []\n", "offers.yaml line 6: duplicate key 'offers'"),
        (
            POLICY.replace("{push: true,", "{push: true, push: false,"),
            OFFERS,
            "policy.yaml line 7: duplicate key 'push'",
        ),
        (POLICY + "  app: {push: true}\n", OFFERS, "policy.yaml line 8: duplicate key 'app'"),
    ],
)
def test_a_key_given_twice_is_refused_with_its_line(tmp_path, policy, offers, said):
    with pytest.raises(ConfigError) as refused:
        compiled(tmp_path, policy, offers)
    assert str(refused.value).startswith(said), refused.value


def test_what_an_anchor_merges_may_be_given_again(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: {b: &b {<<: {x: 1, y: 1}, x: 2}}\nc: {<<: *b, y: 3}\n", encoding="utf-8")
    assert read_yaml(path) == {"a": {"b": {"x": 2, "y": 1}}, "c": {"x": 2, "y": 3}}


def test_what_an_offer_keeps_is_judged_by_the_margin_that_will_count(tmp_path):
    policy = POLICY + "arbitration: {default_margin: 0.3}\n"
    costly = OFFERS.replace("value: 10", "value: 10\n    cost: 4")
    compiled(tmp_path, POLICY, costly)
    with pytest.raises(RuleError, match=r"offers.yaml line 5: .*can never be worthwhile"):
        compiled(tmp_path, policy, costly)
    compiled(tmp_path, policy, costly.replace("categories: [books]", "items: [i1]"))  # whose margin may be larger
    compiled(tmp_path, policy, OFFERS.replace("fallback: popular", "fallback: popular, value: 1, cost: 2"))
