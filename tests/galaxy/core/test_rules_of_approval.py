"""Rules of asking people: what their yes is bound to, how long it holds, and what their standing rules let through."""

import msgspec
import pytest
from msgspec import Raw

from galaxy.core.edit import AddLine, RemoveLine, UpdateLine
from galaxy.core.errors import Conflict, InvalidEdit, NotGranted, Refused, UnknownId
from galaxy.core.events import ApprovalGiven, ApprovalRequested, ConsultOpened, NodeStarted, RuleEnded, StarLeased
from galaxy.core.fleet import RULES_MAX
from galaxy.core.goal import Grant, Planning
from galaxy.core.orders import called_with
from galaxy.core.placement.demand import Demand
from galaxy.core.rules import fits
from galaxy.core.star import INSTRUCT, Instruction, Needs, OnFailure, When
from protocol.vocabulary import Effect

from .helpers import (
    AGAIN,
    STEADY,
    KeptLog,
    Log,
    allow,
    answer,
    approve,
    connect,
    deny,
    device,
    disconnect,
    done,
    edit,
    fail,
    line,
    reloaded,
    star,
    submit,
    told,
)


def asked(**more: object) -> KeptLog:
    log = KeptLog()
    log.feed(*device(), submit(star("a", needs_approval=True, **more), planning=Planning("x")))
    return log


def restarted(log: Log) -> Log:
    """The node dies, comes back from snapshots, and the laptop dials in again."""
    after = reloaded(log)
    after.feed(NodeStarted(at=after.now))
    after.feed(connect(at=after.now))
    return after


def test_a_question_to_a_person_is_still_open_after_a_restart_and_its_answer_counts():
    after = restarted(asked())
    assert len(after.of(ApprovalRequested)) == 1, "a person is not asked twice"

    assert told(after.feed(approve("c/a#1", 2.0))) == ["dispatch c/a#1 to laptop"]


def test_a_question_to_a_person_lapses_at_its_time_also_after_a_restart():
    after = restarted(asked())
    after.wait(86_400.0)

    assert (after.states(), after.course("a").failure.code) == ({"a": "failed"}, "approval_expired")
    with pytest.raises(Refused):
        after.core.check(deny("c/a#1", 86_401.0))


def test_a_yes_that_was_given_while_nobody_was_there_is_kept_in_the_log():
    log = asked()
    log.feed(disconnect(), approve("c/a#1", 2.0))
    assert log.of(StarLeased) == []

    again = log.constellation().courses["a"].approval
    assert (again.given_by, bytes(again.arguments)) == ("anna", b"{}")
    assert [lease.device for lease in restarted(log).of(StarLeased)] == ["laptop"]


def test_a_yes_that_is_older_than_the_grant_says_is_asked_for_anew():
    log = KeptLog()
    grant = Grant(approval_within_s=50.0)
    log.feed(*device(), submit(star("a", needs_approval=True), grant=grant), disconnect(at=1.0), approve("c/a#1", 2.0))
    log.feed(connect(at=60.0))

    assert [question.at for question in log.of(ApprovalRequested)] == [0.0, 60.0]
    assert log.of(StarLeased) == []


def test_a_yes_is_to_the_arguments_that_were_shown_and_to_no_others():
    log = asked()
    course = log.core.constellations["c"].courses["a"]
    log.feed(disconnect(), approve("c/a#1", 2.0))

    assert course.approval.holds_for(1, "laptop", "shell", Raw(b"{}"), 3.0)
    others = [
        (2, "laptop", "shell", Raw(b"{}"), 3.0),
        (1, "tower", "shell", Raw(b"{}"), 3.0),
        (1, "laptop", "pay", Raw(b"{}"), 3.0),
        (1, "laptop", "shell", Raw(b'{"x":2}'), 3.0),
        (1, "laptop", "shell", Raw(b"{}"), 86_400.0),
    ]
    assert not any(course.approval.holds_for(*other) for other in others)


def test_each_attempt_is_asked_about_by_itself():
    log = asked(retry=STEADY)
    log.feed(approve("c/a#1"), fail("c/a#1", 2.0, failure=AGAIN))
    log.wait(30.0)

    assert [question.attempt for question in log.of(ApprovalRequested)] == [1, 2]


def test_calls_of_a_class_that_the_grant_names_wait_for_a_person_and_others_do_not():
    log = KeptLog()
    grant = Grant(approve=(Effect.ONCE,))
    log.feed(*device(effect=Effect.ONCE, slots=2), *device("tower", effect=Effect.PURE))
    pinned = (star("a", needs=Needs(device="laptop")), star("b", needs=Needs(device="tower")))

    assert told(log.feed(submit(*pinned, grant=grant))) == ["dispatch c/b#1 to tower"]
    assert log.why("a") == "it waits for a person to approve it"


