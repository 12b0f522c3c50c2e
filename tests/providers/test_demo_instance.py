"""Minimal instances of schemas: what libraries make of their own models is satisfied."""

from __future__ import annotations

import datetime
import enum
import uuid
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from fastanchor.providers.demo.instance import MOST_VALUES, instance


class Unit(enum.Enum):
    CM = "cm"
    INCH = "in"


class Size(BaseModel):
    height: Annotated[int, Field(ge=3, le=9)]
    width: Annotated[float, Field(gt=0.5)]
    unit: Unit


class Everything(BaseModel):
    name: Annotated[str, Field(min_length=8)]
    short: Annotated[str, Field(max_length=2)]
    size: Size
    sizes: Annotated[list[Size], Field(min_length=2)]
    kind: Literal["a", "b"]
    maybe: str | None
    either: int | str
    flag: bool
    day: datetime.date
    at: datetime.datetime
    id: uuid.UUID
    low: Annotated[int, Field(lt=-5)]
    table: dict[str, int]
    nothing: None
    defaulted: int = 5


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


@pytest.mark.parametrize("model", [Size, Everything, Tree])
def test_an_instance_fits_the_schema_of_a_model(model: type[BaseModel]) -> None:
    made = instance(model.model_json_schema())
    model.model_validate(made)
    assert instance(model.model_json_schema()) == made


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, "lorem"),
        ({"type": "STRING"}, "lorem"),
        ({"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}}, {"a": 1}),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "null"}, None),
        ({"const": 5}, 5),
        ({"enum": ["x", "y"]}, "x"),
        ({"default": [1]}, [1]),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"allOf": [{"type": "object"}, {"properties": {"a": {"const": 1}}}]}, {"a": 1}),
        ({"items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "array", "minItems": 0}, []),
        ({"properties": {"a": {}, "b": {}}, "required": ["b"]}, {"b": "lorem"}),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, 1),
        ({"$ref": "#/nowhere"}, "lorem"),
        ({"type": "number", "maximum": 0.5}, 0.5),
        ({"type": "integer", "exclusiveMinimum": 2**64}, 2**53),
        (None, "lorem"),
        ([], "lorem"),
        ({"type": 5, "properties": 5, "items": 5}, {}),
        ({"$ref": "#"}, "lorem"),
    ],
)
def test_a_schema_has_one_instance(schema: Any, expected: Any) -> None:
    assert instance(schema) == expected


def count(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(count(child) for child in children)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}, "c": {"$ref": "#"}}},
        {"type": "array", "minItems": 10**9, "items": {"$ref": "#"}},
        {"anyOf": [{"$ref": "#"}]},
        {"allOf": [{"$ref": "#"}]},
        {"type": "string", "minLength": 10**12},
    ],
    ids=["object", "array", "anyOf", "allOf", "string"],
)
def test_a_schema_cannot_ask_for_too_much(schema: Any) -> None:
    made = instance(schema)
    assert count(made) <= 2 * MOST_VALUES
    assert len(str(made)) < 100_000
