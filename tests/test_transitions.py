"""Every legal move is taken by a scenario: for the wire by what is said, for the stars by events alone."""

from collections.abc import Iterator

import pytest
from msgspec import Raw

from galaxy.core import constellation as constellations
from galaxy.core.edit import AddLine, Skip
from galaxy.core.star import OnFailure, Timeouts, Verify
from galaxy.core.states import TERMINAL, StarState
from galaxy.core.states import TRANSITIONS as MOVES
from protocol.codec import encode, framed
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages import (
    CONTROL,
    NUMBERED,
    Accept,
    Assign,
    Bye,
    Challenge,
    Drain,
    Hello,
    Message,
    Profiled,
    Progress,
    Reconcile,
    Reject,
    Renew,
    Renewed,
    Report,
    Revoke,
    Sleep,
    Stopping,
    VitalsTold,
    Welcome,
)
from protocol.session import Session
from protocol.states import CHALLENGED, CLOSED, DEVICE, GALAXY, GREETED, NEW, OPEN, TRANSITIONS, Role, State
from protocol.vocabulary import ByeCode, Effect, Failure, Outcome, Verdict, Vitals

from .galaxy.core.helpers import (
    AGAIN,
    AT_ONCE,
    Log,
    accept,
    cancel,
    device,
    done,
    edit,
    fail,
    line,
    pair,
    star,
    stopped,
    submit,
    unknown,
)
from .protocol.helpers import CHALLENGE, PROFILE, Wire, hello

EXAMPLES: dict[type[Message], Message] = {
    type(message): message
    for message in (
        CHALLENGE,
        hello(),
        Welcome("s1", False, 0, 10.0, 64, "token"),
        Renew(1.0),
        Renewed(1.0),
        Bye(ByeCode.STOPPING, "the end"),
        Assign("c/a#1", "shell", Raw(b"{}"), Effect.PURE, 60.0),
        Accept("c/a#1"),
        Reject("c/a#1", Failure("draining", "no more")),
        Stopping("c/a#1"),
        Progress("c/a#1", "half"),
        Report("c/a#1", Outcome.SUCCEEDED),
        Revoke("c/a#1", "enough"),
        Reconcile("c/a#1", Verdict.CONTINUE, "its lease holds"),
        Profiled(PROFILE),
        VitalsTold(Vitals(battery=0.5)),
        Sleep(60.0, "night"),
        Drain("evening"),
    )
}
GREETING = ((GALAXY, Challenge), (DEVICE, Hello), (GALAXY, Welcome))
REACHED = {NEW: 0, CHALLENGED: 1, GREETED: 2, OPEN: 3}

# The wire.


def wire_in(state: State) -> Wire:
    wire = Wire()
    for role, kind in GREETING[: REACHED.get(state, 3)]:
        wire.say(role, EXAMPLES[kind])
    if state is CLOSED:
        wire.galaxy.close(ByeCode.STOPPING, "the end")
        wire.deliver(GALAXY)
        wire.galaxy.id = wire.device.id = ""  # no session to say it in later
    return wire


def legal() -> Iterator[tuple[State, Role, type[Message], State]]:
    for state, rights in TRANSITIONS.items():
        for role, moves in rights.items():
            yield from ((state, role, kind, after) for kind, after in moves.items())


@pytest.mark.parametrize(("state", "role", "kind", "after"), list(legal()), ids=lambda x: getattr(x, "__name__", x))
def test_each_legal_word_is_said_and_heard_and_leads_where_the_table_says(state, role, kind, after):
    wire = wire_in(state)
    assert {end.state for end in wire.ends.values()} == {state}
    heard = wire.say(role, EXAMPLES[kind])

    assert {end.state for end in wire.ends.values()} == {after}
    assert [type(message) for message in heard] == ([kind] if kind not in (Renew, Renewed) else [])


def forbidden() -> Iterator[tuple[State, Role, type[Message]]]:
    allowed = {(state, role, kind) for state, role, kind, _ in legal()}
    for state in State:
        for role in Role:
            yield from ((state, role, kind) for kind in EXAMPLES if (state, role, kind) not in allowed)


@pytest.mark.parametrize(("state", "role", "kind"), list(forbidden()), ids=lambda x: getattr(x, "__name__", x))
def test_each_word_that_is_not_in_the_table_is_refused_at_both_ends(state, role, kind):
    wire = wire_in(state)
    speaker, hearer = wire.ends[role], wire.ends[wire.ends[role].peer]
    with pytest.raises(LocalProtocolError):
        speaker.send(EXAMPLES[kind])
    assert speaker.state is state

    liar = Session(role, now=0.0)
    liar.state, liar.id = OPEN, "s1"
    frame = forged(EXAMPLES[kind])
    if state is CLOSED:
        assert hearer.receive(frame, 0.0) == [], "it does not listen any more"
    else:
        with pytest.raises(RemoteProtocolError, match=f"{role} may not say {kind.__name__} when {state}"):
            hearer.receive(frame, 0.0)
    assert hearer.state is CLOSED


