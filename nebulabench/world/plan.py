"""All that one seed decides before anything runs."""

from dataclasses import dataclass
from random import Random

from . import workload
from .faults import Fault, faults
from .planner import ADVERSARY
from .workload import Deed, Submission


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """One device."""

    name: str
    slots: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A world to be. Two of the same plan go the same way."""

    seed: int
    profile: str
    heartbeat_s: float
    devices: tuple[DevicePlan, ...]
    submissions: tuple[Submission, ...]
    deeds: tuple[Deed, ...]
    faults: tuple[Fault, ...]
    calm_at: float  # from then on nothing goes wrong any more


def planned(seed: int, profile: str, *, devices: int = 5, stars: int = 50, calm_at: float = 120.0) -> Plan:
    """Return the plan of a seed."""
    random = Random(f"{seed}/{profile}")
    crew = tuple(DevicePlan(f"d{n}", random.choice((1, 1, 2, 4))) for n in range(1, devices + 1))
    names = [one.name for one in crew]
    planner = ADVERSARY if profile == "planner" else ""
    asked = workload.submissions(random, names, stars, calm_at * 0.6, planner)
    return Plan(
        seed,
        profile,
        random.choice((2.0, 5.0, 5.0, 15.0)),
        crew,
        tuple(asked),
        tuple(workload.deeds(random, asked, calm_at)),
        tuple(faults(random, profile, names, calm_at)),
        calm_at,
    )
