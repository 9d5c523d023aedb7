"""May this version become champion? Everything that speaks against it, not only the first; what is missing does too.

"Not worse than the champion" is proven neither way by a few origins. So a difference within the margin suffices, proven
or not; it is refused beyond the margin, and when even the favourable end of its interval is worse by half of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from configs import Config, ModelConfig
from configs.audit import verify
from configs.errors import AuditError, UseropsError
from configs.reviews import missing_approval, shown
from features.catalog import digest
from serving.scoring import verified
from serving.scoring.folder import read_folder
from training.checks import BLOCKERS, Outcome
from training.checks.run import run_checks, seal_of, stored_checks
from training.compare.comparison import Comparison, compare
from training.forecasts import past_origins
from training.gate.case import Case, Progress, Reason
from training.gate.files import own_files
from training.registry import Registry
from training.search.touched import touched_until, untouched_count

__all__ = ["Reason", "Verdict", "judge_promotion"]

PARITY, SEVERAL_ORIGINS = "P010", "P008"


@dataclass(frozen=True)
class Verdict:
    """Whether the version may become champion; every reason why not; and what it was judged by, as JSON."""

    model: str
    version: str
    run_id: str
    champion: str | None
    reasons: list[Reason] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def allowed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return {"allowed": self.allowed, **asdict(self)}


def judge_promotion(config: Config, model: ModelConfig, version: str, progress: Progress | None = None) -> Verdict:
    """Judge a version (a number or an alias) by the model's gate; checks that were never run are run now.

    Raises
    ------
    RegistryError
        When there is no such version: of that there is nothing to judge.
    """
    registry = Registry(config)
    candidate = registry.version(model.name, version)
    with TemporaryDirectory() as scratch:
        case = Case(config, model, registry, candidate, Path(scratch), progress or (lambda message, fraction: None))
        reasons = [
            reason
            for look in (_audited, _artefact, _metrics, _heads, _checked, _not_worse, own_files, _approved)
            for reason in look(case)
        ]
        return Verdict(model.name, candidate.version, candidate.run_id, case.before, reasons, case.evidence)


def _audited(case: Case) -> Iterator[Reason]:
    """The audit table is as it was written, and holds what the version's tags say it holds."""
    run = "userops audit"
    try:
        case.evidence["audit_rows"] = verify(case.config.audit_uri)
        rows = case.rows()
    except AuditError as error:
        yield case.reason(
            "audit", error.what, "审计表被篡改或无法读取", error.got, error.expected or "rows as written", run
        )
        return
    named = case.candidate.tags.get("review.audit")
    if named and named not in {row.digest for row in rows}:
        what = "the review that the version's tags name is not in the audit table"
        yield case.reason("audit", what, "版本标签所指的审核记录不在审计表中", named, "a row of that digest", run)


def _artefact(case: Case) -> Iterator[Reason]:
    """The files are whole, are this version's, and read the features that there are."""
    run = "userops train {model}"
    try:
        meta = read_folder(case.folder).meta
        case.evidence["model_json"] = verified.sha256((case.folder / "model.json").read_bytes())
    except UseropsError as error:
        yield case.reason("artefact", error.what, "模型文件缺失或被改动", error.got, error.expected or "its files", run)
        return
    case.evidence["data_hash"] = _data_hash(meta)
    case.evidence["trained_by"] = meta.get("trained_by")
    for name, got, expected in (
        ("version", str(meta["version"]), case.candidate.version),
        ("run_id", meta["run_id"], case.candidate.run_id),
    ):
        if got != expected:
            what = f"the files belong to another {name}"
            yield case.reason("artefact", what, f"模型文件的 {name} 不符", got, expected, run)
    if meta["catalogue_digest"] != digest():
        what = "it was trained on another feature catalogue"
        yield case.reason("parity", what, "模型训练所用的特征目录与现在不同", meta["catalogue_digest"], digest(), run)


