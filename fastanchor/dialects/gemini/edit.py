"""The client's own body for an upstream that speaks Gemini too.

The model is in the path, so the bytes stay as they are, except where a body names the model again (embeddings do, per
request, and some clients out of habit): that name has to be the upstream's.
"""

from __future__ import annotations

import orjson

from fastanchor._speedups.peek import peek, splice
from fastanchor.core.call import Call


def edit(call: Call, model: str) -> bytes:
    """The body with every `model` in it naming `model`."""
    if b'"model"' not in call.body or model == call.model:
        return call.body
    if call.options.get("verb") == "batchEmbedContents":
        return _batch(call.body, model)
    found = peek(call.body, (b"model",))
    span = found.span(b"model") if found else None
    return splice(call.body, [(*span, _name(model))]) if span else call.body


def _batch(body: bytes, model: str) -> bytes:
    document = orjson.loads(body)  # checked to be JSON when it was read
    rows = document.get("requests")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and "model" in row:
            row["model"] = f"models/{model}"
    return orjson.dumps(document)


def _name(model: str) -> bytes:
    return orjson.dumps(model if model.startswith("models/") else f"models/{model}")
