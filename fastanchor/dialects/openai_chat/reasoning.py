"""`reasoning_details`: how OpenRouter carries thinking of any vendor with its proof, and how this gateway does.

An entry is `{type: "reasoning.text", text, signature, format, index}`, `{type: "reasoning.summary", summary, …}` or
`{type: "reasoning.encrypted", data, …}`; `format` names the vendor that the proof belongs to. A client that sends the
entries back, as OpenRouter's documentation asks, keeps tool use with thinking working across turns.
"""

from __future__ import annotations

from typing import Any

import orjson

from fastanchor.core.events import BlockStart, Signature
from fastanchor.core.prompt import OpaqueSignature, ThoughtPart
from fastanchor.dialects.openai_chat.documents import text

NAME = "openai_chat"

_DIALECTS = {
    "anthropic-claude-v1": "anthropic",
    "google-gemini-v1": "gemini",
    "openai-responses-v1": "openai_responses",
}
_FORMATS = {dialect: form for form, dialect in _DIALECTS.items()}


def dialect_of(row: dict[str, Any]) -> str:
    """Whose proof an entry holds; this dialect's own when the vendor is not known."""
    return _DIALECTS.get(text(row.get("format")), NAME)


def redacted(row: dict[str, Any]) -> tuple[str, bytes]:
    """An encrypted entry as the dialect and data of a REDACTED block."""
    dialect = dialect_of(row)
    if dialect == "anthropic":
        return dialect, orjson.dumps({"type": "redacted_thinking", "data": text(row.get("data"))})
    return NAME, orjson.dumps(row)


def signed_row(signature: Signature, thought: str, index: int) -> dict[str, Any]:
    """The entry for a signature over a whole thought, or over something that is no thought."""
    form = _FORMATS.get(signature.dialect, "unknown")
    if thought:
        return {
            "type": "reasoning.text", "text": thought, "signature": signature.data, "format": form, "index": index,
        }  # fmt: skip
    return {"type": "reasoning.encrypted", "data": signature.data, "format": form, "index": index}


def redacted_row(start: BlockStart, index: int) -> dict[str, Any] | None:
    """The entry for a REDACTED block, or None when nothing in it can be carried."""
    try:
        block: Any = orjson.loads(start.data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(block, dict):
        return None
    if start.dialect == NAME:
        return block
    data = text(block.get("data")) or text(block.get("encrypted_content"))
    form = _FORMATS.get(start.dialect, "unknown")
    return {"type": "reasoning.encrypted", "data": data, "format": form, "index": index} if data else None


def replayed(row: dict[str, Any]) -> ThoughtPart:
    """An entry that a client sends back."""
    thought = text(row.get("text")) or text(row.get("summary"))
    data = text(row.get("signature")) or text(row.get("data"))
    signature = OpaqueSignature(dialect_of(row), data) if data else None
    return ThoughtPart(thought, signature, redacted=row.get("type") == "reasoning.encrypted", id=text(row.get("id")))


def replay_row(part: ThoughtPart, index: int) -> dict[str, Any]:
    """A replayed thought for an upstream that takes `reasoning_details`."""
    row: dict[str, Any] = {"type": "reasoning.encrypted" if part.redacted else "reasoning.text", "index": index}
    if part.text:
        row["text"] = part.text
    if part.signature is not None:
        row["data" if part.redacted else "signature"] = part.signature.data
        row["format"] = _FORMATS.get(part.signature.dialect, "unknown")
    if part.id:
        row["id"] = part.id
    return row
