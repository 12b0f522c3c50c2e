"""Holding an answer to what a plan allows: the client's body with a lower bound on its output.

Only for plans that cap instead of refusing. The body keeps its bytes but for that one number.
"""

from __future__ import annotations

import orjson

from fastanchor._speedups.peek import Peek, peek, splice
from fastanchor.core.call import Call

FIELDS: dict[str, tuple[bytes, ...]] = {
    # the names of the bound in each dialect; the last is written where none is there
    "openai_chat": (b"max_tokens", b"max_completion_tokens"),
    "anchor": (b"max_completion_tokens", b"max_tokens"),
    "openai_completions": (b"max_tokens",),
    "openai_responses": (b"max_output_tokens",),
    "anthropic": (b"max_tokens",),
}
GEMINI = b"generationConfig"
GEMINI_BOUND = b"maxOutputTokens"


def capped(call: Call, tokens: int) -> bytes:
    """The body of `call` with at most `tokens` of output."""
    body = call.body
    if call.dialect != "gemini":
        return _bounded(body, FIELDS[call.dialect], tokens, 0, len(body))
    found = peek(body, (GEMINI,))
    span = found.span(GEMINI) if found is not None else None
    if found is None or span is None:
        return _bounded(body, (GEMINI,), {GEMINI_BOUND.decode(): tokens}, 0, len(body))
    return _bounded(body, (GEMINI_BOUND,), tokens, span.start, span.end)


def _bounded(body: bytes, names: tuple[bytes, ...], value: object, start: int, end: int) -> bytes:
    """Put `value` in the place of every one of `names` that the object at start:end has, or add the last of them."""
    found = peek(body, names, start, end)
    if found is None:  # odd spelling: an object is written anew around it
        document = orjson.loads(body[start:end])
        document[names[-1].decode()] = value
        return splice(body, [(start, end, orjson.dumps(document))])
    text = orjson.dumps(value)
    spans = [span for name in names if (span := found.span(name)) is not None]
    return splice(body, [(*span, text) for span in spans] or [_added(found, names[-1], text)])


def _added(found: Peek, name: bytes, text: bytes) -> tuple[int, int, bytes]:
    comma = b"" if found.empty else b","
    return found.object_end, found.object_end, comma + b'"' + name + b'":' + text
