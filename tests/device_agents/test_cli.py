"""The command `galaxy-agent`: what it says and how it ends."""

import asyncio
import base64
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner, Result

from device_agents.__main__ import _clock, app
from device_agents.identity import Membership, locked
from protocol.messages import Bye, Sleep
from protocol.vocabulary import ByeCode

from .scripted import WITHIN_S, ScriptedGalaxy, scripted_galaxy

OK, USAGE, REFUSED, SENT_AWAY = 0, 2, 3, 4
NOWHERE = "http://127.0.0.1:1"
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "device_agents"]


def said(*words: str) -> Result:
    return CliRunner(env={"TERM": "dumb", "COLUMNS": "200"}).invoke(app, list(words))


def run(folder: Path, *words: str) -> Result:
    return said("run", "--state", str(folder), *words)


def join(folder: Path, url: str = NOWHERE, name: str = "laptop") -> Result:
    return said("join", url, "token", "--name", name, "--state", str(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a device that has joined a galaxy which is not there."""
    return joined(tmp_path / "state", ScriptedGalaxy(), NOWHERE)


def joined(folder: Path, galaxy: ScriptedGalaxy, url: str) -> Path:
    folder.mkdir()
    secret = galaxy.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    (folder / "device.json").write_bytes(msgspec.json.encode(Membership("laptop", galaxy.id, url)))
    (folder / "device.key").touch(0o600)
    (folder / "device.key").write_bytes(base64.b64encode(secret))
    return folder


def the_end(result: Result) -> tuple[int, str]:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr.strip()


def test_the_help_names_the_commands_and_their_options():
    top, joining, running = said("--help"), said("join", "--help"), said("run", "--help")

    assert [result.exit_code for result in (top, joining, running)] == [OK] * 3
    for result, words in (
        (top, ["join", "run", "sleep", "wake"]),
        (joining, ["url", "token", "--name", "--state", "GALAXY_AGENT_STATE"]),
        (running, ["--kind", "--label", "--slots", "--state", "--log-level", "--brain", "--brain-model", "key=value"]),
    ):
        assert [word for word in words if word not in result.stdout] == [], result.stdout


def test_without_a_command_the_help_is_shown():
    assert "Usage" in said().output


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", "x" * 81, "ä", "a/b", "a\nb"])
def test_a_name_that_is_none_is_refused_before_anyone_is_asked(tmp_path, name):
    code, words = the_end(said("join", NOWHERE, "token", f"--name={name}", "--state", str(tmp_path / "state")))

    assert (code, "is not a name: letters, digits and . _ ~ - only, at most 80" in words) == (REFUSED, True)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("url", ["127.0.0.1:8421", "ftp://127.0.0.1", "ws://127.0.0.1", ""])
def test_a_url_that_is_none_is_refused(tmp_path, url):
    assert the_end(join(tmp_path / "state", url)) == (REFUSED, f"{url!r} is not an http or https URL")


def test_a_galaxy_that_cannot_be_reached_is_named(tmp_path):
    code, words = the_end(join(tmp_path / "state"))

    assert (code, words.startswith(f"cannot reach {NOWHERE}: ")) == (REFUSED, True)


def test_joining_again_is_harmless_and_as_another_is_refused(folder):
    assert join(folder).exit_code == OK
    code, words = the_end(join(folder, name="tower"))
    assert (code, "belongs to laptop: choose another with --state" in words) == (REFUSED, True)


def test_what_has_not_joined_is_told_how_to(tmp_path):
    code, words = the_end(run(tmp_path / "nothing"))

    assert (code, "run `galaxy-agent join URL TOKEN --name NAME` first" in words) == (REFUSED, True)


def test_the_folder_may_come_from_the_environment(folder):
    (folder / "device.key").chmod(0o644)

    result = CliRunner(env={"GALAXY_AGENT_STATE": str(folder)}).invoke(app, ["run"])

    assert (result.exit_code, "device.key may be read by others" in result.stderr) == (REFUSED, True)


@pytest.mark.parametrize("label", ["gpu", "=a100", "", "a b=c", "a/b=c", "-=x"])
def test_a_label_that_is_none_is_refused(folder, label):
    code, words = the_end(run(folder, f"--label={label}"))

    assert (code, words.startswith(f"--label {label}: write it as key=value")) == (REFUSED, True)


@pytest.mark.parametrize(
    "words",
    [
        ["--slots", "0"],
        ["--slots", "-1"],
        ["--slots", "1001"],
        ["--slots", "many"],
        ["--kind", "toaster"],
        ["--log-level", "loud"],
    ],
)
def test_an_option_out_of_its_bounds_is_a_usage_error(folder, words):
    code, said = the_end(run(folder, *words))

    assert (code, f"Invalid value for '{words[0]}'" in said) == (USAGE, True)


@pytest.mark.parametrize("policy", ["tools = 5", "no toml at all", "[folders]\nreed = []", "\xff"])
def test_a_policy_that_cannot_be_followed_keeps_the_agent_from_starting(folder, policy):
    (folder / "guard.toml").write_text(policy, "latin-1")

    code, words = the_end(run(folder))

    assert (code, str(folder / "guard.toml") in words) == (REFUSED, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--brain", "on"], "write galaxy, off, or an http or https URL"),
        (["--brain", "ws://127.0.0.1/v1"], "write galaxy, off, or an http or https URL"),
        (["--brain", "http://127.0.0.1/v1"], "needs --brain-model NAME"),
    ],
)
def test_a_brain_that_cannot_be_asked_is_refused(folder, words, told):
    code, said = the_end(run(folder, *words))

    assert (code, told in said) == (REFUSED, True)


def test_a_second_agent_on_one_folder_is_refused(folder):
    descriptor = locked(folder)

    with open(descriptor, "rb"):
        code, words = the_end(run(folder))

    assert (code, words) == (
        REFUSED,
        f"another agent works in {folder}: stop it, or give this one a folder with --state",
    )


def test_a_damaged_outbox_is_not_thrown_away(folder):
    (folder / "outbox.db").write_bytes(b"no database" * 500)

    code, words = the_end(run(folder))

    assert (code, "outbox.db: file is not a database: make room, or move the file away" in words) == (REFUSED, True)
    assert (folder / "outbox.db").read_bytes() == b"no database" * 500


def test_a_work_folder_that_cannot_be_made_is_told(folder):
    (folder / "work").write_text("a file")

    code, words = the_end(run(folder))

    assert (code, str(folder / "work") in words) == (REFUSED, True)


def started(folder: Path) -> "asyncio.subprocess.Process":
    command = [*COMMAND, "run", "--state", str(folder), "--slots", "1000", "--label", "a="]
    pipe = asyncio.subprocess.PIPE
    return asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=pipe)


@pytest.mark.asyncio
async def test_an_agent_that_is_sent_away_ends_with_a_code_of_its_own(tmp_path):
    async with scripted_galaxy() as galaxy, asyncio.timeout(WITHIN_S):
        process = await started(joined(tmp_path / "state", galaxy, f"http://127.0.0.1:{galaxy.port}"))
        line = await galaxy.line()
        line.session.close(ByeCode.REVOKED, "laptop was revoked", terminal=True)
        line.link.wake()
        _, stderr = await process.communicate()

    assert (process.returncode, stderr.decode().splitlines()[-1]) == (
        SENT_AWAY,
        "the galaxy sent this device away: laptop was revoked",
    )


@pytest.mark.asyncio
async def test_an_agent_that_is_told_to_stop_says_goodbye_and_ends_well(tmp_path):
    folder = tmp_path / "state"
    async with scripted_galaxy() as galaxy, asyncio.timeout(WITHIN_S):
        joined(folder, galaxy, f"http://127.0.0.1:{galaxy.port}")
        (folder / "scratch").mkdir()
        (folder / "scratch" / "of a killed agent").touch()
        process = await started(folder)
        line = await galaxy.line()
        process.send_signal(signal.SIGTERM)
        assert (await line.next(Bye)).code == ByeCode.STOPPING
        _, stderr = await process.communicate()

    assert (process.returncode, "Traceback" in stderr.decode()) == (OK, False)
    assert (line.hello.profile.slots, line.hello.profile.labels["a"]) == (1000, "")
    assert not (folder / "scratch").exists()
    with sqlite3.connect(folder / "outbox.db") as outbox:
        assert outbox.execute("SELECT count(*) FROM reports").fetchone() == (0,)
    outbox.close()


@pytest.mark.asyncio
async def test_an_agent_that_finds_no_galaxy_goes_on_dialling_until_it_is_told_to_stop(folder):
    async with asyncio.timeout(WITHIN_S):
        process = await started(folder)
        assert process.stderr
        for _ in range(2):
            while b"cannot reach the galaxy" not in await process.stderr.readline():
                pass
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()

    assert (process.returncode, "Traceback" in stderr.decode()) == (OK, False)


@pytest.mark.parametrize("jump_s", [600.0, -600.0])
def test_a_jump_of_the_wall_clock_changes_nothing(monkeypatch, jump_s):
    now, wall = _clock(), time.time
    before = now()
    monkeypatch.setattr("time.time", lambda: wall() + jump_s)

    assert 0.0 <= now() - before < 5.0


def test_nobody_is_asked_to_sleep_where_no_agent_runs(folder):
    code, words = the_end(said("sleep", "--for", "30m", "--state", str(folder)))

    assert (code, words) == (REFUSED, f"no agent runs in {folder}")
    assert the_end(said("sleep", "--for", "soon", "--state", str(folder)))[0] == REFUSED


def test_an_agent_that_is_just_starting_is_not_signalled(folder):
    """The signal would end it."""
    lock = locked(folder)
    try:
        code, words = the_end(said("wake", "--state", str(folder)))
    finally:
        os.close(lock)

    assert (code, "just starting" in words) == (REFUSED, True)


@pytest.mark.asyncio
async def test_a_running_agent_is_sent_to_sleep_and_woken_from_the_command_line(tmp_path):
    folder = tmp_path / "state"
    async with scripted_galaxy() as galaxy, asyncio.timeout(2 * WITHIN_S):
        joined(folder, galaxy, f"http://127.0.0.1:{galaxy.port}")
        process = await started(folder)
        line = await galaxy.line()
        sent = await asyncio.create_subprocess_exec(*COMMAND, "sleep", "--for", "30m", "--state", str(folder), cwd=ROOT)
        said = await line.next(Sleep)
        assert (await line.next(Bye)).code == ByeCode.STOPPING
        woken = await asyncio.create_subprocess_exec(*COMMAND, "wake", "--state", str(folder), cwd=ROOT)
        await galaxy.line()
        codes = [await sent.wait(), await woken.wait()]
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    assert (round(said.for_s), codes, process.returncode) == (1800, [OK, OK], OK)
