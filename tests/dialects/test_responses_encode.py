"""What the encoder writes: the life of items, their ids and numbers, and how each kind of event is told."""

from __future__ import annotations

import re
from typing import Any

import openai
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
from fastanchor.core.prompt import OpaqueSignature, ThoughtPart, ToolCallPart
from fastanchor.core.usage import Usage
from fastanchor.dialects.openai_responses import DIALECT, parse_items, response_id
from tests.dialects.responses_sdk import (
    REQUEST,
    answering,
    check,
    decoded,
    encoded,
    frames,
    read_events,
    read_stream,
)

USAGE = Usage(input=10, output=5, cache_read=4, cache_write=3, cache_write_1h=1, reasoning=2)


def answer(*events: Event, stop: Stop = Stop.END) -> list[Event]:
    return [Begin("up", "upstream-model"), *events, Finish(stop), Counted(USAGE), End()]


def text(block: int, *pieces: str) -> list[Event]:
    return [BlockStart(block, Block.TEXT), *(Text(block, piece) for piece in pieces), BlockEnd(block)]


def tool(block: int, call_id: str, name: str, *pieces: bytes) -> list[Event]:
    start = BlockStart(block, Block.TOOL, tool_id=call_id, tool_name=name)
    return [start, *(Arguments(block, piece) for piece in pieces), BlockEnd(block)]


def final(events: list[Event], request: bytes = REQUEST, *, parsed: bool = False) -> dict[str, Any]:
    """The response object of the terminal event."""
    response: dict[str, Any] = check(encoded(events, request, parsed=parsed))[-1]["response"]
    return response


def test_the_life_of_a_text_answer() -> None:
    kinds = [frame["type"] for frame in check(encoded(answer(*text(0, "Hel", "lo"))))]
    assert kinds == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip


def test_the_response_has_the_gateways_id_and_the_clients_model() -> None:
    told = final(answer(*text(0, "hi")))
    assert (told["id"], told["model"], told["created_at"]) == ("resp_abc", "m", 1_700_000_000)
    assert response_id("abc") == "resp_abc"


def test_every_item_id_has_the_prefix_of_its_kind() -> None:
    events = answer(
        BlockStart(0, Block.THOUGHT), Thought(0, "hm"), BlockEnd(0),
        *text(1, "a"),
        *tool(2, "call_1", "f", b"{}"),
        BlockStart(3, Block.CUSTOM, tool_id="call_2", tool_name="g"), Arguments(3, b"x"), BlockEnd(3),
    )  # fmt: skip
    ids = [item["id"] for item in final(events)["output"]]
    assert [re.match("[a-z]+_", item_id)[0] for item_id in ids] == ["rs_", "msg_", "fc_", "ctc_"]  # type: ignore[index]
    assert len(set(ids)) == 4


def test_two_parallel_calls_may_interleave() -> None:
    events = answer(
        BlockStart(0, Block.TOOL, tool_id="call_a", tool_name="f"),
        BlockStart(1, Block.TOOL, tool_id="call_b", tool_name="g"),
        Arguments(0, b'{"x":'), Arguments(1, b'{"y":'), Arguments(0, b"1}"), Arguments(1, b"2}"),
        BlockEnd(1), BlockEnd(0), stop=Stop.TOOL_CALLS,
    )  # fmt: skip
    body = encoded(events)
    check(body)
    calls = [(item.call_id, item.name, item.arguments) for item in read_stream(body).output]  # type: ignore[union-attr]
    assert calls == [("call_a", "f", '{"x":1}'), ("call_b", "g", '{"y":2}')]


