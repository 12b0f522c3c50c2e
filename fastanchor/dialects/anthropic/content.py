"""Content blocks of an answer, whole or just opened, as events.

Tool input, citations and items that only Anthropic understands keep their bytes.
Source: `ContentBlock` of the Messages API reference.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fastanchor.core.events import Block, BlockStart, Citation, Event, Signature, Text, Thought

NAME = "anthropic"
MAX_BLOCKS = 4096
MAX_TOOLS = 512

KINDS = {
    "text": Block.TEXT,
    "thinking": Block.THOUGHT,
    "redacted_thinking": Block.REDACTED,
    "tool_use": Block.TOOL,
}
"""Content block types that mean the same everywhere; all others are hosted items."""

class Part(msgspec.Struct):
    """The members of a frame or block whose bytes are kept as they came."""

    content_block: msgspec.Raw = msgspec.Raw()
    delta: msgspec.Raw = msgspec.Raw()
    citation: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    stop_details: msgspec.Raw = msgspec.Raw()


def part(data: bytes) -> Part:
    """The kept members of one JSON object that has been read once already."""
    return msgspec.json.decode(data, type=Part)


class _Cited(msgspec.Struct):
    citations: list[msgspec.Raw]


def start_of(number: int, kind: Block, block: dict[str, Any], raw: bytes) -> BlockStart:
    """The start of a block; `raw` is its JSON."""
    if kind is Block.TOOL:
        return BlockStart(number, kind, tool_id=text_of(block.get("id")), tool_name=text_of(block.get("name")))
    if kind in (Block.REDACTED, Block.HOSTED):
        return BlockStart(number, kind, dialect=NAME, data=raw)
    return BlockStart(number, kind)


def opening(number: int, kind: Block, block: dict[str, Any], raw: bytes) -> list[Event]:
    """What a content block already holds: all of a whole answer's, mostly nothing of a stream's start."""
    out: list[Event] = []
    if kind is Block.TEXT and text_of(block.get("text")):
        out.append(Text(number, block["text"]))
    if kind is Block.THOUGHT and text_of(block.get("thinking")):
        out.append(Thought(number, block["thinking"]))
    if kind is Block.THOUGHT and text_of(block.get("signature")):
        out.append(Signature(number, NAME, block["signature"]))
    if kind is Block.TEXT and block.get("citations"):
        out += [Citation(number, NAME, citation) for citation in _citations(raw)]
    return out


def _citations(raw: bytes) -> list[bytes]:
    try:
        return [bytes(citation) for citation in msgspec.json.decode(raw, type=_Cited).citations]
    except msgspec.ValidationError:
        return []



def text_of(value: object) -> str:
    return value if isinstance(value, str) else ""
