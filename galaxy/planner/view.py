"""What a planner is shown: the constellation and its fleet as one value, without what it was not granted."""

from ..core.constellation import Constellation
from ..core.course import Course
from ..core.fleet import Device
from ..core.goal import Consult
from ..core.orchestrator import Orchestrator
from ..core.placement.demand import Demand
from ..core.states import NOT_STARTED
from .contract import DeviceView, FleetView, StarView, TryView, View

PATCHES_MAX = 50


def view_of(core: Orchestrator, c: Constellation, consult: Consult | None = None) -> View:
    """Return the constellation as it is now."""
    return View(
        constellation=c.id,
        goal=c.goal,
        revision=c.revision,
        stars={star_id: _star(c, course) for star_id, course in c.courses.items()},
        fleet=fleet_of(core, c),
        grant=c.grant,
        consult=consult.number if consult else 0,
        refusals=tuple(consult.refusals) if consult else (),
        patches=tuple(c.dialogue.reasons[-PATCHES_MAX:]),
    )


def fleet_of(core: Orchestrator, c: Constellation) -> FleetView:
    """Return the devices that the constellation is granted, with the tools that it is granted."""
    devices = tuple(
        _device(core, c, device)
        for device in core.fleet.devices.values()
        if device.profile and (not c.grant.devices or device.id in c.grant.devices)
    )
    placement: dict[str, tuple[str, ...]] = {}
    refused: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(tool.name for device in devices for tool in device.tools):
        candidates, refused[name] = core.placer.would_place(Demand(frozenset({name}), among=c.grant.devices))
        placement[name] = tuple(candidate.device for candidate in candidates)
    return FleetView(devices, placement, refused)


def _device(core: Orchestrator, c: Constellation, device: Device) -> DeviceView:
    assert device.profile
    return DeviceView(
        id=device.id,
        kind=device.profile.kind,
        presence=device.presence,
        labels=device.profile.labels,
        slots=device.slots,
        held=len(core.placer.held.get(device.id, ())),
        tools=tuple(tool for tool in device.profile.tools if not c.grant.tools or tool.name in c.grant.tools),
        draining=device.draining,
    )


def _star(c: Constellation, course: Course) -> StarView:
    last = course.attempts[-1] if course.attempts else None
    moved_at = max(course.ended_at or 0.0, (last.ended_at or 0.0) if last else 0.0)
    return StarView(
        star=course.star,
        state=course.state,
        editable=course.state in NOT_STARTED and not course.verifying,
        failure_held=course.failure_held,
        sources=tuple(c.into.get(course.star.id, {}).values()),
        device=last.device if last else "",
        result=course.result,
        failure=course.failure,
        cause=course.cause,
        tries=tuple(TryView(a.number, a.device, a.outcome, a.failure) for a in course.attempts if a.failure),
        changed=moved_at > c.dialogue.seen_at,
    )
