"""Typed reading of a client's JSON: what does not fit becomes a fault that names the field."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.openai_responses.wire import UNREADABLE

_T = TypeVar("_T")
_AT = re.compile(r" - at `\$(.*)`$")


def decode(raw: bytes | msgspec.Raw, kind: type[_T], where: str = "") -> _T:
    """The value as `kind`. `where` is its place in the request: "", or "input[3]". Raises Fault(INVALID_REQUEST)."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise _wrong(str(error), where) from None
    except UNREADABLE:
        raise Fault(Kind.INVALID_REQUEST, "The request body is not valid JSON.", param=where) from None


def invalid(where: str, reason: str) -> Fault:
    return Fault(Kind.INVALID_REQUEST, f"Invalid '{where}': {reason}", param=where)


def _wrong(complaint: str, where: str) -> Fault:
    """From msgspec's "Expected `str`, got `int` - at `$.content[0].text`"."""
    path = _AT.search(complaint)
    field = (where + (path[1] if path else "")).lstrip(".")
    reason = _AT.sub("", complaint).replace("`", "")
    message = f"Invalid value for '{field}': {reason}." if field else f"{reason}."
    return Fault(Kind.INVALID_REQUEST, message, param=field)
