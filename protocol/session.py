"""One end of a conversation between a device and Galaxy.

    send(message)            say something            -> frames_to_send(now)
    receive(frame, now)      hear something           -> the messages it held, each once and in order
    settle(number)           what was heard up to here is safe; acknowledge it
    resume(previous, heard)  go on where an earlier socket broke off
    tick(now)                let time pass            -> frames_to_send(now), maybe closed
    pace(heartbeat_s)        galaxy: let the device renew at another rate
    renew_within(seconds)    device: renew at least so often, because of what it holds
    next_deadline()          when tick is next due

The owner of the socket calls these and carries the frames; nothing here waits. Each numbered message is kept until the
peer has acknowledged it and is said again after `resume`, so that both ends hear everything exactly once, in order,
across any number of sockets.
"""

from collections import deque
from math import inf

from .codec import encode, framed, unframed
from .errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from .messages import CONTROL, AnyMessage, Bye, Message, Renew, Renewed, Welcome
from .states import CLOSED, DEVICE, GALAXY, NEW, OPEN, TRANSITIONS, Role, State
from .vocabulary import FRAME_BYTES_MAX, ByeCode

GREETING_WITHIN_S = 10.0
SILENCES_MAX = 2.75  # heartbeats: a link that swallows everything is found out before the third has passed
ACK_WITHIN_S = 0.05  # an acknowledgement waits so long for a message to ride on
FRAME_BYTES_AIM = 256 << 10
ENVELOPE_BYTES = 96  # of a frame around its messages
OUTBOX_MAX = 100_000  # messages; an owner that fills it has forgotten to look at `unacknowledged`


