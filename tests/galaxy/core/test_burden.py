"""What speaks against a device that is able decides between devices, and never keeps a star waiting."""

from typing import Any

import pytest

from galaxy.core.events import StarLeased
from galaxy.core.fleet_events import DeviceVitals
from galaxy.core.placement.burden import FAILURE_HALF_LIFE_S, burden_of
from galaxy.core.star import Needs
from protocol.vocabulary import Failure, Outcome, Vitals

from .helpers import AT_ONCE, OOPS, Log, connect, device, reloaded, report, star, submit

RAN_S = 10.0


def how(name: str, at: float = 1.0, **vitals: Any) -> DeviceVitals:
    return DeviceVitals(at=at, device=name, vitals=Vitals(**vitals))


def fleet(*names: str, runs: int = 2) -> Log:
    """Return a galaxy whose devices have each made a few calls, so that it is known how long they take."""
    log = Log()
    for name in names:
        log.feed(*device(name))
    for n in range(runs):
        for name in names:
            ran(log, name, f"{name}{n}")
    return log


def ran(log: Log, name: str, c: str, outcome: Outcome = Outcome.SUCCEEDED, **more: Any) -> None:
    """Let a star of its own run on the device."""
    log.feed(submit(star("a", needs=Needs(device=name)), c=c, at=log.now))
    log.feed(report(f"{c}/a#1", outcome, log.now + RAN_S, by=name, ran_s=RAN_S, **more))


def placed(log: Log, c: str = "new", at: float = 1_000.0, **more: Any) -> StarLeased:
    log.feed(submit(star("a", **more), c=c, at=max(at, log.now)))
    leased = log.of(StarLeased)[-1]
    assert leased.constellation == c
    return leased


@pytest.mark.parametrize(
    ("vitals", "why"),
    [
        ({"battery": 0.4, "charging": False}, "it runs on its battery, at 40%"),
        ({"load": 1.7}, "its load is 1.7 for each processor"),
        ({"temperature_c": 85.0}, "it is 85 °C hot"),
        ({"in_use": True}, "a person is using it"),
    ],
)
def test_a_device_that_is_worse_off_is_passed_over_and_the_reason_is_kept(vitals, why):
    log = fleet("a-first", "b-other")
    log.feed(how("a-first", at=log.now, **vitals))

    leased = placed(log)
    assert leased.device == "b-other"
    burdened = {one.device: (one.burden, one.burden_s > 0.0) for one in leased.candidates}
    assert burdened == {"a-first": (why, True), "b-other": ("", False)}


@pytest.mark.parametrize(
    "vitals", [{}, {"battery": 0.3, "charging": True}, {"load": 0.9}, {"temperature_c": 60.0}, {"in_use": False}]
)
def test_a_device_that_is_well_or_tells_nothing_has_no_burden(vitals):
    assert burden_of(Vitals(**vitals)).share == 0.0


def test_a_burden_keeps_no_star_waiting_for_a_device_that_is_full():
    log = fleet("a-first", "b-other")
    log.feed(how("b-other", at=log.now, battery=0.2, charging=False))
    placed(log, "busy", log.now)  # on the one that is well
    assert log.of(StarLeased)[-1].device == "a-first"

    assert placed(log, at=log.now).device == "b-other"


def test_a_tool_that_failed_on_a_device_is_tried_elsewhere_until_that_is_long_ago():
    log = fleet("a-first", "b-other")
    ran(log, "a-first", "bad", Outcome.FAILED, failure=Failure("busy", "try again", retryable=True))

    assert placed(log, "soon", log.now).device == "b-other"
    log.feed(report("soon/a#1", at=log.now + RAN_S, by="b-other", ran_s=RAN_S))
    assert placed(log, "late", log.now + 10 * FAILURE_HALF_LIFE_S).device == "a-first"


def test_a_tool_that_works_again_has_no_burden():
    log = fleet("a-first", "b-other")
    ran(log, "a-first", "bad", Outcome.FAILED, failure=Failure("busy", "try again", retryable=True))
    ran(log, "a-first", "good")

    assert placed(log, at=log.now).device == "a-first"


def test_a_failure_of_the_call_itself_is_not_held_against_the_device():
    log = fleet("a-first", "b-other")
    ran(log, "a-first", "bad", Outcome.FAILED, failure=Failure("bad_arguments", "no such file"))

    assert placed(log, at=log.now).device == "a-first"


def test_a_device_that_fails_at_once_is_not_taken_for_a_quick_one():
    log = fleet("a-good", "b-broken")
    for n in range(5):
        log.feed(submit(star("a", needs=Needs(device="b-broken")), c=f"bad{n}", at=log.now))
        log.feed(report(f"bad{n}/a#1", Outcome.FAILED, log.now, by="b-broken", ran_s=0.001, failure=OOPS))

    assert log.core.placer.weighing.durations.expected_s("shell", "b-broken") == pytest.approx(RAN_S, rel=0.05)


def test_what_failed_is_remembered_over_a_restart():
    log = fleet("a-first", "b-other")
    log.feed(submit(star("a", retry=AT_ONCE), c="open", at=log.now))
    first = log.of(StarLeased)[-1].device
    log.feed(report("open/a#1", Outcome.FAILED, log.now, by=first, failure=Failure("busy", "", True)))
    log = reloaded(log)
    log.feed(*[connect(name, at=log.now, boot="2") for name in ("a-first", "b-other")])

    burden = log.core.placer.weighing.burdens.on("shell", first, log.now)
    assert burden.why == ("shell has failed there lately",)
