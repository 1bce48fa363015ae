"""A session across sockets: what was lost is said again, what was heard is not, and what is safe is forgotten."""

import pytest
from msgspec import Raw

from protocol.codec import unframed
from protocol.errors import RemoteProtocolError
from protocol.messages import Assign, Bye, Report, Welcome
from protocol.session import Session
from protocol.states import DEVICE, GALAXY
from protocol.vocabulary import ByeCode, Effect, Outcome

from .helpers import ASSIGN, CHALLENGE, Wire, hello, note, opened, resumed

REPORT = Report("c/a#1", Outcome.SUCCEEDED, Raw(b'{"rows":[1,2]}'), None, 0.5)


def test_what_was_lost_with_the_socket_is_said_again_once_and_in_order():
    wire = opened()
    wire.say(DEVICE, note(1))
    wire.device.send(note(2))
    wire.device.send(note(3))
    assert wire.device.frames_to_send(0.0), "and they are lost"
    wire.device.send(note(4))

    after = resumed(wire)

    assert after.deliver(DEVICE) == [note(2), note(3), note(4)]
    assert after.device.send(note(5)) == 5


def test_of_frames_that_partly_arrived_only_the_rest_is_said_again():
    wire = opened()
    for n in range(3):
        wire.galaxy.send(Assign(f"c/a#{n}", "shell", Raw(b'"' + b"x" * 200_000 + b'"'), Effect.PURE, 60.0))
    first, *_ = wire.galaxy.frames_to_send(0.0)
    wire.device.receive(first, 0.0)

    after = resumed(wire)

    assert [m.attempt for m in after.again if isinstance(m, Assign)] == ["c/a#1", "c/a#2"]


def test_what_was_heard_but_is_not_safe_stays_in_the_outbox_and_is_not_said_again():
    wire = opened()
    wire.say(DEVICE, REPORT)

    after = resumed(wire)
    assert after.deliver(DEVICE) == []
    assert after.device.unacknowledged == 1

    after.settle(GALAXY)
    assert after.device.unacknowledged == 0


def test_an_acknowledgement_that_was_lost_with_the_socket_is_said_again():
    wire = opened()
    wire.say(DEVICE, REPORT)
    wire.galaxy.settle(1, 0.0)
    wire.now = 1.0
    assert wire.galaxy.frames_to_send(1.0), "and it is lost"

    after = resumed(wire)

    assert (after.device.acked, after.device.unacknowledged) == (1, 0)


def test_the_welcome_itself_acknowledges_nothing_as_its_hearer_has_not_resumed():
    wire = opened()
    wire.say(DEVICE, REPORT)
    wire.settle(GALAXY)
    after = Wire(wire.now)
    after.say(GALAXY, CHALLENGE)
    after.say(DEVICE, hello("s1", 0))
    after.galaxy.resume(wire.galaxy, 0)
    after.galaxy.send(Welcome("s1", True, 1, 10.0, 64, "t"))

    assert [unframed(f).ack for f in after.galaxy.frames_to_send(1.0)] == [0, 1]


def test_a_session_can_be_resumed_many_times_and_while_nothing_was_said():
    wire = opened()
    for n in range(1, 4):
        wire = resumed(wire)
        wire.device.send(note(n))
        wire.device.frames_to_send(wire.now)
    wire = resumed(resumed(wire))

    assert wire.deliver(DEVICE) == [note(1), note(2), note(3)]


def test_what_is_said_while_there_is_no_socket_waits_for_the_next():
    wire = opened()
    wire.galaxy.close(ByeCode.SILENT, "nothing heard")
    assert wire.galaxy.send(ASSIGN) == 1
    assert [unframed(f).first for f in wire.galaxy.frames_to_send(0.0)] == [0], "the Bye, and no more"

    assert resumed(wire).again == [ASSIGN]


def test_the_socket_before_hears_nothing_more_once_the_session_has_gone_on():
    wire = opened()
    wire.device.send(note(1))
    (frame,) = wire.device.frames_to_send(0.0)
    after = resumed(wire)

    assert wire.galaxy.receive(frame, 1.0) == []
    assert after.deliver(DEVICE) == [note(1)]
    said = [m for f in wire.galaxy.frames_to_send(1.0) for m in unframed(f).messages]
    assert [(type(m), m.code) for m in said if isinstance(m, Bye)] == [(Bye, ByeCode.REPLACED)]


@pytest.mark.parametrize("heard", [0, 3])
def test_a_peer_that_forgot_or_invents_what_it_heard_cannot_resume(heard):
    wire = opened()
    wire.say(DEVICE, note(1), note(2))
    wire.settle(GALAXY, 1)
    wire.device.send(note(3))

    with pytest.raises(RemoteProtocolError, match=f"cannot resume at {heard} of 2"):
        Session(DEVICE, now=0.0).resume(wire.device, heard)


def test_credits_count_anew_from_what_is_acknowledged_after_a_resume():
    wire = opened(credits=2)
    wire.say(DEVICE, *map(note, range(4)))
    after = resumed(wire, credits=2)
    assert after.deliver(DEVICE) == []

    after.settle(GALAXY)

    assert after.deliver(DEVICE) == [note(2), note(3)]


def test_an_acknowledgement_of_what_this_socket_has_not_carried_is_a_breach():
    wire = opened()
    wire.device.send(note(1))
    with pytest.raises(RemoteProtocolError, match="message 1 is acknowledged before it was said"):
        wire.device.receive('{"ack":1}', 0.0)
