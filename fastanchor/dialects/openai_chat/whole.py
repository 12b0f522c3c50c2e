"""A whole answer from an upstream that was asked for a stream: framed as one chunk, so that a client sees the answer.

Client libraries skip a line of bare JSON without a word, and would report an empty success.
"""

from __future__ import annotations

from typing import Any

import orjson

from fastanchor.dialects.openai_chat.documents import rows


def as_frame(document: dict[str, Any]) -> bytes:
    """The `data:` frame of a whole answer. Legacy completions stream the same objects that they answer with."""
    choices = [_streamed(choice) if "message" in choice else choice for choice in rows(document.get("choices"))]
    chunk = {**document, "choices": choices}
    if document.get("object") == "chat.completion":
        chunk["object"] = "chat.completion.chunk"
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _streamed(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice with its message as a delta, the tool calls numbered."""
    message = choice["message"] if isinstance(choice["message"], dict) else {}
    delta = dict(message)
    if calls := rows(message.get("tool_calls")):
        delta["tool_calls"] = [{**call, "index": at} for at, call in enumerate(calls)]
    return {**{name: value for name, value in choice.items() if name != "message"}, "delta": delta}
