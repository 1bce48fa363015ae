"""Devices' sessions on one side, events and orders on the other.

What a device says becomes an event under the identity that its session proved; what the core orders becomes a message
in the session's outbox, whether or not a socket is there to carry it just now.
"""

import logging
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import assert_never

from protocol.errors import RemoteProtocolError
from protocol.link import Link, Socket
from protocol.messages import AnyMessage, Assign, Challenge, Drain, Hello, Welcome
from protocol.messages import Reconcile as ReconcileMessage
from protocol.messages import Revoke as RevokeMessage
from protocol.session import Session
from protocol.states import CLOSED, GALAXY, OPEN
from protocol.vocabulary import VERSION, ByeCode

from .core.attempt import AttemptId
from .core.errors import Refused
from .core.events import DeviceConnected, DeviceDisconnected, DeviceTrusted, Event
from .core.fleet import Presence
from .core.orders import DeviceOrder, Disconnect, Dispatch, Reconcile, Revoke, TellDrain
from .greeting import Greetings, require_proof
from .hearing import event_of
from .metrics import Metrics
from .pulse import Pulse
from .runner import Runner
from .suspicion import Watched

log = logging.getLogger(__name__)

CREDITS = 512
JOURNAL_CHARS_MAX = 80
OUTBOX_MAX = 20_000  # messages that a device may leave unacknowledged before it is cut off,
OUTBOX_BYTES_MAX = 64 << 20  # and their bytes
OVERLOADED_AWAY_S = 10.0
LOST = "lost"  # the link ended without a word of ours


class Guest:
    """One socket, from its first frame on; it becomes a device when it has proved a key."""

    def __init__(self, session: Session, nonce: str) -> None:
        self.session = session
        self.nonce = nonce
        self.device = ""
        self.boot = ""
        self.link: Link | None = None
        self.watched: Watched | None = None  # from its Welcome on
        self.assigned: deque[tuple[int, AttemptId]] = deque()  # with the numbers of the messages that said so


