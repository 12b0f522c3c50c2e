"""A minimal instance of a JSON schema, the same every time: tool arguments and structured output.

Takes JSON Schema and Gemini's upper-case subset of it. Patterns are not honoured.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = Any
DEEPEST = 16
MOST_VALUES = 1_000
LONGEST = 10_000
LARGEST = 2**53

_FORMATS = {
    "date": "2025-01-01", "time": "12:00:00Z", "date-time": "2025-01-01T12:00:00Z", "email": "demo@example.com",
    "uri": "https://example.com/", "uuid": "00000000-0000-4000-8000-000000000000", "ipv4": "192.0.2.1",
}  # fmt: skip


def instance(schema: Json) -> Json:
    """The smallest value that fits a schema; an object holds what is required, or all properties if nothing is."""
    return _Maker(schema).value(schema, 0)


class _Maker:
    """One instance in the making. Values are bounded in depth and number: schemas may refer to themselves."""

    def __init__(self, root: Json) -> None:
        self.root = root
        self.left = MOST_VALUES

    def value(self, schema: Json, depth: int) -> Json:
        schema = self._resolved(schema)
        self.left -= 1
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        if "default" in schema:
            return schema["default"]
        if depth >= DEEPEST or self.left <= 0:
            return None
        for word in ("anyOf", "oneOf"):
            if isinstance(schema.get(word), list) and schema[word]:
                return self.value(schema[word][0], depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Json], depth: int) -> Json:
        match _type(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return _string(schema)
            case "integer":
                return int(_number(schema))
            case "number":
                return _number(schema)
            case "boolean":
                return True
            case _:
                return None

    def _object(self, schema: dict[str, Json], depth: int) -> Json:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        required = schema.get("required")
        names = required if isinstance(required, list) and required else properties
        known = (name for name in names if isinstance(name, str) and self.left > 0)
        return {name: self.value(properties.get(name), depth + 1) for name in known}

    def _array(self, schema: dict[str, Json], depth: int) -> Json:
        minimum = schema.get("minItems")
        length = min(minimum, self.left) if isinstance(minimum, int) else 1
        return [self.value(schema.get("items"), depth + 1) for _ in range(length) if self.left > 0]

    def _resolved(self, schema: Json) -> dict[str, Json]:
        """The schema behind references and `allOf`."""
        for _ in range(DEEPEST):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str):
                break
            schema = self._pointed(reference)
        if not isinstance(schema, dict):
            return {}
        merged: dict[str, Json] = {}
        parts = schema.get("allOf")
        for part in parts if isinstance(parts, list) else ():
            reference = part.get("$ref") if isinstance(part, dict) else None
            found = self._pointed(reference) if isinstance(reference, str) else part
            merged.update(found if isinstance(found, dict) else {})
        return {**merged, **schema}

    def _pointed(self, reference: str) -> Json:
        """What a local reference means (RFC 6901), None when there is no such thing."""
        found = self.root
        for name in reference.removeprefix("#").split("/")[1:]:
            found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found


def _type(schema: dict[str, Json]) -> str:
    named = schema.get("type")
    if isinstance(named, list):
        named = next((t for t in named if t != "null"), "null")
    if isinstance(named, str):
        return named.lower()
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _string(schema: dict[str, Json]) -> str:
    text = _FORMATS.get(str(schema.get("format")), "lorem")
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if isinstance(shortest, int):
        text = text.ljust(min(shortest, LONGEST), "m")
    return text[: max(0, longest)] if isinstance(longest, int) else text


def _number(schema: dict[str, Json]) -> float:
    value: float = 1
    for word, step in (("minimum", 0), ("exclusiveMinimum", 1)):
        value = max(value, _bound(schema, word, value - step) + step)
    for word, step in (("maximum", 0), ("exclusiveMaximum", 1)):
        value = min(value, _bound(schema, word, value + step) - step)
    return max(-LARGEST, min(value, LARGEST))


def _bound(schema: dict[str, Json], word: str, default: float) -> float:
    bound = schema.get(word)
    return bound if isinstance(bound, (int, float)) and not isinstance(bound, bool) else default
