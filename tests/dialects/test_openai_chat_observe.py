"""The observer of a chat stream that passes through: byte-exact, and right about start, end, usage and faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.events import Stop
from fastanchor.core.faults import Kind
from fastanchor.dialects.openai_chat.decode import ChatDecoder
from fastanchor.dialects.openai_chat.observe import ChatObserver
from tests.conftest import RECORDINGS
from tests.dialects.chat_kit import chunk, cut, decoded, frames, observed, pieces, sdk_streamed, texts

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
STREAMS = [
    *(f"openai-chat/{name}.sse" for name in (
        "text-include-usage", "stream-cached-and-reasoning-usage", "parallel-tool-calls", "n2-interleaved-choices",
        "n3-json-schema", "refusal", "refusal-logprobs", "content-logprobs", "finish-length", "moderation-chunk",
        "azure-empty-first-choices",
    )),
    *(f"openai-compat/{name}.sse" for name in (
        "openrouter-reasoning", "openrouter-cached-usage", "groq-tool-call", "deepseek-tool-call",
        "mistral-reasoning-content-array", "mistral-incremental-tool-call", "xai-tool-call-whole", "alibaba-tool-call",
        "kimi-tool-id-repeated", "tool-arguments-null",
    )),
]  # fmt: skip


def last_usage(data: bytes) -> dict[str, Any]:
    lines = [line[6:] for line in data.splitlines() if line.startswith(b"data: {")]
    found = [usage for line in lines if (usage := orjson.loads(line).get("usage"))]
    return dict(found[-1])


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_client_that_asked_for_usage_gets_every_byte(recordings: Path, name: str, size: int) -> None:
    data = (recordings / name).read_bytes()
    choices = 3 if "n3" in name else 2 if "n2" in name else 1
    observer = ChatObserver(asked=True, choices=choices)
    assert observed(observer, pieces(data, size)) == data.rstrip(b"\n") + b"\n\n"
    assert observer.started
    assert observer.complete
    assert observer.fault is None
    assert observer.usage.input == last_usage(data)["prompt_tokens"]


@pytest.mark.parametrize("name", STREAMS)
@given(at=st.lists(st.integers(0, 100_000), max_size=8))
def test_any_split_gives_the_same_bytes_and_facts(name: str, at: list[int]) -> None:
    path = RECORDINGS / name
    if not path.is_file():
        pytest.skip("no recordings")
    data = path.read_bytes()
    whole, parts = ChatObserver(asked=False), ChatObserver(asked=False)
    assert observed(whole, [data]) == observed(parts, cut(data, at))
    assert (whole.usage, whole.stop, whole.output_estimate) == (parts.usage, parts.stop, parts.output_estimate)


def test_the_usage_chunk_is_hidden_from_a_client_that_did_not_ask() -> None:
    text, finish = chunk({"content": "hi"}), chunk(reason="stop")
    usage = {**chunk(), "choices": [], "usage": USAGE}
    observer = ChatObserver(asked=False)
    assert observed(observer, [frames(text, finish, usage)]) == frames(text, finish)
    assert (observer.usage.input, observer.usage.output) == (3, 4)
    assert observer.stop is Stop.END


@pytest.mark.parametrize("kept", [
    {**chunk(reason="stop"), "usage": USAGE},
    {**chunk({"content": "x"}), "usage": USAGE},
    {**chunk(), "choices": [], "usage": USAGE, "moderation": {"input": {}}},
    {**chunk(), "choices": [], "prompt_filter_results": []},
])  # fmt: skip
def test_usage_beside_something_else_stays(kept: dict[str, Any]) -> None:
    stream = frames(chunk({"content": "hi"}), kept, chunk(reason="stop"))
    assert observed(ChatObserver(asked=False), [stream]) == stream


@pytest.mark.parametrize(
    ("extra", "tokens", "cost"),
    [
        ({"x_groq": {"usage": USAGE}}, (3, 4), None),
        ({"usage": {**USAGE, "cost": 0.000837}}, (3, 4), 837),
        ({"usage": {**USAGE, "cost_in_usd_ticks": 1_330_500}}, (3, 4), 133),
        ({"usage": {"prompt_tokens": "3", "completion_tokens": -1}}, (None, None), None),
        ({"usage": {"prompt_tokens": True, "completion_tokens": 4.0}}, (None, 4), None),
        ({"usage": []}, (None, None), None),
    ],
)
def test_usage_in_every_vendors_place(extra: dict[str, Any], tokens: tuple[Any, Any], cost: int | None) -> None:
    observer = ChatObserver(asked=False)
    observed(observer, [frames(chunk({"content": "a"}), {**chunk(reason="stop"), **extra})])
    assert (observer.usage.input, observer.usage.output) == tokens
    assert observer.usage.cost == cost


def test_counters_are_cumulative() -> None:
    observer = ChatObserver(asked=True)
    first = {**chunk({"content": "a"}), "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    observed(observer, [frames(first, {**chunk(reason="stop"), "usage": USAGE})])
    assert observer.usage.output == 4


def test_nothing_has_started_before_the_first_content() -> None:
    observer = ChatObserver(asked=False)
    role = frames(chunk({"role": "assistant", "content": ""}), done=False)
    assert observer.feed(b": comment\n\n" + role) == b": comment\n\n" + role
    assert not observer.started
    observer.feed(frames(chunk({"content": "x"}), done=False))
    assert observer.started


@pytest.mark.parametrize("delta", [
    {"content": "x"}, {"refusal": "x"}, {"reasoning_content": "x"}, {"reasoning": "x"}, {"tool_calls": [{}]},
    {"content": [{"type": "text", "text": "x"}]}, {"function_call": {"name": "f"}},
])  # fmt: skip
def test_every_kind_of_content_starts(delta: dict[str, Any]) -> None:
    observer = ChatObserver(asked=False)
    observer.feed(frames(chunk(delta), done=False))
    assert observer.started


ERRORS = [
    b'data: {"error":{"message":"boom","type":"server_error"}}\n\n',
    b'event: error\ndata: {"error":{"message":"boom"}}\n\n',
    b'event: error\ndata: {"message":"boom"}\n\n',
    b'data: {"id":"x","choices":[{"index":0,"delta":{"content":""}}],"error":{"code":502,"message":"boom"}}\n\n',
    b'data: {"object":"error","message":"boom"}\n\n',
    b'{"error": {"message": "boom"}}\n\n',
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("early", [True, False])
def test_an_error_ends_the_forwarding_before_its_frame(error: bytes, early: bool) -> None:
    good = b"" if early else frames(chunk({"content": "a"}), chunk({"content": "b"}), done=False)
    observer = ChatObserver(asked=True)
    assert observed(observer, pieces(good + error + b"data: [DONE]\n\n", 5)) == good
    assert observer.fault is not None
    assert observer.fault.kind in (Kind.IN_BAND_ERROR, Kind.UPSTREAM_ERROR)
    assert not observer.complete
    assert "boom" not in observer.fault.message


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("groq-event-error-midstream", Kind.IN_BAND_ERROR),
        ("openrouter-comments-midstream-error", Kind.PROVIDER_REJECTED),  # its code is the status 400
    ],
)
def test_recorded_errors_are_faults(recordings: Path, name: str, kind: Kind) -> None:
    data = (recordings / f"openai-compat/{name}.sse").read_bytes()
    observer = ChatObserver(asked=True)
    out = observed(observer, pieces(data, 11))
    assert observer.fault is not None
    assert observer.fault.kind is kind
    assert data.startswith(out)
    assert b'"error"' not in out


def test_a_clean_end_after_the_finish_is_whole_and_gets_its_done() -> None:
    stream = frames(chunk({"content": "a"}), chunk(reason="stop"), done=False)
    observer = ChatObserver(asked=True)
    assert observed(observer, [stream]) == stream + b"data: [DONE]\n\n"
    assert observer.complete


def test_a_clean_end_before_the_finish_is_truncated() -> None:
    observer = ChatObserver(asked=True)
    stream = frames(chunk({"content": "a"}), done=False)
    assert observed(observer, [stream]) == stream
    assert observer.fault is not None
    assert observer.fault.kind is Kind.TRUNCATED


def test_every_choice_must_finish() -> None:
    observer = ChatObserver(asked=True, choices=2)
    first, second = chunk({"content": "a"}), chunk({"content": "a"}, index=1)
    observed(observer, [frames(first, second, chunk(reason="stop"), done=False)])
    assert observer.fault is not None
    assert observer.fault.kind is Kind.TRUNCATED


@pytest.mark.parametrize("stream", [b"", b": only comments\n\n", b"data: [DONE]\n\n"])
def test_a_stream_without_an_answer_is_empty(stream: bytes) -> None:
    observer = ChatObserver(asked=True)
    observed(observer, [stream])
    assert observer.fault is not None
    assert observer.fault.kind is Kind.EMPTY_ANSWER


def test_a_last_frame_without_its_blank_line_counts_when_it_is_whole() -> None:
    stream = frames(chunk({"content": "a"}), chunk(reason="stop"), done=False)
    observer = ChatObserver(asked=True)
    assert observed(observer, [stream.rstrip(b"\n")]) == stream + b"data: [DONE]\n\n"
    half = ChatObserver(asked=True)
    observed(half, [stream[:-30]])
    assert half.fault is not None
    assert half.fault.kind is Kind.TRUNCATED


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
@pytest.mark.parametrize("size", [3, 10_000])
def test_a_whole_answer_in_place_of_a_stream_is_framed(end: bytes, size: int) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "hi", "tool_calls": [call, {**call, "id": "b"}]}
    document = {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
    }  # fmt: skip
    observer = ChatObserver(asked=True)
    out = observed(observer, pieces(orjson.dumps(document, option=orjson.OPT_INDENT_2) + end, size))
    assert observer.complete
    assert observer.usage.known
    answer = sdk_streamed(out)
    assert answer.choices[0].message.content == "hi"
    assert [c.id for c in answer.choices[0].message.tool_calls] == ["a", "b"]


def test_data_that_is_no_json_is_a_fault_where_it_is_looked_at() -> None:
    observer = ChatObserver(asked=True)
    assert observer.feed(b'data: {"choices": [{"delta"\n\n') == b""
    assert observer.fault is not None
    assert observer.fault.kind is Kind.MALFORMED_ANSWER


@pytest.mark.parametrize("word", [b"ping", b"PROCESSING", b": hello"])
def test_a_word_in_the_midst_that_is_no_chunk_is_left_out(word: bytes) -> None:
    events = [frames(chunk({"content": text}), done=False) for text in "ab"]
    end = frames(chunk(reason="stop"))
    out = observed(ChatObserver(asked=True), [events[0], b"data: " + word + b"\n\n", events[1], end])
    assert out == events[0] + events[1] + end
    said_too = decoded(ChatDecoder(), [events[0], b"data: " + word + b"\n\n", events[1], end])
    assert texts(said_too) == "ab"


def test_an_event_beyond_the_cap_is_a_fault() -> None:
    observer = ChatObserver(asked=True)
    piece = b"data: " + b"x" * (1024 * 1024)
    for _ in range(10):
        observer.feed(piece)
    assert observer.fault is not None
    assert observer.fault.kind is Kind.MALFORMED_ANSWER


def test_nothing_is_forwarded_after_done() -> None:
    observer = ChatObserver(asked=True)
    whole = frames(chunk({"content": "a"}), chunk(reason="stop"))
    assert observed(observer, [whole + frames(chunk({"content": "more"})), b"data: x\n\n"]) == whole


def test_text_that_looks_like_a_marker_is_text() -> None:
    tricky = 'say "error": [DONE] and "finish_reason":"stop" and "usage":{"prompt_tokens":9}'
    stream = frames(chunk({"content": "a"}), chunk({"content": tricky}), done=False)
    observer = ChatObserver(asked=True)
    assert observer.feed(stream) == stream
    assert observer.fault is None
    assert not observer.complete
    assert observer.usage.input is None


def test_the_estimate_covers_answers_without_usage() -> None:
    observer = ChatObserver(asked=True)
    observed(observer, [frames(chunk({"content": "x" * 4000}), chunk(reason="stop"))])
    assert 1000 <= observer.output_estimate <= 1010
    many = ChatObserver(asked=True)
    observed(many, [frames(*[chunk({"content": "a"}) for _ in range(50)], chunk(reason="stop"))])
    assert 50 <= many.output_estimate <= 53


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
def test_no_bytes_can_break_it(noise: bytes, at: list[int]) -> None:
    observer = ChatObserver(asked=False)
    observed(observer, cut(b"data: " + noise, at))
    assert observer.complete or observer.fault is not None


CUT_OFF = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"lor\n\n'


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_event_that_is_cut_off_in_the_midst_ends_the_answer(size: int) -> None:
    first, second, last = (
        frames(one, done=False) for one in (chunk({"content": "a"}), chunk({"content": "b"}), chunk(reason="stop"))
    )
    observer = ChatObserver(asked=True)
    sent = first + second + CUT_OFF + last + b"data: [DONE]\n\n"
    assert observed(observer, pieces(sent, size)) == first + second
    assert observer.fault is not None
    assert (observer.complete, observer.fault.kind) == (False, Kind.MALFORMED_ANSWER)
