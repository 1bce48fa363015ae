"""Rules of questions to a planner: how many, about what, for how long, and who goes on when nobody answers."""

import pytest
from msgspec import Raw

from galaxy.core.edit import AddLine, AddStar, Edit, RemoveStar, Skip, Supersede, UpdateStar
from galaxy.core.edit import Retry as TryAgain
from galaxy.core.errors import InvalidEdit, NotGranted, StaleConsult
from galaxy.core.events import (
    ConstellationEdited,
    ConstellationEnded,
    ConsultClosed,
    ConsultOpened,
    Kept,
    NodeStarted,
    UsageReserved,
    UsageSettled,
)
from galaxy.core.goal import Budget, ConsultEnd, ConsultWhen, FactKind, Goal, Grant, Planning, Usage
from galaxy.core.star import Needs, OnFailure, OnSuccess, When

from .helpers import (
    KeptLog,
    answer,
    cancel,
    close,
    device,
    done,
    edit,
    fail,
    give_up,
    line,
    pause,
    reach,
    refuse,
    reloaded,
    resume,
    star,
    submit,
    told,
)

CONSULT = OnFailure.CONSULT


def running(*names: str, **planning: object) -> KeptLog:
    """Stars that run side by side, and are asked about if they fail."""
    log = KeptLog()
    stars = [star(name, on_failure=CONSULT) for name in names]
    log.feed(*device(slots=4), submit(*stars, planning=Planning("x", **planning)))
    return log


def test_facts_that_arrive_during_an_open_question_are_exactly_one_further_question():
    log = running("a", "b", "d")
    log.feed(fail("c/a#1", 1.0))
    log.wait(1.5)
    log.feed(fail("c/b#1", 2.0), fail("c/d#1", 2.1))
    log.wait(5.0)
    assert [opened.consult for opened in log.of(ConsultOpened)] == [1], "one question at a time"
    log.feed(answer(at=5.0))
    log.wait(9.0)

    assert [[fact.star for fact in opened.facts] for opened in log.of(ConsultOpened)] == [["a"], ["b", "d"]]


def test_a_planner_is_asked_so_often_and_then_a_person_is():
    log = running("a", "b", consults_max=1)
    log.feed(fail("c/a#1", 1.0))
    log.wait(1.5)
    log.feed(answer(at=2.0), fail("c/b#1", 3.0))
    log.wait(9.0)

    assert len(log.of(ConsultOpened)) == 1
    assert log.constellation().paused == "waits for a person: b failed: it broke"
    assert log.why("b") == "it failed and waits for a person to retry or skip it: it broke"


def test_a_silent_planner_is_waited_for_so_long_and_then_a_person_is():
    log = running("a", answer_within_s=20.0)
    log.feed(fail("c/a#1", 1.0))
    log.wait(21.2)
    assert log.of(ConsultClosed) == []
    assert told(log.wait(21.25)) == ["stopasking c/1"]

    assert [(closed.end, closed.reason) for closed in log.of(ConsultClosed)] == [
        (ConsultEnd.SILENT, "x has not answered within 20 s")
    ]
    assert "no answer about a" in log.constellation().paused
    assert told(log.feed(edit(TryAgain("a"), at=30.0))) == ["dispatch c/a#2 to laptop"]


def test_what_a_question_without_an_answer_has_held_waits_for_a_person_to_go_on():
    log = KeptLog()
    stars = (star("a", on_success=OnSuccess.CONSULT), star("b"), line("a>b"))
    log.feed(*device(), submit(*stars, planning=Planning("x", answer_within_s=20.0)), done("c/a#1"))
    log.wait(1.5)
    assert log.why("b") == "it is held until the planner has answered about a"
    log.wait(30.0)
    assert log.why("b") == "it is held until the planner has answered about what a person has not gone on from"

    assert told(log.feed(resume(31.0))) == ["dispatch c/b#1 to laptop"]


