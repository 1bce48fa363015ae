"""A constellation as one value, to go on from without replaying all its events."""

from msgspec import Struct, field

from .constellation import Constellation, Verdict
from .course import Course
from .fleet import Fleet
from .goal import Dialogue, Goal, Grant, Planning
from .star import Line, When
from .states import SUCCEEDED, TERMINAL, WAITING, ConstellationState


class Snapshot(Struct, frozen=True, omit_defaults=True):
    """Everything about a constellation that its events decided; what can be derived is left out."""

    id: str
    name: str
    by: str
    submitted_at: float
    revision: int
    courses: list[Course]
    lines: list[Line]
    targets: list[tuple[str, list[str]]] = []  # of each star before several others, in which order: causes depend on it
    verdicts: list[tuple[str, str, Verdict]] = []
    paused: str = ""
    cancelled: str = ""
    end: ConstellationState | None = None
    ended_at: float | None = None
    goal: Goal | None = None
    planning: Planning = Planning()
    grant: Grant = Grant()
    origin: str = ""
    dialogue: Dialogue = field(default_factory=Dialogue)


class FleetSnapshot(Struct, frozen=True):
    """The fleet as one value."""

    fleet: Fleet


def taken(constellation: Constellation) -> Snapshot:
    """Return the constellation as a value. It shares the courses: encode it before the next event."""
    return Snapshot(
        id=constellation.id,
        name=constellation.name,
        by=constellation.by,
        submitted_at=constellation.submitted_at,
        revision=constellation.revision,
        courses=list(constellation.courses.values()),
        lines=[line for sources in constellation.into.values() for line in sources.values()],
        targets=[
            (s, list(constellation.out_of[s]))
            for s in constellation.courses
            if len(constellation.out_of.get(s, ())) > 1
        ],
        verdicts=[(source, target, verdict) for (source, target), verdict in constellation.verdicts.items()],
        paused=constellation.paused,
        cancelled=constellation.cancelled,
        end=constellation.end,
        ended_at=constellation.ended_at,
        goal=constellation.goal,
        planning=constellation.planning,
        grant=constellation.grant,
        origin=constellation.origin,
        dialogue=constellation.dialogue,
    )


def restored(snapshot: Snapshot) -> Constellation:
    """Return the constellation that the snapshot was taken of."""
    constellation = Constellation(snapshot.id)
    constellation.name, constellation.by = snapshot.name, snapshot.by
    constellation.submitted_at, constellation.revision = snapshot.submitted_at, snapshot.revision
    constellation.paused, constellation.cancelled = snapshot.paused, snapshot.cancelled
    constellation.end, constellation.ended_at = snapshot.end, snapshot.ended_at
    constellation.goal, constellation.planning = snapshot.goal, snapshot.planning
    constellation.grant, constellation.origin = snapshot.grant, snapshot.origin
    constellation.dialogue = snapshot.dialogue
    courses = constellation.courses = {course.star.id: course for course in snapshot.courses}
    constellation.unfinished = sum(course.state not in TERMINAL for course in snapshot.courses)
    constellation.loose = {
        (course.star.id, attempt.number): None
        for course in snapshot.courses
        if course.state in TERMINAL
        for attempt in course.open
    }
    constellation.verdicts = {(source, target): verdict for source, target, verdict in snapshot.verdicts}
    for line in snapshot.lines:
        constellation.into.setdefault(line.target, {})[line.source] = line
        constellation.out_of.setdefault(line.source, {})[line.target] = None
        if (
            line.when is When.CONDITION
            and courses[line.source].state is SUCCEEDED
            and courses[line.target].state is WAITING
            and (line.source, line.target) not in constellation.verdicts
        ):
            constellation.questions[line.source, line.target] = None
    constellation.out_of |= {source: dict.fromkeys(targets) for source, targets in snapshot.targets}
    constellation.level_all()
    return constellation
