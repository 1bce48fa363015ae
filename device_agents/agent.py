"""The agent: it dials, for ever, and joins the session, the desk, the tools and the outbox together.

One process, one loop. The session and the desk decide, this file carries out. What was assigned goes on while there is
no socket; what has ended waits in the outbox. An agent whose outbox fails withdraws all its tools until it works again.
"""

import asyncio
import logging
import math
from collections import deque
from contextlib import suppress
from functools import partial

from protocol.codec import proof_of
from protocol.errors import RemoteProtocolError
from protocol.link import Link, SocketClosed
from protocol.messages import (
    AnyMessage,
    Assign,
    Bye,
    Challenge,
    Hello,
    Message,
    Progress,
    Reconcile,
    Report,
    Sleep,
    Welcome,
)
from protocol.session import Session
from protocol.states import DEVICE
from protocol.vocabulary import VERSION, ByeCode, Failure

from .alarm import Alarm
from .calls import Calls, Told
from .desk import REPEATABLE, Begin, Chore, Desk, Halt, Keep, Kill, Say, cut_off
from .health import Health
from .ledger import Ledger
from .offering import Offering
from .outbox import OutboxFailed
from .parts import Parts as Parts
from .vitals import tell

log = logging.getLogger(__name__)

AWAY_LOOK_S = 10.0  # while the device sleeps: timers stand still while the machine does
GOOD_NIGHT_WITHIN_S = 5.0
DRAIN_WITHIN_S = 30.0
GOODBYE_WITHIN_S = 2.0
STUCK = 5  # the exit code of an agent that leaves calls behind which nothing could end


