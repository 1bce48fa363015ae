"""A conversation, one rule a test."""

from math import inf

import msgspec
import pytest
from msgspec import Raw

from protocol import session as rules
from protocol.codec import encode, framed, unframed
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages import Accept, Bye, Drain, Hello, Progress, Renew, Report, Welcome
from protocol.session import ACK_WITHIN_S, FRAME_BYTES_AIM, GREETING_WITHIN_S, SILENCES_MAX, Session
from protocol.states import CHALLENGED, CLOSED, DEVICE, GALAXY, GREETED, NEW, OPEN, TRANSITIONS, State
from protocol.vocabulary import FRAME_BYTES_MAX, ByeCode, Outcome

from .helpers import ASSIGN, CHALLENGE, HEARTBEAT_S, Wire, hello, note, opened

REPORT = Report("c/a#1", Outcome.SUCCEEDED, Raw(b'{"rows":[1,2]}'), None, 0.5)


# The greeting.


def test_a_greeting_opens_both_ends():
    wire = Wire()
    states = [wire.galaxy.state]
    for role, message in ((GALAXY, CHALLENGE), (DEVICE, hello()), (GALAXY, Welcome("s1", False, 0, 10.0, 64, "t"))):
        assert wire.say(role, message) == [message]
        states.append(wire.galaxy.state)

    assert states == [NEW, CHALLENGED, GREETED, OPEN]
    assert (wire.device.state, wire.device.id) == (OPEN, "s1")


def test_the_challenge_comes_first_and_the_device_may_not_greet_before_it():
    device = Session(DEVICE, now=0.0)

    with pytest.raises(LocalProtocolError, match="device may not say Hello when new"):
        device.send(hello())
    assert device.frames_to_send(0.0) == []


def test_a_welcome_without_credits_or_a_heartbeat_is_a_breach_at_either_end():
    for welcome in (Welcome("s1", False, 0, 10.0, 0, "t"), Welcome("s1", False, 0, 0.0, 64, "t")):
        wire = Wire()
        wire.say(GALAXY, CHALLENGE)
        wire.say(DEVICE, hello())
        with pytest.raises(LocalProtocolError, match="without credits or a heartbeat"):
            wire.galaxy.send(welcome)
        with pytest.raises(RemoteProtocolError, match="without credits or a heartbeat"):
            wire.device.receive(framed([encode(welcome)], first=0, ack=0), 0.0)
        assert wire.device.state is CLOSED


def test_every_state_but_closed_can_be_left_with_a_bye():
    for state, rights in TRANSITIONS.items():
        for role, moves in rights.items():
            assert (moves.get(Bye) is CLOSED) == (state is not State.CLOSED), (state, role)


# Numbers, acknowledgements, credits.


def test_an_assignment_and_its_report_cross_unchanged():
    wire = opened()

    assert wire.say(GALAXY, ASSIGN) == [ASSIGN]
    (report,) = wire.say(DEVICE, REPORT)
    assert isinstance(report, Report)
    assert (report.attempt, report.outcome, bytes(report.result), report.ran_s) == (
        "c/a#1",
        Outcome.SUCCEEDED,
        b'{"rows":[1,2]}',
        0.5,
    )


def test_each_direction_is_numbered_by_itself_without_gaps():
    wire = opened()

    assert [wire.galaxy.send(ASSIGN) for _ in range(3)] == [1, 2, 3]
    assert [wire.device.send(note(n)) for n in range(2)] == [1, 2]
    wire.deliver(GALAXY)
    wire.deliver(DEVICE)
    assert (wire.device.heard, wire.galaxy.heard) == (3, 2)


def test_signs_of_life_and_the_greeting_have_no_number():
    wire = opened()
    wire.say(DEVICE, note(1))
    wire.now = HEARTBEAT_S
    wire.device.tick(wire.now)
    (frame,) = wire.device.frames_to_send(wire.now)

    assert unframed(frame).first == 0
    assert wire.galaxy.receive(frame, wire.now) == []
    assert wire.device.send(note(2)) == 2


