"""The two live API versions and what one of them took away.

Version 2026-10-21 refuses `temperature`, `top_p` and `top_k` even at their defaults, a `document` block directly in an
assistant message, and non-empty `citations` on a text block of a user message.
Source: "Migrating to API version 2026-10-21" of the Claude API documentation.
"""

from __future__ import annotations

import re

from fastanchor._speedups.peek import peek

FIRST = "2023-06-01"
LATEST = "2026-10-21"
BEDROCK = "bedrock-2023-05-31"

SAMPLING = ("temperature", "top_p", "top_k")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def is_version(text: str) -> bool:
    """Whether this has the form of an `anthropic-version`; versions to come are let through."""
    return _DATE.fullmatch(text) is not None


def is_strict(version: str) -> bool:
    """Whether the rules of 2026-10-21 hold. Versions are dates, so their order is that of their text."""
    return version >= LATEST


def needed(body: bytes) -> str:
    """The version that a request which was written here must be sent with."""
    found = peek(body, tuple(name.encode() for name in SAMPLING))
    return FIRST if found is None or any(found.raw(name.encode()) is not None for name in SAMPLING) else LATEST
