"""A call is approved for one device: it is waited for while it may come back, and then whoever comes next is asked."""

import pytest

from galaxy.core.edit import Skip
from galaxy.core.errors import Conflict
from galaxy.core.events import ApprovalGiven, ApprovalLapsed, ApprovalRequested, DeviceProfiled, NodeStarted
from galaxy.core.star import INSTRUCT, Disconnect, Instruction, Needs, Timeouts

from .helpers import (
    KeptLog,
    allow,
    approve,
    connect,
    deny,
    device,
    disconnect,
    done,
    drain,
    edit,
    pause,
    profile,
    reloaded,
    resume,
    revoke,
    star,
    submit,
    told,
)

LOST = Disconnect(lost_after_s=60.0)


def asked(*, given: bool = False, full: bool = False, **more) -> KeptLog:
    """`a` is asked about, or approved, for the laptop; there is a tower too. Full: the laptop is busy with `z`."""
    log = KeptLog()
    wanted = star("a", **{"needs_approval": True, "disconnect": LOST, **more})
    log.feed(*device(tools=("shell", "rare", INSTRUCT), room="attic"), submit(wanted))
    if full:
        log.feed(submit(star("z"), c="busy"))
    log.feed(*device("tower", tools=("shell", "rare", INSTRUCT), room="attic"))
    if given:
        log.feed(approve("c/a#1", 0.5))
    return log


def questions(log: KeptLog) -> list[tuple[str, int]]:
    return [(question.device, question.attempt) for question in log.of(ApprovalRequested)]


@pytest.mark.parametrize("given", [False, True])
def test_a_device_that_comes_back_in_time_is_waited_for(given):
    log = asked(given=given, full=True)
    log.feed(disconnect(at=2.0))
    log.wait(61.0)
    said = "it was approved" if given else "it waits for a person to approve it"
    assert log.why("a") == f"{said}, and waits for laptop: it is unreachable: the socket closed"
    log.feed(connect(at=61.0, resumed=True, profile=profile(tools=("shell", "rare", INSTRUCT), room="attic")))
    log.wait(200.0)

    assert (log.of(ApprovalLapsed), questions(log)) == ([], [("laptop", 1)])
    orders = log.feed(done("busy/z#1", 200.0)) + ([] if given else log.feed(approve("c/a#1", 200.0)))
    assert told(orders) == ["dispatch c/a#1 to laptop"]


@pytest.mark.parametrize("given", [False, True])
def test_after_that_another_is_chosen_and_a_person_is_asked_anew(given):
    log = asked(given=given, full=True)
    log.feed(disconnect(at=2.0))
    log.wait(61.9)
    assert questions(log) == [("laptop", 1)]
    log.wait(62.0)

    (lapsed,) = [one for one in log.of(ApprovalLapsed) if one.star == "a"]
    assert (lapsed.at, lapsed.device, lapsed.reason) == (62.0, "laptop", "it has been gone for 60 s")
    assert questions(log) == [("laptop", 1), ("tower", 1)]
    assert log.why("a") == "it waits for a person to approve it"
    assert told(log.feed(approve("c/a#1", 63.0))) == ["dispatch c/a#1 to tower"]


@pytest.mark.parametrize("given", [False, True])
def test_a_revoked_device_is_not_waited_for(given):
    log = asked(given=given, full=True)
    log.feed(revoke(at=2.0))

    assert [(one.at, one.reason) for one in log.of(ApprovalLapsed)] == [(2.0, "it was revoked")]
    assert questions(log) == [("laptop", 1), ("tower", 1)]


@pytest.mark.parametrize(
    ("offer", "more", "why"),
    [
        (profile(tools=("rare",)), {}, "it no longer offers shell"),
        (profile(tools=("shell",)), {"needs": Needs(tools=("rare",))}, "it no longer offers rare"),
        (
            profile(tools=("shell", INSTRUCT)),
            {"tool": INSTRUCT, "instruction": Instruction("tidy", tools=("rare",))},
            "it no longer offers rare",
        ),
        (profile(), {"needs": Needs(labels={"room": "attic"})}, "it no longer has a label that the star needs"),
    ],
    ids=["tool", "another tool", "a tool of an instruction", "label"],
)
@pytest.mark.parametrize("how", ["profiled", "back"])
def test_a_device_that_does_not_offer_what_is_needed_any_more_is_not_waited_for(offer, more, why, how):
    log = asked(**more)
    if how == "profiled":
        log.feed(DeviceProfiled(at=2.0, device="laptop", profile=offer))
    else:
        log.feed(disconnect(at=2.0), connect(at=3.0, boot="boot-2", profile=offer))

    assert [one.reason for one in log.of(ApprovalLapsed)] == [why]
    assert questions(log) == [("laptop", 1), ("tower", 1)]


