"""What the answers of checks are called, for people who read a table of them."""

from __future__ import annotations

from collections.abc import Mapping

from training.checks.outcome import Text

__all__ = ["SEVERITY", "STATUS"]

STATUS: Mapping[str, Text] = {
    "issue": {"en": "issue", "zh": "有问题"},
    "tip": {"en": "tip", "zh": "提示"},
    "passed": {"en": "passed", "zh": "通过"},
    "not_applicable": {"en": "not_applicable", "zh": "不适用"},
    "skipped": {"en": "skipped", "zh": "未检查"},
    "ignored": {"en": "ignored", "zh": "已接受"},
}
SEVERITY: Mapping[str, Text] = {
    "blocker": {"en": "blocker", "zh": "阻断"},
    "warning": {"en": "warning", "zh": "警告"},
    "tip": {"en": "tip", "zh": "提示"},
}
