"""The phone of the tests against those who speak ADB for real: Debian's client, and adbutils."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import adbutils
import psutil
import pytest
from adbutils.errors import AdbError

from . import Phone, phone

MANIFEST = '<manifest package="org.example.lamp" />'


def on(found: Phone, *words: str | Path) -> tuple[int, bytes, bytes]:
    ran = found.adb("-s", found.serial, *words, check=False)
    return ran.returncode, ran.stdout, ran.stderr


def device(found: Phone) -> adbutils.AdbDevice:
    return adbutils.AdbClient("127.0.0.1", found.server_port).device(found.serial)


def test_the_real_client_sees_a_phone_with_its_model():
    with phone() as found:
        listed = found.adb("devices", "-l").stdout.decode()

    assert f"{found.serial}        device product:panther model:Pixel_7 device:panther" in listed


def test_a_command_ends_with_its_own_exit_code_and_keeps_its_two_outputs_apart():
    with phone() as found:
        assert on(found, "shell", "getprop ro.product.model; exit 7") == (7, b"Pixel 7\n", b"")
        code, stdout, stderr = on(found, "shell", "nosuch --thing")
        assert (code, stdout, b"nosuch: command not found" in stderr) == (127, b"", True)


def test_input_goes_to_the_command_until_it_is_closed():
    with phone() as found:
        command = ["adb", "-P", str(found.server_port), "-s", found.serial, "shell", "read a; read b; echo $b $a"]
        ran = subprocess.run(command, input=b"one\ntwo\n", capture_output=True, check=True, timeout=20)

    assert ran.stdout == b"two one\n"


def test_three_megabytes_go_to_the_phone_and_come_back_as_they_were(tmp_path: Path):
    (tmp_path / "there").write_bytes(os.urandom(3 << 20))
    with phone() as found:
        assert on(found, "push", tmp_path / "there", "/sdcard/Download/new/big")[0] == 0
        assert found.file("/sdcard/Download/new/big").stat().st_size == 3 << 20
        assert on(found, "pull", "/sdcard/Download/new/big", tmp_path / "back")[0] == 0

    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()


def test_a_folder_goes_to_the_phone_and_comes_back(tmp_path: Path):
    (tmp_path / "plans" / "deep").mkdir(parents=True)
    (tmp_path / "plans" / "deep" / "a.txt").write_text("a")
    with phone() as found:
        assert on(found, "push", tmp_path / "plans", "/sdcard/Download")[0] == 0
        assert on(found, "shell", "ls", "/sdcard/Download/plans") == (0, b"deep\n", b"")
        assert on(found, "pull", "/sdcard/Download/plans", tmp_path / "back")[0] == 0

    assert (tmp_path / "back" / "deep" / "a.txt").read_text() == "a"


def test_what_is_not_there_cannot_be_pulled_and_no_path_leads_out_of_the_phone(tmp_path: Path):
    with phone() as found:
        for name in ("/sdcard/nothing", "/../../../../etc/passwd", "/etc/passwd"):
            code, stdout, stderr = on(found, "pull", name, tmp_path / "x")
            assert (code, b"failed to stat remote object" in stdout + stderr) == (1, True)


def test_the_screen_comes_as_a_picture_to_the_byte():
    with phone() as found:
        code, png, stderr = on(found, "exec-out", "screencap", "-p")

    assert (code, png[:8], png[-8:-4], stderr) == (0, b"\x89PNG\r\n\x1a\n", b"IEND", b"")


def test_the_real_client_installs_an_app(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "lamp.apk", "w") as archive:
        archive.writestr("AndroidManifest.xml", MANIFEST)
    with phone() as found:
        code, stdout, stderr = on(found, "install", tmp_path / "lamp.apk")
        assert (code, b"Success" in stdout + stderr) == (0, True)
        assert on(found, "shell", "pm list packages -3")[1] == b"package:org.example.lamp\n"


def test_adbutils_runs_commands_and_reads_the_screen():
    with phone() as found:
        its = device(found)
        ran = its.shell2("echo out; nosuch", v2=True)
        assert (ran.returncode, ran.stdout, "not found" in ran.stderr) == (127, "out\n", True)
        assert its.shell("getprop ro.build.version.release") == "14"
        assert its.window_size() == (412, 839)
        assert 'text="Counter"' in its.dump_hierarchy()
        assert its.app_current().package == "com.galaxy.home"


def test_adbutils_moves_files_and_lists_them(tmp_path: Path):
    content = os.urandom(3 << 20)
    with phone() as found:
        sync = device(found).sync
        assert sync.push(io.BytesIO(content), "/sdcard/Download/big", check=True) == len(content)
        assert sync.read_bytes("/sdcard/Download/big") == content
        assert [each.path for each in sync.list("/sdcard/Download")] == ["big"]
        assert not sync.exists("/sdcard/Download/nothing")
        with pytest.raises(AdbError):
            sync.read_bytes("/sdcard/Download/nothing")


def test_a_tap_a_swipe_and_text_change_the_page():
    with phone() as found:
        on(found, "shell", "am start -n com.galaxy.settings/.MainActivity")
        before = on(found, "shell", "uiautomator dump /dev/tty")[1]
        on(found, "shell", "input swipe 200 700 200 200 300")
        after = on(found, "shell", "uiautomator dump /dev/tty")[1]

    assert b"Setting 30" not in before
    assert b"Setting 30" in after or b"Setting 20" in after


def test_a_phone_of_ones_own_ends_with_all_that_it_started(tmp_path: Path):
    with phone(tmp_path / "own") as found:
        process = psutil.Process(found.pid)
        family = [process, *process.children(recursive=True)]
        assert len(family) > 3

    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_started_as_a_program_it_says_where_it_is_and_ends_on_a_signal(tmp_path: Path):
    command = [sys.executable, "-m", "tests.phone", "--port", "0", "--folder", str(tmp_path / "phone")]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        told = json.loads(program.stdout.readline())
        family = [psutil.Process(program.pid), *psutil.Process(program.pid).children(recursive=True)]
        with phone() as other:
            other.adb("connect", told["serial"])
            listed = other.adb("-s", told["serial"], "shell", "wm size").stdout
            other.adb("disconnect", told["serial"])
        program.terminate()
        assert program.wait(10) == 0

    assert (listed, told["pid"]) == (b"Physical size: 412x839\n", program.pid)
    assert psutil.wait_procs(family, timeout=10)[1] == []
