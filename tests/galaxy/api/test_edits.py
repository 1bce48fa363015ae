"""Edits of a constellation, and what a person does to one star: all of it against a revision, whole or refused."""

from typing import Any

import httpx2
import pytest

from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import Node, line, star
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio


async def edited(node: Node, constellation: str, *operations: Any, headers: Any = None, **more: Any) -> httpx2.Response:
    body = {"operations": list(operations), **more}
    return await node.http.post(f"/v1/constellations/{constellation}/edits", json=body, headers=headers)


def add(star_id: str, **more: Any) -> dict[str, Any]:
    return {"op": "add_star", "star": star(star_id, **more)}


async def test_every_operation_of_an_edit_takes_place_in_its_order(node: Node, laptop: Device):
    constellation = await node.submit("run", "a", "b", "c", lines=["run -> a", "run -> b", "run -> c"])
    await laptop.call()
    answer = await edited(
        node,
        constellation,
        add("d"),
        {"op": "update_star", "star": star("a", title="new")},
        {"op": "add_line", "line": line("a", "d")},
        {"op": "update_line", "line": line("a", "d", when="always")},
        {"op": "remove_line", "source": "run", "target": "b"},
        {"op": "remove_star", "id": "c"},
        {"op": "skip", "id": "b", "reason": "not now"},
        {"op": "supersede", "id": "run", "star": star("again")},
        base=1,
        reason="to see",
    )

    assert answer.json() == {"id": constellation, "revision": 2}
    picture = await node.constellation(constellation)
    stars = {one["id"]: one for one in picture["stars"]}
    assert (stars["a"]["title"], stars["b"]["cause"], "c" in stars) == ("new", "not now", False)
    assert stars["run"]["stopping"] == "superseded by again"
    assert ("a", "d", "always") in {(one["source"], one["target"], one["when"]) for one in picture["lines"]}


async def test_an_edit_against_an_old_revision_is_refused_however_it_names_it(node: Node):
    constellation = await node.submit("a")
    await edited(node, constellation, add("b"), base=1)
    async with nothing_recorded(node):
        refused = [
            await edited(node, constellation, add("c"), base=1),
            await edited(node, constellation, add("c"), headers={"If-Match": '"1"'}),
            await edited(node, constellation, add("c"), headers={"If-Match": 'W/"1"'}),
            await edited(node, constellation, add("c"), headers={"If-Match": "0"}),
            await edited(node, constellation, add("c"), base=10**30),
        ]

    for answer in refused:
        assert problem(answer, 409, "stale-revision")["revision"] == 2


async def test_an_edit_against_the_last_revision_is_taken_however_it_names_it(node: Node):
    constellation = await node.submit("a")
    answers = [
        await edited(node, constellation, add("b"), headers={"If-Match": '"1"'}),
        await edited(node, constellation, add("c"), headers={"If-Match": "*"}),
        await edited(node, constellation, add("d")),
    ]

    assert [answer.json()["revision"] for answer in answers] == [2, 3, 4]


@pytest.mark.parametrize("revision", ["one", "-1", "1.0", "9" * 5_000, '"1", "2"'])
async def test_an_if_match_that_is_no_revision_is_refused(node: Node, revision: str):
    constellation = await node.submit("a")
    async with nothing_recorded(node):
        answer = await edited(node, constellation, add("b"), headers={"If-Match": revision})

    assert problem(answer, 422, "invalid-request")["place"] == "header:if-match"


async def test_an_edit_of_what_has_started_is_refused_and_changes_nothing(node: Node, laptop: Device):
    constellation = await node.submit("a", "b", lines=["a -> b"])
    await laptop.call()
    before = await node.constellation(constellation)
    touching = [
        {"op": "update_star", "star": star("a", title="new")},
        {"op": "remove_star", "id": "a"},
        {"op": "skip", "id": "a"},
        {"op": "add_line", "line": line("c", "a")},
    ]
    async with nothing_recorded(node):
        refused = [await edited(node, constellation, add("c"), operation) for operation in touching]

    for answer in refused:
        assert problem(answer, 422, "invalid-edit")["place"].startswith("/operations/1")
    assert await node.constellation(constellation) == before


REFUSED = {
    "cycle": ([{"op": "add_line", "line": line("b", "a")}], None),
    "removed though bound to": ([{"op": "remove_star", "id": "a"}, add("c", arguments={"x": {"$from": "a"}})], None),
    "added twice": ([add("c"), add("c")], "/operations/1"),
    "bad pointer": (
        [add("c", arguments={"x": {"$from": "a", "pointer": "x"}})],
        "/operations/0/star/arguments/x/pointer",
    ),
    "not cel": ([{"op": "add_line", "line": line("a", "b", condition="(")}], "/operations/0/line/condition"),
    "retry of what does not wait": ([{"op": "retry", "id": "a"}], "/operations/0"),
    "supersede what does not run": ([{"op": "supersede", "id": "a", "star": star("c")}], "/operations/0"),
    "unknown star": ([{"op": "skip", "id": "x"}], "/operations/0"),
    "unknown line": ([{"op": "remove_line", "source": "b", "target": "a"}], "/operations/0"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_would_break_the_constellation_is_refused_whole(node: Node, name: str):
    operations, place = REFUSED[name]
    constellation = await node.submit("a", "b", lines=["a -> b"])
    async with nothing_recorded(node):
        answer = await edited(node, constellation, *operations)

    refusal = problem(answer, 422, "invalid-edit")
    assert place is None or refusal["place"].startswith(place), refusal


@pytest.mark.parametrize(
    ("operation", "place"),
    [
        ({"op": "add_star"}, "/operations/0/star"),
        ({"op": "add_star", "star": {"tool": "x"}}, "/operations/0/star/id"),
        ({"op": "add_star", "star": star("x"), "more": 1}, "/operations/0/more"),
        ({"op": "explode"}, "/operations/0"),
        ({}, "/operations/0"),
        (7, "/operations/0"),
    ],
)
async def test_a_malformed_operation_is_refused_with_a_pointer_into_the_body(node: Node, operation: Any, place: str):
    constellation = await node.submit("a")
    async with nothing_recorded(node):
        answer = await edited(node, constellation, operation)

    assert problem(answer, 422, "invalid-request")["place"] == place


async def test_no_operations_are_no_edit_and_too_many_are_refused(node: Node):
    constellation = await node.submit("a")
    async with nothing_recorded(node):
        none = await edited(node, constellation)
        many = await edited(node, constellation, *[{"op": "skip", "id": "a"}] * 10_001)

    for answer in (none, many):
        assert problem(answer, 422, "invalid-request")["place"] == "/operations"


async def test_of_two_edits_against_one_revision_the_second_is_refused(node: Node):
    constellation = await node.submit("a")
    node.store.shut()
    first = node.start(edited(node, constellation, add("b"), base=1))
    await node.store.tries.get()
    second = node.start(edited(node, constellation, add("c"), base=1))
    node.store.open()

    assert (await first).status_code == 200
    problem(await second, 409, "stale-revision")
