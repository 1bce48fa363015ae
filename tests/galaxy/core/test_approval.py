"""A person says yes or no to one very call; a rule may say yes to plain ones in advance."""

import pytest
from msgspec.structs import replace

from galaxy.core.edit import AddLine, AddStar, UpdateStar
from galaxy.core.errors import Conflict, NotGranted
from galaxy.core.events import ApprovalGiven, ApprovalRequested, ConsultOpened, RuleEnded, StarLeased
from galaxy.core.goal import Grant, Planning
from galaxy.core.star import INSTRUCT, Instruction, OnFailure

from .helpers import (
    AGAIN,
    AT_ONCE,
    KeptLog,
    allow,
    approve,
    deny,
    device,
    done,
    edit,
    fail,
    line,
    pause,
    resume,
    star,
    submit,
    told,
)


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
    log.feed(pause(0.5), approve("c/a#1", 1.0))
    log.feed(edit(UpdateStar(star("a", needs_approval=True, arguments={"x": 2})), at=2.0), resume(3.0))

    assert [bytes(question.arguments) for question in log.of(ApprovalRequested)] == [b"{}", b'{"x":2}']
    assert log.why("a") == "it waits for a person to approve it", "the yes was to other arguments"
    late = ApprovalGiven(at=4.0, constellation="c", star="a", attempt=1, by="anna", asked_at=1.0)
    with pytest.raises(Conflict, match="another call by now"):
        log.core.check(late)
    (order,) = log.feed(approve("c/a#1", 5.0))
    assert (str(order.attempt), bytes(order.arguments)) == ("c/a#1", b'{"x":2}')


def test_approval_is_of_what_the_bindings_have_become():
    log = KeptLog()
    behind = star("b", needs_approval=True, arguments={"x": {"$from": "a", "pointer": "/n"}})
    log.feed(*device(), submit(star("a"), behind), done("c/a#1", result={"n": 7}))

    assert [bytes(question.arguments) for question in log.of(ApprovalRequested)] == [b'{"x":7}']
    (order,) = log.feed(approve("c/b#1", 2.0))
    assert bytes(order.arguments) == b'{"x":7}'


def test_another_attempt_is_another_question():
    log = asked(retry=AT_ONCE)
    log.feed(approve("c/a#1"), fail("c/a#1", 2.0, failure=AGAIN))

    assert [question.attempt for question in log.of(ApprovalRequested)] == [1, 2]
    with pytest.raises(Conflict, match="c/a#1 does not wait for approval"):
        log.core.check(approve("c/a#1", 3.0))
    assert told(log.feed(approve("c/a#2", 3.0))) == ["dispatch c/a#2 to laptop"]


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
    after = asked()
    assert told(after.feed(allow({}, 1.0))) == ["dispatch c/a#1 to laptop"]
    assert [(yes.by, yes.rule) for yes in after.of(ApprovalGiven)] == [("anna", "r")]

    before = KeptLog()
    orders = before.feed(*device(), allow({}), submit(star("a", needs_approval=True)))
    assert told(orders) == ["dispatch c/a#1 to laptop"]
    assert (before.of(ApprovalRequested), [leased.rule for leased in before.of(StarLeased)]) == ([], ["r"])


@pytest.mark.parametrize(
    "other",
    [
        allow({"x": 1}),
        allow({}, device="tower"),
        allow({}, tool="look"),
        allow({}, expires_at=0.5),
    ],
    ids=["arguments", "device", "tool", "time"],
)
def test_a_rule_for_another_call_or_another_time_approves_nothing(other):
    for rule_first in (False, True):
        log, asking = KeptLog(), submit(star("a", needs_approval=True), at=1.0)
        log.feed(*device(), *((other, asking) if rule_first else (asking, replace(other, at=1.0))))

        assert log.why("a") == "it waits for a person to approve it"
        assert log.of(StarLeased) == []


def test_a_rule_that_has_ended_approves_nothing_more():
    log = KeptLog()
    log.feed(*device(), allow({}), RuleEnded(at=1.0, rule="r"), submit(star("a", needs_approval=True), at=2.0))

    assert log.why("a") == "it waits for a person to approve it"


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
