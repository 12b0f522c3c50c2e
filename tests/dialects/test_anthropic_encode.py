"""The Messages encoder: what official accumulators demand, for every order of events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor._speedups import sse as frames
from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockEnd,
    BlockStart,
    Citation,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Raw,
    Refusal,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Prompt, Reasoning
from fastanchor.core.usage import Usage
from fastanchor.dialects.anthropic import DIALECT
from fastanchor.dialects.anthropic import encode as encoding
from tests.kit.anthropic import MODEL, answering, decoded, split, streamed

STREAMS = (
    "cache-read", "cache-write", "compaction", "fallback-model-switch", "max-tokens-partial-json", "parallel-tool-use",
    "prefill-stop-sequence", "redacted-thinking", "refusal-stop-details", "server-tool-refusal", "server-tool-search",
    "text", "thinking-text", "thinking-then-refusal", "thinking-tool-use", "tool-use",
)  # fmt: skip


def encoded(events: list[Event], *, done: bool = False, **members: Any) -> bytes:
    return DIALECT.encoder(answering(done=done, **members)).feed(events)


def documents(data: bytes) -> list[dict[str, Any]]:
    """The data of all frames, after a check of the rules that hold for every frame."""
    out = []
    for event in frames.Decoder().feed(data):
        if event.data == b"[DONE]":
            assert event.event == b""
            continue
        document = orjson.loads(event.data)
        assert event.event.decode() == document["type"]
        out.append(document)
    return out


def kept_wire(data: bytes) -> list[dict[str, Any]]:
    """Contiguous indices, one block open at a time, deltas in the open block, one start, one end."""
    told = [document for document in documents(data) if document["type"] != "ping"]
    assert told[0]["type"] == "message_start"
    assert told[0]["message"]["usage"]["input_tokens"] > 0
    current, following = -1, 0
    for document in told[1:]:
        if document["type"] == "content_block_start":
            assert current == -1
            assert document["index"] == following
            current, following = following, following + 1
        elif document["type"] == "content_block_delta":
            assert document["index"] == current
        elif document["type"] == "content_block_stop":
            assert document["index"] == current
            current = -1
    assert current == -1
    assert told[-1]["type"] == "message_stop"
    assert told[-2]["type"] == "message_delta"
    assert told[-2]["delta"]["stop_reason"]
    assert told[-2]["usage"]["output_tokens"] is not None
    return told


def answer(*events: Event, finish: Stop = Stop.END, usage: Usage | None = None) -> list[Event]:
    counted = [Counted(usage)] if usage is not None else []
    return [Begin("msg_1", "m"), *events, Finish(finish), *counted, End()]


@pytest.mark.parametrize("name", STREAMS)
def test_recording_means_the_same_to_the_official_client_when_written_again(recordings: Path, name: str) -> None:
    data = (recordings / "anthropic" / f"{name}.sse").read_bytes().rstrip(b"\n") + b"\n\n"
    again = encoded(decoded(data), done=True)
    kept_wire(again)
    ours, theirs = streamed(again).to_dict(warnings=False), streamed(data).to_dict(warnings=False)
    for message in (ours, theirs):
        message.pop("model")  # the client's name stands in ours
        for block in message["content"]:
            block.pop("caller", None)
    assert ours["content"] == theirs["content"]
    assert ours["stop_reason"] == theirs["stop_reason"]
    assert ours["stop_sequence"] == theirs["stop_sequence"]
    assert ours["stop_details"] == theirs.get("stop_details")
    for counter in ("input_tokens", "output_tokens"):
        assert ours["usage"][counter] == theirs["usage"][counter]
    for counter in ("cache_creation_input_tokens", "cache_read_input_tokens"):
        assert ours["usage"][counter] == (theirs["usage"].get(counter) or 0)


@pytest.mark.parametrize("name", ["thinking-tool-use", "server-tool-search", "max-tokens-partial-json"])
def test_events_one_by_one_give_the_same_frames(recordings: Path, name: str) -> None:
    events = decoded((recordings / "anthropic" / f"{name}.sse").read_bytes())
    encoder = DIALECT.encoder(answering())
    single = b"".join(encoder.feed([event]) for event in events)
    assert documents(single)[1:] == documents(encoded(events))[1:]  # the first may carry usage that came with Begin


def test_the_first_frames_are_message_start_with_an_estimate_and_a_ping() -> None:
    told = documents(encoded([Begin("chatcmpl-1", "gpt")], prompt_tokens=321))
    assert [document["type"] for document in told] == ["message_start", "ping"]
    message = told[0]["message"]
    assert message["id"] == "msg_req_1"
    assert message["model"] == MODEL
    assert message["usage"]["input_tokens"] == 321
    assert message["stop_reason"] is None


def test_usage_that_comes_with_begin_is_exact_in_message_start() -> None:
    told = documents(encoded([Begin("msg_1", "m"), Counted(Usage(input=30, cache_read=10))]))
    assert told[0]["message"]["usage"]["input_tokens"] == 20
    assert told[0]["message"]["usage"]["cache_read_input_tokens"] == 10


def test_the_exact_counts_stand_in_message_delta() -> None:
    usage = Usage(input=100, output=9, cache_read=60, cache_write=30, cache_write_1h=10, reasoning=4, searches=2)
    told = kept_wire(encoded(answer(usage=usage)))
    assert told[-2]["usage"] == {
        "input_tokens": 10, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 60, "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
    }  # fmt: skip


def test_usage_that_never_comes_is_estimated() -> None:
    told = kept_wire(encoded(answer(BlockStart(0, Block.TEXT), Text(0, "x" * 400), BlockEnd(0)), prompt_tokens=55))
    assert told[-2]["usage"]["input_tokens"] == 55
    assert 90 <= told[-2]["usage"]["output_tokens"] <= 110


@pytest.mark.parametrize("done", [True, False])
def test_done_follows_message_stop_only_when_it_is_set(done: bool) -> None:
    data = encoded(answer(), done=done)
    assert data.endswith(b"data: [DONE]\n\n") is done
    assert data.count(b"message_stop") == 2
    assert streamed(data).stop_reason == "end_turn"


def test_overlapping_tools_wait_for_their_turn() -> None:
    data = encoded(
        answer(
            BlockStart(0, Block.TOOL, tool_id="a", tool_name="f"),
            BlockStart(1, Block.TOOL, tool_id="b", tool_name="g"),
            Arguments(1, b'{"y"'), Arguments(0, b'{"x"'), Arguments(1, b":2}"), Arguments(0, b":1}"),
            BlockEnd(1), BlockEnd(0), finish=Stop.TOOL_CALLS,
        )
    )  # fmt: skip
    kept_wire(data)
    content = streamed(data).content
    assert [(block.id, block.name, block.input) for block in content] == [("a", "f", {"x": 1}), ("b", "g", {"y": 2})]


def test_a_character_cut_between_arguments_is_whole() -> None:
    raw = '{"x":"é😀"}'.encode()
    for at in range(len(raw) + 1):
        start = BlockStart(0, Block.TOOL, tool_id="a", tool_name="f")
        data = encoded(answer(start, Arguments(0, raw[:at]), Arguments(0, raw[at:]), BlockEnd(0)))
        assert streamed(data).content[0].input == {"x": "é😀"}


def test_a_refusal_is_text_and_a_reason() -> None:
    message = streamed(encoded(answer(BlockStart(0, Block.REFUSAL), Refusal(0, "No."), BlockEnd(0))))
    assert message.content[0].text == "No."
    assert message.stop_reason == "refusal"


def test_a_custom_call_is_an_object_with_the_input() -> None:
    start = BlockStart(0, Block.CUSTOM, tool_id="a", tool_name="f")
    message = streamed(encoded(answer(start, Arguments(0, b'say "hi"\n'), Arguments(0, b"now"), BlockEnd(0))))
    assert message.content[0].input == {"input": 'say "hi"\nnow'}
    assert message.stop_reason == "tool_use"


def test_what_only_another_vendor_understands_is_left_out() -> None:
    told = kept_wire(
        encoded(
            answer(
                BlockStart(0, Block.REDACTED, dialect="openai_responses", data=b"{}"), BlockEnd(0),
                BlockStart(1, Block.THOUGHT), Thought(1, "hm"), Signature(1, "gemini", "sig"), BlockEnd(1),
                BlockStart(2, Block.HOSTED, dialect="openai_responses", data=b"{}"), Raw(2, "openai_responses", b"{}"),
                BlockEnd(2),
                BlockStart(3, Block.TEXT), Text(3, "Hi"), Citation(3, "gemini", b"{}"), BlockEnd(3),
                BlockStart(4, Block.TEXT, choice=1), Text(4, "other choice"), BlockEnd(4),
            )
        )
    )  # fmt: skip
    deltas = [document["delta"] for document in told if document["type"] == "content_block_delta"]
    assert deltas == [{"type": "thinking_delta", "thinking": "hm"}, {"type": "text_delta", "text": "Hi"}]


@pytest.mark.parametrize(
    ("reasoning", "shown"),
    [(None, False), (Reasoning("on", include=True), True), (Reasoning("auto"), False), (Reasoning("off"), False)],
)
def test_thinking_goes_to_a_client_that_asked_for_it(reasoning: Reasoning | None, shown: bool) -> None:
    events = answer(BlockStart(0, Block.THOUGHT), Thought(0, "hm"), BlockEnd(0))
    data = encoded(events, prompt=Prompt(reasoning=reasoning))
    assert (b"thinking_delta" in data) is shown


def test_ids_are_legal_and_each_once() -> None:
    blocks = [
        event
        for n, name in enumerate(["functions.get:0", "functions.get:0", "", "ok-1"])
        for event in (BlockStart(n, Block.TOOL, tool_id=name, tool_name="f"), BlockEnd(n))
    ]
    ids = [block.id for block in streamed(encoded(answer(*blocks))).content]
    assert ids == ["functions_get_0", "functions_get_0_2", "toolu_req_1_2", "ok-1"]


def test_a_failure_is_an_error_event_and_the_last() -> None:
    events = [Begin("", ""), BlockStart(0, Block.TEXT), Text(0, "Hi"), Failed(Fault(Kind.STALLED)), End()]
    told = documents(encoded(events))
    assert told[-1]["type"] == "error"
    assert told[-1]["error"]["type"] == "api_error"
    assert not any(document["type"] == "message_stop" for document in told)


def test_pings_are_passed_on() -> None:
    assert encoded([Begin("", ""), Ping()]).count(b"event: ping") == 2


def test_half_a_surrogate_pair_does_not_break_the_stream() -> None:
    data = encoded(answer(BlockStart(0, Block.TEXT), Text(0, "a\ud83d"), BlockEnd(0)))
    assert streamed(data).content[0].text == "a?"


def test_blocks_that_wait_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_WAITING", 1000)
    start = [BlockStart(n, Block.TOOL, tool_id=str(n), tool_name="f") for n in range(2)]
    told = documents(encoded([Begin("", ""), *start, *[Arguments(1, b"x" * 100)] * 20]))
    assert told[-1]["type"] == "error"


@st.composite
def event_streams(draw: st.DrawFn) -> list[Event]:
    """Any answer in the grammar of `core.events`, blocks overlapping in any way."""
    kinds = draw(st.lists(st.sampled_from([Block.TEXT, Block.TOOL, Block.THOUGHT, Block.REFUSAL]), max_size=5))
    events: list[Event] = [Begin("", "")]
    running: list[int] = []
    waiting = list(enumerate(kinds))
    while waiting or running:
        step = draw(st.sampled_from(["open", "say", "say", "close", "ping"]))
        if step == "open" and waiting:
            number, kind = waiting.pop(0)
            events.append(BlockStart(number, kind, tool_id=f"t{number}", tool_name="f"))
            running.append(number)
        elif step == "close" and running:
            events.append(BlockEnd(running.pop(draw(st.integers(0, len(running) - 1)))))
        elif step == "say" and running:
            events.append(_saying(draw, running, kinds))
        elif step == "ping":
            events.append(Ping())
        elif not running:
            number, kind = waiting.pop(0)
            events.append(BlockStart(number, kind, tool_id=f"t{number}", tool_name="f"))
            running.append(number)
        elif not waiting:
            events.append(BlockEnd(running.pop()))
    return [*events, Finish(draw(st.sampled_from(list(Stop)))), End()]


def _saying(draw: st.DrawFn, running: list[int], kinds: list[Block]) -> Event:
    number = draw(st.sampled_from(running))
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5))
    if kinds[number] is Block.TOOL:
        return Arguments(number, text.encode())
    return {Block.TEXT: Text, Block.THOUGHT: Thought, Block.REFUSAL: Refusal}[kinds[number]](number, text)


def _said(events: list[Event]) -> dict[int, str]:
    out: dict[int, str] = {event.block: "" for event in events if isinstance(event, BlockStart)}
    for event in events:
        if isinstance(event, (Text, Thought, Refusal)):
            out[event.block] += event.text
        elif isinstance(event, Arguments):
            out[event.block] += event.data.decode()
    return out


@given(event_streams(), st.integers(0, 99))
def test_any_stream_of_events_keeps_the_wire_and_comes_back_the_same(events: list[Event], seed: int) -> None:
    data = encoded(events)
    kept_wire(data)
    decoder = DIALECT.decoder()
    again: list[Event] = []
    for piece in split(data, seed):
        again += decoder.feed(piece)
    said, came = _said(events), _said(again + decoder.end())
    order = [event.block for event in events if isinstance(event, BlockStart)]
    assert [said[number] for number in order] == [came[number] for number in sorted(came)]
