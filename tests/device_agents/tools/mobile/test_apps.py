"""Apps that are started, stopped and installed, and files that go to the phone and from it."""

import os

import msgspec
import pytest

from device_agents.guard import Limits, Policy

from ..bench import Bench, failing
from .stands import an_apk, an_app, call, settings_of, texts

DOWNLOAD = "/sdcard/Download"


def test_an_app_is_brought_to_the_front_and_ended_with_what_it_has_not_saved(bench: Bench):
    call(bench, "phone.launch", package="com.galaxy.counter", activity=".MainActivity")
    call(bench, "phone.tap", id="more")
    assert (call(bench, "phone.info").app, "1" in texts(bench)) == ("com.galaxy.counter", True)
    call(bench, "phone.stop", package="com.galaxy.counter")
    assert call(bench, "phone.info").app == "com.galaxy.home"
    call(bench, "phone.launch", package="com.galaxy.counter")

    assert "0" in texts(bench)


def test_an_app_that_is_not_there_or_has_no_such_beginning_is_not_started(bench: Bench):
    with failing("not_installed", "com.galaxy.nothing"):
        call(bench, "phone.launch", package="com.galaxy.nothing")
    with failing("not_started", "does not exist"):
        call(bench, "phone.launch", package="com.galaxy.notes", activity=".Other$Inner")


def test_an_app_that_the_owner_has_not_named_is_neither_started_nor_ended(bench: Bench):
    none = settings_of(bench.peer, apps=())
    for name in ("phone.launch", "phone.stop"):
        with failing("denied", '"com.galaxy.notes" in mobile.apps in agent.toml'):
            call(bench, name, none, package="com.galaxy.notes")


def test_an_app_from_a_file_is_installed_started_and_seen(bench: Bench):
    installed = call(bench, "phone.install", **an_app(bench))
    call(bench, "phone.launch", package="org.example.lamp")

    assert installed.packages == ["org.example.lamp"]
    assert "Light" in texts(bench)
    assert call(bench, "phone.install", **an_app(bench)).packages == []
    assert list(bench.peer.file("/data/local/tmp").iterdir()) == []


def test_an_app_from_an_artifact_is_installed(bench: Bench):
    an_apk(bench.outside / "x.apk")
    ref = bench.shelf.keep((bench.outside / "x.apk").read_bytes())

    found = {"$artifact": ref.sha256, "bytes": ref.bytes}
    assert call(bench, "phone.install", artifact=found).packages == ["org.example.lamp"]


def test_what_is_no_app_or_is_not_allowed_is_not_installed(bench: Bench):
    (bench.work / "x.apk").write_bytes(b"no zip")
    with failing("bad_apk"):
        call(bench, "phone.install", path="x.apk")
    an_apk(bench.work / "y.apk", manifest="<manifest />")
    with failing("install_failed", "INSTALL_PARSE_FAILED"):
        call(bench, "phone.install", path="y.apk")
    with failing("denied", "mobile.install = true in agent.toml"):
        call(bench, "phone.install", settings_of(bench.peer, install=False), **an_app(bench))
    with failing("denied", "folders.read in guard.toml"):
        call(bench, "phone.install", path=str(bench.outside / "z.apk"))


def test_a_file_goes_to_the_phone_and_comes_back_to_the_byte(bench: Bench):
    content = os.urandom(3 << 20)
    (bench.work / "big").write_bytes(content)

    assert call(bench, "phone.push", path="big", to=f"{DOWNLOAD}/it's $(big); 'ä'").bytes == len(content)
    assert bench.peer.file(f"{DOWNLOAD}/it's $(big); 'ä'").read_bytes() == content
    pulled = call(bench, "phone.pull", path=f"{DOWNLOAD}/it's $(big); 'ä'")
    assert bench.shelf.content(pulled.file) == content


def test_an_artifact_goes_to_the_phone_in_place_of_what_was_there(bench: Bench):
    bench.peer.file(f"{DOWNLOAD}/x").write_text("longer than the next")
    ref = bench.shelf.keep(b"next")
    call(bench, "phone.push", artifact={"$artifact": ref.sha256, "bytes": ref.bytes}, to=f"{DOWNLOAD}/x")

    assert bench.peer.file(f"{DOWNLOAD}/x").read_bytes() == b"next"


@pytest.mark.parametrize(
    "path",
    [
        "/data/local/tmp/x",
        "/sdcard/Download/../x",
        "/sdcard/Download/a/../x",
        "/sdcard/Download",
        "/sdcard/Downloads/x",
        "/sdcard/./Download/../x",
    ],
)
def test_a_path_outside_of_the_open_folders_is_refused(bench: Bench, path: str):
    (bench.work / "x").write_text("x")
    with failing("denied", "mobile.push", "agent.toml"):
        call(bench, "phone.push", path="x", to=path)
    with failing("denied", "mobile.pull", "agent.toml"):
        call(bench, "phone.pull", path=path)


def test_a_link_on_the_phone_leads_nowhere(bench: Bench):
    (bench.work / "x").write_text("x")
    bench.peer.file("/data/secret").mkdir(parents=True)
    bench.peer.file("/data/secret/key").write_text("secret")
    bench.peer.file(f"{DOWNLOAD}/folder").symlink_to("../../../../data/secret")
    bench.peer.file(f"{DOWNLOAD}/file").symlink_to("../../../../data/secret/key")

    for name in ("folder/key", "file"):
        with failing("denied", "link"):
            call(bench, "phone.pull", path=f"{DOWNLOAD}/{name}")
        with failing("denied", "link"):
            call(bench, "phone.push", path="x", to=f"{DOWNLOAD}/{name}")
    assert bench.peer.file("/data/secret/key").read_text() == "secret"


def test_what_is_no_file_or_is_too_large_does_not_travel(bench: Bench):
    bench.peer.file(f"{DOWNLOAD}/folder").mkdir()
    bench.peer.file(f"{DOWNLOAD}/big").write_bytes(b"x" * 2_000)
    (bench.work / "big").write_bytes(b"x" * 2_000)
    bench.guard = type(bench.guard)(Policy(limits=Limits(file_bytes=1_000)), bench.work)
    object.__setattr__(bench.context, "guard", bench.guard)

    with failing("not_found"):
        call(bench, "phone.pull", path=f"{DOWNLOAD}/nothing")
    with failing("not_found"):
        call(bench, "phone.pull", path=f"{DOWNLOAD}/no/folder")
    with failing("not_a_file"):
        call(bench, "phone.pull", path=f"{DOWNLOAD}/folder")
    with failing("not_a_file"):
        call(bench, "phone.push", path="big", to=f"{DOWNLOAD}/folder")
    for name, more in {
        "phone.pull": {"path": f"{DOWNLOAD}/big"},
        "phone.push": {"path": "big", "to": f"{DOWNLOAD}/x"},
    }.items():
        with failing("too_large", "limits.file_bytes in guard.toml"):
            call(bench, name, **more)


@pytest.mark.parametrize("package", ["com.galaxy.notes; reboot", "notes", "com.galaxy.$(x)", "-p.x", "com..x"])
def test_what_is_no_name_of_an_app_fits_no_schema(bench: Bench, package: str):
    with pytest.raises(msgspec.ValidationError, match="matching regex"):
        call(bench, "phone.launch", package=package)
