"""An attempt whose lease would be over before it has begun waits until Galaxy has renewed what this device holds."""

import pytest

from device_agents.desk import BEGIN_LOOK_S, LOOK_EVERY_S, Begin, Desk, Keep, Say
from protocol.messages import Accept, Drain, Reconcile, Reject, Report, Revoke, Stopping
from protocol.vocabulary import Failure, Held, Holding, Outcome, Verdict

from .helpers import ONCE, PURE, assign

A = "c/a#1"
SHORT = assign(A, ONCE, stop_after_s=4.0)  # told to stop after 3 s without an answer
RENEWED_AT = 10.0


def waiting() -> Desk:
    """Return a desk that was given an attempt 4.8 s after the renewal that Galaxy has answered last."""
    this = Desk([])
    assert this.hear(SHORT, RENEWED_AT + 4.8, renewed_at=RENEWED_AT) == []
    return this


def test_it_begins_as_soon_as_a_renewal_was_answered_and_once():
    this = waiting()

    assert this.tick(14.9, RENEWED_AT) == []
    assert this.tick(15.0, 14.9) == [Begin(SHORT)]
    assert this.tick(15.01, 14.9) == []
    assert this.tick(15.1, 14.9) == [Say(Accept(A))]


def test_what_is_fresh_begins_at_once():
    assert Desk([]).hear(SHORT, RENEWED_AT + 2.9, renewed_at=RENEWED_AT) == [Begin(SHORT)]
    assert Desk([]).hear(assign(A, PURE, stop_after_s=0.0), 1e6, renewed_at=0.0) == [
        Begin(assign(A, PURE, stop_after_s=0.0))
    ]


def test_while_it_waits_it_is_held_and_neither_accepted_nor_stopped_and_a_renewal_is_soon_due():
    this = waiting()

    assert this.tick(100.0, RENEWED_AT) == []
    assert this.held() == (Held(A, Holding.RUNNING),)
    assert this.hear(SHORT, 101.0, renewed_at=RENEWED_AT) == []
    assert this.hear(Reconcile(A, Verdict.ADOPT, "why"), 101.0) == []
    assert (this.waits, this.look_within_s, this.renew_within_s()) == (True, BEGIN_LOOK_S, pytest.approx(4.0 / 3))
    assert this.stop_all("the end", 101.0) == []
    this.tick(101.0, 100.9)
    assert (this.waits, this.look_within_s) == (False, LOOK_EVERY_S)


@pytest.mark.parametrize("order", [Revoke(A, "why"), Reconcile(A, Verdict.SUPERSEDED, "why")])
def test_told_to_stop_it_says_that_it_has_not_begun(order):
    this = waiting()

    stopping, keep = this.hear(order, 15.0)
    report = Report(A, Outcome.CANCELLED, failure=Failure("stopped", "why: it had not begun"))
    assert (stopping, keep) == (Say(Stopping(A)), Keep(report, journalled=True))
    assert this.tick(16.0, 15.9) == []


def test_a_device_that_drains_gives_it_back():
    told, rejected = waiting().drain("the evening")

    assert told == Say(Drain("the evening"))
    failure = Failure("draining", "the device takes no more work: the evening", retryable=True)
    assert rejected == Say(Reject(A, failure))
