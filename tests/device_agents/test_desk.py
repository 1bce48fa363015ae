"""Each rule of the desk. No loop, no clock, no disk."""

import pytest

from device_agents.desk import ACCEPT_AFTER_S, INSTRUCT, Begin, Desk, Halt, Keep, Say, cut_off
from protocol.messages import Accept, Drain, Progress, Reconcile, Reject, Report, Revoke
from protocol.vocabulary import Effect, Failure, Held, Holding, Outcome, Verdict

from .helpers import IDEMPOTENT, INTERACTIVE, ONCE, PURE, assign, cancelled, succeeded

A, B = "c/a#1", "c/b#1"
NEVER = 1e9  # renewed so late that no `stop_after_s` is over


def desk(*assigns, owed=(), now=0.0):
    """Return a desk that was given these."""
    made = Desk(list(owed))
    for each in assigns:
        made.hear(each, now)
    return made


def stopped(attempt, outcome, reason, ran_s=0.0):
    failure = Failure("stopped", f"the device stopped it: {reason}", retryable=True)
    return Report(attempt, outcome, failure=failure, ran_s=ran_s)


def test_an_assigned_attempt_is_begun():
    assert desk().hear(assign(A), 0.0) == [Begin(assign(A))]


def test_an_attempt_that_is_assigned_twice_is_begun_once():
    assert desk(assign(A)).hear(assign(A), 1.0) == []


def test_an_attempt_whose_report_is_on_its_way_is_not_begun_again():
    this = desk(assign(A))
    this.finished(succeeded(A))

    assert this.hear(assign(A), 1.0) == []


def test_an_attempt_that_the_journal_knows_as_completed_is_reported_again_and_not_begun():
    done = succeeded(A)

    this = desk()

    assert this.hear(assign(A, ONCE), 0.0, done) == [Keep(done, journalled=True)]
    assert (this.jobs, this.owed) == ({}, {A: done})


def test_a_finished_call_is_kept_and_owed():
    this = desk(assign(A))

    assert this.finished(succeeded(A)) == [Keep(succeeded(A), journalled=False)]
    assert (this.jobs, this.owed) == ({}, {A: succeeded(A)})


@pytest.mark.parametrize(
    ("effect", "journalled"), [(PURE, False), (IDEMPOTENT, False), (ONCE, True), (INTERACTIVE, True)]
)
def test_the_journal_is_for_what_may_not_be_repeated(effect, journalled):
    assert desk(assign(A, effect)).finished(succeeded(A)) == [Keep(succeeded(A), journalled)]


def test_a_revoked_attempt_that_nobody_knows_is_passed_over_in_silence():
    assert desk(assign(B)).hear(Revoke(A, "cancelled"), 0.0) == []


def test_a_revoked_attempt_that_has_ended_is_passed_over_in_silence():
    this = desk(assign(A))
    this.finished(succeeded(A))

    assert this.hear(Revoke(A, "cancelled"), 0.0) == []


@pytest.mark.parametrize("effect", list(Effect))
def test_a_revoked_call_is_halted_and_counts_as_cancelled(effect):
    this = desk(assign(A, effect))

    assert this.hear(Revoke(A, "a person cancelled it"), 0.0) == [Halt(A, "a person cancelled it")]
    assert this.finished(cancelled(A)) == [Keep(cancelled(A), effect in (ONCE, INTERACTIVE))]


def test_a_call_that_is_revoked_twice_is_halted_once():
    this = desk(assign(A))
    this.hear(Revoke(A, "first"), 0.0)

    assert this.hear(Revoke(A, "second"), 0.0) == []


def test_a_call_that_was_revoked_stays_cancelled_though_the_device_would_stop_it_too():
    this = desk(assign(A, ONCE))
    this.hear(Revoke(A, "cancelled"), 0.0)

    assert this.stop_all("the agent stops") == []
    assert this.finished(cancelled(A)) == [Keep(cancelled(A), journalled=True)]


def test_a_call_that_succeeds_although_it_was_revoked_has_succeeded():
    this = desk(assign(A))
    this.hear(Revoke(A, "cancelled"), 0.0)

    assert this.finished(succeeded(A)) == [Keep(succeeded(A), journalled=False)]


