"""The tools that ask models on the device: ONNX models of its owner's choice, and one that knows types of files."""

from collections import OrderedDict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard
from .. import wanted
from ..base import ArtifactRef, Context
from ..beneath import told
from ..blocking import unblocked
from ..given import Given, content
from ..images import PICTURE_BYTES_MAX, pixels
from ..spool import INLINE_BYTES_MAX
from .settings import EdgeSettings, ModelSettings

VALUES_MAX = 1_000_000
MODEL_BYTES_MAX = 200 << 20
_SESSIONS_MAX = 4
_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


class PictureInput(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A picture for one input: (value / 255 - mean) / std for each of red, green and blue."""

    input: Annotated[str, Meta(max_length=200)]
    given: Given
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[Annotated[float, Meta(gt=0)], Annotated[float, Meta(gt=0)], Annotated[float, Meta(gt=0)]] = (1, 1, 1)
    channels_last: bool = False
    size: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=4_096)], Annotated[int, Meta(ge=1, le=4_096)]],
        Meta(description="Width and height, where the model leaves them open."),
    ] = (224, 224)


class RunArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which model, and what it is given."""

    model: Annotated[
        str | ArtifactRef, Meta(description="One that the device's owner has named, or an artifact if that is allowed.")
    ]
    inputs: Annotated[
        dict[str, Any], Meta(max_length=50, description="Numbers or texts in nested lists, by the input's name.")
    ] = {}
    pictures: Annotated[tuple[PictureInput, ...], Meta(max_length=8)] = ()


class Output(Struct, frozen=True):
    """What one output of the model is."""

    shape: list[int]
    values: Annotated[Any, Meta(description="In nested lists; null where only `whole` can hold them.")]


class Best(Struct, frozen=True, omit_defaults=True):
    """The class with the highest score in the first row of the first output."""

    index: int
    score: float
    label: str = ""


class RunResult(Struct, frozen=True, omit_defaults=True):
    """What the model answers, by the output's name."""

    outputs: dict[str, Output]
    best: Best | None = None
    whole: Annotated[ArtifactRef, Meta(description="All outputs as JSON, if they are too many for here.")] | None = None


class OnnxRun:
    """Run an ONNX model on the device: numbers, texts or pictures in, numbers or texts out."""

    name: ClassVar[str] = "onnx.run"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"values": VALUES_MAX, "model_bytes": MODEL_BYTES_MAX}
    Arguments: ClassVar[type[Struct]] = RunArguments
    Result: ClassVar[type[Struct]] = RunResult

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._sessions: OrderedDict[str, Any] = OrderedDict()

    async def probe(self, guard: Guard) -> None:
        wanted.found("onnxruntime", "edge")
        if not self._settings.models and not self._settings.foreign_models:
            raise ToolFailed("unavailable", "no model is named: a table [edge.models.NAME] in agent.toml does it")

    async def run(self, arguments: RunArguments, context: Context) -> RunResult:
        session, labels = await self._session(arguments.model, context)
        pictures = [
            (each, await content(each.given, context, bytes_max=PICTURE_BYTES_MAX)) for each in arguments.pictures
        ]
        options = wanted.library("onnxruntime", "edge").RunOptions()

        def end() -> None:
            options.terminate = True

        outputs = await unblocked(lambda _: _answered(session, arguments.inputs, pictures, options), end=end)
        return await _result(outputs, labels, context)

    async def _session(self, model: str | ArtifactRef, context: Context) -> tuple[Any, tuple[str, ...]]:
        if isinstance(model, ArtifactRef):
            if not self._settings.foreign_models:
                said = "models that others bring may take all memory; edge.foreign_models = true in agent.toml would"
                raise ToolFailed("denied", f"{said} allow them")
            key = model.sha256
            brought: Given | None = Given(artifact=model)
            labels: tuple[str, ...] = ()
        else:
            named = self._settings.models.get(model)
            if named is None:
                said = f"no model {model!r} is named; [edge.models.NAME] in agent.toml does it"
                raise ToolFailed("denied", said)
            file, brought, labels = _file_of(named), None, named.labels
            with told(file):
                key = f"{file} {file.stat().st_mtime_ns}"
        if key not in self._sessions:
            if brought:
                code = await content(brought, context, bytes_max=MODEL_BYTES_MAX)
            else:
                code = await unblocked(lambda _: _read(file))
            self._sessions[key] = await unblocked(lambda _: _loaded(code, context.scratch))
            while len(self._sessions) > _SESSIONS_MAX:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return self._sessions[key], labels


def _file_of(model: ModelSettings) -> Path:
    package, colon, inside = model.file.partition(":")
    if not colon:
        return Path(model.file).expanduser()
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ToolFailed("not_found", f"no package {package} is installed, which would bring the model")
    return Path(spec.origin).parent / inside


def _read(file: Path) -> bytes:
    with told(file), file.open("rb") as opened:
        code = opened.read(MODEL_BYTES_MAX + 1)
    if len(code) > MODEL_BYTES_MAX:
        raise ToolFailed("too_large", f"{file} has more than {MODEL_BYTES_MAX} bytes")
    return code


