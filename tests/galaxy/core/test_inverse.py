"""Edits that can be taken back, and work that has failed for good and grows anew."""

import pytest
from msgspec import Raw

from galaxy.core.edit import (
    AddLine,
    AddStar,
    Edit,
    RemoveLine,
    RemoveStar,
    Retry,
    Skip,
    Supersede,
    UpdateLine,
    UpdateStar,
    inverse,
)
from galaxy.core.events import ConstellationEnded
from galaxy.core.regrow import regrown
from galaxy.core.star import Line, When
from galaxy.core.states import ConstellationState

from .helpers import Log, device, done, edit, fail, line, star, submit, told

BINDS = {"x": {"$from": "a"}}


def written(log: Log) -> tuple:
    """Return what is written of the constellation: its stars and lines, without their courses."""
    constellation = log.core.constellations["c"]
    stars = {
        name: (course.star.title, course.star.tool, bytes(course.star.arguments), course.star.bindings)
        for name, course in constellation.courses.items()
    }
    lines = {(s, t): line for t, sources in constellation.into.items() for s, line in sources.items()}
    return stars, lines, {name: course.state for name, course in constellation.courses.items()}


def ladder() -> Log:
    log = Log()
    log.feed(
        submit(
            star("a"),
            star("b", arguments=BINDS, title="old"),
            star("d"),
            star("e"),
            line("a>d"),
            line("b>d", When.ALWAYS),
            line("d>e", condition="result > 1"),
        )
    )
    return log


@pytest.mark.parametrize(
    "operations",
    [
        [AddStar(star("n"))],
        [AddStar(star("n", arguments=BINDS)), AddLine(line("n>e"))],
        [RemoveStar("d")],
        [RemoveStar("b")],
        [RemoveStar("e"), RemoveStar("d"), RemoveStar("b")],
        [UpdateStar(star("b", title="new"))],
        [UpdateStar(star("d", arguments={"y": {"$from": "b"}, "x": {"$from": "a"}}))],
        [UpdateStar(star("e", arguments=BINDS)), UpdateStar(star("e", title="twice"))],
        [AddLine(line("a>e")), RemoveLine("d", "e"), AddLine(line("d>e"))],
        [AddLine(line("a>b", When.ALWAYS))],
        [UpdateLine(line("a>b", When.FAILURE)), RemoveLine("a", "b")],
        [UpdateLine(line("d>e"))],
        [RemoveLine("d", "e"), RemoveLine("b", "d")],
        [AddStar(star("n")), AddLine(line("n>a")), RemoveStar("n")],
    ],
    ids=lambda operations: "-".join(type(operation).__name__ for operation in operations),
)
def test_an_edit_taken_back_leaves_what_was_written_as_it_was(operations):
    log = ladder()
    before = written(log)
    undo = inverse(log.core.constellations["c"], Edit(tuple(operations), "an idea"))
    log.feed(edit(*operations))

    assert undo.reason == "undo: an idea"
    log.feed(edit(*undo.operations, base=2, at=2.0))
    assert written(log) == before


def test_what_was_stopped_skipped_or_tried_again_cannot_be_taken_back():
    log = ladder()
    log.feed(*device())
    for operation in (Skip("d"), Supersede("a", star("n")), Retry("a"), UpdateStar(star("nova")), RemoveStar("nova")):
        assert inverse(log.core.constellations["c"], Edit((AddStar(star("m")), operation))) is None
    assert inverse(log.core.constellations["c"], Edit(())).reason == "undo"


def test_a_failed_star_grows_anew_with_all_that_was_skipped_behind_it():
    log = ladder()
    log.feed(*device(slots=4), edit(AddStar(star("keep", tool="none"))), fail("c/a#1", 2.0))
    assert log.states() == {"a": "failed", "b": "skipped", "d": "skipped", "e": "skipped", "keep": "ready"}

    operations = regrown(log.core.constellations["c"], "a")
    assert [op.star.id for op in operations if isinstance(op, AddStar)] == ["a~2", "b~2", "d~2", "e~2"]
    assert [op.line for op in operations if isinstance(op, AddLine)] == [
        Line("a", "a~2", When.FAILURE),
        Line("a~2", "d~2"),
        Line("b~2", "d~2", When.ALWAYS),
        Line("d~2", "e~2", When.CONDITION, "result > 1"),
    ]
    assert told(log.feed(edit(*operations, base=2, at=3.0))) == ["dispatch c/a~2#1 to laptop"]
    orders = log.feed(done("c/a~2#1", 4.0, result=5))
    assert [bytes(order.arguments) for order in orders] == [b'{"x":5}']
    log.feed(done("c/b~2#1", 5.0), fail("c/d~2#1", 6.0))
    again = regrown(log.core.constellations["c"], "d~2")
    assert [op.star.id for op in again if isinstance(op, AddStar)] == ["d~3", "e~3"]


def test_a_constellation_succeeds_when_the_copy_of_its_failed_star_does():
    log = Log()
    log.feed(*device(slots=2), submit(star("a"), star("b"), star("keep"), line("a>b")), fail("c/a#1", 1.0))
    log.feed(edit(*regrown(log.core.constellations["c"], "a"), at=2.0))
    log.feed(done("c/a~2#1", 3.0), done("c/b~2#1", 4.0), done("c/keep#1", 5.0))

    (ended,) = log.of(ConstellationEnded)
    assert ended.state is ConstellationState.SUCCEEDED
    assert [(failed.star, failed.handled_by) for failed in ended.failures] == [("a", "a~2")]


def test_what_grows_anew_has_names_that_nobody_has_and_that_are_not_too_long():
    long = "x" * 80
    log = Log()
    log.feed(*device(), submit(*map(star, ("a", "a~7", long, "keep")), line("a>a~7"), line(f"a~7>{long}")))
    log.feed(fail("c/a#1"))
    operations = regrown(log.core.constellations["c"], "a")

    assert [op.star.id for op in operations if isinstance(op, AddStar)] == ["a~2", "a~3", "x" * 72 + "~2"]
    log.feed(edit(*operations, at=2.0))
    assert log.states()["a~2"] in ("ready", "leased")


def test_what_grows_anew_still_depends_on_what_had_succeeded():
    log = Log()
    log.feed(*device(), submit(star("a"), star("b"), star("keep", tool="none"), line("a>b")))
    log.feed(done("c/a#1"), fail("c/b#1", 2.0))
    operations = regrown(log.core.constellations["c"], "b")

    assert operations[1:] == (AddLine(Line("b", "b~2", When.FAILURE)), AddLine(Line("a", "b~2")))
    assert told(log.feed(edit(*operations, at=3.0))) == ["dispatch c/b~2#1 to laptop"]
    assert log.course("b~2").star.arguments == Raw(b"{}")
