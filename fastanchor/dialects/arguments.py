"""Tool arguments on their way between dialects: JSON text in some, a JSON object in others, always the same bytes.

Numbers beyond 2**53 and the order of keys survive, because the text is checked but never built and written again.
"""

from __future__ import annotations

import orjson

from fastanchor.core.faults import Fault, Kind

EMPTY = b"{}"


def as_object(arguments: bytes, *, strict: bool = False, param: str = "") -> bytes:
    """The arguments of a function call as the text of one JSON object.

    No arguments are `{}`; another value is wrapped as `{"value": …}`; text that is no JSON becomes `{"_raw": "…"}`, or
    with `strict` raises Fault(INVALID_REQUEST) for `param`.
    """
    text = arguments.strip()
    if not text:
        return EMPTY
    if not _is_json(text):
        if strict:
            raise Fault(Kind.INVALID_REQUEST, "The arguments of a tool call are not valid JSON.", param=param)
        return b'{"_raw":' + orjson.dumps(text.decode("utf-8", "replace")) + b"}"
    if text.startswith(b"{"):
        return text
    return EMPTY if text == b"null" else b'{"value":' + text + b"}"


def as_input(text: bytes) -> bytes:
    """The free text of a custom tool call as the object for the function that stands in for it: `{"input": "…"}`."""
    return b'{"input":' + orjson.dumps(text.decode("utf-8", "replace")) + b"}"


def as_text(arguments: bytes) -> str:
    """Raw arguments as the content of a JSON string; bytes that are no UTF-8 become U+FFFD."""
    return arguments.decode("utf-8", "replace")


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