def _loaded(code: bytes, scratch: Path) -> Any:
    ort = wanted.library("onnxruntime", "edge")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    scratch.mkdir(parents=True, exist_ok=True)  # a model may name files beside itself: there are none
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(scratch))
    try:
        return ort.InferenceSession(code, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # the library has no error of its own for all of it
        raise ToolFailed("bad_model", f"it is no model that can be loaded: {exc}"[:500]) from exc


def _answered(
    session: Any, inputs: dict[str, Any], pictures: list[tuple[PictureInput, bytes]], options: Any
) -> dict[str, Any]:
    wants = {each.name: each for each in session.get_inputs()}
    given = {picture.input: None for picture, _ in pictures} | inputs
    if given.keys() != wants.keys():
        says = ", ".join(f"{name}: {each.type} {each.shape}" for name, each in wants.items())
        raise ToolFailed("bad_arguments", f"the model wants {says}; it was given {', '.join(given) or 'nothing'}")
    feed = {name: _tensor(wants[name], value) for name, value in inputs.items()}
    feed |= {picture.input: _picture(wants[picture.input], picture, taken) for picture, taken in pictures}
    try:
        answers = session.run(None, feed, options)
    except Exception as exc:  # as above
        raise ToolFailed("model_failed", f"the model has failed: {exc}"[:500]) from exc
    return dict(zip((each.name for each in session.get_outputs()), answers, strict=True))


def _tensor(wants: Any, value: Any) -> Any:
    numpy = wanted.library("numpy", "edge")
    if wants.type not in _TYPES:
        raise ToolFailed(
            "bad_model", f"its input {wants.name} is {wants.type}, and only {', '.join(_TYPES)} can be said"
        )
    try:
        found = numpy.array(value, dtype=_TYPES[wants.type])
    except (TypeError, ValueError, OverflowError) as exc:
        raise ToolFailed("bad_arguments", f"{wants.name} wants {wants.type} {wants.shape}: {exc}"[:300]) from exc
    if found.size > VALUES_MAX:
        raise ToolFailed("too_large", f"{wants.name} has more than {VALUES_MAX} values")
    return found


def _picture(wants: Any, picture: PictureInput, taken: bytes) -> Any:
    numpy = wanted.library("numpy", "edge")
    sides = wants.shape[1:3] if picture.channels_last else wants.shape[2:4]
    height, width = (
        side if isinstance(side, int) and 0 < side <= 4_096 else other
        for side, other in zip(sides, reversed(picture.size), strict=True)
    )
    image = pixels(taken, "edge").resize((width, height))
    values = numpy.asarray(image, dtype="float32") / 255
    values = (values - numpy.array(picture.mean, "float32")) / numpy.array(picture.std, "float32")
    if not picture.channels_last:
        values = values.transpose(2, 0, 1)
    return values[None].astype(_TYPES.get(wants.type, "float32"))


async def _result(outputs: dict[str, Any], labels: tuple[str, ...], context: Context) -> RunResult:
    best = _best(next(iter(outputs.values()), None), labels)
    told_all = await unblocked(lambda _: {name: _plain(each) for name, each in outputs.items()})
    encoded = await unblocked(lambda _: msgspec.json.encode(told_all))
    if len(encoded) <= INLINE_BYTES_MAX:
        return RunResult(told_all, best)
    if len(encoded) > context.guard.limits.output_bytes:
        raise ToolFailed("output_too_large", f"the outputs are more than {context.guard.limits.output_bytes} bytes")
    path = context.scratch / "outputs.json"
    await unblocked(lambda _: path.write_bytes(encoded))
    short = {name: Output(each.shape, None) for name, each in told_all.items()}
    return RunResult(short, best, await context.shelf.put(path, "application/json"))


def _plain(found: Any) -> Output:
    numpy = wanted.library("numpy", "edge")
    if not isinstance(found, numpy.ndarray):
        return Output([], str(found)[:10_000])
    finite = numpy.nan_to_num(found) if found.dtype.kind == "f" else found  # JSON knows no others
    return Output(list(found.shape), finite.tolist())


def _best(first: Any, labels: tuple[str, ...]) -> Best | None:
    if not hasattr(first, "ndim") or first.ndim != 2 or first.dtype.kind != "f" or first.shape[1] < 2:
        return None
    index = int(first[0].argmax())
    return Best(index, float(first[0][index]), labels[index] if index < len(labels) else "")


class FileKind(Struct, frozen=True):
    """What a file is, by its bytes."""

    label: str
    media_type: str
    group: str
    description: str
    score: Annotated[float, Meta(description="How sure the model is, up to 1.")]


class FileType:
    """Tell what type a file or an artifact has, by its bytes and not by its name, with a small model."""

    name: ClassVar[str] = "file.type"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = Given
    Result: ClassVar[type[Struct]] = FileKind

    async def probe(self, guard: Guard) -> None:
        wanted.found("magika", "edge")

    async def run(self, arguments: Given, context: Context) -> FileKind:
        taken = await content(arguments, context)
        found = await unblocked(lambda _: _knower().identify_bytes(taken))
        kind = found.output
        return FileKind(str(kind.label), kind.mime_type, kind.group, kind.description, float(found.score))


@cache
def _knower() -> Any:
    return wanted.library("magika", "edge").Magika()
