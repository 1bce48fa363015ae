"""What a device says of itself: its labels, some of which it finds out when it starts."""

from pathlib import Path

import msgspec
import pytest

from device_agents.guard import Guard
from device_agents.kinds import Own, offer
from device_agents.tools.settings import BadSettings, Settings, load
from protocol.vocabulary import Kind

LABELS = """\
[labels]
room = "cellar"
shell = {program = "sh"}
cobol = {program = "no-such-compiler"}
here = {path = "."}
gpu = {path = "/no/such/device"}
site = {env = "GALAXY_TEST_SITE"}
"""


def labels_of(folder: Path, settings: Settings, **labels: str) -> dict[str, str]:
    return dict(offer(Own(Kind.EDGE, labels, 1, settings), Guard.default(folder), None).profile.labels)


def test_labels_are_given_or_found_out_and_the_command_line_goes_before_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GALAXY_TEST_SITE", "north")
    (tmp_path / "agent.toml").write_text(LABELS, "utf-8")
    found = labels_of(tmp_path, load(tmp_path), room="attic")

    told = {name: found[name] for name in ("room", "shell", "cobol", "here", "gpu", "site")}
    assert told == {"room": "attic", "shell": "yes", "cobol": "no", "here": "yes", "gpu": "no", "site": "north"}
    assert {"os", "arch"} < found.keys()


@pytest.mark.parametrize("wrong", ['x = {file = "a"}', "x = 1", '"a b" = "c"'])
def test_a_label_that_cannot_be_followed_is_refused_with_its_place(tmp_path: Path, wrong: str):
    (tmp_path / "agent.toml").write_text(f"[labels]\n{wrong}\n", "utf-8")

    with pytest.raises(BadSettings, match=r"agent\.toml.*labels"):
        load(tmp_path)


def test_a_device_says_what_a_star_may_ask_for():
    assert msgspec.json.decode(msgspec.json.encode(Settings(labels={"a": "b"})), type=Settings).labels == {"a": "b"}
