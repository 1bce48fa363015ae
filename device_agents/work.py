"""Runs one tool call within its limits and makes a report of whatever happens."""

import asyncio
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from traceback import format_exception_only
from typing import Any

import msgspec
from msgspec import Raw

from protocol.messages import Assign, Report
from protocol.vocabulary import RESULT_INLINE_BYTES_MAX, Outcome

from .arguments import with_artifacts
from .desk import INSTRUCT, REPEATABLE
from .errors import ToolFailed
from .guard import Guard
from .tools.base import ArtifactRef, ArtifactShelf, Context, Grace, Tool
from .tools.blocking import unblocked

log = logging.getLogger(__name__)

CUT_OFF = frozenset(  # in the middle: what could not be written down may have been done
    {"timeout", "broken_answer", "connection_lost", "session_ended", "output_too_large", "killed", "disk_full"}
)
UNDELIVERED = "result_undelivered"
RESULTS = "results"  # the folder of what could not be delivered, beside the scratch files

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Bench:
    """What calls need and share: the tools, the policy, a place for scratch files, and the shelf of artifacts."""

    tools: Mapping[str, Tool]
    guard: Guard
    scratch: Path
    shelf: ArtifactShelf
    stopwatch: Callable[[], float] = perf_counter


@dataclass(frozen=True, slots=True)
class Journal:
    """Where the steps of attempts are written down, before they begin and after they have ended.

    Both raise ToolFailed when that cannot be done.
    """

    begins: Callable[[str, int, str], None]
    ended: Callable[[str, int, Outcome], None]


class TimedShelf:
    """A shelf, and for how long it was waited for: to move artifacts is no part of a run."""

    def __init__(self, shelf: ArtifactShelf, stopwatch: Callable[[], float]) -> None:
        self.moved_s = 0.0
        self._shelf = shelf
        self._stopwatch = stopwatch

    async def put(self, path: Path, media_type: str) -> ArtifactRef:
        with self._timed():
            return await self._shelf.put(path, media_type)

    async def fetch(self, ref: ArtifactRef) -> Path:
        with self._timed():
            return await self._shelf.fetch(ref)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = self._stopwatch()
        try:
            yield
        finally:
            self.moved_s += self._stopwatch() - began


@dataclass(slots=True)
class Call:
    """A call under way. From the moment on that it is `begun`, its effect may happen."""

    assign: Assign
    bench: Bench
    shelf: TimedShelf
    context: Context
    begun: bool = False


@dataclass(frozen=True, slots=True)
class KeepingShelf:
    """The shelf of a call that may not be made anew: what cannot be brought to Galaxy is kept on the device."""

    shelf: ArtifactShelf
    folder: Path
    attempt: str

    async def put(self, path: Path, media_type: str) -> ArtifactRef:
        try:
            return await self.shelf.put(path, media_type)
        except ToolFailed as exc:
            text = f"the call was made, and its result could not be brought to Galaxy ({exc}); {self._kept(path)}"
            raise ToolFailed(UNDELIVERED, text) from exc

    async def fetch(self, ref: ArtifactRef) -> Path:
        return await self.shelf.fetch(ref)

    def _kept(self, path: Path) -> str:
        """Move the file, which its caller needs no more, and return what became of it."""
        place = self.folder / f"{_folder_of(self.attempt)}-{path.name}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.replace(place)
        except OSError as exc:
            return f"nor could the device keep it: {exc}"
        return f"the device keeps it in {place}"


