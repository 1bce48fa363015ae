"""What becomes a question, what it holds, and what each answer does."""

import pytest
from msgspec.structs import replace

from galaxy.core.checks import recorded_refusal
from galaxy.core.edit import AddStar, Skip, Supersede, UpdateStar
from galaxy.core.edit import Retry as TryAgain
from galaxy.core.errors import NoProgress, NotGranted, StaleConsult
from galaxy.core.events import AnswerRefused, ConstellationEnded, ConsultClosed, ConsultOpened
from galaxy.core.goal import ConsultWhen, FactKind, Goal, Grant, Planning
from galaxy.core.star import INSTRUCT, Fallback, Instruction, Needs, OnFailure, OnSuccess, Timeouts, Verify, When

from .helpers import (
    KeptLog,
    answer,
    cancel,
    close,
    device,
    done,
    edit,
    fail,
    line,
    reach,
    refuse,
    resume,
    star,
    submit,
    told,
)

CONSULT = OnFailure.CONSULT


def failed(**more) -> KeptLog:
    """A star has failed and the planner is asked about it; `b` is behind it."""
    log = KeptLog()
    planning = Planning("x", **more)
    log.feed(*device(), submit(star("a", on_failure=CONSULT), star("b"), line("a>b"), planning=planning))
    log.feed(fail("c/a#1"))
    log.wait(1.5)
    return log


def test_a_failure_is_asked_about_after_the_debounce_and_is_kept_meanwhile():
    log = KeptLog()
    log.feed(*device(), submit(star("a", on_failure=CONSULT)), fail("c/a#1"))

    assert told(log.wait(1.2)) == []
    assert told(log.wait(1.25)) == ["askplanner c/1"]
    assert log.states() == {"a": "ready"}
    assert log.course("a").failure_held


def test_facts_within_the_debounce_are_one_question():
    log = KeptLog()
    log.feed(*device(slots=2), submit(star("a", on_failure=CONSULT), star("b", on_failure=CONSULT)))
    log.feed(fail("c/a#1"), fail("c/b#1", 1.2))
    log.wait(2.0)

    assert [[fact.star for fact in opened.facts] for opened in log.of(ConsultOpened)] == [["a", "b"]]


def test_a_star_with_a_failure_line_is_not_asked_about():
    log = KeptLog()
    planning = Planning("x", when=ConsultWhen.ON_FAILURE)
    log.feed(*device(), submit(star("a"), star("b"), line("a>b", When.FAILURE), planning=planning), fail("c/a#1"))

    assert log.states() == {"a": "failed", "b": "leased"}


def test_a_success_holds_only_what_is_directly_behind_until_the_answer():
    log = KeptLog()
    stars = (star("a", on_success=OnSuccess.CONSULT), star("b"), star("z"), line("a>b"))
    log.feed(*device(slots=3), submit(*stars, planning=Planning("x")), done("c/a#1"))
    log.wait(1.5)

    assert log.states() == {"a": "succeeded", "b": "ready", "z": "leased"}
    assert told(log.feed(answer())) == ["stopasking c/1", "dispatch c/b#1 to laptop"]


def test_an_empty_edit_lets_a_failure_be_a_failure():
    log = failed()
    log.feed(answer())

    assert log.states() == {"a": "failed", "b": "skipped"}


def test_the_same_answer_to_the_same_failure_is_no_progress():
    log = failed()
    log.feed(answer(TryAgain("a")), fail("c/a#2", 3.0))
    log.wait(4.0)

    with pytest.raises(NoProgress):
        log.feed(answer(TryAgain("a"), to=2, at=4.0))


def test_additions_of_planners_are_counted():
    log = failed(additions_max=1)

    with pytest.raises(NotGranted):
        log.feed(answer(AddStar(star("x")), AddStar(star("y"))))


def test_after_so_many_refusals_a_question_is_closed_and_a_person_goes_on():
    log = failed(rounds_max=2)
    assert told(log.feed(refuse())) == ["askplanner c/1"]
    log.feed(refuse())

    assert [closed.consult for closed in log.of(ConsultClosed)] == [1]
    assert log.constellation().paused.startswith("waits for a person")
    log.feed(resume(3.0))
    assert log.states() == {"a": "failed", "b": "skipped"}


def test_a_late_answer_is_refused_and_can_be_recorded():
    log = failed()
    log.feed(close())
    late = answer(TryAgain("a"), at=3.0)

    with pytest.raises(StaleConsult) as refusal:
        log.feed(late)
    assert isinstance(recorded_refusal(log.core, late, refusal.value), AnswerRefused)


def test_cancel_drops_the_question():
    assert told(failed().feed(cancel(2.0))) == ["stopasking c/1"]


def test_what_replaces_a_failed_star_makes_up_for_it():
    log = failed()
    log.feed(answer(Supersede("a", star("a2"))), done("c/a2#1", 3.0), done("c/b#1", 4.0))

    assert [(f.star, f.handled_by) for f in log.of(ConstellationEnded)[0].failures] == [("a", "a2")]
    assert log.states() == {"a": "failed", "b": "succeeded", "a2": "succeeded"}


