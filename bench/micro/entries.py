"""The table of micro-benchmarks: what the hot path does with each compiled module, on bytes as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from bench.micro.runner import Entry
from fastanchor._speedups import translate
from fastanchor.core.call import Call
from fastanchor.dialects import registry
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.translation import Translation

REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:8080\r\naccept: application/json\r\n"
    b"accept-encoding: gzip, deflate\r\nauthorization: Bearer sk-bench-0123456789abcdef\r\n"
    b"content-type: application/json\r\nuser-agent: OpenAI/Python 1.99.0\r\nx-stainless-lang: python\r\n"
    b"x-stainless-runtime: CPython\r\nx-stainless-retry-count: 0\r\ncontent-length: 1024\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-request-id: req_0123456789abcdef\r\ntransfer-encoding: chunked\r\n\r\n"
)
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-request-id", b"req_0123456789abcdef"),
    (b"transfer-encoding", b"chunked"),
]
EVENT = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1754000000,"model":"gpt-4o",'
    b'"service_tier":"default","system_fingerprint":"fp_bench","choices":[{"index":0,"delta":{"content":" word"},'
    b'"logprobs":null,"finish_reason":null}]}\n\n'
)
MESSAGE = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_bench","type":"message",'
    b'"role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":9}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
    b'{"type":"text","text":""}}\n\n'
)
DELTAS = {
    "anthropic": b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    b'{"type":"text_delta","text":" word"}}\n\n',
    "gemini": b'data: {"candidates": [{"content": {"parts": [{"text": " word"}],"role": "model"},"index": 0}],'
    b'"usageMetadata": {"promptTokenCount": 200,"candidatesTokenCount": 12,"totalTokenCount": 212},'
    b'"modelVersion": "gemini","responseId": "bench"}\r\n\r\n',
    "openai_chat": EVENT,
}
NEEDLES = (b'"usage":{', b'"finish_reason":"', b'"error"')


def _body(size: int) -> bytes:
    start = b'{"model":"gpt-4o","stream":true,"temperature":0.7,"messages":[{"role":"user","content":"'
    prose = b"Please read the following notes with care, then say what they have in common.\\n"
    return start + (prose * (size // len(prose) + 1))[: size - len(start) - 5] + b'."}]}'


def _parse_request(http1: Any) -> Callable[[], object]:
    return lambda: http1.parse_request(REQUEST)


def _parse_response(http1: Any) -> Callable[[], object]:
    return lambda: http1.parse_response(RESPONSE)


def _write_response(http1: Any) -> Callable[[], object]:
    return lambda: http1.response_head(200, HEADERS)


def _decode_chunk(http1: Any) -> Callable[[], object]:
    decoder, framed = http1.ChunkDecoder(), b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
    return lambda: decoder.feed(framed)


def _write_chunk(http1: Any) -> Callable[[], object]:
    return lambda: http1.chunk(EVENT)


def _scan(data: bytes) -> Callable[[Any], Callable[[], object]]:
    def prepare(sse: Any) -> Callable[[], object]:
        scanner = sse.Scanner(NEEDLES, measure=b'"content":"')
        return lambda: scanner.feed(data)

    return prepare


def _decode(sse: Any) -> Callable[[], object]:
    decoder = sse.Decoder()
    return lambda: decoder.feed(EVENT)


def _peek(body: bytes) -> Callable[[Any], Callable[[], object]]:
    return lambda peek: lambda: peek.peek(body, (b"model", b"stream", b"stream_options", b"max_tokens"))


def _translate(source: str, client: str) -> Callable[[Any], Callable[[], object]]:
    """One text delta in the middle of an answer; the pure half is the general decoder and encoder."""

    def prepare(half: Any) -> Callable[[], object]:
        answering = Answering(Call(client, "gpt-4o", b"{}", stream=True), "gpt-4o", "req_bench", 1_754_000_000)
        with patch.object(translate, "Lane", half.Lane):
            relay = Translation(registry.dialect(source), registry.dialect(client), answering)
        delta = DELTAS[source]
        relay.feed(MESSAGE if source == "anthropic" else b"")
        for text in (b" one", b" two", b" three"):
            relay.feed(delta.replace(b" word", text))
        return lambda: relay.feed(delta)

    return prepare


ENTRIES: tuple[Entry, ...] = (
    Entry("http1", "parse a request head", _parse_request, len(REQUEST)),
    Entry("http1", "parse a response head", _parse_response, len(RESPONSE)),
    Entry("http1", "write a response head", _write_response),
    Entry("http1", "decode one chunk", _decode_chunk, len(EVENT)),
    Entry("http1", "write one chunk", _write_chunk, len(EVENT)),
    Entry("sse", "scan one event", _scan(EVENT), len(EVENT)),
    Entry("sse", "scan fifty events", _scan(EVENT * 50), 50 * len(EVENT)),
    Entry("sse", "decode one event", _decode, len(EVENT)),
    Entry("peek", "fields of a 1 KB body", _peek(_body(1024)), 1024),
    Entry("peek", "fields of a 150 KB body", _peek(_body(150_000)), 150_000),
    Entry("translate", "one delta, Anthropic to chat", _translate("anthropic", "openai_chat")),
    Entry("translate", "one delta, Gemini to chat", _translate("gemini", "openai_chat")),
    Entry("translate", "one delta, chat to Anthropic", _translate("openai_chat", "anthropic")),
    Entry("translate", "one delta, chat to Responses", _translate("openai_chat", "openai_responses")),
)
