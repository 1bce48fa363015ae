"""How a device is: what is read, what is worth telling, and who hears of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from device_agents import vitals as own
from device_agents.tools.settings import BadSettings, VitalsSettings, load
from device_agents.vitals import is_news, reader, tell
from protocol.messages import Message, VitalsTold
from protocol.vocabulary import Vitals

WELL = Vitals(load=0.5, memory_free=0.5, disk_free_bytes=100, battery=0.5, charging=False, in_use=False)


def test_this_machine_tells_what_it_can_find_out(tmp_path: Path):
    found = reader(tmp_path, lambda: 5e6, VitalsSettings(metered=True))()

    assert found.load is not None
    assert found.load >= 0.0
    assert 0.0 < (found.memory_free or 0.0) <= 1.0
    assert (found.disk_free_bytes or 0) > 0
    assert (found.metered, found.link_bytes_per_s) == (True, 5e6)


def test_what_the_pack_knows_goes_before_what_the_machine_does_and_the_owners_word_before_both(tmp_path: Path):
    phone = Vitals(battery=0.31, charging=False, metered=False, locked=True)
    found = reader(tmp_path, lambda: 5e6, VitalsSettings(metered=True), lambda: phone)()

    assert (found.battery, found.charging, found.metered, found.locked) == (0.31, False, True, True)
    assert found.load is not None


def test_an_owner_can_name_every_vital_and_none_that_there_is_not(tmp_path: Path):
    assert VitalsSettings().tell == Vitals.__struct_fields__
    (tmp_path / "agent.toml").write_text('[vitals]\ntell = ["lod"]\n', "utf-8")
    with pytest.raises(BadSettings, match="lod"):
        load(tmp_path)


@pytest.mark.asyncio
async def test_a_device_that_may_tell_nothing_says_so_once_so_that_nothing_older_counts():
    heard: list[Message] = []
    told = asyncio.Event()

    def say(message: Message) -> bool:
        heard.append(message)
        told.set()
        return True

    telling = asyncio.create_task(tell(Vitals, say))
    await asyncio.wait_for(told.wait(), 5.0)
    telling.cancel()

    assert heard == [VitalsTold(Vitals())]


def test_what_the_owner_does_not_let_be_told_stays_on_the_device(tmp_path: Path):
    found = reader(tmp_path, lambda: 5e6, VitalsSettings(tell=("load",)))()

    assert found == Vitals(load=found.load)


@pytest.mark.parametrize(
    ("change", "is_it"),
    [
        ({}, False),
        ({"load": 0.9}, False),
        ({"load": 1.1}, True),
        ({"battery": 0.49}, False),
        ({"battery": 0.46}, True),
        ({"charging": True}, True),
        ({"in_use": True}, True),
        ({"battery": None}, True),
        ({"disk_free_bytes": 95}, False),
        ({"disk_free_bytes": 80}, True),
    ],
)
def test_only_a_change_that_matters_is_news(change: dict[str, object], is_it: bool):
    assert is_news(WELL, replace(WELL, **change)) is is_it


def test_the_step_below_which_new_work_ends_is_told_however_small():
    assert is_news(replace(WELL, battery=0.151), replace(WELL, battery=0.149))


@pytest.mark.asyncio
async def test_vitals_are_told_until_somebody_hears_them_and_then_only_when_they_change(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(own, "TELL_EVERY_S", 0.0)
    batteries = [0.5, 0.5, 0.5, 0.3]
    heard: list[Message] = []
    over = asyncio.Event()

    def read() -> Vitals:
        if not batteries:
            over.set()
            return Vitals(battery=0.3)
        return Vitals(battery=batteries.pop(0))

    def say(message: Message) -> bool:
        heard.append(message)
        return len(heard) > 1  # the first time there is no session

    telling: Callable[[], object] = asyncio.create_task(tell(read, say)).cancel
    await asyncio.wait_for(over.wait(), 5.0)
    telling()

    assert heard == [VitalsTold(Vitals(battery=b)) for b in (0.5, 0.5, 0.3)]
