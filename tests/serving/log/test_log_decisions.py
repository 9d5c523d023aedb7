"""Decisions: exactly what was recorded comes back, one per request, and every acknowledged one survives kill -9."""

import dataclasses
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import LogError
from serving.log import DAY_US, DecisionLog, GlobalCount, Logged, ScoredCandidate, ShownOffer
from serving.log.decisions import pack_candidates, unpack_candidates

NOW = 1_780_000_000_000_000
DAY = "2026-05-28"

# What another process runs: records decisions that differ in `me`, and says which it may rely on.
RECORD = """
import sys
from serving.log import DecisionLog, DecisionRow, ShownOffer
uri, me, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = DecisionLog.open(uri)
print("ready", flush=True)
sys.stdin.readline()
for i in range(n):
    offers = (ShownOffer("a", 1, 0.5, 1.0, 1.0, "app", None), ShownOffer("b", 2, 0.5, 1.0, 1.0, "app", None))
    row = DecisionRow(f"{me}-{i}", f"q{i}", f"u{i % 7}", 1_780_000_000_000_000 + i, "decided", None, me, "r", "p",
                      f"h{i % 7}", b"12345678", b"history", b"{}", f'"{me}"'.encode(), offers)
    logged = log.record(row)
    print(i, me if logged is None else f"{logged.decision_id} {logged.body_digest} {logged.response.decode()}",
          flush=True)
"""


def test_what_was_recorded_comes_back(log, row):
    full = row(status_reason="EXPLORED")
    bare = row(2, offers=(), candidates=(), vector=b"", history=b"", vector_hash="", status="suppressed", inputs=b"{}")
    assert log.record(full) is None
    assert log.record(bare) is None
    assert log.decision(full.decision_id) == full
    assert log.decision(bare.decision_id) == bare
    assert log.decision("d_000003") is None


@given(
    st.lists(st.builds(ScoredCandidate, st.text(), st.floats(allow_nan=False), st.floats(allow_nan=False)), max_size=20)
)
def test_candidates_survive_packing_bit_for_bit(candidates):
    back = unpack_candidates(pack_candidates(candidates))
    assert back == tuple(candidates)
    assert [(str(c.p), str(c.priority)) for c in back] == [(str(c.p), str(c.priority)) for c in candidates]


def test_a_request_id_has_one_decision_until_its_time_is_over(log, row):
    first = row()
    assert log.request("q_1", NOW - DAY_US) is None
    log.record(first)
    answer = Logged("d_000001", "sha256:body", b'{"offers": [0.1]}')
    assert log.request("q_1", NOW) == answer
    assert log.request("q_1", NOW + 1) is None
    other = row(2, request_id="q_1", body_digest="sha256:other", decided_at_us=NOW + DAY_US)
    assert log.record(other) == answer, "the last microsecond of 24 h"
    assert log.decision("d_000002") is None
    later = dataclasses.replace(other, decided_at_us=NOW + DAY_US + 1)
    assert log.record(later) is None
    assert log.request("q_1", NOW).decision_id == "d_000002"
    assert log.decision("d_000001") == first
    soon = row(3, request_id="q_1", decided_at_us=NOW + DAY_US + 1002)
    assert log.record(soon, idempotent_us=1000) is None


def test_another_instance_knows_the_request(log, row, uri):
    log.record(row())
    again = DecisionLog.open(uri)
    assert again.request("q_1", NOW - DAY_US).decision_id == "d_000001"
    assert again.record(row(2, request_id="q_1")).decision_id == "d_000001"
    again.close()


def test_of_processes_with_one_request_one_wins_and_the_others_get_its_answer(log, uri, start):
    workers = [start(RECORD, uri, me, "60") for me in ("left", "middle", "right")]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    outputs = {}
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    for me, worker in zip(("left", "middle", "right"), workers, strict=True):
        outputs[me] = worker.communicate(timeout=60)[0].splitlines()
        assert worker.returncode == 0
    rows = list(log.decisions(0, 2 * NOW))
    assert len(rows) == 60
    for i, kept in enumerate(rows):
        winner = kept.body_digest
        assert kept.decision_id == f"{winner}-{i}"
        for me, lines in outputs.items():
            expected = f"{i} {me}" if me == winner else f'{i} {winner}-{i} {winner} "{winner}"'
            assert lines[i] == expected
    assert log.response_counts() == {"app": (120, 0)}, "the losers counted nothing"


