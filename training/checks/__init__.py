"""Ten questions that a reviewer would ask of a version, P001 to P010: each with evidence, meaning and a next step.

`training.checks.run` asks them. What can be said without looking at anything is here, without a heavy import.
"""

from training.checks.outcome import BLOCKERS, STATUSES, Outcome

__all__ = ["BLOCKERS", "STATUSES", "Outcome"]
