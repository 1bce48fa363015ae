"""The history of a constellation: who changed what, taking it back, going on elsewhere, asking another planner."""

import asyncio
from typing import Any

import pytest

from galaxy.api.dry_run import dry_run
from galaxy.core.edit import AddLine, AddStar, Edit
from galaxy.core.events import ConstellationEdited, UsageReserved, UsageSettled
from galaxy.core.goal import Usage
from galaxy.core.star import Line, Star
from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import Node, star
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio

KEY = {"Idempotency-Key": "k"}
ASKED = {"planner": "external", "when": "on_failure", "repair": False, "debounce_s": 0}


async def edited(node: Node, constellation: str, *operations: Any, **more: Any) -> None:
    body = {"operations": list(operations), **more}
    answer = await node.http.post(f"/v1/constellations/{constellation}/edits", json=body)
    assert answer.status_code == 200, answer.text


async def got(node: Node, constellation: str, path: str) -> Any:
    answer = await node.http.get(f"/v1/constellations/{constellation}/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def act(node: Node, constellation: str, verb: str, body: Any = None, headers: Any = None) -> Any:
    return await node.http.post(f"/v1/constellations/{constellation}:{verb}", json=body, headers=headers)


async def consulted(node: Node, laptop: Device) -> str:
    """Return a constellation whose star `a` has failed, about which a planner was asked at some cost."""
    constellation = await node.submit("a", "b", lines=["a -> b"], planning=ASKED)
    await laptop.fail(await laptop.call())
    watcher = node.runner.watch(constellation)
    while "consult_opened" not in node.store.kinds(constellation):
        watcher.clear()
        await watcher.wait()
    await node.parts.tell(UsageReserved(at=node.clock(), constellation=constellation, call="x", tokens=9, consult=1))
    usage = Usage("m", tokens_in=5, tokens_out=2, money=0.5, took_s=1.5)
    await node.parts.tell(UsageSettled(at=node.clock(), constellation=constellation, call="x", usage=usage, consult=1))
    body = {"operations": [{"op": "retry", "id": "a"}], "reason": "once more"}
    answer = await node.http.post(f"/v1/constellations/{constellation}/consults/1/answer", json=body)
    assert answer.status_code == 200, answer.text
    return constellation


async def test_each_revision_tells_who_made_it_why_and_what_it_cost(node: Node, laptop: Device):
    constellation = await consulted(node, laptop)
    first, second = (await got(node, constellation, "revisions"))["items"]

    assert (first["revision"], first["by"], first["operations"], first["cost"]) == (
        1,
        "api",
        {"add_star": 2, "add_line": 1},
        None,
    )
    assert (second["by"], second["reason"], second["operations"]) == ("planner:external", "once more", {"retry": 1})
    assert (second["consult"], [(one["kind"], one["star"]) for one in second["facts"]]) == (1, [("failed", "a")])
    assert second["cost"] == {"tokens_in": 5, "tokens_out": 2, "money": 0.5, "calls": 1, "seconds": 1.5}
    assert (second["base"], second["rebased"]) == (1, False)


async def test_revisions_come_in_pages_and_an_ended_constellation_has_them_too(node: Node):
    constellation = await node.submit("a")
    await edited(node, constellation, {"op": "add_star", "star": star("b")})
    await act(node, constellation, "cancel")
    page = await got(node, constellation, "revisions?limit=1")
    rest = await got(node, constellation, f"revisions?after={page['next']}")

    assert [one["revision"] for one in (*page["items"], *rest["items"])] == [1, 2]
    assert rest["next"] is None
    problem(await node.http.get("/v1/constellations/nobody/revisions"), 404, "unknown-id")


async def test_a_difference_shows_each_field_before_and_after(node: Node):
    constellation = await node.submit("a", "b", "c", lines=["a -> b"])
    await edited(
        node,
        constellation,
        {"op": "update_star", "star": star("a", title="new")},
        {"op": "update_line", "line": {"source": "a", "target": "b", "when": "always"}},
        {"op": "add_star", "star": star("d", arguments={"x": {"$from": "a"}})},
        {"op": "remove_star", "id": "c"},
        {"op": "skip", "id": "b", "reason": "not now"},
    )
    found = await got(node, constellation, "revisions/2/diff")

    assert found["stars"]["changed"] == [{"id": "a", "fields": {"title": {"before": "", "after": "new"}}}]
    assert [one["id"] for one in found["stars"]["added"]] == ["d"]
    assert [one["id"] for one in found["stars"]["removed"]] == ["c"]
    assert found["lines"]["changed"][0]["fields"] == {"when": {"before": "success", "after": "always"}}
    assert [(one["source"], one["implied"]) for one in found["lines"]["added"]] == [("a", True)]
    assert found["skipped"] == [{"id": "b", "reason": "not now"}]
    assert len((await got(node, constellation, "revisions/1/diff"))["stars"]["added"]) == 3
    problem(await node.http.get(f"/v1/constellations/{constellation}/revisions/3/diff"), 404, "unknown-id")


async def test_the_last_revision_is_taken_back_once_for_the_same_key(node: Node):
    constellation = await node.submit("a")
    await edited(node, constellation, {"op": "add_star", "star": star("b")})
    answers = [await act(node, constellation, "undo", headers=KEY) for _ in range(2)]

    assert [one.json() for one in answers] == [{"id": constellation, "revision": 3, "undone": 2}] * 2
    assert await node.states(constellation) == {"a": "ready"}
    assert (await got(node, constellation, "revisions"))["items"][2]["reason"] == "undo of revision 2"


async def test_edits_of_the_same_moment_are_each_told_the_revision_that_they_made(node: Node):
    """Each has looked at the constellation before any of them was made."""
    constellation = await node.submit("a")
    await edited(node, constellation, {"op": "add_star", "star": star("b")})
    adding = [
        {"base": 2, "rebase": True, "operations": [{"op": "add_star", "star": star(name)}]} for name in ("x", "y", "z")
    ]
    url = f"/v1/constellations/{constellation}/edits"
    async with asyncio.TaskGroup() as tasks:
        made = [
            tasks.create_task(node.http.post(url, json=body, headers={"Idempotency-Key": f"k{n}"}))
            for n, body in enumerate(adding)
        ]
        made.append(tasks.create_task(act(node, constellation, "undo", {"revision": 2}, KEY)))
    answers = [one.result().json() for one in made]
    changed = {number: (await got(node, constellation, f"revisions/{number}/diff"))["stars"] for number in range(3, 7)}

    assert [[new["id"] for new in changed[said["revision"]]["added"]] for said in answers] == [["x"], ["y"], ["z"], []]
    assert [gone["id"] for gone in changed[answers[3]["revision"]]["removed"]] == ["b"]
    again = await node.http.post(url, json=adding[2], headers={"Idempotency-Key": "k2"})
    assert again.json() == answers[2]


async def test_an_older_revision_is_taken_back_only_while_nothing_it_names_has_changed(node: Node):
    constellation = await node.submit("a")
    await edited(node, constellation, {"op": "update_star", "star": star("a", title="one")})
    await edited(node, constellation, {"op": "add_star", "star": star("b")})
    await edited(node, constellation, {"op": "update_star", "star": star("b", title="two")})
    fine = await act(node, constellation, "undo", {"revision": 2, "reason": "no"})
    async with nothing_recorded(node):
        late = await act(node, constellation, "undo", {"revision": 3})

    assert fine.json()["revision"] == 5
    assert "changed by revision 4" in problem(late, 409, "conflict")["detail"]


async def test_what_cannot_be_taken_back_is_a_conflict_that_says_so(node: Node):
    constellation = await node.submit("a", "b")
    await edited(node, constellation, {"op": "skip", "id": "b"})
    async with nothing_recorded(node):
        skipped = await act(node, constellation, "undo")
        submitted = await act(node, constellation, "undo", {"revision": 1})
        unknown = await act(node, constellation, "undo", {"revision": 9})

    assert "skip" in problem(skipped, 409, "conflict")["detail"]
    assert "submission" in problem(submitted, 409, "conflict")["detail"]
    problem(unknown, 404, "unknown-id")


async def test_a_fork_of_an_ended_constellation_does_only_what_has_not_succeeded(node: Node, laptop: Device):
    b = star("b", arguments={"x": {"$from": "a", "pointer": "/n"}})
    constellation = await node.submit("a", b)
    await laptop.succeed(await laptop.call(), {"n": 7})
    await laptop.fail(await laptop.call())
    answer = await act(node, constellation, "fork", {"name": "again"}, KEY)

    out = answer.json()
    assert (answer.status_code, out["kept"], out["stars"], out["origin"]) == (201, 1, 2, f"{constellation}@1")
    assert (await act(node, constellation, "fork", {"name": "again"}, KEY)).json() == out
    call = await laptop.call()
    assert (call.attempt, bytes(call.arguments)) == (f"{out['id']}/b#1", b'{"x":7}')


async def test_a_fork_from_a_star_does_it_and_all_behind_it_anew(node: Node, laptop: Device):
    constellation = await node.submit("a", "b", "c", "d", lines=["b -> c"])
    for _ in range(4):
        await laptop.succeed(await laptop.call(), 1)
    out = (await act(node, constellation, "fork", {"star": "b"})).json()

    assert (out["kept"], out["name"]) == (2, "c")
    states = await node.states(out["id"])
    assert (states["a"], states["c"], states["d"]) == ("succeeded", "waiting", "succeeded")
    problem(await act(node, constellation, "fork", {"star": "nobody"}), 404, "unknown-id")


async def test_a_fork_from_a_revision_keeps_results_of_stars_that_were_written_the_same(node: Node):
    constellation = await node.submit("a", "b")
    await edited(node, constellation, {"op": "update_star", "star": star("a", title="new")})
    await edited(node, constellation, {"op": "remove_star", "id": "b"})
    out = (await act(node, constellation, "fork", {"revision": 2})).json()

    assert (out["kept"], out["origin"]) == (0, f"{constellation}@2")
    picture = await node.constellation(out["id"])
    assert {one["id"]: one["title"] for one in picture["stars"]} == {"a": "new", "b": ""}


async def test_a_dry_run_says_what_would_change_and_changes_nothing(node: Node, laptop: Device):
    constellation = await node.submit("a")
    await laptop.call()
    found = node.open(constellation)
    operations = (AddStar(Star("b", "work")), AddStar(Star("c", "fly")), AddLine(Line("a", "b")))
    event = ConstellationEdited(at=node.clock(), constellation=constellation, base=1, edit=Edit(operations))
    async with nothing_recorded(node):
        said = dry_run(node.parts, found, event)

    assert [one["id"] for one in said["diff"]["stars"]["added"]] == ["b", "c"]
    assert said["placement"]["b"]["candidates"] == ["laptop"]
    assert said["placement"]["c"]["candidates"] == []
    assert (said["before"]["stars"], said["after"]["stars"], said["revision"]) == (1, 3, 2)
    assert (said["after"]["critical_path"], said["after"]["slots"]) == (["a", "b"], 4)
    assert list(found.courses) == ["a"]


async def test_a_backtest_compares_answers_and_records_nothing(node: Node, laptop: Device):
    constellation = await consulted(node, laptop)
    async with nothing_recorded(node):
        answer = await act(node, constellation, "backtest", {"planner": "repair", "when": "never"})
        problem(await act(node, constellation, "backtest", {"planner": "nobody"}), 422, "invalid-request")

    found = answer.json()
    (question,) = found["questions"]
    assert found["note"].startswith("teacher-forced")
    assert (question["recorded"]["answer"], question["proposed"]["answer"]) == ("edit", "no_answer")
    assert question["recorded"]["cost"]["tokens_in"] == 5
    assert (question["same"], question["proposed"]["accepted"], question["would_be_asked"]) == (False, None, False)
    assert question["difference"]["only_recorded"] == [{"op": "retry", "id": "a"}]
    assert (found["totals"]["not_asked"], found["totals"]["held_s"]) == (1, found["totals"]["held_s_not_asked"])
    assert question["cut"]["stars"] == ["a"]
    assert found["when"] == "never"