def test_a_device_that_drains_is_still_there():
    log = asked(given=True, full=True)
    log.feed(drain(at=2.0))
    log.wait(100.0)

    assert log.of(ApprovalLapsed) == []
    assert log.why("a") == "it was approved, and waits for laptop: it is draining: evening"


def test_a_full_device_for_which_a_call_was_approved_is_waited_for():
    log = asked(given=True, full=True)

    assert log.why("a") == "it was approved: its device is full"
    assert told(log.feed(done("busy/z#1", 2.0))) == ["dispatch c/a#1 to laptop"]


def test_where_no_other_is_able_the_star_waits_for_whoever_comes():
    log = asked(needs=Needs(device="laptop"), timeouts=Timeouts(queue_s=100.0))
    log.feed(disconnect(at=2.0))
    log.wait(62.0)

    assert log.why("a").startswith("no device is able: laptop: it is unreachable")
    log.wait(161.0)
    assert log.states() == {"a": "ready"}, "its time in the queue began when the approval had lapsed"
    log.wait(162.0)
    assert log.course("a").failure.code == "queue_timeout"


def test_after_a_restart_of_the_node_the_time_that_it_is_gone_is_counted():
    log = asked()
    after = reloaded(log)
    after.feed(NodeStarted(at=10.0))
    after.feed(connect("tower", at=11.0, profile=profile(tools=("shell",))))
    after.wait(69.0)
    assert after.of(ApprovalLapsed) == []
    after.wait(70.0)

    assert [(one.at, one.device) for one in after.of(ApprovalLapsed)] == [(70.0, "laptop")]
    assert after.core.constellations["c"].courses["a"].approval.device == "tower"


def test_an_approval_lapses_while_the_constellation_is_paused_too():
    log = asked(given=True, full=True)
    log.feed(pause(1.0), disconnect(at=2.0))
    log.wait(62.0)
    assert [one.at for one in log.of(ApprovalLapsed) if one.star == "a"] == [62.0]

    log.feed(resume(70.0))
    assert questions(log) == [("laptop", 1), ("tower", 1)]


def test_a_star_that_has_ended_waits_for_no_device():
    log = asked()
    log.feed(edit(Skip("a"), at=1.0), disconnect(at=2.0))
    log.wait(100.0)

    assert (log.of(ApprovalLapsed), log.core.next_deadline()) == ([], 902.0)


@pytest.mark.parametrize("word", [approve, deny])
def test_a_word_about_a_question_that_has_lapsed_is_refused_if_it_says_which_one_it_was(word):
    """The attempt is the same: it is another device's call."""
    log = asked()
    first = log.course("a").approval.asked_at
    log.feed(revoke(at=2.0))
    late = word("c/a#1", 3.0)
    late = type(late)(**{f: getattr(late, f) for f in late.__struct_fields__} | {"asked_at": first or 0.5})

    with pytest.raises(Conflict, match="c/a#1 is another call by now"):
        log.core.check(late)


def test_a_word_about_the_very_question_is_taken():
    log = asked()
    log.feed(revoke(at=2.0))
    said = ApprovalGiven(at=3.0, constellation="c", star="a", attempt=1, by="anna", asked_at=2.0)

    assert told(log.feed(said)) == ["dispatch c/a#1 to tower"]


def test_a_rule_lets_the_call_go_to_the_other_device():
    log = asked()
    log.feed(allow({}, 1.0, device="tower"))
    assert log.why("a") == "it waits for a person to approve it"

    assert told(log.feed(revoke(at=2.0))) == ["disconnect at laptop", "dispatch c/a#1 to tower"]
