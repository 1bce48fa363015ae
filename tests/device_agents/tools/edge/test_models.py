"""Models on the device: what they answer, and what a model, a picture or a number that means harm gets."""

import struct
import zlib
from pathlib import Path

import msgspec
import pytest
from PIL import Image, ImageDraw, ImageFont

from device_agents.tools.edge.onnx import FileType, OnnxRun
from device_agents.tools.edge.settings import ModelSettings
from device_agents.tools.images import ImageText
from tests.onnx_models import FLOAT, model, node, reaching, too_warm, value

from ..bench import Bench, failing
from .stands import a_picture, edge, with_models


def naming(bench: Bench, code: bytes) -> OnnxRun:
    path = bench.outside / "m.onnx"
    path.write_bytes(code)
    return OnnxRun(edge(models={"m": ModelSettings(str(path))}))


def test_a_model_decides_and_its_best_class_has_the_label_that_the_owner_gave_it(tmp_path: Path):
    bench = Bench(tmp_path)
    tool = OnnxRun(with_models(bench).edge)

    warm = bench.call(tool, model="warm", inputs={"readings": [[70, 71, 69]]})
    fine = bench.call(tool, model="warm", inputs={"readings": [[20, 21, 22], [80, 80, 80]]})

    assert (warm.best.label, fine.best.label) == ("too warm", "fine")
    assert fine.outputs["scores"].shape == [2, 2]
    assert fine.outputs["scores"].values[1][1] == pytest.approx(1.0)


@pytest.mark.parametrize(("degrees", "label"), [(0, "upright"), (180, "upside down")])
def test_a_model_of_an_installed_package_looks_at_a_picture(tmp_path: Path, degrees: int, label: str):
    bench = Bench(tmp_path)
    image = Image.new("RGB", (320, 80), "white")
    ImageDraw.Draw(image).text((5, 20), "reading 42", "black", ImageFont.load_default(40))
    image.rotate(degrees).save(bench.work / "label.png")
    classifier = ModelSettings("rapidocr:models/ch_ppocr_mobile_v2.0_cls_mobile.onnx", ("upright", "upside down"))
    picture = {"input": "x", "given": {"path": "label.png"}, "mean": [0.5] * 3, "std": [0.5] * 3, "size": [192, 48]}

    found = bench.call(OnnxRun(edge(models={"turned": classifier})), model="turned", pictures=[picture])

    assert found.best.label == label


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, ["readings: tensor(float)", "it was given nothing"]),
        ({"readings": [[1, 2, 3]], "more": 1}, ["the model wants"]),
        ({"readings": "warm"}, ["readings wants tensor(float)"]),
        ({"readings": [[1], [2, 3]]}, ["readings wants tensor(float)"]),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_what_the_model_wants(
    tmp_path: Path, inputs: dict[str, object], words: list[str]
):
    bench = Bench(tmp_path)
    with failing("bad_arguments", *words):
        bench.call(naming(bench, too_warm(1)), model="m", inputs=inputs)


def test_the_wrong_shape_is_the_models_failure_and_says_which(tmp_path: Path):
    bench = Bench(tmp_path)
    with failing("model_failed", "readings"):
        bench.call(naming(bench, too_warm(1)), model="m", inputs={"readings": [[1, 2]]})


def test_outputs_that_are_too_many_come_as_an_artifact(tmp_path: Path):
    bench = Bench(tmp_path)
    grown = model([node("Add", ["x", "x"], "y")], [], [value("x", FLOAT, (0, 3))], [value("y", FLOAT, (0, 3))])

    found = bench.call(naming(bench, grown), model="m", inputs={"x": [[1, 2, 3]] * 5_000})

    assert found.outputs["y"].values is None
    assert msgspec.json.decode(bench.shelf.content(found.whole))["y"]["values"][4_999] == [2, 4, 6]


def test_a_model_that_comes_as_an_artifact_is_run_only_where_the_owner_allows_it(tmp_path: Path):
    bench = Bench(tmp_path)
    ref = bench.shelf.keep(too_warm(50))
    asked = {"model": ref, "inputs": {"readings": [[70, 70, 70]]}}

    with failing("denied", "edge.foreign_models", "agent.toml"):
        bench.call(OnnxRun(edge()), **asked)
    assert bench.call(OnnxRun(edge(foreign_models=True)), **asked).best.index == 1


@pytest.mark.parametrize("location", ["/etc/hostname", "../../../../etc/hostname", "secret"])
def test_a_model_cannot_read_files_of_the_device(tmp_path: Path, location: str):
    bench = Bench(tmp_path)
    (bench.outside / "secret").write_bytes(b"\0\0\x80?")

    with failing("bad_model"):
        bench.call(naming(bench, reaching(location)), model="m", inputs={"x": [1]})


@pytest.mark.parametrize("code", [b"", b"no model", too_warm(1)[:-40]])
def test_what_is_no_model_is_said_to_be_none(tmp_path: Path, code: bytes):
    bench = Bench(tmp_path)
    with failing("bad_model"):
        bench.call(naming(bench, code), model="m")


def test_the_type_of_a_file_is_told_by_its_bytes(tmp_path: Path):
    bench = Bench(tmp_path)
    (bench.work / "letter.txt").write_bytes(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< >>\n%%EOF\n")

    assert bench.call(FileType(), path="letter.txt").label == "pdf"


def test_the_text_of_a_picture_is_read_with_its_place(tmp_path: Path):
    bench = Bench(tmp_path)
    found = bench.call(ImageText(), **a_picture(bench, "hello from the edge"))

    (line,) = found.lines
    left, top, width, height = line.box
    assert line.text == "hello from the edge"
    assert 0 < left < 60
    assert 20 < top < 60
    assert width > 300
    assert height > 20


def a_png_of(width: int, height: int) -> bytes:
    """Return the head of a PNG that says it is so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [(a_png_of(60_000, 60_000), "bad_picture"), (a_png_of(8_000, 8_000), "too_large"), (b"GIF89a", "bad_picture")],
)
def test_a_picture_that_is_a_bomb_or_none_is_refused(tmp_path: Path, content: bytes, code: str):
    bench = Bench(tmp_path)
    (bench.work / "x.png").write_bytes(content)

    with failing(code):
        bench.call(ImageText(), path="x.png")
