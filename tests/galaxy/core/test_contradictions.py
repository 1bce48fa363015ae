"""What one edit may say of one star, and what it may not say at once; and edits that leave nothing to be done."""

import pytest

from galaxy.core.edit import AddLine, AddStar, AnyOperation, Edit, RemoveStar, Skip, Supersede, UpdateStar, inverse
from galaxy.core.edit import Retry as TryAgain
from galaxy.core.errors import InvalidEdit
from galaxy.core.events import AnswerRefused, ConstellationEdited, ConstellationEnded
from galaxy.core.goal import Goal, Planning
from galaxy.core.star import OnFailure, Timeouts

from .helpers import AGAIN, STEADY, KeptLog, Log, answer, device, edit, fail, line, pair, star, submit, told

ASKED = Planning("x")


def failed_twice() -> KeptLog:
    """`a` has failed, and nobody could take `q`; the planner is asked about both. `b` waits behind `a`."""
    log = KeptLog()
    asked = {"on_failure": OnFailure.CONSULT}
    q = star("q", tool="rare", timeouts=Timeouts(queue_s=1.0), **asked)
    log.feed(*device(), submit(star("a", **asked), star("b"), q, star("o"), line("a>b"), planning=ASKED))
    log.feed(fail("c/a#1", 0.9))
    log.wait(2.0)
    assert log.states() == {"a": "ready", "b": "waiting", "q": "ready", "o": "leased"}
    return log


REPLACED, TRIED, LEFT, REWRITTEN = Supersede("q", star("n")), TryAgain("q"), Skip("q"), UpdateStar(star("q"))
BEHIND = AddLine(line("b>q"))
PAIRS: list[tuple[AnyOperation, AnyOperation, str]] = [
    (TRIED, REPLACED, "star q cannot be superseded: by the same edit it is tried again"),
    (LEFT, REPLACED, "star q cannot be superseded: by the same edit it is skipped"),
    (REWRITTEN, REPLACED, "star q cannot be superseded: by the same edit it is rewritten"),
    (BEHIND, REPLACED, "star q cannot be superseded: by the same edit it is put behind another star"),
    (TRIED, LEFT, "star q cannot be skipped: by the same edit it is tried again"),
    (REWRITTEN, LEFT, "star q cannot be skipped: by the same edit it is rewritten"),
    (REWRITTEN, RemoveStar("q"), "star q cannot be removed: by the same edit it is rewritten"),
    (TRIED, RemoveStar("q"), "star q cannot be removed: by the same edit it is tried again"),
    (REPLACED, RemoveStar("q"), "star q cannot be removed: by the same edit it is superseded"),
    (REPLACED, TRIED, "star q cannot be tried again: by the same edit it is superseded"),
    (REPLACED, LEFT, "star q cannot be skipped: by the same edit it is superseded"),
    (REPLACED, REWRITTEN, "star q cannot be rewritten: by the same edit it is superseded"),
    (REPLACED, BEHIND, "star q cannot be put behind another star: by the same edit it is superseded"),
    (LEFT, TRIED, "star q cannot be tried again: by the same edit it is skipped"),
]


@pytest.mark.parametrize(("first", "second", "why"), PAIRS, ids=[why[7:] for _, _, why in PAIRS])
def test_what_contradicts_an_earlier_operation_of_the_same_edit_is_refused_by_name(first, second, why):
    log = failed_twice()
    for operations, place in (((first, second), 1), ((AddStar(star("x")), first, AddStar(star("y")), second), 3)):
        with pytest.raises(InvalidEdit) as refused:
            log.core.check(answer(*operations, at=2.0))
        assert (str(refused.value), refused.value.place) == (why, f"/operations/{place}")
    log.core.check(answer(first, at=2.0))
    log.core.check(answer(second, at=2.0))


@pytest.mark.parametrize(
    "operations",
    [
        (UpdateStar(star("q", title="one")), UpdateStar(star("q", title="two"))),
        (REWRITTEN, TRIED),
        (TRIED, REWRITTEN),
        (AddStar(star("n")), UpdateStar(star("n", title="two"))),
        (AddStar(star("n")), RemoveStar("n")),
        (REPLACED, UpdateStar(star("n", title="two"))),
        (AddLine(line("b>q")), TRIED),
    ],
    ids=lambda operations: "-".join(type(operation).__name__ for operation in operations),
)
def test_what_goes_on_from_an_earlier_operation_is_no_contradiction(operations):
    failed_twice().feed(answer(*operations, at=2.0))


