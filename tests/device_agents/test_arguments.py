"""Artifacts in a call's arguments."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from device_agents.arguments import TEXT_BYTES_MAX, with_artifacts
from device_agents.tools.base import ArtifactRef

from .tools.bench import FolderShelf, failing


class Anything(msgspec.Struct):
    """Arguments that take values, and files by reference."""

    value: Any = None
    file: ArtifactRef | None = None
    files: list[ArtifactRef] = []


@pytest.fixture
def shelf(tmp_path: Path) -> FolderShelf:
    return FolderShelf(tmp_path / "shelf")


def replaced(shelf: FolderShelf, document: Any) -> Any:
    return asyncio.run(with_artifacts(document, Anything, shelf))


def reference(shelf: FolderShelf, content: bytes, media_type: str = "application/json", **more: Any) -> dict[str, Any]:
    return {**msgspec.to_builtins(shelf.keep(content, media_type)), **more}


def test_a_json_artifact_becomes_its_value(shelf):
    assert replaced(shelf, {"value": reference(shelf, b'{"a":[1,2]}')}) == {"value": {"a": [1, 2]}}


def test_a_pointer_names_a_part_of_the_value(shelf):
    document = {"value": reference(shelf, b'{"a/b":[1,{"c":"deep"}]}', pointer="/a~1b/1/c")}

    assert replaced(shelf, document) == {"value": "deep"}


def test_a_text_artifact_becomes_its_text(shelf):
    assert replaced(shelf, {"value": reference(shelf, "grüße".encode(), "text/plain")}) == {"value": "grüße"}


def test_references_are_found_however_deep_they_stand(shelf):
    document = {"value": [1, {"x": [reference(shelf, b"[true]")]}, "text", None]}

    assert replaced(shelf, document) == {"value": [1, {"x": [[True]]}, "text", None]}


def test_what_a_reference_stands_for_is_not_searched_for_more_references(shelf):
    """Else a result could make the device fetch what nobody bound."""
    inner = reference(shelf, b"1")

    assert replaced(shelf, {"value": reference(shelf, msgspec.json.encode(inner))}) == {"value": inner}


def test_an_argument_that_takes_files_keeps_its_reference(shelf):
    ref = reference(shelf, b"\xff\xfe", "image/png")

    assert replaced(shelf, {"file": ref, "files": [ref, ref]}) == {"file": ref, "files": [ref, ref]}


def test_a_pointer_into_an_artifact_is_followed_also_where_files_are_taken(shelf):
    ref = reference(shelf, b"\xff\xfe", "image/png")
    outer = reference(shelf, msgspec.json.encode({"picture": ref}), pointer="/picture")

    assert replaced(shelf, {"file": outer}) == {"file": ref}


def test_a_pointer_that_leads_nowhere_is_an_unresolved_binding(shelf):
    with failing("binding_unresolved", "'/b' leads nowhere"):
        replaced(shelf, {"value": reference(shelf, b'{"a":1}', pointer="/b")})


def test_bytes_that_are_no_text_have_no_place_in_a_value(shelf):
    with failing("decode_error", "is not text, and not JSON"):
        replaced(shelf, {"value": reference(shelf, b"\xff\xfe", "image/png")})


def test_an_artifact_too_large_for_memory_is_refused_before_it_is_fetched(shelf):
    with failing("too_large", str(TEXT_BYTES_MAX)):
        replaced(shelf, {"value": {"$artifact": "0" * 64, "bytes": TEXT_BYTES_MAX + 1}})


@pytest.mark.parametrize(
    "reference",
    [
        {"$artifact": 5, "bytes": 1},
        {"$artifact": "0" * 64},
        {"$artifact": "0" * 64, "bytes": "1"},
        {"$artifact": "0" * 64, "bytes": 1, "pointer": 5},
        {"$artifact": "../device.key", "bytes": 1},
        {"$artifact": "/etc/passwd", "bytes": 1},
        {"$artifact": "0" * 63 + "/", "bytes": 1},
    ],
)
def test_what_only_looks_like_a_reference_is_invalid(shelf, reference):
    with pytest.raises(msgspec.ValidationError):
        replaced(shelf, {"value": reference})


@pytest.mark.parametrize("document", [None, 1, "text", [{"$artifact": "0" * 64}]])
def test_arguments_that_are_no_object_are_left_for_the_tool_to_refuse(shelf, document):
    assert replaced(shelf, document) == document
