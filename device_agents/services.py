"""What an agent does for its tools all the time, beside its work for a galaxy: listen to sensors, keep relays safe."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from random import Random
from traceback import format_exception_only
from typing import Any

from .errors import ToolFailed
from .guard import Guard
from .reconnect import Reconnect
from .tools.base import Service, Serving, Tool

log = logging.getLogger(__name__)

GOODBYE_WITHIN_S = 5.0  # for services to end in order: a broker that hangs must not keep the agent from ending


async def beside(tools: Iterable[Tool], guard: Guard, work: Coroutine[Any, Any, None]) -> None:
    """Run the work to its end, and the tools' services for as long; raise what the work raises."""
    services = [service for tool in tools if isinstance(tool, Serving) for service in tool.services(guard)]
    running = [asyncio.create_task(_kept_up(service)) for service in services]
    try:
        await work
    finally:
        left = set(running)
        for _ in range(2):  # cancelled once more, a service says no goodbye
            for each in left:
                each.cancel()
            if left:
                _, left = await asyncio.wait(left, timeout=GOODBYE_WITHIN_S)


async def _kept_up(service: Service) -> None:
    """Begin it anew whenever it ends, with growing pauses: what it talks to may come back any time."""
    pauses = Reconnect(Random())
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await service()
            reason = "it has ended"
        except ToolFailed as exc:
            reason = exc.failure.message
        except Exception as exc:  # a service's bug must not end the agent
            reason = format_exception_only(exc)[0].strip()
        if (task := asyncio.current_task()) and task.cancelling():
            return  # cancelled, it has failed at saying goodbye
        log.warning("a service of the agent has stopped and is begun again", extra={"reason": reason})
        await asyncio.sleep(pauses.ended(asyncio.get_running_loop().time() - began))
