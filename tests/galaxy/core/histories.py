"""What random histories are made of: mostly valid, so that they go deep."""

import msgspec
from hypothesis import strategies as st
from msgspec import Raw

from galaxy.core.constellation import Constellation
from galaxy.core.edit import (
    AddLine,
    AddStar,
    AnyOperation,
    RemoveLine,
    RemoveStar,
    Retry,
    Skip,
    Supersede,
    UpdateLine,
    UpdateStar,
)
from galaxy.core.goal import Budget, ConsultWhen, FactKind, Goal, Grant, Planning
from galaxy.core.star import (
    INSTRUCT,
    Disconnect,
    Fallback,
    Instruction,
    Line,
    Needs,
    OnFailure,
    OnSuccess,
    Star,
    Timeouts,
    Verify,
    When,
)
from galaxy.core.star import Retry as RetryPolicy
from galaxy.core.states import HELD_BY_DEVICE, NOT_STARTED, READY
from protocol.vocabulary import Effect, Failure, Kind, Outcome, Profile

from .helpers import star, tool

CONSTELLATIONS = ("c1", "c2", "c3")
DEVICES = ("d1", "d2", "d3")
TOOLS = {"shell": Effect.IDEMPOTENT, "pay": Effect.ONCE, "ask": Effect.INTERACTIVE, "look": Effect.PURE}
CONDITIONS = ("result.n > 0", "result.n == 0", "result.nova", "result.rows.exists(r, r == result.n)")

CONTROLS = ("pause", "pause", "resume", "resume", "resume", "resume", "cancel")
KINDS = ("add", "update", "remove", "skip", "retry", "retry", "supersede", "line", "line", "unline", "reline")

first_names = "abcdef"


def seldom(others: int) -> st.SearchStrategy[bool]:
    """One in so many and one. (Of integers, the ends would be drawn more often.)"""
    return st.sampled_from([False] * others + [True])


names = st.sampled_from(first_names)
later_names = st.sampled_from("ghijkl")
any_names = st.sampled_from(first_names + "ghij")
constellations = st.sampled_from(CONSTELLATIONS)
devices = st.sampled_from(DEVICES)
results = st.integers(0, 1).map(lambda n: Raw(b'{"n":%d,"rows":[1]}' % n)) | st.sampled_from(
    [Raw(b"null"), Raw(b'"text"'), Raw(b"1e999")]
)
failures = st.none() | st.builds(Failure, st.just("oops"), st.just("it broke"), st.sampled_from([True, True, False]))
outcomes = st.sampled_from([Outcome.SUCCEEDED] * 4 + [Outcome.FAILED] * 2 + [Outcome.CANCELLED, Outcome.UNKNOWN])
policies = st.builds(
    RetryPolicy, attempts=st.integers(1, 3), backoff_s=st.sampled_from([0.0, 5.0]), jitter=st.booleans()
)
lines = st.builds(
    lambda source, target, when, condition: Line(source, target, when, condition if when is When.CONDITION else ""),
    any_names,
    any_names,
    st.sampled_from(When),
    st.sampled_from(CONDITIONS),
)


@st.composite
def stars(draw, name=None) -> Star:
    """A star: usually plain, sometimes with everything."""
    more = {}
    if draw(seldom(7)):
        more["needs"] = draw(
            st.sampled_from([Needs(device="d1"), Needs(labels={"room": "attic"}), Needs(tools=("look",))])
        )
    if draw(seldom(3)):
        more["on_failure"] = OnFailure.PAUSE
    if draw(seldom(2)):
        more["verify"] = Verify("look", "result.n > 0")
    if draw(seldom(5)):
        more["effects"] = draw(st.sampled_from(Effect))
    if draw(seldom(5)):
        more["arguments"] = {"x": {"$from": draw(any_names), "pointer": "/n"}}
    return star(
        name or draw(names),
        tool=draw(st.sampled_from(["shell", "shell", "pay", "pay", "ask"])),
        retry=draw(policies),
        priority=draw(st.integers(0, 1)),
        timeouts=Timeouts(queue_s=draw(st.sampled_from([40.0, 3600.0])), run_s=draw(st.sampled_from([60.0, 0.0]))),
        disconnect=Disconnect(lost_after_s=draw(st.sampled_from([0.0, 20.0, 60.0]))),
        **more,
    )


