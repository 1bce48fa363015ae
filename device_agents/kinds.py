"""Kinds of device: a kind is a profile of tools, labels and defaults, not a program of its own."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from protocol.vocabulary import Kind, Profile

from .brain_model import Model
from .guard import Guard
from .tools import Settings, tools_for
from .tools.base import Tool, spec_of
from .tools.instruct import Instruct
from .tools.settings import LabelSettings


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
        labels=found | _found_out(own.settings) | own.labels,
        agent=f"galaxy-agent {_version()}",
    )
    return Offer(tools, profile)


def _found_out(settings: Settings) -> dict[str, str]:
    """Return the labels that `agent.toml` gives, or says how to find out."""
    labels = {}
    for name, how in settings.labels.items():
        match how:
            case str():
                labels[name] = how
            case LabelSettings(program=program) if program:
                labels[name] = _yes(shutil.which(program) is not None)
            case LabelSettings(path=path) if path:
                labels[name] = _yes(Path(path).expanduser().exists())
            case LabelSettings(env=variable):
                labels[name] = os.environ.get(variable, "")
    return labels


def _yes(claim: bool) -> str:
    return "yes" if claim else "no"


def _version() -> str:
    try:
        return version("galaxy")
    except PackageNotFoundError:
        return "unknown"
