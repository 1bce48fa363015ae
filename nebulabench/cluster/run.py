"""Runs cells on real processes, and judges each by its event log and by what its tools wrote.

Two clusters run side by side. On one, each device takes cell after cell of its own; on the other, the runs of one fault
of the node stand at their moments on one device each, and share the stroke.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from galaxy.cli.local import DidNotStart

from .faults import Fault, Struck
from .matrix import Cell
from .processes import Cluster, Device, NotInTime, cluster, pid_of, restarted, until
from .story import GUARD, Story, write_tools
from .verdict import Run, Verdict

DEVICES = ("ada", "bob", "cyd", "dot", "eve")
LINK_HEARTBEAT_S = 0.5
NODE_HEARTBEAT_S = 1.0  # longer: runs wait for each other just short of their moments

Tell = Callable[[Verdict], None]


async def run_cells(cells: Sequence[Cell], folder: Path, tell: Tell = lambda _: None) -> dict[str, Verdict]:
    """Return the verdict of each cell; `tell` hears each as it is given. What processes said stays in the folder."""
    bench = Bench(folder, tell)
    of_links = deque(cell for cell in cells if not cell.fault.of_node)
    waves = deque(_waves([cell for cell in cells if cell.fault.of_node]))
    write_tools(folder / "tools")
    async with asyncio.TaskGroup() as tasks:
        if of_links:
            tasks.create_task(bench.one_by_one(of_links))
        if waves:
            tasks.create_task(bench.together(waves))
    return bench.verdicts


def _waves(cells: list[Cell]) -> list[list[Cell]]:
    """Return the cells by fault, at most as many at once as there are devices."""
    waves: list[list[Cell]] = []
    for cell in cells:
        if waves and waves[-1][0].fault is cell.fault and len(waves[-1]) < len(DEVICES):
            waves[-1].append(cell)
        else:
            waves.append([cell])
    return waves


class Bench:
    """The two clusters, and what was found so far."""

    def __init__(self, folder: Path, tell: Tell) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self._folder = folder
        self._tell = tell
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        self._guard = GUARD.format(folder=folder / "runs")

    async def one_by_one(self, cells: deque[Cell]) -> None:
        """Let each device of a cluster take cells until none is left."""
        devices = list(DEVICES[: len(cells)])
        async with (
            cluster(self._folder / "links", devices, heartbeat_s=LINK_HEARTBEAT_S, guard=self._guard) as lent,
            asyncio.TaskGroup() as tasks,
        ):
            for device in lent.devices.values():
                tasks.create_task(self._lane(lent, device, cells))

    async def together(self, waves: deque[list[Cell]]) -> None:
        """Run the waves one after the other."""
        devices = list(DEVICES[: max(map(len, waves))])
        async with cluster(self._folder / "node", devices, heartbeat_s=NODE_HEARTBEAT_S, guard=self._guard) as lent:
            for wave in waves:
                await self._wave(lent, wave, list(lent.devices.values())[: len(wave)])

    async def _lane(self, lent: Cluster, device: Device, cells: deque[Cell]) -> None:
        while cells:
            await self._wave(lent, [cells.popleft()], [device])

    async def _wave(self, lent: Cluster, cells: list[Cell], devices: list[Device]) -> None:
        runs = [Run(cell, self._story(lent, cell, device)) for cell, device in zip(cells, devices, strict=True)]
        fault = cells[0].fault
        try:
            await _each(runs, Run.arranged)
            await _each(runs, Run.reached)
            struck = Struck(lent, devices)
            await fault.strikes(struck)
            for run in runs:
                run.struck()
            await fault.passes(struck)
            for run in runs:
                run.passed(struck.over_at)
            await _each(runs, Run.ended)
        except* (NotInTime, DidNotStart, httpx2.HTTPError, OSError) as group:
            for run in runs:
                run.verdict.violations += [str(exc) for exc in _all(group)]
        await _judged(runs)
        try:
            await restored(lent, devices, fault, as_new=not all(run.verdict.passed for run in runs))
        except NotInTime as exc:
            for run in runs:
                run.verdict.violations.append(f"afterwards: {exc}")
        for run in runs:
            self.verdicts[run.cell.name] = run.verdict
            self._tell(run.verdict)

    def _story(self, lent: Cluster, cell: Cell, device: Device) -> Story:
        return Story(lent, device, self._folder / "runs" / cell.name.replace("/", "-"), self._folder / "tools")


async def _judged(runs: list[Run]) -> None:
    for run in runs:
        try:
            await run.judge()
        except httpx2.HTTPError as exc:
            run.verdict.violations.append(f"the node does not answer: {exc}")


async def restored(lent: Cluster, devices: list[Device], fault: Fault, *, as_new: bool) -> None:
    """Return when all is well again for the next cell; `as_new`: after a failure, whatever was left behind."""
    if fault.of_node and (as_new or fault.restart_node):
        lent.disk.free(pid_of(lent.node))
        restarted(lent.node)
        await lent.node_ready()
    for device in devices:
        device.proxy.heal()
        if as_new or fault.restart_agent:
            device.disk.free(pid_of(device.program))
            sessions = device.proxy.sessions
            restarted(device.program)
            device.proxy.reset()
            await until(partial(_has_dialled, device, sessions), f"{device.name} has dialled again")
    for device in devices:
        await until(partial(lent.is_whole, device.name), f"{device.name} is connected again, with all its tools")


def _has_dialled(device: Device, sessions: int) -> bool:
    return device.proxy.sessions > sessions


async def _each(runs: list[Run], step: Callable[[Run], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for run in runs:
            tasks.create_task(step(run))


def _all(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _all(exc)
        else:
            yield exc
