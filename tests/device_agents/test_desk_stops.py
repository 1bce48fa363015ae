"""How attempts are stopped: told, killed, given up; by Galaxy, by the lease rule, and when a device comes back."""

import pytest

from device_agents.desk import GIVE_UP_AFTER_S, GRACE_S, LEASE_MARGIN_S_MAX, Begin, Desk, Halt, Keep, Kill, Say, cut_off
from protocol.messages import Accept, Progress, Reconcile, Reject, Report, Revoke, Stopping
from protocol.vocabulary import Failure, Held, Holding, Outcome, Verdict

from .helpers import IDEMPOTENT, INTERACTIVE, ONCE, PURE, assign, cancelled, succeeded

A, B = "c/a#1", "c/b#1"
NEVER = 1e9  # renewed so late that no `stop_after_s` is over
ADOPT, CONTINUE, STOP, SUPERSEDED = Verdict


def desk(*assigns, owed=()):
    made = Desk(list(owed))
    for each in assigns:
        made.hear(each, 0.0)
    made.tick(1.0, NEVER)  # so that they are accepted
    return made


def report_in(chores):
    [keep] = [chore for chore in chores if isinstance(chore, Keep)]
    return keep.report


def code_of(chores):
    report = report_in(chores)
    return report.outcome, report.failure.code


def test_a_stop_is_confirmed_at_once_and_only_once():
    this = desk(assign(A))

    assert this.hear(Revoke(A, "why", 10.0), 2.0) == [Say(Stopping(A)), Halt(A, "why", 10.0)]
    assert this.hear(Revoke(A, "why", 10.0), 3.0) == []


def test_a_call_that_outlasts_its_grace_is_killed_once():
    this = desk(assign(A))
    this.hear(Revoke(A, "why", 10.0), 2.0)

    assert this.next_deadline(NEVER) == 12.0
    assert (this.tick(11.9, NEVER), this.tick(12.0, NEVER), this.tick(12.1, NEVER)) == ([], [Kill(A)], [])


def test_a_later_order_shortens_the_grace_and_never_prolongs_it():
    this = desk(assign(A))
    this.hear(Revoke(A, "why", 10.0), 2.0)
    this.hear(Revoke(A, "quick", 1.0), 3.0)
    this.hear(Revoke(A, "slow", 100.0), 3.0)

    assert this.tick(4.0, NEVER) == [Kill(A)]


def test_the_report_of_a_stopped_call_says_what_was_done_by_then():
    this = desk(assign(A, ONCE))
    this.progressed(A, "page 7 of 9", None, 1.0)
    this.hear(Revoke(A, "a person cancelled it"), 2.0)
    report = report_in(this.finished(Report(A, Outcome.CANCELLED, ran_s=2.5), 2.5))

    assert (report.outcome, report.failure.code, report.failure.retryable) == (Outcome.CANCELLED, "stopped", False)
    assert report.failure.message == (
        "a person cancelled it: it stopped 0.5 s after it was told to, having run for 2.5 s; "
        "nothing of it runs here any more; its last note: page 7 of 9"
    )


def test_the_report_of_a_killed_call_says_so():
    this = desk(assign(A))
    this.hear(Revoke(A, "why", 10.0), 2.0)
    this.tick(12.0, NEVER)
    report = report_in(this.finished(cancelled(A), 12.1))

    assert (report.outcome, report.failure.code) == (Outcome.CANCELLED, "killed")
    assert "it was killed 10.0 s after it was told to stop" in report.failure.message


def test_a_call_that_succeeds_in_its_grace_has_succeeded():
    this = desk(assign(A, ONCE))
    this.hear(Revoke(A, "why"), 2.0)

    assert report_in(this.finished(succeeded(A), 3.0)) == succeeded(A)


@pytest.mark.parametrize(
    ("effect", "outcome"),
    [(PURE, Outcome.FAILED), (IDEMPOTENT, Outcome.FAILED), (ONCE, Outcome.UNKNOWN), (INTERACTIVE, Outcome.UNKNOWN)],
)
def test_a_call_that_nothing_ends_is_never_called_cancelled(effect, outcome):
    this = desk(assign(A, effect))
    this.hear(Revoke(A, "why", 10.0), 2.0)
    this.tick(12.0, NEVER)

    assert this.tick(12.0 + GIVE_UP_AFTER_S - 0.1, NEVER) == []
    report = report_in(this.tick(12.0 + GIVE_UP_AFTER_S, NEVER))
    assert (report.outcome, report.failure.code) == (outcome, "stop_failed")
    assert "may still act" in report.failure.message


def test_a_call_that_nothing_ends_takes_up_its_slot_until_it_really_ends():
    this = desk(assign(A))
    this.hear(Revoke(A, "why", 0.0), 2.0)
    this.tick(2.0, NEVER)
    this.tick(2.0 + GIVE_UP_AFTER_S, NEVER)

    assert (this.stuck, this.held()) == ({A}, (Held(A, Holding.FINISHED),))
    this.acknowledged([A])
    assert this.hear(assign(A), 20.0) == []
    assert (this.finished(cancelled(A), 30.0), this.stuck, this.owed) == ([], set(), {})


def test_a_lease_that_runs_out_shortens_the_grace_of_a_revoke():
    this = desk(assign(A, stop_after_s=30.0))
    this.hear(Revoke(A, "why", 600.0), 2.0)

    assert this.tick(28.9, renewed_at=0.0) == []
    assert this.tick(30.0 - LEASE_MARGIN_S_MAX / 2, renewed_at=0.0) == [Kill(A)]


