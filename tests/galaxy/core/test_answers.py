"""Which answers of a planner are taken: rebased, honest, and without more rights than there were."""

import msgspec
import pytest
from msgspec import Raw

from galaxy.core.edit import AddLine, AddStar, AnyOperation, Supersede, UpdateStar
from galaxy.core.edit import Retry as TryAgain
from galaxy.core.errors import Conflict, InvalidEdit, NotGranted, OverBudget, Refused
from galaxy.core.events import ConstellationEnded, UsageReserved, UsageSettled
from galaxy.core.goal import Budget, Goal, Grant, Planning, Usage
from galaxy.core.rules import fits
from galaxy.core.star import Instruction, Line, OnFailure, Retry, Star, Verify, When
from protocol.vocabulary import Effect

from .helpers import KeptLog, answer, device, done, edit, fail, give_up, line, reach, star, submit, told

ASKED = Planning("x")
CONSULT = OnFailure.CONSULT
ONCE = Retry(attempts=1)


def asked_about_a(*more: Star | Line, goal: Goal | None = None, slots: int = 1, **of_a: object) -> KeptLog:
    """The star a has failed, and its planner is asked."""
    log = KeptLog()
    first = star("a", on_failure=CONSULT, retry=ONCE, **of_a)
    log.feed(*device(slots=slots), submit(first, *more, planning=ASKED, goal=goal), fail("c/a#1"))
    log.wait(1.5)
    return log


def test_an_answer_stands_although_others_have_changed_other_stars_meanwhile():
    log = asked_about_a(star("b"), line("a>b"), slots=2)
    log.feed(edit(AddStar(star("z")), base=1, at=1.6))
    log.feed(answer(TryAgain("a"), base=1))

    assert log.states() == {"a": "leased", "b": "waiting", "z": "leased"}
    assert log.constellation().revision == 3


def test_an_answer_about_a_star_that_was_changed_meanwhile_is_refused_with_the_revision():
    log = asked_about_a(star("b"), line("a>b"))
    log.feed(edit(UpdateStar(star("b", title="by a person")), base=1, at=1.6))

    with pytest.raises(InvalidEdit, match="star b was changed by revision 2, after 1") as refused:
        log.core.check(answer(UpdateStar(star("b")), base=1))
    assert refused.value.place == "/operations/0"


def test_what_makes_up_for_a_star_may_itself_be_made_up_for():
    log = asked_about_a()
    second = star("a2", on_failure=CONSULT, retry=ONCE, arguments=Raw(b'{"way":2}'))
    log.feed(answer(Supersede("a", second)), fail("c/a2#1", 2.0))
    log.wait(3.0)
    third = star("a3", arguments=Raw(b'{"way":3}'))
    log.feed(answer(Supersede("a2", third), to=2, base=2, at=3.0), done("c/a3#1", 3.5))

    (ended,) = log.of(ConstellationEnded)
    assert ended.state == "succeeded"
    assert {failed.star: failed.handled_by for failed in ended.failures} == {"a": "a3", "a2": "a3"}


def test_a_star_that_has_failed_anew_is_not_judged_by_the_answer_to_its_earlier_failure():
    log = asked_about_a()
    log.feed(edit(TryAgain("a"), base=1, at=1.6), fail("c/a#2", 1.7))
    log.feed(answer(base=1, at=1.8))

    assert log.states() == {"a": "ready"}
    assert told(log.wait(3.0)) == ["askplanner c/2"]


@pytest.mark.parametrize(
    "operations",
    [
        (AddStar(star("z", effects=Effect.PURE)),),
        (AddStar(star("z", verify=Verify("pay", "true"))),),
        (UpdateStar(star("b")),),
        (Supersede("a", star("a2", needs_approval=True)), UpdateStar(star("a2"))),
        (UpdateStar(star("a", effects=Effect.PURE)),),
    ],
)
def test_a_planner_gains_no_rights_by_what_it_writes_into_a_star(operations: tuple[AnyOperation, ...]):
    log = asked_about_a(star("b", needs_approval=True), line("a>b"), needs_approval=False)
    if any(isinstance(one, Supersede) for one in operations):
        log.core.constellations["c"].courses["a"].star = msgspec.structs.replace(
            log.course("a").star, needs_approval=True
        )

    with pytest.raises(NotGranted):
        log.core.check(answer(*operations))


def test_the_end_of_a_goal_is_not_taken_while_a_star_runs():
    log = asked_about_a(star("z"), goal=Goal("try"), slots=2)

    for end in (reach(despite=("a",)), give_up()):
        with pytest.raises(InvalidEdit, match="z still runs"):
            log.core.check(end)


def test_the_end_of_a_goal_names_each_failure_and_answers_with_results():
    log = asked_about_a(star("z"), goal=Goal("try"))
    log.feed(done("c/z#1", 1.6, result={"n": 7}))

    with pytest.raises(InvalidEdit, match="a failed and nothing made up for it"):
        log.core.check(reach())
    with pytest.raises(InvalidEdit, match="does not lead to a result"):
        log.core.check(reach({"$from": "a"}, despite=("a",)))
    log.feed(reach({"seven": {"$from": "z", "pointer": "/n"}}, despite=("a",)))

    (ended,) = log.of(ConstellationEnded)
    assert (ended.state, ended.answer) == ("succeeded", (Raw(b'{"seven":7}'),))
    assert [failed.star for failed in ended.failures] == ["a"]


