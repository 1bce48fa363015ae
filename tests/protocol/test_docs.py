"""The page on the protocol and the JSON Schema say what the code says. REWRITE=1 writes them anew."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from protocol import codec, schema
from protocol.messages import CONTROL, NUMBERED, Bye, Challenge, Hello, Reject, Report, Welcome
from protocol.session import ACK_WITHIN_S, FRAME_BYTES_AIM, GREETING_WITHIN_S, SILENCES_MAX
from protocol.vocabulary import FRAME_BYTES_MAX, RESULT_INLINE_BYTES_MAX, TEXT_CHARS_MAX, ByeCode, Failure, Outcome

from .helpers import ASSIGN, CHALLENGE, hello

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE, SCHEMA = DOCS / "protocol.md", DOCS / "protocol.schema.json"
PARTS = {"states": schema.states_table, "messages": schema.messages_table, "values": schema.values_table}


def rewritten(page: str) -> str:
    for name, made in PARTS.items():
        part = f"<!-- made: {name} -->\n\n{made()}\n\n<!-- end -->"
        page, found = re.subn(f"<!-- made: {name} -->.*?<!-- end -->", lambda _, part=part: part, page, flags=re.DOTALL)
        assert found == 1, name
    return page


def test_the_page_on_the_protocol_is_what_the_code_says():
    if os.environ.get("REWRITE"):
        PAGE.write_text(rewritten(PAGE.read_text("utf-8")), "utf-8")

    assert PAGE.read_text("utf-8") == rewritten(PAGE.read_text("utf-8"))


def test_the_json_schema_is_what_the_code_says():
    made = json.dumps(schema.frame_schema(), indent=2) + "\n"
    if os.environ.get("REWRITE"):
        SCHEMA.write_text(made, "utf-8")

    assert SCHEMA.read_text("utf-8") == made


def test_the_numbers_in_the_prose_are_those_of_the_code():
    page = re.sub(r"\s+", " ", PAGE.read_text("utf-8"))

    for words in (
        f"at most {FRAME_BYTES_MAX:,} bytes",
        f"aim at {FRAME_BYTES_AIM >> 10} KiB",
        f"within {GREETING_WITHIN_S:g} s",
        f"{ACK_WITHIN_S * 1000:g} ms",
        f"more than {RESULT_INLINE_BYTES_MAX >> 10} KiB",
        f"to {TEXT_CHARS_MAX:,} characters",
        f"{SILENCES_MAX:g} heartbeats",
    ):
        assert words in page


def test_the_bytes_that_a_device_signs_are_five_lines():
    assert codec.proof_of("home", "0123", "laptop", "boot-1") == b"aip.v1\nhome\n0123\nlaptop\nboot-1"


def test_every_message_is_on_the_page_and_in_the_schema():
    page, made = PAGE.read_text("utf-8"), schema.frame_schema()["$defs"]

    for kind in (*CONTROL, *NUMBERED):
        assert f"**`{kind.__struct_config__.tag}`**" in page
        assert made[kind.__name__]["properties"].keys() == {"type", *kind.__struct_encode_fields__}


@pytest.mark.parametrize(
    "message",
    [
        CHALLENGE,
        hello("s1", 3),
        Welcome("s1", True, 4, 10.0, 64, "token"),
        ASSIGN,
        Reject("c/a#1", Failure("draining", "no more today", True)),
        Report("c/a#1", Outcome.SUCCEEDED, Raw(b"[1,null]")),
        Bye(ByeCode.SILENT, ""),
    ],
    ids=lambda m: type(m).__name__,
)
def test_what_is_really_said_is_what_the_schema_allows(message: Challenge | Hello):
    frame = msgspec.json.decode(codec.framed([codec.encode(message)], first=0, ack=0))

    assert list(violations(frame, schema.frame_schema(), schema.frame_schema()["$defs"])) == []
    del frame["messages"][0]["type"]
    assert list(violations(frame, schema.frame_schema(), schema.frame_schema()["$defs"]))


def violations(value: Any, rule: dict[str, Any], defined: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield where the value is not what this small part of JSON Schema asks for: as much of it as the schema uses."""
    if "$ref" in rule:
        rule = defined[rule["$ref"].rpartition("/")[2]]
    if "anyOf" in rule and all(any(violations(value, one, defined)) for one in rule["anyOf"]):
        yield f"{place} is none of {len(rule['anyOf'])}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{place} is not one of {rule['enum']}"
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if "type" in rule and not isinstance(value, kinds.get(rule["type"], type(None))):
        yield f"{place} is no {rule['type']}"
    for name in rule.get("required", ()):
        if name not in value:
            yield f"{place} has no {name}"
    if isinstance(value, dict):
        for name, item in value.items():
            yield from violations(item, rule.get("properties", {}).get(name, {}), defined, f"{place}/{name}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from violations(item, rule.get("items", {}), defined, f"{place}/{index}")
