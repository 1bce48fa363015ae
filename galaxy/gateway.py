"""Devices' sessions on one side, events and orders on the other.

What a device says becomes an event under the identity that its session proved; what the core orders becomes a message
in the session's outbox, whether or not a socket is there to carry it just now.
"""

import base64
import logging
import re
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import assert_never

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocol.codec import proof_of
from protocol.errors import RemoteProtocolError
from protocol.link import Link, Socket
from protocol.messages import (
    Accept,
    AnyMessage,
    Assign,
    Challenge,
    Drain,
    Hello,
    Profiled,
    Progress,
    Reject,
    Report,
    Sleep,
    Stopping,
    Welcome,
)
from protocol.messages import Reconcile as ReconcileMessage
from protocol.messages import Revoke as RevokeMessage
from protocol.session import Session
from protocol.states import CLOSED, GALAXY
from protocol.vocabulary import NOTHING, RESULT_INLINE_BYTES_MAX, VERSION, ByeCode, Failure, Outcome

from .core.attempt import AttemptId, LeaseEnd
from .core.errors import Refused
from .core.events import (
    DeviceAsleep,
    DeviceConnected,
    DeviceDisconnected,
    DeviceDraining,
    DeviceProfiled,
    Event,
    LeaseEnded,
    StarAccepted,
    StarProgressed,
    StarReported,
    StopBegun,
)
from .core.fleet import Presence
from .core.orders import DeviceOrder, Disconnect, Dispatch, Reconcile, Revoke, TellDrain
from .metrics import Metrics
from .runner import Runner

log = logging.getLogger(__name__)

CREDITS = 512
OUTBOX_MAX = 20_000  # messages that a device may leave unacknowledged before it is cut off
ATTEMPT_NUMBER_MAX = 1_000_000_000
RESULT_DEPTH_MAX = 200  # levels; readers, and those who take it over into arguments, give up at some hundreds more
STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
BRACKETS = re.compile(rb"[][{}]")


