"""A person: what the next decision sees of them, what they asked of us, and that nothing is left when they go."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.log import ALL_CHANNELS, DAY_US, Action, DecisionLog, Feedback, Health, LiveEvent, ShownOffer, UserState

NOW = 1_780_000_000_000_000


def test_of_a_stranger_nothing_is_known(log, row):
    log.record(row())
    assert log.state("nobody", NOW, after_us=0) == UserState("nobody")


def test_actions_of_93_days_and_fresh_events_up_to_the_instant_asked(log, row):
    edges = [NOW - 93 * DAY_US, NOW - 93 * DAY_US + 1, NOW - 5, NOW, NOW + 1]
    for number, at_us in enumerate(edges):
        log.record(row(number, decided_at_us=at_us, offers=(ShownOffer("a", 1, placement="top"),)))
    lines = [LiveEvent(f"e{at}", "u", "view", NOW + at, item_id="i") for at in (-1, -3, -2, 0, 1)]
    log.events([*lines, LiveEvent("other", "v", "view", NOW)], at_us=NOW)
    state = log.state("u", NOW, after_us=NOW - 3)
    assert state.actions == tuple(Action("a", "decision", "top", at_us) for at_us in edges[1:4])
    assert [line.event_id for line in state.fresh] == ["e-2", "e-1", "e0"]
    assert state.fresh[0] == lines[2]
    assert state.health == Health(6, 0, 0)


def test_of_many_fresh_events_the_newest_256_come(log):
    log.events([LiveEvent(f"e{i}", "u", "view", NOW - i) for i in range(300)], at_us=NOW)
    assert [line.event_id for line in log.state("u", NOW, after_us=0).fresh] == [f"e{i}" for i in range(255, -1, -1)]


def test_wishes_are_remembered_and_the_newest_stands(log, uri):
    log.set_personalization("u", False, NOW)
    log.set_personalization("u", True, NOW - 1)  # arrived late
    log.set_consent("u", "marketing", True, NOW)
    log.set_consent("u", "profiling", False, NOW)
    log.set_opted_out("u", "sms", True, NOW)
    log.set_opted_out("u", "email", True, NOW)
    log.set_opted_out("u", "email", False, NOW)  # of two equally new the last
    log.delete_tag("u", "gourmet", NOW)
    other = DecisionLog.open(uri)
    state = other.state("u", NOW - DAY_US, after_us=0)  # a wish holds whatever instant is asked
    other.close()
    assert not state.personalization
    assert state.consent == {"marketing": True, "profiling": False}
    assert state.opted_out == {"sms"}
    assert state.deleted_tags == {"gourmet"}
    log.set_personalization("u", True, NOW + 1)
    log.set_opted_out("u", None, True, NOW + 1)
    state = log.state("u", NOW, after_us=0)
    assert state.personalization
    assert state.opted_out == {"sms", ALL_CHANNELS}
    assert state.is_opted_out("wecom")


def test_an_identity_leads_to_its_user(log):
    rows = [("wechat", "1", "u"), ("phone", "1", "v"), ("wechat", "1", "w")]
    assert log.identify(rows) == 2
    assert log.resolve("wechat", "1") == "w"
    assert log.resolve("phone", "1") == "v"
    assert log.resolve("phone", "2") is None
    log.identify([("phone", "1", "u")])
    assert log.resolve("phone", "1") == "u"


def test_nothing_of_an_erased_person_is_left_and_counts_stay(log, row, uri):
    def fill(who, first):
        for number in range(first, first + 3):
            log.record(row(number, user_id=who, history=who.encode() * 10, inputs=f'"{who}"'.encode()))
        said = Feedback(f"e{first}", f"d_{first:06d}", "a", "not_interested", NOW, attributes={"of": who})
        log.feedback([said, Feedback(f"f{first}", f"d_{first:06d}", "a", "click", NOW)], at_us=NOW)
        log.events([LiveEvent(f"l{first}", who, "view", NOW)], at_us=NOW)
        log.set_consent(who, "marketing", True, NOW)
        log.identify([("phone", str(first), who)])

    fill("forget-me", 1)
    fill("keep-me", 11)
    before = log.state("keep-me", NOW, after_us=0)
    counts, responses = log.global_counts(["a", "b"], 0), log.response_counts()
    assert log.erase("forget-me") == 3
    assert log.erase("forget-me") == 0
    state = log.state("forget-me", NOW, after_us=0)
    assert (state.actions, state.fresh, state.consent, state.not_interested) == ((), (), {}, {})
    assert [kept.user_id for kept in log.decisions(0, 2 * NOW)] == ["keep-me"] * 3
    assert log.decision("d_000011").history == b"keep-me" * 10
    assert log.resolve("phone", "1") is None
    assert log.request("q_1", 0) is None
    assert log.request("q_11", 0) is not None
    assert log.state("keep-me", NOW, after_us=0) == before
    assert (log.global_counts(["a", "b"], 0), log.response_counts()) == (counts, responses)
    gone = log.feedback([Feedback("new", "d_000001", "a", "click", NOW)], at_us=NOW)
    assert [one.error for one in gone.rejected] == ["UNKNOWN_DECISION"]
    tables = ["decisions", "requests", "decision_offers", "contents", "actions", "feedback", "live_events"]
    for table in [*tables, "user_settings", "identities"]:
        for found in log._database.read(f"SELECT * FROM {table}"):
            assert not any("forget-me" in str(value) or value == "d_000001" for value in found), table
    if uri.startswith("sqlite"):
        path = log._database.path
        files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
        # Read by another process: closing a file that SQLite has open here would drop its locks.
        content = subprocess.run(["cat", *files], check=True, capture_output=True).stdout
        assert b"keep-me" in content
        assert b"forget-me" not in content


WISHES = st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 5)), max_size=12)


@pytest.mark.parametrize("kind", ["one by one"])
@given(WISHES)
@settings(max_examples=25, deadline=None)
def test_wishes_agree_with_a_plain_dictionary(template, kind, wishes):
    log = DecisionLog.open(f"sqlite:///{template}")
    log.erase("u")
    newest: dict[str, tuple[int, bool]] = {}
    for channel, on, at_us in wishes:
        log.set_opted_out("u", channel, on, at_us)
        if at_us >= newest.get(channel, (0, False))[0]:
            newest[channel] = (at_us, on)
    state = log.state("u", 10, after_us=0)
    log.erase("u")
    log.close()
    assert state.opted_out == {channel for channel, (_, on) in newest.items() if on}