@pytest.mark.parametrize(
    ("effect", "outcome"),
    [
        (PURE, Outcome.FAILED),
        (IDEMPOTENT, Outcome.FAILED),
        (ONCE, Outcome.UNKNOWN),
        (INTERACTIVE, Outcome.UNKNOWN),
    ],
)
def test_a_call_is_stopped_when_galaxy_was_not_heard_for_too_long(effect, outcome):
    this = desk(assign(A, effect, stop_after_s=30.0))
    reason = "nothing heard from Galaxy for 30 s"
    this.tick(1.0, renewed_at=0.0)

    assert this.tick(29.9, renewed_at=0.0) == []
    assert this.tick(30.0, renewed_at=0.0) == [Halt(A, reason)]
    assert this.tick(31.0, renewed_at=0.0) == []
    [kept] = this.finished(Report(A, Outcome.CANCELLED, ran_s=31.0))
    assert kept.report == stopped(A, outcome, reason, ran_s=31.0)


def test_a_renewal_puts_off_the_stop():
    this = desk(assign(A, stop_after_s=30.0))
    this.tick(1.0, renewed_at=0.0)

    assert this.tick(30.0, renewed_at=5.0) == []
    assert this.next_deadline(renewed_at=5.0) == 35.0


def test_a_call_without_such_a_limit_goes_on_for_ever():
    this = desk(assign(A))
    this.tick(1.0, renewed_at=0.0)

    assert (this.tick(1e9, renewed_at=0.0), this.next_deadline(renewed_at=0.0)) == ([], None)


def test_a_clock_that_leaps_halts_a_call_once():
    """The machine slept: all of it is over at once, and only the first tick says so."""
    this = desk(assign(A, stop_after_s=30.0))

    assert this.tick(1e6, renewed_at=0.0) == [Say(Accept(A)), Halt(A, "nothing heard from Galaxy for 30 s")]
    assert this.tick(2e6, renewed_at=0.0) == []


def test_a_revoke_after_the_device_halted_by_itself_makes_it_a_cancel():
    this = desk(assign(A, ONCE, stop_after_s=30.0))
    this.tick(30.0, renewed_at=0.0)

    assert this.hear(Revoke(A, "cancelled"), 31.0) == []
    assert this.finished(cancelled(A)) == [Keep(cancelled(A), journalled=True)]


def test_a_call_that_stops_though_nobody_asked_it_has_failed():
    assert desk(assign(A)).finished(cancelled(A)) == [Keep(stopped(A, Outcome.FAILED, "unasked"), journalled=False)]


def test_a_call_is_accepted_when_it_takes_longer_than_a_moment():
    this = desk(assign(A), now=10.0)

    assert this.next_deadline(NEVER) == 10.0 + ACCEPT_AFTER_S
    assert this.tick(10.0 + ACCEPT_AFTER_S - 0.01, NEVER) == []
    assert this.tick(10.0 + ACCEPT_AFTER_S, NEVER) == [Say(Accept(A))]
    assert this.tick(11.0, NEVER) == []


def test_a_call_that_ends_within_a_moment_is_not_accepted():
    this = desk(assign(A))

    assert this.finished(succeeded(A)) == [Keep(succeeded(A), journalled=False)]
    assert (this.tick(1.0, NEVER), this.next_deadline(NEVER)) == ([], None)


def test_a_call_is_accepted_before_its_first_progress_is_told():
    assert desk(assign(A)).progressed(A, "half", 0.5, 0.01) == [Say(Accept(A)), Say(Progress(A, "half", 0.5))]


def test_progress_of_a_call_that_has_ended_is_not_told():
    this = desk(assign(A))
    this.finished(succeeded(A))

    assert this.progressed(A, "late", 1.0, 0.0) == []


def test_a_flood_of_progress_is_told_once_a_second_and_its_last_word_is_kept():
    this = desk(assign(A))
    this.progressed(A, "0", None, 0.0)

    said = [this.progressed(A, str(n), n / 1000, n / 1000) for n in range(1, 1000)]

    assert said == [[]] * 999
    assert this.next_deadline(NEVER) == 1.0
    assert this.tick(1.0, NEVER) == [Say(Progress(A, "999", 0.999))]
    assert this.tick(9.0, NEVER) == []
    assert this.progressed(A, "again", None, 9.0) == [Say(Progress(A, "again"))]


def test_calls_do_not_use_up_each_others_progress():
    this = desk(assign(A), assign(B))
    this.progressed(A, "a", None, 0.0)

    assert this.progressed(B, "b", None, 0.0) == [Say(Accept(B)), Say(Progress(B, "b"))]


def test_a_note_is_cut_and_made_fit_for_the_wire():
    [_, said] = desk(assign(A)).progressed(A, "a name \udcff" + "x" * 600, None, 0.0)

    assert said == Say(Progress(A, ("a name ?" + "x" * 600)[:500]))