class SentAway(Exception):
    """Galaxy wants this device no more; the message says why."""


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
        self._ledger = Ledger(parts.outbox, parts.now)
        self._health = Health(parts.bench.tools, parts.bench.guard, parts.now, parts.chance)
        self._offering = Offering(parts.profile, self._desk, self._ledger, self._health, self._tell)
        self._ledger.changed = self._health.changed = self._changed
        told = Told(self._progressed, self._ended, self._must_stop)
        self._calls = Calls(parts.bench, self._ledger.journal(self._desk.stepped), told)
        self._reported: deque[tuple[int, str]] = deque()  # numbers of reports in this session, and their attempts
        self._to_keep: list[Keep] = []
        self._asleep_until = -math.inf
        self._woken = asyncio.Event()
        self._alarm = Alarm(parts.now)
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
                health = tasks.create_task(self._health.run(), name="health")
                vitals = tasks.create_task(tell(self._parts.vitals, self._tell), name="vitals")
                await self._until_stopped(dialling)
                for task in (dialling, clock, health, vitals):
                    task.cancel()
                if self._desk.stuck:
                    log.error("ends with calls that cannot be ended", extra={"attempts": sorted(self._desk.stuck)})
                    self._keep()
                    self._ledger.close()
                    self._parts.leave(STUCK)
        finally:
            self._keep()
            self._ledger.close()
            await self._parts.shelf.close()
        if self._bye and self._bye.terminal:
            raise SentAway(self._bye.message)

    def stop(self) -> None:
        """Take no more work, let what runs finish within its time, and end."""
        self._stopping.set()

    def rest(self, for_s: float, reason: str) -> None:
        """Tell Galaxy that the device sleeps for so long, and stay away until then, or until `wake`. Calls go on."""
        log.info("going to sleep", extra={"for_s": for_s, "reason": reason})
        self._asleep_until = self._now() + for_s
        self._woken.clear()
        if self._link:
            self._tasks.create_task(self._say_good_night(self._link, reason), name="good night")

    def wake(self) -> None:
        """Dial again, though it was to sleep for longer."""
        self._asleep_until = -math.inf
        self._woken.set()

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
        self._do(self._desk.stop_all("the agent stops", self._now()))
        await self._idle()  # which the kills and the giving up see to
        for farewell in (self._all_told, self._say_goodbye):
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_WITHIN_S):
                    await farewell()

    async def _idle(self) -> None:
        while self._desk.jobs:
            await self._stir()

    async def _all_told(self) -> None:
        self._keep()
        while self._link and self._reported:
            await self._stir()

    async def _say_goodbye(self) -> None:
        self._session.close(ByeCode.STOPPING, "the agent stops")
        while (link := self._link) is not None:
            link.wake()
            await self._stir()

    async def _say_good_night(self, link: Link, reason: str) -> None:
        number = self._say(Sleep(max(0.0, self._asleep_until - self._now()), reason))
        with suppress(TimeoutError):
            async with asyncio.timeout(GOOD_NIGHT_WITHIN_S):
                while self._link is link and self._session.acked < number:
                    await self._stir()
        if self._asleep_until > self._now():
            link.session.close(ByeCode.STOPPING, "the device sleeps")
            link.wake()

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
            await asyncio.sleep(self._parts.reconnect.after(lasted_s, bye))
            while (left_s := self._asleep_until - self._now()) > 0.0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, AWAY_LOOK_S)):
                        await self._woken.wait()

    async def _one_link(self, url: str) -> float:
        """Return for how long this device was welcome."""
        self._forget_link()
        try:
            socket = await self._parts.dial(url)
        except (OSError, TimeoutError, SocketClosed) as exc:
            log.info("cannot reach the galaxy", extra={"url": url, "reason": str(exc)})
            return 0.0
        link = Link(Session(DEVICE, now=self._now()), socket, self._looked)
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
                    done, renewed_at = self._ledger.completed(message), self._session.renewed_at
                    self._do(self._desk.hear(message, self._now(), done, renewed_at=renewed_at))
                case Reconcile():
                    verdict = {"attempt": message.attempt, "verdict": message.verdict, "reason": message.reason}
                    log.info("reconciled", extra=verdict)
                    self._do(self._desk.hear(message, self._now()))
                case _:
                    self._do(self._desk.hear(message, self._now()))
        session.settle(session.heard, self._now())
        if self._desk.waits:
            self._renew_often()
            self._alarm.soon()
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
                profile=self._offering.greet(),
                session=self._session.id,
                heard=self._session.heard,
                held=self._desk.held(),
                journal=self._parts.outbox.journal,
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
        self._offering.tell()
        self._renew_often()
        if self._asleep_until > self._now():
            self._tasks.create_task(self._say_good_night(link, "it was to sleep"), name="good night")
        log.info("connected", extra={"session": session.id, "resumed": welcome.resumed})

    # chores

    def _do(self, chores: list[Chore]) -> None:
        for chore in chores:
            match chore:
                case Begin(assign=assign):
                    self._begin(assign)
                case Halt(attempt=attempt, grace_s=grace_s):
                    self._calls.halt(attempt, grace_s)
                    self._alarm.soon()
                case Kill(attempt=attempt):
                    self._calls.kill(attempt)
                case Keep():
                    if not self._to_keep:
                        # All reports of this turn of the loop share one commit and one frame.
                        asyncio.get_running_loop().call_soon(self._keep)
                    self._to_keep.append(chore)
                    self._stirred.set()
                    if self._desk.stuck:
                        self._changed()
                case Say(message=message):
                    # How far a call is interests nobody later: without a link it would only pile up.
                    if self._session.id and (self._link or not isinstance(message, Progress)):
                        self._say(message)

    def _begin(self, assign: Assign) -> None:
        if assign.effect not in REPEATABLE:
            try:
                self._ledger.intend(assign)
            except OutboxFailed as exc:
                self._do(self._desk.unbegun(assign.attempt, Failure("outbox_failed", str(exc), retryable=True)))
                return
        self._calls.begin(assign, self._tasks)
        self._renew_often()
        self._alarm.soon()

    def _progressed(self, attempt: str, note: str, fraction: float | None) -> None:
        self._do(self._desk.progressed(attempt, note, fraction, self._now()))
        self._alarm.soon()

    def _ended(self, report: Report) -> None:
        job = self._desk.jobs.get(report.attempt)
        if job and report.failure:
            self._health.suspected(job.assign.tool, report.failure.code)
        self._do(self._desk.finished(report, self._now()))
        self._renew_often()
        if job is None:
            self._changed()  # a slot is free again
        if not self._desk.jobs:
            self._alarm.soon()

    def _must_stop(self, attempt: str) -> bool:
        now = self._now()
        if not self._desk.must_stop(attempt, now, self._session.renewed_at):
            return False
        self._do(self._desk.tick(now, self._session.renewed_at))
        return True

    def _looked(self) -> float:
        """Return the time, once the lease rule has been looked at: nothing is heard or said before."""
        now = self._now()
        if now >= self._desk.next_stop(self._session.renewed_at):
            self._do(self._desk.tick(now, self._session.renewed_at))
        return now

    def _renew_often(self) -> None:
        self._session.renew_within(self._desk.renew_within_s())
        if self._link:
            self._link.wake()

    def _changed(self) -> None:
        """Tools do not work, or work again, or a slot is lost or free."""
        self._offering.changed()
        self._alarm.soon()

    def _tell(self, message: Message) -> bool:
        """Say it if there is a session; return whether there was."""
        if self._session.id:
            self._say(message)
        return bool(self._session.id)

    def _keep(self) -> None:
        """Write down what has ended, then say it; also what cannot be written: Galaxy will keep it."""
        fresh, self._to_keep = self._to_keep, []
        self._ledger.keep(fresh)
        if self._session.id:
            for chore in fresh:
                self._say(chore.report)

    def _say(self, message: Message) -> int:
        number = self._session.send(message)
        if isinstance(message, Report):
            self._reported.append((number, message.attempt))
        if self._link:
            self._link.wake()
        return number

    def _forget_acknowledged(self) -> None:
        done = []
        while self._reported and self._reported[0][0] <= self._session.acked:
            done.append(self._reported.popleft()[1])
        if done:
            self._desk.acknowledged(done)
            self._ledger.forget(done)

    async def _clock(self) -> None:
        """Let the desk look at the clock while something runs; write down what was forgotten when nothing does."""
        while True:
            now = self._now()
            self._do(self._desk.tick(now, self._session.renewed_at))
            self._ledger.try_again(now)
            if not (self._desk.jobs or self._ledger.trouble):
                self._ledger.flush()
            await self._alarm.rings(self._next_look(now))

    def _next_look(self, now: float) -> float:
        if not self._desk.jobs:
            return self._ledger.again_at
        due = self._desk.next_deadline(self._session.renewed_at)
        return min(now + self._desk.look_within_s, self._ledger.again_at, math.inf if due is None else due)