@pytest.mark.parametrize("after", [1, 150])
def test_every_acknowledged_decision_survives_kill_9(log, uri, start, after):
    worker = start(RECORD, uri, "me", "100000")
    worker.stdout.readline()
    worker.stdin.write("\n")
    worker.stdin.flush()
    acknowledged = [worker.stdout.readline().split()[0] for _ in range(after)]
    worker.send_signal(signal.SIGKILL)
    lines = worker.stdout.read().splitlines(keepends=True)
    acknowledged += [line.split()[0] for line in lines if line.endswith("\n")]
    rows = {kept.decision_id: kept for kept in log.decisions(0, 2 * NOW)}
    assert {f"me-{i}" for i in acknowledged} <= set(rows)
    assert len(rows) <= len(acknowledged) + 1, "at most the one that was being told"
    assert all(len(kept.offers) == 2 and kept.vector == b"12345678" for kept in rows.values())
    assert log.response_counts() == {"app": (2 * len(rows), 0)}, "whole transactions only"
    assert sum(count.n for count in log.global_counts(["a", "b"], 0)) == 2 * len(rows)


def test_a_decision_that_cannot_be_written_leaves_nothing(log, row):
    twice = (ShownOffer("a", 1), ShownOffer("b", 1))
    with pytest.raises(LogError, match="cannot be written"):
        log.record(row(offers=twice))
    assert log.decision("d_000001") is None
    assert log.request("q_1", 0) is None
    assert log.response_counts() == {}
    assert log.record(row()) is None
    with pytest.raises(LogError):
        log.record(row(request_id="q_2"))  # the same decision id
    assert log.request("q_2", 0) is None


def test_what_no_database_can_hold_is_an_error_of_ours(log, row):
    text = "half a pair \ud800"
    with pytest.raises(LogError):
        log.record(row(user_id=text))
    with pytest.raises(LogError):
        log.request(text, 0)
    with pytest.raises(LogError):
        log.record(row(offers=(ShownOffer("a", 2**70),)))
    assert log.record(row()) is None


def test_a_range_of_decisions_is_half_open_and_in_order(log, row):
    times = [NOW + 7 * (i % 5) for i in range(450)]  # many at one microsecond, over several pages
    for i, at_us in enumerate(times):
        log.record(row(i, decided_at_us=at_us, user_id=f"u{i % 3}", offers=row().offers if i % 2 else ()))
    expected = sorted((at_us, f"d_{i:06d}") for i, at_us in enumerate(times))
    got = [(kept.decided_at_us, kept.decision_id) for kept in log.decisions(NOW, NOW + 29)]
    assert got == expected
    got = [(kept.decided_at_us, kept.decision_id) for kept in log.decisions(NOW + 7, NOW + 21)]
    assert got == [one for one in expected if NOW + 7 <= one[0] < NOW + 21]
    assert list(log.decisions(NOW + 29, 2 * NOW)) == []


def test_what_is_shown_is_counted_by_day_placement_and_channel(log, row):
    log.record(row())
    log.record(row(2, user_id="v"))
    log.record(row(3, decided_at_us=NOW + DAY_US, offers=(ShownOffer("a", 1, channel="sms"), ShownOffer("c", 2))))
    assert log.global_counts(["b", "a", "nothing", "a"], NOW) == [
        GlobalCount("a", "decision", DAY, "sidebar", 2),
        GlobalCount("a", "decision", "2026-05-29", None, 1),
        GlobalCount("b", "decision", DAY, None, 2),
    ]
    assert log.global_counts(["a"], NOW + DAY_US) == [GlobalCount("a", "decision", "2026-05-29", None, 1)]
    assert log.global_counts([], 0) == []
    assert log.response_counts() == {"sms": (1, 0), "wecom": (4, 0)}
    assert log.response_counts(NOW + DAY_US) == {"sms": (1, 0)}


def test_equal_content_of_a_user_is_kept_once(log, row):
    for number in range(5):
        log.record(row(number))
    log.record(row(9, user_id="v", vector=b"another8"))  # the same name for other content of another user
    kept = log._database.read("SELECT user_id, count(*) FROM contents GROUP BY user_id ORDER BY user_id")
    assert kept == [("u", 2), ("v", 2)]
    assert log.decision("d_000003").vector == row().vector
    assert log.decision("d_000009").vector == b"another8"
