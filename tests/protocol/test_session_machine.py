"""Any interleaving of words, losses and resumes: each numbered message is heard exactly once, and in order."""

from collections import deque
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Raw

from protocol.messages import AnyMessage, Assign, Challenge, Hello, Progress, Welcome
from protocol.session import Session
from protocol.states import CLOSED, DEVICE, GALAXY, OPEN, Role
from protocol.vocabulary import Effect

from .helpers import CHALLENGE, HEARTBEAT_S, hello

CREDITS = 5
GREETING = 6  # frames, and what follows at once
roles = st.sampled_from([DEVICE, GALAXY])
sizes = st.sampled_from([1, 1, 1, 150_000])


def numbered(role: Role, n: int, size: int) -> AnyMessage:
    if role is DEVICE:
        return Progress(str(n), "x" * size)
    return Assign(str(n), "shell", Raw(b'"%b"' % (b"x" * size)), Effect.PURE, 60.0)


class Conversation(RuleBasedStateMachine):
    """Two owners as the gateway and the agent are: each keeps its last session, and resumes it on the next socket."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.opened = False
        self.kept = {role: Session(role, now=0.0) for role in Role}  # the sessions that count
        self.said = dict.fromkeys(Role, 0)
        self.heard: dict[Role, list[int]] = {role: [] for role in Role}
        self.settled = dict.fromkeys(Role, 0)
        self.ends = self.kept
        self.flying: dict[Role, deque[bytes]] = {role: deque() for role in Role}
        self.dial(frames=GREETING)

    # What happens.

    @rule(frames=st.sampled_from([0, 1, 2, 3, 4, GREETING, GREETING, GREETING, GREETING]))
    def dial(self, frames: int) -> None:
        """A new socket, at any moment; what was on the old is lost, or late. So many frames of the greeting pass."""
        self.late = [(self.ends[GALAXY], frame) for frame in self.flying[DEVICE]]
        self.ends = {role: Session(role, now=self.now) for role in Role}
        self.flying = {role: deque() for role in Role}
        self.ends[GALAXY].send(CHALLENGE)
        for n in range(frames):
            role = (GALAXY, DEVICE)[n % 2]
            self.flush(role)
            if self.flying[role]:
                self.hear(self.ends[self.ends[role].peer], self.flying[role].popleft())

    @precondition(lambda self: self.late)
    @rule()
    def arrive_late(self) -> None:
        """The device has left a socket that Galaxy still hears."""
        self.hear(*self.late.pop(0))

    @rule(role=roles, size=sizes)
    def say(self, role: Role, size: int) -> None:
        """Also while there is no socket, once there was a session."""
        if self.opened and self.kept[role].id and self.said[role] < 60:
            self.said[role] += 1
            assert self.kept[role].send(numbered(role, self.said[role], size)) == self.said[role]

    @rule(role=roles)
    def flush(self, role: Role) -> None:
        self.flying[role].extend(self.ends[role].frames_to_send(self.now))

    @rule(role=roles, frames=st.integers(1, 3))
    def arrive(self, role: Role, frames: int) -> None:
        self.flush(role)
        for _ in range(min(frames, len(self.flying[role]))):
            self.hear(self.ends[self.ends[role].peer], self.flying[role].popleft())

    @rule(role=roles, back=st.sampled_from([0, 0, 0, 1, 2]))
    def settle(self, role: Role, back: int) -> None:
        self.settled[role] = max(self.settled[role], self.kept[role].heard - back)
        self.kept[role].settle(self.settled[role], self.now)

    @rule(seconds=st.sampled_from([0.01, 1.0, HEARTBEAT_S, 4 * HEARTBEAT_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for end in self.ends.values():
            end.tick(self.now)

    # What the two owners do.

    def hear(self, end: Session, frame: bytes) -> None:
        for message in end.receive(frame, self.now):
            match message:
                case Challenge():
                    end.send(hello(self.kept[DEVICE].id, self.kept[DEVICE].heard))
                case Hello():
                    self.welcome(end, message)
                case Welcome(resumed=resumed, heard=heard):
                    if resumed:
                        end.resume(self.kept[DEVICE], heard)
                    self.kept[DEVICE] = end
                    self.opened = True
                case Progress(attempt=number) | Assign(attempt=number):
                    self.heard[end.role].append(int(number))

    def welcome(self, end: Session, greeting: Hello) -> None:
        before = self.kept[GALAXY]
        resumed = bool(greeting.session)
        assert not (self.opened and not resumed)
        if resumed:
            end.resume(before, greeting.heard)
        else:
            end.id = "s1"
        end.send(Welcome("s1", resumed, end.heard, HEARTBEAT_S, CREDITS, "token"))
        self.kept[GALAXY] = end

    # What holds.

    @invariant()
    def everything_is_heard_once_and_in_order(self) -> None:
        for role, heard in self.heard.items():
            assert all(b == a + 1 for a, b in pairwise(heard))
            assert heard[:1] in ([], [1])
            assert len(heard) == self.kept[role].heard

    @invariant()
    def nothing_is_forgotten_before_it_is_safe(self) -> None:
        for role in Role:
            peer = self.kept[role].peer
            assert self.kept[role].acked <= self.settled[peer] <= self.said[role]
            assert self.kept[role].unacknowledged == self.said[role] - self.kept[role].acked

    @invariant()
    def no_more_is_under_way_than_the_credits_allow(self) -> None:
        for role in Role:
            assert self.kept[role].heard <= self.settled[role] + CREDITS

    def teardown(self) -> None:
        """With a socket that holds and owners that settle, both outboxes empty."""
        self.dial(frames=0)
        for _ in range(200):
            self.now += 0.1
            for role in Role:
                self.flush(role)
                while self.flying[role]:
                    self.hear(self.ends[self.ends[role].peer], self.flying[role].popleft())
            for role in Role:
                if self.kept[role] is self.ends[role]:
                    self.settle(role, 0)
            if all(end.state is OPEN and not end.unacknowledged for end in self.ends.values()):
                break
        assert {end.state for end in self.ends.values()} == {OPEN}, (self.ends[GALAXY].state, CLOSED)
        assert self.heard == {
            DEVICE: list(range(1, self.said[GALAXY] + 1)),
            GALAXY: list(range(1, self.said[DEVICE] + 1)),
        }
        assert [end.unacknowledged for end in self.ends.values()] == [0, 0]


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=300, stateful_step_count=40, deadline=None, derandomize=True)
