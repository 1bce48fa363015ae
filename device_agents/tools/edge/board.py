"""What is wired to the device itself: cameras, GPIO lines, I2C devices, through the kernel's own interfaces.

Written from the kernel's documentation and not tried on such hardware by the project's tests.
"""

import os
import struct
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard
from .. import wanted
from ..base import ArtifactRef, Context
from ..beneath import told
from ..blocking import Stop, unblocked
from .settings import EdgeSettings, GpioSettings
from .things import Name

_GET_LINE, _GET_VALUES, _SET_VALUES = 0xC250B407, 0xC010B40E, 0xC010B40F  # linux/gpio.h, version 2
_INPUT, _OUTPUT = 1 << 2, 1 << 3
_LINE_REQUEST = struct.Struct("=64I32sQI20x240xII20xi")
_I2C_SLAVE = 0x0703  # linux/i2c-dev.h
_WARM_UP_FRAMES = 5  # a camera sets its exposure with the first ones


class CameraArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which camera."""

    camera: Name


class Shot(Struct, frozen=True):
    """A picture, as JPEG."""

    picture: ArtifactRef
    width: int
    height: int


class CameraShot:
    """Take a picture with a camera of the device."""

    name: ClassVar[str] = "camera.shot"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = CameraArguments
    Result: ClassVar[type[Struct]] = Shot

    def __init__(self, settings: EdgeSettings) -> None:
        self._cameras = settings.cameras

    async def probe(self, guard: Guard) -> None:
        wanted.found("cv2", "edge")
        _check_any(self._cameras, "camera", "cameras", self._cameras.values())

    async def run(self, arguments: CameraArguments, context: Context) -> Shot:
        device = _named(self._cameras, arguments.camera, "camera", "cameras")
        path = context.scratch / "shot.jpg"
        width, height = await unblocked(lambda stop: _shot(device, path, stop))
        return Shot(await context.shelf.put(path, "image/jpeg"), width, height)


class LineArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which line."""

    line: Name


class LevelArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which line, and how it shall be."""

    line: Name
    high: bool


class Level(Struct, frozen=True):
    """How a line is."""

    high: bool


class GpioRead:
    """Tell whether a GPIO line of the device is high."""

    name: ClassVar[str] = "gpio.read"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = LineArguments
    Result: ClassVar[type[Struct]] = Level

    def __init__(self, settings: EdgeSettings) -> None:
        self._lines = settings.gpio

    async def probe(self, guard: Guard) -> None:
        _check_any(self._lines, "GPIO line", "gpio", [line.chip for line in self._lines.values()])

    async def run(self, arguments: LineArguments, context: Context) -> Level:
        line = _named(self._lines, arguments.line, "GPIO line", "gpio")
        with told(line.chip):
            opened = _line(line, _INPUT)
            try:
                values = _asked(opened, _GET_VALUES, struct.pack("=QQ", 0, 1))
            finally:
                os.close(opened)
        return Level(bool(struct.unpack("=QQ", values)[0] & 1))


class GpioWrite:
    """Set a GPIO line of the device high or low; it stays so while the agent runs."""

    name: ClassVar[str] = "gpio.write"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = LevelArguments
    Result: ClassVar[type[Struct]] = Level

    def __init__(self, settings: EdgeSettings) -> None:
        self._lines = settings.gpio
        self._held: dict[str, int] = {}  # the kernel lets go of a line that nobody holds

    async def probe(self, guard: Guard) -> None:
        lines = {name: line for name, line in self._lines.items() if line.write}
        _check_any(lines, "GPIO line with write = true", "gpio", [line.chip for line in lines.values()])

    async def run(self, arguments: LevelArguments, context: Context) -> Level:
        line = _named(self._lines, arguments.line, "GPIO line", "gpio")
        if not line.write:
            said = f"{arguments.line} may only be read; edge.gpio.{arguments.line}.write = true in agent.toml would"
            raise ToolFailed("denied", f"{said} allow it")
        with told(line.chip):
            if arguments.line not in self._held:
                self._held[arguments.line] = _line(line, _OUTPUT)
            _asked(self._held[arguments.line], _SET_VALUES, struct.pack("=QQ", int(arguments.high), 1))
        return Level(arguments.high)


class I2cArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which device, and which of its registers."""

    device: Name
    register: Annotated[int, Meta(ge=0, le=255)] | None = None
    count: Annotated[int, Meta(ge=1, le=64, description="How many bytes.")] = 1


class Registers(Struct, frozen=True):
    """The bytes, in their order."""

    bytes: list[int]


class I2cRead:
    """Read bytes from a device on an I2C bus of this device."""

    name: ClassVar[str] = "i2c.read"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = I2cArguments
    Result: ClassVar[type[Struct]] = Registers

    def __init__(self, settings: EdgeSettings) -> None:
        self._devices = settings.i2c

    async def probe(self, guard: Guard) -> None:
        _check_any(self._devices, "I2C device", "i2c", [device.bus for device in self._devices.values()])

    async def run(self, arguments: I2cArguments, context: Context) -> Registers:
        device = _named(self._devices, arguments.device, "I2C device", "i2c")

        def read(stop: Stop) -> bytes:
            with told(device.bus):
                opened = os.open(device.bus, os.O_RDWR | os.O_CLOEXEC)
                try:
                    _asked(opened, _I2C_SLAVE, device.address)
                    if arguments.register is not None:
                        os.write(opened, bytes([arguments.register]))
                    return os.read(opened, arguments.count)
                finally:
                    os.close(opened)

        return Registers(list(await unblocked(read)))


def _shot(device: str, path: Path, stop: Stop) -> tuple[int, int]:
    cv2 = wanted.library("cv2", "edge")
    camera = cv2.VideoCapture(device)
    try:
        for _ in range(_WARM_UP_FRAMES):
            stop.check()
            taken, frame = camera.read()
            if not taken:
                raise ToolFailed("unavailable", f"{device} gives no picture", retryable=True)
    finally:
        camera.release()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", frame)[1].tobytes())
    return int(frame.shape[1]), int(frame.shape[0])


def _line(line: GpioSettings, flags: int) -> int:
    """Return the descriptor of the requested line."""
    chip = os.open(line.chip, os.O_RDWR | os.O_CLOEXEC)
    try:
        request = _LINE_REQUEST.pack(line.line, *[0] * 63, b"galaxy-agent", flags, 0, 1, 0, 0)
        return int(_LINE_REQUEST.unpack(_asked(chip, _GET_LINE, request))[-1])
    finally:
        os.close(chip)


def _asked(opened: int, request: int, argument: bytes | int) -> bytes:
    if sys.platform == "win32":
        raise ToolFailed("unavailable", "this system has no such lines")
    import fcntl

    answer = fcntl.ioctl(opened, request, argument)
    return answer if isinstance(answer, bytes) else b""


def _named(things: dict[str, Any], name: str, what: str, table: str) -> Any:
    if name not in things:
        raise ToolFailed("denied", f"no {what} {name!r} is named; edge.{table}.{name} in agent.toml does it")
    return things[name]


def _check_any(things: dict[str, Any], what: str, table: str, files: Any) -> None:
    if not things:
        raise ToolFailed("unavailable", f"no {what} is named: edge.{table} in agent.toml does it")
    if not any(Path(file).exists() for file in files):
        raise ToolFailed("unavailable", f"none of these is there: {', '.join(sorted(set(files)))}")