def test_what_was_heard_is_acknowledged_only_when_it_is_settled():
    wire = opened()
    wire.say(DEVICE, note(1), note(2))
    wire.now = 5.0
    wire.deliver(GALAXY)
    assert wire.device.unacknowledged == 2

    wire.settle(GALAXY, 1)

    assert (wire.device.acked, wire.device.unacknowledged) == (1, 1)


def test_an_acknowledgement_waits_a_moment_for_a_message_to_ride_on():
    wire = opened()
    wire.say(DEVICE, note(1))
    wire.galaxy.settle(1, 0.0)

    assert wire.galaxy.frames_to_send(0.0) == []
    assert wire.galaxy.next_deadline() == ACK_WITHIN_S
    assert wire.galaxy.frames_to_send(ACK_WITHIN_S) == [b'{"ack":1,"first":0,"messages":[]}']
    assert wire.galaxy.frames_to_send(9.0) == []
    wire.say(DEVICE, note(2))
    wire.galaxy.settle(2, 1.0)
    wire.say(GALAXY, ASSIGN)
    assert wire.device.acked == 2
    assert wire.galaxy.next_deadline() == SILENCES_MAX * HEARTBEAT_S


def test_a_quarter_of_the_credits_is_acknowledged_at_once():
    wire = opened(credits=8)
    wire.say(DEVICE, note(1), note(2))
    wire.galaxy.settle(1, 0.0)
    assert wire.galaxy.frames_to_send(0.0) == []

    wire.galaxy.settle(2, 0.0)

    assert [unframed(frame).ack for frame in wire.galaxy.frames_to_send(0.0)] == [2]


def test_settling_again_what_is_settled_says_nothing():
    wire = opened()
    wire.say(DEVICE, note(1))
    wire.settle(GALAXY)
    wire.galaxy.settle(1, wire.now)

    assert wire.galaxy.frames_to_send(wire.now + 1.0) == []


def test_credits_bound_what_is_on_the_wire_and_an_acknowledgement_lets_more_follow():
    wire = opened(credits=2)
    heard = wire.say(DEVICE, *map(note, range(5)))
    assert heard == [note(0), note(1)]
    assert wire.device.unacknowledged == 5

    wire.galaxy.settle(1, 0.0)
    wire.deliver(GALAXY)

    assert wire.deliver(DEVICE) == [note(2)]


def test_a_full_outbox_is_our_own_fault(monkeypatch):
    monkeypatch.setattr(rules, "OUTBOX_MAX", 2)
    device = opened().device
    device.send(note(1))
    device.send(note(2))

    with pytest.raises(LocalProtocolError, match="2 messages are unacknowledged"):
        device.send(note(3))


def test_messages_share_frames_up_to_the_aim_and_a_larger_one_goes_alone():
    wire = opened()
    for size in (100_000, 100_000, 100_000, FRAME_BYTES_AIM + 1_000, 10):
        wire.device.send(note(1, size))
    frames = wire.device.frames_to_send(0.0)

    assert [(unframed(f).first, len(unframed(f).messages)) for f in frames] == [(1, 2), (3, 1), (4, 1), (5, 1)]
    assert all(len(frame) <= FRAME_BYTES_MAX for frame in frames)


def test_what_cannot_fit_any_frame_is_refused_where_it_is_said():
    wire = opened()
    with pytest.raises(LocalProtocolError, match=r"Report of \d+ bytes does not fit a frame"):
        wire.device.send(Report("c/a#1", Outcome.SUCCEEDED, Raw(b'"' + b"x" * FRAME_BYTES_MAX + b'"')))

    assert wire.device.frames_to_send(0.0) == []


def test_text_and_binary_frames_mean_the_same():
    wire = opened()
    wire.device.send(Progress("c/a#1", "Grüße ★"))
    (frame,) = wire.device.frames_to_send(0.0)

    assert wire.galaxy.receive(frame.decode(), 0.0) == [Progress("c/a#1", "Grüße ★")]
    assert wire.galaxy.receive(frame, 0.0) == [], "it is the same message again"


