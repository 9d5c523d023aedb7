"""Every code that a decision can carry has words in both languages: found in the code, so that a new one fails here."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import configs
import serving.decision
import serving.nbo
from serving.console.telling import cap_said, instant_of, lasting, rule_said, status_said
from serving.console.words import LANGUAGES, words
from serving.decision.caps import Cap
from serving.decision.offers import DIMENSIONS
from serving.decision.policy import OBJECTIVES
from serving.log.judging import TYPES
from serving.nbo.deciding import FORCED, REASONS_OMITTED
from serving.nbo.orchestrate import STAGES
from serving.schemas_nbo import Context, Funnel, Status

DECISION, NBO = (Path(room.__file__).parent for room in (serving.decision, serving.nbo))
# Where rules are made. Every text in these modules is a rule, a code with words of its own, or stands in OTHER.
MAKERS = ("eligibility", "suppression", "moment", "candidates", "pipeline", "answers")
STAGES_OF_DECISION = ("generation", "eligibility", "suppression", "cap", "arbitration")
#: Names of columns, fields and parts that no answer carries as a rule.
_NAMES = """
    all_of any_of none_of attributes category_id category_ids item_id item_ids offer_id channels placements
    scenarios stores lifecycle_states value_tiers consents cost is_slow_moving margin price stock valid_from_us
    valid_to_us value levers collection max channel consent device hour lifecycle_state locale month personalization
    placement scenario scores store_id tags unknown user_id value_tier weekday after_caps after_suppression
    candidates eligible scored worthwhile experiment_id explored holdout variant full mode epsilon softmax
    temperature top_k floor conversion context_weight lever propensity mix decided fallback suppressed .1f .2f g
