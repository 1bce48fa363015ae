"""Small ONNX models, written field by field: there is no other library here that writes them."""

import struct
from collections.abc import Sequence

FLOAT, INT64 = 1, 7
MATMUL_ROUNDS = 3_000


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def node(kind: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    return b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind) + attributes


def floats(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    dims = b"".join(_number(1, each) for each in shape)
    return dims + _number(2, FLOAT) + _bytes(8, name) + _bytes(9, struct.pack(f"<{len(values)}f", *values))


def in_a_file(name: str, shape: Sequence[int], location: str) -> bytes:
    """Return an initializer whose values are said to stand in a file beside the model."""
    dims = b"".join(_number(1, each) for each in shape)
    entry = _bytes(1, "location") + _bytes(2, location)
    return dims + _number(2, FLOAT) + _bytes(8, name) + _bytes(13, entry) + _number(14, 1)


def value(name: str, kind: int, shape: Sequence[int]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, each) if each else _bytes(2, "n")) for each in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dims)))


def model(
    nodes: Sequence[bytes], constants: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes]
) -> bytes:
    graph = b"".join(_bytes(1, each) for each in nodes) + _bytes(2, "g")
    graph += b"".join(_bytes(5, each) for each in constants)
    graph += b"".join(_bytes(11, each) for each in inputs) + b"".join(_bytes(12, each) for each in outputs)
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13))


def too_warm(limit: float) -> bytes:
    """Return a model of two classes: is the mean of a row of 3 temperatures below the limit, or above?"""
    weights = floats("w", (3, 2), [-1 / 3, 1 / 3] * 3)
    bias = floats("b", (2,), [limit, -limit])
    steps = [node("MatMul", ["readings", "w"], "m"), node("Add", ["m", "b"], "a"), node("Softmax", ["a"], "scores")]
    return model(steps, [weights, bias], [value("readings", FLOAT, (0, 3))], [value("scores", FLOAT, (0, 2))])


def endless() -> bytes:
    """Return a model that multiplies large matrices for minutes; their size is an input, so that nothing is folded."""
    steps = [node("ConstantOfShape", ["size"], "x0")]
    steps += [node("MatMul", [f"x{n}", "x0"], f"x{n + 1}") for n in range(MATMUL_ROUNDS)]
    return model(steps, [], [value("size", INT64, (2,))], [value(f"x{MATMUL_ROUNDS}", FLOAT, (0, 0))])


def reaching(location: str) -> bytes:
    """Return a model whose constant stands in the file at this location."""
    steps = [node("Add", ["x", "w"], "y")]
    return model(steps, [in_a_file("w", (1,), location)], [value("x", FLOAT, (1,))], [value("y", FLOAT, (1,))])
