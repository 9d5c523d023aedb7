"""Old decisions go with all that hangs on them; counts, what may still count, and what younger ones need stay."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

import userops
from configs.errors import LogError
from serving.decision.caps import MOST_DAYS
from serving.log import DAY_US, DecisionLog, Feedback
from serving.log.judging import WINDOWS_US
from serving.log.pruning import LEAST_DAYS

NOW = 1_780_000_000_000_000
OLD = NOW - 200 * DAY_US
BEFORE = NOW - 100 * DAY_US


def silent(message, share):
    pass


def fill(log, row):
    """Three old decisions and two young ones; a vector of the old ones is needed still, a history is not."""
    for number in range(3):
        log.record(row(number, decided_at_us=OLD + number, user_id=f"u{number % 2}", history=b"old"))
        said = Feedback(f"e{number}", f"d_{number:06d}", "a", "click", OLD + number)
        log.feedback([said], at_us=OLD + number)
    log.record(row(10, decided_at_us=BEFORE, user_id="u0", history=b"young"))
    log.record(row(11, decided_at_us=NOW, user_id="u1", request_id="q_1", history=b"young"))  # the id of an old one
    log.feedback([Feedback("e10", "d_000010", "a", "click", NOW)], at_us=NOW)
    log.set_consent("u0", "marketing", True, OLD)
    log.identify([("phone", "1", "u0")])


def test_what_is_old_goes_and_what_counts_stays(log, row):
    fill(log, row)
    counts, responses = log.global_counts(["a", "b"], 0), log.response_counts()
    young = list(log.decisions(BEFORE, 2 * NOW))
    found = log.prunable(BEFORE, NOW)
    assert found == {"decisions": 3, "offers": 6, "feedback": 3, "actions": 9}
    told = []
    assert log.prune(BEFORE, NOW, lambda *said: told.append(said)) == {**found, "contents": 2}
    assert told
    assert not any(log.prune(BEFORE, NOW, silent).values())
    assert list(log.decisions(0, 2 * NOW)) == young
    assert young[0].vector == row().vector
    assert (log.global_counts(["a", "b"], 0), log.response_counts()) == (counts, responses)
    assert [one.event_id for one in log.feedback_of("d_000010")] == ["e10"]
    assert log.request("q_0", 0) is None
    assert log.request("q_1", 0).decision_id == "d_000011"
    state = log.state("u0", NOW, after_us=0)
    assert [(one.event, one.at_us) for one in state.actions] == [("click", NOW)]
    assert state.consent == {"marketing": True}
    assert log.resolve("phone", "1") == "u0"
    late = log.feedback([Feedback("e1", "d_000001", "a", "click", OLD)], at_us=NOW)
    assert [one.error for one in late.rejected] == ["UNKNOWN_DECISION"]
    for table in ("decisions", "requests", "decision_offers", "feedback"):
        assert len(log._database.read(f"SELECT decision_id FROM {table} WHERE decision_id < 'd_000010'")) == 0, table


def test_what_may_still_count_is_refused(log, row):
    assert max(*WINDOWS_US.values(), MOST_DAYS * DAY_US) <= LEAST_DAYS * DAY_US
    fill(log, row)
    there = list(log.decisions(0, 2 * NOW))
    for ask in (log.prunable, lambda *at: log.prune(*at, silent)):
        with pytest.raises(LogError, match=f"last {LEAST_DAYS} days stay"):
            ask(NOW - LEAST_DAYS * DAY_US + 1, NOW)
    assert list(log.decisions(0, 2 * NOW)) == there
    log.prune(NOW - LEAST_DAYS * DAY_US, NOW, silent)


def test_who_decides_meanwhile_keeps_the_vector_that_only_old_decisions_had(log, row, uri, monkeypatch):
    """Every young decision brings the vector and history of the old ones again, which are being removed."""
    monkeypatch.setattr("serving.log.pruning.AT_ONCE", 2)
    for number in range(60):
        log.record(row(number, decided_at_us=OLD + number, user_id=f"u{number % 3}"))
    begun = threading.Event()

    def decide():
        own = DecisionLog.open(uri)
        for number in range(100, 160):
            own.record(row(number, decided_at_us=NOW, user_id=f"u{number % 3}"))
            begun.set()
        own.close()

    deciding = threading.Thread(target=decide)
    deciding.start()
    begun.wait(30)
    assert log.prune(BEFORE, NOW, silent)["decisions"] == 60
    deciding.join(60)
    rows = list(log.decisions(0, 2 * NOW))
    assert len(rows) == 60
    assert {(one.vector, one.history) for one in rows} == {(row().vector, row().history)}


def test_the_verb_says_how_much_asks_and_removes(template, row, tmp_path, monkeypatch):
    monkeypatch.setenv("USEROPS_HOME", str(tmp_path))
    monkeypatch.setenv("USEROPS_NOW", datetime.fromtimestamp(NOW / 1e6, UTC).isoformat())
    monkeypatch.delenv("USEROPS_DECISIONS", raising=False)
    log = DecisionLog.open(f"sqlite:///{tmp_path / 'decisions.db'}")
    fill(log, row)
    report = tmp_path / "pruned.json"

    def run(*words, answer=None):
        done = CliRunner().invoke(userops.app, ["decisions", "prune", *words, "--json", str(report)], input=answer)
        return done.exit_code, " ".join(done.output.split())

    code, said = run("--keep", "100", "--dry-run")
    assert (code, "nothing was removed" in said) == (0, True), said
    assert json.loads(report.read_text())["would_remove"]["decisions"] == 3
    assert run("--keep", "100", answer="n\n")[0] == 1
    assert run()[0] == run("--keep", "100", "--before", "2026-01-01")[0] == 2
    assert len(list(log.decisions(0, 2 * NOW))) == 5
    day = datetime.fromtimestamp(BEFORE / 1e6, UTC) - timedelta(days=1)
    code, said = run("--before", f"{day:%Y-%m-%d}", "--yes", "--lang", "zh")
    assert (code, "已删除" in said) == (0, True), said
    assert json.loads(report.read_text())["removed"] == {
        "decisions": 3, "offers": 6, "feedback": 3, "actions": 9, "contents": 2}  # fmt: skip
    assert len(list(log.decisions(0, 2 * NOW))) == 2
    log.close()
