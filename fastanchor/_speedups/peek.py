"""The top-level members of a JSON object by byte range, so that a body is read and edited without being built.

    found = peek(body, (b"model", b"stream"))
    if found is None: ...                       # odd: parse it with orjson and judge there
    found.string(b"model")                      # "gpt-4o"
    splice(body, [(*found.span(b"model"), b'"gpt-4o-2024-08-06"')])

What `peek` accepts is valid JSON (RFC 8259) through and through and means to orjson what it means here; what it calls
odd may be valid all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastanchor._speedups import compiled
from fastanchor._speedups._peek_pure import Field, Peek, splice

if TYPE_CHECKING or not compiled("peek"):
    from fastanchor._speedups._peek_pure import count_text, peek
else:
    from fastanchor._speedups._peek import count_text, peek

__all__ = ["Field", "Peek", "count_text", "peek", "splice"]
