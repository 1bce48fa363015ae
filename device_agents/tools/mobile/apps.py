"""The tools that start, stop and install apps: those that `agent.toml` names, where it allows that."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Annotated, BinaryIO, ClassVar
from uuid import uuid4

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard, Place
from ..base import Context
from ..beneath import regular_file, told
from ..given import Given
from .dumps import asked, unlocked
from .line import Line, command, on_phone
from .look import OnPhone
from .settings import MobileSettings

INSTALL_S = 300.0
_STAGE = "/data/local/tmp"  # the one folder that Android's installer reads from

Package = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$",
        description="Such as com.android.settings.",
    ),
]
Activity = Annotated[str, Meta(max_length=200, pattern=r"^\.?[A-Za-z][A-Za-z0-9_$.]*$")]


class LaunchArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which app."""

    package: Package
    activity: Annotated[Activity, Meta(description="The one to begin with; its main one by default.")] | None = None


class AppTold(Struct, frozen=True):
    """Which app it was."""

    package: str


class _OnApps(OnPhone):
    def check_allowed(self) -> None:
        if not self._settings.apps:
            raise ToolFailed("denied", "no app is named; patterns of packages in mobile.apps in agent.toml do it")


class PhoneLaunch(_OnApps):
    """Start an app of the phone, or bring it to the front. Only those that the owner has named can be."""

    name: ClassVar[str] = "phone.launch"
    effect: ClassVar[Effect] = Effect.ONCE
    Arguments: ClassVar[type[Struct]] = LaunchArguments
    Result: ClassVar[type[Struct]] = AppTold

    async def run(self, arguments: LaunchArguments, context: Context) -> AppTold:
        package, activity = arguments.package, arguments.activity
        check_app(self._settings, package)
        if activity:
            words = command("am", "start", "-n", f"{package}/{activity}")
        else:
            words = command("monkey", "-p", package, "-c", "android.intent.category.LAUNCHER", "1")

        def launched(line: Line) -> AppTold:
            unlocked(line)
            if line.ask(command("pm", "path", package)).code != 0:
                raise ToolFailed("not_installed", f"there is no app {package} on the phone")
            said = line.act(words)
            # Before Android 10 `am` ends well whatever comes; what it says of a failure begins like this.
            if said.code != 0 or b"\nError" in b"\n" + said.stderr + b"\n" + said.stdout:
                raise ToolFailed("not_started", f"the phone does not start {package}: {said.complaint}"[:500])
            return AppTold(package)

        return await on_phone(self._settings, launched)


class StopArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which app."""

    package: Package


class PhoneStop(_OnApps):
    """End an app of the phone with all its services. What it has not saved is lost."""

    name: ClassVar[str] = "phone.stop"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    Arguments: ClassVar[type[Struct]] = StopArguments
    Result: ClassVar[type[Struct]] = AppTold

    async def run(self, arguments: StopArguments, context: Context) -> AppTold:
        check_app(self._settings, arguments.package)

        def stopped(line: Line) -> AppTold:
            said = line.act(command("am", "force-stop", arguments.package))
            if said.code != 0:
                raise ToolFailed("not_stopped", f"the phone does not stop it: {said.complaint}"[:500])
            return AppTold(arguments.package)

        return await on_phone(self._settings, stopped)


class Installed(Struct, frozen=True):
    """The app is on the phone."""

    packages: Annotated[list[str], Meta(description="Those that were not there before; none if it was an update.")]
    bytes: int


class PhoneInstall(OnPhone):
    """Install an app on the phone, or update it, from an APK that is a file or an artifact."""

    name: ClassVar[str] = "phone.install"
    effect: ClassVar[Effect] = Effect.ONCE
    Arguments: ClassVar[type[Struct]] = Given
    Result: ClassVar[type[Struct]] = Installed

    def check_allowed(self) -> None:
        if not self._settings.install:
            raise ToolFailed("denied", "no app may be installed; mobile.install = true in agent.toml would allow it")

    async def run(self, arguments: Given, context: Context) -> Installed:
        self.check_allowed()
        source = await source_of(arguments, context)
        stage = f"{_STAGE}/galaxy-{uuid4().hex}.apk"

        def installed(line: Line) -> Installed:
            with opened(source, context.guard) as apk:
                _check_apk(apk)
                before = _packages(line)
                count = line.push(apk, stage)
            said = line.act(f"trap 'rm -f {stage}' EXIT; pm install -r {stage}", timeout_s=INSTALL_S)
            if said.code != 0 or b"Success" not in said.stdout:
                raise ToolFailed("install_failed", f"the phone does not take it: {said.complaint}"[:500])
            return Installed(sorted(_packages(line) - before), count)

        return await on_phone(self._settings, installed)


def check_app(settings: MobileSettings, package: str) -> None:
    if not any(fnmatchcase(package, pattern) for pattern in settings.apps):
        said = (
            f'the app {package} may not be started or stopped; "{package}" in mobile.apps in agent.toml would allow it'
        )
        raise ToolFailed("denied", said)


async def source_of(given: Given, context: Context) -> Place:
    """Return where the bytes are; raise ToolFailed bad_arguments, denied."""
    if (given.path is None) == (given.artifact is None):
        raise ToolFailed("bad_arguments", "say one of `path` and `artifact`")
    if given.artifact is not None:
        fetched = await context.shelf.fetch(given.artifact)
        return Place(fetched.parent, (fetched.name,), None)
    return context.guard.readable(given.path or "")


@contextmanager
def opened(source: Place, guard: Guard) -> Iterator[BinaryIO]:
    """Yield the open file; raise ToolFailed, too_large among others."""
    with told(source.path), regular_file(source) as file:
        if file.seek(0, 2) > guard.limits.file_bytes:
            said = f"{source.path} has more than {guard.limits.file_bytes} bytes (limits.file_bytes in guard.toml)"
            raise ToolFailed("too_large", said)
        file.seek(0)
        yield file


def _check_apk(apk: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(apk) as archive:
            archive.getinfo("AndroidManifest.xml")
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError) as exc:
        raise ToolFailed("bad_apk", f"it is no app for Android: {exc}") from exc
    apk.seek(0)


def _packages(line: Line) -> set[str]:
    return {each.removeprefix("package:").strip() for each in asked(line, "pm list packages -3").splitlines() if each}
