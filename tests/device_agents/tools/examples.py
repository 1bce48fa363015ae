"""One example of each tool, for the contract that every tool keeps: `test_contract` runs them all."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from device_agents.guard import Policy
from protocol.vocabulary import Effect

from .bench import Bench


@dataclass(frozen=True)
class Example:
    """How a tool is tried.

    `stand` names the fixture that gives the bench: the work folder, the policy that allows the call, and whatever the
    tool acts on. `refused` are arguments that the guard refuses with the code `denied`, under the policy `strict`; a
    tool that nothing but its name can be refused by has none. `slow` are arguments of a call that would take a minute
    or more; a tool that is always quick has none.
    """

    effect: Effect
    works: Callable[[Bench], dict[str, Any]]
    stand: str = "bench"
    refused: Callable[[Bench], dict[str, Any]] | None = None
    strict: Policy = field(default_factory=Policy)
    slow: Callable[[Bench], dict[str, Any]] | None = None