@st.composite
def dags(draw) -> tuple[tuple[Star, ...], tuple[Line, ...]]:
    """Lines run forward along a shuffled order, bindings too, so that depth is common and cycles are not."""
    order = draw(st.permutations(first_names))[: draw(st.integers(1, 5))]
    chosen = []
    for place, name in enumerate(order):
        drawn = draw(stars(name))
        bound = [binding.source for binding in drawn.bindings]
        if any(source not in order[:place] for source in bound):
            arguments = {"x": {"$from": order[place - 1], "pointer": "/n"}} if place else {}
            drawn = star(
                **{
                    **{f: getattr(drawn, f) for f in drawn.__struct_fields__ if f not in ("bindings", "id")},
                    "name": name,
                    "arguments": arguments,
                }
            )
        chosen.append(drawn)
    pairs = [(a, b) for n, a in enumerate(order) for b in order[n + 1 :]]
    picked = draw(st.lists(st.sampled_from(pairs), max_size=5, unique=True)) if pairs else []
    drawn_lines = []
    for a, b in picked:
        when = draw(st.sampled_from(When))
        drawn_lines.append(Line(a, b, when, draw(st.sampled_from(CONDITIONS)) if when is When.CONDITION else ""))
    return tuple(draw(st.permutations(chosen))), tuple(drawn_lines)


operations: st.SearchStrategy[AnyOperation] = st.one_of(
    later_names.flatmap(stars).map(AddStar),
    any_names.map(RemoveStar),
    any_names.flatmap(stars).map(UpdateStar),
    lines.map(AddLine),
    lines.map(AddLine),
    st.builds(RemoveLine, any_names, any_names),
    lines.map(UpdateLine),
    any_names.map(Retry),
    any_names.map(Retry),
    any_names.map(Skip),
    st.builds(Supersede, any_names, later_names.flatmap(stars)),
)
blind_edits = st.lists(operations, min_size=1, max_size=3).map(tuple)


@st.composite
def edits(draw, constellation: Constellation) -> tuple[AnyOperation, ...]:
    """Usually about what is there and may be edited; lines run towards what was added later."""
    if draw(seldom(4)):
        return draw(blind_edits)
    courses = constellation.courses
    open_ones = [name for name, course in courses.items() if course.state in NOT_STARTED]
    running = [name for name, course in courses.items() if course.state in HELD_BY_DEVICE and not course.stopping]
    ready = [name for name, course in courses.items() if course.state is READY and course.attempts]
    pairs = [(s, t) for s in courses for t in open_ones if list(courses).index(s) < list(courses).index(t)]
    there = [(s, t) for t in open_ones for s in constellation.into.get(t, ())]
    new = [name for name in "ghijkl" if name not in courses]
    made: list[AnyOperation] = []
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)):
        when = draw(st.sampled_from(When))
        condition = draw(st.sampled_from(CONDITIONS)) if when is When.CONDITION else ""
        match kind:
            case "add" if new:
                made.append(AddStar(draw(stars(new.pop()))))
            case "update" if open_ones:
                made.append(UpdateStar(draw(stars(draw(st.sampled_from(open_ones))))))
            case "remove" if open_ones:
                made.append(RemoveStar(draw(st.sampled_from(open_ones))))
            case "skip" if open_ones:
                made.append(Skip(draw(st.sampled_from(open_ones))))
            case "retry" if ready:
                made.append(Retry(draw(st.sampled_from(ready))))
            case "supersede" if running and new:
                made.append(Supersede(draw(st.sampled_from(running)), draw(stars(new.pop()))))
            case "line" if pairs:
                made.append(AddLine(Line(*draw(st.sampled_from(pairs)), when, condition)))
            case "unline" if there:
                made.append(RemoveLine(*draw(st.sampled_from(there))))
            case "reline" if there:
                made.append(UpdateLine(Line(*draw(st.sampled_from(there)), when, condition)))
    return tuple(made) or draw(blind_edits)


@st.composite
def profiles(draw) -> Profile:
    offered = draw(st.sampled_from([tuple(TOOLS), tuple(TOOLS), tuple(TOOLS), ("shell",), ("pay", "look"), ()]))
    labels = draw(st.sampled_from([{}, {"room": "attic"}]))
    return Profile(
        Kind.DESKTOP, draw(st.sampled_from([1, 2, 2, 3, 0])), tuple(tool(name, TOOLS[name]) for name in offered), labels
    )


ABLE = Profile(Kind.DESKTOP, 2, tuple(tool(name, effect) for name, effect in TOOLS.items()), {"room": "attic"})
SAVIOUR = Profile(Kind.SERVER, 99, tuple(tool(name, effect) for name, effect in TOOLS.items()), {"room": "attic"})


# What planners are given, and what they make of it.

