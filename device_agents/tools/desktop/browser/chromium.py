"""One Chromium of the agent's own: under a keeper, in a folder of its own, with no way out but the proxy.

It is commanded over its standard input and output and not over a port, where any user of the machine could command it.
Playwright wants a WebSocket, so a door on loopback stands between; it opens once, to whoever knows its secret name.

When the agent dies the keeper ends all of it within moments, and the shell around it takes the folder away.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
from asyncio import StreamReader
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ....errors import ToolFailed
from ....guard import Guard
from ... import wanted
from ...base import Grace
from ...blocking import unblocked
from ...program import Launch, Program
from ...running import environment, side_by_side
from .proxy import NOWHERE
from .settings import BrowserSettings

MESSAGE_BYTES_MAX = (
    48 << 20
)  # one thing that Chromium says: a picture, a tree; a page may make them as large as it likes
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
_PIECE_BYTES = 64 << 10
_PATIENCE_S = 5.0  # between SIGTERM and SIGKILL when the agent is dead
_TAIL_BYTES = 2_000
_BASE_CHARS_MAX = 36  # 107 for a Unix socket's name, less our folder and `org.chromium.Chromium.XXXXXX/SingletonSocket`
_SHORT_BASE = "/tmp"  # noqa: S108  # a folder of our own is made in it
# Chromium reads commands at 3 and answers at 4. The shell outlives it, to take its folder away.
_SCRIPT = 'exec 3<&0 4>&1; trap : TERM; "$@" 0</dev/null 1>&2 & exec 3<&- 4>&-; wait $!; wait; rm -rf -- "$OWN_FOLDER"'
_FEATURES_OFF = (
    *("Translate", "OptimizationHints", "MediaRouter", "DialMediaRouteProvider", "AutofillServerCommunication"),
    *("CertificateTransparencyComponentUpdater", "HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable", "PaintHolding"),
    *("GlobalMediaControls", "DestroyProfileOnBrowserClose", "AsyncDns", "DnsOverHttps", "NetworkTimeServiceQuerying"),
)
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-quic",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--deny-permission-prompts",
    "--dns-prefetch-disable",
    "--no-pings",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-field-trial-config",
    "--disable-gpu",
    "--disable-back-forward-cache",
    "--disable-search-engine-choice-screen",
    "--disable-sync",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--mute-audio",
    "--no-service-autorun",
    "--password-store=basic",
    "--use-mock-keychain",
    "--renderer-process-limit=8",
    # Chromium would ask its maker for updates and accounts; no setting keeps it from asking, only from asking there.
    f"--gaia-url=http://{NOWHERE}/",
    f"--apps-gallery-update-url=http://{NOWHERE}/",
    f"--component-updater=url-source=http://{NOWHERE}/",
    f"--disable-features={','.join(_FEATURES_OFF)}",
)


def program(settings: BrowserSettings) -> Path:
    """Return the browser; raise ToolFailed not_installed. None is ever downloaded."""
    if settings.chromium:
        path = Path(settings.chromium).expanduser()
        if not os.access(path, os.X_OK) or path.is_dir():
            said = f"{path} is no program; desktop.browser.chromium in agent.toml names the browser"
            raise ToolFailed(wanted.MISSING, said)
        return path
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    said = f"none of {', '.join(NAMES)} is on the PATH: install the system's package chromium"
    raise ToolFailed(wanted.MISSING, f"{said}, or name a browser as desktop.browser.chromium in agent.toml")


def _base() -> str:
    """Return where the browser's folder is made: it keeps a socket there, and the name of a socket has a limit."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= _BASE_CHARS_MAX or not os.access(_SHORT_BASE, os.W_OK) else _SHORT_BASE


