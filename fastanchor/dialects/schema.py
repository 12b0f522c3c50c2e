"""JSON Schema and Gemini's Schema proto, an OpenAPI 3.0 subset: `reduce` goes there, `expand` comes back.

The proto takes one type per schema, only string enums, and refuses the whole request for one unknown keyword. So a
reduction loses what the proto cannot say, but never a property, and never the meaning of what it keeps. Where an
upstream takes JSON Schema (`parametersJsonSchema`), nothing of this is needed.

Source: google-genai 3.3 `types.Schema`; OpenAPI 3.0.3 §4.7.24; reference wire-formats §1.5.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import orjson

from fastanchor.core.faults import Fault, Kind

Json: TypeAlias = dict[str, Any]

MAX_DEPTH = 64
MAX_SCHEMAS = 10_000  # over one reduction: references are written out, and could multiply

_TYPES = {"string", "number", "integer", "boolean", "array", "object"}
_KEPT = (
    "title", "description", "pattern", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength",
    "minProperties", "maxProperties", "default",
)  # fmt: skip
_FORMATS = {"date-time", "enum", "float", "double", "int32", "int64"}
_NUMBERS = {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
_SNAKE = {
    "any_of": "anyOf", "max_items": "maxItems", "min_items": "minItems", "max_length": "maxLength",
    "min_length": "minLength", "max_properties": "maxProperties", "min_properties": "minProperties",
    "property_ordering": "propertyOrdering", "additional_properties": "additionalProperties", "ref": "$ref",
    "defs": "$defs",
}  # fmt: skip


def reduce(schema: bytes) -> bytes:
    """A JSON Schema as a Schema proto, b"" when it asks for nothing (an object without properties).

    Raises Fault(INVALID_REQUEST) for what is no schema.
    """
    document = _loaded(schema, "parameters")
    reduced = _Reduction(document).schema(document)
    return orjson.dumps(reduced) if reduced != {"type": "OBJECT"} else b""


def expand(proto: bytes, param: str) -> bytes:
    """A Schema proto (either spelling of its members) as JSON Schema. Raises Fault(INVALID_REQUEST) for `param`."""
    return orjson.dumps(_expanded(_loaded(proto, param), param, 0))


def _loaded(schema: bytes, param: str) -> Json:
    try:
        document = orjson.loads(schema)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise Fault(Kind.INVALID_REQUEST, f"Invalid '{param}': a schema is a JSON object.", param=param)
    return document


class _Reduction:
    """One reduction: the root, for its definitions, and how much has been written."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._schemas = 0

    def schema(self, given: object, depth: int = 0, inside: tuple[str, ...] = ()) -> Json:
        """The reduced schema. `inside` are the references being written out: a recursive one ends in a plain object."""
        self._schemas += 1
        if self._schemas > MAX_SCHEMAS or depth > MAX_DEPTH:
            raise Fault(Kind.INVALID_REQUEST, "Invalid 'parameters': the schema is too large.", param="parameters")
        if not isinstance(given, dict):  # true and false: anything
            return {"type": "STRING"}
        reference = given.get("$ref")
        if isinstance(reference, str):
            if reference in inside:
                return {"type": "OBJECT"}
            target = self._target(reference)
            beside = {key: value for key, value in given.items() if key != "$ref"}
            return self.schema({**target, **beside}, depth + 1, (*inside, reference))
        return self._plain(self._all_of(given), depth, inside)

    def _plain(self, given: Json, depth: int, inside: tuple[str, ...]) -> Json:
        out: Json = {}
        kinds, nullable = _kinds(given)
        options = [one for key in ("anyOf", "oneOf") for one in _list(given.get(key))]
        if options:
            nullable = nullable or any(_is_null(one) for one in options)
            options = [one for one in options if not _is_null(one)]
        elif len(kinds) > 1:
            options = [{**_without_type(given), "type": kind} for kind in kinds]
        if len(options) == 1 and isinstance(options[0], dict):
            only = {key: value for key, value in given.items() if key not in ("anyOf", "oneOf", "type")}
            out = self.schema({**options[0], **only}, depth + 1, inside)
        elif options:
            out = _kept(given)
            out["anyOf"] = [self.schema(one, depth + 1, inside) for one in options]
        else:
            out = self._typed(given, kinds[0] if kinds else _guess(given), depth, inside)
        return {**out, "nullable": True} if nullable else out

    def _typed(self, given: Json, kind: str, depth: int, inside: tuple[str, ...]) -> Json:
        out: Json = {"type": kind.upper(), **_kept(given)}
        form = given.get("format")
        if isinstance(form, str) and form in _FORMATS:
            out["format"] = form
        if kind in ("number", "integer"):
            _exclusive(given, out, kind)
        _enumerate(given, out, kind)
        if kind == "array":
            out["items"] = self._items(given, depth, inside)
        properties = given.get("properties")
        if kind == "object" and isinstance(properties, dict) and properties:
            out["properties"] = {name: self.schema(one, depth + 1, inside) for name, one in properties.items()}
            required = [name for name in _list(given.get("required")) if isinstance(name, str) and name in properties]
            if required:
                out["required"] = required
        return out

    def _items(self, given: Json, depth: int, inside: tuple[str, ...]) -> Json:
        """A tuple's places become alternatives: the proto knows one schema for all items."""
        items = given.get("items")
        places = _list(given.get("prefixItems")) or _list(items)
        if isinstance(items, dict) and places:
            places = [*places, items]
        if places:
            return self.schema({"anyOf": places}, depth + 1, inside)
        return self.schema(items if isinstance(items, dict) and items else {"type": "string"}, depth + 1, inside)

    def _all_of(self, given: Json) -> Json:
        """`allOf` folded into its schema: properties and requirements add up, other keywords are taken once."""
        parts = _list(given.get("allOf"))
        if not parts:
            return given
        merged = {key: value for key, value in given.items() if key != "allOf"}
        for part in parts[:MAX_DEPTH]:
            part = self._resolved(part)
            properties = {**_dict(part.get("properties")), **_dict(merged.get("properties"))}
            required = [*_list(merged.get("required")), *_list(part.get("required"))]
            merged = {**part, **merged}
            if properties:
                merged["properties"] = properties
            if required:
                merged["required"] = list(dict.fromkeys(name for name in required if isinstance(name, str)))
        return merged

    def _resolved(self, part: object) -> Json:
        found = _dict(part)
        for _ in range(MAX_DEPTH):
            reference = found.get("$ref")
            if not isinstance(reference, str):
                break
            found = self._target(reference)
        return {key: value for key, value in found.items() if key not in ("allOf", "$ref")}

    def _target(self, reference: str) -> Json:
        """A definition inside the same document (`#/$defs/Name`); anything else is a plain object."""
        place: object = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            place = _dict(place).get(step.replace("~1", "/").replace("~0", "~"))
        return place if isinstance(place, dict) else {"type": "object"}


