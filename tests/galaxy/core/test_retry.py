"""Trying again: how often, when, where; and how long a star may wait or run."""

import pytest

from galaxy.core.attempt import AttemptId, LeaseEnd
from galaxy.core.edit import Retry as TryAgain
from galaxy.core.edit import UpdateStar
from galaxy.core.events import LeaseEnded, StarFailed, StarLeased
from galaxy.core.retry import delay_s
from galaxy.core.star import Retry, Timeouts
from protocol.vocabulary import Effect, Failure, Outcome

from .helpers import (
    AGAIN,
    AT_ONCE,
    NO_RETRY,
    OOPS,
    STEADY,
    Log,
    accept,
    connect,
    device,
    disconnect,
    done,
    edit,
    fail,
    pair,
    pause,
    reject,
    reloaded,
    report,
    resume,
    star,
    stopped,
    submit,
    told,
    unknown,
)


def test_attempts_are_as_many_as_the_policy_says():
    log = Log()
    log.feed(*device(), submit(star("a", retry=AT_ONCE)))
    for n in (1, 2, 3):
        log.feed(fail(f"c/a#{n}", float(n), failure=AGAIN))

    assert [leased.attempt for leased in log.of(StarLeased)] == [1, 2, 3]
    assert log.states() == {"a": "failed"}
    assert [attempt.failure for attempt in log.course("a").attempts] == [AGAIN] * 3


def test_a_failure_that_would_only_repeat_itself_is_not_tried_again():
    log = Log()
    log.feed(*device(), submit(star("a", retry=AT_ONCE)), fail("c/a#1", failure=OOPS))

    assert (log.states(), log.course("a").failures) == ({"a": "failed"}, 1)


def test_another_attempt_waits_for_its_back_off_and_not_a_moment_longer():
    log = Log()
    log.feed(*device(), submit(star("a", retry=STEADY)), fail("c/a#1", 5.0, failure=AGAIN))

    assert log.why("a") == "it backs off before another attempt"
    assert log.core.next_deadline() == 15.0
    assert log.wait(14.9) == []
    assert told(log.wait(15.0)) == ["dispatch c/a#2 to laptop"]
    log.feed(fail("c/a#2", 20.0, failure=AGAIN))
    assert log.core.next_deadline() == 40.0, "twice as long"


def test_a_star_whose_back_off_is_over_says_that_it_waits_for_room():
    log = Log()
    log.feed(*device(), submit(star("a", retry=STEADY)), fail("c/a#1", 5.0, failure=AGAIN))
    log.feed(submit(star("z"), c="d", at=6.0))
    log.wait(16.0)

    assert log.why("a") == "every able device is full"


def test_the_jitter_is_between_nothing_and_the_ceiling_and_comes_out_the_same_again():
    policy = Retry(attempts=9, backoff_s=1.0, factor=2.0, cap_s=10.0)
    delays = [delay_s(policy, AttemptId("c", f"s{n}", 1), 3) for n in range(200)]

    assert delays == [delay_s(policy, AttemptId("c", f"s{n}", 1), 3) for n in range(200)]
    assert 0.0 <= min(delays) < 1.0 < 3.0 < max(delays) < 4.0
    assert max(delay_s(policy, AttemptId("c", f"s{n}", 1), 5_000) for n in range(200)) <= 10.0, "however many failures"


def test_an_attempt_goes_elsewhere_while_another_device_can_do_it():
    log = Log()
    log.feed(*device(), *device("tower"), submit(star("a", retry=AT_ONCE)), fail("c/a#1", failure=AGAIN))
    assert log.of(StarLeased)[1].device == "tower"
    assert log.of(StarLeased)[1].refused == {"laptop": "an attempt failed there"}

    log.feed(fail("c/a#2", 2.0, by="tower", failure=AGAIN))
    assert log.of(StarLeased)[2].device == "laptop", "with nobody else left, here again"


