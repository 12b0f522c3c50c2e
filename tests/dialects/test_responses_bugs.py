"""The bugs that other gateways shipped with this API, each by its number in the reference's list."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
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
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Stop,
    Text,
)
from fastanchor.core.faults import Kind
from fastanchor.core.prompt import Prompt, TextPart, Tool, Turn
from fastanchor.dialects.contract import Target
from fastanchor.dialects.openai_responses import DIALECT, parse_items
from tests.dialects.responses_sdk import answering, check, decoded, encoded, read, read_stream


def stream(*frames: dict[str, Any]) -> bytes:
    return b"".join(b"data: %b\n\n" % orjson.dumps(frame) for frame in frames)


def completed(*output: dict[str, Any], **members: Any) -> dict[str, Any]:
    response = {"id": "resp_1", "model": "m", "status": "completed", "output": list(output), **members}
    return {"type": "response.completed", "response": response}


CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "m", "created_at": 1, "output": []}}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": ""}
DONE = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"a":1}'}
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}


def added(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def delta(index: int, text: str) -> dict[str, Any]:
    return {"type": "response.function_call_arguments.delta", "output_index": index, "delta": text}


def arguments(events: list[Event]) -> dict[str, bytes]:
    """What every call was given, by its id."""
    ids = {event.block: event.tool_id for event in events if isinstance(event, BlockStart)}
    out = dict.fromkeys(ids.values(), b"")
    for event in events:
        if isinstance(event, Arguments):
            out[ids[event.block]] += event.data
    return out


def test_bug_03_argument_fragments_go_to_their_own_call() -> None:
    second = {**CALL, "call_id": "call_2"}
    events = decoded(stream(
        CREATED, added(0, **CALL), added(1, **second),
        delta(0, '{"a":'), delta(1, '{"b":'), delta(0, "1}"), delta(1, "2}"),
        completed({**CALL, "arguments": '{"a":1}'}, {**second, "arguments": '{"b":2}'}),
    ))  # fmt: skip
    assert arguments(events) == {"call_1": b'{"a":1}', "call_2": b'{"b":2}'}


def test_bug_06_done_events_are_always_sent() -> None:
    """Even when the upstream sends none: neither part nor item nor arguments end by themselves here."""
    events = decoded(stream(CREATED, {"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
                                      "delta": "hel"}, completed(SAID)))  # fmt: skip
    assert [type(event) for event in events] == [Begin, BlockStart, Text, BlockEnd, Finish, End]
    kinds = [frame["type"] for frame in check(encoded(events))]
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"
    ]  # fmt: skip


def test_bug_07_text_and_then_a_call_ends_in_a_call() -> None:
    events = decoded(stream(CREATED, completed(SAID, {**CALL, "arguments": "{}"})))
    assert [event.stop for event in events if isinstance(event, Finish)] == [Stop.TOOL_CALLS]


def test_bug_09_a_cut_call_is_not_promoted() -> None:
    ended = completed({**CALL, "arguments": '{"a'}, status="incomplete",
                      incomplete_details={"reason": "max_output_tokens"})  # fmt: skip
    events = decoded(stream(CREATED, {**ended, "type": "response.incomplete"}))
    assert [event.stop for event in events if isinstance(event, Finish)] == [Stop.MAX_TOKENS]


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("max_output_tokens", Stop.MAX_TOKENS), ("content_filter", Stop.CONTENT_FILTER), ("steered", Stop.UNKNOWN)],
)
def test_bug_10_and_11_an_incomplete_answer_is_no_plain_end(reason: str, stop: Stop) -> None:
    ended = completed(SAID, status="incomplete", incomplete_details={"reason": reason})
    events = decoded(stream(CREATED, {**ended, "type": "response.incomplete"}))
    finish = next(event for event in events if isinstance(event, Finish))
    assert (finish.stop, finish.native) == (stop, reason)


def test_bug_13_arguments_that_ride_with_the_name_are_kept() -> None:
    events = decoded(stream(CREATED, added(0, **{**CALL, "arguments": '{"a"'}), delta(0, ":1}"), completed()))
    assert arguments(events) == {"call_1": b'{"a":1}'}


def test_bug_15_the_id_of_a_call_is_its_call_id() -> None:
    events = decoded(stream(CREATED, completed({**CALL, "arguments": "{}"})))
    item = check(encoded(events))[-1]["response"]["output"][0]
    assert item["call_id"] == "call_1"
    assert item["id"] != item["call_id"]


def test_bug_15_a_call_without_an_id_gets_one() -> None:
    events = decoded(stream(CREATED, completed({"type": "function_call", "name": "f", "arguments": "{}"})))
    start = next(event for event in events if isinstance(event, BlockStart))
    assert start.tool_id


def test_bug_24_cached_tokens_are_part_of_the_input_once() -> None:
    usage = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
             "output_tokens": 10, "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 110}  # fmt: skip
    events = decoded(stream(CREATED, completed(SAID, usage=usage)))
    counted = next(event.usage for event in events if isinstance(event, Counted))
    assert (counted.input, counted.cache_read, counted.cache_write) == (100, 60, 30)
    assert (counted.output, counted.reasoning, counted.total) == (10, 4, 110)
    assert check(encoded(events))[-1]["response"]["usage"] == usage


def test_bug_30_a_system_message_in_mid_conversation_keeps_its_place() -> None:
    prompt = Prompt(turns=[Turn("user", (TextPart("a"),)), Turn("system", (TextPart("b"),)),
                           Turn("user", (TextPart("c"),))])  # fmt: skip
    document = orjson.loads(DIALECT.write(prompt, Target("up")).body)
    assert [item["role"] for item in document["input"]] == ["user", "developer", "user"]
    assert "instructions" not in document


def test_bug_31_fields_that_nobody_knows_pass_to_the_same_dialect() -> None:
    body = b'{"model":"m","input":[{"role":"user","content":"hi","x":1}],"brand_new":{"a":[1.0,2e3]}}'
    assert DIALECT.edit(read(body), "up") == body.replace(b'"m"', b'"up"', 1)


@pytest.mark.parametrize("ending", [b"", b"data: [DONE]\n\n", b": bye\n\n"])
def test_bug_32_a_stream_without_its_terminal_event_is_cut_off(ending: bytes) -> None:
    body = stream(CREATED, {"type": "response.output_text.delta", "output_index": 0, "delta": "hel"}) + ending
    last = decoded(body)[-1]
    assert isinstance(last, Failed)
    assert last.fault.kind is Kind.TRUNCATED
    observer = DIALECT.observer(answering().call)
    observer.feed(body)
    observer.end()
    assert observer.fault is not None
    assert not observer.complete


def test_bug_34_the_keep_alive_is_a_comment_between_events_and_ids_are_never_sent() -> None:
    body = encoded([Begin("", ""), BlockStart(0, Block.TEXT), Text(0, "a"), BlockEnd(0), Finish(Stop.END), End()])
    assert DIALECT.keep_alive.startswith(b":")
    assert DIALECT.keep_alive.endswith(b"\n\n")
    assert read_stream(body.replace(b"\n\n", b"\n\n" + DIALECT.keep_alive)).output_text == "a"
    assert b"\nid:" not in body
    assert not body.startswith(b"id:")


def test_bug_35_characters_cut_between_reads() -> None:
    body = stream(CREATED, {"type": "response.output_text.delta", "output_index": 0, "delta": "é🙂"}, completed())
    decoder = DIALECT.decoder()
    events = [event for byte in body for event in decoder.feed(bytes([byte]))] + decoder.end()
    assert [event.text for event in events if isinstance(event, Text)] == ["é🙂"]


def test_bug_37_a_very_large_event_is_read_and_one_over_the_cap_is_an_error() -> None:
    large = {**SAID, "content": [{"type": "output_text", "text": "x" * (4 << 20)}]}
    events = decoded(stream(CREATED, completed(large)))
    assert sum(len(event.text) for event in events if isinstance(event, Text)) == 4 << 20
    huge = b"data: " + b"x" * (9 << 20)
    last = decoded(stream(CREATED) + huge)[-1]
    assert isinstance(last, Failed)
    assert last.fault.kind is Kind.MALFORMED_ANSWER


def test_bug_38_the_usage_is_there_with_the_terminal_event() -> None:
    """A client that leaves at the end of its answer must not leave the answer unaccounted."""
    usage = {"input_tokens": 7, "output_tokens": 3}
    observer = DIALECT.observer(answering().call)
    observer.feed(stream(CREATED, completed(SAID, usage=usage)))
    assert (observer.usage.input, observer.usage.output) == (7, 3)


def test_bug_39_the_sdk_finds_the_whole_life_of_every_item(recordings: Path) -> None:
    body = encoded(decoded((recordings / "openai-responses" / "reasoning-phase-tools.sse").read_bytes()))
    told = check(body)
    assert told[-1]["response"]["output"]
    assert all(item["id"].startswith(("rs_", "msg_", "fc_")) for item in told[-1]["response"]["output"])
    assert read_stream(body).id == "resp_abc"


@pytest.mark.parametrize(
    "telling",
    [
        [added(0, **CALL), DONE],
        [added(0, **CALL), delta(0, '{"a'), DONE],
        [added(0, **CALL), {"type": "response.output_item.done", "output_index": 0,
                            "item": {**CALL, "arguments": '{"a":1}'}}],
        [{"type": "response.output_item.done", "output_index": 0, "item": {**CALL, "arguments": '{"a":1}'}}],
        [added(0, **{**CALL, "name": None}), delta(0, '{"a')],
        [added(0, **CALL)],
        [],
    ],
)  # fmt: skip
def test_bug_40_arguments_that_are_only_told_later_are_forwarded(telling: list[dict[str, Any]]) -> None:
    events = decoded(stream(CREATED, *telling, completed({**CALL, "arguments": '{"a":1}'})))
    assert arguments(events) == {"call_1": b'{"a":1}'}


def test_bug_40_arguments_told_again_in_other_words_are_not_added() -> None:
    events = decoded(stream(CREATED, added(0, **CALL), delta(0, '{"a":1}'),
                            completed({**CALL, "arguments": '{"a": 1}'})))  # fmt: skip
    assert arguments(events) == {"call_1": b'{"a":1}'}


def test_bug_41_numbers_and_the_order_of_keys_survive() -> None:
    text = '{"z": 12345678901234567890, "a": 1.10}'
    events = decoded(stream(CREATED, completed({**CALL, "arguments": text})))
    assert arguments(events) == {"call_1": text.encode()}
    prompt = DIALECT.parse(read({"model": "m", "input": [
        {**CALL, "arguments": text}, {"type": "function_call_output", "call_id": "call_1", "output": "x"}
    ]}))  # fmt: skip
    assert orjson.loads(DIALECT.write(prompt, Target("up")).body)["input"][0]["arguments"] == text


def test_bug_42_tools_keep_their_order() -> None:
    names = [f"tool_{number}" for number in range(50)]
    prompt = Prompt(turns=[Turn("user", (TextPart("a"),))], tools=[Tool("function", name) for name in names])
    bodies = {DIALECT.write(prompt, Target("up")).body for _ in range(20)}
    assert len(bodies) == 1
    assert [tool["name"] for tool in orjson.loads(bodies.pop())["tools"]] == names


def test_bug_43_raw_json_with_line_ends_does_not_break_a_frame() -> None:
    action = {"type": "search", "query": "q"}
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": action}
    nice = json.dumps(item, indent=2).encode()
    request = b'{"model":"m","input":"hi","metadata":{\n\r\n"a":"b"\r}}'
    events: list[Event] = [Begin("", ""), BlockStart(0, Block.HOSTED, dialect="openai_responses", data=nice),
                           BlockEnd(0), Finish(Stop.END), End()]  # fmt: skip
    told = check(encoded(events, request))[-1]["response"]
    assert told["metadata"] == {"a": "b"}
    assert told["output"][0]["id"] == "ws_1"


# whatever an upstream sends

_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["type", "text", "id", "call_id", "name", "content", "summary", "output",
                                       "arguments", "status", "error", "usage", "annotations"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
_TYPES = st.sampled_from([
    "response.created", "response.output_item.added", "response.output_item.done", "response.output_text.delta",
    "response.output_text.done", "response.content_part.done", "response.output_text.annotation.added",
    "response.refusal.delta", "response.reasoning_summary_text.delta", "response.function_call_arguments.delta",
    "response.function_call_arguments.done", "response.completed", "response.failed", "error", "nonsense",
])  # fmt: skip
_FRAMES = st.builds(
    lambda kind, members: {"type": kind, **members},
    _TYPES,
    st.dictionaries(st.sampled_from(["item", "part", "delta", "text", "output_index", "content_index", "response",
                                     "logprobs", "annotation", "arguments", "error"]), _JUNK, max_size=4),
)  # fmt: skip
_ITEMS = st.sampled_from([CALL, SAID, {**CALL, "type": "custom_tool_call", "input": "x"}, {"type": "shell_call"},
                          {"type": "reasoning", "summary": [{"text": "t"}], "encrypted_content": "g"}])  # fmt: skip
_LIKELY = st.one_of(
    st.builds(lambda i, item: added(i, **item), st.integers(0, 3), _ITEMS),
    st.builds(delta, st.integers(0, 3), st.text(max_size=3)),
    st.builds(lambda i, item: {"type": "response.output_item.done", "output_index": i, "item": item},
              st.integers(0, 3), _ITEMS),
    st.builds(lambda i, text: {"type": "response.output_text.delta", "output_index": i, "delta": text},
              st.integers(0, 3), st.text(max_size=3)),
    st.builds(lambda i, text: {"type": "response.reasoning_text.delta", "output_index": i, "delta": text},
              st.integers(0, 3), st.text(max_size=3)),
)  # fmt: skip


@given(st.lists(st.one_of(
    _LIKELY, _FRAMES, st.just(completed(SAID)))).map(
        lambda frames: b"".join(b"data: %b\n\n" % json.dumps(frame).encode() for frame in frames)),
    st.binary(max_size=40))  # fmt: skip
def test_whatever_an_upstream_sends_ends_once_and_in_the_grammar(body: bytes, tail: bytes) -> None:
    events = decoded(body + tail)
    assert isinstance(events[-1], End | Failed)
    assert sum(isinstance(event, End | Failed) for event in events) == 1
    opened: set[int] = set()
    for event in events:
        if isinstance(event, BlockStart):
            opened.add(event.block)
        elif isinstance(event, BlockEnd):
            opened.remove(event.block)
        elif not isinstance(event, Begin | Finish | Counted | End | Failed):
            assert event.block in opened
    assert not opened or isinstance(events[-1], Failed)
    if isinstance(events[-1], End):
        assert encoded(events).endswith(b"\n\n")


@pytest.mark.parametrize("body", [b"{}", b'{"id":"resp_1"}', b'{"output":null}', b'{"output":[],"status":"queued"}'])
def test_an_object_that_is_no_answer_passes_for_none(body: bytes) -> None:
    assert isinstance(DIALECT.read_answer(body)[-1], Failed)


@given(st.binary(max_size=200))
def test_no_body_is_more_than_a_malformed_answer(body: bytes) -> None:
    assert isinstance(DIALECT.read_answer(body)[-1], Failed)
    DIALECT.usage_of(body)


@pytest.mark.parametrize(
    ("frame", "ends"),
    [
        ({"type": "response.output_text.delta", "delta": 5}, True),  # text is lost
        ({"type": "response.output_item.done", "output_index": 0, "item": {**SAID, "content": 5}}, True),
        ({"type": "response.mcp_call_arguments.delta", "delta": {"a": 1}}, False),  # nothing that is told here
        ({"type": "response.output_item.done", "output_index": 5, "item": {"type": "shell_call", "name": 5}}, False),
    ],
)
def test_a_malformed_event_ends_the_answer_only_where_something_is_lost(frame: dict[str, Any], ends: bool) -> None:
    last = decoded(stream(CREATED, frame, completed(SAID)))[-1]
    assert isinstance(last, Failed) is ends


@pytest.mark.parametrize("depth", [300, 2_000, 100_000])
@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"response.output_item.done","item":%b}',
        b'{"type":"response.output_item.done","item":{"type":"message","content":%b}}',
        b'{"type":"response.output_item.done","item":{"type":"shell_call","x":%b}}',
        b'{"type":"response.output_text.delta","delta":"x","logprobs":%b}',
        b'{"type":"response.completed","response":{"output":[{"x":%b}]}}',
        b'{"type":"response.completed","response":{"error":%b}}',
        b'{"type":"error","error":%b}',
        b'{"x":%b}',
    ],
)
def test_nesting_without_end_crashes_nothing(frame: bytes, depth: int) -> None:
    body = frame % (b"[" * depth + b"]" * depth)
    assert isinstance(decoded(b"data: %b\n\n" % body)[-1], End | Failed)
    observer = DIALECT.observer(answering().call)
    observer.feed(b"data: %b\n\n" % body)
    observer.end()
    assert observer.complete or observer.fault is not None
    assert isinstance(DIALECT.read_answer(body)[-1], End | Failed)
    DIALECT.usage_of(body)


def test_nesting_without_end_in_an_envelope_is_no_envelope() -> None:
    sealed = "fastanchor.1." + urlsafe_b64encode(b"[" * 100_000).decode()
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}]}
    parts = parse_items(orjson.dumps([{**item, "encrypted_content": sealed}]))[0].parts
    assert [(part.text, part.signature) for part in parts] == [("t", None)]  # type: ignore[union-attr]


def test_the_usage_of_a_failed_response_is_counted() -> None:
    failed = {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "x"}, "output": [],
              "usage": {"input_tokens": 7, "output_tokens": 3}}  # fmt: skip
    body = stream(CREATED, {"type": "response.failed", "response": failed})
    assert [event.usage.total for event in decoded(body) if isinstance(event, Counted)] == [10]
    observer = DIALECT.observer(answering().call)
    observer.feed(body)
    assert observer.usage.total == 10
    assert observer.fault is not None
    assert observer.fault.kind is Kind.UPSTREAM_ERROR


def test_the_number_of_blocks_is_bounded() -> None:
    frames = [added(number, **{**CALL, "call_id": f"call_{number}"}) for number in range(600)]
    last = decoded(stream(CREATED, *frames))[-1]
    assert isinstance(last, Failed)
    assert last.fault.kind is Kind.MALFORMED_ANSWER


def test_an_item_in_the_place_of_an_open_call_ends_it() -> None:
    item = {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": ""}
    body = stream(
        CREATED, {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": "SELECT"},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "type": "unheard_of"}}, DONE,
    )  # fmt: skip
    events = decoded(body)
    started = [event.block for event in events if isinstance(event, BlockStart)]
    assert started == [event.block for event in events if isinstance(event, BlockEnd)]
