"""Taking an edit back, whatever it was; and what goes on in a fork."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy.core.constellation import Constellation
from galaxy.core.edit import Edit, UpdateStar, drafted
from galaxy.core.errors import Conflict, InvalidEdit
from galaxy.core.events import ConstellationEdited, ConstellationSubmitted
from galaxy.core.star import When
from galaxy.views.revisions import continued, difference, draft_of, is_revision, taken_back, written
from tests.galaxy.core.helpers import AT_ONCE, Log, device, done, edit, fail, line, star, submit
from tests.galaxy.core.histories import dags, edits


def graph(c: Constellation) -> Any:
    stars = {star_id: written(course.star) for star_id, course in c.courses.items()}
    return stars, {(s, t): one for t, sources in c.into.items() for s, one in sources.items()}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_an_edit_and_its_undo_leave_the_same_graph(data: st.DataObject):
    stars, lines = data.draw(dags())
    c = Constellation("c")
    try:
        c.apply(ConstellationSubmitted(at=0.0, constellation="c", name="", stars=stars, lines=lines))
        operations = data.draw(edits(c))
        event = ConstellationEdited(at=1.0, constellation="c", base=1, edit=Edit(operations))
        draft_of(c, event)
        undo = taken_back(c, event, 2)
    except (InvalidEdit, Conflict):
        return
    before = graph(c)
    c.apply(event)
    try:
        drafted(c, undo.operations)
    except InvalidEdit:  # the edit has led to an end that stands
        assert any(course.state == "skipped" for course in c.courses.values())
        return
    c.apply(ConstellationEdited(at=2.0, constellation="c", base=2, edit=undo))

    assert graph(c) == before


def test_an_edit_without_operations_is_no_revision():
    assert not is_revision(edit())
    assert is_revision(submit(star("a")))


def test_nothing_differs_where_an_edit_writes_what_was_written():
    log = Log()
    log.feed(submit(star("a", title="the same")))
    c = log.core.constellations["c"]
    same = drafted(c, [UpdateStar(star("a", title="the same"))])

    assert difference(c, same)["stars"] == {"added": [], "removed": [], "changed": []}


def test_a_result_is_kept_only_with_all_that_it_was_made_of():
    log = Log()
    a, b = star("a"), star("b", arguments={"x": {"$from": "a"}})
    log.feed(*device(slots=4), submit(a, b, star("alone"), star("last", tool="none"), line("a>last", When.ALWAYS)))
    log.feed(done("c/a#1", result=1), done("c/alone#1", result=2), done("c/b#1", result=3))
    now = log.constellation()
    then = Constellation("c")
    then.apply(submit(star("a", title="old"), b, star("alone")))

    assert [one.star for one in continued(now, now).kept] == ["a", "b", "alone"]
    assert [one.star for one in continued(now, now, "b").kept] == ["a", "alone"]
    assert [one.star for one in continued(then, now).kept] == ["alone"]
    assert [(one.source, one.target) for one in continued(now, now).lines] == [("a", "last")]


def test_what_failed_or_was_cancelled_is_done_anew_and_its_copy_keeps_its_result():
    log = Log()
    log.feed(*device(slots=4), submit(star("a", retry=AT_ONCE), star("a~2"), star("keep", tool="none")))
    log.feed(done("c/a~2#1"), fail("c/a#1"))

    assert [one.star for one in continued(log.constellation(), log.constellation()).kept] == ["a~2"]


def test_the_submission_cannot_be_taken_back():
    with pytest.raises(Conflict, match="submission"):
        taken_back(Constellation("c"), submit(star("a")), 1)