def _metrics(case: Case) -> Iterator[Reason]:
    """Every head has every metric that the gate requires, as a finite number."""
    found = case.candidate.metrics
    case.evidence["gate"] = asdict(case.model.gate)
    case.evidence["metrics"] = {name: value for name, value in sorted(found.items()) if ".baseline." not in name}
    # A year ahead is answered before there is a year to judge it by: ``model.json`` says of which heads.
    later = _not_judged(case.meta.get("heads", {}))
    case.evidence["heads"] = {"served": case.heads, "not_judged_yet": later}
    judged = [head for head in case.heads if head not in later]
    if not judged:
        yield case.reason("metric", "no head was judged", "没有任何输出经过评估", later, "one", "userops train {model}")
    for head in judged:
        for metric in case.model.gate.required:
            name = f"{head}.{metric}".replace("@", "_at_")
            if not math.isfinite(found.get(name, math.nan)):
                what, zh = f"metric {name} is missing", f"缺少指标 {name}"
                yield case.reason("metric", what, zh, found.get(name), "a number", "userops train {model}")


def _heads(case: Case) -> Iterator[Reason]:
    """No score that customers get today goes away."""
    if case.before is None or case.before == case.candidate.version:
        return
    served = case.heads_before
    if lost := sorted(set(served) - set(case.heads)):
        what = f"it does not answer {', '.join(lost)}, which the champion does"
        zh = f"缺少冠军模型已有的输出：{', '.join(lost)}"
        yield case.reason("heads", what, zh, sorted(case.heads), sorted(served), "userops train {model}")


def _checked(case: Case) -> Iterator[Reason]:
    """No blocking check fires, and none of them is without an answer; parity must have been seen to hold."""
    arguments = (case.config, case.model, case.candidate.version)
    there, thorough = _known(case)
    excused = SEVERAL_ORIGINS if case.before is None else None
    unanswered = [
        code
        for code in BLOCKERS
        # What is published may have changed a minute ago: of parity no answer is kept.
        if code == PARITY or not thorough or code not in there or (there[code].status == "skipped" and code != excused)
    ]
    run = run_checks(*arguments, lambda message, fraction: case.show(message, 0.5 * fraction), only=unanswered)
    there |= {outcome.code: outcome for outcome in run}
    case.evidence["checks"] = {code: _short(outcome) for code, outcome in sorted(there.items())}
    again = "userops check {model} {version}"
    for code in BLOCKERS:
        outcome = there.get(code)
        if outcome is None:
            yield case.reason("check", f"check {code} was not run", f"检查 {code} 未运行", None, "an outcome", again)
        elif outcome.status == "skipped" and code == excused:
            case.evidence["accepted"] = f"{code} skipped: a first champion may have been judged at one origin only"
        elif outcome.status == "skipped":
            what, zh = f"check {code} could not be run", f"检查 {code} 无法运行"
            yield case.reason("check", what, zh, outcome.explanation["en"], "an outcome", again)
        elif outcome.status == "ignored" and code not in case.model.ignored_checks:
            what, zh = f"check {code} was ignored, and its finding is not accepted any more", f"检查 {code} 不再被忽略"
            yield case.reason("check", what, zh, "ignored", f"ignored_checks: {{{code}: reason}}", again)
    for outcome in there.values():
        if outcome.blocks:
            kind = "parity" if outcome.code == PARITY else "check"
            what, zh = (f"{outcome.code} {outcome.title[lang]}: {outcome.explanation[lang]}" for lang in ("en", "zh"))
            yield case.reason(kind, what, zh, "issue", "no blocking issue", again)


def _known(case: Case) -> tuple[dict[str, Outcome], bool]:
    """What was said of these very data, features and files; and whether it was looked at as thoroughly as is needed."""
    stored = stored_checks(case.config, case.model.name, case.candidate.version)
    seal = seal_of(case.config, case.registry, case.candidate)
    if any(stored.get(name) != value for name, value in seal.items()):
        return {}, True
    outcomes = [Outcome(**one) for one in stored["outcomes"]]
    return {one.code: one for one in outcomes}, bool(stored.get("thorough")) or case.before is None


