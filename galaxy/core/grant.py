"""What a constellation was granted holds for every edit of it, whoever makes it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .edit import AddStar, AnyOperation, Supersede, UpdateStar
from .errors import NotGranted
from .star import Star

if TYPE_CHECKING:
    from .goal import Grant


def require_granted(grant: "Grant", operations: Iterable[AnyOperation]) -> None:
    """Raise NotGranted with its place, if a star would use a tool or a device that the constellation may not.

    This is asked of an edit before it is recorded, and not when it is applied: what was granted once stays done.
    """
    for index, operation in enumerate(operations):
        if isinstance(operation, AddStar | UpdateStar | Supersede):
            _require_star_granted(grant, operation.star, f"/operations/{index}/star")


def tools_of(star: Star) -> list[str]:
    """Return every tool that a star may come to call: of an instruction, the one that follows it and those it names."""
    tools = [star.tool, *star.needs.tools]
    tools += star.instruction.tools if star.instruction else ()
    tools += [star.verify.tool] if star.verify else []
    tools += [star.fallback.tool] if star.fallback else []
    return tools


def _require_star_granted(grant: "Grant", star: Star, place: str) -> None:
    if grant.tools:
        for tool in tools_of(star):
            if tool not in grant.tools:
                raise NotGranted(f"star {star.id} would use {tool}, which is not granted", f"{place}/tool")
    if grant.devices and star.needs.device and star.needs.device not in grant.devices:
        text = f"star {star.id} would run on {star.needs.device}, which is not granted"
        raise NotGranted(text, f"{place}/needs/device")
