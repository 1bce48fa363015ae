"""Looks at the node from time to time, when it is at rest: does it keep what it promises just now?"""

import asyncio
from typing import TYPE_CHECKING

from galaxy.core.constellation import Constellation
from galaxy.core.course import Course
from galaxy.core.events import FLEET
from galaxy.core.fleet import Presence
from galaxy.core.states import TERMINAL, StarState
from galaxy.journal import constellation_of, snapshot_of
from galaxy.runner import Runner
from galaxy.store.contract import Recovered

if TYPE_CHECKING:
    from .world import World

LOOK_EVERY_S = 6.1
KEPT_S_MAX = 60.0  # a call takes ten seconds at most, but where something goes wrong


class Inspector:
    """One world's."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._kept_since: dict[tuple[str, str], float] = {}  # stars that wait for a better device than is free

    async def look_around(self) -> None:
        """Look, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            process, runner = self._world.node.process, self._world.node.runner
            if runner and process and not process.frozen and self._is_at_rest(runner):
                self._look(runner)

    def say_what_waits(self, names: list[str]) -> None:
        """Note which constellations do not come to an end, and what each of their stars waits for."""
        runner = self._world.node.runner
        for name in names:
            constellation = runner.core.constellations.get(name) if runner else None
            if runner is None or constellation is None:
                self._world.history.fail(f"{name} has not ended: the node does not even have it")
                continue
            told = []
            for star, course in constellation.courses.items():
                if course.state not in TERMINAL:
                    wait = runner.core.explained(constellation, course)
                    told.append(f"{star} {course.state}: {wait.reason if wait else ''}")
            text = "; ".join(told[:4]) or f"no star is left; {constellation.state}, open={constellation.dialogue}"
            self._world.history.fail(f"{name} has not ended ({constellation.state}): {text}")

    def _is_at_rest(self, runner: Runner) -> bool:
        deadline = runner.core.next_deadline()
        recorded = all(runner.is_recorded(stream) for stream in [*runner.core.constellations, FLEET])
        return not runner.waiting and recorded and (deadline is None or deadline > self._world.node.now())

    def _look(self, runner: Runner) -> None:
        core, history = runner.core, self._world.history
        for constellation in core.constellations.values():
            rows = [row for at, row in history.commits if row.stream == constellation.id]
            again = constellation_of(Recovered(constellation.id, None, 0, rows))
            if snapshot_of(again) != snapshot_of(constellation):
                history.fail(f"{constellation.id}: replay gives another state")
            self._look_at_stars(runner, constellation)

    def _look_at_stars(self, runner: Runner, constellation: Constellation) -> None:
        core, history = runner.core, self._world.history
        for name, course in constellation.courses.items():
            if course.state in TERMINAL or course.state in (StarState.LEASED, StarState.RUNNING):
                continue
            wait = core.explained(constellation, course)
            if wait is None or not wait.reason:
                history.fail(f"{constellation.id}/{name} is {course.state}, and nobody says why")
            elif device := self._idle_for(runner, constellation, course):
                if not self._is_kept(runner, constellation, name):
                    history.fail(f"{constellation.id}/{name} waits though {device} is free: {wait.reason}")
            else:
                self._kept_since.pop((constellation.id, name), None)

    def _is_kept(self, runner: Runner, constellation: Constellation, star: str) -> bool:
        """Return whether the star is kept for a device that is full, and has not been for too long."""
        key, now = (constellation.id, star), self._world.node.now()
        kept = runner.core.placer.awaits(key)
        held, slots = runner.core.load().get(kept.device, (0, 0)) if kept else (0, 0)
        return 0 < slots <= held and now - self._kept_since.setdefault(key, now) < KEPT_S_MAX

    def _idle_for(self, runner: Runner, constellation: Constellation, course: Course) -> str:
        """Return a device that could take the star just now, if it waits for none of its own."""
        ready = course.state is StarState.READY and course.placeable(bool(constellation.paused))
        if not ready or course.not_before > self._world.node.now() or course.verifying:
            return ""
        wanted, failed_on = course.star.needs.device, course.failed_on()
        free = self._free(runner, course.star.tool)
        return next((one for one in free if wanted in ("", one) and one not in failed_on), "")

    def _free(self, runner: Runner, tool: str) -> list[str]:
        """Return the devices that could take a call of the tool just now, told from what is recorded of them."""
        fleet, loads = runner.core.fleet.devices, runner.core.load()
        return [
            name
            for name, (held, slots) in loads.items()
            if held < slots
            and fleet[name].presence is Presence.CONNECTED
            and not (fleet[name].draining or fleet[name].suspected or fleet[name].wakes_at)
            and any(one.name == tool for one in fleet[name].profile.tools)  # type: ignore[union-attr]
            and tool not in fleet[name].profile.withdrawn  # type: ignore[union-attr]
        ]
