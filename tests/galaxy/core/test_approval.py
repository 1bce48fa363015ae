"""A person says yes or no to one very call; a rule may say yes to plain ones in advance."""

import pytest

from galaxy.core.edit import AddLine, AddStar, UpdateStar
from galaxy.core.errors import Conflict, NotGranted
from galaxy.core.events import ApprovalRequested, ConsultOpened
from galaxy.core.goal import Grant, Planning
from galaxy.core.star import INSTRUCT, Instruction, OnFailure

from .helpers import KeptLog, allow, approve, deny, device, edit, line, star, submit, told


def asked(**more) -> KeptLog:
    log = KeptLog()
    log.feed(*device(tools=("shell", INSTRUCT)), submit(star("a", needs_approval=True, **more), planning=Planning("x")))
    return log


def test_a_call_waits_for_a_person_and_goes_where_it_was_approved():
    log = asked()

    assert log.why("a") == "it waits for a person to approve it"
    assert told(log.feed(approve("c/a#1"))) == ["dispatch c/a#1 to laptop"]


def test_approval_is_of_the_exact_arguments():
    log = asked()
    log.feed(edit(UpdateStar(star("a", needs_approval=True, arguments={"x": 2}))))

    assert [bytes(question.arguments) for question in log.of(ApprovalRequested)] == [b"{}", b'{"x":2}']


def test_a_no_is_final_and_asks_no_planner():
    log = asked(on_failure=OnFailure.CONSULT)
    log.feed(deny("c/a#1"))

    assert (log.states(), log.of(ConsultOpened)) == ({"a": "failed"}, [])


def test_nobody_in_time_is_a_no():
    log = asked()
    log.wait(90_000.0)

    assert log.course("a").failure.code == "approval_expired"


def test_a_star_that_waits_again_is_no_longer_asked_about():
    log = asked()
    log.feed(edit(AddStar(star("x")), AddLine(line("x>a"))))

    with pytest.raises(Conflict):
        log.feed(deny("c/a#1", 2.0))


def test_a_rule_made_before_or_after_the_question_approves_it():
    log = asked()
    assert told(log.feed(allow({}, 1.0))) == ["dispatch c/a#1 to laptop"]


def test_no_rule_ever_approves_an_instruction():
    log = asked(tool=INSTRUCT, instruction=Instruction("tidy up", tools=("shell",)))
    log.feed(allow({}, 1.0, tool=INSTRUCT))

    assert log.why("a") == "it waits for a person to approve it"


def test_a_yes_by_nobody_in_particular_is_a_yes():
    assert told(asked().feed(approve("c/a#1", by=""))) == ["dispatch c/a#1 to laptop"]


def test_an_instruction_does_not_hide_a_tool_that_was_not_granted():
    hidden = star("a", tool="pay", instruction=Instruction("do it"))

    with pytest.raises(NotGranted):
        KeptLog().feed(submit(hidden, grant=Grant(tools=("shell",))))
