"""Bindings: arguments that come from other stars' results."""

import msgspec
import pytest
from msgspec import Raw

from galaxy.core.binding import ARGUMENTS_BYTES_MAX, BindingError, bindings_in, renamed, resolved
from galaxy.core.events import StarFailed
from galaxy.core.star import Binding, When

from .helpers import Log, device, done, fail, line, star, submit, told

RESULTS = {"a": Raw(b'{"rows":[1,{"n":2}],"a/b":null}'), "art": Raw(b'{"$artifact":"e3b0","bytes":9}')}


def bound(arguments) -> object:
    return msgspec.json.decode(resolved(Raw(msgspec.json.encode(arguments)), RESULTS.get))


def test_bindings_are_found_wherever_they_stand():
    found = bindings_in({"x": [{"$from": "a", "pointer": "/rows/0"}, {"y": {"$from": "b"}}], "z": 1})

    assert found == (Binding("a", "/rows/0"), Binding("b", ""))


@pytest.mark.parametrize(
    ("arguments", "place", "why"),
    [
        ({"x": {"$from": 1}}, "/x", "and nothing else"),
        ({"x": [{"$from": "a", "pointer": 1}]}, "/x/0", "and nothing else"),
        ({"a/b": {"$from": "a", "other": 1}}, "/a~1b", "and nothing else"),
        ({"m~n": {"$from": "a", "pointer": "rows"}}, "/m~0n/pointer", "not a JSON pointer"),
    ],
)
def test_a_badly_written_binding_is_refused_with_its_place(arguments, place, why):
    with pytest.raises(BindingError, match=why) as refusal:
        bindings_in(arguments)
    assert refusal.value.place == place


def test_arguments_have_a_greatest_depth():
    deep: list = []
    for _ in range(70):
        deep = [deep]
    with pytest.raises(BindingError, match="deeper than 64 levels"):
        bindings_in(deep)


def test_a_binding_is_replaced_by_what_it_names():
    assert bound({"x": [{"$from": "a", "pointer": "/rows/1/n"}, {"$from": "a", "pointer": "/a~1b"}], "y": "z"}) == {
        "x": [2, None],
        "y": "z",
    }


def test_an_artifact_goes_along_with_the_pointer_into_it():
    assert bound([{"$from": "art", "pointer": "/rows/0"}, {"$from": "art"}]) == [
        {"$artifact": "e3b0", "bytes": 9, "pointer": "/rows/0"},
        {"$artifact": "e3b0", "bytes": 9},
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"$from": "nova"}, "nova has no result"),
        ({"$from": "a", "pointer": "/rows/2"}, "in the result of a, '/rows/2' leads nowhere: there is no '2'"),
        ([{"$from": "a"}] * 20_000, "the arguments are 640001 bytes, at most 524288"),
    ],
)
def test_a_binding_that_cannot_be_replaced_says_why(arguments, why):
    with pytest.raises(BindingError) as refusal:
        bound(arguments)
    assert str(refusal.value) == why


def test_the_names_in_bindings_can_be_changed_and_nothing_else():
    arguments = Raw(b'{"x":[{"$from":"a","pointer":"/n"},{"$from":"b"},{"from":"a"}]}')

    assert bytes(renamed(arguments, {"a": "a2"})) == b'{"x":[{"$from":"a2","pointer":"/n"},{"$from":"b"},{"from":"a"}]}'


def test_a_star_is_sent_what_it_is_bound_to_and_stays_as_it_was_written():
    log = Log()
    arguments = {"n": {"$from": "a", "pointer": "/n"}}
    log.feed(*device(), submit(star("a"), star("b", arguments=arguments)))
    assert log.states() == {"a": "leased", "b": "waiting"}

    (order,) = log.feed(done("c/a#1", result={"n": [1, 2]}))
    assert bytes(order.arguments) == b'{"n":[1,2]}'
    assert msgspec.json.decode(log.course("b").star.arguments) == arguments


def test_a_star_whose_binding_leads_nowhere_fails_and_others_take_its_turn():
    log = Log()
    log.feed(
        *device(),
        submit(
            star("a"),
            star("b", arguments={"$from": "a", "pointer": "/nova"}),
            star("f", arguments={"$from": "b"}),
            star("o"),
            line("b>f", When.FAILURE),
        ),
    )
    assert told(log.feed(done("c/a#1", result={}))) == ["dispatch c/o#1 to laptop"]
    log.feed(done("c/o#1", 2.0))

    assert [(failed.star, failed.failure.code) for failed in log.of(StarFailed)] == [
        ("b", "binding_unresolved"),
        ("f", "binding_unresolved"),
    ]
    assert log.course("f").failure.message == "b has no result"


def test_a_star_with_a_binding_to_a_failed_star_is_skipped_as_behind_any_line():
    log = Log()
    log.feed(*device(), submit(star("a"), star("b", arguments={"$from": "a"})), fail("c/a#1"))

    assert log.states() == {"a": "failed", "b": "skipped"}
    assert ARGUMENTS_BYTES_MAX == 524_288


def test_a_text_is_put_together_of_texts_and_results():
    parts = ["The host ", {"$from": "a", "pointer": "/name"}, " has ", {"$from": "a", "pointer": "/cores"}, " cores"]
    arguments = {"note": {"$text": parts}, "kept": {"$text": "no list"}}

    assert [binding.pointer for binding in bindings_in(arguments)] == ["/name", "/cores"]
    result = Raw(b'{"name": "atlas", "cores": [1, 2]}')
    assert msgspec.json.decode(resolved(Raw(msgspec.json.encode(arguments)), {"a": result}.get)) == {
        "note": "The host atlas has [1,2] cores",
        "kept": {"$text": "no list"},
    }
