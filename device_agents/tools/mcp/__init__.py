"""The tools of MCP servers that `agent.toml` names: each server's tool becomes one of the device."""

from .discovery import tools as tools
from .settings import McpSettings as McpSettings
