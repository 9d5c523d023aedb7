"""The export: Open Bandit's columns, rewards inside their window only, and no file that cannot be used."""

import math
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

import serving.log.export
from configs.errors import LogError
from serving.log import DAY_US, Feedback, ShownOffer

NOW = 1_780_000_000_000_000
WEEK = 7 * DAY_US


def said(number, kind, at_us, decision="d_000001", offer="b", **more):
    return Feedback(f"e{number}", decision, offer, kind, at_us, **more)


def read(path):
    return pq.read_table(path).to_pylist()


def test_a_row_holds_what_open_bandit_asks_for(log, row, tmp_path):
    log.record(row())
    log.feedback([said(1, "order", NOW + 5, value=40.0), said(2, "return", NOW + 6, value=15.5)], at_us=NOW + 9)
    path = tmp_path / "new folder" / "log.parquet"
    assert log.export(path, NOW, NOW + 1) == 2
    shared = {
        "decision_id": "d_000001",
        "user_id": "u",
        "timestamp": datetime.fromtimestamp(NOW // 1_000_000, UTC),
        "context": [1.0, 1.0, 1.0],
        "channel": "wecom",
        "release_id": "r1",
        "policy_digest": "sha256:policy",
    }
    first = {"action": 0, "action_id": "a", "position": 0, "reward": 0.0, "pscore": 0.98, "value": 0.0}
    second = {"action": 1, "action_id": "b", "position": 1, "reward": 1.0, "pscore": 0.02, "value": 24.5}
    assert read(path) == [
        {**shared, **first, "placement": "sidebar", "p": 0.1, "priority": 2.5},
        {**shared, **second, "placement": None, "p": 0.05, "priority": 1.5},
    ]
    assert pq.read_schema(path).metadata[b"n_actions"] == b"2"
    assert [file.name for file in path.parent.iterdir()] == ["log.parquet"]


@pytest.mark.parametrize(
    ("kind", "after_us", "reward"),
    [
        ("click", 0, 1.0),
        ("click", WEEK, 1.0),
        ("click", WEEK + 1, 0.0),
        ("order", WEEK, 1.0),
        ("impression", 5, 0.0),
        ("like", 5, 0.0),
    ],
)
def test_a_reward_lies_inside_the_window_and_is_of_a_rewarded_type(log, row, tmp_path, kind, after_us, reward):
    log.record(row())
    log.feedback([said(1, kind, NOW + after_us)], at_us=NOW + 2 * WEEK)
    log.export(tmp_path / "f", 0, 2 * NOW)
    assert [line["reward"] for line in read(tmp_path / "f")] == [0.0, reward]
    log.export(tmp_path / "f", 0, 2 * NOW, reward_types=["impression"], attribution_us=10)
    assert [line["reward"] for line in read(tmp_path / "f")] == [0.0, float(kind == "impression")]


def test_only_what_a_policy_drew_in_the_range_is_in_it(log, row, tmp_path, monkeypatch):
    monkeypatch.setattr(serving.log.export, "DECISIONS_AT_ONCE", 3)
    fallback = (ShownOffer("popular", 1),)
    for number in range(20):
        offers = ((ShownOffer(f"o{number % 4}", 1, 0.1, 1.0),), fallback, ())[number % 3]
        log.record(row(number, decided_at_us=NOW + number // 2, offers=offers, vector=b""))
    assert log.export(tmp_path / "f", NOW + 1, NOW + 9) == len([n for n in range(2, 18) if n % 3 == 0])
    lines = read(tmp_path / "f")
    assert [line["decision_id"] for line in lines] == [f"d_{n:06d}" for n in range(2, 18) if n % 3 == 0]
    assert [line["action_id"] for line in lines] == [f"o{n % 4}" for n in range(2, 18) if n % 3 == 0]
    assert all(line["context"] is None for line in lines)
    assert {(line["action"], line["action_id"]) for line in lines} == {(n, f"o{n}") for n in range(4)}
    assert pq.ParquetFile(tmp_path / "f").num_row_groups > 1
    assert log.export(tmp_path / "none", 0, 5) == 0
    assert pq.read_table(tmp_path / "none").num_rows == 0


def test_a_decision_that_comes_while_it_is_written_does_not_end_it(log, row, tmp_path, monkeypatch):
    log.record(row())
    read_before = log._database.read

    def read_and_decide(sql, values=()):
        found = read_before(sql, values)
        if sql == serving.log.export._OFFERS:
            log.record(row(2, offers=(ShownOffer("a", 1, 0.1, 1.0), ShownOffer("brand new", 2, 0.1, 1.0))))
        return found

    monkeypatch.setattr(log._database, "read", read_and_decide)
    assert log.export(tmp_path / "f", 0, 2 * NOW) == 2
    assert log.export(tmp_path / "f", 0, 2 * NOW) == 4


@pytest.mark.parametrize("pscore", [0.0, -0.1, 1.1, math.inf])
def test_a_probability_that_is_none_is_refused_and_leaves_the_old_file(log, row, tmp_path, pscore):
    log.record(row())
    log.export(tmp_path / "f", 0, 2 * NOW)
    before = (tmp_path / "f").read_bytes()
    log.record(row(2, offers=(ShownOffer("a", 1, 0.1, pscore),)))
    with pytest.raises(LogError, match="d_000002"):
        log.export(tmp_path / "f", 0, 2 * NOW)
    assert (tmp_path / "f").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []


@pytest.mark.parametrize("types", [[], ["hover"]])
def test_a_type_that_is_none_is_refused(log, tmp_path, types):
    with pytest.raises(LogError):
        log.export(tmp_path / "f", 0, 1, reward_types=types)
