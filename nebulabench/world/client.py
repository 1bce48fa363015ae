"""Who asks: a person's program that tries until it is told, and remembers what it was told."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from galaxy.core.constellation import Constellation
from galaxy.core.edit import AddLine, AddStar, AnyOperation, Edit, RemoveStar, Retry, Skip, Supersede, UpdateStar
from galaxy.core.errors import Refused
from galaxy.core.events import (
    CancelRequested,
    ConstellationEdited,
    ConstellationEvent,
    ConstellationPaused,
    ConstellationResumed,
    ConstellationSubmitted,
)
from galaxy.core.orchestrator import Orchestrator
from galaxy.core.star import Line

from . import workload
from .history import Told
from .workload import Deed, Submission

if TYPE_CHECKING:
    from .world import World

ANSWER_WITHIN_S = 5.0
AGAIN_AFTER_S = 0.5
GIVE_UP_AFTER = 40  # deeds; a submission is tried for ever
RESUME_EVERY_S = 15.0

Making = Callable[[Orchestrator, float], ConstellationEvent | None]


class Client:
    """All clients of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.acknowledged: set[str] = set()

    async def submit(self, asked: Submission) -> None:
        """Ask until it is acknowledged. The constellation's name is the key by which asking twice is asking once."""

        def made(core: Orchestrator, now: float) -> ConstellationEvent | None:
            if asked.constellation in core.constellations:
                return None
            return ConstellationSubmitted(
                at=now,
                constellation=asked.constellation,
                name=asked.constellation,
                stars=asked.stars,
                lines=asked.lines,
                goal=asked.goal,
                planning=asked.planning,
            )

        said = None
        while said is None:
            said = await self._ask(made, asked.constellation, patient=True)
            if said is None:
                await self._pause()
        self.acknowledged.add(asked.constellation)
        self._told(asked.constellation, "submitted", "")

    async def do(self, deed: Deed, mark: str) -> None:
        """Try to do it; a refusal is an answer too."""

        def made(core: Orchestrator, now: float) -> ConstellationEvent | None:
            constellation = core.constellations.get(deed.constellation)
            return _event(deed, constellation, now, mark, self._world.device_names()) if constellation else None

        for _ in range(GIVE_UP_AFTER):
            if self._world.node.runner is not None:
                break
            await self._pause()
        if await self._ask(made, "") == "done":
            self._told(deed.constellation, deed.what, mark)

    async def go_on(self) -> None:
        """Go on, again and again, with whatever waits for a person."""
        while True:
            await asyncio.sleep(RESUME_EVERY_S)
            runner = self._world.node.runner
            paused = [c.id for c in runner.core.constellations.values() if c.paused] if runner else []
            for name in paused:
                await self._ask(partial(_resumed, name), "")

    async def _pause(self) -> None:
        await asyncio.sleep(AGAIN_AFTER_S)

    async def _ask(self, made: Making, submitted: str, *, patient: bool = False) -> str | None:
        """Return done, nothing or refused, as the node answers; or None if it does not, in time or, patient, at all."""
        node, loop = self._world.node, self._world.loop
        runner, process = node.runner, node.process
        if runner is None or process is None:
            return None
        answer: asyncio.Future[str] = loop.create_future()

        async def handle() -> None:
            said = "done"
            try:
                if submitted and await node.store.summary(submitted):
                    said = "done"
                elif event := made(runner.core, node.now()):
                    await runner.tell(event)
                else:
                    await runner.durable()
                    said = "nothing"
            except Refused as refusal:
                said = f"refused: {refusal}"
            if not answer.done():
                answer.set_result(said)

        process.start(handle())
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    return await asyncio.shield(answer)
            if not patient or not process.alive:
                return None

    def _told(self, constellation: str, kind: str, mark: str) -> None:
        history = self._world.history
        history.told.append(Told(history.now(), constellation, kind, mark))
        history.tell(f"client: {kind} {constellation} acknowledged")


def _resumed(name: str, _: Orchestrator, now: float) -> ConstellationEvent:
    return ConstellationResumed(at=now, constellation=name, by="client")


def _event(deed: Deed, c: Constellation, now: float, mark: str, devices: list[str]) -> ConstellationEvent | None:
    match deed.what:
        case "pause":
            return ConstellationPaused(at=now, constellation=c.id, reason="a while", by=mark)
        case "resume":
            return ConstellationResumed(at=now, constellation=c.id, by=mark)
        case "cancel":
            return CancelRequested(at=now, constellation=c.id, reason="enough", by=mark)
    operations = _operations(deed, c, Random(deed.seed), devices)
    if not operations:
        return None
    return ConstellationEdited(at=now, constellation=c.id, base=c.revision, edit=Edit(operations, deed.what), by=mark)


def _operations(deed: Deed, c: Constellation, random: Random, devices: list[str]) -> tuple[AnyOperation, ...]:
    names = list(c.courses)
    if not names:
        return ()
    one = random.choice(names)
    fresh = workload.star(random, f"{c.id}/x{deed.seed}", devices, [])
    match deed.what:
        case "add":
            return AddStar(fresh), AddLine(Line(one, fresh.id))
        case "remove":
            return (RemoveStar(one),)
        case "update":
            return (UpdateStar(workload.star(random, f"{c.id}/{one}", devices, [])),)
        case "skip":
            return (Skip(one, "no need"),)
        case "retry":  # what may happen only once is not asked for twice
            return () if c.courses[one].star.tool == workload.ONCE else (Retry(one),)
        case _:
            return (Supersede(one, fresh),)
