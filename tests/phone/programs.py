"""The programs of the phone: what `input`, `screencap`, `uiautomator`, `am`, `pm` and the others do here."""

import asyncio
import os
import re
import zipfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from . import device
from .device import PROPERTIES, Notification, State
from .screen import HOME, KEYS, Screen
from .storage import Storage

APPS = ("com.galaxy.home", "com.galaxy.form", "com.galaxy.counter", "com.galaxy.notes", "com.galaxy.settings")
_CODES = {"3": "HOME", "4": "BACK", "61": "TAB", "66": "ENTER", "67": "DEL", "111": "ESCAPE"}
_IDLE = {"WAKEUP", "SLEEP", "APP_SWITCH", "MENU", "VOLUME_UP", "VOLUME_DOWN", "VOLUME_MUTE"}
_MEDIA = {"MEDIA_PLAY_PAUSE", "MEDIA_NEXT", "MEDIA_PREVIOUS"}
_NAMED = re.compile(r'package="([\w.]+)"')


class Answer(NamedTuple):
    """How a program ended."""

    code: int = 0
    stdout: bytes = b""
    stderr: bytes = b""


def said(text: str, code: int = 0) -> Answer:
    return Answer(code, text.encode())


def failed(text: str, code: int = 1) -> Answer:
    return Answer(code, b"", f"{text}\n".encode())


