"""What a check is, what it found, and how that is called: six outcomes, of which only one is "passed"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.checks.subject import Subject

__all__ = ["BLOCKERS", "SEVERITIES", "STATUSES", "Check", "Found", "Outcome", "Text"]

#: The same words in ``en`` and ``zh``.
Text = Mapping[str, str]

STATUSES = (
    "issue",  # a blocker or a warning fired
    "tip",  # worth knowing, nothing is wrong
    "passed",  # looked, and found nothing
    "not_applicable",  # the question has no meaning for this model; never "passed"
    "skipped",  # could not be asked now; the explanation says why
    "ignored",  # fired, and the model's YAML accepts the finding with a reason
)
SEVERITIES = ("blocker", "warning", "tip")
#: The checks whose finding may keep a version from customers.
BLOCKERS = ("P001", "P002", "P004", "P005", "P008", "P010")


@dataclass(frozen=True)
class Found:
    """What one look found, in words and as JSON; ``severity`` is the check's own unless the evidence says otherwise."""

    status: str
    explanation: Text
    evidence: Mapping[str, Any]
    next_step: Text | None = None
    severity: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The answer of one check about one version.

    ``explanation`` says evidence and meaning in ``en`` and ``zh``, ``next_step`` what to do about it; ``evidence``
    holds the numbers as JSON.
    """

    code: str
    title: Text
    severity: str
    status: str
    evidence: Mapping[str, Any]
    explanation: Text
    next_step: Text

    @property
    def blocks(self) -> bool:
        """Whether it should keep the version from customers."""
        return self.status == "issue" and self.severity == "blocker"

    def as_json(self) -> dict[str, Any]:
        """The form in which it is stored; `Outcome(**content)` reads it back."""
        return asdict(self)

    def ignored(self, reason: str) -> Outcome:
        """The same where its finding is accepted; what has not fired stays as it is."""
        if self.status not in ("issue", "tip"):
            return self
        words = {
            "en": f"Accepted: {reason}. {self.explanation['en']}",
            "zh": f"已接受：{reason}。{self.explanation['zh']}",
        }
        return replace(self, status="ignored", explanation=words)


@dataclass(frozen=True)
class Check:
    """A question with an identity; ``look`` answers it about a subject, or raises a `UseropsError` when it cannot now.

    ``kinds`` are the kinds of models (``users``, ``value``, ``interest``) of which the question has a meaning, and
    ``otherwise`` says why it has none for the others.
    """

    code: str
    title: Text
    severity: str
    look: Callable[[Subject], Found]
    kinds: tuple[str, ...] = ("users", "value", "interest")
    otherwise: Text | None = None

    def outcome(self, found: Found) -> Outcome:
        """What was found, under this check's name."""
        severity = "tip" if found.status == "tip" else found.severity or self.severity
        nothing = {"en": "Nothing to do.", "zh": "无需处理。"}
        return Outcome(
            self.code, self.title, severity, found.status, found.evidence, found.explanation, found.next_step or nothing
        )
