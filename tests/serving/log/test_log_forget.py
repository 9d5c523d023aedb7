"""Who is forgotten leaves counts behind and nothing else, and nothing is written of them again."""

import subprocess
import threading

import pytest

from configs.errors import Forgotten
from serving.log import DecisionLog, Feedback, LiveEvent

NOW = 1_780_000_000_000_000


def fill(log, row, who, first):
    for number in range(first, first + 3):
        log.record(row(number, user_id=who, history=who.encode() * 10, inputs=f'"{who}"'.encode()))
    said = Feedback(f"e{first}", f"d_{first:06d}", "a", "click", NOW)
    log.feedback([said], at_us=NOW)
    log.events([LiveEvent(f"l{first}", who, "view", NOW)], at_us=NOW)
    log.set_consent(who, "marketing", True, NOW)
    log.identify([("phone", str(first), who)])


def test_rows_go_counts_stay_and_the_identity_goes_last(log, row, uri):
    fill(log, row, "ada", 1)
    fill(log, row, "bo", 11)
    counts, responses, bo = log.global_counts(["a", "b"], 0), log.response_counts(), log.state("bo", NOW, after_us=0)
    assert not log.is_forgotten(["ada"])
    removed = log.forget(["ada", "phone:1"], NOW)
    decided = {"requests": 3, "offers": 6, "decisions": 3, "contents": 2}
    assert removed == decided | {"feedback": 1, "actions": 7, "live_events": 1, "settings": 1}
    assert log.is_forgotten(["ada", "phone:1"])
    assert log.identities("ada") == [("phone", "1")]
    assert log.drop_identities("ada") == 1
    assert not any(log.forget(["ada"], NOW).values())
    assert log.drop_identities("ada") == 0
    assert (log.global_counts(["a", "b"], 0), log.response_counts()) == (counts, responses)
    assert log.state("bo", NOW, after_us=0) == bo
    assert [kept.user_id for kept in log.decisions(0, 2 * NOW)] == ["bo"] * 3
    tables = ["decisions", "requests", "decision_offers", "contents", "actions", "feedback", "live_events"]
    for table in [*tables, "user_settings", "identities", "forgotten", "salts"]:
        for found in log._database.read(f"SELECT * FROM {table}"):
            assert not any("ada" in str(value) for value in found), table
    assert log.decision("d_000011").history == b"bo" * 10
    assert log.request("q_1", 0) is None
    assert log.request("q_11", 0) is not None
    if uri.startswith("sqlite"):
        path = log._database.path
        files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
        # Read by another process: closing a file that SQLite has open here would drop its locks.
        content = subprocess.run(["cat", *files], check=True, capture_output=True).stdout
        assert b"d_000011" in content
        assert b"ada" not in content


def test_nothing_is_written_of_them_again(log, row, uri):
    fill(log, row, "ada", 1)
    log.forget(["ada", "phone:1"], NOW)
    log.drop_identities("ada")
    other = DecisionLog.open(uri)  # a worker that began before, or begins now
    for one in (log, other):
        with pytest.raises(Forgotten):
            one.record(row(1, user_id="ada"))
        with pytest.raises(Forgotten):
            one.set_personalization("ada", False, NOW)
        assert one.record(row(90, user_id="bo")) is None or one is other
        sent = [LiveEvent("n1", "ada", "view", NOW), LiveEvent("n2", "phone:1", "view", NOW)]
        answer = one.events([*sent, LiveEvent("n3", "bo", "view", NOW)], at_us=NOW)
        assert [(no.event_id, no.error, no.place) for no in answer.rejected] == [
            ("n1", "FORGOTTEN", 0),
            ("n2", "FORGOTTEN", 1),
        ]
        assert answer.accepted + answer.duplicates == 1
        # The map of identities is loaded again: neither the user nor the identity comes with it.
        assert (
            one.identify([("phone", "1", "ada"), ("phone", "1", "eve"), ("card", "9", "ada"), ("card", "8", "bo")]) == 1
        )
        gone = one.feedback([Feedback("f9", "d_000001", "a", "click", NOW)], at_us=NOW)
        assert [no.error for no in gone.rejected] == ["UNKNOWN_DECISION"]
    other.close()
    assert [kept.user_id for kept in log.decisions(0, 2 * NOW)] == ["bo"]


def test_what_is_on_its_way_is_not_written_afterwards(log, row, uri):
    """Decisions and live events stream in while the person is forgotten: all of them are before it, or refused."""
    refused, started = [], threading.Barrier(3)

    def stream(first, write):
        own = DecisionLog.open(uri)
        started.wait()
        for number in range(first, first + 400):
            if (error := write(own, number)) is not None:
                refused.append(error)
                break
        own.close()

    def decide(own, number):
        try:
            own.record(row(number, user_id="ada"))
        except Forgotten as error:
            return error
        return None

    def tell(own, number):
        rejected = own.events([LiveEvent(f"s{number}", "ada", "view", NOW)], at_us=NOW).rejected
        return rejected[0] if rejected else None

    threads = [threading.Thread(target=stream, args=one) for one in ((1000, decide), (5000, tell))]
    for thread in threads:
        thread.start()
    started.wait()
    while not log.state("ada", NOW, after_us=0).fresh:
        pass
    log.forget(["ada"], NOW)
    left = log.forget(["ada"], NOW)
    for thread in threads:
        thread.join()
    assert len(refused) == 2
    assert not any(left.values())
    assert not any(log.forget(["ada"], NOW).values())
