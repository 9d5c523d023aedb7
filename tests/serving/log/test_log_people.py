"""A person: what the next decision sees of them, what they asked of us, and that nothing is left when they go."""

import pytest

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


@pytest.mark.parametrize("at_once", [5_000, 1])
def test_counts_of_offers_come_with_the_state(log, row, monkeypatch, at_once):
    monkeypatch.setattr("serving.log.people.AT_ONCE", at_once)
    log.record(row())
    log.record(row(2, user_id="v"))
    log.record(row(3, decided_at_us=NOW + DAY_US, offers=(ShownOffer("a", 1, channel="sms"), ShownOffer("c", 2))))
    counts = log.global_counts(["b", "a", "nothing"], NOW)
    assert len(counts) == 3
    assert log.state("u", NOW, after_us=0, counted=["b", "a", "nothing"], since_us=NOW).counts == tuple(counts)
    assert log.state("u", NOW, after_us=0, counted=["a"], since_us=NOW + DAY_US).counts == (counts[1],)
    assert log.state("u", NOW, after_us=0, counted=["a"], since_us=NOW + 2 * DAY_US).counts == ()
    assert log.state("u", NOW, after_us=0).counts == ()


def test_of_many_fresh_events_the_newest_256_come(log):
    log.events([LiveEvent(f"e{i}", "u", "view", NOW - i) for i in range(300)], at_us=NOW)
    assert [line.event_id for line in log.state("u", NOW, after_us=0).fresh] == [f"e{i}" for i in range(255, -1, -1)]


def test_wishes_are_remembered_and_the_last_word_stands(log, uri):
    log.set_personalization("u", True, NOW - 1)
    log.set_personalization("u", False, NOW)
    log.set_consent("u", "marketing", True, NOW)
    log.set_consent("u", "profiling", False, NOW)
    log.set_opted_out("u", "sms", True, NOW)
    log.set_opted_out("u", "email", True, NOW)
    log.set_opted_out("u", "email", False, NOW)
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


def test_a_wish_replaces_one_that_was_noted_by_a_clock_ahead(log, row):
    ahead = NOW + 5 * DAY_US
    log.set_personalization("u", False, ahead)
    log.set_personalization("u", True, NOW)
    assert log.state("u", NOW, after_us=0).personalization
    log.record(row())
    log.set_opted_out("u", "wecom", False, ahead)
    leave = Feedback("e1", "d_000001", None, "unsubscribe", NOW, channel="wecom")
    assert log.feedback([leave], at_us=NOW).accepted == 1
    assert log.state("u", NOW, after_us=0).opted_out == {"wecom"}


def test_feedback_that_comes_late_does_not_undo_what_was_said_since(log, row):
    log.record(row())
    log.set_opted_out("u", "wecom", False, NOW + 10)
    leave = Feedback("e1", "d_000001", None, "unsubscribe", NOW, channel="wecom")
    assert log.feedback([leave], at_us=NOW + 20).accepted == 1
    assert log.state("u", NOW + 20, after_us=0).opted_out == frozenset()


def test_an_identity_leads_to_its_user(log):
    rows = [("wechat", "1", "u"), ("phone", "1", "v"), ("wechat", "1", "w")]
    assert log.identify(rows) == 2
    assert log.resolve("wechat", "1") == "w"
    assert log.resolve("phone", "1") == "v"
    assert log.resolve("phone", "2") is None
    log.identify([("phone", "1", "u")])
    assert log.resolve("phone", "1") == "u"