"""
OTHER = {*_NAMES.split(), "", "unknown objective", "unknown exploration mode x", *STAGES_OF_DECISION}


def texts(path: Path, function: str | None = None) -> list[str]:
    """Every text of a module, or of one function, but docstrings and ``__all__``; a value becomes ``x``, or 1.50."""
    tree: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    if function is not None:
        tree = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function)
    silent = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    silent |= {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        for part in ast.walk(node)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(map(filled, node.values)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | silent:
            found.append(node.value)
    return found


def filled(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    spec = part.format_spec
    # Only numbers with a point or shortened are of interest: days, factors, amounts.
    return format(1.5, spec.values[0].value) if isinstance(spec, ast.JoinedStr) and part_of(spec) else "x"


def part_of(spec: ast.JoinedStr) -> bool:
    return bool(re.search("[fg]$", spec.values[0].value))


def rules() -> list[str]:
    found = {text for name in MAKERS for text in texts(DECISION / f"{name}.py")} - OTHER
    found |= set(texts(DECISION / "expression.py", "refusal"))
    # One text stands for all dimensions.
    found |= {f"{name}={value}" for name in DIMENSIONS.values() for value in ("x", "unknown")}
    return sorted(text for text in found - {"x=x"} if not re.fullmatch(r"[A-Z_]+", text))


def codes() -> list[str]:
    """Reasons for a status, and remarks: whatever is written in capitals where decisions are made."""
    modules = [*DECISION.glob("*.py"), NBO / "deciding.py", NBO / "orchestrate.py", NBO / "answer.py"]
    found = {text for path in modules for text in texts(path) if re.fullmatch(r"[A-Z][A-Z]+(_[A-Z]+)*", text)}
    return sorted(found | {*FORCED, REASONS_OMITTED})


def test_the_code_is_read():
    assert len(rules()) > 30
    assert {"not_yet_valid", "no_consent:x", "when:x", "duplicate_of:x", "need_satisfied:x:1.5d<1.5d"} <= set(rules())
    assert {"HOLDOUT", "LOW_EV", "TIMEOUT", "EPSILON_CLAMPED", "REASONS_OMITTED"} <= set(codes())


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("rule", rules())
def test_every_rule_has_words(rule, lang):
    said = rule_said(words(lang), "eligibility", rule)
    assert said != rule
    assert "_" not in said
    assert "{" not in said


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("code", codes())
def test_every_reason_and_remark_has_words(code, lang):
    t = words(lang)
    assert t.known(f"decision.reason.{code}") or t.known(f"decision.note.{code}")


def test_reasons_and_remarks_are_told_apart():
    """What a run notes is a remark; what ends a decision is a reason; staleness is both."""
    noted = [*texts(DECISION / "pipeline.py", "of"), *texts(DECISION / "pipeline.py", "_wanted")]
    noted = {text for text in noted if re.fullmatch(r"[A-Z][A-Z_]+", text)}
    t = words("en")
    assert all(t.known(f"decision.note.{code}") for code in noted)
    assert all(t.known(f"decision.reason.{code}") for code in (set(codes()) - noted) | {"FEATURES_STALE"})


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("status", get_args(Status)),
        ("stage", STAGES_OF_DECISION),
        ("funnel", tuple(Funnel.model_fields)),
        ("objective", OBJECTIVES),
        ("maturity", ("mature", "young", "prior")),
        ("mode", ("epsilon", "softmax")),
        ("event", (*TYPES, "decision")),
        ("timing", (*STAGES, "total")),
        ("context", tuple(name for name in Context.model_fields if name != "attributes")),
        ("step", ("propensity", "propensity_plain", "context_weight", "value", "lever", "priority")),
    ],
)
def test_every_name_of_a_kind_has_words(prefix, names):
    assert names
    assert all(words(lang).known(f"decision.{prefix}.{name}") for name in names for lang in LANGUAGES)


def test_the_stages_are_those_of_the_code():
    written = {text for name in MAKERS for text in texts(DECISION / f"{name}.py")}
    assert set(STAGES_OF_DECISION) <= written


def test_the_states_and_tiers_of_the_shipped_policy_have_words():
    policy = configs.read_yaml(Path(configs.__file__).parent / "policy.yaml")
    for lang in LANGUAGES:
        assert all(words(lang).known(f"decision.lifecycle.{name}") for name in policy["lifecycle_states"])
        assert all(words(lang).known(f"decision.tier.{name}") for name in policy["value_tiers"])


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("unit", ["day", "week", "month"])
@pytest.mark.parametrize("rolling", [True, False])
@pytest.mark.parametrize("everyone", [True, False])
def test_every_cap_has_words(lang, unit, rolling, everyone):
    said = cap_said(words(lang), Cap("gentle", "order", everyone, 3, 2, unit, rolling, True))
    assert "3" in said
    assert "2" in said
    assert "{" not in said
    assert "gentle" not in said


def test_a_cap_is_told_by_its_name_where_nobody_has_it():
    t = words("en")
    assert rule_said(t, "cap", "gentle") == "reached the cap named gentle"
    cap = Cap("gentle", "my_event", False, 1, 1, "month", False, False)
    assert rule_said(t, "cap", "gentle", {"gentle": cap}).startswith("limit reached: 1 × my_event for this user")


@given(st.text(max_size=60), st.sampled_from(STAGES_OF_DECISION))
def test_any_rule_is_told_somehow(rule, stage):
    """Rules carry names from outside: braces, colons, line feeds."""
    for lang in LANGUAGES:
        assert isinstance(rule_said(words(lang), stage, rule), str)
    for made in (f"not_interested:{rule}", f"when:{rule}", f"store={rule}", f"need_satisfied:{rule}:1.0d<2.0d"):
        said = rule_said(words("en"), stage, made)
        assert rule in said or f"store={rule}" == "store=unknown"


@pytest.mark.parametrize("status", get_args(Status))
def test_a_status_without_a_reason_is_told_alone(status):
    assert status_said(words("zh"), status, None)[1] == ""
    assert status_said(words("en"), status, "NEW_CODE")[1] == "NEW_CODE"


def test_times_are_told_in_their_handiest_unit():
    t = words("en")
    told = [lasting(t, us) for us in (500_000, 90_000_000, 7_200_000_000, 172_800_000_000, -90_000_000)]
    assert told == ["0.5 s", "1.5 min", "2.0 h", "2.0 d", "-1.5 min"]
    assert instant_of(1_780_000_000_999_999) == "2026-05-28 20:26:40"
