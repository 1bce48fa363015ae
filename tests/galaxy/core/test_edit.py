"""Edits: each operation, what it may not touch, and where a refusal points."""

import pytest
from msgspec import Raw

from galaxy.core import edit as edits
from galaxy.core.binding import ARGUMENTS_BYTES_MAX
from galaxy.core.edit import (
    AddLine,
    AddStar,
    RemoveLine,
    RemoveStar,
    Retry,
    Skip,
    Supersede,
    UpdateLine,
    UpdateStar,
)
from galaxy.core.errors import InvalidEdit, StaleRevision
from galaxy.core.star import Verify, When

from .helpers import (
    AGAIN,
    STEADY,
    Log,
    accept,
    device,
    done,
    edit,
    encoded,
    fail,
    line,
    pair,
    reloaded,
    replayed,
    star,
    stopped,
    stream,
    submit,
    told,
)

LARGE = Raw(b'"' + b"x" * ARGUMENTS_BYTES_MAX + b'"')
BINDS = {"x": {"$from": "a", "pointer": "/n"}}


def diamond() -> Log:
    """`a` runs; `b` and `e` wait for it, `z` for both; `r` backs off; `done` and `gone` have ended."""
    log = Log()
    log.feed(
        *device(slots=4),
        submit(
            *(star(name) for name in ("a", "b", "e", "z", "done", "gone")),
            star("r", retry=STEADY),
            *map(line, ("a>b", "a>e", "b>z", "e>z")),
        ),
        fail("c/r#1", 0.5, failure=AGAIN),
        done("c/done#1", 0.6),
        fail("c/gone#1", 0.7),
    )
    assert log.states() == {
        "a": "leased",
        "b": "waiting",
        "e": "waiting",
        "z": "waiting",
        "done": "succeeded",
        "gone": "failed",
        "r": "ready",
    }
    return log


REFUSALS = [
    ([AddStar(star("a"))], "/operations/0", "star a exists already"),
    ([AddStar(star("n")), AddStar(star("n"))], "/operations/1", "star n exists already"),
    ([AddStar(star("a/b"))], "/operations/0/star/id", "'a/b' is not a name for a star"),
    ([AddStar(star("n", arguments=LARGE))], "/operations/0/star/arguments", "bytes of arguments, at most"),
    (
        [AddStar(star("n", verify=Verify("look", "true", LARGE)))],
        "/operations/0/star/verify/arguments",
        "bytes of arguments, at most",
    ),
    ([UpdateStar(star("b", arguments=LARGE))], "/operations/0/star/arguments", "bytes of arguments, at most"),
    ([RemoveStar("nova")], "/operations/0", "star nova does not exist"),
    ([RemoveStar("a")], "/operations/0", "star a is leased already"),
    ([RemoveStar("done")], "/operations/0", "star done is succeeded already"),
    ([RemoveStar("r")], "/operations/0", "star r has been tried already: it can be skipped, not removed"),
    ([RemoveStar("b"), RemoveStar("b")], "/operations/1", "star b does not exist"),
    ([UpdateStar(star("nova"))], "/operations/0", "star nova does not exist"),
    ([UpdateStar(star("a"))], "/operations/0", "star a is leased already"),
    ([UpdateStar(star("gone"))], "/operations/0", "star gone is failed already"),
    ([AddLine(line("a>b"))], "/operations/0/line", "line a -> b exists already"),
    ([AddLine(line("b>nova"))], "/operations/0/line", "star nova does not exist"),
    ([AddLine(line("nova>b"))], "/operations/0/line", "star nova does not exist"),
    ([AddLine(line("b>a"))], "/operations/0", "star a is leased already"),
    ([AddLine(line("b>done"))], "/operations/0", "star done is succeeded already"),
    ([AddLine(line("b>b"))], "/operations/0/line", "cycle: b -> b"),
    ([AddLine(line("z>b"))], "", "cycle: b -> z -> b"),
    ([UpdateLine(line("b>e"))], "/operations/0/line", "no line b -> e"),
    ([RemoveLine("b", "e")], "/operations/0", "no line b -> e"),
    ([Retry("a")], "/operations/0", "star a does not wait for another attempt"),
    ([Retry("b")], "/operations/0", "star b does not wait for another attempt"),
    ([Retry("nova")], "/operations/0", "star nova does not wait for another attempt"),
    ([Skip("a")], "/operations/0", "star a is leased already"),
    ([Skip("b"), Skip("b")], "/operations/1", "star b is skipped by the same edit"),
    ([Skip("b"), UpdateStar(star("b"))], "/operations/1", "star b is skipped by the same edit"),
    ([Supersede("b", star("n"))], "/operations/0", "star b does not run"),
    ([Supersede("nova", star("n"))], "/operations/0", "star nova does not run"),
    ([Supersede("a", star("b"))], "/operations/0", "star b exists already"),
    ([Supersede("a", star("n")), Supersede("a", star("m"))], "/operations/1", "star a is superseded by the same edit"),
    ([Supersede("a", star("n")), RemoveStar("n")], "", "star a is superseded by a star that the same edit removes"),
    ([Supersede("a", star("n", arguments=BINDS))], "", "cycle: n -> n"),
    ([AddStar(star("n", arguments={"x": {"$from": "nova"}}))], "", "star n binds to nova, which does not exist"),
    (
        [AddStar(star("n", arguments={"x": {"$from": "b"}})), RemoveStar("b")],
        "",
        "star n binds to b, which would be gone",
    ),
]


