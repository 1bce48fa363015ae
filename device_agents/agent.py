"""The agent: it dials, for ever, and joins the session, the desk, the tools and the outbox together.

One process, one loop. The session and the desk decide, this file carries out. What was assigned goes on while there is
no socket; what has ended waits in the outbox. An agent whose outbox fails finishes what runs, and takes no more.
"""

import asyncio
import logging
import math
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from protocol.codec import proof_of
from protocol.errors import RemoteProtocolError
from protocol.link import Link, Socket, SocketClosed, dial
from protocol.messages import AnyMessage, Assign, Bye, Challenge, Hello, Message, Progress, Report, Welcome
from protocol.session import Session
from protocol.states import DEVICE
from protocol.vocabulary import VERSION, ByeCode, Failure, Outcome, Profile

from .desk import INSTRUCT, REPEATABLE, Begin, Chore, Desk, Halt, Keep, Say, cut_off
from .errors import ToolFailed
from .identity import Identity
from .outbox import Outbox, OutboxFailed
from .reconnect import Reconnect
from .shelf import Shelf
from .work import Bench, Journal, work

log = logging.getLogger(__name__)

TICK_S = 0.05  # how late the desk's clock may be
LOOK_EVERY_S = 1.0  # while something runs: timers stand still while the machine sleeps, and leases do not
WRITE_AGAIN_AFTER_S = 1.0
DRAIN_WITHIN_S = 30.0
GOODBYE_WITHIN_S = 2.0


class SentAway(Exception):
    """Galaxy wants this device no more; the message says why."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an agent is made of; built in `__main__`."""

    identity: Identity
    profile: Profile
    bench: Bench
    shelf: Shelf
    outbox: Outbox
    reconnect: Reconnect
    now: Callable[[], float]
    dial: Callable[[str], Awaitable[Socket]] = dial
    new_id: Callable[[int], str] = secrets.token_hex  # of so many random bytes


