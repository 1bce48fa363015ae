"""Two sessions and the wire between them."""

from msgspec import Raw

from protocol.messages import AnyMessage, Assign, Challenge, Hello, Message, Progress, Welcome
from protocol.session import Session
from protocol.states import DEVICE, GALAXY, OPEN, Role
from protocol.vocabulary import Effect, Kind, Profile

HEARTBEAT_S = 10.0
PROFILE = Profile(Kind.DESKTOP, 1, ())
CHALLENGE = Challenge("home", "0123", 1, 1)
ASSIGN = Assign("c/a#1", "shell", Raw(b"{}"), Effect.PURE, 60.0)


def hello(session: str = "", heard: int = 0) -> Hello:
    return Hello("laptop", "c2lnbmVk", 1, "boot-1", PROFILE, session, heard)


def note(n: int, size: int = 0) -> Progress:
    return Progress("c/a#1", f"{n}".ljust(size, "."))


class Wire:
    """A socket between two sessions; every message really crosses: encoded on one side, decoded on the other."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.ends = {role: Session(role, now=now) for role in Role}
        self.again: list[AnyMessage] = []  # what Galaxy said right after a resume

    @property
    def device(self) -> Session:
        return self.ends[DEVICE]

    @property
    def galaxy(self) -> Session:
        return self.ends[GALAXY]

    def say(self, role: Role, *messages: Message) -> list[AnyMessage]:
        """Send from `role`; return what the other end hears."""
        for message in messages:
            self.ends[role].send(message)
        return self.deliver(role)

    def deliver(self, role: Role) -> list[AnyMessage]:
        """Carry what `role` has to say; return what the other end hears."""
        end = self.ends[role]
        other = self.ends[end.peer]
        return [m for frame in end.frames_to_send(self.now) for m in other.receive(frame, self.now)]

    def settle(self, role: Role, number: int | None = None) -> None:
        """Let `role` acknowledge what it has heard (or up to a number), after the time that it may wait."""
        end = self.ends[role]
        end.settle(end.heard if number is None else number, self.now)
        self.now += 1.0
        assert self.deliver(role) == []


def opened(heartbeat_s: float = HEARTBEAT_S, credits: int = 64) -> Wire:
    wire = Wire()
    wire.say(GALAXY, CHALLENGE)
    wire.say(DEVICE, hello())
    wire.galaxy.id = "s1"
    wire.say(GALAXY, Welcome("s1", False, 0, heartbeat_s, credits, "token"))
    return wire


def resumed(before: Wire, credits: int = 64) -> Wire:
    """Return a new wire on which both ends have gone on where `before` broke off."""
    wire = Wire(before.now)
    wire.say(GALAXY, CHALLENGE)
    (greeting,) = wire.say(DEVICE, hello("s1", before.device.heard))
    assert isinstance(greeting, Hello)
    wire.galaxy.resume(before.galaxy, greeting.heard)
    wire.galaxy.send(Welcome("s1", True, wire.galaxy.heard, HEARTBEAT_S, credits, "token"))
    first, *rest = wire.galaxy.frames_to_send(wire.now)
    (welcome,) = wire.device.receive(first, wire.now)
    assert isinstance(welcome, Welcome)
    wire.device.resume(before.device, welcome.heard)
    wire.again = [m for frame in rest for m in wire.device.receive(frame, wire.now)]
    assert wire.device.state is wire.galaxy.state is OPEN
    return wire
