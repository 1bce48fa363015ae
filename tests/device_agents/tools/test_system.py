"""What the device says about itself."""

import os
import time

import pytest

from device_agents.tools.system import ProcessList, SystemEcho, SystemOverview

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