def test_a_rule_for_one_device_lets_nothing_through_on_another():
    log = KeptLog()
    log.feed(*device(), allow({}, device="tower"), submit(star("a", needs_approval=True)))
    assert log.of(StarLeased) == []

    assert told(log.feed(allow({}, 1.0, rule="r2", device="laptop"))) == ["dispatch c/a#1 to laptop"]
    assert [(yes.rule, yes.by) for yes in log.of(ApprovalGiven)] == [("r2", "anna")]


def test_a_rule_that_has_ended_or_lapsed_lets_nothing_through_any_more():
    for end in (RuleEnded(at=1.0, rule="r"), None):
        log = KeptLog()
        log.feed(*device(), allow({}, expires_at=50.0), submit(star("a", needs_approval=True)))
        assert [lease.rule for lease in log.of(StarLeased)] == ["r"]
        log.feed(*[end] * bool(end), done("c/a#1", 60.0), submit(star("b", needs_approval=True), c="d", at=60.0))

        assert [lease.constellation for lease in log.of(StarLeased)] == ["c"]


def test_a_rule_is_made_once_and_ended_once_and_there_are_only_so_many():
    log = Log()
    with pytest.raises(UnknownId):
        log.feed(RuleEnded(at=0.0, rule="r"))
    log.feed(*(allow({}, rule=f"r{n}") for n in range(RULES_MAX)))

    with pytest.raises(Conflict, match="rule r1 exists already"):
        log.feed(allow({}, rule="r1"))
    with pytest.raises(Conflict, match="there are 1000 rules"):
        log.feed(allow({}, rule="r"))
    log.feed(allow({}, 2_000.0, rule="r"))
    assert list(log.core.fleet.rules) == ["r"], "those that have lapsed make room"


def test_an_attempt_is_approved_with_the_values_that_its_bindings_bring():
    log = KeptLog()
    bound = star("b", needs_approval=True, arguments={"x": {"$from": "a", "pointer": "/n"}})
    log.feed(*device(), submit(star("a"), bound), done("c/a#1", result={"n": 3}))

    assert [bytes(question.arguments) for question in log.of(ApprovalRequested)] == [b'{"x":3}']
    (order,) = log.feed(approve("c/b#1", 2.0))
    assert bytes(order.arguments) == b'{"x":3}'


def test_a_star_may_not_be_pinned_to_a_device_that_was_not_granted():
    with pytest.raises(NotGranted, match="star a would run on tower, which is not granted"):
        Log().core.check(submit(star("a", needs=Needs(device="tower")), grant=Grant(devices=("laptop",))))


@pytest.mark.parametrize("operation", [RemoveLine("a", "b"), UpdateLine(line("a>b", When.ALWAYS))])
def test_an_answer_about_a_line_is_refused_where_what_is_behind_it_was_changed(operation: RemoveLine | UpdateLine):
    log = KeptLog()
    stars = (star("a", on_failure=OnFailure.CONSULT), star("b"), star("z"), line("a>b"))
    log.feed(*device(slots=2), submit(*stars, planning=Planning("x")), fail("c/a#1"))
    log.wait(1.5)
    log.feed(edit(AddLine(line("z>b", When.ALWAYS)), at=1.6))

    with pytest.raises(InvalidEdit, match="star b was changed by revision 2, after 1"):
        log.core.check(answer(operation, base=1))
    log.core.check(answer(operation, base=2))


def test_where_a_planner_might_send_a_call_is_told_within_the_grant_and_takes_nothing():
    log = KeptLog()
    log.feed(*device(), *device("tower"))
    candidates, refused = log.core.placer.would_place(Demand(frozenset({"shell"}), among=("tower",)))

    assert [candidate.device for candidate in candidates] == ["tower"]
    assert refused == {"laptop": "the constellation is not granted it"}
    assert log.core.load() == {"laptop": (0, 1), "tower": (0, 1)}


@pytest.mark.parametrize("policy", [OnFailure.CONSULT, OnFailure.PAUSE])
def test_no_rung_of_the_ladder_leads_around_a_question_that_lapsed(policy: OnFailure):
    log = asked(on_failure=policy, retry=STEADY)
    log.wait(90_000.0)

    assert (log.states(), log.of(ConsultOpened)) == ({"a": "failed"}, [])


def test_no_rule_lets_a_model_do_anything_even_if_it_is_of_these_very_words():
    a = star("a", tool=INSTRUCT, instruction=Instruction("tidy up", tools=("shell",)), needs_approval=True)
    words = msgspec.json.decode(called_with(a, a.arguments))
    rules = [allow(words, at, rule=f"r{at:g}", tool=INSTRUCT) for at in (0.0, 1.0)]
    log = KeptLog()
    log.feed(*device(tools=("shell", INSTRUCT)), rules[0], submit(a), rules[1])

    assert fits(msgspec.json.decode(rules[0].pattern), words)
    assert (log.of(StarLeased), len(log.of(ApprovalRequested))) == ([], 1)