def test_an_answer_to_another_question_than_the_open_one_is_refused():
    log = running("a", "b")
    log.feed(fail("c/a#1", 1.0))
    log.wait(1.5)
    log.feed(answer(at=2.0), fail("c/b#1", 3.0))
    log.wait(4.0)

    for late in (answer(TryAgain("b"), to=1), close(to=1), reach(to=1), give_up(to=3), answer(TryAgain("b"), to=3)):
        with pytest.raises(StaleConsult):
            log.core.check(late)


def test_an_answer_is_refused_where_a_person_has_changed_what_it_names():
    log = running("a")
    log.feed(fail("c/a#1", 1.0))
    log.wait(1.5)
    log.feed(edit(UpdateStar(star("a", on_failure=CONSULT, title="by a person")), at=1.6))

    with pytest.raises(InvalidEdit, match="star a was changed by revision 2, after 1"):
        log.core.check(answer(TryAgain("a"), base=1))
    log.feed(answer(TryAgain("a"), base=2))
    assert log.course("a").star.title == "by a person"


def test_what_a_person_has_already_tried_again_is_not_judged_by_the_answer():
    log = running("a", "z")
    log.feed(fail("c/a#1", 1.0))
    log.wait(1.5)
    assert told(log.feed(edit(TryAgain("a"), at=1.6))) == ["dispatch c/a#2 to laptop"]
    log.feed(answer(AddStar(star("y")), base=1, at=2.0))

    assert log.states() == {"a": "leased", "z": "leased", "y": "leased"}


def test_a_paused_constellation_asks_when_it_is_resumed():
    log = running("a")
    log.feed(pause(0.5), fail("c/a#1", 1.0))
    assert told(log.wait(60.0)) == []

    assert told(log.feed(resume(60.0))) == ["askplanner c/1"]


def test_a_timer_for_facts_that_a_person_has_overtaken_asks_nothing():
    log = running("a", "z")
    log.feed(fail("c/a#1", 1.0), cancel(1.1))

    assert told(log.wait(20.0)) == []
    assert log.of(ConsultOpened) == []


def test_a_plan_is_asked_for_at_once_and_has_stars():
    log = KeptLog()
    assert told(log.feed(*device(), submit(goal=Goal("tea"), planning=Planning("x")))) == ["askplanner c/1"]

    with pytest.raises(InvalidEdit, match="a plan needs at least one star"):
        log.core.check(answer())


def test_a_planner_that_has_nothing_to_add_at_the_end_is_asked_no_more():
    log = KeptLog()
    log.feed(*device(), submit(star("a"), goal=Goal("tea"), planning=Planning("x", when=ConsultWhen.ON_FAILURE)))
    assert told(log.feed(done("c/a#1"))) == ["askplanner c/1"]
    log.feed(answer())

    assert log.of(ConstellationEnded)[0].state == "succeeded"


def test_a_planner_that_fails_at_the_end_does_not_undo_what_succeeded():
    log = KeptLog()
    log.feed(*device(), submit(star("a"), goal=Goal("tea"), planning=Planning("x", when=ConsultWhen.ON_FAILURE)))
    log.feed(done("c/a#1"), close())

    ended = log.of(ConstellationEnded)[0]
    assert (ended.state, ended.reason) == ("succeeded", "it is ill")


def test_the_end_of_a_goal_skips_what_was_not_begun_and_lets_held_failures_be_failures():
    log = KeptLog()
    stars = (star("a", on_failure=CONSULT), star("b"), star("m"), line("a>b"), line("a>m", When.FAILURE))
    log.feed(*device(), submit(*stars, goal=Goal("tea"), planning=Planning("x")), fail("c/a#1"))
    log.wait(1.5)
    with pytest.raises(InvalidEdit, match="a failed and nothing made up for it"):
        log.core.check(reach())
    log.feed(reach(despite=("a",)))

    ended = log.of(ConstellationEnded)[0]
    assert (ended.state, ended.counts) == ("succeeded", {"failed": 1, "skipped": 2})


