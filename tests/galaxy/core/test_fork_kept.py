"""What a fork does again: nothing that is done, and nothing in whose place another star has done it."""

import pytest

from galaxy.core.edit import Supersede
from galaxy.core.events import ConstellationSubmitted
from galaxy.core.goal import Planning
from galaxy.core.regrow import regrown
from galaxy.core.star import OnFailure, When
from galaxy.views.revisions import continued
from protocol.vocabulary import Effect

from .helpers import Log, answer, device, done, edit, fail, line, star, stopped, submit, told

BINDS = {"x": {"$from": "a", "pointer": "/n"}}


def effects(**of_a) -> Log:
    """`a` has an effect that may happen once; `b` takes its result; `z` has to do with neither, and keeps it open."""
    log = Log()
    stars = (star("a", **of_a), star("b", arguments=BINDS), star("z", tool="none"))
    log.feed(*device(slots=9, effect=Effect.ONCE), submit(*stars, planning=Planning("x")))
    return log


def forked(log: Log, from_star: str = "") -> tuple[list[str], list[str]]:
    """Return the stars of the fork that have a result already, and what of the others is begun at once."""
    c = log.core.constellations["c"]
    graph = continued(c, c, from_star)
    event = ConstellationSubmitted(
        at=50.0, constellation="f", name="", stars=graph.stars, lines=graph.lines, kept=graph.kept, origin="c@1"
    )
    begun = [said.split()[1] for said in told(log.feed(event))]
    assert set(log.states("f")) == {one.id for one in graph.stars}
    return [one.star for one in graph.kept], begun


def test_what_failed_and_was_superseded_by_what_succeeded_is_not_done_again():
    log = effects(on_failure=OnFailure.CONSULT)
    log.feed(fail("c/a#1"))
    log.wait(1.5)
    log.feed(answer(Supersede("a", star("a2", arguments={"way": 2}))), done("c/a2#1", 3.0, result={"n": 1}))

    assert forked(log) == (["a2"], ["f/b#1"])
    assert "a" not in log.states("f")


def test_what_was_stopped_and_superseded_by_what_succeeded_is_not_done_again():
    log = effects()
    log.feed(edit(Supersede("a", star("a2"))), stopped("c/a#1", 2.0), done("c/a2#1", 3.0, result={"n": 1}))

    assert forked(log) == (["a2"], ["f/b#1"])


def test_what_succeeded_at_the_end_of_several_attempts_to_make_up_for_it_counts():
    log = effects()
    log.feed(edit(Supersede("a", star("a2"))), stopped("c/a#1", 2.0))
    log.feed(edit(Supersede("a2", star("a3")), base=2, at=3.0), stopped("c/a2#1", 4.0))
    log.feed(done("c/a3#1", 5.0, result={"n": 1}))

    assert forked(log) == (["a3"], ["f/b#1"])


def test_what_has_grown_anew_is_not_done_again_beside_its_copies():
    log = effects()
    log.feed(fail("c/a#1"))
    log.feed(edit(*regrown(log.core.constellations["c"], "a"), at=2.0), done("c/a~2#1", 3.0, result={"n": 1}))

    assert forked(log) == (["a~2"], ["f/b~2#1"])
    assert list(log.states("f")) == ["z", "a~2", "b~2"]


def test_what_has_grown_anew_and_failed_again_is_done_by_its_last_copy_alone():
    log = effects()
    for n, name in enumerate(("a", "a~2"), 1):
        log.feed(fail(f"c/{name}#1", n * 2.0))
        log.feed(edit(*regrown(log.core.constellations["c"], name), base=n, at=n * 2.0 + 1))
    log.feed(fail("c/a~3#1", 9.0))

    assert forked(log) == ([], ["f/a~3#1"])
    assert list(log.states("f")) == ["z", "a~3", "b~3"]


def test_what_was_handled_and_what_only_its_success_would_have_led_to_is_left_out():
    log = Log()
    names = ("a", "b", "h", "always", "z")
    lines = (line("a>b"), line("a>h", When.FAILURE), line("b>always", When.ALWAYS), line("h>z"))
    log.feed(*device(slots=9, effect=Effect.ONCE), submit(*map(star, names), *lines))
    log.feed(fail("c/a#1"), done("c/h#1", 2.0))

    assert forked(log) == (["h"], ["f/always#1", "f/z#1"])
    assert list(log.states("f")) == ["h", "always", "z"]


def test_what_failed_with_nothing_in_its_place_is_done_again():
    log = effects()
    log.feed(fail("c/a#1"))

    assert forked(log) == ([], ["f/a#1"])
    assert list(log.states("f")) == ["a", "b", "z"]


def test_a_star_of_a_like_name_is_no_copy():
    log = Log()
    log.feed(*device(slots=9), submit(star("a"), star("a~2", arguments={"n": 2}), star("z", tool="none")))
    log.feed(fail("c/a#1"), done("c/a~2#1", 2.0))

    assert forked(log) == (["a~2"], ["f/a#1"])


@pytest.mark.parametrize("from_star", ["a", "a2"])
def test_from_a_star_on_it_is_done_again_because_a_person_says_so(from_star):
    log = effects(on_failure=OnFailure.CONSULT)
    log.feed(fail("c/a#1"))
    log.wait(1.5)
    log.feed(answer(Supersede("a", star("a2"))), done("c/a2#1", 3.0, result={"n": 1}))

    assert forked(log, from_star) == ([], [f"f/{from_star}#1"])
