"""Gemini answers as they leave: framing, whole calls, the last document, errors, and what the SDK makes of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.genai import errors
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
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
from fastanchor.core.faults import ROWS, Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.gemini import DIALECT
from fastanchor.dialects.gemini.words import REASONS
from tests.dialects import gemini_sdk
from tests.dialects.test_gemini_recordings import check_grammar

USAGE = Usage(input=10, output=7, cache_read=4, reasoning=2)


def answering(framing: str = "sse") -> Answering:
    call = Call("gemini", "public-name", b"{}", stream=True, options={"framing": framing})
    return Answering(call, "public-name", "req1", 1_700_000_000)


def encoded(events: list[Event], framing: str = "sse") -> bytes:
    encoder = DIALECT.encoder(answering(framing))
    return b"".join(encoder.feed([event]) for event in events)


def documents(stream: bytes) -> list[dict[str, Any]]:
    assert stream.endswith(b"\r\n\r\n")
    frames = stream.split(b"\r\n\r\n")[:-1]
    assert all(frame.startswith(b"data: ") and b"\n" not in frame and b"\r" not in frame for frame in frames)
    return [orjson.loads(frame[6:]) for frame in frames]


def text(*pieces: str, choice: int = 0, block: int = 0) -> list[Event]:
    return [BlockStart(block, Block.TEXT, choice), *(Text(block, piece) for piece in pieces), BlockEnd(block)]


def tool(block: int, name: str, *pieces: bytes, choice: int = 0, tool_id: str = "c1") -> list[Event]:
    start = BlockStart(block, Block.TOOL, choice, tool_id=tool_id, tool_name=name)
    return [start, *(Arguments(block, piece) for piece in pieces), BlockEnd(block)]


def ended(*stops: Stop) -> list[Event]:
    finishes: list[Event] = [Finish(stop, choice) for choice, stop in enumerate(stops or (Stop.END,))]
    return [*finishes, Counted(USAGE), End()]


BEGIN: list[Event] = [Begin("upstream-id", "upstream-model", 5)]


def test_a_stream_is_crlf_events_with_the_finish_and_the_usage_in_the_last() -> None:
    first, second, last = documents(encoded(BEGIN + text("a", "b") + ended()))
    assert first == {
        "candidates": [{"content": {"parts": [{"text": "a"}], "role": "model"}, "index": 0}],
        "modelVersion": "public-name",
        "responseId": "req1",
    }
    assert second["candidates"][0]["content"]["parts"] == [{"text": "b"}]
    assert last["candidates"] == [
        {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}
    ]
    assert last["usageMetadata"] == {
        "promptTokenCount": 10,
        "candidatesTokenCount": 5,
        "totalTokenCount": 17,
        "cachedContentTokenCount": 4,
        "thoughtsTokenCount": 2,
    }


def test_nothing_is_said_before_there_is_something_to_say() -> None:
    encoder = DIALECT.encoder(answering())
    assert encoder.feed([*BEGIN, BlockStart(0, Block.TEXT), Ping()]) == b""


def test_events_of_one_feed_leave_in_one_document() -> None:
    encoder = DIALECT.encoder(answering())
    out = encoder.feed([*BEGIN, BlockStart(0, Block.TEXT), Text(0, "a"), Text(0, "b")])
    assert len(documents(out)) == 1


def test_a_json_array_stream_is_one_document() -> None:
    stream = encoded(BEGIN + text("a", "b") + ended(), "array")
    assert [row["candidates"][0].get("finishReason") for row in orjson.loads(stream)] == [None, None, "STOP"]
    assert orjson.loads(encoded([*BEGIN, Failed(Fault(Kind.STALLED))], "array"))[0]["error"]["code"] == 502
    broken = orjson.loads(encoded([*BEGIN, *text("a"), Failed(Fault(Kind.STALLED))], "array"))
    assert [next(iter(row)) for row in broken] == ["candidates", "error"]


def test_bug_41_a_call_leaves_whole_and_its_arguments_keep_their_bytes() -> None:
    pieces = (b'{"n": 1234567890', b'1234567890123, "b": 1,\r\n "a"', b": 2}")
    stream = encoded(BEGIN + tool(0, "f", *pieces) + ended(Stop.TOOL_CALLS))
    assert b'"args":{"n": 12345678901234567890123, "b": 1,   "a": 2}' in stream
    assert len(documents(stream)) == 2
    chunks = gemini_sdk.read_stream(stream)
    assert gemini_sdk.summary(chunks)[0]["finish"] == "STOP"
    assert chunks[0].function_calls is not None
    assert chunks[0].function_calls[0].id == "c1"


@pytest.mark.parametrize(
    ("pieces", "args"),
    [((), {}), ((b"",), {}), ((b" ",), {}), ((b"[1]",), {"value": [1]}), ((b'"x"',), {"value": "x"})],
)
def test_arguments_become_an_object(pieces: tuple[bytes, ...], args: dict[str, Any]) -> None:
    first = documents(encoded(BEGIN + tool(0, "f", *pieces) + ended(Stop.TOOL_CALLS)))[0]
    assert first["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == args


@pytest.mark.parametrize(
    ("stop", "reason"), [(Stop.MAX_TOKENS, "MAX_TOKENS"), (Stop.TOOL_CALLS, "MALFORMED_FUNCTION_CALL")]
)
def test_a_cut_off_call_is_not_sent(stop: Stop, reason: str) -> None:
    stream = encoded(BEGIN + tool(0, "f", b'{"a": "tru') + ended(stop))
    assert b"functionCall" not in stream
    assert documents(stream)[-1]["candidates"][0]["finishReason"] == reason


def test_bug_03_interleaved_calls_are_put_together_each_by_its_own() -> None:
    events: list[Event] = [
        *BEGIN,
        BlockStart(0, Block.TOOL, tool_id="a", tool_name="f"),
        BlockStart(1, Block.TOOL, tool_id="b", tool_name="g"),
        Arguments(0, b'{"x":'), Arguments(1, b'{"y":'), Arguments(0, b"1}"), Arguments(1, b"2}"),
        BlockEnd(1), BlockEnd(0), *ended(Stop.TOOL_CALLS),
    ]  # fmt: skip
    calls = gemini_sdk.summary(gemini_sdk.read_stream(encoded(events)))[0]["calls"]
    assert [call[:2] for call in calls] == [("g", {"y": 2}), ("f", {"x": 1})]


def test_bug_02_choices_keep_their_index_and_each_its_finish() -> None:
    events = BEGIN + text("a", choice=0) + text("b", choice=1, block=1) + tool(2, "f", b"{}", choice=1)
    told = gemini_sdk.summary(gemini_sdk.read_stream(encoded(events + ended(Stop.MAX_TOKENS, Stop.TOOL_CALLS))))
    assert (told[0]["text"], told[0]["finish"]) == ("a", "MAX_TOKENS")
    assert (told[1]["text"], told[1]["finish"], len(told[1]["calls"])) == ("b", "STOP", 1)


def test_thoughts_and_their_signatures_are_parts() -> None:
    events: list[Event] = [
        *BEGIN, BlockStart(0, Block.THOUGHT), Thought(0, "hm"), Signature(0, "gemini", "c2ln"),
        Signature(0, "anthropic", "Zm9yZWlnbg=="), BlockEnd(0),
        BlockStart(1, Block.TOOL, tool_id="c", tool_name="f"), Signature(1, "gemini", "Y2FsbA=="), BlockEnd(1),
        *ended(Stop.TOOL_CALLS),
    ]  # fmt: skip
    rows = [row["candidates"][0]["content"]["parts"][0] for row in documents(encoded(events))]
    assert rows == [
        {"text": "hm", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": "Y2FsbA=="},
        {"text": ""},
    ]


def test_own_citations_and_hosted_items_are_told_and_foreign_ones_are_not() -> None:
    events: list[Event] = [
        *BEGIN, BlockStart(0, Block.HOSTED, dialect="gemini", data=b'{"executableCode":\n{"code":"1"}}'), BlockEnd(0),
        BlockStart(1, Block.HOSTED, dialect="anthropic", data=b'{"x":1}'), BlockEnd(1),
        BlockStart(2, Block.REDACTED, dialect="anthropic", data=b'{"x":1}'), BlockEnd(2),
        BlockStart(3, Block.TEXT), Text(3, "t"), Citation(3, "gemini", b'{"citationMetadata":{"citations":[]}}'),
        Citation(3, "anthropic", b'{"y":1}'), BlockEnd(3), Raw(None, "gemini", b'{"thoughtSignature":"c2ln"}'),
        Raw(None, "openai_chat", b'{"z":1}'), *ended(),
    ]  # fmt: skip
    stream = encoded(events)
    rows = [row["candidates"][0] for row in documents(stream)]
    assert rows[0]["content"]["parts"] == [{"executableCode": {"code": "1"}}]
    assert rows[2]["citationMetadata"] == {"citations": []}
    assert rows[3]["content"]["parts"] == [{"text": "", "thoughtSignature": "c2ln"}]
    assert b'"x"' not in stream
    assert b'"y"' not in stream
    assert b'"z"' not in stream


def test_log_probabilities_are_told_with_their_text() -> None:
    scored = b'[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"b","logprob":-1.5,"bytes":[98]}]}]'
    first = documents(encoded([*BEGIN, BlockStart(0, Block.TEXT), Text(0, "a", scored), BlockEnd(0), *ended()]))[0]
    assert first["candidates"][0]["logprobsResult"] == {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1.5}]}],
    }


def test_bug_10_every_stop_has_a_reason_and_none_is_null() -> None:
    assert set(REASONS) == set(Stop)
    for stop in Stop:
        last = documents(encoded(BEGIN + text("a") + ended(stop)))[-1]
        assert last["candidates"][0]["finishReason"] == REASONS[stop]


def test_a_finer_native_reason_is_kept() -> None:
    events: list[Event] = [*BEGIN, *text("a"), Finish(Stop.CONTENT_FILTER, native="RECITATION"), End()]
    assert documents(encoded(events))[-1]["candidates"][0]["finishReason"] == "RECITATION"
    events = [*BEGIN, *text("a"), Finish(Stop.CONTENT_FILTER, native="content_filter"), End()]
    assert documents(encoded(events))[-1]["candidates"][0]["finishReason"] == "SAFETY"


def test_a_refusal_is_text_that_ends_with_safety() -> None:
    events: list[Event] = [*BEGIN, BlockStart(0, Block.REFUSAL), Refusal(0, "no"), BlockEnd(0), *ended(Stop.END)]
    told = gemini_sdk.summary(gemini_sdk.read_stream(encoded(events)))[0]
    assert (told["text"], told["finish"]) == ("no", "SAFETY")


def test_bug_32_a_failure_is_an_error_and_never_a_finish() -> None:
    stream = encoded([*BEGIN, *text("half"), Failed(Fault(Kind.STALLED)), End()])
    assert b"finishReason" not in stream
    with pytest.raises(errors.APIError) as caught:
        gemini_sdk.read_stream(stream)
    assert caught.value.code == 502
    passed = encoded(BEGIN + text("half")) + DIALECT.fault_event(Fault(Kind.STALLED), "req1")
    with pytest.raises(errors.APIError):
        gemini_sdk.read_stream(passed)


def test_bug_34_no_done_no_comment_and_no_ping_is_ever_sent() -> None:
    stream = encoded([*BEGIN, Ping(), *text("a"), Ping(), *ended()])
    assert b"[DONE]" not in stream
    assert all(line.startswith(b"data: ") for line in stream.split(b"\r\n") if line)
    assert DIALECT.keep_alive == b""


def test_a_whole_answer_joins_what_was_streamed() -> None:
    events = [*BEGIN, *text("a", "b"), *tool(1, "f", b'{"x":1}'), *ended(Stop.TOOL_CALLS)]
    events.insert(3, Counted(Usage(input=10)))
    answer = orjson.loads(DIALECT.write_answer(events, answering()))
    assert answer["candidates"][0]["content"]["parts"] == [
        {"text": "ab"},
        {"functionCall": {"id": "c1", "name": "f", "args": {"x": 1}}},
    ]
    read = gemini_sdk.read_answer(DIALECT.write_answer(events, answering()))
    assert read.text == "ab"
    assert read.usage_metadata is not None
    assert read.usage_metadata.total_token_count == 17


def test_an_answer_without_content_has_a_candidate_and_a_reason() -> None:
    read = gemini_sdk.read_answer(DIALECT.write_answer([*BEGIN, *ended(Stop.CONTENT_FILTER)], answering()))
    assert read.candidates is not None
    assert str(read.candidates[0].finish_reason) == "FinishReason.SAFETY"


@pytest.mark.parametrize("kind", list(Kind))
def test_every_fault_is_an_error_that_the_sdk_reads(kind: Kind) -> None:
    fault = Fault(kind, param="contents[0]", retry_after=1.5)
    body = DIALECT.fault(fault, "req1")
    error = gemini_sdk.read_error(fault.status, body)
    assert (error.code, error.status) == (fault.status, ROWS[kind].gemini_status)
    assert error.message == fault.message
    details = {row["@type"].rpartition(".")[2]: row for row in orjson.loads(body)["error"]["details"]}
    assert details["RetryInfo"]["retryDelay"] == "1.5s"
    assert details["BadRequest"]["fieldViolations"][0]["field"] == "contents[0]"
    assert details["RequestInfo"]["requestId"] == "req1"
    assert details["ErrorInfo"]["reason"] == fault.code.upper()


def test_a_rejection_of_geminis_own_is_passed_on_unmodified() -> None:
    body = b'{"error": {"code": 400, "message": "no",  "status": "INVALID_ARGUMENT"}}'
    fault = Fault(Kind.PROVIDER_REJECTED, "no", status=400, provider_dialect="gemini", provider_body=body)
    assert DIALECT.fault(fault, "r") == body
    foreign = Fault(Kind.PROVIDER_REJECTED, "no", status=404, provider_dialect="anthropic", provider_body=b"{}")
    assert orjson.loads(DIALECT.fault(foreign, "r"))["error"]["status"] == "NOT_FOUND"


def test_bug_43_an_in_stream_rejection_is_one_event_though_its_body_has_lines() -> None:
    body = b'{\n "error": {\r\n "code": 400}}'
    fault = Fault(Kind.PROVIDER_REJECTED, "no", status=400, provider_dialect="gemini", provider_body=body)
    assert documents(DIALECT.fault_event(fault, "r")) == [{"error": {"code": 400}}]
    assert documents(encoded([*BEGIN, Failed(fault)])) == [{"error": {"code": 400}}]


# events → stream → events

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
JSON_OBJECTS = st.dictionaries(WORDS, st.integers(-(2**70), 2**70) | WORDS | st.none(), max_size=3).map(
    lambda value: b"{" + b",".join(orjson.dumps(k) + b":" + raw(v) for k, v in value.items()) + b"}"
)


def raw(value: object) -> bytes:
    return str(value).encode() if isinstance(value, int) else orjson.dumps(value)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = [Begin("id", "m")]
    block = 0
    kinds = st.lists(st.sampled_from(["text", "thought", "tool"]), max_size=5)
    for choice in range(draw(st.integers(1, 3))):
        called, last = False, ""
        for kind in draw(kinds):
            if kind == last != "tool":  # neighbours of one kind are one block
                continue
            last = kind
            if kind == "tool":
                called = True
                events += tool(block, draw(WORDS), draw(JSON_OBJECTS), choice=choice, tool_id=f"c{block}")
            elif kind == "text":
                events += text(*draw(st.lists(WORDS, min_size=1, max_size=3)), choice=choice, block=block)
            else:
                events += [BlockStart(block, Block.THOUGHT, choice), Thought(block, draw(WORDS)), BlockEnd(block)]
            block += 1
        stop = draw(st.sampled_from([Stop.MAX_TOKENS, Stop.CONTENT_FILTER, Stop.TOOL_CALLS if called else Stop.END]))
        events.append(Finish(stop, choice))
    finishes = [event for event in events if isinstance(event, Finish)]
    return [event for event in events if not isinstance(event, Finish)] + finishes + [Counted(USAGE), End()]


def told(events: list[Event]) -> list[Any]:
    """What an answer says, free of how it was cut."""
    rows: list[Any] = []
    choices = {event.block: event.choice for event in events if isinstance(event, BlockStart)}
    for event in events:
        match event:
            case BlockStart(kind=Block.TOOL):
                rows.append(["tool", event.choice, event.tool_id, event.tool_name])
            case Text() | Thought():
                key = [type(event).__name__, choices[event.block]]
                if rows and rows[-1][:2] == key:
                    rows[-1][2] += event.text
                else:
                    rows.append([*key, event.text])
            case Arguments():
                rows.append(["arguments", event.data])
            case Finish():
                rows.append(["finish", event.choice, event.stop])
    return rows


@pytest.mark.parametrize("framing", ["sse", "array", "whole"])
@given(events=answers())
def test_an_answer_survives_its_encoding(framing: str, events: list[Event]) -> None:
    if framing == "whole":
        again = DIALECT.read_answer(DIALECT.write_answer(events, answering()))
    else:
        decoder = DIALECT.decoder()
        again = decoder.feed(encoded(events, framing)) + decoder.end()
    check_grammar(again)
    assert sorted(map(repr, told(again))) == sorted(map(repr, told(events)))
    if framing != "whole":
        assert told(again) == told(events)
