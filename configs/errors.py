"""Every error that userops raises on purpose, in one tree.

::

    UseropsError                 anything a user can act on; the command line prints it without a traceback
    ├── ConfigError              a file under configs/ (or the environment) says something impossible
    │   └── RuleError            a rule of the decision (policy, offer, cap, expression) cannot be meant
    ├── ObjectiveUnavailable     a decision was asked for an objective that no model in force can serve
    ├── SourceError              a data file cannot be read the way its mapping says
    ├── EventsError              the event store is missing, empty or damaged
    ├── FeatureError             a feature table, the catalogue or the store cannot give what was asked
    │   └── CatalogueMismatch    two parts were built from different feature catalogues
    ├── TrainingError            a training set or a fit is impossible (no positives, no mature labels, ...)
    ├── RegistryError            MLflow does not hold the model, version or alias that was asked for
    ├── GateError                a version may not become champion; it lists every reason
    ├── AuditError               the audit table cannot be reached, or a row of it was altered
    ├── KeysError                the file of keys cannot be used, or a key cannot be issued
    │   └── KeyRefused           a key is absent, wrong, expired, revoked or of another scope
    ├── BundleError              a release is missing, truncated, altered or of another catalogue
    ├── Forgotten                somebody who was erased would be written of again
    └── LogError                 the decision log cannot be reached, written or exported
        └── IdempotencyConflict  a key came again with another body
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuditError",
    "BundleError",
    "CatalogueMismatch",
    "ConfigError",
    "EventsError",
    "FeatureError",
    "Forgotten",
    "GateError",
    "IdempotencyConflict",
    "KeyRefused",
    "KeysError",
    "LogError",
    "ObjectiveUnavailable",
    "RegistryError",
    "RuleError",
    "SourceError",
    "TrainingError",
    "UseropsError",
]


class UseropsError(Exception):
    """What went wrong, the two values, the likely cause and the command to run.

    Parameters
    ----------
    what
        One sentence: which thing, in which place (file, line, field).
    got, expected
        The two values that do not agree.
    because
        The most likely cause.
    run
        What to run or change next.

    Examples
    --------
    >>> print(UseropsError("snapshot is empty", got=0, expected="at least 1 user", run="userops ingest shop"))
    snapshot is empty
      got: 0
      expected: at least 1 user
      run: userops ingest shop
    """

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        because: str | None = None,
        run: str | None = None,
    ) -> None:
        self.what, self.got, self.expected, self.because, self.run = what, got, expected, because, run
        details = (("got", got), ("expected", expected), ("likely because", because), ("run", run))
        super().__init__("\n  ".join([what, *(f"{name}: {value}" for name, value in details if value is not None)]))


class ConfigError(UseropsError):
    """A file under ``configs/``, or the environment, says something impossible."""


class RuleError(ConfigError):
    """A rule of the decision (policy, offer, cap, expression) says something impossible."""


class ObjectiveUnavailable(UseropsError):
    """A decision was asked for an objective that no model in force can serve."""


class SourceError(UseropsError):
    """A data file cannot be read the way its mapping says."""


class EventsError(UseropsError):
    """The event store is missing, empty or damaged."""


class FeatureError(UseropsError):
    """A feature table, the catalogue or the store cannot give what was asked.

    Where it is only some of what was asked, ``rows`` are their places in it; the others can be asked for again.
    """

    rows: tuple[int, ...] = ()


class CatalogueMismatch(FeatureError):
    """Two parts were built from different feature catalogues."""


class TrainingError(UseropsError):
    """A training set or a fit is impossible; ``zh`` says it in Chinese, where reviewers read why something is missing.

    Examples
    --------
    >>> TrainingError("nothing to learn from", zh="没有可学习的数据", got=0).words
    {'en': 'nothing to learn from; got: 0', 'zh': '没有可学习的数据'}
    """

    def __init__(self, what: str, *, zh: str = "", **told: Any) -> None:
        self.zh = zh
        super().__init__(what, **told)

    @property
    def words(self) -> dict[str, str]:
        """All of it in one line and in both languages; in English twice where nobody wrote it in Chinese."""
        said = str(self).replace("\n ", ";")
        return {"en": said, "zh": self.zh or said}


class RegistryError(UseropsError):
    """MLflow does not hold the model, version or alias that was asked for."""


class GateError(UseropsError):
    """A version may not become champion; every reason is listed, not only the first."""


class AuditError(UseropsError):
    """The audit table cannot be reached, or a row of it is not what was written."""


class KeysError(UseropsError):
    """The file of keys cannot be read or written, or a key cannot be issued as asked."""


class KeyRefused(KeysError):
    """A key opens nothing here; ``reason`` is ``absent``, ``wrong``, ``expired``, ``revoked`` or ``scope``."""

    def __init__(self, reason: str, scope: str = "sign") -> None:
        self.reason = reason
        super().__init__(f"the key is refused: {reason}", run=f"userops keys add NAME --scope {scope}")


class BundleError(UseropsError):
    """A release is missing, truncated, altered or of another catalogue."""


class Forgotten(UseropsError):
    """Somebody whom `userops forget` has erased would be written of again."""

    def __init__(self) -> None:
        super().__init__(
            "this person was erased: nothing is written of them any more",
            because="userops forget was run for this id, or for the user behind it",
        )


class LogError(UseropsError):
    """The decision log cannot be reached, written or exported."""


class IdempotencyConflict(LogError):
    """A key came again with another body."""
