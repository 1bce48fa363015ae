"""One call: whatever the tool does, there is one report of it, and nothing is left behind."""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from device_agents.errors import ToolFailed
from device_agents.guard import Policy
from device_agents.tools.base import ArtifactRef
from device_agents.tools.system import SystemEcho
from device_agents.work import Bench
from protocol.messages import Report
from protocol.vocabulary import RESULT_INLINE_BYTES_MAX, Effect, Failure, Outcome

from .helpers import IDEMPOTENT, INTERACTIVE, ONCE, PURE, Gate, ToolOf, Words, assign, bench_of, running, turns, worked

ATTEMPT = "c/star#1"


def quiet(note: str, fraction: float | None) -> None:
    """Hear progress and say nothing."""


def report_of(bench: Bench, **more: Any) -> Report:
    """Return the report of a call, without how long it ran."""
    return without_time(asyncio.run(worked(assign(**more), bench, quiet)))


def without_time(report: Report) -> Report:
    assert report.ran_s >= 0.0
    return msgspec.structs.replace(report, ran_s=0.0)


def report_of_doing(folder: Path, doing: Any, **more: Any) -> Report:
    return report_of(bench_of(Path(tempfile.mkdtemp(dir=folder)), ToolOf(doing)), **more)


def failed(code: str, message: str, *, outcome: Outcome = Outcome.FAILED, retryable: bool = False) -> Report:
    return Report(ATTEMPT, outcome, failure=Failure(code, message, retryable))


def scratch_is_empty(bench: Bench) -> bool:
    return not bench.scratch.exists() or list(bench.scratch.iterdir()) == []


async def halted(call: "asyncio.Task[Report]") -> Report:
    call.cancel()
    return await call


async def echo(words: Words, _: Any) -> Words:
    return words


async def nothing_ever(*_: Any) -> None:
    await asyncio.Event().wait()


async def crash(*_: Any) -> None:
    raise KeyError("no such thing")


def test_a_call_that_works_reports_its_result(tmp_path):
    report = report_of_doing(tmp_path, echo, arguments={"text": "hello"})

    assert report == Report(ATTEMPT, Outcome.SUCCEEDED, msgspec.Raw(b'{"text":"hello"}'))


def test_a_real_tool_of_the_device_works_the_same_way(tmp_path):
    report = report_of(bench_of(tmp_path, SystemEcho()), tool="system.echo", arguments={"value": [1, 2]})

    assert (report.outcome, msgspec.json.decode(report.result)["value"]) == (Outcome.SUCCEEDED, [1, 2])


def test_a_tool_that_is_not_here_may_be_elsewhere(tmp_path):
    report = report_of(bench_of(tmp_path), tool="gpu.render")

    assert report == failed("no_such_tool", "this device has no tool 'gpu.render'", retryable=True)


def test_a_tool_that_the_guard_does_not_allow_is_not_called(tmp_path):
    bench = bench_of(tmp_path, ToolOf(crash), policy=Policy(tools=("file.*",)))

    text = "test.tool is not allowed here; `tools` in guard.toml would allow it"
    assert report_of(bench) == failed("denied", text)


@pytest.mark.parametrize("arguments", [{"value": 1, "surplus": 2}, {}, [], "text", None, {"value": {"$artifact": 5}}])
@pytest.mark.parametrize("effect", [PURE, ONCE])
def test_arguments_that_do_not_fit_are_the_callers_fault(tmp_path, arguments, effect):
    class Numbers(msgspec.Struct, forbid_unknown_fields=True):
        value: int

    tool = ToolOf(echo)
    tool.Arguments = Numbers  # type: ignore[misc]

    report = report_of(bench_of(tmp_path, tool), arguments=arguments, effect=effect)

    assert (report.outcome, report.failure.code, report.failure.retryable) == (Outcome.FAILED, "bad_arguments", False)


