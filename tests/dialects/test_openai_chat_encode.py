"""Events as chat answers, streamed and whole, judged by the official client."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
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
    BlockEnd,
    BlockStart,
    Citation,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Refusal,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.openai_chat import DIALECT
from fastanchor.dialects.openai_chat.decode import ChatDecoder
from tests.dialects.chat_kit import (
    answering,
    check_grammar,
    client,
    decoded,
    payloads,
    said,
    sdk_streamed,
    sdk_whole,
)
from tests.dialects.test_openai_chat_decode import EXPECTED

BEGIN = Begin("up", "up-model")
ENDING = (Finish(Stop.END), End())


def text(block: int, said: str, choice: int = 0) -> list[Event]:
    return [BlockStart(block, Block.TEXT, choice), Text(block, said), BlockEnd(block)]


def call(block: int, *arguments: bytes, name: str = "f", id: str = "c", choice: int = 0) -> list[Event]:
    start = BlockStart(block, Block.TOOL, choice, tool_id=id, tool_name=name)
    return [start, *(Arguments(block, data) for data in arguments), BlockEnd(block)]


def stream(*events: Event, usage: bool = True, **options: str) -> bytes:
    return DIALECT.encoder(answering(usage=usage, **options)).feed(events)


def whole(*events: Event, **options: str) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(DIALECT.write_answer(events, answering(**options)))
    return document


@pytest.mark.parametrize("name", EXPECTED)
def test_recordings_survive_the_way_through_events(recordings: Path, name: str) -> None:
    events = decoded(ChatDecoder(), [(recordings / name).read_bytes()])
    again = decoded(ChatDecoder(), [stream(*events)])
    check_grammar(again)
    assert said(again) == said(events)
    assert said(DIALECT.read_answer(DIALECT.write_answer(events, answering()))) == said(events)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_official_client_reads_both_forms_alike(recordings: Path, name: str) -> None:
    events = decoded(ChatDecoder(), [(recordings / name).read_bytes()])
    streamed = sdk_streamed(stream(*events))
    answer = sdk_whole(DIALECT.write_answer(events, answering()))
    assert streamed.id == answer.id == "chatcmpl-0123"
    assert streamed.model == answer.model == "public"
    assert streamed.usage == answer.usage
    for one, other, ours in zip(streamed.choices, answer.choices, said(events), strict=True):
        assert one.finish_reason == other.finish_reason
        assert (one.message.content or "") == (other.message.content or "") == ours["text"]
        assert (one.message.refusal or "") == (other.message.refusal or "") == ours["refusal"]
        for read in (one, other):
            calls = [(c.id, c.function.name, c.function.arguments.encode()) for c in read.message.tool_calls or ()]
            assert calls == ours["tools"]
        assert one.logprobs == other.logprobs


def test_the_order_of_a_stream() -> None:
    first, second, third, last = payloads(stream(BEGIN, *text(0, "hi"), *ENDING))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert second["choices"][0] == {"index": 0, "delta": {"content": "hi"}, "logprobs": None, "finish_reason": None}
    assert third["choices"][0]["delta"] == {}
    assert third["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert all(chunk["usage"] is None for chunk in (first, second, third))
    assert {chunk["id"] for chunk in (first, second, third, last)} == {"chatcmpl-0123"}
    assert {chunk["created"] for chunk in (first, second, third, last)} == {1_700_000_000}


def test_usage_is_sent_to_those_who_asked_only() -> None:
    events = (BEGIN, *text(0, "hi"), Counted(Usage(input=9, output=2, cache_read=4, reasoning=1)), *ENDING)
    usage = payloads(stream(*events))[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (9, 2, 11)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 4
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 1
    unasked = stream(*events, usage=False)
    assert b'"usage"' not in unasked
    assert unasked.endswith(b"data: [DONE]\n\n")


def test_usage_that_never_came_is_estimated_and_not_zero() -> None:
    usage = payloads(stream(BEGIN, *text(0, "x" * 400), *ENDING))[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 100)
    assert whole(BEGIN, *text(0, "x" * 400), *ENDING)["usage"]["completion_tokens"] == 100


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (Stop.END, "stop"), (Stop.STOP_SEQUENCE, "stop"), (Stop.MAX_TOKENS, "length"), (Stop.CONTEXT_WINDOW, "length"),
        (Stop.TOOL_CALLS, "stop"), (Stop.CONTENT_FILTER, "content_filter"), (Stop.REFUSAL, "content_filter"),
        (Stop.PAUSE, "stop"), (Stop.UNKNOWN, "stop"),
    ],
)  # fmt: skip
def test_every_stop_has_a_finish_reason(stop: Stop, reason: str) -> None:
    events = (BEGIN, *text(0, "x"), Finish(stop), End())
    assert payloads(stream(*events))[-2]["choices"][0]["finish_reason"] == reason
    assert whole(*events)["choices"][0]["finish_reason"] == reason


def test_a_written_refusal_stops_normally() -> None:
    events = (BEGIN, BlockStart(0, Block.REFUSAL), Refusal(0, "no"), BlockEnd(0), Finish(Stop.REFUSAL), End())
    answer = whole(*events)["choices"][0]
    assert (answer["message"]["refusal"], answer["message"]["content"], answer["finish_reason"]) == ("no", None, "stop")
    assert payloads(stream(*events))[-2]["choices"][0]["finish_reason"] == "stop"


def test_a_call_without_arguments_has_an_empty_object_in_both_forms() -> None:
    events = (BEGIN, *call(0), Finish(Stop.TOOL_CALLS), End())
    streamed = sdk_streamed(stream(*events)).choices[0].message.tool_calls
    assert [c.function.arguments for c in streamed] == ["{}"]
    assert whole(*events)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_missing_call_ids_are_minted_and_distinct() -> None:
    events = (BEGIN, *call(0, b"{}", id=""), *call(1, b"{}", id=""), Finish(Stop.TOOL_CALLS), End())
    streamed = [c.id for c in sdk_streamed(stream(*events)).choices[0].message.tool_calls]
    answer = [c["id"] for c in whole(*events)["choices"][0]["message"]["tool_calls"]]
    assert streamed == answer == ["call_0123_0_0", "call_0123_0_1"]


def test_arguments_cut_inside_a_character_arrive_whole() -> None:
    data = '{"a":"é😀"}'.encode()
    pieces = [data[at : at + 1] for at in range(len(data))]
    answer = sdk_streamed(stream(BEGIN, *call(0, *pieces), Finish(Stop.TOOL_CALLS), End()))
    assert answer.choices[0].message.tool_calls[0].function.arguments.encode() == data


def test_custom_calls_carry_free_text() -> None:
    start = BlockStart(0, Block.CUSTOM, tool_id="c", tool_name="f")
    events = (BEGIN, start, Arguments(0, b"any "), Arguments(0, b"text"), BlockEnd(0), Finish(Stop.TOOL_CALLS), End())
    assert whole(*events)["choices"][0]["message"]["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "f", "input": "any text"}}
    ]
    assert said(decoded(ChatDecoder(), [stream(*events)]))[0]["tools"] == [("c", "f", b"any text")]


def test_a_client_of_functions_is_answered_with_a_function_call() -> None:
    events = (BEGIN, *call(0, b'{"a":', b"1}"), *call(1, b"{}", id="d"), Finish(Stop.TOOL_CALLS), End())
    answer = whole(*events, functions="1")["choices"][0]
    assert answer["finish_reason"] == "function_call"
    assert answer["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert "tool_calls" not in answer["message"]
    streamed = sdk_streamed(stream(*events, functions="1")).choices[0]
    assert streamed.finish_reason == "function_call"
    assert streamed.message.function_call.arguments == '{"a":1}'


def test_proofs_are_given_to_clients_that_keep_them() -> None:
    events = (
        BEGIN, BlockStart(0, Block.THOUGHT), Thought(0, "be"), Thought(0, "cause"), Signature(0, "anthropic", "s1"),
        BlockEnd(0), BlockStart(1, Block.TOOL, tool_id="c", tool_name="f"), Signature(1, "gemini", "s2"),
        Arguments(1, b"{}"), BlockEnd(1), Finish(Stop.TOOL_CALLS), End(),
    )  # fmt: skip
    message = whole(*events)["choices"][0]["message"]
    row = {"type": "reasoning.text", "text": "because", "signature": "s1", "format": "anthropic-claude-v1", "index": 0}
    assert message["reasoning_content"] == "because"
    assert message["reasoning_details"] == [row]
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "s2"}}
    again = decoded(ChatDecoder(), [stream(*events)])
    assert Signature(0, "anthropic", "s1") in again
    assert Signature(1, "gemini", "s2") in again


def test_redacted_thinking_is_an_encrypted_entry() -> None:
    data = b'{"type":"redacted_thinking","data":"zz"}'
    events = (BEGIN, BlockStart(0, Block.REDACTED, dialect="anthropic", data=data), BlockEnd(0), *text(1, "x"), *ENDING)
    row = {"type": "reasoning.encrypted", "data": "zz", "format": "anthropic-claude-v1", "index": 0}
    assert whole(*events)["choices"][0]["message"]["reasoning_details"] == [row]
    start = next(e for e in decoded(ChatDecoder(), [stream(*events)]) if isinstance(e, BlockStart))
    assert (start.dialect, orjson.loads(start.data)) == ("anthropic", orjson.loads(data))


@pytest.mark.parametrize(
    ("dialect", "data", "url"),
    [
        ("openai_chat", {"type": "url_citation", "url_citation": {"url": "u", "title": "", "start_index": 0,
                                                                  "end_index": 2}}, "u"),
        ("openai_responses", {"type": "url_citation", "url": "u", "start_index": 0, "end_index": 2, "title": ""}, "u"),
        ("anthropic", {"type": "web_search_result_location", "url": "u", "cited_text": "x"}, "u"),
        ("gemini", {"web": {"uri": "u", "title": "t"}}, "u"),
        ("anthropic", {"type": "char_location", "document_index": 0}, None),
    ],
)  # fmt: skip
def test_citations_of_web_pages_are_annotations(dialect: str, data: dict[str, Any], url: str | None) -> None:
    events = (
        BEGIN, BlockStart(0, Block.TEXT), Text(0, "hi"), Citation(0, dialect, orjson.dumps(data)), BlockEnd(0), *ENDING
    )  # fmt: skip
    rows = whole(*events)["choices"][0]["message"].get("annotations", [])
    assert [row["url_citation"]["url"] for row in rows] == ([url] if url else [])
    assert all(row["url_citation"]["end_index"] == 2 for row in rows)
    streamed = [c["choices"][0]["delta"].get("annotations") for c in payloads(stream(*events)) if c["choices"]]
    assert [rows for rows in streamed if rows] == ([rows] if rows else [])


def test_hosted_items_have_no_place() -> None:
    hosted = (BlockStart(0, Block.HOSTED, dialect="anthropic", data=b"{}"), BlockEnd(0))
    assert stream(BEGIN, *hosted, *text(1, "x"), *ENDING) == stream(BEGIN, *text(1, "x"), *ENDING)


def test_a_failed_answer_has_an_error_and_neither_finish_nor_done() -> None:
    out = stream(BEGIN, *text(0, "x"), Failed(Fault(Kind.STALLED)))
    assert b"[DONE]" not in out
    assert all(not c.get("choices") or not c["choices"][0]["finish_reason"] for c in payloads(out))
    assert payloads(out)[-1]["error"]["code"] == "model_unavailable"


def test_pings_are_comments() -> None:
    assert stream(Ping()) == b": ping\n\n"


def test_no_stream_ever_carries_an_id_line(recordings: Path) -> None:
    for name in EXPECTED:
        out = stream(*decoded(ChatDecoder(), [(recordings / name).read_bytes()]))
        assert all(line.startswith(b"data: ") or not line for line in out.split(b"\n"))


FAULTS = [
    (Fault(Kind.INVALID_REQUEST, "bad", param="n"), 400, "BadRequestError"),
    (Fault(Kind.INVALID_API_KEY), 401, "AuthenticationError"),
    (Fault(Kind.MODEL_NOT_FOUND), 404, "NotFoundError"),
    (Fault(Kind.RATE_LIMIT, retry_after=1.2), 429, "RateLimitError"),
    (Fault(Kind.INTERNAL_ERROR), 500, "InternalServerError"),
]


@pytest.mark.parametrize(("fault", "status", "name"), FAULTS)
def test_errors_are_what_the_official_client_raises(fault: Fault, status: int, name: str) -> None:
    import openai

    body = DIALECT.fault(fault, "req_9")
    with pytest.raises(openai.APIStatusError) as caught:
        client(body, stream=False, status=status).chat.completions.create(model="m", messages=[])
    assert type(caught.value).__name__ == name
    assert fault.message in caught.value.message
    assert caught.value.code == fault.row.code
    assert caught.value.param == (fault.param or None)


def test_an_error_inside_a_stream_is_raised_by_the_official_client() -> None:
    import openai

    out = stream(BEGIN, *text(0, "x")) + DIALECT.fault_event(Fault(Kind.TRUNCATED), "req_9")
    with pytest.raises(openai.APIError):
        sdk_streamed(out)


def test_a_rate_limit_tells_when_to_come_back() -> None:
    assert orjson.loads(DIALECT.fault(Fault(Kind.RATE_LIMIT, retry_after=1.2), ""))["error"]["retry_after"] == 2


def test_a_bug_of_ours_tells_the_request_and_nothing_else() -> None:
    error = orjson.loads(DIALECT.fault(Fault(Kind.INTERNAL_ERROR), "req_9"))["error"]
    assert error["request_id"] == "req_9"


def test_a_providers_rejection_is_passed_unmodified() -> None:
    body = b'{"error": {"message":"too long","code":"context_length_exceeded","extra":1}}'
    fault = Fault(Kind.CONTEXT_LENGTH, provider_dialect="openai_chat", provider_body=body)
    assert DIALECT.fault(fault, "") == body
    foreign = Fault(Kind.CONTEXT_LENGTH, "too long", code="c", provider_dialect="anthropic", provider_body=b"{}")
    assert orjson.loads(DIALECT.fault(foreign, ""))["error"]["code"] == "c"


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Whole answers in the grammar, with choices, blocks and deltas in any order that it allows."""
    events: list[Event] = [BEGIN]
    choices = draw(st.integers(1, 3))
    number = 0
    for choice in range(choices):
        for kind in draw(st.lists(st.sampled_from([Block.TEXT, Block.REFUSAL, Block.THOUGHT, Block.TOOL]), max_size=4)):
            name = draw(st.sampled_from(["f", "g"])) if kind is Block.TOOL else ""
            id = f"c{number}" if kind is Block.TOOL else ""
            events.append(BlockStart(number, kind, choice, tool_id=id, tool_name=name))
            for piece in draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3)):
                events.append(_delta(kind, number, piece))
            events.append(BlockEnd(number))
            number += 1
    events += [Finish(draw(st.sampled_from([Stop.END, Stop.MAX_TOKENS])), choice) for choice in range(choices)]
    return [*events, Counted(Usage(input=draw(st.integers(0, 99)), output=3)), End()]


