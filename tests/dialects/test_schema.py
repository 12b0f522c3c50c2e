"""JSON Schema to Gemini's Schema proto and back: each keyword, and that the SDK's own type takes what comes out."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import schema


def reduced(given_schema: Any) -> Any:
    out = schema.reduce(orjson.dumps({"type": "object", "properties": {"x": given_schema}}))
    document = orjson.loads(out)
    types.Schema.model_validate(document)  # refuses what the proto does not know
    assert document["type"] == "OBJECT"
    return document["properties"]["x"]


@pytest.mark.parametrize(
    ("given_schema", "proto"),
    [
        ({"type": "string", "minLength": 1, "pattern": "a"}, {"type": "STRING", "pattern": "a", "minLength": 1}),
        ({"type": "integer", "minimum": 0}, {"type": "INTEGER", "minimum": 0}),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9},
         {"type": "INTEGER", "minimum": 1, "maximum": 8}),
        ({"type": "number", "exclusiveMinimum": 0.5}, {"type": "NUMBER", "minimum": 0.5}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string", "integer"], "description": "d"},
         {"description": "d", "anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"},
         {"type": "STRING", "description": "d", "nullable": True}),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}),
        ({"const": "k"}, {"type": "STRING", "enum": ["k"], "format": "enum"}),
        ({"enum": ["a", None, "b"], "type": ["string", "null"]},
         {"type": "STRING", "enum": ["a", "b"], "format": "enum", "nullable": True}),
        ({"type": "integer", "enum": [1, 2], "description": "Size."},
         {"type": "INTEGER", "description": "Size. One of: 1, 2."}),
        ({"const": True}, {"type": "BOOLEAN", "description": "One of: true."}),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True},
         {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
         {"type": "ARRAY", "items": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]}}),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "gone"],
          "additionalProperties": False, "patternProperties": {}, "$schema": "x", "$id": "y", "examples": []},
         {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]}),
        ({"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "number"}}, "required": ["b"]}], "type": "object"},
         {"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": "NUMBER"}}, "required": ["a", "b"]}),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": "string", "format": "uri"}, {"type": "STRING"}),
        ({"properties": {"a": True}}, {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}),
        ({}, {"type": "STRING"}),
        (True, {"type": "STRING"}),
        ({"not": {"type": "string"}, "if": {}, "then": {}, "multipleOf": 3}, {"type": "NUMBER"}),
    ],
)  # fmt: skip
def test_bug_26_a_keyword_is_reduced(given_schema: Any, proto: Any) -> None:
    assert reduced(given_schema) == proto


def test_references_are_written_out_and_recursion_ends() -> None:
    tree = {
        "$defs": {"Node": {"type": "object", "properties": {
            "name": {"type": "string"}, "child": {"$ref": "#/$defs/Node"}, "a/b": {"$ref": "#/definitions/p~1q"},
        }}},
        "definitions": {"p/q": {"type": "integer"}},
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/Node", "description": "the root"}, "gone": {"$ref": "#/nowhere"},
                       "far": {"$ref": "https://example.com/schema"}},
    }  # fmt: skip
    out = orjson.loads(schema.reduce(orjson.dumps(tree)))
    assert out["properties"]["root"]["description"] == "the root"
    assert out["properties"]["root"]["properties"] == {
        "name": {"type": "STRING"}, "child": {"type": "OBJECT"}, "a/b": {"type": "INTEGER"},
    }  # fmt: skip
    assert out["properties"]["gone"] == out["properties"]["far"] == {"type": "OBJECT"}


def test_references_that_multiply_are_refused() -> None:
    levels = {f"L{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/L{n + 1}"} for k in "abcdefgh"}}
              for n in range(30)}  # fmt: skip
    bomb = orjson.dumps({"$defs": levels, "$ref": "#/$defs/L0"})
    with pytest.raises(Fault) as caught:
        schema.reduce(bomb)
    assert caught.value.kind is Kind.INVALID_REQUEST


@pytest.mark.parametrize("loop", [
    {"$ref": "#"},
    {"allOf": [{"$ref": "#"}]},
    {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "allOf": [{"$ref": "#/$defs/a"}]},
])  # fmt: skip
def test_a_reference_to_itself_ends(loop: Any) -> None:
    schema.reduce(orjson.dumps(loop))


def test_a_schema_that_is_too_deep_is_refused() -> None:
    deep: Any = {"type": "string"}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    for call in (schema.reduce, lambda data: schema.expand(data, "p")):
        with pytest.raises(Fault):
            call(orjson.dumps(deep))


@pytest.mark.parametrize("empty", [{"type": "object"}, {"type": "object", "properties": {}}, {"properties": {}}])
def test_an_object_without_properties_asks_for_nothing(empty: Any) -> None:
    assert schema.reduce(orjson.dumps(empty)) == b""


def test_the_order_of_properties_is_kept() -> None:
    names = ["z", "a", "m", "b"]
    given_schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    assert list(orjson.loads(schema.reduce(orjson.dumps(given_schema)))["properties"]) == names


@pytest.mark.parametrize(
    ("proto", "json_schema"),
    [
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "STRING", "enum": ["a"], "format": "enum", "nullable": True},
         {"type": ["string", "null"], "enum": ["a", None]}),
        ({"type": "INTEGER", "format": "int64"}, {"type": "integer", "format": "int64"}),
        ({"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "1", "max_items": 3},
         {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3}),
        ({"type": "OBJECT", "properties": {"a": {"type": "BOOLEAN"}}, "propertyOrdering": ["a"], "required": ["a"]},
         {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}),
        ({"any_of": [{"type": "STRING"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "TYPE_UNSPECIFIED", "description": "d"}, {"description": "d"}),
        ({"type": "string", "example": "e", "title": None}, {"type": "string", "examples": ["e"]}),
    ],
)  # fmt: skip
def test_a_proto_is_expanded(proto: Any, json_schema: Any) -> None:
    assert orjson.loads(schema.expand(orjson.dumps(proto), "p")) == json_schema


@pytest.mark.parametrize("bad", [b"5", b"[]", b"{", b'{"items":5}', b'{"properties":{"a":1}}', b'{"anyOf":[1]}'])
def test_what_is_no_schema_is_refused(bad: bytes) -> None:
    with pytest.raises(Fault) as caught:
        schema.expand(bad, "tools[0].parameters")
    assert caught.value.param.startswith("tools[0].parameters")


SIMPLE: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["string", "integer", "number", "boolean"]).map(lambda kind: {"type": kind}),
    lambda inner: inner.map(lambda one: {"type": "array", "items": one})
    | st.dictionaries(st.text(max_size=3), inner, min_size=1, max_size=3).map(
        lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)}
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=3), SIMPLE, min_size=1, max_size=3))
def test_a_plain_schema_survives_both_ways(properties: dict[str, Any]) -> None:
    given_schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    again = orjson.loads(schema.expand(schema.reduce(orjson.dumps(given_schema)), "p"))
    assert again == given_schema


KEYWORDS = ["type", "properties", "items", "anyOf", "oneOf", "allOf", "$ref", "enum", "const", "required", "format",
            "prefixItems", "nullable", "exclusiveMinimum", "minItems", "description", "$defs"]  # fmt: skip
ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["string", "object", "array", "#", "#/x", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYWORDS), ANY, max_size=5))
def test_nothing_but_a_fault_escapes(junk: dict[str, Any]) -> None:
    for call in (schema.reduce, lambda data: schema.expand(data, "p")):
        with suppress(Fault):
            call(orjson.dumps(junk))
