"""Which conversation a request belongs to, so that it can stay on the channel that holds its prompt cache.

In this order: a session header of the client's, what the dialect found (`prompt_cache_key`, `metadata.user_id`), else
the beginning of the conversation itself, which later turns repeat. Different keys never share a conversation.
"""

from __future__ import annotations

from hashlib import blake2b

from fastanchor._speedups.peek import peek
from fastanchor.engine.exchange import Exchange

HEADERS = (b"x-session-id", b"x-session-affinity", b"session-id", b"x-claude-code-session-id")
BEGINNING = 32 * 1024
"""Bytes of a conversation that tell it from others."""
_FIELDS = (b"system", b"instructions", b"messages", b"input", b"contents", b"prompt")
_ANSWERED = (b'"assistant"', b'"model"', b'"function_call"')  # the role or the type of what is said back


def conversation(exchange: Exchange) -> str:
    """The conversation's name, "" when nothing tells it."""
    request, call = exchange.request, exchange.asked
    for name in HEADERS:
        value = request.get(name)
        if value:
            return f"{exchange.principal.key_id}/{value.decode('latin-1')}"
    found = call.affinity.encode() or beginning(call.body)
    return f"{exchange.principal.key_id}/{blake2b(found, digest_size=16).hexdigest()}" if found else ""


def beginning(body: bytes) -> bytes:
    """A conversation up to its first answer: what every later turn of it begins with."""
    top = peek(body, _FIELDS)
    if top is None:
        return b""
    return b"\n".join(_unanswered(raw[:BEGINNING]) for raw in map(top.raw, _FIELDS) if raw)


def _unanswered(turns: bytes) -> bytes:
    """The turns before the first answer: whole objects, without what comes behind the last of them."""
    at = min((at for at in map(turns.find, _ANSWERED) if at >= 0), default=len(turns))
    end = turns.rfind(b"}", 0, at)
    return turns[: end + 1] if end >= 0 else turns[:at]
