"""A loop of asyncio in virtual time: when nothing is ready, it is at once the time of the next timer.

What runs belongs to a `Process`, found by its context: one that was killed never gets another turn, not even for what
stands under `finally`; one that is frozen gets its turns when it is thawed.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

TURN_S = 1e-6  # what a turn of the loop takes: without it, a wait for less than a float can tell would never end
CLOSES_MAX = 20  # of one task that waits again and again while it is cancelled
TURNS_TO_CLOSE = 30

T = TypeVar("T")

_graveyard: list[asyncio.Task[Any]] = []
OWNER: ContextVar["Process | None"] = ContextVar("owner", default=None)


class Process:
    """One incarnation of a simulated process."""

    def __init__(self, loop: "SimLoop", name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.died_at: float | None = None
        self.set_aside: list[Due] = []  # until it is thawed, or all is over
        self.tasks: list[asyncio.Task[Any]] = []  # also those that were cut off: nothing may collect them
        self._loop = loop
        self._context = copy_context()
        self._context.run(OWNER.set, self)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run the work as this process's own. What it raises in the end is told: nobody may be waiting for it."""
        task = self._loop.create_task(work, context=self._context)
        task.add_done_callback(self._ended)
        return task

    def call(self, function: Callable[[], T]) -> T:
        """Return what the function returns; whatever it starts is this process's own."""
        return self._context.copy().run(function)

    def kill(self) -> None:
        """End it, as SIGKILL does."""
        self.alive = False
        self.died_at = self._loop.time()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._loop.call_exception_handler({"message": f"{self.name} crashed", "exception": exc})

    def freeze(self) -> None:
        """Stop it, as SIGSTOP does."""
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on, with all that has become due meanwhile."""
        self.frozen = False
        due, self.set_aside = self.set_aside, []
        self._loop.run_next(due)


class Due(asyncio.TimerHandle):
    """A callback that waits for its turn, and whose it is."""

    __slots__ = ("at", "called", "dropped", "given", "inside", "owner")

    def __init__(self, at: float, called: Callable[..., object], given: tuple[Any, ...], inside: Context) -> None:
        # Not the parent's: it keeps what only a real loop needs.
        self.at, self.called, self.given, self.inside = at, called, given, inside
        self.owner = inside.get(OWNER)
        self.dropped = False

    def cancel(self) -> None:
        self.dropped = True

    def cancelled(self) -> bool:
        return self.dropped

    def when(self) -> float:
        return self.at


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set depends on nothing but the order in which tasks were made: seeds replay."""

    def __init__(self, number: int, coro: Any, **how: Any) -> None:
        self.number = number
        super().__init__(coro, **how)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(asyncio.AbstractEventLoop):
    """The loop. It has no files, no threads and no signals; asking for one raises NotImplementedError."""

    def __init__(self, failed: Callable[[str], None]) -> None:
        self.turns = 0
        self._made = 0
        self._failed = failed  # told what fell out of a callback
        self._now = 0.0
        self._ready: deque[Due] = deque()
        self._timers: list[tuple[float, int, Due]] = []
        self._pushed = 0  # timers of one moment run in the order in which they were set
        self._processes: list[Process] = []
        self._tasks: list[asyncio.Task[Any]] = []  # those of no process
        self._closing = False
        self._closed = False

    def process(self, name: str) -> Process:
        """Return a new process."""
        process = Process(self, name)
        self._processes.append(process)
        return process

    def run_until(self, over: Callable[[], bool], limit_s: float) -> bool:
        """Run until it is over and return True, or until the time `limit_s` and return False."""
        asyncio._set_running_loop(self)
        try:
            while not over():
                if not self._ready and not self._jump(limit_s):
                    return False
                self._turn()
        finally:
            asyncio._set_running_loop(None)
        return True

    def run_next(self, due: list[Due]) -> None:
        """Let these have their turns, in order."""
        self._ready.extend(due)

    def close(self) -> None:
        """Let all that still waits come to its end, also what was cut off: by now nothing of it counts."""
        asyncio._set_running_loop(self)
        try:
            self._closing = True
            for owner in self._processes:
                self._ready.extend(owner.set_aside)
            tasks = [task for owner in self._processes for task in owner.tasks] + self._tasks
            for _ in range(CLOSES_MAX):
                tasks = [task for task in tasks if not task.done()]
                if not tasks:
                    break
                for task in tasks:
                    task.cancel()
                for _ in range(TURNS_TO_CLOSE):
                    if self._ready:
                        self._turn()
            for task in tasks:  # what resists all that is kept, for it would complain when it is collected
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            _graveyard.extend(tasks)
        finally:
            self._closed = True
            asyncio._set_running_loop(None)
        self._ready.clear()
        self._timers.clear()
        self._tasks.clear()
        self._processes.clear()

    def _jump(self, limit_s: float) -> bool:
        while self._timers and self._timers[0][2].dropped:
            heapq.heappop(self._timers)
        if not self._timers or self._timers[0][0] > limit_s:
            self._now = max(self._now, limit_s)
            return False
        self._now = max(self._now, self._timers[0][0])
        return True

    def _turn(self) -> None:
        self.turns += 1
        self._now += TURN_S
        timers, ready, now = self._timers, self._ready, self._now
        while timers and timers[0][0] <= now:
            due = heapq.heappop(timers)[2]
            if not due.dropped:
                ready.append(due)
        for _ in range(len(ready)):
            due = ready.popleft()
            owner = due.owner
            if due.dropped:
                continue
            if owner is not None and not self._closing and (owner.frozen or not owner.alive):
                owner.set_aside.append(due)
                continue
            try:
                due.inside.run(due.called, *due.given)
            except Exception as exc:
                if not self._closing:
                    self._failed(f"{owner.name if owner else 'the world'}: {type(exc).__name__}: {exc}")

    # what asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Due:
        due = Due(self._now, callback, args, context if context is not None else copy_context())
        if not self._closed:
            self._ready.append(due)
        return due

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Due:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Due:
        due = Due(when, callback, args, context if context is not None else copy_context())
        if not self._closed:
            self._pushed += 1
            heapq.heappush(self._timers, (when, self._pushed, due))
        return due

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> asyncio.Task[Any]:
        self._made += 1
        task = SimTask(self._made, coro, loop=self, name=name, context=context)
        owner = context.get(OWNER) if context is not None else OWNER.get()
        tasks = owner.tasks if owner else self._tasks
        tasks.append(task)
        if len(tasks) % 256 == 0:
            tasks[:] = [one for one in tasks if not one.done()]
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run it at once: there are no threads here."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except OSError as exc:
            done.set_exception(exc)
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closing:
            self._failed(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed
