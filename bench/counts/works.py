"""The work that is counted: a table, each entry a function that does it so many times, one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.counts.lockstep import Lockstep
from bench.rig import KEY

BURST = 50
PROMPT = "word " * 200  # about 1 KB
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_1\r\ntransfer-encoding: chunked\r\n\r\n"
)


@dataclass(frozen=True)
class Work:
    """`times` is how often it is done for a count of syscalls, and for one of instructions; the slope takes twice that.

    What only happens once is not in the slope. Each time, all clients do it.
    """

    name: str
    do: Callable[[Lockstep, int], None]
    times: tuple[int, int]
    tries: int = 1


def _request(model: str, *, stream: bool) -> bytes:
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: lockstep\r\naccept: */*\r\n"
        b"authorization: Bearer %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (KEY.encode(), len(body), body)
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _mark(number: int) -> bytes:
    return b"~%06d~" % number


def _openai(delta: bytes, finish: bytes = b"null") -> bytes:
    return (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m",'
        b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n' % (delta, finish)
    )


def _openai_event(number: int) -> bytes:
    return _openai(b'{"content":"%b word"}' % _mark(number))


OPENAI_END = _openai(b"{}", b'"stop"') + DONE
ANTHROPIC_BEGIN = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"content":[],"model":"m","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":200,"output_tokens":1}}}'
    b'\n\nevent: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text",'
    b'"text":""}}\n\n'
)
ANTHROPIC_END = (
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\nevent: message_delta\n'
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":9}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)


def _anthropic_event(number: int) -> bytes:
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"%b word"}}\n\n' % _mark(number)
    )


def _plain_answer() -> bytes:
    message = {"role": "assistant", "content": "word " * 150, "refusal": None}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 150, "total_tokens": 350},
        "end": "~",
    }
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)


def plain(lockstep: Lockstep, times: int) -> None:
    """Requests that are answered in one piece."""
    request, answer = _request("m", stream=False), _plain_answer()
    for _ in range(times):
        lockstep.ask(request)
        lockstep.answer(answer, answer[-12:])


def burst(lockstep: Lockstep, times: int) -> None:
    """Streams of BURST events that come at once."""
    request = _request("m", stream=True)
    answer = CHUNKED + b"".join(_chunk(_openai_event(n)) for n in range(BURST)) + _chunk(OPENAI_END) + LAST_CHUNK
    for _ in range(times):
        lockstep.ask(request)
        lockstep.answer(answer, LAST_CHUNK)


def events(lockstep: Lockstep, times: int) -> None:
    """A stream of so many events, each on its own."""
    lockstep.ask(_request("m", stream=True))
    _stream(lockstep, map(_openai_event, range(times)), CHUNKED, OPENAI_END)


def translated(lockstep: Lockstep, times: int) -> None:
    """The same from an Anthropic provider."""
    lockstep.ask(_request("m-anthropic", stream=True))
    _stream(lockstep, map(_anthropic_event, range(times)), CHUNKED + _chunk(ANTHROPIC_BEGIN), ANTHROPIC_END)


def _stream(lockstep: Lockstep, events: Iterator[bytes], begin: bytes, end: bytes) -> None:
    for number, event in enumerate(events):
        lockstep.answer((b"" if number else begin) + _chunk(event), _mark(number))
    lockstep.answer(_chunk(end) + LAST_CHUNK, LAST_CHUNK)


WORKS = (
    Work("request", plain, (10, 4)),
    Work("burst of 50 events", burst, (10, 4)),
    Work("event", events, (20, 15), tries=3),
    Work("translated event", translated, (20, 15), tries=3),
)