def test_of_two_updates_the_later_one_stands():
    log = Log()
    log.feed(pair(), edit(UpdateStar(star("b", title="one")), UpdateStar(star("b", title="two"))))

    assert log.course("b").star.title == "two"


def test_a_star_that_was_added_and_rewritten_by_one_edit_is_taken_back_with_it():
    log = Log()
    log.feed(pair())
    made = Edit((AddStar(star("n")), UpdateStar(star("n", title="two"))))
    undo = inverse(log.core.constellations["c"], made)
    log.feed(edit(*made.operations), edit(*undo.operations, base=2, at=2.0))

    assert list(log.states()) == ["a", "b"]


def recorded(log: Log, event: ConstellationEdited) -> None:
    """Apply what an older log holds: it was accepted when it was recorded."""
    log.now = event.at
    log._applied(event)
    log.wait(event.at)


@pytest.mark.parametrize(
    "contradiction", [TryAgain("a"), Skip("a"), AddLine(line("b>a"))], ids=["retry", "skip", "line"]
)
def test_a_recorded_edit_that_also_superseded_a_star_did_away_with_it(contradiction):
    log = Log()
    log.feed(*device(), submit(star("a", on_failure=OnFailure.CONSULT), star("b"), planning=ASKED), fail("c/a#1"))
    log.wait(1.5)
    put_back = isinstance(contradiction, AddLine)
    operations = (
        (Supersede("a", star("a2")), contradiction) if put_back else (contradiction, Supersede("a", star("a2")))
    )
    recorded(log, answer(*operations))

    assert log.states()["a"] == "failed"
    assert log.course("a").stopping == ""


def test_a_recorded_edit_that_also_put_a_superseded_star_behind_a_failure_skipped_it():
    log = Log()
    stars = (star("a", on_failure=OnFailure.CONSULT), star("gone"), star("b"))
    log.feed(*device(slots=3), submit(*stars, planning=ASKED), fail("c/gone#1", 0.5), fail("c/a#1"))
    log.wait(1.5)
    recorded(log, answer(Supersede("a", star("a2")), AddLine(line("gone>a"))))

    assert log.states() == {"a": "skipped", "gone": "failed", "b": "leased", "a2": "skipped"}


@pytest.mark.parametrize("first", [TryAgain("a"), Supersede("a", star("a2"))], ids=["retry", "supersede"])
def test_a_recorded_edit_that_also_removed_a_star_did_away_with_it(first):
    log = Log()
    log.feed(submit(star("a", on_failure=OnFailure.CONSULT, timeouts=Timeouts(queue_s=5.0)), star("z"), planning=ASKED))
    log.wait(6.0)
    recorded(log, answer(first, RemoveStar("a"), at=7.0))

    assert "a" not in log.states()


def test_a_recorded_edit_that_tried_again_and_skipped_has_skipped():
    log = Log()
    log.feed(*device(), submit(star("a", retry=STEADY), star("b")), fail("c/a#1", failure=AGAIN))
    recorded(log, edit(TryAgain("a"), Skip("a"), at=2.0))

    assert log.states()["a"] == "skipped"


# Nothing left to be done.


def test_a_plan_without_a_star_is_refused_and_says_how_to_give_up():
    log = KeptLog()
    log.feed(submit(goal=Goal("tea"), planning=ASKED))
    with pytest.raises(InvalidEdit, match=r"leaves no star, .* give up where there is nothing to do") as refused:
        log.core.check(answer(AddStar(star("n")), RemoveStar("n"), at=0.0))

    assert refused.value.place == "/operations"
    assert log.of(ConstellationEnded) == log.of(AnswerRefused) == []


def test_nobody_removes_everything_that_a_goal_was_to_be_reached_by():
    log = KeptLog()
    log.feed(submit(star("a"), goal=Goal("tea")))

    with pytest.raises(InvalidEdit, match=r"leaves no star, .* cancel it instead"):
        log.core.check(edit(RemoveStar("a")))


def test_a_constellation_of_nothing_cannot_be_submitted():
    with pytest.raises(InvalidEdit, match="needs at least one star, or a goal") as refused:
        KeptLog().core.check(submit())

    assert refused.value.place == "/stars"


def test_an_edit_that_adds_what_it_takes_away_is_a_plan():
    log = KeptLog()
    log.feed(*device(), submit(goal=Goal("tea"), planning=ASKED))

    plan = answer(AddStar(star("n")), RemoveStar("n"), AddStar(star("m")), at=0.0)
    assert told(log.feed(plan)) == ["stopasking c/1", "dispatch c/m#1 to laptop"]
