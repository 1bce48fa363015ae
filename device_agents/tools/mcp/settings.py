"""What stands under `[mcp.NAME]` in `agent.toml`."""

from typing import Annotated

from msgspec import Meta, Struct

from protocol.vocabulary import Effect


class McpSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """An MCP server, by the name of its table: a program of this device, or a URL."""

    command: tuple[str, ...] = ()  # the program and its arguments
    cwd: str = ""  # where it runs, relative to the agent's work folder
    env: dict[str, str] = {}
    env_from: tuple[str, ...] = ()  # variables that it gets from the agent's own environment, such as a key
    url: Annotated[str, Meta(pattern="^(https?://.+)?$")] = ""  # of one that speaks streamable HTTP
    token_file: str = ""  # whose content goes with each request, as a bearer token
    tools: tuple[str, ...] = ("*",)  # those that are offered, as patterns
    effects: dict[str, Effect] = {}  # of a tool, where what the server says of it is wrong
    deny: tuple[str, ...] = ()  # regular expressions, found anywhere in any text of the arguments
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 60
    start_s: Annotated[float, Meta(gt=0, le=300)] = 20