@dataclass
class Programs:
    """They share the phone's state, its screen and its files."""

    screen: Screen
    storage: Storage
    leave: Callable[[], None]  # drops all that are connected, and lets nobody in until the next reset
    come_back: Callable[[], Awaitable[None]]
    state: State

    async def run(self, argv: list[str]) -> Answer:
        """Return how the program of this name ends."""
        name, *rest = argv
        if name == "phone":
            return await self.set(rest)
        if self.state.stalled:
            await asyncio.get_running_loop().create_future()
        program = self._table().get(name)
        if program is None:
            return failed(f"{name}: inaccessible or not found", 127)
        try:
            return await program(rest)
        except OSError as exc:
            return failed(f"{name}: {exc.strerror or exc}")
        except (IndexError, ValueError, KeyError) as exc:
            return failed(f"{name}: bad arguments: {exc}", 255)

    def _table(self) -> dict[str, Callable[[list[str]], Awaitable[Answer]]]:
        return {name: getattr(self, f"_{name}") for name in PROGRAMS}

    async def set(self, told: list[str]) -> Answer:
        """Do what a test says: it is no program of the phone's."""
        match told:
            case ["reset"]:
                self.state = State()
                self.storage.reset()
                await self.come_back()
                await self.screen.reset()
            case ["leave"]:
                self.leave()
            case ["return"]:
                await self.come_back()
            case ["locked", on]:
                self.state.locked = on == "true"
                await self.screen.call("lock", self.state.locked)
            case ["notify", package, title, text]:
                self.state.notifications.append(Notification(package, title, text))
            case ["tree", text]:
                self.state.tree = text
            case ["tree-of", count]:  # too long for an argument
                node = '<node text="x" bounds="[0,0][9,9]" />'
                self.state.tree = f"<hierarchy>{node * int(count)}</hierarchy>"
            case ["level", level]:
                self.state.level = int(level)
            case [("accessible" | "stalled" | "charging" | "metered") as name, on]:
                self.state = replace(self.state, **{name: on == "true"})
            case _:
                return failed(f"the phone knows no {told}")
        return Answer()

    async def _input(self, argv: list[str]) -> Answer:
        if argv and argv[0] in {"touchscreen", "keyboard"}:
            argv = argv[1:]
        match argv:
            case ["tap", x, y]:
                await self.screen.tap(float(x), float(y))
            case ["swipe", x, y, to_x, to_y, *for_ms]:
                for_s = int(for_ms[0]) / 1000 if for_ms else 0.3
                await self.screen.swipe((float(x), float(y)), (float(to_x), float(to_y)), for_s)
                if self.state.locked and float(y) - float(to_y) > 300:
                    return said("")  # the keyguard asks for a PIN: it stays
            case ["text", text]:
                if " " in text:  # older Androids split what they were given once more
                    return failed("Error: Invalid arguments for command: text", 255)
                if not text.isascii():
                    return failed("java.lang.NullPointerException: Attempt to get length of null array", 255)
                if not self.state.locked:
                    await self.screen.type(text.replace("%s", " "))
            case ["keyevent", *keys] if keys:
                for key in keys:
                    await self._key(key.removeprefix("KEYCODE_"))
            case _:
                return failed("Error: Invalid arguments for command: input", 255)
        return Answer()

    async def _key(self, key: str) -> None:
        key = _CODES.get(key, key)
        if key in {"WAKEUP", "SLEEP"}:
            self.state.awake = key == "WAKEUP"
        if self.state.locked or not self.state.awake:
            return
        if key in {"HOME", "BACK"}:
            await self.screen.call("show", HOME)
        elif key in KEYS:
            await self.screen.press(key)
        elif key not in _IDLE | _MEDIA:
            raise ValueError(f"Unknown keycode {key}")

    async def _screencap(self, argv: list[str]) -> Answer:
        png = await self.screen.png()
        files = [each for each in argv if not each.startswith("-")]
        if not files:
            return Answer(0, png)
        self.storage.path(files[0]).write_bytes(png)
        return Answer()

    async def _uiautomator(self, argv: list[str]) -> Answer:
        if argv[:1] != ["dump"]:
            return failed("Usage: uiautomator <subcommand> [options]")
        if not self.state.accessible:
            return failed("ERROR: null root node returned by UiTestAutomationBridge.", 0)
        tree = self.state.tree.encode() if self.state.tree is not None else await self.screen.tree()
        files = [each for each in argv[1:] if not each.startswith("--")]
        name = files[0] if files else "/sdcard/window_dump.xml"
        if name == "/dev/tty":
            return Answer(0, tree + f"UI hierchary dumped to: {name}\n".encode())
        self.storage.path(name).write_bytes(tree)
        return said(f"UI hierchary dumped to: {name}\n")  # so Android spells it

    async def _am(self, argv: list[str]) -> Answer:
        match argv:
            case ["start", *options] if "-n" in options:
                name = options[options.index("-n") + 1]
                package, _, activity = name.partition("/")
                starting = f"Starting: Intent {{ cmp={name} }}\n"
                if package not in self._packages() or activity.removeprefix(package) != ".MainActivity":
                    problem = f"Error type 3\nError: Activity class {{{name}}} does not exist.\n"
                    return Answer(1, starting.encode(), problem.encode())
                await self.screen.call("show", package)
                return said(starting)
            case ["force-stop", package]:
                if package in self._packages():  # of others Android says nothing either
                    await self.screen.call("stop", package)
                return Answer()
        return failed(f"Unknown command: {' '.join(argv)}", 255)

    async def _monkey(self, argv: list[str]) -> Answer:
        package = argv[argv.index("-p") + 1]
        if package not in self._packages():
            return Answer(252, b"** No activities found to run, monkey aborted.\n")
        await self.screen.call("show", package)
        return said("Events injected: 1\n## Network stats: elapsed time=12ms\n")

    async def _pm(self, argv: list[str]) -> Answer:
        match argv:
            case ["list", "packages", *options]:
                names = self.state.installed if "-3" in options else self._packages()
                return said("".join(f"package:{each}\n" for each in names))
            case ["path", package]:
                found = package in self._packages()
                return said(f"package:/data/app/{package}/base.apk\n") if found else Answer(1)
            case ["install", *options]:
                return await self._installed(options[-1])
            case ["uninstall", package] if package in self.state.installed:
                self.state.installed.remove(package)
                await self.screen.call("stop", package)
                return said("Success\n")
        return failed(f"Unknown command: {' '.join(argv)}", 255)

    async def _installed(self, name: str) -> Answer:
        """Take an app: a ZIP with its package's name in AndroidManifest.xml, and with a page."""
        try:
            with zipfile.ZipFile(self.storage.path(name)) as archive:
                manifest = archive.read("AndroidManifest.xml").decode("utf-8", "replace")
                page = archive.read("index.html").decode() if "index.html" in archive.namelist() else "<p>An app</p>"
        except FileNotFoundError:
            return failed(f"Error: Unable to open file: {name}\nConsider using a file under /data/local/tmp/")
        except (KeyError, zipfile.BadZipFile):
            manifest = ""
        package = _NAMED.search(manifest)
        if package is None:
            return Answer(1, b"", b"Failure [INSTALL_PARSE_FAILED_NOT_APK: Failed to parse the file]\n")
        if package[1] not in self.state.installed:
            self.state.installed.append(package[1])
        await self.screen.call("install", package[1], package[1].rpartition(".")[2], page)
        return said("Success\n")

    def _packages(self) -> list[str]:
        return [*APPS, *self.state.installed]

    async def _getprop(self, argv: list[str]) -> Answer:
        if argv:
            return said(f"{PROPERTIES.get(argv[0], '')}\n")
        return said("".join(f"[{name}]: [{value}]\n" for name, value in PROPERTIES.items()))

    async def _wm(self, argv: list[str]) -> Answer:
        width, height = self.screen.size
        told = {"size": f"Physical size: {width}x{height}\n", "density": "Physical density: 160\n"}
        return said(told[argv[0]])

    async def _dumpsys(self, argv: list[str]) -> Answer:
        state = self.state
        match argv:
            case ["battery"]:
                return said(device.battery(state))
            case ["notification", *_]:
                return said(device.notifications(state))
            case ["window", *_]:
                return said(device.window(state, await self.screen.front()))
            case ["trust"]:
                return said(device.trust(state))
            case ["display"]:
                return said("Display Devices:\n  mOverrideDisplayInfo=DisplayInfo{orientation=0}\n")
            case ["power"]:
                return said(device.power(state))
            case ["connectivity", *_]:
                return said(device.connectivity(state))
        return failed(f"Can't find service: {' '.join(argv)}", 0)

    async def _cmd(self, argv: list[str]) -> Answer:
        if argv[:1] == ["package"]:
            return await self._pm(argv[1:])
        return failed(f"cmd: Can't find service: {' '.join(argv[:1])}", 20)

    async def _rm(self, argv: list[str]) -> Answer:
        """Remove files; a folder it takes for a mistake, whatever the options."""
        for name in (each for each in argv if not each.startswith("-")):
            with suppress(FileNotFoundError):
                self.storage.path(name).unlink()
        return Answer()

    async def _ls(self, argv: list[str]) -> Answer:
        names = [each for each in argv if not each.startswith("-")] or ["/"]
        return said("".join(f"{each}\n" for each in sorted(os.listdir(self.storage.path(names[0]).resolve()))))

    async def _cat(self, argv: list[str]) -> Answer:
        return Answer(0, b"".join(self.storage.path(each).read_bytes() for each in argv))

    async def _readlink(self, argv: list[str]) -> Answer:
        names = [each for each in argv if not each.startswith("-")]
        return said("".join(f"{self.storage.resolved(each)}\n" for each in names))


PROGRAMS = sorted(
    name[1:]
    for name, value in vars(Programs).items()
    if name.startswith("_") and asyncio.iscoroutinefunction(value) and name not in {"_key", "_installed"}
)
