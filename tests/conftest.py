"""A home in which the whole way has been walked once, by the commands a user would type."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# LightGBM reads it when it is loaded; `make test` sets it too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).parents[1]
END = "2026-06-01"


@dataclass(frozen=True)
class Walked:
    """A home after ``userops`` went from a simulated shop to published features."""

    home: Path
    shop: Path

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``userops WORDS`` in this home, with the clock at the end of the shop."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "userops.py"), *words],
            env={**os.environ, "USEROPS_HOME": str(self.home), "USEROPS_NOW": f"{END}T00:00:00+00:00"},
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    """Simulate, ingest, train, promote, release, build and publish: 2,000 people over 300 days."""
    home = tmp_path_factory.mktemp("home")
    walked = Walked(home, home / "shop")
    walked.run("simulate", str(walked.shop), "--users", "2000", "--days", "300", "--end", END)
    walked.run("ingest", "shop", "--data", str(walked.shop), "--json", str(home / "ingest.json"))
    walked.run("train", "--json", str(home / "train.json"))
    walked.run("promote")
    walked.run("release")
    walked.run("features", "build")
    walked.run("features", "publish", "--json", str(home / "publish.json"))
    return walked