@pytest.mark.parametrize(("text", "why"), [(b"{", "is not JSON"), (b'{"$from":"nova"}', "does not lead to a result")])
def test_an_answer_that_cannot_be_read_is_refused_at_its_place(text: bytes, why: str):
    log = KeptLog()
    log.feed(*device(), submit(star("a"), goal=Goal("tea"), planning=Planning("x", when=ConsultWhen.ON_FAILURE)))
    log.feed(done("c/a#1"))
    reached = reach()
    reached = type(reached)(
        **{f: getattr(reached, f) for f in reached.__struct_fields__ if f != "answer"}, answer=Raw(text)
    )

    with pytest.raises(InvalidEdit, match=why) as refused:
        log.core.check(reached)
    assert refused.value.place.startswith("/answer")


def test_a_goals_deadline_is_kept_also_while_it_is_paused_and_after_a_restart():
    log = KeptLog()
    log.feed(*device(), submit(star("a"), goal=Goal("tea", deadline_s=10.0), planning=Planning("x")), pause(1.0))
    after = reloaded(log)

    for one in (log, after):
        assert one.core.next_deadline() == 10.0
        assert told(one.wait(10.0)) == ["revoke c/a#1 at laptop"]


def test_every_star_that_an_edit_rewrites_stays_within_the_grant():
    log = KeptLog()
    grant = Grant(tools=("shell",), devices=("laptop",))
    log.feed(submit(star("a", on_failure=CONSULT), star("b"), line("a>b"), planning=Planning("x"), grant=grant))

    with pytest.raises(NotGranted, match="star b would use pay, which is not granted"):
        log.core.check(edit(UpdateStar(star("b", tool="pay"))))


def test_a_settled_call_sets_nothing_aside_any_more():
    log = KeptLog()
    log.feed(*device(), submit(star("a"), grant=Grant(budget=Budget(tokens=100))))
    for number in range(9):
        log.feed(UsageReserved(at=1.0, constellation="c", call=f"k{number}", tokens=60))
        log.feed(UsageSettled(at=1.0, constellation="c", call=f"k{number}", usage=Usage(tokens_in=5)))

    spent = log.constellation().dialogue.spent
    assert (spent.tokens, spent.calls, spent.reserved) == (45, 9, {})


def test_what_a_fork_keeps_has_succeeded_already_and_is_never_begun():
    log = KeptLog()
    stars = (star("a"), star("b", arguments={"x": {"$from": "a", "pointer": "/n"}}), star("d"))
    lines = (line("b>d", condition="result.n > 0"),)
    kept = (Kept("a", Raw(b'{"n":3}')),)
    orders = log.feed(*device(), submit(*stars, *lines, kept=kept, origin="c0@4"))

    assert [bytes(order.arguments) for order in orders] == [b'{"x":3}']
    assert log.states() == {"a": "succeeded", "b": "leased", "d": "waiting"}
    log.feed(done("c/b#1", 1.0, result={"n": 1}), done("c/d#1", 2.0))
    assert log.of(ConstellationEnded)[0].counts == {"succeeded": 3}


def test_conditions_on_what_a_fork_keeps_are_judged_anew():
    log = KeptLog()
    parts = (
        star("a"),
        star("b"),
        star("d"),
        line("a>b", condition="result.n > 0"),
        line("a>d", condition="result.n < 0"),
    )
    log.feed(*device(), submit(*parts, kept=(Kept("a", Raw(b'{"n":3}')),)))

    assert log.states() == {"a": "succeeded", "b": "leased", "d": "skipped"}


def test_what_is_removed_or_skipped_while_it_is_held_leaves_no_hold_behind():
    log = KeptLog()
    stars = (
        star("a", on_success=OnSuccess.CONSULT),
        star("b"),
        star("d"),
        star("e"),
        line("a>b"),
        line("a>d"),
        line("a>e"),
    )
    log.feed(*device(slots=3), submit(*stars, planning=Planning("x")), done("c/a#1"))
    log.wait(1.5)
    log.feed(edit(RemoveStar("b"), Skip("d"), at=1.6))

    assert told(log.feed(answer(base=2))) == ["stopasking c/1", "dispatch c/e#1 to laptop"]
    assert FactKind.SUCCEEDED in {fact.kind for fact in log.of(ConsultOpened)[0].facts}


