"""What an upstream sends stays within bounds in every decoder: depth, size of an event, choices, tools and parts.

Past a bound the answer fails, as a malformed one; nothing is raised, and nothing is held that could grow.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import orjson
import pytest

from fastanchor._speedups._sse_pure import MAX_EVENT
from fastanchor.core.call import Call
from fastanchor.core.events import BlockStart, End, Event, Failed
from fastanchor.core.faults import Kind
from fastanchor.dialects import registry

STREAMED = ("openai_chat", "openai_completions", "openai_responses", "anthropic", "gemini")
MEGABYTE = 1 << 20
LEVELS = 200_000


def frame(dialect: str, event: dict[str, Any] | bytes, name: str = "message_start") -> bytes:
    data = event if isinstance(event, bytes) else orjson.dumps(event)
    kind = str(event.get("type")) if isinstance(event, dict) else name
    return (b"event: %b\n" % kind.encode() if dialect == "anthropic" else b"") + b"data: " + data + b"\n\n"


def decoded(dialect: str, data: bytes) -> list[Event]:
    decoder = registry.dialect(dialect).decoder()
    return [*chain.from_iterable(decoder.feed(data[at : at + 65_536]) for at in range(0, len(data), 65_536)),
            *decoder.end()]  # fmt: skip


def failed(events: list[Event]) -> bool:
    """Whether the answer ended in a failure, once, and in nothing else."""
    assert [type(event) for event in events if isinstance(event, (End, Failed))] == [Failed]
    last = events[-1]
    return isinstance(last, Failed) and last.fault.kind is Kind.MALFORMED_ANSWER


DEEP = b"[" * LEVELS + b"]" * LEVELS
TEXT: dict[str, dict[str, Any]] = {
    # an event with a text, in which DEEP may stand for the text
    "openai_chat": {"id": "x", "choices": [{"index": 0, "delta": {"content": "TEXT"}}]},
    "openai_completions": {"id": "x", "choices": [{"index": 0, "text": "TEXT"}]},
    "openai_responses": {"type": "response.output_text.delta", "output_index": 0, "delta": "TEXT"},
    "anthropic": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "TEXT"}},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "TEXT"}]}}]},
}
WHOLE: dict[str, bytes] = {
    "openai_chat": b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":%b}}]}',
    "openai_completions": b'{"id":"x","choices":[{"index":0,"text":%b}]}',
    "openai_responses": b'{"id":"x","object":"response","status":"completed","output":%b}',
    "anthropic": b'{"id":"x","type":"message","role":"assistant","content":%b,"stop_reason":"end_turn"}',
    "gemini": b'{"candidates":[{"content":{"parts":%b}}]}',
}


@pytest.mark.parametrize("dialect", STREAMED)
@pytest.mark.parametrize("data", [DEEP, b'{"a":' * LEVELS + b"1" + b"}" * LEVELS], ids=["lists", "objects"])
def test_an_event_of_any_depth_is_skipped_or_fails_the_answer(dialect: str, data: bytes) -> None:
    limit = sys.getrecursionlimit()
    events = decoded(dialect, frame(dialect, data))
    assert isinstance(events[-1], Failed)
    deep = orjson.dumps(TEXT[dialect]).replace(b'"TEXT"', data)
    events = decoded(dialect, frame(dialect, deep, str(TEXT[dialect].get("type", ""))))
    assert isinstance(events[-1], Failed)
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize("dialect", STREAMED)
def test_a_whole_answer_of_any_depth_is_a_malformed_one(dialect: str) -> None:
    assert isinstance(registry.dialect(dialect).read_answer(WHOLE[dialect] % DEEP)[-1], Failed)
    assert registry.dialect(dialect).usage_of(WHOLE[dialect] % DEEP).input is None


@pytest.mark.parametrize("dialect", STREAMED)
def test_an_event_without_an_end_fails_at_the_cap_and_is_let_go(dialect: str) -> None:
    decoder = registry.dialect(dialect).decoder()
    open_text = orjson.dumps(TEXT[dialect]).partition(b"TEXT")[0]
    told = decoder.feed(frame(dialect, open_text, str(TEXT[dialect].get("type", ""))).rstrip(b"\n"))
    for _ in range(MAX_EVENT // MEGABYTE + 2):
        told += decoder.feed(b"x" * MEGABYTE)
    assert failed(told)
    assert decoder.feed(b"x" * MEGABYTE) == []


def items(dialect: str, count: int) -> Iterator[dict[str, Any]]:
    """So many tool calls."""
    for at in range(count):
        if dialect == "openai_chat":
            call = {"index": at, "id": f"c{at}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            yield {"id": "x", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
        elif dialect == "openai_responses":
            item = {"type": "function_call", "call_id": f"c{at}", "name": "f", "arguments": ""}
            yield {"type": "response.output_item.added", "output_index": at, "item": item}
        elif dialect == "anthropic":
            block = {"type": "tool_use", "id": f"c{at}", "name": "f", "input": {}}
            yield {"type": "content_block_start", "index": at, "content_block": block}
            yield {"type": "content_block_stop", "index": at}
        else:
            yield {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}]}}]}


def parts(dialect: str, count: int) -> Iterator[dict[str, Any]]:
    """So many blocks, by changing what is said."""
    for at in range(count):
        if dialect == "openai_chat":
            yield {"id": "x", "choices": [{"index": 0, "delta": {("content", "reasoning_content")[at % 2]: "x"}}]}
        elif dialect == "openai_responses":
            yield {"type": "response.output_text.delta", "output_index": at, "content_index": 0, "delta": "x"}
        elif dialect == "anthropic":
            yield {"type": "content_block_start", "index": at, "content_block": {"type": "text", "text": "x"}}
            yield {"type": "content_block_stop", "index": at}
        else:
            yield {"candidates": [{"content": {"parts": [{"text": "x", "thought": at % 2 == 0}]}}]}


def choices(dialect: str, count: int) -> Iterator[dict[str, Any]]:
    for at in range(count):
        if dialect == "gemini":
            yield {"candidates": [{"index": at, "content": {"parts": [{"text": "x"}]}}]}
        elif dialect == "openai_chat":
            yield {"id": "x", "choices": [{"index": at, "delta": {"content": "x"}}]}
        else:
            yield {"id": "x", "choices": [{"index": at, "text": "x"}]}


BEGINS: dict[str, dict[str, Any]] = {
    "anthropic": {"type": "message_start", "message": {"id": "m", "model": "m", "usage": {"input_tokens": 1}}},
}
Flood = Callable[[str, int], Iterator[dict[str, Any]]]


@pytest.mark.parametrize(
    ("flood", "dialects", "few", "many"),
    [
        (items, ("openai_chat", "openai_responses", "anthropic", "gemini"), 512, 513),
        (parts, ("openai_chat", "openai_responses", "anthropic", "gemini"), 4096, 4097),
        (choices, ("openai_chat", "openai_completions", "gemini"), 128, 129),
    ],
)
def test_a_flood_of_calls_parts_or_choices_is_cut_off(
    flood: Flood, dialects: tuple[str, ...], few: int, many: int
) -> None:
    for dialect in dialects:
        begin = [BEGINS[dialect]] if dialect in BEGINS else []
        within = decoded(dialect, b"".join(frame(dialect, one) for one in (*begin, *flood(dialect, few))))
        assert not failed(within), dialect  # it only lacks its end
        assert sum(isinstance(event, BlockStart) for event in within) == few, dialect
        over = decoded(dialect, b"".join(frame(dialect, one) for one in (*begin, *flood(dialect, many * 2))))
        assert failed(over), dialect
        assert sum(isinstance(event, BlockStart) for event in over) <= few, dialect


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic", "gemini"])
def test_a_whole_answer_has_the_same_bounds(dialect: str) -> None:
    within, over = (registry.dialect(dialect).read_answer(whole_with_calls(dialect, count)) for count in (512, 513))
    assert isinstance(within[-1], End)
    assert failed(over)


def whole_with_calls(dialect: str, count: int) -> bytes:
    """A whole answer with so many tool calls."""
    made = list(items(dialect, count))
    if dialect == "openai_chat":
        calls = [event["choices"][0]["delta"]["tool_calls"][0] for event in made]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        return orjson.dumps({"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    if dialect == "openai_responses":
        output = [{**event["item"], "arguments": "{}"} for event in made]
        return orjson.dumps({"id": "x", "object": "response", "status": "completed", "output": output})
    if dialect == "anthropic":
        content = [event["content_block"] for event in made if "content_block" in event]
        return orjson.dumps({"id": "x", "type": "message", "content": content, "stop_reason": "tool_use"})
    found = [event["candidates"][0]["content"]["parts"][0] for event in made]
    return orjson.dumps({"candidates": [{"content": {"parts": found}, "finishReason": "STOP"}]})


@pytest.mark.parametrize("dialect", STREAMED)
def test_what_passes_through_is_held_to_the_same_size(dialect: str) -> None:
    call = Call(dialect, "m", b"{}", stream=True, include_usage=True, options={"framing": "sse"})
    observer = registry.dialect(dialect).observer(call)
    observer.feed(b"data: ")
    for _ in range(MAX_EVENT // MEGABYTE + 1):
        observer.feed(b"x" * MEGABYTE)
    assert observer.fault is not None
    assert observer.fault.kind is Kind.MALFORMED_ANSWER
