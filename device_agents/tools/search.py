"""The tool that searches through files. The matching is done by `matcher`, in a process that can be killed."""

import asyncio
import math
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ..errors import ToolFailed
from ..guard import Guard
from .base import Context
from .beneath import regular_file, shown, told
from .blocking import Stop, unblocked
from .files import PathText
from .folders import VISITED_MAX, Glob, Walk
from .spool import INLINE_BYTES_MAX

MATCHES_MAX = 1_000
SEARCHED_FILE_BYTES_MAX = 4 << 20
SEARCHED_BYTES_MAX = 256 << 20
_MATCH_CHARS_MAX = 500
_BATCH_BYTES = 1 << 20
_BATCH_FILES = 200
_ANSWER_BYTES_MAX = 16 << 20  # above what MATCHES_MAX lines can be
_MATCHER = str(Path(__file__).with_name("matcher.py"))


class SearchArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is looked for, and where."""

    pattern: Annotated[str, Meta(min_length=1, max_length=1_000, description="Looked for in each line.")]
    path: Annotated[PathText, Meta(description="A folder; it is searched with all that is in it.")] = "."
    regex: Annotated[bool, Meta(description="Whether the pattern is a regular expression, and not plain text.")] = False
    ignore_case: bool = False
    glob: Glob = "*"
    limit: Annotated[int, Meta(ge=1, le=MATCHES_MAX)] = 100
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 20


class Match(Struct, frozen=True):
    """One line that matches."""

    path: Annotated[str, Meta(description="From the folder that was searched.")]
    line: int
    text: Annotated[str, Meta(description=f"The line, its first {_MATCH_CHARS_MAX} characters.")]


class SearchResult(Struct, frozen=True):
    """What was found."""

    matches: list[Match]
    files: Annotated[int, Meta(description="How many were searched.")]
    skipped: Annotated[int, Meta(description="How many were not: no text, too large, or not to be read.")]
    truncated: Annotated[bool, Meta(description="Whether there may be more matches.")]


class FileSearch:
    """Search the text files under a folder for lines with a pattern."""

    name: ClassVar[str] = "file.search"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {
        "matches": MATCHES_MAX,
        "file_bytes": SEARCHED_FILE_BYTES_MAX,
        "bytes": SEARCHED_BYTES_MAX,
        "visited": VISITED_MAX,
    }
    Arguments: ClassVar[type[Struct]] = SearchArguments
    Result: ClassVar[type[Struct]] = SearchResult

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: guard.check_folders())

    async def run(self, arguments: SearchArguments, context: Context) -> SearchResult:
        context.guard.check_timeout(arguments.timeout_s)
        walk = Walk(context.guard.readable(arguments.path), recursive=True)
        try:
            async with asyncio.timeout(arguments.timeout_s), _matcher(arguments) as matcher:
                return await self._found(arguments, Contents(walk, arguments.glob), matcher)
        except TimeoutError:
            message = f"the search took more than {arguments.timeout_s:g} s; search less, or for something simpler"
            raise ToolFailed("timeout", message) from None

    async def _found(self, arguments: SearchArguments, contents: "Contents", matcher: "Matcher") -> SearchResult:
        found: list[Match] = []
        files, room = 0, INLINE_BYTES_MAX
        while batch := await unblocked(contents.next_batch):
            for path, content in batch:
                lines = await matcher.matches(content, arguments.limit + 1 - len(found))
                if lines is None:
                    contents.skipped += 1
                    continue
                files += 1
                for number, text in lines:
                    match = Match(path, number, text)
                    room -= len(msgspec.json.encode(match)) + 1
                    if len(found) == arguments.limit or room < 0:
                        return SearchResult(found, files, contents.skipped + contents.walk.unreadable, True)
                    found.append(match)
        truncated = contents.truncated or contents.walk.truncated
        return SearchResult(found, files, contents.skipped + contents.walk.unreadable, truncated)


class Contents:
    """The files of a walk, as far as they are regular, not too large and may be read."""

    def __init__(self, walk: Walk, glob: str) -> None:
        self.walk = walk
        self.skipped = 0
        self.truncated = False
        self._glob = glob
        self._files = self._read()

    def next_batch(self, stop: Stop) -> list[tuple[str, bytes]]:
        """Return the next files with their content; nothing at the end."""
        self.walk.stop = stop
        batch: list[tuple[str, bytes]] = []
        size = 0
        for path, content in self._files:
            stop.check()
            batch.append((path, content))
            size += len(content)
            if size >= _BATCH_BYTES or len(batch) == _BATCH_FILES:
                break
        return batch

    def _read(self) -> Iterator[tuple[str, bytes]]:
        total = 0
        for entry in self.walk.entries():
            if entry.kind != "file" or not entry.matches(self._glob):
                continue
            place = self.walk.place.below(*entry.parts)
            try:
                with told(place.path), regular_file(place) as file:
                    content = file.read(SEARCHED_FILE_BYTES_MAX + 1)
            except ToolFailed:
                self.skipped += 1
                continue
            if len(content) > SEARCHED_FILE_BYTES_MAX:
                self.skipped += 1
                continue
            total += len(content)
            if total > SEARCHED_BYTES_MAX:
                self.truncated = True
                return
            yield shown("/".join(entry.parts)), content


@dataclass(frozen=True, slots=True)
class Matcher:
    """The process that matches; how it is spoken to stands in `matcher`."""

    process: Process

    async def matches(self, content: bytes, matches_max: int) -> list[tuple[int, str]] | None:
        question = msgspec.json.encode({"bytes": len(content), "matches_max": matches_max})
        answer = await self.answer(question + b"\n" + content)
        return msgspec.json.decode(answer, type=list[tuple[int, str]] | None)

    async def answer(self, question: bytes) -> bytes:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(question)
        with suppress(ConnectionError):  # it has ended, which the answer says too
            await stdin.drain()
        answer = await stdout.readline()
        if not answer:
            raise ToolFailed("bad_pattern", "the pattern takes more memory than a search may have")
        return answer


@asynccontextmanager
async def _matcher(arguments: SearchArguments) -> AsyncIterator[Matcher]:
    cpu_s = str(math.ceil(arguments.timeout_s) + 1)
    command = [sys.executable, "-I", "-S", _MATCHER, cpu_s]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, limit=_ANSWER_BYTES_MAX
    )
    try:
        matcher = Matcher(process)
        pattern = arguments.pattern if arguments.regex else re.escape(arguments.pattern)
        order = {"pattern": pattern, "ignore_case": arguments.ignore_case, "chars_max": _MATCH_CHARS_MAX}
        refused = msgspec.json.decode(await matcher.answer(msgspec.json.encode(order) + b"\n"), type=dict[str, str])
        if refused:
            raise ToolFailed("bad_pattern", f"not a regular expression: {refused['error']}")
        yield matcher
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
