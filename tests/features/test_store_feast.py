"""A stranger's Feast commands work on the repository as on any other, from its root, wherever the home lies."""

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast.repo_operations import get_repo_files

from configs import load
from configs.history import WIDTH
from features import online, vectors
from features.catalog import NAMES, digest
from features.definitions import BEHAVIOUR_VIEW, declare
from features.store import Store

ROOT = Path(__file__).parents[2]
AS_OF = datetime(2024, 2, 1, tzinfo=UTC)
HISTORIES = [[float(number) for number in range(2 * WIDTH)], []]


@pytest.fixture(scope="module")
def home(tmp_path_factory, online_store):
    home = tmp_path_factory.mktemp("home")
    stamps = {name: pa.array([AS_OF] * 2, pa.timestamp("us", "UTC")) for name in ("as_of", "built_at")}
    columns = {name: [float(number), None] for number, name in enumerate(NAMES)}
    tables = {"user": columns, "profile": {"profile": ["{}", "{}"]}, "history": {"history": HISTORIES}}
    for table, content in tables.items():
        (home / "features" / table).mkdir(parents=True)
        path = home / "features" / table / "2024-02-01T000000Z.parquet"
        pq.write_table(pa.table({"user_id": ["a", "b"], **stamps, **content}), path)
    return home


# One process for all commands (Feast takes seconds to import), each started where a stranger would stand; -P leaves the
# current folder off the path, as the installed command does.
RUN = """
import json, os, sys
from feast.cli.cli import cli
for arguments in json.loads(sys.argv[1]):
    os.chdir(sys.argv[2])
    cli.main(["-c", "features", *arguments], prog_name="feast", standalone_mode=False)
"""


def feast(home, *commands):
    environment = {**os.environ, "USEROPS_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-c", RUN, json.dumps(commands), str(ROOT)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_feast_reads_definitions_and_nothing_else():
    assert [path.name for path in get_repo_files(ROOT / "features")] == ["definitions.py"]


def test_apply_and_materialize_from_the_command_line(home):
    output = feast(
        home,
        ["apply"],
        ["feature-views", "list"],
        ["materialize", "2024-01-31T00:00:00", "2024-02-02T00:00:00"],
        ["get-online-features", "-f", "user_profile:profile", "-e", "user_id=a"],
    )
    assert BEHAVIOUR_VIEW in output
    assert (home / "registry.db").exists()

    # What Feast materialised is, to the byte, what we publish.
    store = Store(load(home, now=AS_OF))
    keys = vectors.entity_keys(["a", "b"])
    by_feast = store.published.read(keys, (online.VECTOR, online.HISTORY))
    expected = np.array([np.arange(len(NAMES), dtype=float), np.full(len(NAMES), np.nan)])
    assert [vector[0] for vector, _ in by_feast] == vectors.pack(expected, digest())
    assert [lines[0] for _, lines in by_feast] == [vectors.pack_list(np.array(one).tobytes()) for one in HISTORIES]
    assert store.publish().rows_written == 6
    assert store.published.read(keys, (online.VECTOR, online.HISTORY)) == by_feast
    assert store.profiles(["a"]) == [{}]
    assert store.decision_row("a").history.tolist() == HISTORIES[0]


def test_apply_twice_changes_nothing(tmp_path, caplog):
    store = Store(load(tmp_path, now=AS_OF))
    names = []
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            store.apply()
            registry = store.feast().registry
            views = registry.list_feature_views(online.PROJECT)
            services = registry.list_feature_services(online.PROJECT)
            names.append(sorted(one.name for one in [*views, *services]))
    ours = [BEHAVIOUR_VIEW, "user_history", "user_profile", "user_vector"]
    assert names[0] == names[1] == sorted([*store.config.models, *ours])


def test_declarations_are_made_from_the_catalogue(tmp_path):
    declared = declare(tmp_path, ["churn"])
    fields = [field.name for field in declared.user_behaviour.schema if field.name != "user_id"]
    assert sorted(fields) == sorted(NAMES)  # Feast keeps no order: that of the vector is the catalogue's
    assert not [name for name in fields if name.endswith("_y")], "Feast's DuckDB store drops such columns"
    assert not declared.user_behaviour.online
    assert declared.user_vector.tags["catalogue"] == digest()
    assert [service.name for service in declared.services] == ["churn"]
    for view in (declared.user_behaviour, declared.user_vector, declared.user_profile):
        assert Path(view.batch_source.path).is_absolute()


def test_a_new_catalogue_is_registered_before_it_is_used(tmp_path, caplog, monkeypatch):
    store = Store(load(tmp_path, now=AS_OF))
    with caplog.at_level(logging.ERROR):
        store.apply()
    applied = []
    monkeypatch.setattr(store, "apply", lambda: applied.append(True))
    store._applied()
    assert not applied
    store.digest = "sha256:" + "0" * 64
    store._applied()
    assert applied
