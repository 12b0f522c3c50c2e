"""The lane between real dialects against the general way: the same bytes, usage, faults and endings, for any stream.

The general way is fed byte by byte, so that it too sees event after event: what the Messages encoder puts into
`message_start` depends on what a read brings along with the beginning.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
from fastanchor.dialects import registry, translation
from fastanchor.dialects.contract import Answering
from tests.conftest import RECORDINGS
from tests.speedups.halves import both

Json: TypeAlias = dict[str, Any]

FOLDERS = {"openai-chat": "openai_chat", "openai-compat": "openai_chat", "anthropic": "anthropic", "gemini": "gemini"}
CLIENTS = ("openai_chat", "anthropic", "openai_responses")
STREAMS = sorted(str(path.relative_to(RECORDINGS)) for name in FOLDERS for path in (RECORDINGS / name).glob("*.sse"))


def translated(half: Any, source: str, client: str, parts: Iterable[bytes]) -> tuple[Any, ...]:
    """Everything that a translation tells, and how many events its lane has taken."""
    call = Call(client, "public", b"{}", stream=True, include_usage=True, prompt_tokens=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translation.translate, "Lane", half.Lane)
        relay = translation.Translation(
            registry.dialect(source), registry.dialect(client), Answering(call, "public", "req_0123", 1_700_000_000)
        )
    out = b"".join([relay.feed(part) for part in parts]) + relay.end()
    fault = relay.fault and (relay.fault.kind, relay.fault.message)
    told = (out, relay.usage, relay.output_estimate, relay.started, relay.complete, relay.stop, fault)
    return told, relay._lane.carried


def check(source: str, stream: bytes, parts: Iterable[bytes], clients: Iterable[str] = CLIENTS) -> int:
    """Both ways tell the same to every client; how many events the lanes took."""
    pure, compiled = both("translate")
    parts, taken = list(parts), 0
    for client in clients:
        if client != source:
            slow, none = translated(pure, source, client, (stream[i : i + 1] for i in range(len(stream))))
            fast, carried = translated(compiled, source, client, parts)
            assert fast == slow
            assert none == 0
            taken += carried
    return taken


def cut(stream: bytes, seed: int, size: int) -> list[bytes]:
    """The stream in random pieces of up to `size` bytes; with size 0, event by event."""
    if size == 0:
        return re.findall(rb".*?\r?\n\r?\n|.+\Z", stream, re.DOTALL)
    dice, parts, at = random.Random(seed), [], 0
    while at < len(stream):
        parts.append(stream[at : at + dice.randint(1, size)])
        at += len(parts[-1])
    return parts


@pytest.mark.parametrize("name", STREAMS)
def test_every_recording_is_translated_alike(recordings: Path, name: str) -> None:
    stream = (recordings / name).read_bytes()
    for seed, size in enumerate((0, 20, 300, 4000, 10**6)):
        check(FOLDERS[name.partition("/")[0]], stream, cut(stream, seed, size))


def test_the_lane_takes_most_of_long_recorded_streams(recordings: Path) -> None:
    for name, least in (
        ("anthropic/cache-read.sse", 30), ("gemini/citations.sse", 15), ("openai-compat/deepseek-tool-call.sse", 40),
    ):  # fmt: skip
        stream = (recordings / name).read_bytes()
        source = FOLDERS[name.partition("/")[0]]
        client = "anthropic" if source == "openai_chat" else "openai_chat"
        assert check(source, stream, cut(stream, 0, 0), [client]) >= least


# Streams of each source: a beginning, runs of deltas of one shape, what stands between them, and an end.

Delta: TypeAlias = Callable[[str], Json]


def claude(kind: str, member: str, index: int = 0) -> Delta:
    return lambda text: {"type": "content_block_delta", "index": index, "delta": {"type": kind, member: text}}


def part(**more: Any) -> Delta:
    usage = {"promptTokenCount": 7, "totalTokenCount": 9}
    return lambda text: {
        "candidates": [{"content": {"parts": [{"text": text, **more}], "role": "model"}, "index": 0}],
        "usageMetadata": {**usage, "candidatesTokenCount": len(text) + 1}, "modelVersion": "g", "responseId": "r",
    }  # fmt: skip


def chunk(make: Callable[[str], Json], **more: Any) -> Delta:
    return lambda text: {
        "id": "c", "created": 5, "model": "m",
        "choices": [{"index": 0, "delta": make(text), "logprobs": None, "finish_reason": None}],
        "usage": None, "obfuscation": text[:3], **more,
    }  # fmt: skip


def call(index: int, **more: str) -> Callable[[str], Json]:
    return lambda text: {"tool_calls": [{"index": index, **more, "function": {"arguments": text}}]}


BEGINNINGS: dict[str, list[Json]] = {
    "anthropic": [
        {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ],
    "gemini": [part()("Hi")],
    "openai_chat": [chunk(lambda text: {"role": "assistant", "content": text})("Hi")],
}
DELTAS: dict[str, list[Delta]] = {
    "anthropic": [
        claude("text_delta", "text"), claude("thinking_delta", "thinking", 1),
        claude("input_json_delta", "partial_json", 2), claude("input_json_delta", "partial_json", 3),
    ],
    "gemini": [part(), part(thought=True), part(thoughtSignature="sig")],
    "openai_chat": [
        chunk(lambda text: {"content": text}), chunk(lambda text: {"reasoning_content": text}),
        chunk(lambda text: {"reasoning": text, "reasoning_details": [{"type": "reasoning.text", "text": text}]}),
        chunk(call(0)), chunk(call(1)), chunk(lambda text: {"refusal": text}),
        chunk(lambda text: {"content": text}, usage={"prompt_tokens": 3, "completion_tokens": 4}),
        chunk(lambda text: {"tool_calls": [{"function": {"arguments": text}}]}),
    ],
}  # fmt: skip
BETWEEN: dict[str, list[Json]] = {
    "anthropic": [
        {"type": "ping"},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t", "name": "f"}},
        {"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "u", "name": "g"}},
        claude("signature_delta", "signature", 1)("proof"),
        {"type": "content_block_stop", "index": 0}, {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"}, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
    ],
    "gemini": [
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]}, "index": 0}]},
        {"candidates": [{"finishReason": "STOP", "index": 0}]},
        {"candidates": [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "index": 0}]},
        {"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "cachedContentTokenCount": 2}},
        {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}},
    ],
    "openai_chat": [
        chunk(call(0, id="a"))(""),
        chunk(lambda text: {"tool_calls": [{"index": 0, "id": "a", "function": {"name": text, "arguments": ""}}]})("f"),
        chunk(lambda text: {"tool_calls": [{"index": 1, "id": "b", "function": {"name": text}}]})("g"),
        {"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [{"token": "x"}]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"index": 1, "delta": {"content": "other"}}]},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}},
        {"error": {"message": "x"}},
    ],
}  # fmt: skip

TEXTS = st.one_of(st.sampled_from(["a", "word", " and", "\n", '{"k":', "", "assistant"]), st.text(max_size=12))


def escaped(document: bytes) -> bytes:
    """The same JSON with every character of a string that can be escaped written as `\\uXXXX`."""
    def units(found: re.Match[str]) -> str:
        data = found[0].encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{data[i:i + 2].hex()}" for i in range(0, len(data), 2))
    return re.sub(r"[^\x00-\x7f]|[<>&'/]", units, document.decode()).encode()


@st.composite
def spelled(draw: st.DrawFn, document: Json) -> bytes:
    """An event as one of the ways in which vendors, or nobody, would write it."""
    body = orjson.dumps(document)
    way = draw(st.integers(0, 9))
    if way == 0:
        body = escaped(body)
    elif way == 1:
        body = re.sub(rb'(?<=[}\]"])}', b" }", body)
    elif way == 2:
        body = orjson.dumps(dict(reversed(list(document.items()))))
    elif way == 3:
        body = draw(mutated(body))
    end = draw(st.sampled_from([b"\n\n"] * 8 + [b"\r\n\r\n", b"\r\r", b"\n: c\n\n", b"  \n\n", b"\n"]))
    name = document.get("type")
    lead = b"event: %b\n" % name.encode() if isinstance(name, str) else b""
    return lead + b"data: " + body + end


@st.composite
def mutated(draw: st.DrawFn, body: bytes) -> bytes:
    """The same bytes but for one place."""
    at = draw(st.integers(0, len(body) - 1))
    new = draw(st.sampled_from([b"", b"\x00", b'"', b"\\", b"\\u", b"1", b" ", b"{", b"}", b",", b"\xff", b"\xc3\xa9"]))
    return body[:at] + new + body[at + draw(st.integers(0, 2)) :]


@st.composite
def streams(draw: st.DrawFn, source: str) -> bytes:
    """Runs of one or two shapes, which go on after whatever comes between them."""
    out = [plain(document) for document in BEGINNINGS[source]]
    shapes = draw(st.lists(st.sampled_from(DELTAS[source]), min_size=1, max_size=2))
    for _ in range(draw(st.integers(1, 6))):
        between = draw(st.sampled_from(BETWEEN[source]))
        out.append(plain(between) if draw(st.integers(0, 3)) else draw(spelled(between)))
        shape = draw(st.sampled_from(shapes))
        out += [plain(shape(text)) for text in draw(st.lists(TEXTS, max_size=5))]
        if draw(st.booleans()):
            out.append(draw(spelled(shape(draw(TEXTS)))))
    if draw(st.booleans()):
        out += [plain(document) for document in BETWEEN[source]]
        out.append(b"data: [DONE]\n\n")
    return b"".join(out)


def plain(document: Json) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


@pytest.mark.parametrize("source", sorted(BEGINNINGS))
@given(data=st.data(), seed=st.integers(0, 99), size=st.sampled_from([0, 0, 15, 200, 10**6]))
def test_any_stream_is_translated_alike(source: str, data: st.DataObject, seed: int, size: int) -> None:
    stream = data.draw(streams(source))
    check(source, stream, cut(stream, seed, size))


@pytest.mark.parametrize("source", sorted(BEGINNINGS))
def test_the_generated_shapes_are_taken(source: str) -> None:
    """Else the test above would compare the general way with itself."""
    opening = [document for document in BETWEEN[source] if document.get("type") == "content_block_start"]
    for shape in DELTAS[source][:2]:
        documents = [*BEGINNINGS[source], *opening, *(shape(text) for text in ("a", "bc", "d", "\u00e9", "f"))]
        parts = [plain(document) for document in documents]
        assert check(source, b"".join(parts), parts) >= 2
