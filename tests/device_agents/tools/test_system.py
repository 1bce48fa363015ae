"""What the device says about itself, and what a registry of tools must keep to."""

import os
import time

import msgspec
import pytest

from device_agents.tools import tools_for
from device_agents.tools.base import spec_of
from device_agents.tools.system import ProcessList, SystemEcho, SystemOverview
from protocol.vocabulary import Effect, Kind

from .bench import Bench, failing


def test_a_device_tells_what_it_is(bench: Bench):
    told = bench.call(SystemOverview())

    assert (told.hostname, told.os) == (os.uname().nodename, os.uname().sysname)
    assert told.cpu_count >= 1
    assert 0 < told.memory_available_bytes <= told.memory_bytes
    assert 0 < told.disk_free_bytes <= told.disk_bytes
    assert told.booted_at < time.time()


def test_a_device_without_its_work_folder_says_so(bench: Bench):
    bench.work.rmdir()

    with failing("not_found"):
        bench.call(SystemOverview())


def test_processes_are_listed_by_what_they_use(bench: Bench):
    listed = bench.call(ProcessList(), sort="memory", limit=200).processes
    name = next(process.name for process in listed if process.pid == os.getpid())

    assert [each.memory_bytes for each in listed] == sorted((each.memory_bytes for each in listed), reverse=True)
    assert os.getpid() in [each.pid for each in bench.call(ProcessList(), name=name[1:].upper()).processes]


def test_a_list_of_processes_ends_at_its_limit(bench: Bench):
    result = bench.call(ProcessList(), limit=1)

    assert (len(result.processes), result.truncated) == (1, True)
    assert bench.call(ProcessList(), name="no such process").processes == []


@pytest.mark.parametrize("value", [None, 1, "ä", [1, {"a": None}], {"deep": [[[]]]}])
def test_an_echo_returns_what_it_was_sent(bench: Bench, value: object):
    assert bench.call(SystemEcho(), value=value).value == value


def test_every_kind_of_device_has_the_common_tools():
    assert {kind: list(tools_for(kind))[: len(EFFECTS)] for kind in Kind} == {kind: list(EFFECTS) for kind in Kind}


def test_each_common_tool_says_what_repeating_it_would_do():
    assert {name: tool.effect for name, tool in tools_for(Kind.SERVER).items() if name in EFFECTS} == EFFECTS


EFFECTS = {
    "shell.run": Effect.ONCE,
    "file.read": Effect.PURE,
    "file.write": Effect.IDEMPOTENT,
    "file.list": Effect.PURE,
    "file.search": Effect.PURE,
    "file.stat": Effect.PURE,
    "file.delete": Effect.IDEMPOTENT,
    "http.request": Effect.ONCE,
    "net.port": Effect.PURE,
    "system.info": Effect.PURE,
    "process.list": Effect.PURE,
    "system.echo": Effect.PURE,
}


@pytest.mark.parametrize("name", EFFECTS)
def test_what_a_tool_tells_galaxy_is_whole_and_fits(name: str):
    tool = tools_for(Kind.SERVER)[name]
    spec = spec_of(tool)

    assert spec.name == name
    assert len(spec.description) > 20
    assert len(msgspec.json.encode(spec)) < 3_000
    assert b'"additionalProperties":false' in bytes(spec.arguments)


@pytest.mark.parametrize("name", EFFECTS)
def test_an_argument_that_a_tool_does_not_know_is_refused(name: str):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {"colour": 1, "value": 1, "path": "x", "pattern": "x", "url": "x", "host": "x", "port": 1},
            tools_for(Kind.EDGE)[name].Arguments,
        )