def test_neighbouring_texts_are_parts_of_one_message_until_something_else_opens() -> None:
    output = final(answer(*text(0, "a"), *text(1, "b"), *tool(2, "c", "f"), *text(3, "d")))["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]
    assert [part["text"] for part in output[0]["content"]] == ["a", "b"]


def test_a_summary_and_raw_reasoning_keep_apart() -> None:
    events = answer(BlockStart(0, Block.THOUGHT), Thought(0, "sum", True), Thought(0, "raw", False), BlockEnd(0))
    item = final(events)["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "sum"}]
    assert item["content"] == [{"type": "reasoning_text", "text": "raw"}]
    read_stream(encoded(events))


def test_a_refusal_is_a_part_of_a_completed_message() -> None:
    events = answer(BlockStart(0, Block.REFUSAL), Refusal(0, "I "), Refusal(0, "won't"), BlockEnd(0), stop=Stop.REFUSAL)
    told = final(events)
    assert told["status"] == "completed"
    assert told["output"][0]["content"] == [{"type": "refusal", "refusal": "I won't"}]
    assert read_stream(encoded(events)).output[0].content[0].refusal == "I won't"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("stop", "status", "reason"),
    [
        (Stop.END, "completed", None),
        (Stop.STOP_SEQUENCE, "completed", None),
        (Stop.MAX_TOKENS, "incomplete", "max_output_tokens"),
        (Stop.CONTEXT_WINDOW, "incomplete", "max_output_tokens"),
        (Stop.TOOL_CALLS, "completed", None),
        (Stop.CONTENT_FILTER, "incomplete", "content_filter"),
        (Stop.REFUSAL, "incomplete", "content_filter"),  # refused without a word
        (Stop.PAUSE, "completed", None),
        (Stop.UNKNOWN, "completed", None),
    ],
)
def test_stops(stop: Stop, status: str, reason: str | None) -> None:
    told = final(answer(*text(0, "a"), stop=stop))
    assert told["status"] == status
    assert (told["incomplete_details"] or {}).get("reason") == reason
    assert told["output"][0]["status"] == status


def test_usage_in_openais_meaning() -> None:
    assert final(answer(*text(0, "a")))["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {
            "cached_tokens": 4, "cache_write_tokens": 3,
            "cache_write_tokens_details": {"ttl_30m_tokens": 2, "ttl_12h_tokens": 1},
        },
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    }  # fmt: skip


def test_arguments_cut_inside_a_character() -> None:
    whole = '{"city":"Zürich 🙂"}'.encode()
    events = answer(*tool(0, "c", "f", *(bytes([byte]) for byte in whole)))
    assert final(events)["output"][0]["arguments"].encode() == whole


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert final(answer(*tool(0, "c", "f")))["output"][0]["arguments"] == "{}"


def test_a_call_that_was_cut_off_does_not_look_ready_to_run() -> None:
    item = final(answer(*tool(0, "c", "f", b'{"a":'), stop=Stop.MAX_TOKENS))["output"][0]
    assert (item["status"], item["arguments"]) == ("incomplete", '{"a":')


def test_a_custom_tool_that_went_out_as_a_function_comes_back_as_a_custom_call() -> None:
    request = b'{"model":"m","input":"hi","tools":[{"type":"custom","name":"sql"}]}'
    events = answer(*tool(0, "c", "sql", b'{"input":"SEL', b'ECT 1"}'))
    item = final(events, request, parsed=True)["output"][0]
    assert (item["type"], item["input"], item["call_id"]) == ("custom_tool_call", "SELECT 1", "c")


def test_a_tool_of_a_namespace_goes_by_one_name_and_comes_back_by_two() -> None:
    tools = [{"type": "namespace", "name": "crm", "description": "d", "tools": [{"type": "function", "name": "find"}]}]
    request = orjson.dumps({"model": "m", "input": "hi", "tools": tools})
    offered = DIALECT.parse(answering(request).call).tools
    assert [(tool.kind, tool.name) for tool in offered] == [("function", "crm__find")]
    item = final(answer(*tool(0, "c", "crm__find")), request, parsed=True)["output"][0]
    assert (item["namespace"], item["name"]) == ("crm", "find")
    call = parse_items(orjson.dumps([item]))[0].parts[0]
    assert isinstance(call, ToolCallPart)
    assert call.name == "crm__find"