class Gateway:
    """All devices' sessions with this node."""

    def __init__(
        self,
        runner: Runner,
        galaxy_id: str,
        now: Callable[[], float],
        metrics: Metrics,
        *,
        chance: Random,
        heartbeat_s: float = 5.0,
        new_id: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._runner = runner
        self._galaxy_id = galaxy_id
        self._now = now
        self._metrics = metrics
        self.pulse = Pulse(runner, now, metrics, heartbeat_s)
        self._new_id = new_id  # of so many random bytes
        self._guests: dict[str, Guest] = {}  # the latest of each device, also after its socket is gone
        self._artifact_tokens: dict[str, str] = {}  # token -> device
        self._token_of: dict[str, str] = {}  # device -> its one token
        self._greetings = Greetings(chance)
        runner.carry_out = self.carry_out

    @property
    def greeting(self) -> int:
        """How many sockets are in their greeting."""
        return len(self._greetings)

    async def serve(self, socket: Socket) -> None:
        """Hold a conversation over an accepted socket, until it ends."""
        now = self._now()
        guest = Guest(Session(GALAXY, now=now), self._new_id(16))
        session, guest.link = guest.session, Link(guest.session, socket, self._now)
        if self._greetings.begin(session, guest.link.wake, now, self._devices):
            session.send(Challenge(self._galaxy_id, guest.nonce, VERSION, VERSION))

        async def hear(messages: list[AnyMessage]) -> None:
            await self._hear(guest, messages)

        try:
            why = await guest.link.run(hear)
        finally:
            guest.link = None
            self._greetings.end(session)
        log.info("link ended", extra={"device": guest.device, "reason": why})
        self._metrics.links_ended.labels(session.closed_for or LOST).inc()
        if guest.watched:
            self.pulse.remove(guest.watched)
        if guest.device and self._guests.get(guest.device) is guest:
            with suppress(Refused):  # it was revoked meanwhile
                await self._runner.tell(DeviceDisconnected(at=self._now(), device=guest.device, reason=why[:200]))

    def carry_out(self, orders: list[DeviceOrder]) -> None:
        """Put the orders into the devices' outboxes. One for a device without a session is settled at its return."""
        spoken: dict[str, Guest] = {}
        for order in orders:
            guest = self._guests.get(order.device)
            if guest is None or not guest.session.id:
                continue
            self._say(guest, order)
            self._require_room(guest)
            spoken[order.device] = guest
        for guest in spoken.values():
            if guest.link:
                guest.link.wake()

    def artifact_device(self, token: str) -> str | None:
        """Return the device whose session this token was given to, while that is the device's session."""
        device = self._artifact_tokens.get(token)
        return device if device and self._guests[device].session.id else None

    def close(self) -> None:
        """Say goodbye to all: the node stops, the devices shall come back, and not all in the same moment."""
        for guest in self._guests.values():
            away_s = 1.0 + self._greetings.return_after_s(self.pulse.devices)
            guest.session.close(ByeCode.STOPPING, "the node stops", retry_after_s=away_s)
            if guest.link:
                guest.link.wake()

    def unacknowledged(self) -> int:
        """Return how many messages devices have not acknowledged."""
        return sum(guest.session.unacknowledged for guest in self._guests.values())

    @property
    def _devices(self) -> int:
        return len(self._runner.core.fleet.devices)

    def _require_room(self, guest: Guest) -> None:
        """Cut a device off that leaves too much unacknowledged."""
        session = guest.session
        if session.unacknowledged > OUTBOX_MAX:
            reason = f"over {OUTBOX_MAX} messages are unacknowledged"
        elif session.unacknowledged_bytes > OUTBOX_BYTES_MAX:
            reason = f"messages of over {OUTBOX_BYTES_MAX} bytes are unacknowledged"
        else:
            return
        session.close(ByeCode.OVERLOADED, reason, retry_after_s=OVERLOADED_AWAY_S)
        session.id = ""  # not to be resumed: what it holds is settled from its next greeting

    def _say(self, guest: Guest, order: DeviceOrder) -> None:
        session = guest.session
        match order:
            case Dispatch():
                number = session.send(
                    Assign(
                        str(order.attempt),
                        order.tool,
                        order.arguments,
                        order.effect,
                        order.run_s,
                        order.idle_s,
                        order.stop_after_s,
                    )
                )
                guest.assigned.append((number, order.attempt))
                while guest.assigned[0][0] <= session.acked:
                    guest.assigned.popleft()
                if guest.watched:
                    self.pulse.leased(guest.watched, order)
            case Revoke():
                session.send(RevokeMessage(str(order.attempt), order.reason[:500]))
            case Reconcile():
                session.send(ReconcileMessage(str(order.attempt), order.verdict, order.reason[:500]))
            case TellDrain():
                session.send(Drain(order.reason[:500]))
            case Disconnect():
                session.close(ByeCode.REVOKED, order.reason or "revoked", terminal=True)
                session.id = ""
                self._forget_token(order.device)
            case _:
                assert_never(order)

    async def _hear(self, guest: Guest, messages: list[AnyMessage]) -> None:
        if messages and isinstance(messages[0], Hello):
            await self._greet(guest, messages[0])
            return
        if not guest.device:
            if not messages:  # it would pass for a sign of life, and who has not greeted shall not stay
                raise RemoteProtocolError(ByeCode.OUT_OF_TURN, "a frame that says nothing, before the greeting")
            return  # a Bye
        heard, session, now = guest.session.heard, guest.session, self._now()
        events: list[Event] = []
        if guest.watched and self.pulse.heard(guest.watched):
            events.append(DeviceTrusted(at=now, device=guest.device))
        try:
            for message in messages:
                event = event_of(message, guest.device, now)
                if event is not None:
                    events.append(event)
        except RemoteProtocolError:
            # What was said before it stands. The rest of the frame must be said anew, so the session is not resumed.
            session.id = ""
            await self._runner.tell_all(events, lambda _: None)
            raise

        def done(_: Refused | None) -> None:
            """All is recorded, refusals too: the device need not say it again."""
            latest = self._guests.get(guest.device, guest)
            if latest.session.id == session.id:  # else the session is over, and its numbers with it
                latest.session.settle(heard, self._now())
                if latest.link:
                    latest.link.wake()

        if events:
            await self._runner.tell_all(events, done)

    # greeting

    async def _greet(self, guest: Guest, hello: Hello) -> None:
        session = guest.session
        require_proof(self._runner.core.fleet, self._galaxy_id, guest.nonce, hello, session)
        before = await self._superseded(guest, hello)
        if session.state is CLOSED:
            return  # it took longer than a greeting may
        if before:
            session.resume(before.session, hello.heard)
            guest.assigned = before.assigned
        else:
            session.id = self._new_id(8)
        guest.device, guest.boot = hello.device, hello.boot
        self._guests[hello.device] = guest
        self._forget_token(hello.device)
        token = self._token_of[hello.device] = self._new_id(32)
        self._artifact_tokens[token] = hello.device
        lease_s = self.pulse.shortest_lease(hello.device)
        pace_s = self.pulse.pace_for(lease_s)
        session.send(Welcome(session.id, before is not None, session.heard, pace_s, CREDITS, token))
        guest.watched = Watched(hello.device, hello.profile.kind, session, self._now(), lease_s)
        if guest.link:
            guest.link.wake()
        connected = DeviceConnected(
            at=self._now(),
            device=hello.device,
            boot=hello.boot,
            profile=hello.profile,
            resumed=before is not None,
            held=hello.held,
            journal=hello.journal[:JOURNAL_CHARS_MAX],
        )
        try:
            await self._runner.tell(connected)
        except Refused as refusal:
            self._forget_token(hello.device)
            raise RemoteProtocolError(ByeCode.REVOKED, str(refusal)) from refusal
        self._greetings.end(session)
        if guest.link and self._guests.get(hello.device) is guest:
            self.pulse.add(guest.watched)

    async def _superseded(self, guest: Guest, hello: Hello) -> Guest | None:
        """End the device's earlier socket; return its guest if this greeting resumes it, else None when that is over.

        What was given to an earlier session may still be on its way to the disk. It must not come out on the new one,
        which says that it was never begun: so the earlier one is over, and all that it was given let go, before this
        one counts.
        """
        while True:
            before = self._guests.get(hello.device)
            if before and before.link:
                self._require_alone(guest, hello, before)
                if before.watched:
                    self.pulse.remove(before.watched)
                before.session.close(ByeCode.REPLACED, "the device has dialled again", retry_after_s=5.0)
                before.link.wake()
            if before and before.session.id and before.session.id == hello.session and self._is_current(before, hello):
                return before
            if before:
                before.session.id = ""
            if self._runner.core.fleet.device(hello.device).presence is Presence.CONNECTED:
                gone = DeviceDisconnected(at=self._now(), device=hello.device, reason="it has begun a new session")
                with suppress(Refused):  # it was revoked meanwhile
                    await self._runner.tell(gone)
            else:
                await self._runner.durable()
            if self._guests.get(hello.device) is before:
                return None

    def _require_alone(self, guest: Guest, hello: Hello, before: Guest) -> None:
        """Raise RemoteProtocolError while another start of the device's agent lives on another socket.

        Two agents of one identity would take the connection from each other for ever. One that was started anew is
        not kept waiting: the system closes the sockets of a process that ends. Where it could not, the old one is soon
        found silent.
        """
        if before.boot == hello.boot or before.session.state is not OPEN or not before.watched:
            return
        left_s = before.watched.suspect_at - self._now()
        if left_s <= 0.0:
            return
        reason = f"{hello.device} is connected already, by an agent that was started apart from this one"
        guest.session.close(ByeCode.REPLACED, reason, retry_after_s=left_s)
        raise RemoteProtocolError(ByeCode.REPLACED, reason)

    def _is_current(self, before: Guest, hello: Hello) -> bool:
        """Return whether no attempt that the device has yet to hear of is over or to be stopped: it would begin it."""
        constellations = self._runner.core.constellations
        for number, attempt in before.assigned:
            constellation = constellations.get(attempt.constellation)
            course = constellation.courses.get(attempt.star) if constellation else None
            held = course.holding(attempt.number) if course else None
            if number > hello.heard and (held is None or held.stopping or held.device != hello.device):
                return False
        return True

    def _forget_token(self, device: str) -> None:
        if token := self._token_of.pop(device, ""):
            del self._artifact_tokens[token]