@pytest.mark.parametrize(("stop_after_s", "halted_at", "killed_at"), [(30.0, 28.0, 29.0), (2.0, 1.5, 1.75)])
def test_the_lease_rule_begins_early_enough_to_have_stopped_a_call_in_time(stop_after_s, halted_at, killed_at):
    this = desk(assign(A, stop_after_s=stop_after_s))

    assert this.next_stop(renewed_at=0.0) == this.next_deadline(renewed_at=0.0) == halted_at
    [halt] = this.tick(halted_at, renewed_at=0.0)
    assert halt.grace_s == killed_at - halted_at
    assert this.tick(killed_at, renewed_at=0.0) == [Kill(A)]


def test_after_a_freeze_a_call_that_has_outlived_its_lease_gets_no_grace_at_all():
    """The machine slept: all of it is over at once, and only the first tick says so."""
    this = desk(assign(A, stop_after_s=30.0))
    reason = "Galaxy has not answered for 1000.0 s, and may give it to another device"

    assert this.must_stop(A, 1000.0, renewed_at=0.0)
    assert this.tick(1000.0, renewed_at=0.0) == [Halt(A, reason, 0.0), Kill(A)]
    assert not this.must_stop(A, 1000.0, renewed_at=0.0)
    assert this.tick(1000.1, renewed_at=0.0) == []


def test_what_must_stop_comes_before_anything_is_said():
    this = Desk([])
    this.hear(assign(A, stop_after_s=30.0), 0.0)
    this.hear(assign(B), 0.0)

    assert [type(chore) for chore in this.tick(1000.0, renewed_at=0.0)] == [Halt, Kill, Say, Say]


def test_renewals_are_often_enough_for_the_shortest_lease_and_no_more_than_that():
    this = desk(assign(A, stop_after_s=30.0), assign(B, stop_after_s=6.0), assign("c/c#1"))
    assert this.renew_within_s() == 2.0
    this.finished(succeeded(B), 2.0)
    assert this.renew_within_s() == 10.0
    this.finished(succeeded(A), 2.0)
    assert this.renew_within_s() == float("inf")


def test_what_is_adopted_is_accepted_again_and_goes_on():
    this = desk(assign(A))

    assert this.hear(Reconcile(A, ADOPT, "not known as begun"), 2.0) == [Say(Accept(A))]
    assert this.hear(Reconcile(A, CONTINUE, "as before"), 2.0) == []
    assert this.held() == (Held(A, Holding.RUNNING),)


@pytest.mark.parametrize("verdict", [STOP, SUPERSEDED])
def test_what_is_to_end_or_superseded_is_stopped_as_by_a_revoke(verdict):
    this = desk(assign(A, ONCE))
    grace_s = Revoke(A, "").grace_s

    assert this.hear(Reconcile(A, verdict, "another has it"), 2.0) == [
        Say(Stopping(A)),
        Halt(A, "another has it", grace_s),
    ]
    assert code_of(this.finished(cancelled(A), 3.0)) == (Outcome.CANCELLED, "stopped")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_report_of_an_attempt_that_has_ended_is_delivered_whatever_becomes_of_it(verdict):
    this = desk(owed=[succeeded(A)])

    assert this.hear(Reconcile(A, verdict, "late"), 2.0) == []
    assert this.said_anew() == [succeeded(A)]


def test_a_call_that_a_crash_cut_off_is_held_as_an_intent_until_its_report_is_acknowledged():
    this = desk(owed=[cut_off(A), cut_off(B, ()), succeeded("c/c#1")])

    assert this.held() == (Held(A, Holding.INTENT), Held(B, Holding.FINISHED), Held("c/c#1", Holding.FINISHED))
    this.acknowledged([A])
    assert Held(A, Holding.INTENT) not in this.held()


def test_a_new_session_is_told_anew_what_is_being_stopped():
    this = desk(assign(A))
    this.hear(Revoke(A, "why"), 2.0)

    assert this.said_anew() == [Accept(A), Stopping(A)]


def test_a_call_of_a_withdrawn_tool_is_rejected_with_the_cause():
    this = desk()
    this.withdrawn = {"test.tool": "the disk is full"}

    text = "test.tool does not work on this device just now: the disk is full"
    assert this.hear(assign(A), 0.0) == [Say(Reject(A, Failure("tool_withdrawn", text, retryable=True)))]
    assert this.hear(assign(B, tool="other.tool"), 0.0) == [Begin(assign(B, tool="other.tool"))]


def test_a_completed_call_is_reported_again_though_its_tool_is_withdrawn():
    this = desk()
    this.withdrawn = {"test.tool": "the disk is full"}

    assert this.hear(assign(A, ONCE), 0.0, succeeded(A)) == [Keep(succeeded(A), journalled=True)]


def test_what_the_device_stops_gets_the_devices_own_grace():
    this = desk(assign(A, ONCE))

    assert this.stop_all("the agent stops", 2.0) == [Halt(A, "the agent stops", GRACE_S)]
    assert this.tick(2.0 + GRACE_S, NEVER) == [Kill(A)]
    assert code_of(this.finished(cancelled(A), 8.0)) == (Outcome.UNKNOWN, "killed")
    assert this.progressed(A, "late", None, 9.0) == [] != [Say(Progress(A, "late"))]
