"""Anthropic's official client as a judge, and Messages streams to feed it and the dialect with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import orjson

from fastanchor.core.call import Call
from fastanchor.core.events import Event
from fastanchor.dialects.anthropic import DIALECT
from fastanchor.dialects.contract import Answering

MODEL = "claude-opus-5-5"


def call(**members: Any) -> Call:
    """A call as the dialect would have read it."""
    members.setdefault("prompt_tokens", 7)
    return Call("anthropic", MODEL, b"{}", stream=True, **members)


def answering(*, done: bool = False, **members: Any) -> Answering:
    return Answering(call(**members), MODEL, "req_1", 1_700_000_000, options={"anthropic_done": "1" if done else "0"})


def sse(*events: dict[str, Any]) -> bytes:
    """Frames of a stream, each named by its `type`."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events)


def message_start(**usage: int) -> dict[str, Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": MODEL,
               "usage": {"input_tokens": 5, "output_tokens": 1} | usage}  # fmt: skip
    return {"type": "message_start", "message": message}


def block(index: int, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": members}


def delta(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind} | members}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str | None, **usage: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None},
         "usage": {"output_tokens": 9} | usage},
        {"type": "message_stop"},
    )  # fmt: skip


def decoded(data: bytes) -> list[Event]:
    """All events of a stream that arrives in one piece."""
    decoder = DIALECT.decoder()
    return decoder.feed(data) + decoder.end()


def split(data: bytes, seed: int) -> Iterator[bytes]:
    """The data in pieces of 1 to 40 bytes, the same for the same seed."""
    rng = random.Random(seed)
    at = 0
    while at < len(data):
        size = rng.randint(1, 40)
        yield data[at : at + size]
        at += size


def client(status: int, content_type: str, body: bytes) -> anthropic.Anthropic:
    """The official client, whose server answers with this."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-type": content_type}, content=body)

    transport = httpx2.MockTransport(answer)
    return anthropic.Anthropic(api_key="key", http_client=httpx2.Client(transport=transport), max_retries=0)


def streamed(body: bytes) -> Any:
    """The message that the official accumulator makes of a stream."""
    with client(200, "text/event-stream", body) as judge, judge.messages.stream(**ASKED) as stream:
        return stream.get_final_message()


def created(body: bytes, status: int = 200) -> Any:
    """The message that the official client makes of a whole answer."""
    with client(status, "application/json", body) as judge:
        return judge.messages.create(**ASKED)


ASKED: dict[str, Any] = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
