"""Every check there is, in the order of the codes."""

from __future__ import annotations

from training.checks import (
    p001_knows_the_label,
    p002_sees_the_test_period,
    p003_one_feature_is_enough,
    p004_not_better_than_a_baseline,
    p005_segment_calibration,
    p006_drift,
    p007_too_few_positives,
    p008_unstable,
    p009_useless_features,
    p010_offline_is_online,
)
from training.checks.outcome import Check

__all__ = ["CHECKS"]

CHECKS: tuple[Check, ...] = (
    p001_knows_the_label.CHECK,
    p002_sees_the_test_period.CHECK,
    p003_one_feature_is_enough.CHECK,
    p004_not_better_than_a_baseline.CHECK,
    p005_segment_calibration.CHECK,
    p006_drift.CHECK,
    p007_too_few_positives.CHECK,
    p008_unstable.CHECK,
    p009_useless_features.CHECK,
    p010_offline_is_online.CHECK,
)
