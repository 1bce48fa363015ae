"""Results that cannot be brought to Galaxy: what has happened is not made to happen again."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from device_agents.errors import ToolFailed
from device_agents.tools.base import ArtifactRef
from device_agents.work import CUT_OFF
from protocol.messages import Report
from protocol.vocabulary import RESULT_INLINE_BYTES_MAX, TEXT_CHARS_MAX, Effect, Outcome

from .helpers import ToolOf, Words, bench_of
from .test_work import echo, failed, report_of, report_of_doing, scratch_is_empty
from .tools.bench import FolderShelf


class LostShelf(FolderShelf):
    """Galaxy cannot be reached."""

    async def put(self, path: Path, media_type: str) -> ArtifactRef:
        raise ToolFailed("artifact_unreachable", "no way there", retryable=True)


async def spooled(words: Words, context: Any) -> ArtifactRef:
    """Have an effect, and put what it said on the shelf, as programs' outputs are."""
    path = context.scratch / "stdout"
    path.parent.mkdir(parents=True)
    path.write_text(words.text)
    return await context.shelf.put(path, "text/plain")


@pytest.mark.parametrize(("doing", "kept"), [(echo, '{"text":"%s"}'), (spooled, "%s")])
@pytest.mark.parametrize("effect", [Effect.ONCE, Effect.INTERACTIVE])
def test_a_call_whose_effect_has_happened_is_not_made_anew_because_its_result_cannot_be_delivered(
    tmp_path, doing, kept, effect
):
    large = "x" * RESULT_INLINE_BYTES_MAX
    bench = bench_of(tmp_path, ToolOf(doing))
    bench = replace(bench, shelf=LostShelf(tmp_path / "lost"))

    report = report_of(bench, arguments={"text": large}, effect=effect)

    (place,) = (tmp_path / "results").iterdir()
    why = f"could not be brought to Galaxy (no way there); the device keeps it in {place}"
    assert report == failed("result_undelivered", f"the call was made, and its result {why}")
    assert place.read_text() == kept % large
    assert scratch_is_empty(bench)


def test_a_result_that_can_neither_be_delivered_nor_kept_is_told_as_such(tmp_path):
    bench = bench_of(tmp_path, ToolOf(echo))
    bench = replace(bench, shelf=LostShelf(tmp_path / "lost"))
    (tmp_path / "results").write_text("no folder")

    report = report_of(bench, arguments={"text": "x" * RESULT_INLINE_BYTES_MAX}, effect=Effect.ONCE)

    assert (report.outcome, report.failure.code, report.failure.retryable) == ("failed", "result_undelivered", False)
    assert "nor could the device keep it" in report.failure.message


def test_a_call_that_may_be_repeated_is_made_anew_where_its_result_cannot_be_delivered(tmp_path):
    bench = bench_of(tmp_path, ToolOf(echo))
    bench = replace(bench, shelf=LostShelf(tmp_path / "lost"))

    report = report_of(bench, arguments={"text": "x" * RESULT_INLINE_BYTES_MAX}, effect=Effect.PURE)

    assert report == failed("artifact_unreachable", "no way there", retryable=True)


def test_a_crash_whose_words_are_no_text_can_be_reported(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)  # they stand there as well, and logs go as text between parallel runs

    async def fail(*_: Any) -> None:
        raise ValueError("bad name \udcff " + "x" * 10_000)

    report = report_of_doing(tmp_path, fail)

    assert report.failure.message.startswith("ValueError: bad name ? xxx")
    assert len(report.failure.message) == TEXT_CHARS_MAX
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@pytest.mark.parametrize("code", sorted(CUT_OFF))
def test_what_was_cut_off_in_the_middle_may_have_happened_unless_it_may_be_repeated(tmp_path, code):
    async def cut(*_: Any) -> None:
        raise ToolFailed(code, "in the middle", retryable=True)

    outcomes = {effect: report_of_doing(tmp_path, cut, effect=effect).outcome for effect in Effect}
    acting = dict.fromkeys((Effect.ONCE, Effect.INTERACTIVE), Outcome.UNKNOWN)
    assert outcomes == dict.fromkeys((Effect.PURE, Effect.IDEMPOTENT), Outcome.FAILED) | acting
