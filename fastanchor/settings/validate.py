"""A parsed file against the schema: every problem at once, each with its key path.

msgspec stops at the first error, so the document is walked table by table and list by list, and msgspec judges the
leaves. Only a document without problems is converted as a whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct, inspect

from fastanchor.settings.problem import Problem, below, kind, shown
from fastanchor.settings.schema import EXPECTS, SECRET, Config, Document

WORTH_SAYING = 2**31
"""Upper bounds from here on only keep numbers finite: an error message leaves them out."""


def validate(document: Document) -> tuple[Config | None, list[Problem]]:
    """The typed configuration, or None and what is wrong with the document."""
    problems = list(_walk(document, Config, ""))
    return (None, problems) if problems else (msgspec.convert(document, Config), [])


def _walk(value: object, annotation: Any, key: str) -> Iterator[Problem]:
    part = _container(value, annotation)
    if isinstance(value, dict) and _is_struct(part):
        yield from _walk_table(value, part, key)
    elif isinstance(value, dict) and get_origin(part) is dict:
        name_type, value_type = get_args(part)
        for name, item in value.items():
            yield from _leaf(name, name_type, below(key, name))
            yield from _walk(item, value_type, below(key, name))
    elif isinstance(value, list) and get_origin(part) is list and value:
        for i, item in enumerate(value):
            yield from _walk(item, get_args(part)[0], f"{key}[{i}]")
    else:
        yield from _leaf(value, annotation, key)


def _walk_table(table: dict[str, object], struct: type[Struct], key: str) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name, value in table.items():
        if name in fields:
            yield from _walk(value, fields[name].type, below(key, name))
        else:
            yield Problem(below(key, name), _unknown(name, list(fields)))
    for name, field in fields.items():
        if name not in table and field.default is NODEFAULT and field.default_factory is NODEFAULT:
            yield Problem(below(key, name), f"missing, expected {_expected(field.type)}")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f'unknown key, did you mean "{near[0]}"?' if near else f"unknown key, known are {', '.join(known)}"


def _leaf(value: object, annotation: Any, key: str) -> Iterator[Problem]:
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        found = kind(value) if _is_secret(annotation) else shown(value)
        yield Problem(key, f"expected {_expected(annotation)}, got {found}")


def _container(value: object, annotation: Any) -> Any:
    """The member of an annotation that a table or list would be read as."""
    if get_origin(annotation) is Annotated:
        return _container(value, get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        wanted = (dict, Struct) if isinstance(value, dict) else (list,)
        for part in (_container(value, arg) for arg in get_args(annotation)):
            origin = get_origin(part) or part
            if isinstance(origin, type) and issubclass(origin, wanted):
                return part
    return annotation


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Struct)


def _extras(annotation: Any) -> Iterator[dict[str, Any]]:
    """The `extra` of every Meta on an annotation itself, outermost first."""
    if get_origin(annotation) is Annotated:
        for meta in reversed(annotation.__metadata__):
            if isinstance(meta, Meta) and meta.extra:
                yield meta.extra
        yield from _extras(get_args(annotation)[0])


def _is_secret(annotation: Any) -> bool:
    """Whether a value of this type could be, or hold, a secret."""
    if any(SECRET in extra for extra in _extras(annotation)):
        return True
    inner = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return any(_is_secret(arg) for arg in inner)


def _expected(annotation: Any) -> str:
    for extra in _extras(annotation):
        if EXPECTS in extra:
            return str(extra[EXPECTS])
    if get_origin(annotation) is Annotated:
        annotation_type = inspect.type_info(annotation)
        return _words(annotation_type.type if isinstance(annotation_type, inspect.Metadata) else annotation_type)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_expected(arg) for arg in get_args(annotation) if arg is not type(None))
    if get_origin(annotation) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(annotation))
    if get_origin(annotation) is list:
        return f"a list, each {_expected(get_args(annotation)[0])}"
    return _words(inspect.type_info(annotation))


def _words(leaf: inspect.Type) -> str:
    match leaf:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            return ("int" if isinstance(leaf, inspect.IntType) else "number") + _bounds(leaf)
        case inspect.StrType(pattern=str() as pattern):
            return f"a string that matches {pattern}"
        case inspect.StrType(min_length=minimum):
            return "a non-empty string" if minimum else "a string"
        case inspect.ListType(min_length=minimum):
            return "a non-empty list" if minimum else "a list"
        case _:
            return "a table"


def _bounds(number: inspect.IntType | inspect.FloatType) -> str:
    low = f" >= {number.ge}" if number.ge is not None else f" > {number.gt}" if number.gt is not None else ""
    return low + (f" and <= {number.le}" if number.le is not None and number.le < WORTH_SAYING else "")
