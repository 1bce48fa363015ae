"""What a constellation was granted holds for every edit of it, whoever makes it."""

from typing import TYPE_CHECKING

from .errors import NotGranted
from .star import INSTRUCT, Star

if TYPE_CHECKING:
    from .goal import Grant


def require_granted(grant: "Grant", star: Star) -> None:
    """Raise NotGranted if the star would use a tool or a device that the constellation may not."""
    if grant.tools:
        for tool in tools_of(star):
            if tool not in grant.tools:
                raise NotGranted(f"star {star.id} would use {tool}, which is not granted", "/star/tool")
    if grant.devices and star.needs.device and star.needs.device not in grant.devices:
        raise NotGranted(f"star {star.id} would run on {star.needs.device}, which is not granted", "/star/needs/device")


def tools_of(star: Star) -> list[str]:
    """Return every tool that a star may come to call."""
    tools = [star.tool, *star.needs.tools]
    tools += star.instruction.tools if star.instruction else ()
    tools += [star.verify.tool] if star.verify else []
    tools += [star.fallback.tool] if star.fallback else []
    return [tool for tool in tools if tool != INSTRUCT or not star.instruction]