class Agent:
    """One device's agent, from start to end of its process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._now = parts.now
        self._boot = parts.new_id(8)
        cut = [(cut_off(attempt, parts.outbox.steps(attempt)), True) for attempt in parts.outbox.unknown()]
        if cut:
            parts.outbox.keep(cut)
        self._desk = Desk(parts.outbox.reports())
        self._session = Session(DEVICE, now=parts.now())
        self._link: Link | None = None
        self._calls: dict[str, asyncio.Task[Report]] = {}
        self._reported: deque[tuple[int, str]] = deque()  # numbers of reports in this session, and their attempts
        self._to_keep: list[Keep] = []
        self._unwritten: list[Keep] = []  # said, but not on disk
        self._write_again_at = 0.0
        self._trouble = ""  # the outbox's last
        self._look_at = math.inf  # when the desk's clock is looked at next
        self._look_sooner = asyncio.Event()
        self._stirred = asyncio.Event()  # a frame came, or the link ended
        self._stopping = asyncio.Event()
        self._bye: Bye | None = None
        self._welcome_at: float | None = None
        self._tasks: asyncio.TaskGroup

    async def run(self) -> None:
        """Serve until `stop` was called and the desk is empty; raise SentAway when Galaxy says not to come back."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                dialling = tasks.create_task(self._dial_for_ever(), name="dial")
                clock = tasks.create_task(self._clock(), name="clock")
                await self._until_stopped(dialling)
                for task in (dialling, clock):
                    task.cancel()
        finally:
            self._keep()
            with self._seeing_trouble():
                self._parts.outbox.close()
            await self._parts.shelf.close()
        if self._bye and self._bye.terminal:
            raise SentAway(self._bye.message)

    def stop(self) -> None:
        """Take no more work, let what runs finish within its time, and end."""
        self._stopping.set()

    async def _until_stopped(self, dialling: asyncio.Task[None]) -> None:
        stopping = self._tasks.create_task(self._stopping.wait(), name="stopping")
        await asyncio.wait({dialling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if dialling.done():
            stopping.cancel()
        else:
            log.info("draining", extra={"running": len(self._desk.jobs)})
            self._do(self._desk.drain("the agent stops"))
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_WITHIN_S):
                    await self._idle()
        self._do(self._desk.stop_all("the agent stops"))
        for farewell in (self._all_told, self._say_goodbye):
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_WITHIN_S):
                    await farewell()

    async def _idle(self) -> None:
        while self._calls:
            await asyncio.wait(set(self._calls.values()))

    async def _all_told(self) -> None:
        await self._idle()
        self._keep()
        while self._link and self._reported:
            await self._stir()

    async def _say_goodbye(self) -> None:
        self._session.close(ByeCode.STOPPING, "the agent stops")
        while (link := self._link) is not None:
            link.wake()
            await self._stir()

    async def _stir(self) -> None:
        self._stirred.clear()
        await self._stirred.wait()

    # the socket

    async def _dial_for_ever(self) -> None:
        membership = self._parts.identity.membership
        url = membership.url.replace("http", "ws", 1) + "/v1/agent"
        while True:
            lasted_s = await self._one_link(url)
            bye = self._bye
            if bye and bye.terminal:
                return
            await asyncio.sleep(self._parts.reconnect.ended(lasted_s, bye.retry_after_s if bye else 0.0))

    async def _one_link(self, url: str) -> float:
        """Return for how long this device was welcome."""
        self._forget_link()
        try:
            socket = await self._parts.dial(url)
        except (OSError, TimeoutError, SocketClosed) as exc:
            log.info("cannot reach the galaxy", extra={"url": url, "reason": str(exc)})
            return 0.0
        link = Link(Session(DEVICE, now=self._now()), socket, self._now)
        try:
            why = await link.run(partial(self._hear, link))
        finally:
            self._link = None
            self._stirred.set()
        log.info("link ended", extra={"reason": self._bye.message if self._bye else why})
        return 0.0 if self._welcome_at is None else self._now() - self._welcome_at

    def _forget_link(self) -> None:
        self._link, self._bye, self._welcome_at = None, None, None

    async def _hear(self, link: Link, messages: list[AnyMessage]) -> None:
        session = link.session
        for message in messages:
            match message:
                case Challenge():
                    self._greet(session, message)
                case Welcome():
                    self._welcomed(link, message)
                case Bye():
                    self._bye = message
                case Assign():
                    self._do(self._desk.hear(message, self._now(), self._completed(message)))
                case _:
                    self._do(self._desk.hear(message, self._now()))
        session.settle(session.heard, self._now())
        self._forget_acknowledged()
        self._stirred.set()

    def _greet(self, session: Session, challenge: Challenge) -> None:
        membership = self._parts.identity.membership
        if not challenge.version_min <= VERSION <= challenge.version_max:
            text = f"this agent speaks version {VERSION}, the galaxy {challenge.version_min} to {challenge.version_max}"
            raise RemoteProtocolError(ByeCode.VERSION, text)
        if challenge.galaxy != membership.galaxy:
            text = f"this is galaxy {challenge.galaxy}, {membership.device} has joined {membership.galaxy}"
            raise RemoteProtocolError(ByeCode.UNAUTHENTICATED, text)
        proof = proof_of(challenge.galaxy, challenge.nonce, membership.device, self._boot)
        session.send(
            Hello(
                device=membership.device,
                signature=self._parts.identity.sign(proof),
                version=VERSION,
                boot=self._boot,
                profile=self._parts.profile,
                session=self._session.id,
                heard=self._session.heard,
                held=self._desk.held(),
            )
        )

    def _welcomed(self, link: Link, welcome: Welcome) -> None:
        session, self._link, self._welcome_at = link.session, link, self._now()
        self._parts.shelf.token = welcome.artifact_token
        if welcome.resumed:
            session.resume(self._session, welcome.heard)
            self._session = session
        else:
            self._keep()  # what has ended in this turn is said below, with all that is owed, and not once more
            self._session = session
            self._reported.clear()
            for message in self._desk.said_anew():
                self._say(message)
            if self._desk.draining:
                self._do(self._desk.drain(self._desk.draining))
        log.info("connected", extra={"session": session.id, "resumed": welcome.resumed})

    # chores

    def _do(self, chores: list[Chore]) -> None:
        for chore in chores:
            match chore:
                case Begin(assign=assign):
                    self._begin(assign)
                case Halt(attempt=attempt):
                    if call := self._calls.get(attempt):
                        call.cancel()
                case Keep():
                    if not self._to_keep:
                        # All reports of this turn of the loop share one commit and one frame.
                        asyncio.get_running_loop().call_soon(self._keep)
                    self._to_keep.append(chore)
                case Say(message=message):
                    # How far a call is interests nobody later: without a link it would only pile up.
                    if self._session.id and (self._link or not isinstance(message, Progress)):
                        self._say(message)

    def _begin(self, assign: Assign) -> None:
        attempt = assign.attempt
        if assign.effect not in REPEATABLE:
            try:
                self._parts.outbox.intend(attempt, self._now(), in_steps=assign.tool == INSTRUCT)
            except OutboxFailed as exc:
                self._do(self._desk.unbegun(attempt, Failure("outbox_failed", str(exc), retryable=True)))
                self._take_no_more(exc)
                return

        def progress(note: str, fraction: float | None) -> None:
            self._do(self._desk.progressed(attempt, note, fraction, self._now()))
            self._look_soon()

        def ended(call: asyncio.Task[Report]) -> None:
            del self._calls[attempt]
            # A call that is halted before its first step never gets to make its own report.
            report = Report(attempt, Outcome.CANCELLED) if call.cancelled() else call.result()
            self._do(self._desk.finished(report))
            if not self._desk.jobs:
                self._look_soon()

        working = work(assign, self._parts.bench, progress, Journal(self._step_begins, self._step_ended))
        call = self._calls[attempt] = self._tasks.create_task(working, name=attempt)
        call.add_done_callback(ended)
        self._look_soon()

    def _step_begins(self, attempt: str, step: int, tool: str) -> None:
        with self._failing_with_the_outbox():
            self._parts.outbox.begin_step(attempt, step, tool)
        self._desk.stepped(attempt)

    def _step_ended(self, attempt: str, step: int, outcome: Outcome) -> None:
        with self._failing_with_the_outbox():
            self._parts.outbox.end_step(attempt, step, outcome)

    @contextmanager
    def _failing_with_the_outbox(self) -> Iterator[None]:
        try:
            yield
        except OutboxFailed as exc:
            self._take_no_more(exc)
            raise ToolFailed("outbox_failed", str(exc), retryable=True) from exc

    def _completed(self, assign: Assign) -> Report | None:
        if assign.effect in REPEATABLE:
            return None
        try:
            return self._parts.outbox.completed(assign.attempt)
        except OutboxFailed as exc:
            self._take_no_more(exc)
            return Report(assign.attempt, Outcome.UNKNOWN, failure=Failure("outbox_failed", str(exc)))

    def _keep(self) -> None:
        """Write down what has ended, then say it; also what cannot be written: Galaxy will keep it."""
        fresh, self._to_keep = self._to_keep, []
        self._write([*self._unwritten, *fresh])
        if self._session.id:
            for chore in fresh:
                self._say(chore.report)

    def _write(self, kept: list[Keep]) -> None:
        self._unwritten = kept
        if not kept:
            return
        try:
            self._parts.outbox.keep([(chore.report, chore.journalled) for chore in kept])
            self._unwritten = []
        except OutboxFailed as exc:
            self._write_again_at = self._now() + WRITE_AGAIN_AFTER_S
            self._look_soon()
            self._take_no_more(exc)

    @contextmanager
    def _seeing_trouble(self) -> Iterator[None]:
        try:
            yield
        except OutboxFailed as exc:
            self._take_no_more(exc)

    def _take_no_more(self, exc: OutboxFailed) -> None:
        if self._trouble != str(exc):
            self._trouble = str(exc)
            log.error("the outbox fails", extra={"reason": self._trouble})
        if not self._desk.draining:
            self._do(self._desk.drain(f"restart it when its disk is well again: {exc}"))

    def _say(self, message: Message) -> None:
        number = self._session.send(message)
        if isinstance(message, Report):
            self._reported.append((number, message.attempt))
        if self._link:
            self._link.wake()

    def _forget_acknowledged(self) -> None:
        done = []
        while self._reported and self._reported[0][0] <= self._session.acked:
            done.append(self._reported.popleft()[1])
        if done:
            self._desk.acknowledged(done)
            with self._seeing_trouble():
                self._parts.outbox.forget(done)

    def _look_soon(self) -> None:
        """Let the clock look at what has just changed, and at all that changes in the next moment with it."""
        if (at := self._now() + TICK_S) < self._look_at:
            self._look_at = at
            self._look_sooner.set()

    async def _clock(self) -> None:
        """Let the desk look at the clock while something runs; write down what was forgotten when nothing does."""
        while True:
            now = self._now()
            self._do(self._desk.tick(now, self._session.renewed_at))
            if self._unwritten and now >= self._write_again_at:
                self._write(self._unwritten)
            if not (self._desk.jobs or self._unwritten):
                with self._seeing_trouble():
                    self._parts.outbox.flush()
            self._look_at = self._next_look(now)
            await self._until_looked_at()

    def _next_look(self, now: float) -> float:
        if not (self._desk.jobs or self._unwritten):
            return math.inf
        due = self._desk.next_deadline(self._session.renewed_at)
        soonest = min(now + LOOK_EVERY_S, math.inf if due is None else due)
        return min(soonest, self._write_again_at) if self._unwritten else soonest

    async def _until_looked_at(self) -> None:
        while True:
            left_s = self._look_at - self._now()
            self._look_sooner.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left_s == math.inf else max(0.0, left_s)):
                    await self._look_sooner.wait()
            if self._now() >= self._look_at:
                return