class Session:
    """The conversation as one end sees it, on one socket; `resume` carries it to the next."""

    def __init__(self, role: Role, *, now: float) -> None:
        self.role = role
        self.peer = DEVICE if role is GALAXY else GALAXY
        self.state: State = NEW
        self.id = ""
        self.heard = 0  # number of the peer's last message
        self.acked = 0  # number of our last message that is safe with the peer
        self.renewed_at = now  # device, once open: our clock when we sent the last renewal that Galaxy has answered
        self.heard_at = now
        self.heartbeat_s = 0.0
        self.unacknowledged_bytes = 0  # of our messages that the peer has not acknowledged
        self.closed_for: ByeCode | None = None  # why this end has said goodbye
        self._renew_within_s = inf
        self._pace_s = 0.0  # galaxy: a heartbeat that the device is to be told of
        self._credits = 0
        self._settled = 0
        self._ack_said = 0
        self._ack_due: float | None = None
        self._renewal_sent_at = self._renew_at = now
        self._said = 0  # number of our last message
        self._unsent: deque[tuple[int, bytes]] = deque()
        self._sent: deque[tuple[int, bytes]] = deque()
        self._control: list[bytes] = []
        self._to_answer: float | None = None  # galaxy: the last renewal, where it is not answered yet

    @property
    def unacknowledged(self) -> int:
        """How many of our messages the peer has not acknowledged."""
        return self._said - self.acked

    def send(self, message: Message) -> int:
        """Return the message's number (0 for the greeting and signs of life); raise LocalProtocolError.

        Once a session was open, numbered messages may be said while no socket is: they wait for `resume`.
        """
        encoded = encode(message)
        if len(encoded) > FRAME_BYTES_MAX - ENVELOPE_BYTES:
            raise LocalProtocolError(f"{type(message).__name__} of {len(encoded)} bytes does not fit a frame")
        if isinstance(message, CONTROL):
            self._move(self.role, message)
            self._control.append(encoded)
            return 0
        if not self.id or type(message) not in TRANSITIONS[OPEN][self.role]:
            raise LocalProtocolError(f"{self.role} may not say {type(message).__name__} when {self.state}")
        if self.unacknowledged >= OUTBOX_MAX:
            raise LocalProtocolError(f"{OUTBOX_MAX} messages are unacknowledged")
        self._said += 1
        self.unacknowledged_bytes += len(encoded)
        self._unsent.append((self._said, encoded))
        return self._said

    def receive(self, frame: bytes | str, now: float) -> list[AnyMessage]:
        """Return what the peer said that is for the owner; raise RemoteProtocolError, with our Bye ready to send.

        A frame that a device reads after its limit of silence is not heard: a device that stood still, and wakes with
        an order in its socket, cannot know how old that is. It is said again on the next socket, where it still holds.
        """
        if self.role is DEVICE and self.state is OPEN and now >= self.heard_at + SILENCES_MAX * self.heartbeat_s:
            self.tick(now)
        if self.state is CLOSED:
            return []
        try:
            messages = self._heard_in(frame, now)
        except RemoteProtocolError as exc:
            self.close(exc.code, str(exc))
            raise
        self.heard_at = now
        return messages

    def settle(self, number: int, now: float) -> None:
        """Acknowledge, soon, everything heard up to `number`: it will not be said again."""
        assert number <= self.heard
        if number > self._settled:
            self._settled = number
            if self._ack_due is None:
                self._ack_due = now + ACK_WITHIN_S

    def resume(self, previous: "Session", heard: int) -> None:
        """Take over what `previous` has said and heard; say again what the peer has not `heard`.

        What it has heard but not acknowledged is kept: it is not safe there yet. `previous` is over from here on.
        Galaxy resumes before it says Welcome, the device when it has heard it.
        Raise RemoteProtocolError if the peer claims to have heard what was never said, or forgets what it acknowledged.
        """
        assert self.unacknowledged == self.heard == 0, "a session resumes before anything else"
        if not previous.acked <= heard <= previous._framed:
            raise RemoteProtocolError(ByeCode.MALFORMED, f"cannot resume at {heard} of {previous._framed}")
        previous.close(ByeCode.REPLACED, "the session goes on on another socket")
        self.id, self.heard, self._settled = previous.id, previous.heard, previous._settled
        self._said, self.acked = previous._said, previous.acked
        self.unacknowledged_bytes = previous.unacknowledged_bytes
        for entry in (*previous._sent, *previous._unsent):
            (self._sent if entry[0] <= heard else self._unsent).append(entry)
        self._ack_due = self.heard_at if self._settled else None  # the last one may have been lost with the socket

    def close(self, code: ByeCode, message: str, *, terminal: bool = False, retry_after_s: float = 0.0) -> None:
        """Say goodbye, if that is still possible. What is unacknowledged stays for a later `resume`."""
        if self.state is not CLOSED:
            self.state, self.closed_for = CLOSED, code
            self._control.append(encode(Bye(code, message[:200], terminal, retry_after_s)))

    def pace(self, heartbeat_s: float) -> None:
        """Tell the device, with the next answer to a renewal, to renew every so many seconds."""
        self._pace_s = heartbeat_s if heartbeat_s != self.heartbeat_s else 0.0

    def renew_within(self, seconds: float) -> None:
        """Renew every so many seconds at least, whatever Galaxy's heartbeat is."""
        self._renew_within_s = seconds
        self._renew_at = min(self._renew_at, self._renewal_sent_at + seconds)

    def frames_to_send(self, now: float) -> list[bytes]:
        """Return the frames for the socket, in order; each is handed out once."""
        frames: list[bytes] = []
        if self._to_answer is not None and self.state is OPEN:
            self.send(Renewed(self._to_answer, self._pace_s))
            self.heartbeat_s = self._pace_s or self.heartbeat_s
            self._to_answer, self._pace_s = None, 0.0
        if self._control:
            # A peer that has yet to resume cannot know what an acknowledgement beside our Welcome is about.
            ack = self._settled if self.state is CLOSED and self._credits else self._ack_said
            frames.append(framed(self._control, first=0, ack=ack))
            self._control = []
        if self.state is OPEN:
            numbered = len(frames)
            while frame := self._next_numbered():
                frames.append(frame)
            if len(frames) == numbered and self._owes_ack(now):
                frames.append(framed((), first=0, ack=self._settled))
            if len(frames) > numbered:
                self._ack_said, self._ack_due = self._settled, None
        return frames

    def next_deadline(self) -> float | None:
        """Return when `tick` or `frames_to_send` has something to do though nobody speaks, or None when closed."""
        if self.state is CLOSED:
            return None
        if self.state is not OPEN:
            return self.heard_at + GREETING_WITHIN_S
        deadline = self.heard_at + SILENCES_MAX * self.heartbeat_s
        if self.role is DEVICE:
            deadline = min(deadline, self._renew_at)
        return deadline if self._ack_due is None else min(deadline, self._ack_due)

    def tick(self, now: float) -> None:
        """Renew when it is time, and close when the peer has been silent for too long."""
        if self.state is CLOSED:
            return
        limit_s = SILENCES_MAX * self.heartbeat_s if self.state is OPEN else GREETING_WITHIN_S
        if now >= self.heard_at + limit_s:
            self.close(ByeCode.SILENT, f"nothing heard for {now - self.heard_at:.1f} s")
        elif self.state is OPEN and self.role is DEVICE and now >= self._renew_at:
            self._renewal_sent_at = now
            self._renew_at = now + min(self.heartbeat_s, self._renew_within_s)
            self.send(Renew(now))

    # private

    @property
    def _framed(self) -> int:
        """Number of our last message that was handed to this socket, or is known to have crossed on an earlier one."""
        return self._unsent[0][0] - 1 if self._unsent else self._said

    def _heard_in(self, frame: bytes | str, now: float) -> list[AnyMessage]:
        decoded = unframed(frame)
        if self.state is OPEN:
            self._prune(decoded.ack)
        if not decoded.first:
            return [message for message in decoded.messages if self._is_for_owner(message, now)]
        if decoded.first > self.heard + 1:
            raise RemoteProtocolError(ByeCode.MALFORMED, f"message {self.heard + 1} is missing before {decoded.first}")
        allowed = TRANSITIONS[self.state][self.peer]
        for message in decoded.messages:
            if type(message) not in allowed or isinstance(message, CONTROL):
                raise self._out_of_turn(self.peer, message)
        new = decoded.messages[self.heard + 1 - decoded.first :]
        self.heard += len(new)
        return new

    def _is_for_owner(self, message: AnyMessage, now: float) -> bool:
        if not isinstance(message, CONTROL):
            raise RemoteProtocolError(ByeCode.MALFORMED, f"{type(message).__name__} without a number")
        self._move(self.peer, message)
        match message:
            case Renew(sent_at=sent_at):
                self._to_answer = sent_at  # only the last counts, so that a flood is not answered by one
                return False
            case Renewed(sent_at=sent_at, heartbeat_s=heartbeat_s):
                self.renewed_at = max(self.renewed_at, min(sent_at, now))
                if heartbeat_s > 0.0:
                    self.heartbeat_s = heartbeat_s
                    self._renew_at = self._renewal_sent_at + min(heartbeat_s, self._renew_within_s)
                return False
        return True

    def _prune(self, ack: int) -> None:
        if ack > self._framed:
            raise RemoteProtocolError(ByeCode.MALFORMED, f"message {ack} is acknowledged before it was said")
        while self._sent and self._sent[0][0] <= ack:
            self.unacknowledged_bytes -= len(self._sent.popleft()[1])
        self.acked = max(self.acked, ack)

    def _next_numbered(self) -> bytes | None:
        """Return one frame of what is unsent and within the peer's credits, or None."""
        if not self._unsent or self._unsent[0][0] > self.acked + self._credits:
            return None
        first, size = self._unsent[0][0], 0
        batch: list[bytes] = []
        while self._unsent and self._unsent[0][0] <= self.acked + self._credits:
            size += len(self._unsent[0][1]) + 1
            if batch and size > FRAME_BYTES_AIM:
                break
            entry = self._unsent.popleft()
            self._sent.append(entry)
            batch.append(entry[1])
        return framed(batch, first=first, ack=self._settled)

    def _owes_ack(self, now: float) -> bool:
        owed = self._settled - self._ack_said
        return owed > 0 and (4 * owed >= self._credits or (self._ack_due is not None and now >= self._ack_due))

    def _move(self, role: Role, message: Message) -> None:
        state = TRANSITIONS[self.state][role].get(type(message))
        if state is None:
            raise self._out_of_turn(role, message)
        if isinstance(message, Welcome):
            if message.credits < 1 or message.heartbeat_s <= 0.0:
                raise self._breach(role, ByeCode.MALFORMED, "a Welcome without credits or a heartbeat")
            self.id, self.heartbeat_s, self._credits = message.session, message.heartbeat_s, message.credits
            # The Hello was the first renewal. It was said no earlier than the Challenge came, the last that we heard.
            self.renewed_at = self._renewal_sent_at = self._renew_at = self.heard_at
        self.state = state

    def _out_of_turn(self, role: Role, message: Message) -> ProtocolError:
        return self._breach(role, ByeCode.OUT_OF_TURN, f"{role} may not say {type(message).__name__} when {self.state}")

    def _breach(self, role: Role, code: ByeCode, text: str) -> ProtocolError:
        return LocalProtocolError(text) if role is self.role else RemoteProtocolError(code, text)
