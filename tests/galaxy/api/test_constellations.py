"""Constellations over HTTP: submit, list, look at, cancel, pause and resume."""

import json
import math
from typing import Any

import pytest

from galaxy.api.gate import BODY_BYTES_MAX
from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import Node, line, star, waits
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio

NOBODY = "nobody-0123456789"


async def test_a_constellation_runs_and_its_results_flow_along_its_bindings(node: Node, laptop: Device):
    report = star("report", arguments={"text": {"$from": "fetch", "pointer": "/rows/0"}})
    constellation = await node.submit("fetch", report)

    first = await laptop.call()
    await laptop.succeed(first, {"rows": ["one"]})
    second = await laptop.call()
    await laptop.succeed(second, 7)

    picture = await node.constellation(constellation)
    assert (first.attempt, second.attempt) == (f"{constellation}/fetch#1", f"{constellation}/report#1")
    assert json.loads(bytes(second.arguments)) == {"text": "one"}
    assert picture["state"] == "succeeded"
    assert {star["id"]: star["result"] for star in picture["stars"]} == {"fetch": {"rows": ["one"]}, "report": 7}
    assert [line["implied"] for line in picture["lines"]] == [True]


async def test_the_answer_to_a_submission_says_where_the_constellation_is(node: Node):
    answer = await node.http.post("/v1/constellations", json={"name": "My Plan!", "stars": [star("a")]})

    body = answer.json()
    assert body["id"].startswith("my-plan-")
    assert body == {"id": body["id"], "name": "My Plan!", "state": "running", "revision": 1, "stars": 1}
    assert answer.headers["location"] == f"/v1/constellations/{body['id']}"
    assert (await node.http.get(answer.headers["location"])).headers["etag"] == '"1"'


