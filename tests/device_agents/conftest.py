"""A scripted Galaxy, and a device with one tool that waits at a gate."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from .helpers import Gate, ToolOf
from .scripted import Device, ScriptedGalaxy, scripted_galaxy


@pytest_asyncio.fixture
async def galaxy() -> AsyncIterator[ScriptedGalaxy]:
    async with scripted_galaxy() as galaxy:
        yield galaxy


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def device(tmp_path: Path, galaxy: ScriptedGalaxy, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device with one tool, that waits at the gate; what it says last is waited for but a moment."""
    monkeypatch.setattr("device_agents.agent.GOODBYE_WITHIN_S", 0.2)
    return Device(tmp_path, galaxy, ToolOf(gate))