def _delta(kind: Block, number: int, piece: str) -> Event:
    if kind is Block.TOOL:
        return Arguments(number, orjson.dumps({"a": piece}))
    made = {Block.TEXT: Text, Block.REFUSAL: Refusal}.get(kind)
    return Thought(number, piece, False) if made is None else made(number, piece)


def usages(events: Iterable[Event]) -> list[Usage]:
    return [event.usage for event in events if isinstance(event, Counted)]


@given(answers())
def test_events_to_stream_to_events_is_the_identity(events: list[Event]) -> None:
    again = decoded(ChatDecoder(), [stream(*events)])
    check_grammar(again)
    for one, other in zip(said(events), said(again), strict=True):
        promoted = other["stop"] in (Stop.TOOL_CALLS, Stop.REFUSAL) and one["stop"] is Stop.END
        assert {**one, "stop": other["stop"] if promoted else one["stop"]} == other
    assert usages(again)[-1] == usages(events)[-1]


@given(answers())
def test_both_forms_say_the_same(events: list[Event]) -> None:
    streamed = decoded(ChatDecoder(), [stream(*events)])
    assert said(DIALECT.read_answer(DIALECT.write_answer(events, answering()))) == said(streamed)


@given(answers(), st.lists(st.integers(0, 40), max_size=6))
def test_events_in_any_batches_give_the_same_bytes(events: list[Event], at: list[int]) -> None:
    encoder = DIALECT.encoder(answering())
    bounds = [0, *sorted(at), len(events)]
    batches = [events[start:end] for start, end in pairwise(bounds)]
    assert b"".join(encoder.feed(batch) for batch in batches) == stream(*events)