def test_logprobs_ride_on_their_text_and_gather_in_the_part() -> None:
    entry = b'{"token":"%b","logprob":-0.5,"bytes":[97],"top_logprobs":[]}'
    events = answer(
        BlockStart(0, Block.TEXT), Text(0, "a", b"[ %b ]" % (entry % b"a")), Text(0, "b", b"[%b]" % (entry % b"b")),
        BlockEnd(0),
    )  # fmt: skip
    told = check(encoded(events))
    deltas = [frame for frame in told if frame["type"] == "response.output_text.delta"]
    assert [[entry["token"] for entry in frame["logprobs"]] for frame in deltas] == [["a"], ["b"]]
    part = told[-1]["response"]["output"][0]["content"][0]
    assert [entry["token"] for entry in part["logprobs"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("dialect", "data", "expected"),
    [
        ("openai_responses", {"type": "file_citation", "file_id": "f", "filename": "n", "index": 3}, None),
        ("anthropic", {"type": "web_search_result_location", "url": "http://a", "title": "A", "cited_text": "x"},
         {"type": "url_citation", "start_index": 0, "end_index": 4, "title": "A", "url": "http://a"}),
        ("gemini", {"web": {"uri": "http://b", "title": "B"}},
         {"type": "url_citation", "start_index": 0, "end_index": 4, "title": "B", "url": "http://b"}),
        ("openai_chat", {"type": "url_citation", "url_citation":
                         {"url": "http://c", "title": "C", "start_index": 1, "end_index": 2}},
         {"type": "url_citation", "start_index": 1, "end_index": 2, "title": "C", "url": "http://c"}),
    ],
)  # fmt: skip
def test_citations_of_every_vendor(dialect: str, data: dict[str, object], expected: dict[str, object] | None) -> None:
    events = answer(BlockStart(0, Block.TEXT), Text(0, "text"), Citation(0, dialect, orjson.dumps(data)), BlockEnd(0))
    told = check(encoded(events))
    added = [frame for frame in told if frame["type"] == "response.output_text.annotation.added"]
    assert [frame["annotation"] for frame in added] == [expected or data]
    assert told[-1]["response"]["output"][0]["content"][0]["annotations"] == [expected or data]


@pytest.mark.parametrize("data", [b'{"type":"char_location","document_index":0}', b"[]", b"{"])
def test_a_citation_that_has_no_words_here_is_left_out(data: bytes) -> None:
    events = answer(BlockStart(0, Block.TEXT), Text(0, "text"), Citation(0, "anthropic", data), BlockEnd(0))
    assert final(events)["output"][0]["content"][0]["annotations"] == []


def test_own_hosted_items_come_whole_and_foreign_ones_not_at_all() -> None:
    own = b'{"id":"ws_1","type":"web_search_call",\n "status":"completed","action":{"type":"search","query":"q"}}'
    events = answer(
        BlockStart(0, Block.HOSTED, dialect="openai_responses", data=own), BlockEnd(0),
        BlockStart(1, Block.HOSTED, dialect="anthropic", data=b'{"type":"server_tool_use"}'), BlockEnd(1),
        *text(2, "a"),
    )  # fmt: skip
    assert [item["type"] for item in final(events)["output"]] == ["web_search_call", "message"]


def test_other_choices_and_pings_are_left_out() -> None:
    other = [BlockStart(1, Block.TEXT, choice=1), Text(1, "b"), BlockEnd(1)]
    told = final([Begin("", ""), *text(0, "a"), Ping(), *other, Finish(Stop.END), Finish(Stop.END, 1), End()])
    assert len(told["output"]) == 1


def test_half_a_surrogate_pair_is_no_crash() -> None:
    assert final(answer(*text(0, "\ud83d")))["output"][0]["content"][0]["text"] == "?"


# failures


def test_a_failure_is_told_nested_and_then_as_a_failed_response() -> None:
    events = [Begin("", ""), BlockStart(0, Block.TEXT), Text(0, "par"), Failed(Fault(Kind.STALLED))]
    told = check(encoded(events))
    assert [frame["type"] for frame in told[-2:]] == ["error", "response.failed"]
    assert told[-2]["error"]["code"] == "model_unavailable"
    assert told[-1]["response"]["status"] == "failed"
    assert told[-1]["response"]["error"]["code"] == "server_error"
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "par"
    with pytest.raises(openai.APIError, match="stopped in the middle"):
        read_events(encoded(events))


def test_nothing_follows_the_end() -> None:
    encoder = DIALECT.encoder(answering())
    encoder.feed(answer(*text(0, "a")))
    assert encoder.feed([*text(1, "b"), Failed(Fault(Kind.RESET)), End()]) == b""


def test_the_last_bytes_of_a_stream_whose_state_is_unknown() -> None:
    body = DIALECT.fault_event(Fault(Kind.RATE_LIMIT, retry_after=2.5), "abc")
    error, failed = frames(body)
    assert (error["error"]["code"], error["error"]["retry_after"]) == ("rate_limit", 3)
    assert (failed["response"]["id"], failed["response"]["error"]["code"]) == ("resp_abc", "rate_limit_exceeded")
    with pytest.raises(openai.APIError):
        read_events(encoded([Begin("", "")]) + body)


def test_a_failed_answer_cannot_be_written_whole() -> None:
    with pytest.raises(Fault) as told:
        DIALECT.write_answer([Begin("", ""), Failed(Fault(Kind.RESET))], answering())
    assert told.value.kind is Kind.RESET


def test_an_answer_without_an_end_cannot_be_written_whole() -> None:
    with pytest.raises(Fault):
        DIALECT.write_answer([Begin("", ""), *text(0, "a")], answering())


# what is echoed


def test_the_requests_settings_are_echoed_as_they_were_written() -> None:
    request = orjson.dumps({
        "model": "m", "input": "hi", "instructions": "be brief", "temperature": 0.25, "metadata": {"a": "b"},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
        "tool_choice": "required", "parallel_tool_calls": False, "max_output_tokens": 99, "top_p": None,
        "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "reasoning": {"effort": "low"},
        "truncation": "auto", "store": False, "user": "u", "previous_response_id": "resp_0",
    }, option=orjson.OPT_INDENT_2)  # fmt: skip
    told = final(answer(*text(0, "a")), request)
    asked = orjson.loads(request)
    assert {name: told[name] for name in asked if name not in ("input", "model", "top_p")} == {
        name: value for name, value in asked.items() if name not in ("input", "model", "top_p")
    }
    assert told["top_p"] == 1.0


def test_settings_that_were_not_sent_have_the_documented_defaults() -> None:
    told = final(answer(*text(0, "a")))
    assert told["store"] is True
    assert told["tools"] == []
    assert told["tool_choice"] == "auto"
    assert told["text"] == {"format": {"type": "text"}}


# foreign signatures


def round_trip(events: list[Event]) -> tuple[Any, ...]:
    """The parts of the turn that a client makes of the answer's output."""
    return parse_items(orjson.dumps(final(events)["output"]))[0].parts


def test_a_foreign_signature_comes_back_with_its_thinking() -> None:
    events = answer(
        BlockStart(0, Block.THOUGHT), Thought(0, "hm"), Signature(0, "anthropic", "SIG=="), BlockEnd(0),
        *tool(1, "toolu_1", "f", b"{}"),
    )  # fmt: skip
    thought = round_trip(events)[0]
    assert (thought.text, thought.signature) == ("hm", OpaqueSignature("anthropic", "SIG=="))
    assert not thought.redacted


def test_redacted_thinking_comes_back() -> None:
    data = b'{"type":"redacted_thinking","data":"EroB"}'
    events = answer(BlockStart(0, Block.REDACTED, dialect="anthropic", data=data), BlockEnd(0), *text(1, "a"))
    thought = round_trip(events)[0]
    assert isinstance(thought, ThoughtPart)
    assert (thought.redacted, thought.signature) == (True, OpaqueSignature("anthropic", "EroB"))


def test_the_signature_of_a_call_comes_back_on_the_call() -> None:
    start = BlockStart(0, Block.TOOL, tool_id="call_1", tool_name="f")
    events = answer(start, Signature(0, "gemini", "c2ln"), Arguments(0, b"{}"), BlockEnd(0), *tool(1, "call_2", "g"))
    first, second = (part for part in round_trip(events) if isinstance(part, ToolCallPart))
    assert first.signature == OpaqueSignature("gemini", "c2ln")
    assert second.signature is None


def test_the_signature_of_a_text_comes_back_beside_it() -> None:
    events = answer(BlockStart(0, Block.TEXT), Text(0, "a"), Signature(0, "gemini", "c2ln"), Text(0, "b"), BlockEnd(0))
    said, signed = round_trip(events)
    assert said.text == "ab"
    assert signed.signature == OpaqueSignature("gemini", "c2ln")


def test_own_encrypted_reasoning_is_not_wrapped() -> None:
    signature = Signature(0, "openai_responses", "gAAA")
    events = answer(BlockStart(0, Block.THOUGHT), Thought(0, "hm"), signature, BlockEnd(0))
    assert final(events)["output"][0]["encrypted_content"] == "gAAA"


# properties

_PIECES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), min_size=1, max_size=4)
_KINDS = st.sampled_from([Block.TEXT, Block.REFUSAL, Block.THOUGHT, Block.TOOL, Block.CUSTOM])


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Any answer with blocks one after another, arguments being whole JSON."""
    events: list[Event] = []
    for block, kind in enumerate(draw(st.lists(_KINDS, max_size=6))):
        pieces = draw(_PIECES)
        if kind in (Block.TOOL, Block.CUSTOM):
            whole = orjson.dumps({"a": pieces})
            cut = draw(st.integers(0, len(whole)))
            deltas: list[Event] = [Arguments(block, part) for part in (whole[:cut], whole[cut:]) if part]
            start = BlockStart(block, kind, tool_id=f"call_{block}", tool_name="f")
        else:
            make = {Block.TEXT: Text, Block.REFUSAL: Refusal, Block.THOUGHT: Thought}[kind]
            deltas = [make(block, piece) for piece in pieces]
            start = BlockStart(block, kind)
        events += [start, *deltas, BlockEnd(block)]
    return [Begin("", ""), *events, Finish(draw(st.sampled_from(list(Stop)))), Counted(Usage(input=1, output=1)), End()]


def content(events: list[Event]) -> list[tuple[str, bytes]]:
    """Kind and content of every block."""
    said: dict[int, tuple[str, bytes]] = {}
    for event in events:
        if isinstance(event, BlockStart):
            said[event.block] = (f"{event.kind.value} {event.tool_id}", b"")
        elif isinstance(event, Text | Refusal | Thought):
            said[event.block] = (said[event.block][0], said[event.block][1] + event.text.encode())
        elif isinstance(event, Arguments):
            said[event.block] = (said[event.block][0], said[event.block][1] + event.data)
    return [said[block] for block in sorted(said)]


@given(answers())
def test_events_to_stream_to_events(events: list[Event]) -> None:
    body = encoded(events)
    check(body)
    assert content(decoded(body)) == content(events)


@given(answers())
def test_the_stream_and_the_whole_answer_say_the_same(events: list[Event]) -> None:
    whole = orjson.loads(DIALECT.write_answer(events, answering()))
    assert whole == final(events)


@given(answers(), st.integers(1, 9))
def test_grouping_of_events_changes_no_byte(events: list[Event], size: int) -> None:
    encoder = DIALECT.encoder(answering())
    grouped = b"".join(encoder.feed(events[at : at + size]) for at in range(0, len(events), size))
    assert grouped == encoded(events)
