"""What every tool keeps, whoever wrote it: a tool without an example fails here."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from jsonschema import Draft202012Validator
from msgspec import Raw

from device_agents.desk import REPEATABLE, Begin, Desk, Keep, cut_off
from device_agents.guard import Guard, Policy
from device_agents.ledger import Ledger
from device_agents.outbox import Outbox
from device_agents.tools import tools_for
from device_agents.tools.base import Probed, Tool, spec_of
from device_agents.tools.mcp import tools as mcp_tools
from device_agents.work import Bench as Calls
from protocol.messages import Assign, Report
from protocol.vocabulary import Effect, Kind, Outcome

from ..helpers import worked
from .bench import Bench
from .desktop.browser.examples import EXAMPLES as BROWSER
from .desktop.office.examples import EXAMPLES as OFFICE
from .desktop.screen.examples import EXAMPLES as SCREEN
from .edge.examples import EXAMPLES as EDGE
from .examples import EXAMPLES as EVERYWHERE
from .examples import Example
from .mcp.examples import EXAMPLES as MCP
from .mcp.examples import SETTINGS as MCP_SETTINGS
from .mobile.examples import EXAMPLES as MOBILE
from .server.examples import EXAMPLES as SERVER

MCP_TOOLS = {tool.name: tool for tool in mcp_tools(MCP_SETTINGS.mcp)}
KINDS: dict[str, Kind] = {name: kind for kind in Kind for name in tools_for(kind)}
TOOLS: dict[str, Tool] = {name: tools_for(kind)[name] for name, kind in KINDS.items()} | MCP_TOOLS
EXAMPLES: dict[str, Example] = {**EVERYWHERE, **SERVER, **SCREEN, **BROWSER, **OFFICE, **MOBILE, **EDGE, **MCP}
ACTING = [name for name, example in EXAMPLES.items() if example.effect not in REPEATABLE]
SLOW = [name for name, example in EXAMPLES.items() if example.slow]
QUICK_S = 5.0  # far from the minute that a slow call would take


@contextmanager
def standing(folder: Path, example: Example, policy: Policy) -> Iterator[Bench]:
    if lacking := example.needs():
        pytest.skip(lacking)
    bench = Bench(folder, policy)
    with example.peer(bench) if example.peer else nullcontext() as peer:
        bench.peer = peer
        yield bench


def tool_for(bench: Bench, name: str) -> Tool:
    """Return the tool as this device's settings make it."""
    settings = EXAMPLES[name].settings
    return tools_for(KINDS[name], settings(bench))[name] if settings else TOOLS[name]


async def called(bench: Bench, name: str, arguments: Any, *, run_s: float = 30.0, cancel: bool = False) -> Report:
    """Return the report of a call as an agent makes it; cancelled as soon as it waits for something."""
    calls = Calls({name: tool_for(bench, name)}, bench.guard, bench.context.scratch.parent, bench.shelf)
    order = Assign("c/star#1", name, Raw(msgspec.json.encode(arguments)), TOOLS[name].effect, run_s=run_s)
    call = asyncio.create_task(worked(order, calls, lambda note, fraction: None))
    if cancel:
        await asyncio.wait([call], timeout=0.3)
        call.cancel()
    return await call


def call(bench: Bench, name: str, arguments: Any, **more: Any) -> Report:
    return asyncio.run(called(bench, name, arguments, **more))


def assert_nothing_is_left(bench: Bench) -> None:
    scratch = bench.context.scratch.parent
    assert not scratch.exists() or list(scratch.iterdir()) == []
    assert [each for each in psutil.Process().children(recursive=True) if each.is_running()] == []


def test_every_tool_of_every_kind_has_an_example():
    assert sorted(TOOLS) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_tool_says_what_it_is_in_full(name: str):
    spec = spec_of(TOOLS[name])

    assert (spec.name, spec.effect) == (name, EXAMPLES[name].effect)
    assert len(spec.description) > 20
    assert len(msgspec.json.encode(spec)) < 4_000
    assert b'"additionalProperties":false' in bytes(spec.arguments)