@pytest.mark.parametrize(
    ("operations", "place", "why"), REFUSALS, ids=[f"{n}-{why[:30]}" for n, (_, _, why) in enumerate(REFUSALS)]
)
def test_an_edit_that_cannot_be_made_is_refused_with_its_place_and_changes_nothing(operations, place, why):
    log = diamond()
    before = encoded(log.core.constellations["c"])
    for ops in (operations, [AddStar(star("fine")), *operations]):
        with pytest.raises(InvalidEdit) as refusal:
            log.core.check(edit(*ops))
        assert why in str(refusal.value)
    assert refusal.value.place == place.replace("/1", "/2").replace("/0", "/1")
    assert encoded(log.core.constellations["c"]) == before


def test_a_submission_is_refused_with_a_place_in_what_was_submitted():
    for parts, place in (
        ((star("a"), star("a")), "/stars/1"),
        ((star("a"), star("b#1")), "/stars/1/id"),
        ((star("a"), star("b", verify=Verify("x", "y", LARGE))), "/stars/1/verify/arguments"),
        ((star("a"), star("b"), line("a>b"), line("a>b")), "/lines/1"),
        ((star("a"), line("a>z")), "/lines/0"),
        ((star("a"), star("b"), line("a>b"), line("b>a")), ""),
    ):
        with pytest.raises(InvalidEdit) as refusal:
            Log().core.check(submit(*parts))
        assert refusal.value.place == place


def test_an_edit_made_against_an_old_revision_is_refused():
    log = diamond()
    log.feed(edit(AddStar(star("n"))))
    for base in (0, 1, 3):
        with pytest.raises(StaleRevision, match="c is at revision 2") as refusal:
            log.core.check(edit(AddStar(star("m")), base=base))
        assert refusal.value.revision == 2


def test_an_edit_that_does_nothing_is_refused():
    with pytest.raises(InvalidEdit, match="without operations"):
        diamond().core.check(edit())


def test_a_constellation_has_its_limits(monkeypatch):
    monkeypatch.setattr(edits, "STARS_MAX", 3)
    monkeypatch.setattr(edits, "LINES_MAX", 1)
    log = Log()
    log.feed(submit(star("a"), star("b"), star("o")))
    for ops in ([AddStar(star("n"))], [AddLine(line("a>b")), AddLine(line("a>o"))]):
        with pytest.raises(InvalidEdit, match="too large: at most 3 stars and 1 lines"):
            log.core.check(edit(*ops))
    log.core.check(edit(AddStar(star("n")), RemoveStar("b"), AddStar(star("m")), RemoveStar("m")))
    log.core.check(edit(*(UpdateStar(star(name)) for name in "abo")))


# What edits do.


def test_stars_and_lines_can_be_added_to_what_runs():
    log = diamond()
    log.feed(edit(AddStar(star("n")), AddLine(line("n>z"))))
    assert log.states()["z"] == "waiting"

    assert log.states()["n"] == "leased"
    log.feed(done("c/a#1", 2.0), done("c/b#1", 3.0), done("c/e#1", 4.0))
    assert log.why("z") == "it waits for n"