def test_a_star_that_its_device_rejected_is_tried_elsewhere():
    log = Log()
    log.feed(*device(effect=Effect.ONCE), *device("tower", effect=Effect.ONCE), submit(star("a", retry=AT_ONCE)))

    assert told(log.feed(reject("c/a#1"))) == ["dispatch c/a#2 to tower"]
    assert log.course("a").attempts[0].outcome == LeaseEnd.REJECTED


def test_a_rejection_that_is_not_retryable_is_a_failure():
    log = Log()
    log.feed(*device(), submit(star("a", retry=AT_ONCE)), reject("c/a#1", failure=OOPS))

    assert log.states() == {"a": "failed"}


def test_a_star_that_no_device_takes_in_time_fails_with_the_reason():
    log = Log()
    log.feed(submit(star("a", timeouts=Timeouts(queue_s=60.0))))
    log.wait(59.9)
    assert log.states() == {"a": "ready"}
    log.wait(60.0)

    (failed,) = log.of(StarFailed)
    assert failed.failure == Failure("queue_timeout", "no device within 60 s: no device has joined")
    assert log.states() == {"a": "failed"}


def test_the_time_in_the_queue_counts_anew_after_a_back_off():
    log = Log()
    log.feed(*device(), submit(star("a", retry=STEADY, timeouts=Timeouts(queue_s=60.0))))
    log.feed(fail("c/a#1", 50.0, failure=AGAIN), disconnect(at=51.0))
    log.wait(119.9)
    assert log.states() == {"a": "ready"}, "its back-off ended at 60"
    log.wait(120.0)
    assert log.states() == {"a": "failed"}


@pytest.mark.parametrize("retry", [STEADY, AT_ONCE])
def test_a_star_without_a_queue_limit_waits_as_long_as_it_takes(retry):
    log = Log()
    log.feed(*device(), submit(star("a", retry=retry, timeouts=Timeouts(queue_s=0.0, run_s=5.0))))
    log.feed(accept("c/a#1"), fail("c/a#1", 2.0, failure=AGAIN))
    log.feed(disconnect(at=2.5) if retry is STEADY else disconnect(at=2.0))
    log.wait(1e6)

    assert [event.star for event in log.of(StarFailed)] == []
    assert log.core.next_deadline() is None or log.states() == {"a": "failed"}


def test_no_deadline_of_the_attempt_before_fires_for_a_star_that_waits_again():
    log = Log()
    log.feed(*device(), submit(star("a", retry=AT_ONCE, timeouts=Timeouts(queue_s=0.0, run_s=5.0))))
    log.feed(submit(star("z"), c="d"), disconnect(at=1.0), connect(at=2.0))  # it was never begun

    assert log.course("a").attempts[0].outcome == LeaseEnd.NOT_STARTED
    log.feed(disconnect(at=3.0))
    log.wait(1_000.0)
    assert log.of(StarFailed) == []


def test_an_edit_that_lifts_the_queue_limit_counts_at_once():
    log = Log()
    log.feed(submit(star("a", timeouts=Timeouts(queue_s=60.0))))
    log.feed(edit(UpdateStar(star("a", timeouts=Timeouts(queue_s=0.0)))))

    assert log.core.next_deadline() is None


def test_trying_again_by_hand_ends_the_back_off_and_no_old_deadline_is_left():
    log = Log()
    log.feed(*device(), submit(star("a", retry=STEADY, timeouts=Timeouts(queue_s=0.0))))
    log.feed(fail("c/a#1", failure=AGAIN), disconnect(at=2.0), edit(TryAgain("a"), at=3.0))

    assert log.core.next_deadline() == 902.0, "when its device counts as lost"
    assert told(log.feed(connect(at=500.0))) == ["dispatch c/a#2 to laptop"]


def test_a_device_that_is_silent_past_the_end_of_the_run_has_failed_and_is_told_to_stop():
    log = Log()
    log.feed(*device(), submit(star("a", retry=AT_ONCE, timeouts=Timeouts(run_s=60.0))), accept("c/a#1"))
    assert log.wait(90.9) == [], "it was accepted at 1"

    assert told(log.wait(91.0)) == ["revoke c/a#1 at laptop", "dispatch c/a#2 to laptop"]
    (ended,) = log.of(LeaseEnded)
    assert (ended.cause, ended.failure.code) == (LeaseEnd.OVERRAN, "overran")


