"""The rules that mend what has failed: each with what it needs, and what it leaves to others."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from galaxy.core.edit import AddLine, AddStar, AnyOperation, Edit, Retry, Supersede, UpdateStar
from galaxy.core.goal import Fact, FactKind, Grant
from galaxy.core.star import Fallback, Line, Needs, OnFailure, OnSuccess, Star, Timeouts, When
from galaxy.core.star import Retry as Attempts
from galaxy.planner.contract import DeviceView, FleetView, NoAnswer
from galaxy.planner.repair import Repair, Repaired
from protocol.vocabulary import Effect, Failure
from tests.galaxy.core.helpers import star
from tests.galaxy.planner.outline_views import METER, Alive, device_view, fact, fleet

BUSY = Failure("busy", "try again", retryable=True)
NOT_FOUND = Failure("not_found", "notes/a.txt: No such file or directory")
REFUSED = Failure("connect_failed", "example.org port 443: refused", retryable=True)
FAILED = fact(FactKind.FAILED, "a")
LOOKED = fact(FactKind.SUCCEEDED, "a-look")
ALONE = fleet(device_view("laptop"))
BOTH = fleet(device_view("laptop"), device_view("tower"))
READ: dict[str, Any] = {"tool": "file.read", "arguments": {"path": "notes/a.txt"}}
ASK: dict[str, Any] = {"tool": "http.request", "arguments": {"url": "https://example.org/x"}}
COPY = Fallback("file.read", Raw(b'{"path":"copy.txt"}'))


def failed(failure: Failure = BUSY, *, fleet: FleetView = BOTH, effect: Effect = Effect.PURE, **more: Any) -> Alive:
    """Return a constellation in which `a` has failed on the laptop and waits for the answer, and `b` is behind it."""
    a = star("a", **({"on_failure": OnFailure.PAUSE, "tool": "system.info"} | more))
    alive = Alive(star("z"), a, star("b"), Line("a", "b"), fleet=fleet)
    alive.succeed("z", {"path": "notes/z.txt"})
    alive.fail("a", failure, effect=effect)
    return alive


def mended(alive: Alive, *facts: Fact, **more: Any) -> Repaired:
    """Return what the rules say, after it was made; the same view gives the same."""
    view = alive.view(**more)
    repaired = Repair().repair(view, facts or (FAILED,))
    assert repaired == Repair().repair(view, facts or (FAILED,))
    if repaired.operations:
        alive.edit(repaired.operations)
    return repaired


def nothing(alive: Alive, *facts: Fact, **more: Any) -> bool:
    return mended(alive, *facts, **more) == Repaired((), (), "")


def look(alive: Alive) -> Star:
    return alive.constellation.courses["a-look"].star


# Elsewhere.


def test_what_may_be_repeated_is_tried_on_another_device():
    repaired = mended(failed())

    assert repaired == Repaired(
        (Retry("a"),), (FAILED,), "elsewhere: a failed on laptop with busy (try again); tower can try it"
    )


@pytest.mark.parametrize(
    "other",
    [
        device_view("tower", labels={"zone": "home"}, presence="unreachable"),
        device_view("tower", labels={"zone": "home"}, draining="evening"),
        device_view("tower", ("file.read",), labels={"zone": "home"}),
        device_view("tower", labels={"zone": "work"}),
    ],
)
def test_a_device_that_cannot_do_it_now_is_no_elsewhere(other: DeviceView):
    here = device_view("laptop", ("file.read",))

    assert nothing(failed(fleet=fleet(here, other), needs=Needs(labels={"zone": "home"})))


def test_a_device_on_which_it_failed_already_is_no_elsewhere():
    alive = failed()
    mended(alive)
    alive.fail("a", BUSY, on="tower")

    assert not any(isinstance(operation, Retry) for operation in mended(alive).operations)


def test_a_device_that_is_not_granted_is_no_elsewhere():
    assert mended(failed(), grant=Grant(devices=("laptop",))).operations[:1] != (Retry("a"),)


def test_a_pinned_star_is_not_moved():
    assert mended(failed(needs=Needs(device="laptop"))).operations[:1] != (Retry("a"),)


def test_what_says_that_it_cannot_work_is_not_tried_elsewhere():
    assert nothing(failed(Failure("exists", "there already")))


@pytest.mark.parametrize(
    ("failure", "operations"),
    [
        (BUSY, ()),
        (Failure("not_started", "it has not begun", retryable=True), (Retry("a"),)),
        (Failure("rejected", "no room", retryable=True), (Retry("a"),)),
    ],
)
def test_what_may_happen_only_once_is_moved_if_it_did_not_begin(failure: Failure, operations: tuple[AnyOperation]):
    alive = failed(failure, effect=Effect.ONCE, tool="shell.run")

    assert mended(alive).operations == operations


def test_where_devices_differ_about_an_effect_it_is_not_repeated():
    once = msgspec.structs.replace(device_view("x", ("system.info",)).tools[0], effect=Effect.ONCE)

    assert nothing(
        failed(fleet=fleet(device_view("laptop", ("system.info",)), replace(device_view("tower"), tools=(once,))))
    )


def test_a_star_that_waited_in_vain_is_given_one_more_wait():
    alive = failed(Failure("queue_timeout", "no device within 3600 s"))
    repaired = mended(alive)
    alive.fail("a", Failure("queue_timeout", "no device within 3600 s"))

    assert repaired.operations == (Retry("a"),)
    assert nothing(alive, patches=(repaired.reason,))


# A look.


def test_the_device_is_asked_about_a_path_and_then_the_star_is_tried_once_more():
    alive = failed(Failure("not_a_file", "notes/a.txt is a folder"), **READ)

    repaired = mended(alive)

    expected = Star(
        "a-look",
        "file.stat",
        Raw(b'{"path":"notes/a.txt"}'),
        title="look why a failed",
        needs=Needs(device="laptop"),
        retry=Attempts(attempts=1),
        timeouts=Timeouts(queue_s=30.0, run_s=30.0),
        on_failure=OnFailure.FAIL,
        on_success=OnSuccess.CONSULT,
    )
    reason = "look: a failed on laptop with not_a_file (notes/a.txt is a folder); file.stat there first, then once more"
    operations = (AddStar(expected), AddLine(Line("a-look", "a", When.ALWAYS)))
    assert repaired == Repaired(operations, (FAILED,), reason)
    assert alive.constellation.courses["a"].state == "waiting"


@pytest.mark.parametrize(
    ("failure", "call", "asked"),
    [
        (NOT_FOUND, READ, ("file.stat", {"path": "notes"})),
        (
            NOT_FOUND,
            READ | {"arguments": {"path": {"$from": "z", "pointer": "/path"}}},
            ("file.stat", {"path": "notes"}),
        ),
        (Failure("denied", "outside"), READ, ("file.stat", {"path": "notes/a.txt"})),
        (REFUSED, ASK, ("net.port", {"host": "example.org", "port": 443})),
        (REFUSED, ASK | {"arguments": {"url": "http://a:81"}}, ("net.port", {"host": "a", "port": 81})),
        (BUSY, READ, ("system.info", {})),
        (Failure("disk_full", "no space"), READ | {"tool": "file.write"}, ("system.info", {})),
    ],
)
def test_what_is_asked_follows_from_the_cause(failure: Failure, call: dict[str, Any], asked: tuple[str, Any]):
    alive = failed(failure, fleet=ALONE, **call)
    mended(alive)

    assert (look(alive).tool, msgspec.json.decode(look(alive).arguments)) == asked


@pytest.mark.parametrize(
    "alive",
    [
        failed(NOT_FOUND, fleet=fleet(device_view("laptop", presence="unreachable")), **READ),
        failed(NOT_FOUND, fleet=fleet(device_view("laptop", ("file.read",))), **READ),
        failed(NOT_FOUND, fleet=ALONE, tool="file.read"),
        failed(NOT_FOUND, fleet=ALONE, **READ | {"arguments": {"path": {"$from": "z", "pointer": "/x"}}}),
        failed(REFUSED, fleet=ALONE, **ASK | {"arguments": {"url": "ftp://a:99999"}}),
        failed(Failure("exit_nonzero", "exit code 1", retryable=True), fleet=ALONE),
        failed(BUSY, fleet=ALONE, tool="shell.run", effect=Effect.ONCE),
        failed(Failure("denied", "not allowed"), fleet=ALONE, **ASK),
    ],
    ids=["gone", "no tool", "no path", "no result", "no address", "no cause", "once", "no path of its own"],
)
def test_there_is_no_look_where_it_could_not_be_had_or_would_tell_nothing(alive: Alive):
    assert nothing(alive)


def test_a_star_is_looked_at_only_once():
    alive = failed(NOT_FOUND, fleet=ALONE, **READ)
    mended(alive)
    alive.fail("a-look", NOT_FOUND)
    alive.fail("a", NOT_FOUND)

    assert nothing(alive)


def test_a_look_gets_a_name_that_is_free_and_short_enough():
    long = "a" * 80
    alive = Alive(star(long, on_failure=OnFailure.PAUSE, **READ), star(f"{'a' * 75}-look"), fleet=ALONE)
    alive.fail(long, NOT_FOUND)

    mended(alive, fact(FactKind.FAILED, long))

    assert [*alive.constellation.courses][-1] == f"{'a' * 74}-look2"


def looked(result: Any, failure: Failure = NOT_FOUND, **more: Any) -> Alive:
    """Return a constellation in which the look at `a` has found something, and `a` is yet to be tried again."""
    alive = failed(failure, fleet=ALONE, **(READ | more))
    mended(alive)
    course = alive.constellation.courses["a"]
    course.holds += 1  # as the question about the look keeps it
    alive.succeed("a-look", result)
    return alive


def test_what_a_look_finds_hopeless_becomes_its_fallback_at_once():
    alive = looked({"kind": "folder"}, fallback=COPY, effects=Effect.PURE, needs=Needs(device="laptop"))

    repaired = mended(alive, LOOKED)

    (operation,) = repaired.operations
    assert isinstance(operation, UpdateStar)
    assert (operation.star.tool, operation.star.arguments) == ("file.read", COPY.arguments)
    assert (operation.star.fallback, operation.star.effects) == (None, None)
    assert operation.star.needs == Needs(device="laptop")
    assert repaired.covered == (LOOKED,)
    assert "a-look found that to stay" in repaired.reason


@pytest.mark.parametrize(
    ("result", "failure", "call"),
    [
        ({"open": False, "cause": "refused"}, REFUSED, ASK),
        ({"kind": "file"}, Failure("not_a_folder", "x"), READ),
        ({"kind": "folder"}, Failure("not_a_file", "x"), READ),
        ({"kind": "file"}, Failure("denied", "x"), READ),
    ],
)
def test_what_is_hopeless_and_has_no_fallback_is_left_to_the_next_planner(
    result: Any, failure: Failure, call: dict[str, Any]
):
    assert nothing(looked(result, failure, **call), LOOKED)


@pytest.mark.parametrize(
    ("result", "failure", "call"),
    [
        ({"open": True, "cause": ""}, REFUSED, ASK),
        ({"kind": "folder"}, NOT_FOUND, READ | {"tool": "file.write"}),
        ({"hostname": "laptop"}, BUSY, READ),
        (None, NOT_FOUND, READ),
    ],
)
def test_where_a_look_finds_nothing_against_it_the_star_is_tried_once_more(
    result: Any, failure: Failure, call: dict[str, Any]
):
    repaired = mended(looked(result, failure, fallback=COPY, **call), LOOKED)

    assert repaired == Repaired((), (LOOKED,), "look: a-look has found nothing against trying a once more")


def test_the_success_of_a_star_that_is_no_look_is_for_others():
    assert nothing(failed(), fact(FactKind.SUCCEEDED, "z"))


# The fallback.


def test_after_a_look_the_declared_fallback_takes_the_stars_place():
    alive = failed(NOT_FOUND, fleet=ALONE, fallback=Fallback("system.info"), retry=Attempts(attempts=1), **READ)
    mended(alive)
    alive.fail("a-look", NOT_FOUND)
    alive.fail("a", NOT_FOUND)

    repaired = mended(alive)

    (operation,) = repaired.operations
    assert isinstance(operation, Supersede)
    assert (operation.id, operation.star.id, operation.star.tool) == ("a", "a~fallback", "system.info")
    assert (operation.star.retry, operation.star.fallback) == (Attempts(attempts=1), None)
    assert repaired.reason.startswith("fallback: a failed on laptop with not_found")
    assert alive.told("b")[1:] == ["a~fallback -> b"]


def test_a_fallback_is_bound_to_the_results_that_it_names():
    fallback = Fallback("file.read", Raw(b'{"path":{"$from":"z","pointer":"/path"}}'))
    alive = failed(Failure("exists", "no"), fleet=ALONE, fallback=fallback, **READ)

    mended(alive)

    assert "z -> a~fallback (bound)" in alive.told("a~fallback")


def test_a_fallback_that_the_pinned_device_cannot_do_goes_to_another():
    here, there = device_view("laptop", ("file.read",)), device_view("tower", ("system.info",))
    pinned = Needs(labels={"zone": "home"}, device="laptop")
    alive = failed(fleet=fleet(here, there), fallback=Fallback("system.info"), needs=pinned, tool="file.read")

    mended(alive)

    assert alive.constellation.courses["a~fallback"].star.needs == Needs(labels={"zone": "home"})


@pytest.mark.parametrize(
    ("fallback", "grant"),
    [
        (Fallback("nobody.has"), Grant()),
        (Fallback("shell.run"), Grant(tools=("system.info",))),
        (Fallback("file.read", Raw(b'{"path":{"$from":"gone","pointer":""}}')), Grant()),
    ],
)
def test_a_fallback_that_nobody_could_make_is_left_alone(fallback: Fallback, grant: Grant):
    assert nothing(failed(Failure("exists", "no"), fallback=fallback), grant=grant)


# What is never repaired, and how the rules are asked.


@pytest.mark.parametrize("code", ["approval_denied", "approval_expired", "outcome_unknown", "result_undelivered"])
def test_a_persons_no_and_what_has_or_may_have_happened_are_never_repaired(code: str):
    assert nothing(failed(Failure(code, "no", retryable=True), fallback=Fallback("system.info")))


def test_a_star_whose_failure_is_not_kept_is_left_alone():
    assert nothing(failed(on_failure=OnFailure.FAIL, fallback=Fallback("system.info")))


def test_several_facts_are_mended_together_and_each_only_once():
    a, b = star("a", tool="system.info", on_failure=OnFailure.PAUSE), star("b", **READ, on_failure=OnFailure.PAUSE)
    alive = Alive(a, b, fleet=fleet(device_view("laptop"), device_view("tower", ("system.info",))))
    alive.fail("a", BUSY)
    alive.fail("b", Failure("exists", "no"))
    of_b, of_nobody = fact(FactKind.FAILED, "b"), fact(FactKind.FAILED, "nobody")

    repaired = mended(alive, FAILED, of_b, FAILED, of_nobody)

    assert repaired.operations == (Retry("a"),)
    assert repaired.covered == (FAILED, FAILED)


@pytest.mark.asyncio
async def test_an_answer_is_the_edit_of_the_rules_that_fit():
    answer = await Repair().revise(failed().view(), (FAILED,), METER)

    assert answer == Edit((Retry("a"),), "elsewhere: a failed on laptop with busy (try again); tower can try it")


@pytest.mark.asyncio
async def test_where_no_rule_fits_there_is_no_answer():
    with pytest.raises(NoAnswer, match="no rule fits"):
        await Repair().revise(failed(Failure("exists", "no")).view(), (FAILED,), METER)


@pytest.mark.asyncio
async def test_rules_make_no_plan_from_a_goal():
    with pytest.raises(NoAnswer, match="no plan"):
        await Repair().plan(failed().view(), METER)