@pytest.mark.parametrize(
    "policy", [OnFailure.PAUSE, CONSULT], ids=["a person is asked", "the next question is about it"]
)
def test_the_end_of_a_goal_names_also_the_failures_that_this_question_is_not_about(policy: OnFailure):
    log = KeptLog()
    stars = (star("a", on_failure=CONSULT), star("b", on_failure=policy))
    log.feed(*device(slots=2), submit(*stars, goal=Goal("tea"), planning=Planning("x")), fail("c/a#1"))
    log.wait(1.5)
    log.feed(fail("c/b#1", 1.6))

    with pytest.raises(InvalidEdit, match="b failed and nothing made up for it"):
        log.core.check(reach(despite=("a",)))
    log.core.check(reach(despite=("a", "b")))


def test_additions_count_over_all_questions_and_a_star_put_in_anothers_place_is_one():
    log = running("a", additions_max=2)
    log.feed(fail("c/a#1", 1.0))
    log.wait(1.5)
    log.feed(answer(Supersede("a", star("a2", on_failure=CONSULT)), AddStar(star("z")), at=2.0), fail("c/a2#1", 3.0))
    log.wait(4.0)
    assert log.constellation().dialogue.additions == 2

    for more in (Supersede("a2", star("a3")), AddStar(star("y"))):
        with pytest.raises(NotGranted, match="planners may add 2 stars in all; this would make it 3"):
            log.core.check(answer(more, to=2, base=2, at=5.0))


def test_a_goal_that_a_person_has_planned_meanwhile_does_not_fail_for_want_of_a_planner():
    log = KeptLog()
    log.feed(*device(), submit(goal=Goal("tea"), planning=Planning("x")))
    log.feed(edit(AddStar(star("boil"))), close(at=2.0))

    assert (log.states(), log.constellation().paused) == ({"boil": "leased"}, "")
    log.feed(done("c/boil#1", 3.0))
    assert log.of(ConstellationEnded)[0].state == "succeeded"


def test_an_open_question_is_asked_anew_after_a_restart_and_its_deadline_stays():
    log = running("a", answer_within_s=20.0)
    log.feed(fail("c/a#1", 1.0))
    log.wait(1.5)
    after = reloaded(log)

    assert told(after.feed(NodeStarted(at=9.0))) == ["askplanner c/1"]
    assert told(after.wait(21.25)) == ["stopasking c/1"]


def test_a_question_whose_answers_were_refused_too_often_is_not_asked_anew_after_a_restart():
    log = running("a", rounds_max=1)
    log.feed(fail("c/a#1", 1.0))
    log.wait(1.5)
    log.core.apply(refuse(at=2.0))

    assert told(log.feed(NodeStarted(at=2.0))) == ["stopasking c/1"]


@pytest.mark.parametrize("operation", [RemoveStar("n"), Skip("n")])
def test_a_star_is_not_taken_away_unseen_from_under_a_line_that_was_drawn_meanwhile(operation: RemoveStar | Skip):
    log = running("a")
    elsewhere = Needs(device="tower")
    log.feed(edit(AddStar(star("n", needs=elsewhere)), AddStar(star("m", needs=elsewhere)), at=0.5))
    log.feed(edit(AddLine(line("n>m")), base=2, at=0.6))
    taken_back = Edit((operation,), "undo of revision 2")

    with pytest.raises(InvalidEdit, match="star m was changed by revision 3, after 2"):
        log.core.check(ConstellationEdited(at=2.0, constellation="c", base=2, edit=taken_back, rebase=True))
    log.core.check(ConstellationEdited(at=2.0, constellation="c", base=3, edit=taken_back))