def _kept(given: Json) -> Json:
    return {key: given[key] for key in _KEPT if given.get(key) is not None}


def _kinds(given: Json) -> tuple[list[str], bool]:
    """The types a schema names, and whether null is among them."""
    named = given.get("type")
    names = [name.lower() for name in (named if isinstance(named, list) else [named]) if isinstance(name, str)]
    return [name for name in names if name in _TYPES], "null" in names or given.get("nullable") is True


def _guess(given: Json) -> str:
    """The type that the keywords of a schema without one imply."""
    if "properties" in given or "additionalProperties" in given:
        return "object"
    if "items" in given or "prefixItems" in given:
        return "array"
    if "minimum" in given or "maximum" in given or "multipleOf" in given:
        return "number"
    values = _list(given.get("enum")) or [given.get("const", "")]
    if isinstance(values[0], bool):
        return "boolean"
    return "number" if isinstance(values[0], int | float) else "string"


def _is_null(schema: object) -> bool:
    return isinstance(schema, dict) and (schema.get("type") == "null" or schema.get("enum") == [None])


def _exclusive(given: Json, out: Json, kind: str) -> None:
    """An exclusive bound of an integer is the next one; of a number the bound itself, which is one value too wide."""
    for keyword, bound, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
        value = given.get(keyword)
        if isinstance(value, int | float) and not isinstance(value, bool):
            out.setdefault(bound, value + step if kind == "integer" and isinstance(value, int) else value)


def _enumerate(given: Json, out: Json, kind: str) -> None:
    """`enum` and `const`; values that are no strings are told in the description, the proto has no place for them."""
    values = [given["const"]] if "const" in given else _list(given.get("enum"))
    values = [value for value in values if value is not None]
    if not values:
        return
    if kind == "string" and all(isinstance(value, str) for value in values):
        out["enum"] = values
        out["format"] = "enum"
    else:
        told = "One of: " + ", ".join(orjson.dumps(value).decode() for value in values) + "."
        out["description"] = f"{out['description']} {told}" if isinstance(out.get("description"), str) else told


def _without_type(given: Json) -> Json:
    return {key: value for key, value in given.items() if key not in ("type", "title", "description", "default")}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _expanded(given: object, param: str, depth: int) -> Json:
    if not isinstance(given, dict) or depth > MAX_DEPTH:
        told = f"Invalid '{param}': a schema is an object, {MAX_DEPTH} deep at most."
        raise Fault(Kind.INVALID_REQUEST, told, param=param)
    named: Json = {_SNAKE.get(str(key), str(key)): value for key, value in given.items() if value is not None}
    out: Json = {}
    for key, value in named.items():
        if key == "type":
            _expand_type(str(value), bool(named.get("nullable")), out)
        elif key in _NUMBERS:
            out[key] = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
        elif key == "properties" and isinstance(value, dict):
            out[key] = {name: _expanded(one, f"{param}.{name}", depth + 1) for name, one in value.items()}
        elif key == "items":
            out[key] = _expanded(value, f"{param}.items", depth + 1)
        elif key == "anyOf":
            nulls = [{"type": "null"}] if named.get("nullable") and "type" not in named else []
            out[key] = [_expanded(one, f"{param}.anyOf", depth + 1) for one in _list(value)] + nulls
        elif key == "example":
            out["examples"] = [value]
        elif key not in ("nullable", "propertyOrdering") and (key, value) != ("format", "enum"):
            out[key] = value
    if named.get("nullable") and isinstance(out.get("enum"), list):
        out["enum"] = [*out["enum"], None]
    return out


def _expand_type(name: str, nullable: bool, out: Json) -> None:
    kind = name.lower()
    if kind in _TYPES or kind == "null":
        out["type"] = [kind, "null"] if nullable and kind != "null" else kind
