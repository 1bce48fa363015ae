"""How the agent has the clerk read and write: a process for each call, with an end to its time and its memory.

The clerk reads what strangers have made. So its answer is not believed either: it has a limit and a shape.
"""

import asyncio
import base64
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from ....errors import ToolFailed
from ... import wanted
from ...base import ArtifactRef, Context, Grace
from ...beneath import told
from ...blocking import unblocked
from ...files import FileWrite, PathText, WriteArguments
from ...given import Given, content
from ...program import Launch, Program
from ...running import environment
from ...spool import Spool

T = TypeVar("T")

FILE_BYTES_MAX = 64 << 20
MEMORY_BYTES = 1 << 30  # the clerk may take
_ANSWER_BYTES_MAX = 60 << 10
_WORDS_BYTES_MAX = 1 << 20  # that the clerk may say beside its answer
_SPARE_CPU_S = 2
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from clerk import desk; desk.main(sys.argv[2])"
_LIBRARIES = ("openpyxl", "docx", "pptx", "pypdf")
Seconds = Annotated[float, Meta(gt=0, le=300, description="For all of it.")]


class Answer(Struct, frozen=True):
    """What the clerk leaves: what it has done, or a code and a message."""

    done: Raw = Raw(b"")
    refused: tuple[Annotated[str, Meta(pattern="^[a-z_]{1,40}$")], Annotated[str, Meta(max_length=2_000)]] | None = None


class Reading(Given, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Which file; one of `path` and `artifact`."""

    timeout_s: Seconds = 30


class Writing(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Where to."""

    path: Annotated[PathText | None, Meta(description="Where the file is written. None: it comes as an artifact.")] = (
        None
    )
    overwrite: Annotated[bool, Meta(description="Whether a file that is there may be replaced.")] = True
    timeout_s: Seconds = 30


class Written(Struct, frozen=True, omit_defaults=True):
    """The file: where it is, or the artifact."""

    bytes: int
    path: str | None = None
    artifact: ArtifactRef | None = None


def check() -> None:
    """Raise ToolFailed unless the libraries are there."""
    for name in _LIBRARIES:
        wanted.found(name, "desktop")


async def read(task: str, asked: Reading, shape: type[T], context: Context, **arguments: Any) -> T:
    """Return what the clerk reads in the file; raise ToolFailed: bad_document, encrypted, too_large, timeout, ..."""
    context.guard.check_timeout(asked.timeout_s)
    file = await content(asked, context, bytes_max=FILE_BYTES_MAX)
    answer, _ = await _done(task, asked.timeout_s, arguments, {"file": file}, context, blame="bad_document")
    try:
        return msgspec.json.decode(answer, type=shape)
    except msgspec.DecodeError as exc:
        raise ToolFailed("bad_document", f"what the reader makes of it has no sense: {exc}"[:300]) from exc


async def written(
    task: str, asked: Writing, media_type: str, context: Context, pictures: Sequence[Given] = (), **arguments: Any
) -> Written:
    """Return where the file is that the clerk writes; `pictures` are files `picture-0`, ... for it."""
    context.guard.check_timeout(asked.timeout_s)
    if asked.path is not None:
        context.guard.writable(asked.path)
    files = {f"picture-{number}": await content(each, context) for number, each in enumerate(pictures)}
    _, made = await _done(task, asked.timeout_s, arguments, files, context, blame="bad_arguments")
    if asked.path is None:
        artifact = await context.shelf.put(made, media_type)
        return Written(artifact.bytes, artifact=artifact)
    code = await unblocked(lambda _: base64.b64encode(made.read_bytes()).decode())
    how = WriteArguments(asked.path, code, "base64", overwrite=asked.overwrite)
    put = await FileWrite().run(how, context)
    return Written(put.bytes, put.path)


async def _done(
    task: str, timeout_s: float, arguments: dict[str, Any], files: Mapping[str, bytes], context: Context, *, blame: str
) -> tuple[Raw, Path]:
    """Return what the clerk says it has done, and the file it has made; what breaks it is the fault of `blame`."""
    check()
    scratch = await unblocked(lambda _: _folder(context.scratch))
    limits = {
        "cpu_s": int(timeout_s) + _SPARE_CPU_S,
        "memory_bytes": MEMORY_BYTES,
        "file_bytes": context.guard.limits.file_bytes,
    }
    names = {name: str(scratch / name) for name in ("file", "out", "answer")}
    request = msgspec.json.encode({"task": task, "limits": limits, "arguments": arguments, **names})
    await unblocked(lambda _: _laid_out(scratch, {**files, "request": request}))
    words = Spool(scratch / "words"), Spool(scratch / "last-words")
    argv = (sys.executable, "-I", "-B", "-c", _BOOT, str(Path(__file__).parent), str(scratch / "request"))
    env = environment(context.guard, scratch, {"PYTHONUTF8": "1"})
    with told("the clerk"):
        clerk = Program(Launch(Path(sys.executable), argv, env, Path(os.devnull), Grace(0.0)), cwd=str(scratch))
    try:
        async with asyncio.timeout(timeout_s):
            code = await clerk.ended(*words, bytes_max=_WORDS_BYTES_MAX)
    except TimeoutError:
        raise ToolFailed("timeout", f"it was given up after {timeout_s:g} s", retryable=True) from None
    finally:
        await clerk.gone()
    if code != 0:
        raise _broken(code, words[1], blame)
    return await unblocked(lambda _: _answered(scratch / "answer")), scratch / "out"


def _folder(around: Path) -> Path:
    with told("the request"):
        around.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=around))  # an attempt may have more than one clerk


def _laid_out(scratch: Path, files: Mapping[str, bytes]) -> None:
    with told("the request"):
        for name, code in files.items():
            (scratch / name).write_bytes(code)


def _answered(path: Path) -> Raw:
    with told("the answer"), path.open("rb") as file:
        said = file.read(_ANSWER_BYTES_MAX + 1)
    try:
        if len(said) > _ANSWER_BYTES_MAX:
            raise msgspec.ValidationError("it is too long")
        answer = msgspec.json.decode(said, type=Answer)
    except msgspec.DecodeError as exc:
        raise ToolFailed("bad_document", f"what the reader makes of it has no sense: {exc}"[:300]) from exc
    if answer.refused is not None:
        raise ToolFailed(*answer.refused)
    return answer.done


def _broken(code: int, words: Spool, blame: str) -> ToolFailed:
    last = words.tail.decode("utf-8", "replace").strip().splitlines()[-1:]
    said = last[0][:300] if last else f"signal {-code}"
    if "ModuleNotFoundError" in said:  # the clerk sees what is installed, and no PYTHONPATH
        return ToolFailed(wanted.MISSING, f"{said}: `pip install 'galaxy[desktop]'` brings it")
    if "MemoryError" in said:
        return ToolFailed("too_large", f"it takes more than {MEMORY_BYTES >> 20} MiB of memory")
    if code == -signal.SIGXFSZ or "File too large" in said:
        return ToolFailed("too_large", "the file becomes larger than limits.file_bytes in guard.toml allows")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return ToolFailed("timeout", "it takes too long", retryable=True)
    return ToolFailed(blame, f"the library for it gives up: {said}")
