"""JSON from upstreams: read strictly, and once more leniently where a half surrogate pair is all that is wrong."""

from __future__ import annotations

import json
from typing import Any

import orjson


def load(data: bytes) -> Any:
    """The document. Unpaired surrogate escapes become U+FFFD. Raises ValueError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"\\u" not in data:
            raise
    try:
        text = json.dumps(json.loads(data), ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return orjson.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def text(value: object) -> str:
    """The value if it is a string, else ""."""
    return value if isinstance(value, str) else ""


def rows(value: object) -> list[dict[str, Any]]:
    """The objects of a list; [] for anything else."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def child(value: object, name: str) -> dict[str, Any]:
    """The object that is a member of an object, else {}."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def quoted(text: str) -> bytes:
    """A JSON string; unpaired surrogates become U+FFFD."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        return orjson.dumps(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