def test_a_run_counts_from_when_its_device_was_told_however_long_that_took_to_record():
    log = Log()
    star_a = star("a", retry=AT_ONCE, timeouts=Timeouts(run_s=60.0))
    log.feed(*device())
    log.store_is_slow = True
    orders = log.feed(submit(star_a))
    assert log.wait(500.0) == [], "nobody runs it yet"
    log.go_out(orders, 500.0)
    assert log.wait(589.0) == []
    log.feed(accept("c/a#1", at=589.5))
    log.wait(679.0)
    assert log.of(LeaseEnded) == [], "the device has all of its time"

    assert "revoke c/a#1 at laptop" in told(log.wait(680.0))


def test_a_star_without_a_run_limit_may_run_for_ever():
    log = Log()
    log.feed(*device(), submit(star("a", timeouts=Timeouts(run_s=0.0))), accept("c/a#1"))
    log.wait(1e7)

    assert (log.states(), log.core.next_deadline()) == ({"a": "running"}, None)
    log.feed(done("c/a#1", 1e7))


def test_a_run_that_ended_while_its_device_was_away_is_not_given_up_when_it_returns():
    log = Log()
    log.feed(*device(), pair(timeouts=Timeouts(run_s=10.0)), accept("c/a#1"), disconnect(at=2.0))
    log.feed(connect(at=59.0, finished=("c/a#1",)))
    assert log.of(LeaseEnded) == [], "its report is on the way"

    assert told(log.feed(done("c/a#1", 60.0))) == ["dispatch c/b#1 to laptop"]


def test_paused_stars_do_not_time_out_and_count_from_when_it_goes_on():
    log = Log()
    log.feed(submit(star("a", timeouts=Timeouts(queue_s=60.0))), pause(10.0))
    log.wait(500.0)
    assert log.states() == {"a": "ready"}

    log.feed(resume(500.0))
    log.wait(559.9)
    assert log.states() == {"a": "ready"}
    log.wait(560.0)
    assert log.states() == {"a": "failed"}


def test_a_back_off_that_ends_while_paused_is_over_when_it_goes_on():
    log = Log()
    log.feed(*device(), submit(star("a", retry=STEADY)), pause(1.0), fail("c/a#1", 2.0, failure=AGAIN))
    assert log.wait(100.0) == []

    assert told(log.feed(resume(100.0))) == ["dispatch c/a#2 to laptop"]


def test_a_back_off_outlives_a_short_pause_and_a_reload():
    log = Log()
    log.feed(*device(), submit(star("a", retry=STEADY)), fail("c/a#1", 2.0, failure=AGAIN), pause(3.0), resume(4.0))
    after = reloaded(log)

    for each in (log, after):
        assert each.core.next_deadline() == 12.0
        assert told(each.wait(12.0)) == ["dispatch c/a#2 to laptop"]


def test_an_outcome_without_a_failure_gets_one_that_says_so():
    for outcome, retryable in ((Outcome.FAILED, False), (Outcome.CANCELLED, False), (Outcome.UNKNOWN, True)):
        log = Log()
        log.feed(*device(), submit(star("a", retry=NO_RETRY)), report("c/a#1", outcome))

        assert log.course("a").failure == Failure(outcome, f"the attempt was {outcome}", retryable)
        assert log.states() == {"a": "failed"}


def test_what_may_be_repeated_and_was_cut_off_is_tried_again():
    log = Log()
    log.feed(*device(effect=Effect.PURE), submit(star("a", retry=AT_ONCE)))

    assert told(log.feed(unknown("c/a#1"))) == ["dispatch c/a#2 to laptop"]
    log.feed(stopped("c/a#2", 2.0))
    assert log.states() == {"a": "failed"}, "the device stopped it by itself, for good"