def test_a_new_line_makes_a_ready_star_wait_and_its_end_lets_it_go_again():
    log = Log()
    log.feed(submit(star("a"), star("b")), edit(AddLine(line("a>b"))))
    assert log.states() == {"a": "ready", "b": "waiting"}

    assert told(log.feed(*device(at=2.0), edit(RemoveLine("a", "b"), base=2, at=3.0), done("c/a#1", 4.0))) == [
        "dispatch c/a#1 to laptop",
        "dispatch c/b#1 to laptop",
    ]


def test_a_line_from_what_has_ended_is_decided_at_once():
    for source, when, state in (
        ("done", When.SUCCESS, "leased"),
        ("done", When.FAILURE, "skipped"),
        ("gone", When.SUCCESS, "skipped"),
        ("gone", When.FAILURE, "leased"),
        ("gone", When.ALWAYS, "leased"),
    ):
        log = diamond()
        log.feed(edit(AddStar(star("n")), AddLine(line(f"{source}>n", when))))
        assert log.states()["n"] == state, (source, when)


def test_changing_when_a_line_holds_changes_what_follows():
    log = diamond()
    log.feed(edit(UpdateLine(line("a>b", When.FAILURE))), done("c/a#1", 2.0))

    assert log.states()["b"] == "skipped"
    assert log.states()["z"] == "skipped"


def test_removing_a_star_takes_its_lines_along():
    log = diamond()
    log.feed(edit(RemoveStar("b")), done("c/a#1", 2.0), done("c/e#1", 3.0))

    assert log.states()["z"] == "leased"
    assert "b" not in log.states()


def test_removing_a_star_leaves_what_was_skipped_behind_it_alone():
    log = diamond()
    log.feed(edit(Skip("z")), edit(RemoveStar("b"), base=2))

    assert log.states()["z"] == "skipped"
    assert list(log.core.constellations["c"].into["z"]) == ["e"]


def test_what_is_added_in_the_last_moment_keeps_a_constellation_open():
    """Its last star ends and an edit comes in one batch, before anything that is due is asked for."""
    log = Log()
    log.feed(*device(), submit(star("a")))
    for event in (done("c/a#1"), edit(AddStar(star("n")))):
        log.core.check(event)
        log.events.append(event)
        log.core.apply(event)

    assert told(log.wait(2.0)) == ["dispatch c/n#1 to laptop"]
    log.feed(done("c/n#1", 3.0))
    assert log.core.constellations == {}


def test_a_constellation_from_which_everything_was_removed_ends():
    log = Log()
    log.feed(pair(), edit(RemoveStar("a"), RemoveStar("b")))

    assert log.core.constellations == {}


def test_a_star_that_is_added_and_removed_by_one_edit_was_never_there():
    log = diamond()
    log.feed(edit(AddStar(star("n")), AddLine(line("a>n")), AddLine(line("n>z")), RemoveStar("n")))

    assert "n" not in log.states()
    log.feed(done("c/a#1", 2.0), done("c/b#1", 3.0), done("c/e#1", 4.0))
    assert log.states()["z"] == "leased"


def test_rewriting_a_star_changes_what_is_dispatched_and_where():
    log = Log()
    log.feed(*device("tower", tools=("gpu",)), pair())
    assert log.why("a") == "no device is able: tower: it has no tool shell"

    (order,) = log.feed(edit(UpdateStar(star("a", tool="gpu", arguments={"n": 1}))))
    assert (order.tool, bytes(order.arguments)) == ("gpu", b'{"n":1}')


def test_rewriting_a_star_that_backs_off_keeps_its_attempts_and_their_numbers():
    log = diamond()
    log.feed(edit(UpdateStar(star("r", retry=STEADY, title="again"))))
    assert log.core.next_deadline() == 10.5

    assert "dispatch c/r#2 to laptop" in told(log.wait(11.0))


def test_trying_again_ends_the_back_off_now():
    log = diamond()

    assert told(log.feed(edit(Retry("r")))) == ["dispatch c/r#2 to laptop"]


def test_skipping_says_who_did_it_where_no_reason_is_given():
    log = diamond()
    log.feed(edit(Skip("b"), Skip("r", "enough"), by="anna"))

    assert (log.course("b").cause, log.course("r").cause) == ("skipped by anna", "enough")
    assert log.states()["z"] == "skipped"
    log.feed(edit(AddStar(star("n")), Skip("n"), base=2))
    assert log.course("n").cause == "skipped by an edit"


