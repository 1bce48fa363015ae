"""A verification changes nothing, for nobody is asked before it: only a tool that says so of itself may be called."""

import pytest

from galaxy.core.attempt import Purpose
from galaxy.core.events import ApprovalRequested, DeviceProfiled, StarLeased
from galaxy.core.goal import Grant
from galaxy.core.star import Disconnect, OnFailure, Timeouts, Verify
from protocol.vocabulary import Effect, Kind, Profile, ToolSpec

from .helpers import EMPTY, KeptLog, approve, connect, joined, star, submit, told, tool, unknown

PROOF = Verify("pay", "result == true")


def offers(effect: Effect) -> Profile:
    tools: tuple[ToolSpec, ...] = (tool("shell", Effect.ONCE), tool("pay", effect))
    return Profile(Kind.DESKTOP, 1, tools, {})


def cut_off(effect: Effect, **more) -> KeptLog:
    """An approved `once` call was cut off on the laptop, whose tool `pay`, which is to verify it, has this effect."""
    log = KeptLog()
    asked = star("a", verify=PROOF, disconnect=Disconnect(lost_after_s=5.0), **more)
    log.feed(*joined("laptop"), connect(profile=offers(effect)))
    log.feed(submit(asked, grant=Grant(approve=(Effect.ONCE,))), approve("c/a#1", 0.5), unknown("c/a#1", 1.0))
    return log


@pytest.mark.parametrize("effect", [Effect.IDEMPOTENT, Effect.ONCE, Effect.INTERACTIVE])
def test_no_tool_that_changes_anything_is_called_to_verify(effect):
    log = cut_off(effect)

    assert [leased.purpose for leased in log.of(StarLeased)] == [Purpose.RUN]
    assert len(log.of(ApprovalRequested)) == 1
    said = f"a verification may change nothing, and of pay it says: {effect}"
    assert log.why("a") == f"no device is able: laptop: {said}"


def test_a_tool_that_says_it_is_pure_verifies_and_nobody_is_asked():
    log = cut_off(Effect.PURE)

    leased = log.of(StarLeased)[1]
    assert (leased.purpose, leased.effect, leased.device) == (Purpose.VERIFY, Effect.PURE, "laptop")
    assert len(log.of(ApprovalRequested)) == 1


def test_what_nobody_can_verify_in_time_has_an_unknown_outcome_and_goes_up_the_ladder():
    log = cut_off(Effect.ONCE, timeouts=Timeouts(queue_s=600.0), on_failure=OnFailure.PAUSE)
    log.wait(700.0)

    failure = log.course("a").failure
    assert failure.code == "outcome_unknown"
    assert "the verification could not be made: no device within 600 s" in failure.message
    assert log.constellation().paused.startswith("waits for a person: a failed")


def test_a_verification_is_made_as_soon_as_its_tool_is_pure():
    log = cut_off(Effect.ONCE)
    orders = log.feed(DeviceProfiled(at=2.0, device="laptop", profile=offers(Effect.PURE)))

    assert told(orders) == ["dispatch c/a#2 to laptop"]
    assert (orders[0].tool, orders[0].arguments) == ("pay", EMPTY)
