"""The tools of the edge pack."""

from ..base import Tool
from ..images import ImageText
from .board import CameraShot, GpioRead, GpioWrite, I2cRead
from .mqtt import MqttPublish, MqttRequest, MqttRetained, MqttSubscribe
from .onnx import FileType, OnnxRun
from .series import SeriesAppend, SeriesQuery, SeriesWatch
from .settings import EdgeSettings
from .store import SeriesStore
from .things import RelaySet, SensorRead


def tools(settings: EdgeSettings) -> tuple[Tool, ...]:
    """Return the pack's tools for a device with these settings."""
    store = SeriesStore(settings.readings_max)
    return (
        MqttPublish(settings),
        MqttSubscribe(settings),
        MqttRetained(settings),
        MqttRequest(settings),
        SensorRead(settings, store),
        RelaySet(settings),
        SeriesAppend(store, settings.sensors),
        SeriesQuery(store),
        SeriesWatch(store),
        OnnxRun(settings),
        FileType(),
        ImageText(),
        CameraShot(settings),
        GpioRead(settings),
        GpioWrite(settings),
        I2cRead(settings),
    )