REFUSED = {
    "cycle": ([star("a"), star("b")], [line("a", "b"), line("b", "a")], ""),
    "unknown star in a line": ([star("a")], [line("a", "b")], "/lines/0"),
    "line to itself": ([star("a")], [line("a", "a")], "/lines/0"),
    "line twice": ([star("a"), star("b")], [line("a", "b"), line("a", "b")], "/lines/1"),
    "star twice": ([star("a"), star("a")], [], "/stars/1"),
    "binding without its star": ([star("a", arguments={"x": {"$from": "b"}})], [], ""),
    "bad pointer": (
        [star("a"), star("b", arguments={"x": [{"$from": "a", "pointer": "x"}]})],
        [],
        "/stars/1/arguments/x/0/pointer",
    ),
    "bad escape": (
        [star("a"), star("b", arguments={"x/y": {"$from": "a", "pointer": "/~2"}})],
        [],
        "/stars/1/arguments/x~1y/pointer",
    ),
    "binding with more in it": ([star("a", arguments={"x": {"$from": "b", "y": 1}})], [], "/stars/0/arguments/x"),
    "binding to itself": ([star("a", arguments={"x": {"$from": "a"}})], [], "/stars/0/arguments"),
    "condition that does not parse": ([star("a"), star("b")], [line("a", "b", condition="1 +")], "/lines/0/condition"),
    "condition over something else": (
        [star("a"), star("b")],
        [line("a", "b", condition="x > 1")],
        "/lines/0/condition",
    ),
    "condition and another when": (
        [star("a"), star("b")],
        [line("a", "b", when="always", condition="true")],
        "/lines/0",
    ),
    "condition missing": ([star("a"), star("b")], [line("a", "b", when="condition")], "/lines/0"),
    "binding in a verification": (
        [star("a", verify={"tool": "look", "happened": "true", "arguments": {"x": {"$from": "b"}}})],
        [],
        "/stars/0/verify/arguments",
    ),
    "bad binding in a verification": (
        [star("a", verify={"tool": "look", "happened": "true", "arguments": {"x": {"$from": 1}}})],
        [],
        "/stars/0/verify/arguments/x",
    ),
    "two devices could act at once": (
        [star("a", disconnect={"lost_after_s": 5, "stop_after_s": 6})],
        [],
        "/stars/0/disconnect/stop_after_s",
    ),
    "a substitute for what happens once": (
        [star("a", effects="once", disconnect={"replace": True})],
        [],
        "/stars/0/disconnect/replace",
    ),
    "a hedge of what asks a person": ([star("a", effects="interactive", hedge=True)], [], "/stars/0/hedge"),
    "half a character": ([star("a", arguments={"x": "\ud800"})], [], "/stars/0/arguments"),
    "half a character in a key": ([star("a", arguments={"\ud800": 1})], [], "/stars/0/arguments"),
    "arguments too large": ([star("a", arguments={"x": "y" * 600_000})], [], "/stars/0/arguments"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_makes_no_constellation_is_refused_with_its_place(node: Node, name: str):
    stars, lines, place = REFUSED[name]
    async with nothing_recorded(node):
        body = json.dumps({"stars": stars, "lines": lines})
        answer = await node.http.post("/v1/constellations", content=body, headers=JSON)

    assert problem(answer, 422, "invalid-edit").get("place", "") == place


MALFORMED = {
    "unknown field": ({"stars": [star("a", tol="x")]}, "/stars/0/tol"),
    "wrong type": ({"stars": [star("a", priority="high")]}, "/stars/0/priority"),
    "bad name": ({"stars": [star("../a")]}, "/stars/0/id"),
    "name with a line end": ({"stars": [star("a\n")]}, "/stars/0/id"),
    "out of bounds": ({"stars": [star("a", retry={"attempts": 0})]}, "/stars/0/retry/attempts"),
    "half a character": ({"stars": [star("a", title="\ud800")]}, "/stars/0/title"),
    "half a character in a name": ({"stars": [star("a")], "\ud800": 1}, ""),
    "nul in a text": ({"name": "a\0b", "stars": [star("a")]}, "/name"),
    "not an object": ([], ""),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_body_is_refused_with_a_pointer_into_it(node: Node, name: str):
    body, place = MALFORMED[name]
    async with nothing_recorded(node):
        answer = await node.http.post("/v1/constellations", content=json.dumps(body), headers=JSON)

    refusal = problem(answer, 422, "invalid-request")
    assert refusal["place"] == place
    assert refusal["errors"][0]["place"] == place


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"stars": []}, "/stars"),
        ({"name": "x"}, "/stars"),
        ({"stars": [{"id": "a"}]}, "/stars/0/tool"),
        ({"stars": [star("a", instruction={"text": "do it"})]}, "/stars/0/tool"),
    ],
)
async def test_what_is_neither_stars_nor_a_goal_is_refused_with_its_place(node: Node, body: Any, place: str):
    async with nothing_recorded(node):
        answer = await node.http.post("/v1/constellations", json=body)

    assert problem(answer, 422, "invalid-edit")["place"] == place


JSON = {"Content-Type": "application/json"}

