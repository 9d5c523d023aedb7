"""The faults of ``userops chaos`` that need nothing but a service, made on a small home."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from serving.chaos.fault import Skipped
from serving.chaos.registry import named
from serving.chaos.stage import Stage

NOW = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
FAULTS = (
    "online-half-written",
    "feature-missing",
    "features-infinite",
    "features-stale",
    "requests-no-numbers",
    "bundle-truncated",
    "bundle-tampered",
    "bundle-of-another-catalogue",
    "mlflow-down",
    "disk-full-decisions",
    "worker-killed",
    "service-killed",
)


@pytest.fixture(scope="module")
def stage(nbo_home, tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("chaos"), 0, now=NOW, mount=False)
    shutil.copytree(nbo_home(), stage.home, symlinks=True, dirs_exist_ok=True)
    yield stage
    stage.close()


@pytest.mark.parametrize("name", FAULTS)
def test_what_must_hold_holds(stage, name):
    try:
        assert named([name])[0].inject(stage)
    except Skipped as reason:
        pytest.skip(str(reason))
