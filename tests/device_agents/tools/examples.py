"""One example of each tool, for the contract that every tool keeps: `test_contract` runs them all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_agents.guard import Policy, ProgramRule, Web
from device_agents.tools import Settings
from protocol.vocabulary import Effect

from .bench import Bench
from .site import Server, serving

Arguments = Callable[[Bench], dict[str, Any]]


@dataclass(frozen=True)
class Example:
    """How a tool is tried.

    `policy` allows the call that `works`, and so may `peer`, which is what the tool talks to. `refused` are arguments
    that the guard refuses, under the policy `strict`; a tool that nothing but its name can be refused by has none.
    `slow` are arguments of a call that would take a minute or more; a tool that is always quick has none. `settings`
    are made when the peer is there. `needs` says what this machine lacks for a try, or nothing.
    """

    effect: Effect
    works: Arguments
    policy: Policy = field(default_factory=Policy)
    peer: Callable[[Bench], Any] | None = None
    refused: Arguments | None = None
    strict: Policy = field(default_factory=Policy)
    slow: Arguments | None = None
    settings: Callable[[Bench], Settings] | None = None
    needs: Callable[[], str] = str


@contextmanager
def a_site(bench: Bench) -> Iterator[Server]:
    with serving(Server("127.0.0.1")) as site:
        yield site


def outside(bench: Bench) -> dict[str, Any]:
    return {"path": str(bench.outside / "x")}


def a_file(bench: Bench) -> dict[str, Any]:
    (Path(bench.work) / "x").write_text("one\ntwo\n", "utf-8")
    return {"path": "x"}


HOME = Policy(http=Web(private=True, ports=tuple(range(1, 65_536))))
SLEEPY = Policy(programs={"sleep": ProgramRule(), "true": ProgramRule()})

EXAMPLES: dict[str, Example] = {
    "shell.run": Example(
        Effect.ONCE,
        works=lambda bench: {"argv": ["true"]},
        policy=SLEEPY,
        refused=lambda bench: {"argv": ["true"]},
        slow=lambda bench: {"argv": ["sleep", "60"]},
    ),
    "file.read": Example(Effect.PURE, works=a_file, refused=outside),
    "file.write": Example(
        Effect.IDEMPOTENT,
        works=lambda bench: {"path": "x", "content": "y"},
        refused=lambda bench: outside(bench) | {"content": "y"},
    ),
    "file.list": Example(Effect.PURE, works=lambda bench: {}, refused=outside),
    "file.search": Example(
        Effect.PURE,
        works=lambda bench: {"pattern": "one"},
        refused=lambda bench: outside(bench) | {"pattern": "one"},
    ),
    "file.stat": Example(Effect.PURE, works=a_file, refused=outside),
    "file.delete": Example(Effect.IDEMPOTENT, works=a_file, refused=outside),
    "http.request": Example(
        Effect.ONCE,
        works=lambda bench: {"url": bench.peer.url()},
        policy=HOME,
        peer=a_site,
        refused=lambda bench: {"url": "http://127.0.0.1/"},
        slow=lambda bench: {"url": bench.peer.url("/silence"), "timeout_s": 60},
    ),
    "net.port": Example(
        Effect.PURE,
        works=lambda bench: {"host": "127.0.0.1", "port": bench.peer.port},
        policy=HOME,
        peer=a_site,
        refused=lambda bench: {"host": "127.0.0.1", "port": 80},
    ),
    "system.info": Example(Effect.PURE, works=lambda bench: {}),
    "process.list": Example(Effect.PURE, works=lambda bench: {}),
    "system.echo": Example(Effect.PURE, works=lambda bench: {"value": [1]}),
}