def test_a_goal_without_a_plan_has_failed_with_the_reason():
    log = KeptLog()
    log.feed(submit(goal=Goal("tea"), planning=Planning("x")), close(at=1.0))

    ended = log.of(ConstellationEnded)[0]
    assert (ended.state, ended.reason) == ("failed", "no plan: it is ill")
    assert log.of(ConsultOpened)[0].facts[0].kind is FactKind.GOAL


def test_the_answer_to_a_goal_takes_its_values_from_results():
    log = KeptLog()
    planning = Planning("x", when=ConsultWhen.ON_FAILURE)
    log.feed(*device(), submit(star("a"), goal=Goal("tea"), planning=planning), done("c/a#1", result={"n": 3}))
    log.feed(reach({"n": {"$from": "a", "pointer": "/n"}}))

    assert [bytes(value) for value in log.of(ConstellationEnded)[0].answer] == [b'{"n":3}']


def test_a_goal_that_takes_too_long_is_cancelled():
    log = KeptLog()
    log.feed(*device(), submit(star("a"), goal=Goal("tea", deadline_s=10.0), planning=Planning("x")))
    log.wait(11.0)

    assert log.constellation().cancelled == "its deadline of 10 s has passed"


NOT_GRANTED = [
    (star("n", tool="pay"), "/star/tool"),
    (star("n", needs=Needs(tools=("pay",))), "/star/tool"),
    (star("n", verify=Verify("pay", "true")), "/star/tool"),
    (star("n", fallback=Fallback("pay")), "/star/tool"),
    (star("n", tool=INSTRUCT, instruction=Instruction("do it")), "/star/tool"),
    (star("n", needs=Needs(device="laptop")), "/star/needs/device"),
]


@pytest.mark.parametrize(("beyond", "place"), NOT_GRANTED, ids=["tool", "need", "proof", "other", "words", "device"])
def test_only_granted_devices_and_tools_are_used_whoever_edits(beyond, place):
    log = KeptLog()
    grant = Grant(tools=("shell",), devices=("tower",))
    first = submit(star("a", on_failure=CONSULT), star("b"), line("a>b"), planning=Planning("x"), grant=grant)
    log.feed(*device(tools=("shell", "pay")), first)
    assert log.why("a") == "no device is able: laptop: the constellation is not granted it"
    assert told(log.feed(*device("tower"))) == ["dispatch c/a#1 to tower"]
    log.feed(fail("c/a#1", by="tower"))
    log.wait(1.5)

    with pytest.raises(NotGranted) as refused:
        log.core.check(submit(beyond, grant=grant, c="d"))
    assert refused.value.place == place.replace("/star", "/stars/0")
    for operation in (AddStar(beyond), UpdateStar(replace(beyond, id="b")), Supersede("a", beyond)):
        for by in (answer(operation), edit(operation, by="anna")):
            with pytest.raises(NotGranted) as refused:
                log.core.check(by)
            if beyond.verify is None or not by.consult:  # a planner says nothing of verifying in any case
                assert refused.value.place == f"/operations/0{place}"


def test_a_failure_without_an_attempt_that_is_answered_the_same_way_is_no_progress():
    log = KeptLog()
    stars = (star("q", tool="rare", on_failure=CONSULT, timeouts=Timeouts(queue_s=5.0)), star("z"))
    log.feed(*device(), submit(*stars, planning=Planning("x")))
    log.wait(6.0)
    log.feed(
        answer(Supersede("q", star("q~2", tool="rare", on_failure=CONSULT, timeouts=Timeouts(queue_s=5.0))), at=6.0)
    )
    log.wait(12.0)
    assert [course.failure.code for course in (log.course("q"), log.course("q~2"))] == ["queue_timeout"] * 2

    again = star("q3", tool="rare", on_failure=CONSULT, timeouts=Timeouts(queue_s=5.0))
    with pytest.raises(NoProgress):
        log.core.check(answer(Supersede("q~2", again), to=2, base=2, at=12.0))
    log.core.check(answer(Supersede("q~2", star("q3")), to=2, base=2, at=12.0))


def test_arguments_that_still_cannot_be_had_after_the_same_answer_are_no_progress():
    log = KeptLog()
    wants = {"x": {"$from": "a", "pointer": "/n"}}
    stars = (star("a"), star("b", arguments=wants, on_failure=CONSULT))
    log.feed(*device(), submit(*stars, planning=Planning("x")), done("c/a#1", result={"m": 1}))
    log.wait(2.0)
    assert log.course("b").failure.code == "binding_unresolved"
    log.feed(answer(TryAgain("b")))
    log.wait(4.0)

    with pytest.raises(NoProgress):
        log.core.check(answer(TryAgain("b"), to=2, base=2, at=4.0))
    log.core.check(answer(Skip("b"), to=2, base=2, at=4.0))
