"""Kinds of device: a kind is a profile of tools, labels and defaults, not a program of its own."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from protocol.vocabulary import Kind, Profile

from .brain_model import Model
from .guard import Guard
from .tools import Settings, tools_for
from .tools.base import Tool, spec_of
from .tools.instruct import Instruct


class Offer(NamedTuple):
    """The tools that a device runs, and the profile that tells Galaxy of them."""

    tools: dict[str, Tool]
    profile: Profile


class Own(NamedTuple):
    """What a device's owner says of it."""

    kind: Kind
    labels: dict[str, str]
    slots: int | None  # None: one for each processor
    settings: Settings


def offer(own: Own, guard: Guard, model: Model | None) -> Offer:
    """Return what the device offers under its guard. One without a model follows no instructions."""
    every = tools_for(own.kind, own.settings)
    if model is not None:
        every[Instruct.name] = Instruct(model)
    tools = {name: tool for name, tool in every.items() if guard.allows(name)}
    found = {"os": platform.system().lower(), "arch": platform.machine().lower()}
    profile = Profile(
        kind=own.kind,
        slots=own.slots or os.cpu_count() or 1,
        tools=tuple(spec_of(tool) for tool in tools.values()),
        labels=found | own.labels,
        agent=f"galaxy-agent {_version()}",
    )
    return Offer(tools, profile)


def _version() -> str:
    try:
        return version("galaxy")
    except PackageNotFoundError:
        return "unknown"
