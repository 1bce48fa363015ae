"""What stands under `[desktop.screen]` in `agent.toml`."""

from typing import Annotated

from msgspec import Meta, Struct


class ScreenSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of the screen need to know of the device, and what they may do. Nothing, unless it is said."""

    display: str = ""  # of the X server; "": what DISPLAY says where the agent was started
    session_bus: str = ""  # the D-Bus address of the session; "": what DBUS_SESSION_BUS_ADDRESS says
    look: bool = False  # window.list, screen.*, access.tree, access.read: whatever is on the screen, secrets too
    input: bool = False  # pointer.*, keyboard.*, window.focus, access.set_text, access.press
    clipboard: bool = False  # clipboard.*
    # What program.start may start: a name, and the program with its arguments. "..." as the last argument lets a call
    # add some of its own, none that begins with a dash.
    programs: dict[
        Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,60}$")], Annotated[tuple[str, ...], Meta(min_length=1)]
    ] = {}
    in_use_s: Annotated[float, Meta(ge=0, le=86_400)] = 120  # so long after a key or the mouse a person counts as there