def test_a_message_heard_twice_is_news_once():
    wire = opened()
    wire.device.send(note(1))
    wire.device.send(note(2))
    (frame,) = wire.device.frames_to_send(0.0)

    assert wire.galaxy.receive(frame, 0.0) == [note(1), note(2)]
    assert wire.galaxy.receive(frame, 0.0) == []
    overlapping = framed([encode(note(2)), encode(note(3))], first=2, ack=0)
    assert wire.galaxy.receive(overlapping, 0.0) == [note(3)]
    assert wire.galaxy.heard == 3


def test_unknown_fields_are_ignored_so_that_old_and_new_can_talk():
    galaxy = opened().galaxy
    frame = '{"first":1,"later":{},"messages":[{"type":"accept","attempt":"c/a#1","mood":"good"}]}'

    assert galaxy.receive(frame, 0.0) == [Accept("c/a#1")]


# Our own mistakes.


def test_saying_the_forbidden_raises_here_and_sends_nothing():
    wire = Wire()
    with pytest.raises(LocalProtocolError, match="galaxy may not say Assign when new"):
        wire.galaxy.send(ASSIGN)
    with pytest.raises(LocalProtocolError, match="device may not say Assign when open"):
        opened().device.send(ASSIGN)

    assert wire.galaxy.frames_to_send(0.0) == []


def test_nothing_can_be_said_when_closed_without_a_session_to_resume():
    galaxy = Session(GALAXY, now=0.0)
    galaxy.close(ByeCode.STOPPING, "the node stops")

    for message in (CHALLENGE, ASSIGN):
        with pytest.raises(LocalProtocolError, match="when closed"):
            galaxy.send(message)
    assert len(galaxy.frames_to_send(0.0)) == 1


# Goodbye.


def test_a_bye_closes_both_ends_and_says_whether_to_come_back():
    wire = opened()
    wire.galaxy.close(ByeCode.OVERLOADED, "too many devices", retry_after_s=30.0)

    assert wire.deliver(GALAXY) == [Bye(ByeCode.OVERLOADED, "too many devices", False, 30.0)]
    assert wire.device.state is CLOSED


def test_the_last_word_acknowledges_what_is_safe():
    wire = opened()
    wire.say(DEVICE, REPORT)
    wire.galaxy.settle(1, 0.0)
    wire.galaxy.close(ByeCode.STOPPING, "the node stops")
    wire.deliver(GALAXY)

    assert wire.device.unacknowledged == 0


# Time.


def test_a_silent_peer_is_given_up_before_the_third_heartbeat_has_passed():
    for role in (GALAXY, DEVICE):
        wire = opened()
        end = wire.ends[role]
        for now in (10.0, 20.0, 27.4):
            end.tick(now)
            assert end.state is OPEN
        end.tick(27.5)
        assert end.state is CLOSED
        end.tick(40.0)
        byes = [m for f in end.frames_to_send(27.5) for m in unframed(f).messages if isinstance(m, Bye)]
        assert [(bye.code, bye.message) for bye in byes] == [(ByeCode.SILENT, "nothing heard for 27.5 s")]
        assert end.next_deadline() is None


def test_a_stranger_who_never_greets_is_dropped():
    galaxy = Session(GALAXY, now=5.0)
    galaxy.send(CHALLENGE)

    assert galaxy.next_deadline() == 5.0 + GREETING_WITHIN_S
    galaxy.tick(14.9)
    assert galaxy.state is CHALLENGED
    galaxy.tick(15.0)
    assert galaxy.state is CLOSED


def test_the_device_renews_at_each_heartbeat_and_knows_when_it_sent_what_was_answered():
    wire = opened()
    wire.now = 20.0
    wire.say(GALAXY, ASSIGN)  # a sign of life
    assert wire.device.next_deadline() == 0.0, "the first renewal is due at once"
    wire.device.tick(20.0)
    assert (wire.device.renewed_at, wire.device.next_deadline()) == (0.0, 30.0)
    wire.deliver(DEVICE)
    wire.now = 23.0
    assert wire.deliver(GALAXY) == []

    assert wire.device.renewed_at == 20.0, "when it was sent, not when the answer came"
    wire.device.tick(29.9)
    assert wire.device.frames_to_send(29.9) == []