def test_arguments_that_are_nested_beyond_reason_do_not_leave_an_effect_unknown(tmp_path):
    deep = assign(effect=ONCE)
    deep = msgspec.structs.replace(deep, arguments=msgspec.Raw(b'{"text":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))

    report = asyncio.run(worked(deep, bench_of(tmp_path, ToolOf(echo)), quiet))

    assert (report.outcome, report.failure.code) == (Outcome.FAILED, "bad_arguments")


def test_a_failure_that_the_tool_knows_is_reported_as_it_says(tmp_path):
    async def fail(*_: Any) -> None:
        raise ToolFailed("no_space", "the disk is full", retryable=True)

    assert report_of_doing(tmp_path, fail, effect=ONCE) == failed("no_space", "the disk is full", retryable=True)


@pytest.mark.parametrize(
    ("effect", "outcome"),
    [
        (PURE, Outcome.FAILED),
        (IDEMPOTENT, Outcome.FAILED),
        (ONCE, Outcome.UNKNOWN),
        (INTERACTIVE, Outcome.UNKNOWN),
    ],
)
def test_a_call_that_takes_too_long_is_ended(tmp_path, effect, outcome):
    report = report_of_doing(tmp_path, nothing_ever, run_s=0.01, effect=effect)

    assert report == failed("timeout", "not done within 0.01 s", outcome=outcome, retryable=True)


@pytest.mark.parametrize("effect", [PURE, ONCE])
def test_a_call_without_a_sign_of_progress_is_ended(tmp_path, effect):
    report = report_of_doing(tmp_path, nothing_ever, idle_s=0.01, effect=effect)

    outcome = Outcome.UNKNOWN if effect is ONCE else Outcome.FAILED
    assert report == failed("timeout", "no progress for 0.01 s", outcome=outcome, retryable=True)


def test_signs_of_progress_keep_a_call_alive_and_reach_whoever_listens(tmp_path):
    heard = []

    async def slow(words: Words, context: Any) -> Words:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            context.progress("still here", None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await nothing_ever()
        return words

    def listen(note: str, fraction: float | None) -> None:
        heard.append(note)

    report = asyncio.run(worked(assign(idle_s=0.15), bench_of(tmp_path, ToolOf(slow)), listen))

    assert (report.outcome, set(heard)) == (Outcome.SUCCEEDED, {"still here"})


def test_a_tool_may_tell_progress_while_it_tidies_up_after_its_time(tmp_path):
    tidied = []

    async def tidy_up(_: Words, context: Any) -> None:
        try:
            await nothing_ever()
        finally:
            context.progress("tidying up", None)
            tidied.append(True)

    report = report_of_doing(tmp_path, tidy_up, idle_s=0.01)

    assert (report.failure.message, tidied) == ("no progress for 0.01 s", [True])


def test_progress_that_is_told_after_the_end_harms_nobody(tmp_path):
    """As from a thread of the tool's own that is slow to stop."""
    late = []

    async def leave(words: Words, context: Any) -> Words:
        late.append(context.progress)
        return words

    assert report_of_doing(tmp_path, leave, idle_s=5.0).outcome is Outcome.SUCCEEDED
    late[0]("too late", None)


def test_a_tools_own_timeout_is_not_taken_for_the_calls(tmp_path):
    async def impatient(*_: Any) -> None:
        raise TimeoutError("the printer does not answer")

    for limits in ({}, {"run_s": 60.0}, {"idle_s": 60.0}):
        report = report_of_doing(tmp_path, impatient, **limits)
        assert report == failed("tool_crashed", "TimeoutError: the printer does not answer")


@pytest.mark.parametrize("effect", list(Effect))
def test_a_tools_bug_is_the_calls_failure(tmp_path, effect):
    report = report_of_doing(tmp_path, crash, effect=effect)

    outcome = Outcome.UNKNOWN if effect in (ONCE, INTERACTIVE) else Outcome.FAILED
    assert report == failed("tool_crashed", "KeyError: 'no such thing'", outcome=outcome)


def test_a_crash_that_cannot_even_be_put_into_words_can_be_reported(tmp_path):
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    async def fail(*_: Any) -> None:
        raise Mute

    assert report_of_doing(tmp_path, fail).failure.code == "tool_crashed"


@pytest.mark.parametrize("result", [object(), Words(object()), Words("\udcff"), Words({(1, 2): 3})])
def test_a_result_that_cannot_be_encoded_is_the_tools_bug(tmp_path, result):
    async def answer(*_: Any) -> Any:
        return result

    assert report_of_doing(tmp_path, answer).failure.code == "tool_crashed"
    assert report_of_doing(tmp_path, answer, effect=ONCE).outcome is Outcome.UNKNOWN


def test_a_large_result_travels_as_an_artifact(tmp_path):
    large = "x" * RESULT_INLINE_BYTES_MAX
    bench = bench_of(tmp_path, ToolOf(echo))

    report = report_of(bench, arguments={"text": large})

    ref = msgspec.json.decode(report.result, type=ArtifactRef)
    assert (report.outcome, ref.media_type) == (Outcome.SUCCEEDED, "application/json")
    assert msgspec.json.decode((tmp_path / "shelf" / ref.sha256).read_bytes()) == {"text": large}
    assert scratch_is_empty(bench)


def test_a_result_just_within_the_limit_stays_where_it_is(tmp_path):
    text = "x" * (RESULT_INLINE_BYTES_MAX - len('{"text":""}'))

    report = report_of_doing(tmp_path, echo, arguments={"text": text})

    assert len(bytes(report.result)) == RESULT_INLINE_BYTES_MAX


async def litter(words: Words, context: Any) -> Words:
    (context.scratch / "deep").mkdir(parents=True)
    (context.scratch / "deep" / "file").write_text("litter")
    if words.text == "fail":
        raise ToolFailed("failed", "as asked")
    if words.text == "crash":
        raise KeyError
    if words.text == "hang":
        await nothing_ever()
    return words


@pytest.mark.parametrize("text", ["end", "fail", "crash", "hang"])
def test_nothing_is_left_of_the_scratch_folder_however_a_call_ends(tmp_path, text):
    bench = bench_of(tmp_path, ToolOf(litter))

    report_of(bench, arguments={"text": text}, run_s=0.05)

    assert scratch_is_empty(bench)


HOSTILE = ["", ".", "..", "../..", "c/../../work#1", "/etc#1", "a\0b/c#1", "~", "c/" + "x" * 5000 + "#1", "ü/é#1"]


@pytest.mark.parametrize("attempt", HOSTILE)
def test_an_attempts_name_leads_its_scratch_folder_nowhere_else(tmp_path, attempt):
    bench = bench_of(tmp_path, ToolOf(litter))
    before = sorted(tmp_path.rglob("*"))
    seen = []

    async def look(words: Words, context: Any) -> Words:
        seen.append(context.scratch.parent == bench.scratch and context.scratch.name not in ("", ".", ".."))
        return await litter(words, context)

    report = report_of(bench_of_same_folders(bench, ToolOf(look)), attempt=attempt)

    assert (report.outcome, seen) == (Outcome.SUCCEEDED, [True])
    assert sorted(path for path in tmp_path.rglob("*") if path != bench.scratch) == before


def bench_of_same_folders(bench: Bench, tool: Any) -> Bench:
    return Bench({tool.name: tool}, bench.guard, bench.scratch, bench.shelf)


def test_attempts_with_like_names_have_folders_of_their_own(tmp_path):
    folders = set()

    async def look(words: Words, context: Any) -> Words:
        folders.add(context.scratch)
        return words

    bench = bench_of(tmp_path, ToolOf(look))
    for attempt in ("a_b/c#1", "a/b_c#1", "a/b#1", "a/b#11", "a_b_c_1"):
        report_of(bench, attempt=attempt)

    assert len(folders) == 5


@pytest.mark.asyncio
async def test_a_halted_call_says_that_it_was_cancelled(tmp_path):
    bench = bench_of(tmp_path, ToolOf(litter))
    async with running(worked(assign(arguments={"text": "hang"}), bench, quiet)) as [call]:
        while not bench.scratch.exists():
            await turns(1)

        report = await halted(call)

    assert without_time(report) == Report(ATTEMPT, Outcome.CANCELLED)
    assert scratch_is_empty(bench)


@pytest.mark.asyncio
async def test_a_call_that_is_halted_before_its_first_step_never_reaches_the_tool(tmp_path):
    gate = Gate()
    async with running(worked(assign(), bench_of(tmp_path, ToolOf(gate)), quiet)) as [call]:
        with pytest.raises(asyncio.CancelledError):
            await halted(call)

    assert gate.begun == []


@pytest.mark.asyncio
async def test_a_halt_that_comes_while_a_call_tidies_up_does_not_undo_its_success(tmp_path):
    """Its effect has happened, and its report says so."""
    tidying, loop = asyncio.Event(), asyncio.get_running_loop()

    async def make_a_mess(words: Words, context: Any) -> Words:
        context.scratch.mkdir(parents=True)
        for n in range(2_000):
            (context.scratch / str(n)).touch()
        loop.call_soon(tidying.set)
        return words

    bench = bench_of(tmp_path, ToolOf(make_a_mess))
    async with running(worked(assign(effect=ONCE), bench, quiet)) as [call]:
        await tidying.wait()
        call.cancel()
        await turns(1)
        call.cancel()
        report = await call

    assert report.outcome is Outcome.SUCCEEDED
    assert scratch_is_empty(bench)


@pytest.mark.asyncio
async def test_a_halt_beats_a_timeout_that_falls_due_at_the_same_time(tmp_path):
    gate = Gate()
    async with running(worked(assign(run_s=0.01, effect=ONCE), bench_of(tmp_path, ToolOf(gate)), quiet)) as [call]:
        await gate.began.wait()
        over = time.monotonic() + 0.02
        while time.monotonic() < over:
            pass  # the loop is held up, so that the limit is over when it goes on
        report = await halted(call)

    assert report.outcome is Outcome.CANCELLED


@pytest.mark.asyncio
async def test_a_call_whose_time_is_over_before_it_was_begun_had_no_effect(tmp_path):
    """Its artifact did not arrive in time."""
    gate, bench = Gate(), bench_of(tmp_path, ToolOf(echo))

    class EmptyShelf:
        put = None

        async def fetch(self, _: ArtifactRef) -> Path:
            await nothing_ever()
            raise AssertionError

    waiting = Bench({"test.tool": ToolOf(gate)}, bench.guard, bench.scratch, EmptyShelf())  # type: ignore[arg-type]
    reference = {"text": {"$artifact": "0" * 64, "bytes": 1}}

    report = await worked(assign(arguments=reference, effect=ONCE, run_s=0.01), waiting, quiet)

    assert without_time(report) == failed("timeout", "not done within 0.01 s", retryable=True)
    assert gate.begun == []
