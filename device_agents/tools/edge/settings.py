"""What stands under `[edge]` in `agent.toml`."""

from typing import Annotated

from msgspec import Meta, Struct

Topic = Annotated[str, Meta(min_length=1, max_length=500, pattern="^[^#+\u0000]+$")]
Pointer = Annotated[str, Meta(pattern="^(/.*)?$")]  # RFC 6901


class SensorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A sensor that tells its readings on a topic, by the name of its table."""

    topic: Topic
    unit: str = ""
    minimum: float | None = None  # a reading outside is kept, and never given as a value
    maximum: float | None = None
    pointer: Pointer = ""  # where the number is, if the payload is JSON and more than a number


class RelaySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A relay that obeys on a topic, by the name of its table."""

    topic: Topic
    on: str = "ON"
    off: str = "OFF"
    safe: str = ""  # "on" or "off": what it is set to when the agent stops, or is lost
    state: str = ""  # the topic where it tells how it is; then a change is confirmed
    retain: bool = True


class ModelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """An ONNX model of the device, by the name of its table."""

    file: str  # absolute, or ~/...; or package:folder/model.onnx for one that an installed package brings
    labels: tuple[str, ...] = ()  # of the classes, in their order


class GpioSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a GPIO chip, by the name of its table."""

    line: Annotated[int, Meta(ge=0, le=511)]
    chip: Annotated[str, Meta(pattern="^/dev/gpiochip[0-9]+$")] = "/dev/gpiochip0"
    write: bool = False


class I2cSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A device on an I2C bus, by the name of its table."""

    address: Annotated[int, Meta(ge=0x08, le=0x77)]
    bus: Annotated[str, Meta(pattern="^/dev/i2c-[0-9]+$")] = "/dev/i2c-1"


class EdgeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of this pack need to know of the device."""

    broker: Annotated[str, Meta(pattern="^(mqtts?://.+)?$")] = ""  # mqtt://user@host:1883, mqtts://host
    password_file: str = ""
    publish: tuple[str, ...] = ()  # topic filters that mqtt.publish and mqtt.request may say something on
    subscribe: tuple[str, ...] = ()  # topic filters that may be listened to
    status: str = ""  # a topic where this agent is "online", and by its last will "offline"
    sensors: dict[str, SensorSettings] = {}
    relays: dict[str, RelaySettings] = {}
    models: dict[str, ModelSettings] = {}
    foreign_models: bool = False  # whether onnx.run takes models that come as artifacts
    cameras: dict[str, Annotated[str, Meta(pattern="^/dev/video[0-9]+$")]] = {}
    gpio: dict[str, GpioSettings] = {}
    i2c: dict[str, I2cSettings] = {}
    readings_max: Annotated[int, Meta(ge=1)] = 1_000_000  # kept on the disk; the oldest go first