def test_giving_up_ends_a_goal_as_failed_with_the_reason():
    log = asked_about_a(star("b"), line("a>b"), goal=Goal("try"))
    log.feed(give_up())

    (ended,) = log.of(ConstellationEnded)
    assert (ended.state, bool(ended.reason)) == ("failed", True)
    assert ended.counts == {"failed": 1, "skipped": 1}


def test_a_constellation_without_a_goal_has_no_goal_to_reach():
    log = asked_about_a()

    with pytest.raises(InvalidEdit, match="without a goal"):
        log.core.check(reach())


def reserve(call: str, tokens: int, at: float = 1.0) -> UsageReserved:
    return UsageReserved(at=at, constellation="c", call=call, tokens=tokens)


def test_what_a_call_may_cost_is_set_aside_before_and_an_unsettled_call_counts():
    log = KeptLog()
    log.feed(*device(), submit(star("a"), grant=Grant(budget=Budget(tokens=100))), reserve("k", 60))

    with pytest.raises(OverBudget, match="the budget is 100 tokens; with this call it might be 120"):
        log.core.check(reserve("l", 60))
    with pytest.raises(Conflict, match="open already"):
        log.core.check(reserve("k", 1))
    log.feed(UsageSettled(at=1.1, constellation="c", call="k", usage=Usage(tokens_in=10, tokens_out=5)))
    log.feed(reserve("l", 60, 1.2))

    assert log.constellation().dialogue.spent.would_be(0, 0.0) == (75, 0.0, 3)
    with pytest.raises(Conflict, match="no call 'k' is open"):
        log.core.check(UsageSettled(at=1.3, constellation="c", call="k", usage=Usage()))


@pytest.mark.parametrize("odd", [star("i", tool="instruct"), star("i", instruction=Instruction("do it"))])
def test_an_instruction_and_its_tool_come_together_or_not_at_all(odd: Star):
    with pytest.raises(InvalidEdit, match="an instruction is a call of instruct"):
        KeptLog().core.check(submit(odd))


@pytest.mark.parametrize(
    ("pattern", "value", "fit"),
    [
        ({"argv": ["git", "status"]}, {"argv": ["git", "status"]}, True),
        ({"argv": ["git", "*"]}, {"argv": ["git", "push", "--force"]}, False),
        ({"argv": ["git", "*"]}, {"argv": ["git", "push"]}, True),
        ({"path": "notes/*.txt"}, {"path": "notes/a.txt"}, True),
        ({"path": "notes/*.txt"}, {"path": "notes/a.txt", "mode": 7}, False),
        ({"path": "a*b*c"}, {"path": "a-b-c"}, True),
        ({"path": "a*b*c"}, {"path": "acb"}, False),
        ({"path": "a*a"}, {"path": "a"}, False),
        ({"path": "*b*"}, {"path": "a" * 50}, False),
        ({"n": 1}, {"n": True}, False),
    ],
)
def test_a_rule_lets_through_what_looks_like_its_pattern_and_nothing_more(pattern: object, value: object, fit: bool):
    assert fits(pattern, value) is fit


def test_a_pattern_of_many_asterisks_is_told_in_linear_time():
    assert not fits("*a" * 200 + "b", "a" * 200_000)


def test_a_line_into_a_star_counts_as_a_change_of_it():
    log = asked_about_a(star("b"), star("z"), line("a>b"))
    log.feed(edit(AddLine(Line("z", "b", When.ALWAYS)), base=1, at=1.6))

    with pytest.raises(Refused, match="star b was changed by revision 2"):
        log.core.check(answer(UpdateStar(star("b")), base=1))


@pytest.mark.parametrize(
    ("granted", "missing"),
    [(("shell",), "instruct"), (("instruct",), "shell"), (("instruct", "look"), "shell"), (("instruct", "shell"), "")],
)
def test_an_instruction_is_granted_by_its_own_name_and_by_that_of_each_tool_that_it_may_call(granted, missing):
    told_to = star("i", tool="instruct", instruction=Instruction("tidy up", tools=("shell",)))
    grant, log = Grant(tools=granted), KeptLog()
    if not missing:
        log.core.check(submit(told_to, grant=grant))
        return

    with pytest.raises(NotGranted, match=f"star i would use {missing}, which is not granted") as refused:
        log.core.check(submit(told_to, grant=grant))
    assert refused.value.place == "/stars/0/tool"


def test_what_was_recorded_when_less_had_to_be_granted_is_still_read():
    """A log may hold an instruction by whose grant `instruct` was not named."""
    log = KeptLog()
    told_to = star("i", tool="instruct", instruction=Instruction("tidy up", tools=("shell",)))
    log._applied(submit(told_to, grant=Grant(tools=("shell",))))

    assert log.states() == {"i": "ready"}
