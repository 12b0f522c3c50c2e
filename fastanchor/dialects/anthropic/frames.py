"""The JSON of content blocks and deltas, and the frames around it.

Strings are always written anew, never spliced: a raw newline in a `partial_json` would end the frame. Items that only
Anthropic understands are written as they came.
Source: "Streaming Messages" of the Claude API documentation.
"""

from __future__ import annotations

import re

import msgspec
import orjson

from fastanchor.core.events import Block, BlockStart, Citation, Raw, Refusal, Signature, Text, Thought

NAME = "anthropic"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
DONE = b"data: [DONE]\n\n"

_NOT_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")


def frame(name: bytes, body: bytes) -> bytes:
    """One frame; `body` is the data without its opening brace and `type`."""
    return b"event: " + name + b'\ndata: {"type":"' + name + b'",' + body + b"\n\n"


def block_start(index: int, block: bytes) -> bytes:
    return frame(b"content_block_start", b'"index":%d,"content_block":%b}' % (index, block))


def block_delta(index: int, delta: bytes) -> bytes:
    return frame(b"content_block_delta", b'"index":%d,"delta":%b}' % (index, delta))


def block_stop(index: int) -> bytes:
    return frame(b"content_block_stop", b'"index":%d}' % index)


def opening(start: BlockStart, tool_id: str, tool_name: str) -> bytes:
    """The content block of a `content_block_start`."""
    if start.kind in (Block.TEXT, Block.REFUSAL):
        return b'{"type":"text","text":""}'
    if start.kind is Block.THOUGHT:
        return b'{"type":"thinking","thinking":"","signature":""}'
    if start.kind in (Block.TOOL, Block.CUSTOM):
        return b'{"type":"tool_use","id":%b,"name":%b,"input":{}}' % (quoted(tool_id), quoted(tool_name))
    return on_one_line(start.data)


def delta(event: Text | Refusal | Thought | Signature | Citation | Raw) -> bytes:
    """The delta of an event that has one here, or b""."""
    if isinstance(event, (Text, Refusal)):
        return b'{"type":"text_delta","text":%b}' % quoted(event.text) if event.text else b""
    if isinstance(event, Thought):
        return b'{"type":"thinking_delta","thinking":%b}' % quoted(event.text) if event.text else b""
    if event.dialect != NAME or not event.data:
        return b""
    if isinstance(event, Signature):
        return b'{"type":"signature_delta","signature":%b}' % quoted(event.data)
    if isinstance(event, Citation):
        return b'{"type":"citations_delta","citation":%b}' % on_one_line(event.data)
    return on_one_line(event.data)


def input_delta(piece: str) -> bytes:
    return b'{"type":"input_json_delta","partial_json":%b}' % quoted(piece)


def quoted(text: str) -> bytes:
    """A JSON string; half a surrogate pair, which no UTF-8 can hold, becomes a question mark."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        return orjson.dumps(text.encode("utf-8", "replace").decode())


def on_one_line(raw: bytes) -> bytes:
    """Raw JSON without line ends, its tokens unchanged."""
    return msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw


def legal_id(wanted: str, seed: str, taken: set[str]) -> str:
    """A tool call's id as Anthropic takes it (`[a-zA-Z0-9_-]+`, each once), as near as can be to the provider's."""
    plain = _NOT_IN_ID.sub("_", wanted) or f"toolu_{_NOT_IN_ID.sub('_', seed)}"
    made, n = plain, 1
    while made in taken:
        n += 1
        made = f"{plain}_{n}"
    taken.add(made)
    return made