def _not_worse(case: Case) -> Iterator[Reason]:
    """On the same users and origins, no head is worse than the champion's by more than the margin."""
    gate, again = case.model.gate, "userops compare {model} champion {version}"
    if case.before is None:
        case.evidence["comparison"] = (
            "first champion: there is nothing to compare with; check P004 judges the baselines"
        )
        return
    if case.before == case.candidate.version:
        return
    try:
        origins = untouched_count(case.meta, gate.origins, lambda count: past_origins(case.config, case.model, count))
        if origins < gate.origins:
            case.evidence["touched"] = {"until": str(touched_until(case.meta)), "origins_left": origins}
        if not origins:
            until = f"{touched_until(case.meta):%Y-%m-%d}"
            what = "the search of its parameters has seen every origin that the gate judges by"
            zh, run = (
                "参数搜索已见过晋级评审所用的全部时点",
                "userops train {model} --defaults, or wait for newer labels",
            )
            yield case.reason("comparison", what, zh, f"labels until {until} used", "an origin after that", run)
            return
        found = compare(
            *(case.config, case.model, case.before, case.candidate.version),
            progress=lambda message, fraction: case.show(message, 0.5 + 0.5 * fraction),
            origins=origins,
            in_brief=True,
        )
    except UseropsError as error:
        what, zh = f"it cannot be compared with the champion: {error.what}", "无法与冠军模型比较"
        yield case.reason("comparison", what, zh, error.got, error.expected, again)
        return
    case.evidence["comparison"] = found.as_json()
    yield from _worse(case, found, again)


def _worse(case: Case, found: Comparison, again: str) -> Iterator[Reason]:
    gate = case.model.gate
    case.evidence["rule"] = (
        f"not proven worse suffices: {gate.decides} worse by at most {gate.margin:g}, and an interval of the "
        f"difference that begins at or below {gate.margin / 2:g}"
    )
    owed = set(found.heads_of_first) - set(_not_judged(case.heads_before))
    for head in case.heads:
        difference = found.worse_by(head, gate.decides)
        if difference is None:
            if head in owed:
                what, zh = f"{head}: no paired {gate.decides}", f"{head}：缺少配对比较的 {gate.decides}"
                yield case.reason("comparison", what, zh, None, "a paired difference", again)
            continue
        got = f"worse by {difference.value:.4g} [{difference.low:.4g}, {difference.high:.4g}]"
        if not difference.value <= gate.margin:
            what = f"{head}: {gate.decides} is worse than the champion's beyond the margin"
            zh = f"{head}：{gate.decides} 比冠军模型差，超出允许范围"
            yield case.reason("comparison", what, zh, got, f"at most {gate.margin:g}", again)
        elif difference.low > gate.margin / 2:
            what = f"{head}: {gate.decides} is surely worse than the champion's, by more than half the margin"
            zh = f"{head}：{gate.decides} 确定比冠军模型差，超出允许范围的一半"
            expected = f"an interval that begins at or below {gate.margin / 2:g}: not proven worse suffices"
            yield case.reason("comparison", what, zh, got, expected, again)


def _approved(case: Case) -> Iterator[Reason]:
    """The reviewers that the policy demands have approved these very files, and nobody rejects them."""
    policy = case.model.gate.approval
    try:
        rows = case.rows()
    except AuditError:
        rows = []
    case.evidence["reviews"] = [
        {"who": row.who, "word": row.action, "at": row.at, "comment": row.comment, "audit": row.digest}
        for row in shown(rows)
    ]
    digest_now = str(case.evidence.get("model_json"))
    trainer = case.evidence.get("trained_by"), case.meta.get("trained_by_account")
    for lack in missing_approval(policy, rows, digest_now, *trainer):
        yield case.reason("approval", lack.what["en"], lack.what["zh"], lack.got, lack.expected, lack.run)


def _not_judged(heads: Mapping[str, Any]) -> list[str]:
    return [head for head, said in heads.items() if said.get("judged") is False]


def _data_hash(meta: dict[str, Any]) -> str | None:
    found: str | None = meta.get("training", {}).get("data", {}).get("data_hash")
    return found


def _short(outcome: Outcome) -> dict[str, str]:
    return {"status": outcome.status, "severity": outcome.severity, "title": outcome.title["en"]}