def forged(message: Message) -> bytes:
    return framed([encode(message)], first=int(isinstance(message, NUMBERED)), ack=0)


def test_the_table_knows_every_state_role_and_message():
    assert set(TRANSITIONS) == set(State)
    assert all(set(rights) == set(Role) for rights in TRANSITIONS.values())
    assert {kind for _, _, kind, _ in legal()} == set(EXAMPLES) == set(CONTROL) | set(NUMBERED)


# The stars.

SHELL = device(slots=4)
ONCE = device(effect=Effect.ONCE, tools=("shell", "look"))
PROOF = Verify("look", "result == true")
ASKING = {"on_failure": OnFailure.PAUSE}

SCENARIOS = {
    "waiting to ready": lambda log: log.feed(*SHELL, pair(), done("c/a#1")),
    "waiting to skipped": lambda log: log.feed(*SHELL, pair(), fail("c/a#1")),
    "waiting to cancelled": lambda log: log.feed(*SHELL, pair(), cancel(1.0), stopped("c/a#1", 2.0)),
    "ready to waiting": lambda log: log.feed(submit(star("a"), star("b")), edit(AddLine(line("a>b")))),
    "ready to leased": lambda log: log.feed(*SHELL, submit(star("a"))),
    "ready to succeeded": lambda log: log.feed(
        *ONCE, submit(star("a", verify=PROOF)), unknown("c/a#1"), done("c/a#2", 2.0, result=True)
    ),
    "ready to failed": lambda log: (log.feed(submit(star("a", timeouts=Timeouts(queue_s=1.0)))), log.wait(2.0)),
    "ready to skipped": lambda log: log.feed(submit(star("a")), edit(Skip("a"))),
    "ready to cancelled": lambda log: log.feed(submit(star("a")), cancel(1.0)),
    "leased to running": lambda log: log.feed(*SHELL, submit(star("a")), accept("c/a#1")),
    "leased to ready": lambda log: log.feed(*SHELL, submit(star("a", retry=AT_ONCE)), fail("c/a#1", failure=AGAIN)),
    "leased to succeeded": lambda log: log.feed(*SHELL, submit(star("a")), done("c/a#1")),
    "leased to failed": lambda log: log.feed(*SHELL, submit(star("a")), fail("c/a#1")),
    "leased to cancelled": lambda log: log.feed(*SHELL, submit(star("a")), cancel(1.0), stopped("c/a#1", 2.0)),
    "running to ready": lambda log: log.feed(*SHELL, submit(star("a", **ASKING)), accept("c/a#1"), fail("c/a#1", 2.0)),
    "running to succeeded": lambda log: log.feed(*SHELL, submit(star("a")), accept("c/a#1"), done("c/a#1", 2.0)),
    "running to failed": lambda log: log.feed(*SHELL, submit(star("a")), accept("c/a#1"), fail("c/a#1", 2.0)),
    "running to cancelled": lambda log: log.feed(
        *SHELL, submit(star("a")), accept("c/a#1"), cancel(2.0), stopped("c/a#1", 3.0)
    ),
}


def moves_of(log: Log) -> set[str]:
    """Return the moves that the stars made, read off the state after each event."""
    taken: set[str] = set()
    constellation, states = constellations.Constellation("c"), {}
    for event in log.events:
        if getattr(event, "constellation", "") == "c":
            constellation.apply(event)
            for name, course in constellation.courses.items():
                before, states[name] = states.get(name, course.state), course.state
                if before is not course.state:
                    taken.add(f"{before} to {course.state}")
    return taken


@pytest.mark.parametrize("move", SCENARIOS)
def test_each_legal_move_of_a_star_is_taken_by_events_alone(move):
    log = Log()
    SCENARIOS[move](log)

    assert move in moves_of(log)


def test_the_scenarios_are_the_legal_moves_and_no_others_are_ever_taken():
    legal_moves = {f"{before} to {after}" for before, afters in MOVES.items() for after in afters}
    assert set(SCENARIOS) == legal_moves
    for scenario in SCENARIOS.values():
        log = Log()
        scenario(log)
        assert moves_of(log) <= legal_moves
    assert {state for state, afters in MOVES.items() if not afters} == TERMINAL
    assert set(MOVES) == set(StarState)


def test_a_move_that_is_not_in_the_table_stops_the_process():
    log = Log()
    log.feed(submit(star("a")))
    constellation = log.core.constellations["c"]
    with pytest.raises(AssertionError):
        constellation.move(constellation.courses["a"], StarState.RUNNING, 1.0)
