"""Everybody's scores as files: whole parts, one writer, one source, and going on after whatever ended a run."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import configs
from configs.errors import FeatureError, UseropsError
from features.catalog import NAMES, digest
from serving.bulk import plan
from serving.bulk.folder import Folder
from serving.bulk.run import score_everybody
from serving.bulk.score import Scorer
from serving.bulk.wishes import log_of, wishes_of
from serving.log import DecisionLog
from serving.scoring import current, write_release

NOW = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
AS_OF = datetime(2026, 11, 21, tzinfo=UTC)
USERS = 60
PARTS = 6


def snapshot(home: Path, values: np.ndarray, as_of: datetime = AS_OF) -> Path:
    """A stored snapshot of so many users, ten in a group of rows."""
    path = home / "features" / "user" / f"{as_of:%Y-%m-%dT%H%M%SZ}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    instants = pa.array([as_of] * len(values), pa.timestamp("us", "UTC"))
    columns = [pa.array([f"u{k:03}" for k in range(len(values))]), instants, instants]
    columns += [pa.array(column, from_pandas=True) for column in values.T]
    table = pa.Table.from_arrays(columns, ["user_id", "as_of", "built_at", *NAMES])
    pq.write_table(table.replace_schema_metadata({"catalogue_digest": digest()}), path, row_group_size=10)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory, catalogue_models, vectors_of):
    folder = tmp_path_factory.mktemp("bulk")
    write_release(folder / "releases", catalogue_models, digest(), NOW, {"alias": "champion"})
    snapshot(folder, vectors_of(NAMES, USERS, 5))
    return folder


@pytest.fixture
def config(home, monkeypatch):
    monkeypatch.setattr(plan, "ROWS", 10)
    return dataclasses.replace(configs.load(home, NOW), threads=2)


def rows_of(folder: Path) -> list[dict]:
    return pq.read_table(folder).to_pylist()


def parts_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Each part and what tells whether it was written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("part-*.parquet")}


class Stopping:
    """A scorer that does something before its nth batch."""

    def __init__(self, monkeypatch, number, action):
        self.seen, whole = 0, Scorer.scored

        def scored(scorer, batch, withheld=frozenset()):
            self.seen += 1
            if self.seen == number:
                action()
            return whole(scorer, batch, withheld)

        monkeypatch.setattr(Scorer, "scored", scored)


def test_every_user_is_scored_once_in_the_order_of_the_snapshot(config, tmp_path):
    told = score_everybody(config, tmp_path / "out", ("churn", "value"), reasons=2)
    assert told["snapshot"]["users"] == USERS
    for model in ("churn", "value"):
        rows = rows_of(tmp_path / "out" / model)
        assert [row["user_id"] for row in rows] == [f"u{k:03}" for k in range(USERS)]
        assert (told["models"][model]["rows"], told["models"][model]["parts"]) == (USERS, PARTS)
        about = pq.read_schema(tmp_path / "out" / model / "part-00000.parquet").metadata
        assert about[b"release_id"].decode() == told["release_id"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {one["parts"] for one in manifest["models"].values()} == {PARTS}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "churn", "manifest.json", "value"]


def test_files_hold_what_the_pure_function_gives(config, home, tmp_path):
    score_everybody(config, tmp_path / "out", ("repurchase",), lang="zh")
    batch = pq.ParquetFile(next((home / "features" / "user").glob("*.parquet"))).read().combine_chunks().to_batches()[0]
    own = Scorer(str(current(home / "releases")), "repurchase", 3, "zh").scored(batch)
    assert rows_of(tmp_path / "out" / "repurchase") == own.to_pylist()


def test_what_is_done_is_not_done_again_and_other_models_may_join(config, tmp_path, monkeypatch):
    out = tmp_path / "out"
    score_everybody(config, out, ("churn",))
    before = parts_of(out / "churn")
    (out / "churn" / "part-00003.parquet").unlink()
    stopping = Stopping(monkeypatch, 0, lambda: None)
    told = score_everybody(config, out, ("churn", "value"))
    after = parts_of(out / "churn")
    assert {name for name in after if after[name] != before[name]} == {"part-00003.parquet"}
    assert stopping.seen == 1 + PARTS
    assert told["models"]["churn"]["parts_done_before"] == PARTS - 1
    assert len(rows_of(out / "churn")) == USERS


def test_an_interrupt_leaves_only_whole_parts_and_the_next_run_goes_on(config, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        Stopping(patch, 4, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            score_everybody(config, out, ("churn",))
    there = parts_of(out / "churn")
    assert len(there) < PARTS
    assert not list((out / "churn").glob(".part-*"))
    told = score_everybody(config, out, ("churn",))
    assert told["models"]["churn"]["parts_done_before"] == len(there)
    assert there.items() <= parts_of(out / "churn").items()
    assert [row["user_id"] for row in rows_of(out / "churn")] == [f"u{k:03}" for k in range(USERS)]


KILLED = """
import os, signal, sys, dataclasses, configs
from pathlib import Path
from serving.bulk import plan, run
from serving.bulk.score import Scorer
from serving.bulk.wishes import log_of, wishes_of
plan.ROWS, whole, seen = 10, Scorer.scored, []
def scored(self, batch, withheld):
    seen.append(1)
    if len(seen) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, batch, withheld)