class StepsOf:
    """The steps of one attempt: calls that its tool makes, as if Galaxy had assigned them one by one.

    What a step may do is what its tool says; but where the attempt may be repeated as a whole, so may its steps.
    """

    def __init__(self, assign: Assign, bench: Bench, journal: Journal, grace: Grace) -> None:
        self.begun = False  # one that may not be repeated
        self.unsure: set[int] = set()  # those of which nobody knows whether they had their effect
        self._assign = assign
        self._bench = bench
        self._scratch = bench.scratch / _folder_of(assign.attempt)
        self._journal = journal
        self._grace = grace

    def tools(self) -> Mapping[str, Tool]:
        return {name: tool for name, tool in self._bench.tools.items() if self._bench.guard.allows(name)}

    async def run(self, step: int, tool: str, arguments: Raw, progress: Callable[[str, float | None], None]) -> Report:
        effect = self._assign.effect if self._assign.effect in REPEATABLE else self._bench.tools[tool].effect
        assign = Assign(f"{self._assign.attempt}/{step}", tool, arguments, effect, run_s=0.0)
        if effect in REPEATABLE:
            return await self._ran(assign, step, progress)
        self._journal.begins(self._assign.attempt, step, tool)
        self.begun = True
        self.unsure.add(step)
        report = await self._ran(assign, step, progress)
        self._journal.ended(self._assign.attempt, step, report.outcome)
        if report.outcome is not Outcome.UNKNOWN:
            self.unsure.discard(step)
        return report

    async def _ran(self, assign: Assign, step: int, progress: Callable[[str, float | None], None]) -> Report:
        bench, scratch = self._bench, self._scratch / f"step-{step}"  # which goes with the attempt's
        shelf = _shelf_for(assign, bench)
        context = Context(assign.attempt, bench.guard, scratch, shelf, progress, grace=self._grace)
        return await _tried(Call(assign, bench, shelf, context))


async def work(
    assign: Assign,
    bench: Bench,
    progress: Callable[[str, float | None], None],
    journal: Journal,
    grace: Grace,
) -> Report:
    """Return the report of the call. Cancelled, it stops the call and reports that: the caller asked for it.

    How long it may take to stop stands in `grace` when it is cancelled; cancelled again, it is to end at once.
    """
    scratch = bench.scratch / _folder_of(assign.attempt)
    steps = StepsOf(assign, bench, journal, grace)
    shelf = _shelf_for(assign, bench)
    call = Call(assign, bench, shelf, Context(assign.attempt, bench.guard, scratch, shelf, progress, steps, grace))
    began = bench.stopwatch()
    try:
        report = await _tried(call)
    except asyncio.CancelledError:
        report = Report(assign.attempt, Outcome.CANCELLED, ran_s=_ran_s(began, call))
    if assign.tool == INSTRUCT and report.outcome in (Outcome.FAILED, Outcome.UNKNOWN):
        report = _as_its_steps_say(report, steps)
    if scratch.exists():
        await _removed(scratch)
    return report


def _as_its_steps_say(report: Report, steps: StepsOf) -> Report:
    """Return how an instruction failed: anew it may be begun only where none of its steps has counted."""
    outcome = Outcome.UNKNOWN if steps.unsure else Outcome.FAILED
    failure = report.failure
    if steps.begun and failure is not None:
        failure = msgspec.structs.replace(failure, retryable=False)
    return msgspec.structs.replace(report, outcome=outcome, failure=failure)


async def _tried(call: Call) -> Report:
    """Return the report of the call, unless it is cancelled."""
    attempt, began = call.assign.attempt, call.bench.stopwatch()
    try:
        result = await _run(call)
    except ToolFailed as exc:
        failure, cut_off = exc.failure, exc.failure.code in CUT_OFF
    except Exception as exc:  # a tool's bug is the call's failure, never the agent's end
        log.exception("a tool crashed", extra={"attempt": attempt, "tool": call.assign.tool})
        failure, cut_off = ToolFailed("tool_crashed", format_exception_only(exc)[0].strip()).failure, True
    else:
        return Report(attempt, Outcome.SUCCEEDED, result, ran_s=_ran_s(began, call))
    unknown = cut_off and call.begun and call.assign.effect not in REPEATABLE
    outcome = Outcome.UNKNOWN if unknown else Outcome.FAILED
    return Report(attempt, outcome, failure=failure, ran_s=_ran_s(began, call))