BOMBS = {
    "not json": (b"{", 422),
    "empty": (b"", 422),
    "not utf-8": (b'{"stars": "\xff"}', 400),
    "nested without end": (b'{"stars":' + b"[" * 100_000, 400),
    "nested within limits of the parser": (b'{"stars":[{"id":"a","tool":"x","arguments":{"x":%b}}]}', 422),
    "a number without end": (b'{"stars":[{"id":"a","tool":"x","arguments":{"x":1%b}}]}' % (b"0" * 9_000), 400),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_body_that_is_a_bomb_is_refused_like_any_other(node: Node, name: str):
    body, status = BOMBS[name]
    async with nothing_recorded(node):
        body = body.replace(b"%b", b"[" * 300 + b"]" * 300)
        answer = await node.http.post("/v1/constellations", content=body, headers=JSON)

    refusal = problem(answer, status, answer.json()["type"].rpartition(":")[2])
    assert "place" not in refusal or not refusal["place"].strip("/").isdecimal(), "a position is no pointer"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_a_number_that_json_does_not_have_is_refused_and_not_made_null(node: Node, number: str):
    body = json.dumps({"stars": [star("a", arguments={"x": [None, "?"]})]}).replace('"?"', number)
    async with nothing_recorded(node):
        answer = await node.http.post("/v1/constellations", content=body, headers=JSON)

    assert problem(answer, 422, "invalid-edit")["place"] == "/stars/0/arguments/x/1"


@pytest.mark.parametrize("field", ["backoff_s", "factor"])
async def test_a_policy_that_is_not_a_number_is_refused(node: Node, field: str):
    body = json.dumps({"stars": [star("a", retry={field: math.nan})]})
    answer = await node.http.post("/v1/constellations", content=body, headers=JSON)

    assert problem(answer, 422, "invalid-request")["place"] == f"/stars/0/retry/{field}"


async def test_a_body_over_4_mib_is_refused(node: Node):
    async with nothing_recorded(node):
        answer = await node.http.post("/v1/constellations", content=b" " * (BODY_BYTES_MAX + 1), headers=JSON)

    problem(answer, 413, "body-too-large")


async def test_a_body_over_4_mib_that_does_not_say_so_is_refused(node: Node):
    async def pieces() -> Any:
        for _ in range(5):
            yield b" " * (1 << 20)

    answer = await node.http.post("/v1/constellations", content=pieces(), headers=JSON)

    problem(answer, 413, "body-too-large")


async def test_more_stars_than_a_constellation_may_have_are_refused(node: Node):
    stars = ",".join(f'{{"id":"s{n}","tool":"x"}}' for n in range(100_001))
    async with nothing_recorded(node):
        answer = await node.http.post("/v1/constellations", content=f'{{"stars":[{stars}]}}', headers=JSON)

    assert problem(answer, 422, answer.json()["type"].rpartition(":")[2])["place"] == "/stars"


async def test_what_is_unknown_is_not_found_whatever_is_asked_of_it(node: Node):
    at = f"/v1/constellations/{NOBODY}"
    edit = {"operations": [{"op": "skip", "id": "a"}]}
    async with nothing_recorded(node):
        answers = [
            *[await node.http.get(f"{at}{path}") for path in ("", "/events", "/stars/a")],
            *[await node.http.post(f"{at}{path}") for path in (":cancel", ":pause", ":resume")],
            *[await node.http.post(f"{at}/stars/a:{verb}") for verb in ("retry", "skip")],
            await node.http.post(f"{at}/edits", json=edit),
        ]

    for answer in answers:
        problem(answer, 404, "unknown-id")


@pytest.mark.parametrize("odd", ["%00", "%FF", "..%2F..", "a%2Fb", "~fleet", "x" * 4_000, "%ED%A0%80"])
async def test_an_id_that_cannot_be_one_is_not_found(node: Node, odd: str):
    answer = await node.http.get(f"/v1/constellations/{odd}")

    assert problem(answer, 404, answer.json()["type"].rpartition(":")[2])


async def test_an_ended_constellation_is_shown_but_does_not_change(node: Node):
    constellation = await node.submit("a")
    await node.http.post(f"/v1/constellations/{constellation}:cancel", json={"reason": "enough"})
    edit = {"operations": [{"op": "skip", "id": "a"}]}
    async with nothing_recorded(node):
        picture = await node.constellation(constellation)
        refused = [
            *[await node.http.post(f"/v1/constellations/{constellation}:{v}") for v in ("cancel", "pause", "resume")],
            *[await node.http.post(f"/v1/constellations/{constellation}/stars/a:{v}") for v in ("retry", "skip")],
            await node.http.post(f"/v1/constellations/{constellation}/edits", json=edit),
        ]

    assert (picture["state"], picture["cancelled"]) == ("cancelled", "enough")
    assert [star["cause"] for star in picture["stars"]] == ["enough"]
    for answer in refused:
        problem(answer, 409, "ended")


async def test_of_ended_constellations_only_the_last_ones_read_are_kept(node: Node):
    ended = [await node.submit("a") for _ in range(10)]
    for constellation in ended:
        await node.http.post(f"/v1/constellations/{constellation}:cancel")
    node.parts.ended.clear()
    for constellation in [*ended[:8], ended[0], *ended[8:]]:
        await node.constellation(constellation)

    assert list(node.parts.ended) == [*ended[3:8], ended[0], *ended[8:]]


async def test_a_constellation_that_runs_is_cancelling_until_its_device_has_stopped(node: Node, laptop: Device):
    constellation = await node.submit("a", "b", lines=["a -> b"])
    call = await laptop.call()
    answer = await node.http.post(f"/v1/constellations/{constellation}:cancel", json={"reason": "enough"})

    assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")
    again = await node.http.post(f"/v1/constellations/{constellation}:cancel")
    assert "is being cancelled" in problem(again, 409, "conflict")["detail"]
    await laptop.fail(call, "stopped")
    assert await node.states(constellation) == {"a": "cancelled", "b": "cancelled"}
    assert (await node.constellation(constellation))["state"] == "cancelled"


async def test_a_paused_constellation_starts_nothing_until_it_is_resumed(node: Node, laptop: Device):
    constellation = await node.submit("a", "b", lines=["a -> b"])
    call = await laptop.call()
    paused = await node.http.post(f"/v1/constellations/{constellation}:pause", json={"reason": "lunch"})
    twice = await node.http.post(f"/v1/constellations/{constellation}:pause")
    await laptop.succeed(call)
    waiting = await node.http.get(f"/v1/constellations/{constellation}/stars/b")
    resumed = await node.http.post(f"/v1/constellations/{constellation}:resume")
    not_paused = await node.http.post(f"/v1/constellations/{constellation}:resume")

    assert (paused.status_code, paused.json()["state"], paused.json()["paused"]) == (200, "paused", "lunch")
    problem(twice, 409, "conflict")
    assert waiting.json()["wait"]["reason"] == "the constellation is paused: lunch"
    assert (resumed.status_code, resumed.json()["state"]) == (200, "running")
    problem(not_paused, 409, "conflict")
    assert (await laptop.call()).attempt == f"{constellation}/b#1"


async def test_a_constellation_that_a_failure_paused_is_listed_as_paused(node: Node, laptop: Device):
    constellation = await node.submit(star("a", on_failure="pause"))
    await laptop.fail(await laptop.call())

    listed = (await node.http.get("/v1/constellations?state=paused")).json()["items"]
    assert [one["id"] for one in listed] == [constellation]


async def test_a_list_is_read_in_pages_the_newest_first(node: Node):
    made = [await node.submit("a", name=f"n{n}") for n in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = (await node.http.get("/v1/constellations", params={"limit": 2, "cursor": cursor})).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]

    assert seen == list(reversed(made))


@pytest.mark.parametrize(
    "query", ["cursor=!!!", "cursor=e30", "cursor=WzEsIlx1MDAwMCJd", "cursor=%C3%A9", "limit=0", "limit=x", "state=odd"]
)
async def test_a_query_that_makes_no_sense_is_refused_with_its_name(node: Node, query: str):
    answer = await node.http.get(f"/v1/constellations?{query}")

    assert problem(answer, 422, "invalid-request")["place"] == f"query:{query.partition('=')[0]}"


async def test_an_analysis_comes_along_when_it_is_asked_for(node: Node):
    constellation = await node.submit("a", "b", "c", lines=["a -> b"])
    answer = await node.http.get(f"/v1/constellations/{constellation}?include=analysis")

    assert answer.json()["analysis"] == {"critical_path": ["a", "b"], "critical_path_s": 2.0, "depth": 2, "width": 2}
    problem(await node.http.get(f"/v1/constellations/{constellation}?include=x"), 422, "invalid-request")


async def test_what_is_shown_is_safe_to_act_on(node: Node, laptop: Device):
    """While the store writes, a reader waits; it never sees what a crash could take back."""
    constellation = await node.submit("a")
    node.store.shut()
    pausing = node.start(node.http.post(f"/v1/constellations/{constellation}:pause"))
    await node.store.tries.get()
    paths = (f"/v1/constellations/{constellation}", f"/v1/constellations/{constellation}/stars/a", "/v1/devices")
    reading = [node.start(node.http.get(path)) for path in paths]

    assert [await waits(task) for task in (pausing, *reading)] == [True] * 4
    node.store.open()
    assert (await reading[0]).json()["paused"] == "paused"


async def test_what_is_recorded_is_shown_while_something_else_waits(node: Node):
    constellation = await node.submit("a")
    node.store.shut()
    node.start(node.http.post(f"/v1/constellations/{constellation}:pause"))
    await node.store.tries.get()

    assert (await node.http.get(f"/v1/constellations/{constellation}/events")).json()["next"] == 1
    assert (await node.http.get("/v1/constellations")).json()["items"][0]["state"] == "running"
    node.store.open()
