"""Arguments that name more than they hold, or are deeper than anybody reads."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from device_agents.arguments import TEXT_BYTES_MAX, with_artifacts
from device_agents.tools.system import EchoArguments
from protocol.vocabulary import Outcome

from .helpers import ONCE, ToolOf, Words, assign, bench_of, worked
from .tools.bench import FolderShelf, failing


def test_a_short_list_that_names_a_large_text_many_times_is_refused_before_memory_is_full(tmp_path: Path):
    shelf = FolderShelf(tmp_path / "shelf")
    ref = msgspec.to_builtins(shelf.keep(b"x" * TEXT_BYTES_MAX, "text/plain"))

    async def taken(times: int) -> None:
        await with_artifacts({"value": [ref] * times}, EchoArguments, shelf)

    asyncio.run(taken(4))
    with failing("too_large", "of one call"):
        asyncio.run(taken(5))


@pytest.mark.parametrize("document", [b"[" * 100_000, b'{"a":' * 100_000])
def test_an_artifact_that_is_nested_beyond_reason_is_a_bad_argument(tmp_path: Path, document: bytes):
    bench = bench_of(tmp_path, ToolOf(lambda words, context: answered(words)))
    ref = bench.shelf.keep(document, "application/json")  # type: ignore[attr-defined]  # it is a FolderShelf

    report = asyncio.run(worked(assign(effect=ONCE, arguments={"text": msgspec.to_builtins(ref)}), bench, quiet))

    assert report.failure is not None
    assert (report.outcome, report.failure.code) == (Outcome.FAILED, "bad_arguments")


async def answered(words: Words) -> Words:
    return words


def quiet(note: str, fraction: float | None) -> None:
    pass