async def _run(call: Call) -> Raw:
    assign, bench = call.assign, call.bench
    tool = bench.tools.get(assign.tool)
    if tool is None:
        raise ToolFailed("no_such_tool", f"this device has no tool {assign.tool!r}", retryable=True)
    if not bench.guard.allows(assign.tool):
        raise ToolFailed("denied", f"{assign.tool} is not allowed here; `tools` in guard.toml would allow it")
    try:
        async with asyncio.timeout(assign.run_s or None) as limit:
            arguments = await _arguments(assign, tool, call.context.shelf)
            call.begun = True
            result = await _watched(assign, tool, arguments, call.context)
            encoded = _encoder.encode(result)
            if len(encoded) > RESULT_INLINE_BYTES_MAX:
                encoded = await _shelved(encoded, call.context)
            return Raw(encoded)
    except TimeoutError:
        if not limit.expired():
            raise  # the tool's own
        raise ToolFailed("timeout", f"not done within {assign.run_s:g} s", retryable=True) from None


async def _watched(assign: Assign, tool: Tool, arguments: Any, context: Context) -> Any:
    """Run the tool, and end it when it gives no sign of progress for too long."""
    if not assign.idle_s:
        return await tool.run(arguments, context)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(assign.idle_s) as idle:

            def alive(note: str, fraction: float | None) -> None:
                with suppress(RuntimeError):  # it tidies up, for its time is over
                    idle.reschedule(loop.time() + assign.idle_s)
                context.progress(note, fraction)

            return await tool.run(arguments, replace(context, progress=alive))
    except TimeoutError:
        if not idle.expired():
            raise
        raise ToolFailed("timeout", f"no progress for {assign.idle_s:g} s", retryable=True) from None


async def _arguments(assign: Assign, tool: Tool, shelf: ArtifactShelf) -> Any:
    try:
        if b'"$artifact"' not in bytes(assign.arguments):
            return msgspec.json.decode(assign.arguments, type=tool.Arguments)
        document = msgspec.json.decode(assign.arguments)
        document = await with_artifacts(document, tool.Arguments, shelf)
        return msgspec.convert(document, tool.Arguments)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as exc:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(tool.Arguments))
        raise ToolFailed("bad_arguments", f"{assign.tool}: {exc}; it takes {known or 'nothing'}") from exc


def _shelf_for(assign: Assign, bench: Bench) -> TimedShelf:
    """Return where the call's results go. What an instruction did is in its steps, each of which is a call."""
    if assign.effect in REPEATABLE or assign.tool == INSTRUCT:
        return TimedShelf(bench.shelf, bench.stopwatch)
    keeping = KeepingShelf(bench.shelf, bench.scratch.with_name(RESULTS), assign.attempt)
    return TimedShelf(keeping, bench.stopwatch)


async def _shelved(encoded: bytes, context: Context) -> bytes:
    """Put a large result on the shelf, and return the reference that stands for it."""
    context.scratch.mkdir(parents=True, exist_ok=True)
    path = context.scratch / "result.json"
    await unblocked(lambda _: path.write_bytes(encoded))
    return _encoder.encode(await context.shelf.put(path, "application/json"))


def _folder_of(attempt: str) -> str:
    """Return a name for the attempt's folder that leads nowhere else, however the attempt is named."""
    return hashlib.sha256(attempt.encode()).hexdigest()[:32]


async def _removed(scratch: Path) -> None:
    """Return when the folder is gone. The call has ended: a halt comes too late, and may not change its report."""
    removing = asyncio.get_running_loop().run_in_executor(None, partial(shutil.rmtree, scratch, ignore_errors=True))
    while not removing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(removing)


def _ran_s(began: float, call: Call) -> float:
    """Return how long the call has run, without the time in which artifacts were moved."""
    return round(max(0.0, call.bench.stopwatch() - began - call.shelf.moved_s), 6)