plannings = st.builds(
    Planning,
    planner=st.just("x"),
    when=st.sampled_from([*ConsultWhen, ConsultWhen.ON_FAILURE]),
    answer_within_s=st.just(20.0),
    consults_max=st.integers(1, 6),
    rounds_max=st.integers(1, 3),
    additions_max=st.sampled_from([0, 2, 4, 8]),
)
grants = st.builds(
    Grant,
    tools=st.sampled_from([(), (), tuple(TOOLS), ("shell", "pay", "look")]),
    devices=st.sampled_from([(), (), ("d1",), ("d1", "d2")]),
    budget=st.sampled_from([Budget(tokens=100), Budget(tokens=100, calls=2)]),
    approve=st.sampled_from([(), (), (), (), (Effect.ONCE,), (Effect.IDEMPOTENT, Effect.INTERACTIVE)]),
    approval_within_s=st.just(50.0),
)
goals = st.none() | st.builds(Goal, st.just("to be well"), deadline_s=st.sampled_from([0.0, 0.0, 150.0]))


@st.composite
def wishes(draw) -> dict:
    """What a person says of one star: when it is asked about, and whether before it is tried."""
    return {
        "on_failure": draw(st.sampled_from([None, None, OnFailure.CONSULT, OnFailure.CONSULT, *OnFailure])),
        "on_success": draw(st.sampled_from([None, None, None, *OnSuccess])),
        "needs_approval": draw(seldom(6)),
    }


many_wishes = st.lists(wishes(), min_size=len(first_names), max_size=len(first_names))
hostile = {
    "tool": st.sampled_from(["nova", "pay", INSTRUCT]),
    "needs": st.sampled_from([Needs(device="d9"), Needs(device="d3"), Needs(tools=("ask",))]),
    "effects": st.sampled_from(Effect),
    "instruction": st.sampled_from([Instruction("do it"), Instruction("do it", tools=("ask", "pay"))]),
    "verify": st.sampled_from([Verify("ask", "true"), Verify("nova", "true")]),
    "fallback": st.sampled_from([Fallback("ask"), Fallback("nova")]),
    "needs_approval": st.booleans(),
}
PATCHES = ("retry", "retry", "update", "supersede", "supersede", "skip", "add", "add", "remove", "line", "cycle")


@st.composite
def planned_stars(draw, name: str) -> Star:
    """What a planner may write: usually decent, sometimes more than it was granted."""
    drawn = msgspec.structs.replace(draw(stars(name)), effects=None, on_failure=draw(wishes())["on_failure"])
    drawn = msgspec.structs.replace(drawn, retry=RetryPolicy(attempts=1), verify=None)
    if draw(seldom(4)):
        key = draw(st.sampled_from(sorted(hostile)))
        drawn = msgspec.structs.replace(drawn, **{key: draw(hostile[key])})
    return drawn


@st.composite
def patches(draw, constellation: Constellation) -> tuple[AnyOperation, ...]:
    """An answer: about the failures that are held, about anything else, or about nothing."""
    consult = constellation.dialogue.consult
    kinds = {fact.kind for fact in consult.facts} if consult else set()
    if kinds == {FactKind.ENDED} and draw(st.booleans()):
        return ()
    if draw(seldom(7)):
        return draw(edits(constellation))
    courses = constellation.courses
    held = [name for name, course in courses.items() if course.failure_held]
    others = [*courses] or ["nova"]
    open_ones = [name for name, course in courses.items() if course.state in NOT_STARTED] or others
    back = [(t, s) for t in open_ones for s in constellation.into.get(t, ())]
    new = [name for name in "ghijkl" if name not in courses]
    made: list[AnyOperation] = []
    wanted = ["add"] if kinds == {FactKind.GOAL} else PATCHES
    for kind in draw(st.lists(st.sampled_from(wanted), min_size=draw(st.sampled_from([0, 1, 1, 1, 1])), max_size=3)):
        old = draw(st.sampled_from(held * 8 + open_ones * 2 + others))
        fresh = new.pop() if new else "g"
        match kind:
            case "retry":
                made.append(Retry(old))
            case "update":
                made.append(UpdateStar(draw(planned_stars(old))))
            case "supersede":
                made.append(Supersede(old, draw(planned_stars(fresh))))
            case "skip":
                made.append(Skip(old))
            case "remove":
                made.append(RemoveStar(old))
            case "line":
                made.append(AddLine(Line(draw(st.sampled_from(others)), old, draw(st.sampled_from(list(When)[:3])))))
            case "cycle" if back:
                made.append(AddLine(Line(*draw(st.sampled_from(back)))))
            case _:
                made.append(AddStar(draw(planned_stars(fresh))))
    return tuple(made)
