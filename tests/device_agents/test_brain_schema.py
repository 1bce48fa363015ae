"""Values held against schemas: what fits, what does not and where, and which schemas nobody follows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.brain_schema import DEPTH_MAX, BadSchema, check_schema, misfit

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}
TREE = {"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}


def fits(value: Any, schema: Any) -> bool:
    check_schema(schema)
    return misfit(value, schema) == ""


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, [0, -3, 2.0, 10**400], [True, "1", 1.5, None]),
        ({"type": "number"}, [1, 1.5], [True, "1"]),
        ({"type": ["string", "null"]}, ["", None], [0, []]),
        ({"enum": [1, "a", [True]]}, [1, 1.0, "a", [True]], [True, [1], "b"]),
        ({"const": {"a": 1}}, [{"a": 1.0}], [{"a": True}, {}]),
        ({"minimum": 1, "exclusiveMaximum": 2}, [1, 1.9, "words are not bounded"], [0.9, 2]),
        ({"exclusiveMinimum": 1, "maximum": 2}, [1.1, 2], [1, 2.1]),
        ({"minLength": 1, "maxLength": 2}, ["a", "ab", 5], ["", "abc"]),
        ({"pattern": "^a+$"}, ["aa", 5], ["b", ""]),
        ({"items": {"type": "null"}, "minItems": 1, "maxItems": 2}, [[None]], [[], [1], [None] * 3]),
        ({"uniqueItems": True}, [[1, True, "1"]], [[1, 1.0], [{"a": []}, {"a": []}]]),
        (PERSON, [{"name": "a"}, {"name": "a", "age": 3}], [{}, {"name": ""}, {"name": "a", "x": 1}, {"name": 1}]),
        ({"additionalProperties": {"type": "null"}, "maxProperties": 1}, [{}, {"a": None}], [{"a": 1}]),
        ({"anyOf": [{"type": "null"}, {"minimum": 3}]}, [None, 4, "x"], [2]),
        ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, [1, 3.5], [4]),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, [3], [2, 3.5]),
        ({"not": {"type": "null"}}, [0], [None]),
        (TREE, [[], [[], [[]]]], [[[1]], 5]),
        (True, [None], []),
        (False, [], [None]),
    ],
)
def test_a_value_fits_as_the_schema_says(schema: Any, good: list[Any], bad: list[Any]):
    assert [value for value in good if not fits(value, schema)] == []
    assert [value for value in bad if fits(value, schema)] == []


def test_a_misfit_says_where_it_is_and_why():
    schema = {"type": "object", "properties": {"people": {"type": "array", "items": PERSON}}}

    assert misfit({"people": [{"name": "a"}, {"name": "b", "age": -1}]}, schema) == "/people/1/age is too small: -1"
    assert misfit({"people": [{}]}, schema) == "/people/0 has no 'name'"


@pytest.mark.parametrize(
    "schema",
    [
        5,
        {"type": "toaster"},
        {"type": 5},
        {"properties": []},
        {"properties": {"a": 5}},
        {"required": "name"},
        {"anyOf": []},
        {"minLength": "1"},
        {"minimum": True},
        {"pattern": "("},
        {"pattern": "x" * 201},
        {"enum": 5},
        {"uniqueItems": 1},
        {"patternProperties": {}},
        {"if": {}},
        {"$ref": "http://elsewhere.test/schema"},
        {"$ref": "#/$defs/nothing"},
        {"$ref": "#/properties/a", "properties": {"a": {}}},
        {"$ref": 5},
    ],
)
def test_a_schema_that_would_not_be_followed_to_the_letter_is_refused(schema: Any):
    with pytest.raises(BadSchema):
        check_schema(schema)


def test_a_schema_that_never_ends_is_given_up():
    with pytest.raises(BadSchema):
        misfit(1, {"$ref": "#"})
    deep: dict[str, Any] = {}
    for _ in range(DEPTH_MAX + 1):
        deep = {"not": deep}
    with pytest.raises(BadSchema):
        check_schema(deep)


def test_alternatives_that_multiply_are_given_up():
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 3}}}
    check_schema(schema)
    with pytest.raises(BadSchema):
        misfit(1, schema)


def test_a_hostile_pattern_takes_no_time():
    assert misfit("a" * 30_000, {"pattern": "^(a+)+$b"}) != ""


schemas = st.recursive(
    st.booleans() | st.fixed_dictionaries({}, optional={"type": st.sampled_from(["string", "integer", "object"])}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "items": inner,
            "not": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "required": st.lists(st.sampled_from("ab"), max_size=2),
            "minimum": st.integers(0, 2),
        },
    ),
    max_leaves=5,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@given(values, schemas)
def test_a_value_fits_either_a_schema_or_its_opposite(value: Any, schema: Any):
    assert fits(value, schema) != fits(value, {"not": schema})
