"""Which tools an instruction without named tools is about: by its words against what devices say of their tools.

    words -> scores of the fleet's tools -> the devices that fit best, and on each the tools that fit

What comes of it is recorded with the lease (`StarLeased.tools`), so that replay asks no matcher.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from protocol.vocabulary import Profile, ToolSpec

from ..star import INSTRUCT

TOOLS_MAX = 8  # of one instruction: a small model loses itself among more
TOOL_SHARE = 0.5  # of the best tool's score, for a tool to be given as well
DEVICE_SHARE = 0.8  # of the best device's fit, for a device to do as well
_FIT_WEIGHTS = (1.0, 0.5, 0.25)  # of a device's best tools: what a device is for shows in more than one

_K1, _B = 1.2, 0.5  # the usual saturation of BM25; half its usual weight of length, as descriptions are short
_NAME_COUNTS = 2  # a word in the tool's name, against one in what is said of it
_ENDINGS = ("ings", "ing", "ies", "ed", "es", "s")
_STEM_CHARS_MIN = 3
_EMPTY_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and any are as at be by can do for from get give have how i if in into is it its me my of on one or our "
        "out please so than that the their them then there they this to up use us was we what when where which who "
        "will with you your",
    )
)


class Words(NamedTuple):
    """What an instruction says, and the tools that its constellation was granted (or all)."""

    text: str
    granted: tuple[str, ...] = ()


class Matcher(Protocol):
    """Tells how well tools fit a text."""

    def scores(self, text: str, tools: Sequence[ToolSpec]) -> list[float]:
        """Return a score for each tool: 0 or less says that it has nothing to do with the text."""


class Match(NamedTuple):
    """The tools that an instruction would get on each device, the best first; and why not on the others."""

    tools: dict[str, tuple[str, ...]]
    refused: dict[str, str]


def matched(words: Words, profiles: dict[str, Profile], matcher: Matcher) -> Match:
    """Return how the words fit these devices. Where they fit no tool at all, every device will do, without tools."""
    offered = {device: _offered(profile, words.granted) for device, profile in profiles.items()}
    distinct = {(tool.name, tool.description): tool for tools in offered.values() for tool in tools}
    scores = dict(zip(distinct, matcher.scores(words.text, list(distinct.values())), strict=True))
    ranked = {
        device: sorted(
            [(score, tool.name) for tool in tools if (score := scores[tool.name, tool.description]) > 0.0],
            key=lambda each: (-each[0], each[1]),
        )
        for device, tools in offered.items()
    }
    fits = {device: _fit(found) for device, found in ranked.items()}
    best = max(fits, key=lambda device: fits[device], default="")
    if not best or not fits[best]:
        return Match(dict.fromkeys(profiles, ()), {})
    told = f"{ranked[best][0][1]} on {best}"
    refused = {device: _refusal(ranked[device], told) for device in fits if fits[device] < DEVICE_SHARE * fits[best]}
    return Match({device: _best(ranked[device]) for device in fits if device not in refused}, refused)


def _offered(profile: Profile, granted: tuple[str, ...]) -> list[ToolSpec]:
    return [
        tool
        for tool in profile.tools
        if tool.name != INSTRUCT and tool.name not in profile.withdrawn and (not granted or tool.name in granted)
    ]


def _fit(ranked: list[tuple[float, str]]) -> float:
    return sum(weight * score for weight, (score, _) in zip(_FIT_WEIGHTS, ranked, strict=False))


def _best(ranked: list[tuple[float, str]]) -> tuple[str, ...]:
    return tuple(name for score, name in ranked[:TOOLS_MAX] if score >= TOOL_SHARE * ranked[0][0])


def _refusal(ranked: list[tuple[float, str]], best: str) -> str:
    closest = f"the closest is {ranked[0][1]}" if ranked else "none has to do with it"
    return f"the instruction names no tools, and its words fit {best} better; of the tools here {closest}"


class Lexical:
    """By the words that the text and a tool share, the rarer the better: BM25 (Robertson and Zaragoza, 2009)."""

    def scores(self, text: str, tools: Sequence[ToolSpec]) -> list[float]:
        """Return the scores, the best at most 1: as shares of what a tool of the text's own words would get."""
        asked = dict.fromkeys(_stems(text))  # in their order: sums of the same numbers are then the same
        documents = [_document(tool) for tool in tools]
        holding = Counter(word for document in documents for word in document)
        rarity = {word: math.log(1.0 + len(documents) / holding[word]) for word in asked if word in holding}
        length = sum(sum(document.values()) for document in documents) / max(len(documents), 1)
        most = sum(rarity.values()) * (_K1 + 1.0)
        return [_bm25(rarity, document, length) / most if most else 0.0 for document in documents]


def _bm25(rarity: dict[str, float], document: Counter[str], length: float) -> float:
    damped = _K1 * (1.0 - _B + _B * sum(document.values()) / length)
    return sum(
        weight * (count * (_K1 + 1.0)) / (count + damped)
        for word, weight in rarity.items()
        if (count := document[word])
    )


def _document(tool: ToolSpec) -> Counter[str]:
    return _counted(tool.name, tool.description)


@lru_cache(maxsize=10_000)
def _counted(name: str, description: str) -> Counter[str]:
    words = Counter(_stems(description))
    for word in _stems(name):
        words[word] += _NAME_COUNTS
    return words


def _stems(text: str) -> Iterable[str]:
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()  # setPoint: two words
    return (_stem(word) for word in re.findall(r"[^\W_]+", split) if word not in _EMPTY_WORDS)


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= _STEM_CHARS_MIN:
            return f"{stem}y" if ending == "ies" else stem.removesuffix("e")
    return word.removesuffix("e") if len(word) > _STEM_CHARS_MIN else word