def test_a_device_that_stood_still_hears_nothing_that_lay_in_its_socket_meanwhile():
    wire = opened()
    wire.galaxy.send(ASSIGN)
    (frame,) = wire.galaxy.frames_to_send(0.0)

    assert wire.device.receive(frame, 27.5) == []
    assert wire.device.closed_for is ByeCode.SILENT
    assert wire.device.heard == 0, "it will be said again, if it still holds"


def test_only_the_last_of_many_renewals_is_answered():
    wire = opened()
    frame = framed([encode(Renew(float(n))) for n in range(9)], first=0, ack=0)
    assert wire.galaxy.receive(frame, 0.0) == []
    wire.now = 20.0
    wire.deliver(GALAXY)

    assert wire.device.renewed_at == 8.0


def test_an_answer_from_the_future_renews_no_further_than_now():
    wire = opened()
    wire.device.receive('{"messages":[{"type":"renewed","sent_at":1e9}]}', 7.0)
    assert wire.device.renewed_at == 7.0
    wire.device.receive('{"messages":[{"type":"renewed","sent_at":3}]}', 8.0)
    assert wire.device.renewed_at == 7.0


def test_galaxy_changes_the_heartbeat_with_its_next_answer_and_both_ends_go_by_it():
    wire = opened()
    wire.galaxy.pace(30.0)
    assert (wire.galaxy.heartbeat_s, wire.device.heartbeat_s) == (10.0, 10.0), "it has not been said yet"
    wire.device.tick(0.0)
    wire.deliver(DEVICE)
    wire.deliver(GALAXY)

    assert (wire.galaxy.heartbeat_s, wire.device.heartbeat_s) == (30.0, 30.0)
    assert wire.device.next_deadline() == 30.0
    assert wire.galaxy.next_deadline() == 82.5, "2.75 heartbeats of silence"


def test_a_device_that_holds_a_short_lease_renews_sooner_than_it_is_asked_to():
    wire = opened()
    wire.device.tick(0.0)
    wire.device.renew_within(2.0)
    assert wire.device.next_deadline() == 2.0
    wire.device.tick(2.0)
    assert wire.device.next_deadline() == 4.0
    wire.device.renew_within(inf)
    wire.device.tick(4.0)
    assert wire.device.next_deadline() == 14.0, "at the heartbeat again"


def test_an_unanswered_greeting_renews_nothing():
    wire = Wire()
    wire.now = 50.0
    wire.say(GALAXY, CHALLENGE)
    wire.device.send(hello())
    assert wire.device.renewed_at == 0.0
    wire.deliver(DEVICE)
    wire.now = 55.0
    wire.say(GALAXY, Welcome("s1", False, 0, 10.0, 64, "t"))

    assert wire.device.renewed_at == 50.0, "no later than the Hello was said"


def test_an_answer_that_is_not_sent_before_the_end_is_not_sent_at_all():
    wire = opened()
    wire.galaxy.receive(framed([encode(Renew(1.0))], first=0, ack=0), 1.0)
    wire.galaxy.close(ByeCode.STOPPING, "the node stops")

    assert [type(m) for f in wire.galaxy.frames_to_send(1.0) for m in unframed(f).messages] == [Bye]


# Values.


def test_messages_say_in_json_what_the_schema_promises():
    assert encode(Bye(ByeCode.SILENT, "nothing heard")) == b'{"type":"bye","code":"silent","message":"nothing heard"}'
    assert encode(Drain("evening")) == b'{"type":"drain","reason":"evening"}'
    assert msgspec.json.decode(encode(hello()))["profile"] == {"kind": "desktop", "slots": 1, "tools": []}
    assert isinstance(unframed(framed([encode(hello())], first=0, ack=0)).messages[0], Hello)