class Chromium:
    """A browser and the door to it. It has a folder from the beginning, and runs when it is started."""

    def __init__(self) -> None:
        self.own = Path(
            tempfile.mkdtemp(prefix="galaxy-browser-", dir=_base())
        )  # at once, so that nothing comes between
        self._program: Program | None = None
        self._commands = -1
        self._outputs: tuple[StreamReader, StreamReader] | None = None
        self._door: Server | None = None
        self._secret = secrets.token_urlsafe(24)
        self._is_taken = False
        self.tail = b""
        self.failure: ToolFailed | None = None

    async def start(self, settings: BrowserSettings, guard: Guard, proxy_port: int) -> int:
        """Return the port of the door."""
        executable = program(settings)
        argv = [str(executable), *_FLAGS, f"--proxy-server=http://127.0.0.1:{proxy_port}"]
        argv += [f"--user-data-dir={self.own / 'profile'}", f"--disk-cache-dir={self.own / 'cache'}"]
        if not settings.sandbox or os.geteuid() == 0:
            argv.append("--no-sandbox")
        env = environment(
            guard,
            self.own,
            {"HOME": str(self.own), "OWN_FOLDER": str(self.own), "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
        )
        commands = self.own / "commands"
        os.mkfifo(commands, 0o600)
        both_ends = os.open(commands, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # so that opening never waits
        try:
            shell = ("sh", "-c", _SCRIPT, "sh", *argv, "about:blank")
            launch = Launch(Path("/bin/sh"), shell, env, commands, Grace(0.0), _PATIENCE_S)
            self._program = Program(launch, cwd=str(self.own))
            self._commands = os.open(commands, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(both_ends)
        self._outputs = await self._program.readers()
        self._door = await serve(
            self._stand_between,
            "127.0.0.1",
            0,
            process_request=self._admitted,
            compression=None,
            max_size=MESSAGE_BYTES_MAX,
            ping_interval=None,
            close_timeout=0.2,
        )
        return int(next(iter(self._door.sockets)).getsockname()[1])

    def address(self, port: int) -> str:
        return f"ws://127.0.0.1:{port}/{self._secret}"

    async def end(self) -> None:
        """Return once it is gone with all that it started, and its folder too."""
        try:
            if self._program is not None:
                await self._program.gone()
        finally:
            if self._commands >= 0:
                with suppress(OSError, ValueError):
                    asyncio.get_running_loop().remove_writer(self._commands)
                os.close(self._commands)
                self._commands = -1
            if self._door is not None:
                self._door.close()
                await self._door.wait_closed()
            await unblocked(lambda _: shutil.rmtree(self.own, ignore_errors=True))

    def _admitted(self, connection: ServerConnection, request: Request) -> Response | None:
        knows = secrets.compare_digest(request.path.encode(), f"/{self._secret}".encode())
        if knows and not self._is_taken:
            self._is_taken = True
            return None
        return connection.respond(403, "")

    async def _stand_between(self, connection: ServerConnection) -> None:
        assert self._outputs is not None
        said, log = self._outputs
        with suppress(ConnectionClosed, EOFError, OSError, asyncio.CancelledError):
            await side_by_side(
                self._listen(log), side_by_side(self._bring_up(said, connection), self._bring_down(connection))
            )

    async def _bring_up(self, said: StreamReader, connection: ServerConnection) -> Any:
        held = bytearray()
        while piece := await said.read(_PIECE_BYTES):
            *whole, rest = piece.split(b"\0")
            for each in whole:
                held += each
                await connection.send(held.decode("utf-8", "replace"))
                held.clear()
            held += rest
            if len(held) > MESSAGE_BYTES_MAX:
                self.failure = ToolFailed("output_too_large", "the page is too large to be told of; ask for less of it")
                break
        raise EOFError

    async def _bring_down(self, connection: ServerConnection) -> Any:
        async for message in connection:
            left = memoryview((message if isinstance(message, bytes) else message.encode()) + b"\0")
            while left:
                try:
                    left = left[os.write(self._commands, left[:_PIECE_BYTES]) :]
                except BlockingIOError:
                    await self._writable()
        raise EOFError

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._commands, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._commands)

    async def _listen(self, log: StreamReader) -> Any:
        while piece := await log.read(_PIECE_BYTES):
            self.tail = (self.tail + piece)[-_TAIL_BYTES:]
        raise EOFError
