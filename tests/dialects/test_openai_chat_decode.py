"""Chat answers as events: recordings at every split, the vendors' habits, and no bytes that break the decoder."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockStart,
    Counted,
    End,
    Event,
    Failed,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Kind
from fastanchor.dialects.openai_chat import DIALECT
from fastanchor.dialects.openai_chat.choice import MAX_TOOLS
from fastanchor.dialects.openai_chat.decode import MAX_BLOCKS, MAX_CHOICES, ChatDecoder
from tests.dialects.chat_kit import (
    check_grammar,
    chunk,
    cut,
    decoded,
    finishes,
    frames,
    pieces,
    said,
    sdk_streamed,
    texts,
    tool,
)

EXPECTED: dict[str, tuple[Stop, int, int]] = {  # stop, prompt tokens, completion tokens
    "openai-chat/text-include-usage.sse": (Stop.END, 12, 5),
    "openai-chat/stream-cached-and-reasoning-usage.sse": (Stop.MAX_TOKENS, 12, 100),
    "openai-chat/parallel-tool-calls.sse": (Stop.TOOL_CALLS, 75, 51),
    "openai-chat/n2-interleaved-choices.sse": (Stop.END, 26, 104),
    "openai-chat/n3-json-schema.sse": (Stop.END, 79, 42),
    "openai-chat/refusal.sse": (Stop.REFUSAL, 79, 11),
    "openai-chat/refusal-logprobs.sse": (Stop.REFUSAL, 79, 12),
    "openai-chat/content-logprobs.sse": (Stop.END, 9, 2),
    "openai-chat/finish-length.sse": (Stop.MAX_TOKENS, 79, 1),
    "openai-chat/moderation-chunk.sse": (Stop.END, 13, 11),
    "openai-chat/azure-empty-first-choices.sse": (Stop.END, 15, 78),
    "openai-compat/openrouter-reasoning.sse": (Stop.END, 43, 36),
    "openai-compat/openrouter-cached-usage.sse": (Stop.END, 254, 5),
    "openai-compat/groq-tool-call.sse": (Stop.TOOL_CALLS, 304, 49),
    "openai-compat/deepseek-tool-call.sse": (Stop.TOOL_CALLS, 339, 83),
    "openai-compat/mistral-reasoning-content-array.sse": (Stop.END, 10, 46),
    "openai-compat/mistral-incremental-tool-call.sse": (Stop.TOOL_CALLS, 171, 14),
    "openai-compat/xai-tool-call-whole.sse": (Stop.TOOL_CALLS, 291, 222),
    "openai-compat/alibaba-tool-call.sse": (Stop.TOOL_CALLS, 295, 22),
    "openai-compat/kimi-tool-id-repeated.sse": (Stop.TOOL_CALLS, 57, 17),
    "openai-compat/tool-arguments-null.sse": (Stop.TOOL_CALLS, 57, 17),
}


def events_of(*chunks: dict[str, Any], done: bool = True) -> list[Event]:
    return decoded(ChatDecoder(), [frames(*chunks, done=done)])


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_recordings_give_the_same_events_at_every_split(
    recordings: Path, name: str, expected: tuple[Stop, int, int]
) -> None:
    data = (recordings / name).read_bytes()
    whole = decoded(ChatDecoder(), [data])
    check_grammar(whole)
    for size in (1, 2, 3, 5, 7, 37):
        assert decoded(ChatDecoder(), pieces(data, size)) == whole
    usage = [event.usage for event in whole if isinstance(event, Counted)][-1]
    assert {finish.stop for finish in finishes(whole)} == {expected[0]}
    assert (usage.input, usage.output) == expected[1:]


@pytest.mark.parametrize("name", [
    name for name in EXPECTED if not any(word in name for word in ("mistral", "kimi", "azure"))
])  # fmt: skip
def test_the_events_say_what_the_official_client_reads(recordings: Path, name: str) -> None:
    data = (recordings / name).read_bytes()
    completion = sdk_streamed(data)
    for choice, ours in zip(completion.choices, said(decoded(ChatDecoder(), [data])), strict=True):
        assert ours["text"] == (choice.message.content or "")
        assert ours["refusal"] == (choice.message.refusal or "")
        calls = [(call.id, call.function) for call in choice.message.tool_calls or ()]
        assert ours["tools"] == [(id, call.name, (call.arguments or "{}").encode()) for id, call in calls]


def test_a_tool_index_that_starts_at_one_is_the_first_call(recordings: Path) -> None:
    data = (recordings / "openai-compat/anthropic-compat-tool-index-starts-at-1.sse").read_bytes()
    answer = said(decoded(ChatDecoder(), [data]))[0]
    assert answer["text"] == "Reading it."
    assert answer["tools"] == [("toolu_sanitized", "read_file", b'{"path": "a.txt"}')]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("groq-event-error-midstream", Kind.IN_BAND_ERROR),
        ("openrouter-comments-midstream-error", Kind.PROVIDER_REJECTED),  # its code is the status 400
    ],
)
def test_recorded_errors_fail_after_what_was_good(recordings: Path, name: str, kind: Kind) -> None:
    events = decoded(ChatDecoder(), pieces((recordings / f"openai-compat/{name}.sse").read_bytes(), 13))
    check_grammar(events)
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind is kind
    assert any(isinstance(event, Thought) for event in events)
    assert not finishes(events)


@pytest.mark.parametrize("name", ["nonstream-n2", "nonstream-parallel-tools"])
def test_whole_answers(recordings: Path, name: str) -> None:
    body = (recordings / f"openai-chat/{name}.json").read_bytes()
    events = DIALECT.read_answer(body)
    check_grammar(events)
    message = orjson.loads(body)["choices"][0]["message"]
    assert said(events)[0]["text"] == (message["content"] or "")
    assert len(said(events)[0]["tools"]) == len(message.get("tool_calls", []))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", Kind.MALFORMED_ANSWER),
        (b"<html>", Kind.MALFORMED_ANSWER),
        (b"[]", Kind.EMPTY_ANSWER),
        (b"{}", Kind.EMPTY_ANSWER),
        (b'{"choices":[]}', Kind.EMPTY_ANSWER),
        (b'{"error":{"message":"x"}}', Kind.IN_BAND_ERROR),
        (b'[{"error":{"message":"x"}}]', Kind.IN_BAND_ERROR),
        (b'{"detail":"x"}', Kind.IN_BAND_ERROR),
        (b'{"error":{"code":"context_length_exceeded"}}', Kind.CONTEXT_LENGTH),
    ],
)
def test_whole_answers_that_are_none(body: bytes, kind: Kind) -> None:
    events = DIALECT.read_answer(body)
    assert len(events) == 1
    assert isinstance(events[0], Failed)
    assert events[0].fault.kind is kind


def test_a_whole_answer_in_place_of_a_stream() -> None:
    body = orjson.dumps({"id": "x", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]})
    events = decoded(ChatDecoder(), pieces(body, 9))
    check_grammar(events)
    assert texts(events) == "hi"


def test_logprobs_ride_on_their_text() -> None:
    score = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    piece = chunk({"content": "a"})
    piece["choices"][0]["logprobs"] = {"content": [score], "refusal": None}
    (text,) = [event for event in events_of(piece, chunk(reason="stop")) if isinstance(event, Text)]
    assert orjson.loads(text.logprobs) == [score]


REASONING = [
    {"reasoning_content": "th"},
    {"reasoning": "th"},
    {"reasoning": "th", "reasoning_details": [{"type": "reasoning.text", "text": "th"}]},
    {"reasoning_details": [{"type": "reasoning.text", "text": "th"}]},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "th"}]}]},
    {"content": [{"type": "thinking", "thinking": "th"}]},
]


@pytest.mark.parametrize("delta", REASONING)
def test_thinking_in_every_vendors_place(delta: dict[str, Any]) -> None:
    events = events_of(chunk(delta), chunk({"content": "x"}), chunk(reason="stop"))
    check_grammar(events)
    assert said(events)[0]["thought"] == "th"
    assert texts(events) == "x"


def test_a_proof_belongs_to_its_thought_and_vendor() -> None:
    row = {"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1"}
    events = events_of(
        chunk({"reasoning": "a"}), chunk({"reasoning": None, "reasoning_details": [row]}), chunk(reason="stop")
    )
    assert Signature(0, "anthropic", "sig") in events


def test_encrypted_thinking_is_a_redacted_block() -> None:
    row = {"type": "reasoning.encrypted", "data": "zzz", "format": "anthropic-claude-v1"}
    events = events_of(chunk({"reasoning_details": [row]}), chunk(reason="stop"))
    start = next(event for event in events if isinstance(event, BlockStart))
    assert (start.kind, start.dialect) == (Block.REDACTED, "anthropic")
    assert orjson.loads(start.data) == {"type": "redacted_thinking", "data": "zzz"}


def test_a_custom_tool_call_streams_free_text() -> None:
    first = {"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": "a"}}]}
    more = {"tool_calls": [{"index": 0, "custom": {"input": "b"}}]}
    events = events_of(chunk(first), chunk(more), chunk(reason="tool_calls"))
    assert next(event for event in events if isinstance(event, BlockStart)).kind is Block.CUSTOM
    assert b"".join(event.data for event in events if isinstance(event, Arguments)) == b"ab"


def test_a_deprecated_function_call_is_a_tool_call() -> None:
    events = events_of(
        chunk({"function_call": {"name": "f", "arguments": ""}}), chunk({"function_call": {"arguments": '{"a":1}'}}),
        chunk(reason="function_call"),
    )  # fmt: skip
    assert said(events)[0]["tools"] == [("function_call", "f", b'{"a":1}')]
    assert finishes(events)[0].stop is Stop.TOOL_CALLS


def test_arguments_as_an_object_become_their_text() -> None:
    call = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": {"b": 1, "a": 2}}}]}
    assert said(events_of(chunk(call), chunk(reason="stop")))[0]["tools"] == [("c", "f", b'{"b":1,"a":2}')]


def test_a_name_may_come_after_the_first_fragment() -> None:
    events = events_of(chunk(tool(0, '{"a"', id="c")), chunk(tool(0, ":1}", name="f")), chunk(reason="tool_calls"))
    check_grammar(events)
    assert said(events)[0]["tools"] == [("c", "f", b'{"a":1}')]


def test_a_call_that_never_has_a_name_cannot_be_read() -> None:
    events = events_of(chunk(tool(0, "{}", id="c")), chunk(reason="tool_calls"))
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind is Kind.MALFORMED_ANSWER


@pytest.mark.parametrize(
    ("native", "stop"),
    [
        ("stop", Stop.END), ("length", Stop.MAX_TOKENS), ("tool_calls", Stop.TOOL_CALLS),
        ("content_filter", Stop.CONTENT_FILTER), ("function_call", Stop.TOOL_CALLS), ("STOP", Stop.END),
        ("model_length", Stop.CONTEXT_WINDOW), ("made_up", Stop.UNKNOWN),
    ],
)  # fmt: skip
def test_stop_reasons(native: str, stop: Stop) -> None:
    (finish,) = finishes(events_of(chunk({"content": "x"}), chunk(reason=native)))
    assert (finish.stop, finish.native) == (stop, native)


def test_a_repeated_finish_counts_once() -> None:
    events = events_of(chunk({"content": "x"}, reason="length"), chunk({"content": ""}, reason="length"))
    check_grammar(events)
    assert len(finishes(events)) == 1


def test_text_after_a_finish_is_not_lost() -> None:
    events = events_of(chunk({"content": "x"}, reason="stop"), chunk({"content": "y"}), chunk(reason="length"))
    check_grammar(events)
    assert texts(events) == "xy"
    assert finishes(events)[0].stop is Stop.MAX_TOKENS


def test_half_a_surrogate_pair_is_a_replacement_character() -> None:
    stream = b'data: {"choices":[{"delta":{"content":"a\\ud83d"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    assert texts(decoded(ChatDecoder(), [stream])) == "a\ufffd"


def test_metadata_of_the_beginning() -> None:
    events = events_of({**chunk({"content": "x"}), "service_tier": "flex"}, chunk(reason="stop"))
    assert events[0] == Begin("c1", "m", 5, "flex")


def many(count: int) -> list[dict[str, Any]]:
    return [chunk(tool(at, "{}", id=f"c{at}", name="f")) for at in range(count)]


@pytest.mark.parametrize("stream", [
    [chunk({"content": "x"}, index=MAX_CHOICES)],
    [chunk({"content": "x"}, index=-1)],
    many(MAX_TOOLS + 1),
    [chunk({key: "x"}) for _ in range(MAX_BLOCKS) for key in ("content", "refusal")],
    [chunk(tool(0, "x" * 700_000)) for _ in range(2)],
])  # fmt: skip
def test_bounds_end_the_answer(stream: list[dict[str, Any]]) -> None:
    events = events_of(*stream)
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind is Kind.MALFORMED_ANSWER


def test_an_event_beyond_the_cap_ends_the_answer() -> None:
    decoder = ChatDecoder()
    events = [event for _ in range(10) for event in decoder.feed(b"data: " + b"x" * (1024 * 1024))]
    assert isinstance(events[-1], Failed)
    assert decoder.end() == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "index", "id",
            "finish_reason", "usage", "error", "logprobs", "reasoning_details", "type", "text", "custom", "x_groq",
        ]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(anything, max_size=4), st.booleans())
def test_no_document_can_break_it(documents: list[Any], done: bool) -> None:
    stream = b"".join(b"data: " + orjson.dumps(row) + b"\n\n" for row in documents)
    events = decoded(ChatDecoder(), [stream + (b"data: [DONE]\n\n" if done else b"")])
    check_grammar(events)


@given(st.lists(st.fixed_dictionaries({}, optional={
    "content": st.text(max_size=3) | anything, "refusal": st.text(max_size=3), "reasoning": st.text(max_size=3),
    "tool_calls": st.lists(st.fixed_dictionaries({}, optional={
        "index": st.integers(0, 3), "id": st.sampled_from(["", "a", "b"]),
        "function": st.fixed_dictionaries({}, optional={
            "name": st.sampled_from(["", "f", "g"]), "arguments": st.sampled_from([None, "", "{", "}"]),
        }),
    }), max_size=2),
}), max_size=8))  # fmt: skip
def test_deltas_in_any_order_keep_the_grammar(deltas: list[dict[str, Any]]) -> None:
    check_grammar(events_of(*[chunk(delta, index=at % 2) for at, delta in enumerate(deltas)]))


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_no_bytes_can_break_it(noise: bytes, at: list[int]) -> None:
    events = decoded(ChatDecoder(), cut(noise, at))
    assert isinstance(events[-1], (End, Failed))


def test_damaged_recordings_never_pass_for_whole_with_a_hole(recordings: Path) -> None:
    data = (recordings / "openai-chat/parallel-tool-calls.sse").read_bytes()
    generator = random.Random(7)
    whole = said(decoded(ChatDecoder(), [data]))
    for _ in range(300):
        at = generator.randrange(len(data))
        cut_off = decoded(ChatDecoder(), [data[:at]])
        if isinstance(cut_off[-1], End):
            assert said(cut_off) == whole
