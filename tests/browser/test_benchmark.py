"""``userops benchmark console``, tiny: a larger home is laid out beside the real one, and every page is drawn."""

from __future__ import annotations

from configs import load
from serving import benchmark_console as benchmark
from serving.benchmark_console import Size, benchmark_console

PAGES = ("models", "card_churn", "learned_churn", "compare_churn", "users", "user", "decision", "replay")
SIZE = Size(users=2500, decisions=300, features=90, clicks=1, loads=1, connections=(2,), rounds=1, seconds=1.0)


def test_every_page_is_measured_over_a_home_of_its_own(desk, monkeypatch):
    # Those of the other models are opened by tests/browser/test_pages.py.
    monkeypatch.setattr(benchmark, "_pages", lambda stage, every=benchmark._pages: {p: every(stage)[p] for p in PAGES})
    before = sorted(path for path in desk.home.rglob("*") if not path.name.endswith(("-shm", "-wal")))
    found = benchmark_console(load(desk.home, desk.now), size=SIZE)
    assert sorted(path for path in desk.home.rglob("*") if not path.name.endswith(("-shm", "-wal"))) == before
    assert found["settings"]["users"] == SIZE.users
    assert found["settings"]["decisions"] == SIZE.decisions
    assert found["settings"]["not_drawn"] is None
    for page in PAGES:
        for name in ("server_p50_ms", "server_max_ms", "drawn_cold_ms", "all_warm_ms"):
            assert found["metrics"][f"{page}_{name}"]["value"] > 0
    assert found["ratios"]["p99_with_reviewer_nbo_c2"] > 0
    assert found["baselines"]["without_reviewer"]["nbo_c2_p99_ms"] > 0
