"""What the chat tests share: streams at chosen splits, answers in plain terms, and the official client as judge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import httpx2
import openai
import orjson

from fastanchor.core.call import Call
from fastanchor.core.events import BlockEnd, BlockStart, Counted, End, Event, Failed, Finish, Text
from fastanchor.dialects.contract import Answering, Decoder, Observer
from fastanchor.dialects.openai_chat.answer import Gathered

Json: TypeAlias = dict[str, Any]


def answering(*, stream: bool = True, usage: bool = True, **options: str) -> Answering:
    call = Call("openai_chat", "public", b"{}", stream=stream, include_usage=usage, prompt_tokens=7, options=options)
    return Answering(call, "public", "req_0123", 1_700_000_000)


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """The data in pieces, cut at the given offsets."""
    bounds = [0, *sorted({offset % (len(data) + 1) for offset in at}), len(data)]
    return [data[start:end] for start, end in pairwise(bounds) if start < end]


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def decoded(decoder: Decoder, parts: Iterable[bytes]) -> list[Event]:
    events = [event for part in parts for event in decoder.feed(part)]
    return events + decoder.end()


def observed(observer: Observer, parts: Iterable[bytes]) -> bytes:
    return b"".join([observer.feed(part) for part in parts]) + observer.end()


def frames(*chunks: Json, done: bool = True) -> bytes:
    """A stream of these chunks."""
    body = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks)
    return body + b"data: [DONE]\n\n" if done else body


def chunk(delta: Json | None = None, *, reason: str | None = None, index: int = 0, **more: Any) -> Json:
    """A chunk with one choice."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": reason}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [choice], **more}


def tool(index: int | None, arguments: str | None = None, *, id: str | None = None, name: str | None = None) -> Json:
    """A delta with one fragment of a tool call; what is None is not in it."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    fragment = {key: value for key, value in (("index", index), ("id", id)) if value is not None}
    return {"tool_calls": [{**fragment, "type": "function", "function": function}]}


def payloads(stream: bytes) -> list[Json]:
    """The JSON of each frame of a stream but `[DONE]`."""
    lines = [line[6:] for line in stream.split(b"\n\n") if line.startswith(b"data: {")]
    return [orjson.loads(line) for line in lines]


def said(events: Iterable[Event]) -> list[Json]:
    """What each choice of an answer says, in plain terms that survive any way of cutting it up."""
    gathered = Gathered(events)
    return [
        {
            "text": choice.text,
            "refusal": "".join(choice.refusal),
            "thought": "".join(choice.thought),
            "details": choice.details,
            "tools": [(t.start.tool_id, t.start.tool_name, bytes(t.arguments) or b"{}") for t in choice.tools],
            "stop": choice.finish.stop if choice.finish else None,
        }
        for _, choice in sorted(gathered.choices.items())
    ]


def check_grammar(events: Sequence[Event]) -> None:
    """Assert the grammar of `core.events`."""
    kinds = [type(event).__name__ for event in events if not isinstance(event, Counted)]
    assert isinstance(events[-1], (End, Failed))
    assert sum(isinstance(event, (End, Failed)) for event in events) == 1
    opened: set[int] = set()
    ever: list[int] = []
    for event in events:
        if isinstance(event, BlockStart):
            opened.add(event.block)
            ever.append(event.block)
        elif isinstance(event, BlockEnd):
            opened.remove(event.block)
        elif hasattr(event, "block") and event.block is not None:
            assert event.block in opened, f"{event} outside its block"
    assert ever == list(range(len(ever)))
    if isinstance(events[-1], End):
        assert kinds[0] == "Begin"
        assert not opened
        first = kinds.index("Finish")
        assert set(kinds[first:-1]) == {"Finish"}


def texts(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def finishes(events: Iterable[Event]) -> list[Finish]:
    return [event for event in events if isinstance(event, Finish)]


def client(body: bytes, *, stream: bool, status: int = 200) -> openai.OpenAI:
    """The official client in front of one prepared answer."""
    kind = "text/event-stream" if stream else "application/json"

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-type": kind}, content=body)

    transport = httpx2.MockTransport(answer)
    return openai.OpenAI(api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport))


def sdk_streamed(body: bytes) -> Any:
    """The completion that the official client's accumulator makes of a stream."""
    with client(body, stream=True).chat.completions.stream(model="m", messages=[]) as stream:
        for _ in stream:
            pass
        return stream.current_completion_snapshot


def sdk_whole(body: bytes) -> Any:
    """The completion that the official client reads."""
    return client(body, stream=False).chat.completions.create(model="m", messages=[])
