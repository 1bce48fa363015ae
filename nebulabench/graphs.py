"""The graphs that speed is measured on."""

from enum import StrEnum
from typing import Any

TOOL = "system.echo"
LAYER_WIDTH = 50
SMALL_STARS = 10

Body = dict[str, Any]


class Shape(StrEnum):
    """How stars depend on each other."""

    CHAIN = "chain"  # each on the one before
    FAN = "fan"  # none on any, but for one first and one last
    LAYERED = "layered"  # layers of 50, each star on two of the layer before
    MANY = "many"  # constellations of ten in two layers of five


def bodies(shape: Shape, stars: int) -> list[Body]:
    """Return what is to be submitted: one constellation, or for `many` as many as it takes."""
    match shape:
        case Shape.CHAIN:
            lines = [(f"s{i}", f"s{i + 1}") for i in range(stars - 1)]
        case Shape.FAN:
            middle = [f"s{i}" for i in range(1, stars - 1)]
            lines = [("s0", one) for one in middle] + [(one, f"s{stars - 1}") for one in middle[:LAYER_WIDTH]]
        case Shape.LAYERED:
            lines = _layers(stars, LAYER_WIDTH)
        case Shape.MANY:
            small = _body("many", SMALL_STARS, _layers(SMALL_STARS, SMALL_STARS // 2))
            return [small] * (stars // SMALL_STARS)
    return [_body(shape, stars, lines)]


def _layers(stars: int, width: int) -> list[tuple[str, str]]:
    lines = []
    for i in range(width, stars):
        layer, place = divmod(i, width)
        before = (layer - 1) * width
        lines += [(f"s{before + place}", f"s{i}"), (f"s{before + (place + 1) % width}", f"s{i}")]
    return lines


def _body(name: str, stars: int, lines: list[tuple[str, str]]) -> Body:
    return {
        "name": name,
        "stars": [{"id": f"s{i}", "tool": TOOL, "arguments": {"value": i}} for i in range(stars)],
        "lines": [{"source": source, "target": target} for source, target in lines],
    }
