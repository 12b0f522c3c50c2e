"""What is answered in one piece always: embeddings, token counts and lists of models."""

from __future__ import annotations

import base64
import struct

from fastanchor.providers.demo.ask import CREATED, Body, Json, Refused
from fastanchor.providers.demo.fields import limit, strings, table, tables, text, texts
from fastanchor.providers.demo.lorem import numbers, seed, words
from fastanchor.providers.demo.manner import Manner

MODELS = ("demo", "demo-fast", "demo-slow", "demo-embed")
MOST_DIMENSIONS = 4_096


def embeddings(body: Body, manner: Manner) -> Json:
    """OpenAI `POST /v1/embeddings`."""
    inputs = _inputs(body.get("input"))
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise Refused(400, 'encoding_format: expected "float" or "base64"', "encoding_format")
    vectors = [_vector(item, limit(body, "dimensions"), manner) for item in inputs]
    listed = [
        {"object": "embedding", "index": i, "embedding": v if form == "float" else _packed(v)}
        for i, v in enumerate(vectors)
    ]
    count = words(inputs)
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": listed, "model": text(body, "model"), "usage": usage}


def _inputs(value: Json) -> list[str]:
    """Texts; lists of token numbers become the texts of those numbers."""
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        value = [value]
    if isinstance(value, list):
        value = [" ".join(map(str, item)) if isinstance(item, list) else item for item in value]
    found = strings(value)
    if not found or (isinstance(value, list) and len(found) != len(value)):
        raise Refused(400, "input: a string, a list of strings or of token lists is required", "input")
    return found


def _vector(item: str, dimensions: int | None, manner: Manner) -> list[float]:
    return numbers(seed([item], manner.variant), min(dimensions or manner.dimensions, MOST_DIMENSIONS))


def _packed(vector: list[float]) -> str:
    """Little-endian 32-bit floats in base64, as the vendor sends them."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def embed_content(body: Body, manner: Manner) -> Json:
    """Gemini `:embedContent`."""
    return {"embedding": _content_vector(body, manner)}


def batch_embed_contents(body: Body, manner: Manner) -> Json:
    """Gemini `:batchEmbedContents`."""
    return {"embeddings": [_content_vector(request, manner) for request in tables(body.get("requests"))]}


def _content_vector(body: Body, manner: Manner) -> Body:
    found = texts(table(body.get("content")).get("parts"))
    if not found:
        raise Refused(400, "content: parts with text are required", "content")
    return {"values": _vector(" ".join(found), limit(body, "outputDimensionality"), manner)}


def model_list(anthropic: bool) -> Json:
    """`GET /v1/models` in OpenAI's shape or Anthropic's."""
    listed = [model(name, anthropic) for name in MODELS]
    if anthropic:
        return {"data": listed, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
    return {"object": "list", "data": listed}


def model(name: str, anthropic: bool) -> Json:
    """One entry of it."""
    if anthropic:
        return {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "fastanchor"}


def gemini_model_list() -> Json:
    """`GET /v1beta/models`."""
    return {"models": [gemini_model(name) for name in MODELS]}


def gemini_model(name: str) -> Json:
    """One entry of it."""
    methods = ["generateContent", "countTokens", "embedContent"]
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}
