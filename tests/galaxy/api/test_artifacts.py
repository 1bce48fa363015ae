"""Artifacts over HTTP: in pieces, by ranges, and for whom."""

import hashlib
from collections.abc import AsyncIterator

import httpx2
import pytest

from galaxy.api.gate import PIECE_BYTES_MAX
from galaxy.artifacts import ARTIFACT_BYTES_MAX
from tests.galaxy.api.asgi import BEARER, Exchange
from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import URL, Node
from tests.galaxy.api.problems import problem

pytestmark = pytest.mark.asyncio

BYTES = b"ten bytes!"
NAME = hashlib.sha256(BYTES).hexdigest()
PATH = f"/v1/artifacts/{NAME}"


async def put(node: Node, content: bytes, content_range: str = "", **headers: str) -> httpx2.Response:
    if content_range:
        headers["Content-Range"] = content_range
    return await node.http.put(PATH, content=content, headers=headers)


async def test_an_artifact_is_kept_under_the_digest_of_its_bytes(node: Node):
    missing = await node.http.head(PATH)
    answer = await put(node, BYTES, **{"Content-Type": "text/plain"})
    head, back = await node.http.head(PATH), await node.http.get(PATH)

    assert (missing.status_code, missing.headers["upload-offset"]) == (404, "0")
    assert (answer.status_code, answer.json()) == (201, {"sha256": NAME, "bytes": 10, "complete": True})
    assert (head.status_code, head.headers["content-length"], head.headers["etag"]) == (200, "10", f'"{NAME}"')
    assert back.content == BYTES


async def test_what_a_device_sent_is_never_shown_as_a_page(node: Node):
    await put(node, BYTES, **{"Content-Type": "text/html"})
    headers = (await node.http.get(PATH)).headers

    assert headers["content-disposition"] == f'attachment; filename="{NAME}"'
    assert (headers["x-content-type-options"], headers["content-security-policy"]) == ("nosniff", "sandbox")


async def test_a_piece_goes_on_where_the_last_one_ended(node: Node):
    first = await put(node, BYTES[:4], "bytes 0-3/10")
    offset = (await node.http.head(PATH)).headers["upload-offset"]
    hidden = await node.http.get(PATH)
    second = await put(node, BYTES[4:], "bytes 4-9/10")

    assert (first.status_code, first.headers["upload-offset"], offset) == (202, "4", "4")
    assert first.json() == {"sha256": NAME, "bytes": 4, "complete": False}
    problem(hidden, 404, "unknown-id")
    assert (second.status_code, second.json()["complete"]) == (201, True)
    assert (await node.http.get(PATH)).content == BYTES


@pytest.mark.parametrize("start", [0, 3, 5, 9])
async def test_a_piece_that_begins_elsewhere_is_told_where_to_begin(node: Node, start: int):
    await put(node, BYTES[:4], "bytes 0-3/10")
    answer = await put(node, BYTES[start:], f"bytes {start}-9/10")

    assert problem(answer, 409, "wrong-offset")["offset"] == 4
    assert (await put(node, BYTES[4:], "bytes 4-9/10")).status_code == 201


async def test_wrong_bytes_are_dropped_and_may_be_sent_again(node: Node):
    wrong = await put(node, b"not those.")
    more = await put(node, BYTES + b"?", "bytes 0-9/10")
    offset = (await node.http.head(PATH)).headers["upload-offset"]

    problem(wrong, 422, "wrong-bytes")
    problem(more, 422, "wrong-bytes")
    assert offset == "0"
    assert (await put(node, BYTES)).status_code == 201


async def test_what_is_here_is_not_taken_twice_and_is_described_as_it_is(node: Node):
    await put(node, BYTES)
    again = await put(node, b"x" * 99)

    assert (again.status_code, again.json()) == (201, {"sha256": NAME, "bytes": 10, "complete": True})
    assert (await node.http.get(PATH)).content == BYTES


async def test_no_bytes_at_all_are_an_artifact_too(node: Node):
    name = hashlib.sha256(b"").hexdigest()

    assert (await node.http.put(f"/v1/artifacts/{name}", content=b"")).status_code == 201
    assert (await node.http.get(f"/v1/artifacts/{name}")).content == b""


