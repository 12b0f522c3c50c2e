"""OpenAI embeddings: `POST /v1/embeddings`. Never streamed.

`input` is a string, a list of strings, a list of tokens, or a list of such lists; tokens only pass to upstreams of the
same dialect. `encoding_format` "base64" is little-endian 32-bit floats. Source: the OpenAI API reference.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

import orjson

from fastanchor._speedups.peek import Peek, count_text, splice
from fastanchor.core.call import Call
from fastanchor.core.events import Event
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Prompt
from fastanchor.core.usage import Usage
from fastanchor.dialects import body as bodies
from fastanchor.dialects.contract import EVENT_STREAM, NO_QUIRKS, Answering, Dialect, Target, Written
from fastanchor.dialects.embedding import EmbeddingAnswer, EmbeddingRequest, Encoding
from fastanchor.dialects.fields import Fields, invalid
from fastanchor.dialects.openai_chat.documents import rows
from fastanchor.dialects.openai_chat.faults import fault_body, fault_event
from fastanchor.dialects.openai_chat.observe import BYTES_PER_TOKEN, is_error
from fastanchor.dialects.openai_chat.read import forwarded
from fastanchor.dialects.openai_chat.usage import chunk_usage, whole_usage
from fastanchor.providers.classify import from_event

MAX_INPUTS = 2048
MAX_DIMENSIONS = 65_536
_FACTS = (b"model", b"input", b"stream", b"dimensions", b"encoding_format")
_PLACED = frozenset({"model", "input", "dimensions", "encoding_format", "stream"})
_ENCODING = "encoding_format"


class OpenAIEmbeddings:
    """See `contract.Dialect` and `embedding.EmbeddingDialect`."""

    name = "openai_embeddings"
    keep_alive = b""
    words: Mapping[str, str] = {}

    def read(self, body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
        found = bodies.members(body, _FACTS)
        model = bodies.text(found, "model")
        if bodies.flag(found, "stream"):
            raise invalid("stream", "embeddings are not streamed")
        bodies.whole(found, "dimensions", 1, MAX_DIMENSIONS)
        encoding = bodies.optional_text(found, _ENCODING) or "float"
        if encoding not in ("float", "base64"):
            raise invalid(_ENCODING, "it must be 'float' or 'base64'")
        return Call(
            self.name, model, found.body, operation="embeddings", model_span=found.span(b"model"), max_output=0,
            prompt_tokens=_tokens(found), headers=forwarded(headers), options={_ENCODING: encoding},
        )  # fmt: skip

    def edit(self, call: Call, model: str, quirks: frozenset[str] = NO_QUIRKS) -> bytes:
        if call.model_span is None or model == call.model:
            return call.body
        return splice(call.body, [(*call.model_span, orjson.dumps(model))])

    def usage_of(self, body: bytes) -> Usage:
        return replace(whole_usage(body), output=0)

    def parse_embedding(self, call: Call) -> EmbeddingRequest:
        request = Fields(call.body)
        inputs = (request.text("input"),) if request.is_text("input") else _texts(request)
        encoding: Encoding = "base64" if request.text(_ENCODING) == "base64" else "float"
        dropped = tuple(request.rest(_PLACED))
        return EmbeddingRequest(inputs, request.whole("dimensions"), encoding, dropped)

    def write_embedding(self, request: EmbeddingRequest, target: Target) -> Written:
        body: dict[str, object] = {"model": target.model, "input": list(request.inputs), "encoding_format": "float"}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        lost = tuple(name for name in ("task", "title") if getattr(request, name))
        return Written(orjson.dumps(body), request.dropped + lost)

    def read_embedding(self, body: bytes) -> EmbeddingAnswer:
        try:
            document: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise Fault(Kind.MALFORMED_ANSWER) from None
        if not isinstance(document, dict):
            raise Fault(Kind.MALFORMED_ANSWER)
        if document.get("error") or is_error(b"", {"choices": None, **document}):
            raise from_event(body)
        data = sorted(rows(document.get("data")), key=_index)
        if not data:
            raise Fault(Kind.EMPTY_ANSWER)
        usage = chunk_usage(document)
        return EmbeddingAnswer(tuple(_vector(row.get("embedding")) for row in data), usage.input if usage else None)

    def write_embedding_answer(self, answer: EmbeddingAnswer, answering: Answering) -> bytes:
        packed = answering.call.options.get(_ENCODING) == "base64"
        tokens = answering.call.prompt_tokens if answer.tokens is None else answer.tokens
        return orjson.dumps({
            "object": "list",
            "data": [
                {"object": "embedding", "index": at, "embedding": _packed(vector) if packed else vector}
                for at, vector in enumerate(answer.vectors)
            ],
            "model": answering.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        })

    def fault(self, fault: Fault, request_id: str) -> bytes:
        return fault_body(fault, request_id)

    def fault_event(self, fault: Fault, request_id: str) -> bytes:
        return fault_event(fault, request_id)

    # an answer of vectors has no events, and a request for them is no prompt

    def parse(self, call: Call) -> Prompt:
        _no_chat()

    def write(self, prompt: Prompt, target: Target) -> Written:
        _no_chat()

    def stream_type(self, call: Call) -> bytes:
        return EVENT_STREAM

    def observer(self, call: Call) -> NoReturn:
        _no_chat()

    def decoder(self) -> NoReturn:
        _no_chat()

    def encoder(self, answering: Answering) -> NoReturn:
        _no_chat()

    def read_answer(self, body: bytes) -> list[Event]:
        _no_chat()

    def write_answer(self, events: Iterable[Event], answering: Answering) -> bytes:
        _no_chat()


def _no_chat() -> NoReturn:
    raise Fault(Kind.INVALID_REQUEST, "An embedding model answers with vectors, not with text.", param="model")


def _tokens(found: Peek) -> int:
    """An estimate for texts, a count for tokens. Raises Fault when `input` is missing or of another type."""
    raw = found.raw(b"input") or b"null"
    span = found.span(b"input")
    if raw == b"null" or span is None:
        raise Fault(Kind.INVALID_REQUEST, "Missing required parameter: 'input'.", param="input")
    if raw[:1] not in (b'"', b"["):
        raise bodies.wrong("input", "a string or an array", raw)
    if raw == b'""' or not raw[1:-1].strip():
        raise invalid("input", "it is empty")
    if b'"' in raw:
        return max(1, -(-count_text(found.body, *span) // BYTES_PER_TOKEN))
    return raw.count(b",") + 1


def _texts(request: Fields) -> tuple[str, ...]:
    inputs: Any = orjson.loads(request.raw("input"))
    if len(inputs) > MAX_INPUTS:
        raise invalid("input", f"at most {MAX_INPUTS} inputs are allowed")
    for at, item in enumerate(inputs):
        if isinstance(item, (int, list)) and not isinstance(item, bool):
            raise invalid("input", "tokens cannot be carried to the provider of this model; send text")
        if not isinstance(item, str) or not item:
            raise invalid(f"input[{at}]", "it must be a string that is not empty")
    return tuple(inputs)


def _index(row: dict[str, Any]) -> int:
    index = row.get("index")
    return index if type(index) is int else 0


def _vector(value: object) -> tuple[float, ...]:
    """The numbers of one embedding, packed or not."""
    try:
        if isinstance(value, str):
            data = base64.b64decode(value, validate=True)
            return struct.unpack(f"<{len(data) // 4}f", data)
        if isinstance(value, list) and value and all(_is_number(number) for number in value):
            return tuple(map(float, value))
    except (ValueError, struct.error):
        pass
    raise Fault(Kind.MALFORMED_ANSWER)


def _is_number(value: object) -> bool:
    """Whether it is one that 32 bits can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 3.4e38


def _packed(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


DIALECT: Dialect = OpenAIEmbeddings()
