"""One example of each MCP tool that the contract is tried on: of real servers, with their own schemas."""

import sys

from device_agents.tools import Settings
from device_agents.tools.mcp import McpSettings
from protocol.vocabulary import Effect

from ..bench import Bench
from ..examples import Example
from ..server.stands import a_repository

SETTINGS = Settings(
    mcp={
        "git": McpSettings((sys.executable, "-m", "mcp_server_git"), tools=("git_status", "git_add"), deny=("[.][.]",)),
        "time": McpSettings((sys.executable, "-m", "mcp_server_time"), tools=("convert_time",)),
    }
)


def repository(bench: Bench) -> dict[str, str]:
    return {"repo_path": str(a_repository(bench.work / "plans"))}


def outside(bench: Bench) -> dict[str, str]:
    return {"repo_path": f"{bench.work}/../outside"}


EXAMPLES: dict[str, Example] = {
    "mcp:git/git_status": Example(Effect.PURE, works=repository, refused=outside),
    "mcp:git/git_add": Example(
        Effect.IDEMPOTENT,
        works=lambda bench: repository(bench) | {"files": ["plan.txt"]},
        refused=lambda bench: outside(bench) | {"files": ["plan.txt"]},
    ),
    "mcp:time/convert_time": Example(
        Effect.PURE,
        works=lambda bench: {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Europe/Berlin"},
    ),
}
