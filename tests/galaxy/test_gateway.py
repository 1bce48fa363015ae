"""Sessions with devices: who is let in, and what survives a socket."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from galaxy.journal import event_of
from protocol.codec import proof_of
from protocol.messages import Assign, Bye, Challenge, Report
from protocol.vocabulary import ByeCode, Effect, Held, Holding, Outcome
from tests.galaxy.api.devices import Device, connected, said, spec
from tests.galaxy.api.helpers import Node, a_node, star, waits

pytestmark = pytest.mark.asyncio

UNTIL_SILENT_S = 8.0  # a link without a word for so long is one whose end went unnoticed


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node(tmp_path) as node:
        yield node


# Who is let in.


async def test_a_device_that_signs_the_challenge_with_its_key_is_let_in(node: Node):
    laptop = await connected(node)

    assert laptop.welcome
    assert not laptop.welcome.resumed
    assert node.store.kinds("~fleet") == ["join_token_minted", "device_joined", "device_connected"]


async def greeted_with(node: Node, laptop: Device, **changed: Any) -> ByeCode:
    """Return how the node parts from a device whose greeting is changed in this way."""
    await laptop.dial()
    (challenge,) = laptop._socket.receive(await laptop._end.recv(), node.clock())
    assert isinstance(challenge, Challenge)
    laptop._socket.send(msgspec.structs.replace(laptop.hello(challenge), **changed))
    await laptop.flush()
    rows = node.store.rows()
    bye = await laptop.bye()
    assert node.store.rows() == rows, "an unknown caller is not recorded"
    return bye.code


def signed(laptop: Device, *, galaxy: str = "g1", nonce: str = "n", name: str = "", boot: str = "") -> str:
    proof = proof_of(galaxy, nonce, name or laptop.name, boot or laptop.boot)
    return base64.b64encode(laptop.key.sign(proof)).decode()


@pytest.mark.parametrize(
    "signature",
    [
        lambda laptop: "",
        lambda laptop: "not base64 \u00e9",
        lambda laptop: base64.b64encode(bytes(64)).decode(),
        lambda laptop: signed(laptop, nonce="of an earlier challenge"),
        lambda laptop: signed(laptop, galaxy="another galaxy"),
        lambda laptop: signed(laptop, boot="another boot"),
        lambda laptop: signed(laptop, name="another device"),
    ],
)
async def test_a_signature_of_anything_else_lets_nobody_in(node: Node, signature: Any):
    laptop = Device(node, "laptop")
    await laptop.join()

    assert await greeted_with(node, laptop, signature=signature(laptop)) is ByeCode.UNAUTHENTICATED


async def test_a_greeting_that_was_overheard_is_worth_nothing_on_another_socket(node: Node):
    laptop = await connected(node)
    overheard = laptop.hello(Challenge("g1", "of the first socket", 1, 1))

    assert await greeted_with(node, laptop, signature=overheard.signature) is ByeCode.UNAUTHENTICATED
    assert node.gateway._guests["laptop"].session.id == laptop.session.id, "the device itself is not disturbed"


async def test_the_key_of_one_device_is_not_good_for_another(node: Node):
    laptop, tower = Device(node, "laptop"), Device(node, "tower")
    await laptop.join()
    await tower.join()

    assert await greeted_with(node, laptop, device="tower") is ByeCode.UNAUTHENTICATED


async def test_who_has_not_joined_or_was_revoked_is_told_not_to_come_again(node: Node):
    stranger, laptop = Device(node, "stranger"), Device(node, "laptop")
    await laptop.join()
    await node.http.post("/v1/devices/laptop:revoke")
    for one in (stranger, laptop):
        await one.dial()
        bye = await one.bye()

        assert (bye.code, bye.terminal) == (ByeCode.REVOKED, True)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"version": 2}, ByeCode.VERSION),
        ({"held": (Held("no attempt", Holding.RUNNING),)}, ByeCode.MALFORMED),
        ({"held": (Held("c/a#1_0", Holding.RUNNING),)}, ByeCode.MALFORMED),
    ],
)
async def test_a_greeting_that_makes_no_sense_lets_nobody_in(node: Node, changed: dict[str, Any], code: ByeCode):
    laptop = Device(node, "laptop")
    await laptop.join()

    assert await greeted_with(node, laptop, **changed) is code


# What survives a socket.


async def test_a_session_goes_on_over_the_next_socket_and_nothing_is_said_twice(node: Node):
    laptop = await connected(node)
    await laptop.cut()
    constellation = await node.submit("a")
    await laptop.connect()
    call = await laptop.call()
    await laptop.succeed(call)

    assert laptop.welcome
    assert laptop.welcome.resumed
    assert call.attempt == f"{constellation}/a#1"
    assert [one for one in laptop.heard if isinstance(one, Assign)] == [call]
    assert node.reports(constellation) == ["star_reported"]


async def test_a_report_that_was_cut_off_before_its_acknowledgement_counts_once(node: Node):
    laptop = await connected(node)
    constellation = await node.submit("a")
    call = await laptop.call()
    laptop.finish(Report(call.attempt, Outcome.SUCCEEDED))
    await laptop.flush()
    await laptop.cut()
    await laptop.connect()
    await laptop.until_acknowledged()

    assert node.reports(constellation) == ["star_reported"]


async def test_a_report_that_was_made_while_there_was_no_socket_is_said_on_the_next(node: Node):
    laptop = await connected(node)
    constellation = await node.submit("a")
    call = await laptop.call()
    await laptop.cut()
    laptop.finish(Report(call.attempt, Outcome.SUCCEEDED))
    await laptop.connect()
    await laptop.until_acknowledged()

    assert node.reports(constellation) == ["star_reported"]


async def test_what_a_device_forgot_with_its_power_is_given_out_anew_under_another_number(node: Node):
    laptop = await connected(node, effect=Effect.ONCE)
    constellation = await node.submit("a")
    await laptop.call()
    laptop.restart()
    node.clock.jump(UNTIL_SILENT_S)
    await laptop.connect()

    assert (await laptop.call()).attempt == f"{constellation}/a#2"
    (ended,) = [event_of(row) for row in node.store.rows(constellation) if row.kind == "lease_ended"]
    assert (ended.attempt, ended.cause) == (1, "not_started")


async def test_what_was_meant_for_an_earlier_session_never_comes_out_on_a_new_one(node: Node):
    """Its commit is under way when the device begins anew: given out after it, both attempts would be made."""
    laptop = await connected(node, effect=Effect.ONCE)
    node.store.shut()
    submitting = node.start(node.submit("a"))
    await node.store.tries.get()
    laptop.restart()
    node.clock.jump(UNTIL_SILENT_S)
    connecting = node.start(laptop.connect())
    assert await waits(connecting)
    node.store.open()
    await connecting
    constellation = await submitting
    call = await laptop.call()
    await laptop.succeed(call)

    assert call.attempt == f"{constellation}/a#2"
    assert (await node.constellation(constellation))["state"] == "succeeded"
    assert [one.attempt for one in laptop.heard if isinstance(one, Assign)] == [call.attempt]


async def test_a_device_without_its_journal_cannot_say_that_it_had_not_begun(node: Node):
    tower = await connected(node, "tower", effect=Effect.ONCE)
    constellation = await node.submit("a")
    await tower.call()
    await tower.cut()
    tower.restart()
    tower.journal = "a new one"
    await tower.connect()

    assert await node.states(constellation) == {"a": "failed"}
    shown = (await node.http.get(f"/v1/constellations/{constellation}/stars/a")).json()
    assert shown["failure"]["code"] == "outcome_unknown"


async def test_what_was_given_up_while_a_device_was_gone_does_not_reach_it_when_it_is_back(node: Node):
    """The assignment had not arrived when the link broke. Made now, after it was found not to have happened: twice."""
    laptop = Device(node, "laptop", effect=Effect.ONCE)
    laptop.profile = replace(laptop.profile, tools=(*laptop.profile.tools, spec("look")))
    await laptop.join()
    await laptop.connect()
    verified = star("a", disconnect={"lost_after_s": 5}, verify={"tool": "look", "happened": "result"})
    constellation = await node.submit(verified)
    await laptop.cut()
    await node.tasks[-1]
    node.clock.jump(7.0)
    await node.runner.durable()
    await laptop.connect()
    asking = await laptop.call()
    await laptop.succeed(asking, False)
    again = await laptop.call()
    await laptop.succeed(again)

    attempts = [one.attempt for one in laptop.heard if isinstance(one, Assign)]
    assert attempts == [f"{constellation}/a#2", f"{constellation}/a#3"]
    assert (await node.constellation(constellation))["state"] == "succeeded"


async def test_what_was_cancelled_while_a_device_was_gone_is_not_even_begun_when_it_is_back(node: Node):
    laptop = await connected(node)
    constellation = await node.submit("a")
    await laptop.cut()
    await node.http.post(f"/v1/constellations/{constellation}:cancel")
    await laptop.connect()

    assert (await node.constellation(constellation))["state"] == "cancelled"
    assert not [one for one in laptop.heard if isinstance(one, Assign)]


async def test_of_two_sockets_of_one_device_the_later_one_counts(node: Node):
    laptop = await connected(node)
    first = laptop._end
    await laptop.connect()
    constellation = await node.submit("a")

    assert (await laptop.call()).attempt == f"{constellation}/a#1"
    assert await said(first, "replaced")


async def test_two_greetings_of_one_device_at_once_leave_one_session(node: Node):
    laptop = await connected(node)
    node.store.shut()
    submitting = node.start(node.submit("a"))
    await node.store.tries.get()
    twins = []
    for boot in ("second", "third"):
        twin = Device(node, "laptop")
        twin.key, twin.boot = laptop.key, boot
        twins.append(twin)
    node.clock.jump(UNTIL_SILENT_S)
    connecting = [node.start(twin.connect()) for twin in twins]
    assert all([await waits(task) for task in connecting])
    node.store.open()
    constellation = await submitting
    await asyncio.wait(connecting)
    (refused,) = [task for task in connecting if task.exception()]
    node.tasks.remove(refused)
    first = twins[1 - connecting.index(refused)]
    call = await first.call()

    assert node.gateway._guests["laptop"].session.id == first.session.id
    assert [bye.code for twin in twins for bye in twin.heard if isinstance(bye, Bye)] == [ByeCode.REPLACED]
    assert node.open(constellation).courses["a"].attempts[-1].number == int(call.attempt[-1])


async def test_a_session_that_the_node_does_not_know_is_not_resumed(node: Node):
    laptop = await connected(node)
    await laptop.cut()
    laptop.session.id = "of another node"
    await laptop.connect()

    assert laptop.welcome
    assert not laptop.welcome.resumed
