"""Every check there is, in the order of the codes."""

from __future__ import annotations

from training.checks import p010_offline_is_online
from training.checks.outcome import Check

__all__ = ["CHECKS"]

CHECKS: tuple[Check, ...] = (p010_offline_is_online.CHECK,)