def test_a_new_star_may_be_skipped_by_its_own_lines_before_it_is_skipped_by_hand():
    log = diamond()
    log.feed(edit(AddStar(star("n")), AddLine(line("gone>n")), Skip("n", "by hand")))

    assert log.course("n").cause == "it needed the success of gone, which failed"


# Bindings and the lines that they imply.


def test_a_binding_draws_its_line_and_takes_it_back():
    log = diamond()
    log.feed(edit(UpdateStar(star("z", arguments={"x": {"$from": "a"}}))))
    assert log.core.constellations["c"].into["z"]["a"].implied

    log.feed(edit(UpdateStar(star("z")), base=2))
    assert list(log.core.constellations["c"].into["z"]) == ["b", "e"]


def test_a_line_that_a_binding_implies_can_be_made_explicit_but_not_removed():
    log = diamond()
    log.feed(edit(AddStar(star("n", arguments=BINDS))))
    log.feed(edit(RemoveLine("a", "n"), base=2))
    assert log.core.constellations["c"].into["n"]["a"].implied
    log.feed(edit(AddLine(line("a>n", When.ALWAYS)), base=3))
    assert not log.core.constellations["c"].into["n"]["a"].implied
    log.feed(edit(RemoveLine("a", "n"), base=4))
    assert log.core.constellations["c"].into["n"]["a"].when is When.SUCCESS


def test_lines_are_drawn_in_the_order_in_which_bindings_are_written():
    """Not in the order of a set of texts, which is another in each process."""
    names = [f"s{n}" for n in range(20)]
    log = Log()
    log.feed(submit(*map(star, names), star("z", arguments=[{"$from": name} for name in names])))

    assert list(log.core.constellations["c"].into["z"]) == names


# Superseding.


def test_superseding_stops_a_star_and_its_successor_takes_its_place():
    log = diamond()
    bound = UpdateStar(star("e", arguments={"x": {"$from": "a", "pointer": ""}}))
    assert told(log.feed(edit(bound, Supersede("a", star("a2"))))) == ["revoke c/a#1 at laptop"]
    assert log.states()["a2"] == "waiting"
    constellation = log.core.constellations["c"]
    assert {name: list(lines) for name, lines in constellation.into.items() if lines} == {
        "b": ["a2"],
        "e": ["a2"],
        "z": ["b", "e"],
        "a2": ["a"],
    }

    assert told(log.feed(stopped("c/a#1", 2.0))) == ["dispatch c/a2#1 to laptop"]
    assert log.course("a").cause == "superseded by a2"
    orders = log.feed(done("c/a2#1", 3.0, result=7))
    assert bytes(orders[1].arguments) == b'{"x":7}'


def test_a_star_that_is_being_stopped_cannot_be_superseded_again():
    log = diamond()
    log.feed(edit(Supersede("a", star("a2"))))
    with pytest.raises(InvalidEdit, match="star a does not run"):
        log.core.check(edit(Supersede("a", star("a3")), base=2))


def test_superseding_leaves_what_has_ended_behind_the_star_alone():
    log = diamond()
    log.feed(edit(Skip("b")), edit(Supersede("a", star("a2")), base=2))

    constellation = log.core.constellations["c"]
    assert (list(constellation.into["b"]), list(constellation.into["e"])) == (["a"], ["a2"])


def test_a_superseded_star_whose_device_is_silent_is_given_up_and_the_successor_runs():
    log = diamond()
    log.feed(accept("c/a#1", 0.9), edit(Supersede("a", star("a2"))))
    log.wait(32.0)

    assert (log.states()["a"], log.states()["a2"]) == ("cancelled", "leased")


def test_edits_are_part_of_what_is_replayed_and_reloaded():
    log = diamond()
    log.feed(edit(Supersede("a", star("a2")), AddStar(star("n", arguments={"x": {"$from": "e"}}))))
    log.feed(edit(UpdateLine(line("b>z", condition="result > 1")), RemoveLine("e", "z"), base=2))
    constellation = log.core.constellations["c"]

    assert encoded(replayed(stream(log.events, "c"))) == encoded(constellation)
    assert encoded(reloaded(log).core.constellations["c"]) == encoded(constellation)
