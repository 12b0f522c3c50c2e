"""A request body as it arrives: the members that matter, found without building the document.

`members` is a peek; the typed readers below it judge one member each and name it in their fault. A body that the peek
calls odd (a member twice, an escape in a key) is put together again member by member, each value keeping its bytes.
"""

from __future__ import annotations

import msgspec
import orjson

from fastanchor._speedups.peek import Peek, peek
from fastanchor.core.faults import Fault, Kind

_DEEPEST = 256  # containers in containers; the most that `peek` can be asked for
_KINDS = {
    b'"': "a string", b"{": "an object", b"[": "an array", b"t": "a boolean", b"f": "a boolean", b"n": "null",
}  # fmt: skip


def members(body: bytes, wanted: tuple[bytes, ...]) -> Peek:
    """The wanted members of a body that must be one JSON object; offsets are into `.body` of the result.

    Raises Fault(INVALID_REQUEST).
    """
    found = peek(body, wanted) or peek(_rebuilt(body), wanted, depth=_DEEPEST)
    if found is None:
        raise Fault(Kind.INVALID_REQUEST, "The request body is not valid JSON that can be read.")
    return found


def _rebuilt(body: bytes) -> bytes:
    """The same object with plain keys, each of them once: the last value wins, as in most parsers."""
    try:
        values = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Fault(Kind.INVALID_REQUEST, _complaint(body)) from None
    keys = {orjson.dumps(key): bytes(value) for key, value in values.items()}
    if any(b"\\" in key for key in keys):  # quotes and control characters, which no field's name has
        raise Fault(Kind.INVALID_REQUEST, "The request body has a member with a name that is not allowed.")
    return b"{" + b",".join(key + b":" + value for key, value in keys.items()) + b"}"


def _complaint(body: bytes) -> str:
    if not body.strip():
        return "The request body is empty; a JSON object is needed."
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return f"The request body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
    return "The request body must be a JSON object."


def text(found: Peek, name: str) -> str:
    """A required, non-empty string."""
    raw = found.raw(name.encode())
    if raw is None or raw == b"null":
        raise Fault(Kind.INVALID_REQUEST, f"Missing required parameter: '{name}'.", param=name)
    value = found.string(name.encode())
    if value is None:
        raise wrong(name, "a string", raw)
    if not value.strip():
        raise Fault(Kind.INVALID_REQUEST, f"Invalid '{name}': the string is empty.", param=name)
    return value


def optional_text(found: Peek, name: str) -> str:
    """A string, "" when absent or null."""
    raw = found.raw(name.encode())
    if raw is None or raw == b"null":
        return ""
    value = found.string(name.encode())
    if value is None:
        raise wrong(name, "a string", raw)
    return value


def flag(found: Peek, name: str) -> bool:
    """A boolean, False when absent or null."""
    raw = found.raw(name.encode())
    if raw is None or raw == b"null":
        return False
    value = found.boolean(name.encode())
    if value is None:
        raise wrong(name, "a boolean", raw)
    return value


def whole(found: Peek, name: str, low: int, high: int) -> int | None:
    """An integer of low..high, None when absent or null."""
    raw = found.raw(name.encode())
    if raw is None or raw == b"null":
        return None
    value = found.integer(name.encode())
    if value is None:
        raise wrong(name, "an integer", raw)
    if not low <= value <= high:
        raise Fault(Kind.INVALID_REQUEST, f"Invalid '{name}': it must be {low} to {high}, not {value}.", param=name)
    return value


def filled_list(found: Peek, name: str) -> tuple[int, int]:
    """The span of a required array that is not empty."""
    span = found.span(name.encode())
    raw = found.raw(name.encode())
    if span is None or raw is None or raw == b"null":
        raise Fault(Kind.INVALID_REQUEST, f"Missing required parameter: '{name}'.", param=name)
    if not raw.startswith(b"["):
        raise wrong(name, "an array", raw)
    if not raw[1:-1].strip():
        raise Fault(Kind.INVALID_REQUEST, f"Invalid '{name}': the array is empty.", param=name)
    return span.start, span.end


def wrong(name: str, wanted: str, raw: bytes) -> Fault:
    """The fault for a value of another type than the wanted one; `raw` is the value's JSON."""
    got = _KINDS.get(raw[:1], "a number")
    return Fault(
        Kind.INVALID_REQUEST, f"Invalid type for '{name}': expected {wanted}, but got {got} instead.", param=name
    )