async def test_bytes_that_are_gone_from_the_disk_are_missing_and_may_be_sent_again(node: Node):
    await put(node, BYTES)
    node.parts.artifacts.path(NAME).unlink()

    problem(await node.http.get(PATH), 404, "unknown-id")
    assert (await put(node, BYTES)).status_code == 201
    assert (await node.http.get(PATH)).content == BYTES


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-2", 206, b"ten"),
        ("bytes=4-", 206, b"bytes!"),
        ("bytes=-1", 206, b"!"),
        ("bytes=0-0,9-9", 206, None),
        ("bytes=10-", 416, None),
        ("bytes=5-1", 416, None),
        ("bytes=x", 416, None),
        ("lines=0-1", 416, None),
    ],
)
async def test_a_range_is_given_or_refused_as_a_problem(node: Node, asked: str, status: int, content: bytes | None):
    await put(node, BYTES)
    answer = await node.http.get(PATH, headers={"Range": asked})

    assert answer.status_code == status
    if status == 416:
        problem(answer, 416, "bad-range")
        assert answer.headers["content-range"] == "bytes */10"
    elif content is not None:
        assert answer.content == content


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-3", "bytes a-b/c", "0-3/10", f"bytes 0-3/{'9' * 5_000}", "bytes 0-3/10\u00b2", "bytes 0-3/*"],
)
async def test_a_content_range_that_is_none_is_refused(node: Node, content_range: str):
    raw = [(b"content-range", content_range.encode("latin-1"))]
    answer = await node.http.put(PATH, content=BYTES[:4], headers=raw)

    assert problem(answer, 422, "invalid-request")["place"] == "header:content-range"


async def test_more_than_an_artifact_may_be_is_refused(node: Node):
    whole = await put(node, BYTES, f"bytes 0-9/{ARTIFACT_BYTES_MAX + 1}")
    piece = await put(node, b" " * (PIECE_BYTES_MAX + 1), f"bytes 0-{PIECE_BYTES_MAX}/{PIECE_BYTES_MAX + 1}")

    problem(whole, 413, "too-large")
    problem(piece, 413, "body-too-large")
    assert (await node.http.head(PATH)).headers["upload-offset"] == "0"


async def test_what_arrived_before_a_connection_broke_is_kept(node: Node):
    broken = Exchange(node, PATH, BEARER, ("content-range", "bytes 0-9/10"), ("content-length", "10"), method="PUT")
    broken.give(type="http.request", body=BYTES[:4], more_body=True)
    broken.disconnect()
    assert (await broken.next())["status"] == 400
    await broken.next()

    assert (await node.http.head(PATH)).headers["upload-offset"] == "4"
    assert (await put(node, BYTES[4:], "bytes 4-9/10")).status_code == 201


async def test_two_do_not_write_the_same_artifact_at_once(node: Node):
    first = Exchange(node, PATH, BEARER, ("content-length", "10"), method="PUT")
    first.give(type="http.request", body=BYTES[:4], more_body=True)
    while node.parts.artifacts.offset(NAME) == 0 and not node.parts.artifacts._taking:
        await node.runner.durable()
    second = await put(node, BYTES)
    first.give(type="http.request", body=BYTES[4:], more_body=False)

    problem(second, 409, "wrong-offset")
    assert (await first.next())["status"] == 201


@pytest.mark.parametrize(
    "name",
    ["", "x", NAME.upper(), NAME + "\n", NAME[:-1] + "g", "..%2F..%2Fetc%2Fpasswd", "incoming", f"incoming%2F{NAME}"],
)
async def test_nothing_but_a_digest_names_an_artifact(node: Node, name: str):
    await put(node, BYTES[:4], "bytes 0-3/10")
    for method in ("GET", "PUT"):
        answer = await node.http.request(method, f"/v1/artifacts/{name.replace(chr(10), '%0A')}")

        assert answer.status_code in (404, 422, 307), (method, answer.text)


async def test_a_media_type_cannot_smuggle_a_header(node: Node):
    raw = [(b"content-type", b"text/plain\r\nX-Evil: 1")]
    refused = await node.http.put(PATH, content=BYTES, headers=raw)
    answer = await node.http.get(PATH)

    assert "x-evil" not in answer.headers
    problem(refused, 422, "invalid-request")


async def test_a_device_may_come_with_the_token_of_its_session_and_only_for_artifacts(node: Node, laptop: Device):
    assert laptop.welcome
    as_device = {"Authorization": f"Bearer {laptop.welcome.artifact_token}"}
    async with httpx2.AsyncClient(transport=node.http._transport, base_url=URL, headers=as_device) as device:
        assert (await device.put(PATH, content=BYTES)).status_code == 201
        assert (await device.get(PATH)).content == BYTES
        for path in ("/v1/devices", "/v1/constellations", "/metrics", "/v1/artifacts", "/v1/artifacts/../devices"):
            assert (await device.get(path)).status_code == 401, path
        await node.http.post("/v1/devices/laptop:revoke")
        problem(await device.get(PATH), 401, "unauthorized")


async def test_the_token_of_an_earlier_session_is_worth_nothing(node: Node, laptop: Device):
    assert laptop.welcome
    old = laptop.welcome.artifact_token
    await laptop.cut()
    await laptop.connect()

    answer = await node.http.get(PATH, headers={"Authorization": f"Bearer {old}"})
    problem(answer, 401, "unauthorized")


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_body_of_unknown_length_needs_a_content_range(node: Node):
    refused = await node.http.put(PATH, content=pieces(BYTES))
    taken = await node.http.put(PATH, content=pieces(BYTES[:4], BYTES[4:]), headers={"Content-Range": "bytes 0-9/10"})

    problem(refused, 422, "wrong-bytes")
    assert taken.status_code == 201