class Guest:
    """One socket, from its first frame on; it becomes a device when it has proved a key."""

    def __init__(self, session: Session, nonce: str) -> None:
        self.session = session
        self.nonce = nonce
        self.device = ""
        self.link: Link | None = None
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
        heartbeat_s: float = 5.0,
        new_id: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._runner = runner
        self._galaxy_id = galaxy_id
        self._now = now
        self._metrics = metrics
        self._heartbeat_s = heartbeat_s
        self._new_id = new_id  # of so many random bytes
        self._guests: dict[str, Guest] = {}  # the latest of each device, also after its socket is gone
        self._artifact_tokens: dict[str, str] = {}  # token -> device
        self._token_of: dict[str, str] = {}  # device -> its one token
        runner.carry_out = self.carry_out

    async def serve(self, socket: Socket) -> None:
        """Hold a conversation over an accepted socket, until it ends."""
        guest = Guest(Session(GALAXY, now=self._now()), self._new_id(16))
        guest.session.send(Challenge(self._galaxy_id, guest.nonce, VERSION, VERSION))
        guest.link = Link(guest.session, socket, self._now)

        async def hear(messages: list[AnyMessage]) -> None:
            await self._hear(guest, messages)

        why = await guest.link.run(hear)
        guest.link = None
        log.info("link ended", extra={"device": guest.device, "reason": why})
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
            if guest.session.unacknowledged > OUTBOX_MAX:
                guest.session.close(ByeCode.OVERLOADED, f"{OUTBOX_MAX} messages are unacknowledged", retry_after_s=10)
                guest.session.id = ""  # not to be resumed: what it holds is settled from its next greeting
            spoken[order.device] = guest
        for guest in spoken.values():
            if guest.link:
                guest.link.wake()

    def artifact_device(self, token: str) -> str | None:
        """Return the device whose session this token was given to, while that is the device's session."""
        device = self._artifact_tokens.get(token)
        return device if device and self._guests[device].session.id else None

    def close(self) -> None:
        """Say goodbye to all: the node stops, the devices shall come back."""
        for guest in self._guests.values():
            guest.session.close(ByeCode.STOPPING, "the node stops", retry_after_s=1.0)
            if guest.link:
                guest.link.wake()

    def unacknowledged(self) -> int:
        """Return how many messages devices have not acknowledged."""
        return sum(guest.session.unacknowledged for guest in self._guests.values())

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
        try:
            for message in messages:
                event = self._event_of(message, guest.device, now)
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

    def _event_of(self, message: AnyMessage, device: str, now: float) -> Event | None:
        match message:
            case Report():
                return self._reported(message, device, now)
            case Accept():
                c, s, n = _parsed(message.attempt)
                return StarAccepted(at=now, constellation=c, star=s, attempt=n, device=device)
            case Stopping():
                c, s, n = _parsed(message.attempt)
                return StopBegun(at=now, constellation=c, star=s, attempt=n, device=device)
            case Progress():
                c, s, n = _parsed(message.attempt)
                note = message.note[:2000]
                return StarProgressed(
                    at=now, constellation=c, star=s, attempt=n, device=device, note=note, fraction=message.fraction
                )
            case Reject():
                c, s, n = _parsed(message.attempt)
                cause = LeaseEnd.REJECTED
                return LeaseEnded(
                    at=now, constellation=c, star=s, attempt=n, device=device, cause=cause, failure=message.failure
                )
            case Sleep():
                until = now + max(0.0, message.for_s)
                return DeviceAsleep(at=now, device=device, until=until, reason=message.reason[:500])
            case Profiled():
                return DeviceProfiled(at=now, device=device, profile=message.profile)
            case Drain():
                return DeviceDraining(at=now, device=device, reason=message.reason[:500], by=f"device {device}")
        return None

    def _reported(self, message: Report, device: str, now: float) -> StarReported:
        constellation, star, number = _parsed(message.attempt)
        outcome, result, failure = message.outcome, message.result, message.failure
        if unfit := _unfit(bytes(result)):
            outcome, result, failure = Outcome.FAILED, NOTHING, unfit
        return StarReported(
            at=now,
            constellation=constellation,
            star=star,
            attempt=number,
            device=device,
            outcome=outcome,
            result=result.copy(),  # its bytes are a window on the frame, which need not outlive it
            failure=failure,
            ran_s=max(0.0, message.ran_s),
        )

    # greeting

    async def _greet(self, guest: Guest, hello: Hello) -> None:
        session = guest.session
        self._authenticate(guest, hello)
        before = await self._superseded(hello)
        if session.state is CLOSED:
            return  # it took longer than a greeting may
        if before:
            session.resume(before.session, hello.heard)
            guest.assigned = before.assigned
        else:
            session.id = self._new_id(8)
        guest.device = hello.device
        self._guests[hello.device] = guest
        self._forget_token(hello.device)
        token = self._token_of[hello.device] = self._new_id(32)
        self._artifact_tokens[token] = hello.device
        session.send(Welcome(session.id, before is not None, session.heard, self._heartbeat_s, CREDITS, token))
        if guest.link:
            guest.link.wake()
        connected = DeviceConnected(
            at=self._now(),
            device=hello.device,
            boot=hello.boot,
            profile=hello.profile,
            resumed=before is not None,
            held=hello.held,
        )
        try:
            await self._runner.tell(connected)
        except Refused as refusal:
            self._forget_token(hello.device)
            raise RemoteProtocolError(ByeCode.REVOKED, str(refusal)) from refusal

    async def _superseded(self, hello: Hello) -> Guest | None:
        """End the device's earlier socket; return its guest if this greeting resumes it, else None when that is over.

        What was given to an earlier session may still be on its way to the disk. It must not come out on the new one,
        which says that it was never begun: so the earlier one is over, and all that it was given let go, before this
        one counts.
        """
        while True:
            before = self._guests.get(hello.device)
            if before and before.link:
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

    def _authenticate(self, guest: Guest, hello: Hello) -> None:
        """Raise RemoteProtocolError unless the device's own key signed this very challenge."""
        if hello.version != VERSION:
            raise RemoteProtocolError(ByeCode.VERSION, f"version {hello.version} is not spoken here, only {VERSION}")
        device = self._runner.core.fleet.devices.get(hello.device)
        if device is None or device.presence is Presence.REVOKED:
            guest.session.close(ByeCode.REVOKED, f"{hello.device} has not joined, or was revoked", terminal=True)
            raise RemoteProtocolError(ByeCode.REVOKED, f"{hello.device} has not joined, or was revoked")
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(device.public_key))
            proof = proof_of(self._galaxy_id, guest.nonce, hello.device, hello.boot)
            key.verify(base64.b64decode(hello.signature), proof)
        except (InvalidSignature, ValueError) as exc:
            raise RemoteProtocolError(ByeCode.UNAUTHENTICATED, "the signature is not by this device's key") from exc
        for held in hello.held:
            _parsed(held.attempt)

    def _forget_token(self, device: str) -> None:
        if token := self._token_of.pop(device, ""):
            del self._artifact_tokens[token]


def _parsed(attempt: str) -> AttemptId:
    try:
        parsed = AttemptId.parse(attempt)
    except ValueError as exc:
        raise RemoteProtocolError(ByeCode.MALFORMED, str(exc)[:200]) from exc
    if str(parsed) != attempt or not 0 < parsed.number <= ATTEMPT_NUMBER_MAX:
        raise RemoteProtocolError(ByeCode.MALFORMED, f"{attempt[:200]!r} is not an attempt's id")
    return parsed


def _unfit(result: bytes) -> Failure | None:
    """Return why a result cannot be kept, or None. Only one with many brackets is looked at closely."""
    if len(result) > RESULT_INLINE_BYTES_MAX:
        text = f"a result of over {RESULT_INLINE_BYTES_MAX} bytes must travel as an artifact"
        return Failure("result_too_large", text)
    if result.count(b"[") + result.count(b"{") > RESULT_DEPTH_MAX and _depth(result) > RESULT_DEPTH_MAX:
        return Failure("result_too_deep", f"a result of over {RESULT_DEPTH_MAX} levels")
    return None


def _depth(result: bytes) -> int:
    depth = deepest = 0
    for bracket in BRACKETS.findall(STRINGS.sub(b"", result)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
