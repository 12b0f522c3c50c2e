"""embedContent and batchEmbedContents as plain requests and answers (see `dialects.embedding`).

Upstreams are always asked by `batchEmbedContents`, one request per text, all with the same model and settings.
Source: ai.google.dev/api/embeddings; google-genai 3.3 (which itself only calls the batch form).
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.contract import Answering, Target, Written
from fastanchor.dialects.embedding import EmbeddingAnswer, EmbeddingRequest
from fastanchor.dialects.gemini import faults
from fastanchor.dialects.gemini.answers import UNREADABLE, UsageMetadata
from fastanchor.dialects.gemini.proto import Message

MAX_INPUTS = 2048
MAX_DIMENSIONS = 65_536

_KNOWN = frozenset({"content", "model", "taskType", "title", "outputDimensionality"})


class _Vector(msgspec.Struct):
    values: list[float] = []


class _Answer(msgspec.Struct, rename="camel"):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    usage_metadata: UsageMetadata | None = None


_answers = msgspec.json.Decoder(_Answer, strict=False)


def parse(call: Call) -> EmbeddingRequest:
    """Raises Fault that names the member; settings must be the same for all texts."""
    body = Message(call.body)
    single = call.options.get("verb") == "embedContent"
    requests = [body] if single else body.messages("requests")
    if not requests:
        raise body.refuse("it is empty.", "requests")
    if len(requests) > MAX_INPUTS:
        raise body.refuse(f"at most {MAX_INPUTS} texts are taken at once.", "requests")
    settings = [_settings(one) for one in requests]
    for one, own in zip(requests, settings, strict=True):
        if own != settings[0]:
            raise one.refuse("all requests of a batch need the same settings here.")
    dimensions, task, title = settings[0]
    dropped = tuple(dict.fromkeys(name for one in requests for name in one.rest(_KNOWN)))
    return EmbeddingRequest(tuple(_text(one) for one in requests), dimensions, "float", dropped, task, title)


def _settings(request: Message) -> tuple[int | None, str, str]:
    dimensions = request.integer("outputDimensionality")
    if dimensions is not None and not 1 <= dimensions <= MAX_DIMENSIONS:
        raise request.refuse(f"it must be 1 to {MAX_DIMENSIONS}.", "outputDimensionality")
    return dimensions, request.string("taskType"), request.string("title")


def _text(request: Message) -> str:
    content = request.message("content")
    parts = content.messages("parts") if content else []
    for part in parts:
        if not part.raw("text"):
            raise part.refuse("only text can be embedded by this model.")
    text = "".join(part.string("text") for part in parts)
    if not text:
        raise request.refuse("there is no text to embed.", "content")
    return text


def write(request: EmbeddingRequest, target: Target) -> Written:
    settings: dict[str, Any] = {"model": f"models/{target.model.removeprefix('models/')}"}
    if request.task:
        settings["taskType"] = request.task
    if request.title:
        settings["title"] = request.title
    if request.dimensions is not None:
        settings["outputDimensionality"] = request.dimensions
    rows = [{**settings, "content": {"parts": [{"text": text}]}} for text in request.inputs]
    return Written(orjson.dumps({"requests": rows}), request.dropped)


def read_answer(body: bytes) -> EmbeddingAnswer:
    """Raises Fault when it is an error or cannot be read."""
    if (fault := faults.in_band(body)) is not None:
        raise fault
    try:
        read = _answers.decode(body)
    except UNREADABLE:
        raise Fault(Kind.MALFORMED_ANSWER) from None
    vectors = read.embeddings if read.embeddings is not None else [read.embedding] if read.embedding else []
    if not vectors or not all(vector.values for vector in vectors):
        raise Fault(Kind.EMPTY_ANSWER)
    tokens = read.usage_metadata.prompt_token_count if read.usage_metadata else None
    return EmbeddingAnswer(tuple(tuple(vector.values) for vector in vectors), tokens)


def write_answer(answer: EmbeddingAnswer, answering: Answering) -> bytes:
    """In the form of the verb that asked."""
    rows = [{"values": vector} for vector in answer.vectors]
    document: dict[str, Any] = (
        {"embedding": rows[0]} if answering.call.options.get("verb") == "embedContent" else {"embeddings": rows}
    )
    if answer.tokens is not None:
        document["usageMetadata"] = {"promptTokenCount": answer.tokens}
    return orjson.dumps(document)