@pytest.mark.parametrize("drained_by", ["galaxy", "the device"])
def test_a_draining_device_rejects_what_it_has_not_begun(drained_by):
    this = desk(assign(A))
    if drained_by == "galaxy":
        assert this.hear(Drain("an update"), 0.0) == []
    else:
        assert this.drain("an update") == [Say(Drain("an update"))]

    failure = Failure("draining", "the device takes no more work: an update", retryable=True)
    assert this.hear(assign(B), 0.0) == [Say(Reject(B, failure))]
    assert this.held() == (Held(A, Holding.RUNNING),)


def test_a_draining_device_still_says_again_what_it_has_completed():
    this = desk()
    this.drain("an update")

    assert this.hear(assign(A, ONCE), 0.0, succeeded(A)) == [Keep(succeeded(A), journalled=True)]


def test_a_drain_without_a_reason_is_a_drain():
    this = desk()
    this.hear(Drain(""), 0.0)

    assert this.draining == "draining"


def test_what_could_not_be_begun_is_rejected_and_held_no_more():
    this, failure = desk(assign(A, ONCE)), Failure("outbox_failed", "the disk is full", retryable=True)

    assert this.unbegun(A, failure) == [Say(Reject(A, failure))]
    assert this.held() == ()


def test_held_names_what_runs_and_what_is_owed():
    this = desk(assign(A), owed=[succeeded(B)])

    assert this.held() == (Held(A, Holding.RUNNING), Held(B, Holding.FINISHED))


def test_a_new_session_is_told_anew_what_runs_for_some_time_and_what_is_owed():
    this = desk(assign(A), assign("c/short#1"), owed=[succeeded(B)])
    this.progressed(A, "", None, 0.0)

    assert this.said_anew() == [Accept(A), succeeded(B)]


def test_what_is_acknowledged_is_owed_no_more():
    this = desk(owed=[succeeded(A), succeeded(B)])
    this.acknowledged([A, "c/unknown#1"])

    assert (this.said_anew(), this.held()) == ([succeeded(B)], (Held(B, Holding.FINISHED),))


def test_stopping_all_halts_each_call_that_runs():
    this = desk(assign(A), assign(B), owed=[succeeded("c/done#1")])
    this.hear(Revoke(B, "cancelled"), 0.0)

    assert this.stop_all("the agent stops") == [Halt(A, "the agent stops")]


def test_a_call_that_a_crash_cut_off_is_unknown_and_not_retryable():
    report = cut_off(A)

    assert (report.outcome, report.failure.code, report.failure.retryable) == (Outcome.UNKNOWN, "cut_off", False)


def test_an_instruction_that_a_crash_cut_off_may_be_begun_anew_unless_a_step_has_counted():
    before, after = cut_off(A, ()), cut_off(A, ((1, "shell.run", "succeeded"), (3, "http.request", "")))

    assert (before.outcome, before.failure.retryable) == (Outcome.FAILED, True)
    assert (after.outcome, after.failure.retryable) == (Outcome.UNKNOWN, False)
    assert "; step 1, shell.run, succeeded; step 3, http.request, was under way" in after.failure.message


@pytest.mark.parametrize(("stepped", "outcome"), [(False, Outcome.FAILED), (True, Outcome.UNKNOWN)])
def test_an_instruction_that_the_device_stops_is_unknown_only_after_a_step_that_counts(stepped, outcome):
    this = desk(assign(A, ONCE, INSTRUCT))
    if stepped:
        this.stepped(A)
    this.stop_all("the agent stops")

    [keep] = this.finished(cancelled(A))
    assert (keep.report.outcome, keep.report.failure.code, keep.journalled) == (outcome, "stopped", True)


def test_the_last_note_on_an_instruction_is_said_before_its_report():
    this = desk(assign(A, ONCE, INSTRUCT), assign(B, ONCE))
    for attempt in (A, B):
        this.progressed(attempt, "thinking", None, 0.0)
        this.progressed(attempt, "1 steps, 20 tokens", None, 0.1)

    assert this.finished(succeeded(A)) == [Say(Progress(A, "1 steps, 20 tokens")), Keep(succeeded(A), journalled=True)]
    assert this.finished(succeeded(B)) == [Keep(succeeded(B), journalled=True)]


@pytest.mark.parametrize("verdict", Verdict)
def test_an_attempt_that_galaxy_does_not_go_on_with_is_stopped_as_if_it_were_revoked(verdict):
    busy = desk(assign(A))
    chores = busy.hear(Reconcile(A, verdict, "another has taken its place"), 1.0)

    stops = verdict in (Verdict.STOP, Verdict.SUPERSEDED)
    assert chores == ([Halt(A, "another has taken its place")] if stops else [])