Scorer.scored = scored
config = dataclasses.replace(configs.load(sys.argv[1]), threads=1)
run.score_everybody(config, Path(sys.argv[2]), ("churn",))
"""


def test_kill_9_loses_the_parts_that_were_being_written(config, tmp_path):
    out = tmp_path / "out"
    env = {**os.environ, "USEROPS_NOW": NOW.isoformat()}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(config.home), str(out)], env=env, check=False)
    assert killed.returncode == -signal.SIGKILL
    there = parts_of(out / "churn")
    assert sorted(there) == [f"part-{number:05}.parquet" for number in range(3)]
    assert [path.name[:19] for path in (out / "churn").glob(".part-*")] == [".part-00003.parquet"]
    told = score_everybody(config, out, ("churn",))
    assert told["models"]["churn"]["parts_done_before"] == 3
    assert there.items() <= parts_of(out / "churn").items()
    assert not list((out / "churn").glob(".part-*"))
    assert len(rows_of(out / "churn")) == USERS


def test_a_second_run_at_once_is_refused(config, tmp_path):
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("a+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UseropsError, match="another run writes into"):
            score_everybody(config, tmp_path / "out", ("churn",))


@pytest.mark.parametrize("changed", [{"reasons": 1}, {"lang": "zh"}])
def test_other_options_do_not_mix_with_what_is_there(config, tmp_path, changed):
    out = tmp_path / "out"
    score_everybody(config, out, ("churn",), reasons=0)
    with pytest.raises(UseropsError, match="--fresh"):
        score_everybody(config, out, ("churn",), **{"reasons": 0, **changed})
    told = score_everybody(config, out, ("churn",), fresh=True, **{"reasons": 0, **changed})
    assert told["models"]["churn"]["parts_done_before"] == 0


def test_another_snapshot_is_refused_and_as_of_picks_one(config, tmp_path, vectors_of):
    out = tmp_path / "out"
    score_everybody(config, out, ("churn",), reasons=0)
    earlier = datetime(2026, 11, 1, tzinfo=UTC)
    path = snapshot(config.home, vectors_of(NAMES, 15, 6), earlier)
    try:
        with pytest.raises(UseropsError, match=r"likely because: release, snapshot or options changed"):
            score_everybody(config, out, ("churn",), reasons=0, as_of=datetime(2026, 11, 7, tzinfo=UTC))
        told = score_everybody(config, tmp_path / "then", ("churn",), as_of=datetime(2026, 11, 7, tzinfo=UTC))
        assert (told["snapshot"]["as_of"], told["snapshot"]["users"]) == (earlier.isoformat(), 15)
        assert all(row["stale"] for row in rows_of(tmp_path / "then" / "churn"))
    finally:
        path.unlink()


def test_a_folder_of_something_else_is_left_alone(config, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UseropsError, match="is not a folder of scores"):
        score_everybody(config, tmp_path, ("churn",), fresh=True)
    with pytest.raises(UseropsError, match="is not a folder of scores"):
        score_everybody(config, tmp_path / "letter.txt", ("churn",))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_wishes_are_heeded_wherever_the_log_lies(config, tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("USEROPS_DECISIONS", uri)
    assert log_of(config) is None
    assert not (tmp_path / "elsewhere.db").exists(), "looking made it"
    log = DecisionLog.open(uri)
    log.set_personalization("u003", False, 1)
    log.close()
    found = log_of(config)
    assert wishes_of(found, ["u003", "u004"]).withheld == {"u003"}
    found.close()


def test_wishes_are_asked_for_when_a_part_is_scored(config, tmp_path):
    log = DecisionLog.open(config.decisions_uri)
    log.set_personalization("u007", False, 1)
    try:
        score_everybody(config, tmp_path / "out", ("churn",))
    finally:
        log.set_personalization("u007", True, 2)
        log.close()
    withheld = [row for row in rows_of(tmp_path / "out" / "churn") if row["status_reason"] == "PERSONALIZATION_OFF"]
    assert [row["user_id"] for row in withheld] == ["u007"]
    assert withheld[0]["p_inactive_30d"] == {
        "p": 0.61,
        "percentile": None,
        "raw": None,
        "status_reason": "PERSONALIZATION_OFF",
        "reasons": [],
    }


def test_a_snapshot_replaced_meanwhile_is_not_mixed_with_itself(home, config, tmp_path, monkeypatch, vectors_of):
    own = dataclasses.replace(config, home=tmp_path / "home", threads=1)
    path = snapshot(own.home, vectors_of(NAMES, USERS, 5))
    (own.home / "releases").symlink_to(home / "releases")
    with monkeypatch.context() as patch:
        Stopping(patch, 3, lambda: snapshot(own.home, vectors_of(NAMES, USERS, 9)))
        with pytest.raises(FeatureError, match="is not what it was when the scoring began"):
            score_everybody(own, tmp_path / "out", ("churn",))
    assert len(parts_of(tmp_path / "out" / "churn")) == 3
    with monkeypatch.context() as patch:
        Stopping(patch, 3, path.unlink)
        with pytest.raises(FeatureError, match="is not what it was when the scoring began"):
            score_everybody(own, tmp_path / "out", ("churn",), fresh=True)


def test_how_many_have_no_score_is_told(home, config, tmp_path, vectors_of):
    own = dataclasses.replace(config, home=tmp_path / "home")
    values = vectors_of(NAMES, USERS, 5)
    values[[7, 11], 3] = np.inf
    snapshot(own.home, values)
    (own.home / "releases").symlink_to(home / "releases")
    told = score_everybody(own, tmp_path / "out", ("churn",))["models"]["churn"]
    assert (told["users"], told["rows"], told["unavailable"]) == (USERS, USERS, 2)


def test_two_tries_at_one_part_do_not_write_into_one_file(tmp_path):
    folder, batch = Folder(tmp_path), pa.record_batch({"a": [1, 2]})
    (tmp_path / "churn").mkdir()
    with folder.writing("churn", 0, batch.schema) as one:
        with folder.writing("churn", 0, batch.schema) as other:
            other.write_batch(batch)
        assert folder.rows("churn", 0) == 2
        one.write_batch(batch)
    assert folder.rows("churn", 0) == 2
    assert [path.name for path in (tmp_path / "churn").iterdir()] == ["part-00000.parquet"]


def test_beginning_anew_can_be_killed_and_begun_again(config, tmp_path, monkeypatch):
    out, unlink, seen = tmp_path / "out", Path.unlink, []

    def dying(path, missing_ok=False):
        seen.append(path)
        if len(seen) == 3:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    score_everybody(config, out, ("churn",), reasons=0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", dying)
        with pytest.raises(KeyboardInterrupt):
            score_everybody(config, out, ("churn",), reasons=1, fresh=True)
    assert score_everybody(config, out, ("churn",), reasons=1, fresh=True)["models"]["churn"]["rows"] == USERS


def test_what_cannot_be_scored_is_said_before_anything_is_written(config, tmp_path):
    with pytest.raises(UseropsError, match="no such model"):
        score_everybody(config, tmp_path / "out", ("churn", "weather"))
    with pytest.raises(FeatureError, match="no snapshot of user features"):
        score_everybody(config, tmp_path / "out", ("churn",), as_of=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(UseropsError, match="no such model"):
        score_everybody(config, tmp_path / "out")  # this release has no interest model
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
