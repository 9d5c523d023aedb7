from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import ibis
import pyarrow as pa

from features.behaviour import activity, basket, habits, purchases, season, taste
from features.behaviour.facts import WINDOWS
from features.behaviour.user import columns_read, user_features
from features.catalog import NAMES, USER_FEATURES, digest
from features.events import COLUMNS
from features.periods import as_utc
from features.tiles import ACTIVITY_KINDS, PARTS, PASSIVE_KINDS

UNITS = {"days", "count", "currency", "share", "ratio", "rate", "nats", "index"}


def test_the_vector_has_60_to_90_features_with_unique_names() -> None:
    assert 60 <= len(NAMES) <= 90
    assert len(set(NAMES)) == len(NAMES)
    assert tuple(f.name for f in USER_FEATURES) == NAMES


def test_every_group_module_is_in_the_catalogue() -> None:
    listed = [f for module in (purchases, activity, basket, taste, habits, season) for f in module.FEATURES]
    assert sorted(f.name for f in listed) == sorted(NAMES)


def test_names_are_identifiers_that_feast_and_ibis_accept() -> None:
    for name in NAMES:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        # ibis drops columns that end so after a join.
        assert not name.endswith(("_y", "_x", "_right")), name


def test_every_entry_says_what_it_means() -> None:
    for f in USER_FEATURES:
        assert set(f.meaning) == {"en", "zh"}, f.name
        assert f.meaning["en"].strip() == f.meaning["en"] != "", f.name
        assert re.search(r"[\u4e00-\u9fff]", f.meaning["zh"]), f.name
        assert f.absent, f.name
        assert f.unit in UNITS, f.name
        assert f.low is None or f.high is None or f.low < f.high, f.name
        assert set(f.needs) <= set(PARTS), f.name
        if f.unit == "share":
            assert (f.low, f.high) in {(0.0, 1.0), (0.0, 0.5)}, f.name


def test_a_window_in_the_name_is_the_window_of_the_entry() -> None:
    for f in USER_FEATURES:
        found = re.search(r"_(\d+)d$", f.name)
        if found and f.group != "trend":
            assert f.window_days == int(found[1]), f.name
        elif found:
            assert f.window_days == 2 * int(found[1]), f.name


def test_features_read_only_windows_that_the_facts_offer() -> None:
    for column in columns_read():
        found = re.search(r"_(\d+)d$", column)
        assert not found or int(found[1]) in (*WINDOWS, 30), column


def test_the_schema_is_the_vector_in_order() -> None:
    events = ibis.table(COLUMNS, name="events")
    schema = user_features(events, [as_utc("2011-09-10")]).schema()
    assert schema.names == ("user_id", "as_of", *NAMES)
    assert {str(schema[name]) for name in NAMES} == {"float64"}


def test_the_digest_changes_with_order_name_window_and_unit_and_with_nothing_else() -> None:
    first, *rest = USER_FEATURES
    for changed in (
        [*rest, first],
        rest,
        [replace(first, name="other"), *rest],
        [replace(first, window_days=3), *rest],
        [replace(first, unit="ratio"), *rest],
    ):
        assert digest(changed) != digest()
    assert digest([replace(first, meaning={"en": "other", "zh": "其他"}), *rest]) == digest()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest())


def test_passive_kinds_are_not_activity() -> None:
    assert set(PASSIVE_KINDS) == {"register", "coupon", "impression"}
    assert not set(PASSIVE_KINDS) & set(ACTIVITY_KINDS)
    at = as_utc("2011-09-01")
    rows = [
        {"user_id": "u", "event_type": kind, "event_at": at, "ingested_at": at, "event_id": kind}
        for kind in PASSIVE_KINDS
    ]
    kinds = {name: pa.timestamp("us", "UTC") if name.endswith("_at") else pa.string() for name in COLUMNS}
    kinds |= {name: pa.float64() for name in ("quantity", "amount")}
    events = ibis.memtable(pa.Table.from_pylist(rows, pa.schema(kinds.items())))
    (row,) = ibis.duckdb.connect().to_pyarrow(user_features(events, [as_utc("2011-09-10")])).to_pylist()
    assert row["days_since_last_activity"] is None
    assert row["tenure_days"] == 9.0


def test_importing_the_catalogue_imports_neither_ibis_nor_feast() -> None:
    code = "import sys, features.catalog; print(sorted({'ibis', 'feast', 'duckdb', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