@pytest.mark.parametrize("name", EXAMPLES)
def test_arguments_and_result_fit_the_schemas_that_were_told(tmp_path: Path, name: str):
    spec, example = spec_of(TOOLS[name]), EXAMPLES[name]
    with standing(tmp_path, example, example.policy) as bench:
        arguments = example.works(bench)
        report = call(bench, name, arguments)

    assert report.outcome is Outcome.SUCCEEDED, report.failure
    for value, schema in ((arguments, spec.arguments), (msgspec.json.decode(report.result), spec.result)):
        Draft202012Validator(msgspec.json.decode(schema)).validate(value)
    msgspec.json.decode(report.result, type=TOOLS[name].Result)
    assert_nothing_is_left(bench)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_does_not_fit_is_refused_before_anything_is_done(tmp_path: Path, name: str):
    example = EXAMPLES[name]
    with standing(tmp_path, example, example.policy) as bench:
        report = call(bench, name, {**example.works(bench), "no_such_argument": 1})

    assert (report.outcome, report.failure and report.failure.code) == (Outcome.FAILED, "bad_arguments")


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_tool_that_its_owner_does_not_allow_is_not_run(tmp_path: Path, name: str):
    example = EXAMPLES[name]
    with standing(tmp_path, example, example.policy) as bench:
        bench.guard = Guard(Policy(tools=()), bench.work)
        report = call(bench, name, example.works(bench))

    assert report.failure is not None
    assert (report.failure.code, "guard.toml" in report.failure.message) == ("denied", True)


@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if example.refused])
def test_what_the_guard_refuses_names_the_setting_that_would_allow_it(tmp_path: Path, name: str):
    example = EXAMPLES[name]
    assert example.refused
    with standing(tmp_path, example, example.strict) as bench:
        report = call(bench, name, example.refused(bench))

    assert report.failure is not None
    assert (report.outcome, report.failure.code, report.failure.retryable) == (Outcome.FAILED, "denied", False)
    assert ".toml" in report.failure.message
    assert_nothing_is_left(bench)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if isinstance(TOOLS[name], Probed)])
def test_a_probe_passes_where_the_tool_works(tmp_path: Path, name: str):
    example = EXAMPLES[name]
    with standing(tmp_path, example, example.policy) as bench:
        tool = tool_for(bench, name)
        assert isinstance(tool, Probed)
        asyncio.run(tool.probe(bench.guard))


@pytest.mark.parametrize("cancel", [False, True], ids=["timeout", "cancel"])
@pytest.mark.parametrize("name", SLOW)
def test_a_call_that_is_ended_in_the_middle_says_so_and_leaves_nothing_running(tmp_path: Path, name: str, cancel: bool):
    example = EXAMPLES[name]
    assert example.slow
    with standing(tmp_path, example, example.policy) as bench:
        report = call(bench, name, example.slow(bench), run_s=30.0 if cancel else 0.3, cancel=cancel)

    repeatable = example.effect in (Effect.PURE, Effect.IDEMPOTENT)
    cut_off = Outcome.FAILED if repeatable else Outcome.UNKNOWN
    assert report.outcome is (Outcome.CANCELLED if cancel else cut_off)
    assert report.ran_s < QUICK_S
    if not cancel:
        assert report.failure is not None
        assert report.failure.code == "timeout"
    assert_nothing_is_left(bench)


class Agent:
    """What an agent has of a call: its desk, and its journal, which is a file."""

    def __init__(self, folder: Path) -> None:
        self.outbox = Outbox(folder / "outbox.db", now=0.0)
        cut = [(cut_off(attempt), True) for attempt in self.outbox.unknown()]
        if cut:
            self.outbox.keep(cut)
        self.desk = Desk(self.outbox.reports())
        self.ledger = Ledger(self.outbox, lambda: 0.0)

    def given(self, order: Assign) -> list[Any]:
        """Return what the agent does when it is given the attempt; what it begins is in its journal."""
        chores = self.desk.hear(order, 0.0, self.ledger.completed(order))
        for chore in chores:
            if isinstance(chore, Begin):
                self.ledger.intend(chore.assign)
        return chores


@pytest.mark.parametrize("name", ACTING)
def test_a_call_that_may_happen_once_is_journalled_and_never_begun_again(tmp_path: Path, name: str):
    """It is begun, and the agent is killed; begun by its successor, it would happen twice."""
    order = Assign("c/star#1", name, Raw(b"{}"), spec_of(TOOLS[name]).effect, run_s=1.0)
    first = Agent(tmp_path)
    assert first.given(order) == [Begin(order)]
    first.outbox.close()

    second = Agent(tmp_path)
    again = second.given(order)
    (owed,) = second.desk.owed.values()
    second.desk.acknowledged([order.attempt])
    later = second.given(order)
    second.outbox.close()

    assert (owed.attempt, owed.outcome) == (order.attempt, Outcome.UNKNOWN)
    assert again == []
    assert [chore.report for chore in later if isinstance(chore, Keep)] == [owed]
    assert not any(isinstance(chore, Begin) for chore in later)
