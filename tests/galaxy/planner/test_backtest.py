"""Recorded questions put to another planner: what is the same, what would be taken, what it would cost."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from galaxy.core.edit import AddStar, Edit, Retry, Skip
from galaxy.core.events import ConstellationEdited, ConstellationEvent, Event
from galaxy.core.goal import Answer, Budget, ConsultWhen, Done, Fact, GiveUp, Goal, Grant, Planning, Usage
from galaxy.planner.backtest import backtested
from galaxy.planner.contract import Meter, PlannerFailed, View
from tests.galaxy.core.helpers import Log, device, done, fail, line, star, stream, submit

pytestmark = pytest.mark.asyncio

ASKS = Planning("llm", ConsultWhen.ON_FAILURE, repair=False, debounce_s=0.0)


class Says:
    """A planner that says what it was given to say, at a price, and keeps what it was shown."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.seen: list[View] = []

    async def plan(self, view: View, meter: Meter) -> Edit:
        self.seen.append(view)
        return Edit((AddStar(star("a")),))

    async def revise(self, view: View, facts: Sequence[Fact], meter: Meter) -> Answer:
        self.seen.append(view)
        await meter.settle(await meter.reserve(100, 0.0), Usage("m", tokens_in=60, tokens_out=10, took_s=1.0))
        if not self.answers:
            raise PlannerFailed("no more words")
        return self.answers.pop(0)


async def each(events: Iterable[Any]) -> AsyncIterator[Any]:
    for event in events:
        yield event


async def test_each_question_is_asked_with_what_was_known_then():
    said = Says(Edit((Retry("a"),), "mine"))
    found = await tried(recorded(), said)

    (view,) = said.seen
    assert (view.revision, view.stars["a"].failure_held, view.stars["b"].state) == (1, True, "waiting")
    assert [(one.id, one.presence) for one in view.fleet.devices] == [("laptop", "connected")]
    (question,) = found["questions"]
    assert (question["same"], question["proposed"]["accepted"], question["cut"]) == (
        True,
        True,
        {"stars": ["a"], "held_s": 3.0},
    )
    assert found["totals"]["cost"] == {"tokens_in": 60, "tokens_out": 10, "money": 0.0, "calls": 1, "seconds": 1.0}


def recorded(planning: Planning = ASKS, answered: bool = True, **more: Any) -> list[Event]:
    """Return a log in which `a` fails at 2 and is tried again at 5, and all succeeds."""
    log = Log()
    begun = msgspec.structs.replace(submit(star("a"), star("b"), line("a>b")), planning=planning, **more)
    log.feed(*device(), begun, fail("c/a#1", 2.0))
    if answered:
        edit = Edit((Retry("a"),), "once more")
        log.feed(ConstellationEdited(at=5.0, constellation="c", base=1, edit=edit, by="planner:llm", consult=1))
        log.feed(done("c/a#2", 6.0), done("c/b#1", 7.0))
    return log.events


async def tried(events: list[Event], planner: Any, when: ConsultWhen | None = None, *, fleet: bool = True) -> Any:
    past = [event for event in events if not isinstance(event, ConstellationEvent)] if fleet else []
    found = await backtested(("llm", planner), when, each(stream(events, "c")), each(past))
    return msgspec.json.decode(msgspec.json.encode(found))


async def test_an_answer_that_differs_is_told_apart_and_one_that_the_core_refuses_too():
    found = await tried(recorded(), Says(Edit((Skip("a"), Skip("nobody")))))
    (question,) = found["questions"]

    assert (question["same"], question["proposed"]["accepted"]) == (False, False)
    assert "nobody" in question["proposed"]["refusal"]
    assert [one["op"] for one in question["difference"]["only_proposed"]] == ["skip", "skip"]
    assert question["difference"]["only_recorded"] == [{"op": "retry", "id": "a"}]


async def test_ends_are_answers_that_the_core_looks_at_as_well():
    for answer in (Done(Raw(b'"yes"')), GiveUp("too hard")):
        (question,) = (await tried(recorded(), Says(answer)))["questions"]

        assert question["proposed"]["accepted"] is False
        assert "without a goal" in question["proposed"]["refusal"]
        assert question["same"] is False


async def test_a_planner_that_fails_has_no_answer_but_may_have_cost_something():
    (question,) = (await tried(recorded(), Says()))["questions"]

    assert (question["proposed"]["answer"], question["proposed"]["accepted"]) == ("failed", None)
    assert question["proposed"]["cost"]["calls"] == 1


async def test_a_backtest_costs_no_more_than_the_constellation_was_granted():
    grant = Grant(budget=Budget(tokens=50))
    (question,) = (await tried(recorded(grant=grant), Says(Edit(()))))["questions"]

    assert question["proposed"]["answer"] == "failed"
    assert "granted" in question["proposed"]["reason"]


async def test_a_policy_says_which_questions_fall_away_and_which_are_new():
    never = await tried(recorded(), Says(), ConsultWhen.NEVER)
    always = await tried(recorded(), Says(), ConsultWhen.ALWAYS)
    alone = await tried(recorded(Planning(when=ConsultWhen.NEVER), answered=False), Says(), ConsultWhen.ON_FAILURE)

    assert (never["totals"]["not_asked"], never["totals"]["held_s_not_asked"], never["additional"]) == (1, 3.0, [])
    assert [(one["kind"], one["star"]) for one in always["additional"]] == [("succeeded", "a"), ("succeeded", "b")]
    assert [(one["kind"], one["star"], one["at"]) for one in alone["additional"]] == [("failed", "a", 2.0)]
    assert (always["totals"]["not_asked"], alone["questions"]) == (0, [])


async def test_a_goal_is_planned_anew_and_its_end_is_a_question_of_most_policies():
    log = Log()
    planning = Planning("llm", ConsultWhen.NEVER, debounce_s=0.0)
    log.feed(*device(), msgspec.structs.replace(submit(), goal=Goal("do it"), planning=planning))
    edit = Edit((AddStar(star("a")),))
    log.feed(ConstellationEdited(at=1.0, constellation="c", base=1, edit=edit, consult=1), done("c/a#1", 2.0))
    found = await tried(log.events, Says(), ConsultWhen.ON_FAILURE)

    assert (found["questions"][0]["same"], found["questions"][0]["would_be_asked"]) == (True, True)
    assert [one["kind"] for one in found["additional"]] == ["ended"]


async def test_a_question_that_nobody_has_answered_is_still_open():
    (question,) = (await tried(recorded(answered=False), Says(Edit(()))))["questions"]

    assert (question["recorded"]["answer"], question["cut"]["held_s"], question["same"]) == ("open", 0.0, False)


async def test_without_a_log_of_the_fleet_its_devices_are_those_that_were_used():
    said = Says(Edit(()))
    await tried(recorded(), said, fleet=False)

    assert [(one.id, [tool.name for tool in one.tools]) for one in said.seen[0].fleet.devices] == [
        ("laptop", ["shell"])
    ]
