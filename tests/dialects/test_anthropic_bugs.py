"""The translation bugs that other gateways shipped, numbered as in the reference's list, where Messages is one side.

Each is held here by its assertion alone; the modules beside this one test the same parts in full.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from fastanchor.core.call import Call
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
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import (
    OpaqueSignature,
    Prompt,
    Reasoning,
    TextPart,
    ThoughtPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Turn,
)
from fastanchor.core.usage import Usage
from fastanchor.dialects.anthropic import DIALECT
from fastanchor.dialects.contract import Target
from tests.kit.anthropic import (
    answering,
    block,
    call,
    created,
    decoded,
    delta,
    ending,
    message_start,
    split,
    sse,
    stop,
    streamed,
)
from tests.kit.anthropic_requests import BUDGET, HI, NEWEST, F, refused, written

TEXT = (BlockStart(0, Block.TEXT), Text(0, "Hi"), BlockEnd(0))


def tool(number: int, name: str = "f") -> BlockStart:
    return BlockStart(number, Block.TOOL, tool_id=f"t{number}", tool_name=name)


def stream_of(*events: Event) -> bytes:
    return DIALECT.encoder(answering()).feed([Begin("", ""), *events])


def test_bug_01_parallel_calls_keep_their_arguments_apart() -> None:
    events = [e for n in range(4) for e in (tool(n), Arguments(n, b'{"n":%d}' % n), BlockEnd(n))]
    message = streamed(stream_of(*events, Finish(Stop.TOOL_CALLS), End()))
    assert [part.input for part in message.content] == [{"n": n} for n in range(4)]


def test_bug_03_interleaved_arguments_go_to_their_own_call() -> None:
    data = sse(
        message_start(), block(0, type="tool_use", id="a", name="f", input={}),
        block(1, type="tool_use", id="b", name="g", input={}),
        delta(1, "input_json_delta", partial_json='{"b":'), delta(0, "input_json_delta", partial_json='{"a":'),
        delta(1, "input_json_delta", partial_json="2}"), delta(0, "input_json_delta", partial_json="1}"),
        stop(0), stop(1), *ending("tool_use"),
    )  # fmt: skip
    events = decoded(data)
    told = {n: b"".join(e.data for e in events if isinstance(e, Arguments) and e.block == n) for n in (0, 1)}
    assert told == {0: b'{"a":1}', 1: b'{"b":2}'}


def test_bug_05_indices_have_no_gap_when_blocks_are_left_out() -> None:
    foreign = BlockStart(0, Block.HOSTED, dialect="openai_responses", data=b"{}")
    own = (BlockStart(1, Block.TEXT), Text(1, "Hi"), BlockEnd(1))
    data = stream_of(foreign, BlockEnd(0), *own, Finish(Stop.END), End())
    assert b'"index":0' in data
    assert b'"index":1' not in data
    assert streamed(data).content[0].text == "Hi"


def test_bug_06_the_terminal_events_come_after_a_clean_end_without_message_stop() -> None:
    data = sse(message_start(), block(0, type="text", text=""), delta(0, "text_delta", text="Hi"),
               ending("end_turn")[0])  # fmt: skip
    again = DIALECT.encoder(answering()).feed(decoded(data))
    assert again.count(b"event: content_block_stop") == 1
    assert again.count(b"event: message_delta") == 1
    assert again.count(b"event: message_stop") == 1


def test_bug_07_text_then_tools_ends_in_tool_use() -> None:
    data = stream_of(*TEXT, tool(1), BlockEnd(1), Finish(Stop.END, native="stop"), End())
    assert streamed(data).stop_reason == "tool_use"
    asked = sse(message_start(), block(0, type="tool_use", id="a", name="f", input={}), stop(0), *ending("end_turn"))
    assert next(e.stop for e in decoded(asked) if isinstance(e, Finish)) is Stop.TOOL_CALLS


@pytest.mark.parametrize("reason", [Stop.MAX_TOKENS, Stop.CONTENT_FILTER, Stop.REFUSAL, Stop.CONTEXT_WINDOW])
def test_bug_09_a_truncated_call_does_not_look_executable(reason: Stop) -> None:
    message = streamed(stream_of(tool(0), Arguments(0, b'{"a":'), BlockEnd(0), Finish(reason), End()))
    assert message.stop_reason != "tool_use"


def test_bug_09_a_recorded_truncation_stays_one(recordings: Path) -> None:
    events = decoded((recordings / "anthropic" / "max-tokens-partial-json.sse").read_bytes())
    assert next(e.stop for e in events if isinstance(e, Finish)) is Stop.MAX_TOKENS


REASONS = {
    Stop.END: "end_turn", Stop.STOP_SEQUENCE: "stop_sequence", Stop.MAX_TOKENS: "max_tokens",
    Stop.CONTEXT_WINDOW: "model_context_window_exceeded", Stop.TOOL_CALLS: "tool_use", Stop.REFUSAL: "refusal",
    Stop.CONTENT_FILTER: "refusal", Stop.PAUSE: "pause_turn", Stop.UNKNOWN: "end_turn",
}  # fmt: skip


@pytest.mark.parametrize("reason", list(Stop))
def test_bug_10_every_reason_has_its_word_and_none_is_null(reason: Stop) -> None:
    assert streamed(stream_of(*TEXT, Finish(reason), End())).stop_reason == REASONS[reason]


@pytest.mark.parametrize("word", [w for s, w in REASONS.items() if s not in (Stop.CONTENT_FILTER, Stop.UNKNOWN)])
def test_bug_10_every_word_has_its_reason(word: str) -> None:
    events = decoded(sse(message_start(), *ending(word)))
    told = next(e.stop for e in events if isinstance(e, Finish))
    assert REASONS[told] == word


def test_bug_12_the_placeholder_input_is_no_prefix() -> None:
    pieces = [delta(0, "input_json_delta", partial_json=piece) for piece in ("", '{"a"', ":1}")]
    for start in ({}, {"stale": True}):
        opening = block(0, type="tool_use", id="a", name="f", input=start)
        events = decoded(sse(message_start(), opening, *pieces, stop(0), *ending("tool_use")))
        assert b"".join(e.data for e in events if isinstance(e, Arguments)) == b'{"a":1}'
        whole = created(DIALECT.write_answer(events, answering()))
        assert whole.content[0].input == {"a": 1}


def test_bug_12_an_input_that_stands_whole_in_the_start_is_not_lost() -> None:
    opening = block(0, type="tool_use", id="a", name="f", input={"a": 1})
    events = decoded(sse(message_start(), opening, stop(0), *ending("tool_use")))
    assert [e.data for e in events if isinstance(e, Arguments)] == [b'{"a":1}']


def test_bug_14_results_are_adjacent_first_and_in_the_order_of_the_calls() -> None:
    calls = Turn("assistant", (ToolCallPart("a", "f", b"{}"), ToolCallPart("b", "f", b"{}")))
    results = Turn("user", (TextPart("by the way"), ToolResultPart("b", (TextPart("2"),))))
    late = Turn("user", (ToolResultPart("a", (TextPart("1"),)),))
    body, _ = written(HI, calls, Turn("system", (TextPart("S"),)), results, late)
    blocks = body["messages"][2]["content"]
    assert [part.get("tool_use_id") for part in blocks[:2]] == ["a", "b"]
    assert {part["type"] for part in blocks[2:]} == {"text"}
    assert len(body["messages"]) == 3


def test_bug_14_a_call_without_a_result_is_refused_or_gets_one() -> None:
    calls = Turn("assistant", (ToolCallPart("a", "f", b"{}"),))
    refused("messages", HI, calls, HI)
    body, _ = written(HI, calls, HI, strict=False)
    assert body["messages"][2]["content"][0]["is_error"] is True


def test_bug_15_ids_come_back_and_are_legal() -> None:
    calls = [Turn("assistant", (ToolCallPart("functions.f:0", "f", b"{}"),)),
             Turn("user", (ToolResultPart("functions.f:0", (TextPart("r"),)),))]  # fmt: skip
    body, _ = written(HI, *calls, *calls)
    ids = [part["id"] for message in body["messages"] for part in message["content"] if part["type"] == "tool_use"]
    answered = [p["tool_use_id"] for m in body["messages"] for p in m["content"] if p["type"] == "tool_result"]
    assert ids == answered == ["functions_f_0", "functions_f_0_2"]


def test_bug_16_roles_alternate() -> None:
    ok = Turn("assistant", (TextPart("ok"),))
    body, _ = written(HI, HI, ok, ok, HI)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_bug_18_no_text_is_empty(text: str) -> None:
    blank = TextPart(text)
    body, _ = written(Turn("system", (blank,)), Turn("user", (TextPart("Hi"), blank)), Turn("assistant", (blank,)), HI)
    assert "system" not in body
    assert all(part["text"].strip() for message in body["messages"] for part in message["content"])


def test_bug_19_max_tokens_is_always_there() -> None:
    assert written()[0]["max_tokens"] > 0


def test_bug_20_sampling_follows_the_model() -> None:
    both: dict[str, Any] = {"temperature": 0.5, "top_p": 0.5}
    assert "top_p" not in written(**both)[0]
    assert not {"temperature", "top_p"} & written(model=NEWEST, **both)[0].keys()


def test_bug_21_a_tool_loop_without_its_thinking_goes_on_without_thinking() -> None:
    loop = (ToolCallPart("a", "f", b"{}"),)
    result = Turn("user", (ToolResultPart("a", (TextPart("r"),)),))
    members: dict[str, Any] = {"reasoning": Reasoning("on", "high"), "tools": [F]}
    body, made = written(HI, Turn("assistant", loop), result, **members)
    assert "thinking" not in body
    assert made.dropped == ("reasoning",)
    own = ThoughtPart("hm", OpaqueSignature("anthropic", "s"))
    body, _ = written(HI, Turn("assistant", (own, *loop)), result, **members)
    assert body["messages"][1]["content"][0]["type"] == "thinking"
    assert "thinking" in body


@pytest.mark.parametrize("limit", [1025, 1026, 2048, 4096, 100_000])
@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
def test_bug_23_budgets_stay_in_bounds(limit: int, effort: str) -> None:
    body, _ = written(reasoning=Reasoning("auto", effort), max_output=limit)
    assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"] == limit


def test_bug_24_cached_tokens_count_once(recordings: Path) -> None:
    for name, read, wrote in (("cache-read", 1165, 0), ("cache-write", 0, 1165)):
        events = decoded((recordings / "anthropic" / f"{name}.sse").read_bytes())
        usage = [e.usage for e in events if isinstance(e, Counted)][-1]
        assert (usage.input, usage.cache_read, usage.cache_write) == (1169, read, wrote)
        told = streamed(DIALECT.encoder(answering()).feed(events)).usage
        assert told.input_tokens == 4
        assert (told.cache_read_input_tokens, told.cache_creation_input_tokens) == (read, wrote)


def test_bug_25_message_start_has_an_estimate_and_message_delta_the_count() -> None:
    data = stream_of(*TEXT, Finish(Stop.END), Counted(Usage(input=40, output=2)), End())
    first = orjson.loads(data.split(b"\n")[1].removeprefix(b"data: "))
    assert first["message"]["usage"]["input_tokens"] == 7
    assert streamed(data).usage.input_tokens == 40


def test_bug_28_names_are_renamed_and_the_table_turns_them_back() -> None:
    name = "weather.get/für alle" * 9
    body, made = written(tools=[Tool("function", name)], tool_choice=ToolChoice("named", (name,)))
    sent = body["tools"][0]["name"]
    assert len(sent) <= 128
    assert body["tool_choice"]["name"] == sent
    assert made.renamed == {sent: name}


@pytest.mark.parametrize("parallel", [None, True, False])
@pytest.mark.parametrize("mode", [None, "auto", "none", "required"])
def test_bug_29_choice_and_parallel_calls(mode: Any, parallel: bool | None) -> None:
    choice = ToolChoice(mode) if mode else None
    told = written(tools=[F], tool_choice=choice, parallel_tools=parallel)[0].get("tool_choice")
    kind = {"auto": "auto", "none": "none", "required": "any"}.get(mode)
    if parallel is False and mode != "none":
        assert told == {"type": kind or "auto", "disable_parallel_tool_use": True}
    else:
        assert told == ({"type": kind} if kind else None)


def test_bug_30_system_turns_keep_their_order() -> None:
    turns = [HI, Turn("system", (TextPart("one"),)), Turn("assistant", (TextPart("ok"),)),
             Turn("system", (TextPart("two"),)), HI]  # fmt: skip
    said = [part["text"] for message in written(*turns)[0]["messages"] for part in message["content"]]
    assert [text.replace("<system-reminder>\n", "").split("\n")[0] for text in said] == ["Hi", "one", "ok", "two", "Hi"]


def test_bug_31_cache_marks_and_unknown_fields_survive_on_the_same_dialect() -> None:
    body = (
        b'{"model":"m","max_tokens":1,"new_field":[1],"messages":[{"role":"user","content":[{"type":"text","text":"x",'
        b'"cache_control":{"type":"ephemeral","ttl":"1h"},"odd":1}]}]}'
    )
    request = DIALECT.read(body, "/v1/messages", "", {})
    assert DIALECT.edit(request, "n") == body.replace(b'"m"', b'"n"', 1)


def test_bug_32_a_stream_that_is_cut_is_never_a_success(recordings: Path) -> None:
    data = (recordings / "anthropic" / "tool-use.sse").read_bytes()
    finish = data.index(b'"stop_reason":"tool_use"')
    for at in range(finish):
        last = decoded(data[:at])[-1]
        assert isinstance(last, Failed)
        observer = DIALECT.observer(call())
        observer.feed(data[:at])
        observer.end()
        assert observer.fault is not None
        assert not observer.complete


def test_bug_34_no_frame_has_an_id_and_the_keep_alive_is_a_ping() -> None:
    data = stream_of(*TEXT, Finish(Stop.END), End()) + DIALECT.keep_alive
    assert b"\nid:" not in data
    assert b"\n:" not in data
    assert streamed(DIALECT.keep_alive.join([b"", data])).stop_reason == "end_turn"


@pytest.mark.parametrize("size", range(1, 8))
def test_bug_35_characters_cut_by_reads_are_whole(size: int) -> None:
    text = "Grüße 😀 漢字"
    data = sse(message_start(), block(0, type="text", text=""), delta(0, "text_delta", text=text), *ending("end_turn"))
    decoder = DIALECT.decoder()
    events: list[Event] = []
    for at in range(0, len(data), size):
        events += decoder.feed(data[at : at + size])
    assert Text(0, text) in events


def test_bug_37_a_line_of_megabytes_is_read_whole() -> None:
    text = "x" * 7_000_000
    data = sse(message_start(), block(0, type="text", text=""), delta(0, "text_delta", text=text), *ending("end_turn"))
    assert Text(0, text) in decoded(data)


def test_bug_38_usage_is_known_when_message_stop_is_seen_not_when_the_transport_ends(recordings: Path) -> None:
    observer = DIALECT.observer(call())
    observer.feed((recordings / "anthropic" / "text.sse").read_bytes())
    assert observer.complete
    assert observer.usage.output == 4


def test_bug_41_big_integers_and_key_order_survive_both_ways() -> None:
    raw = b'{"z":9007199254740993123,"a":1}'
    turns = [HI, Turn("assistant", (ToolCallPart("t", "f", raw),)), Turn("user", (ToolResultPart("t", ()),))]
    assert raw in DIALECT.write(Prompt(turns), Target(BUDGET)).body
    events = DIALECT.read_answer(b'{"content":[{"type":"tool_use","id":"t","name":"f","input":%b}]}' % raw)
    assert raw in DIALECT.write_answer(events, answering())


def test_bug_42_the_order_of_tools_is_stable() -> None:
    tools = [Tool("function", f"f{n}", schema=b'{"type":"object"}') for n in range(50)]
    bodies = {DIALECT.write(Prompt([HI], tools=list(tools)), Target(BUDGET)).body for _ in range(100)}
    assert len(bodies) == 1
    assert [t["name"] for t in orjson.loads(bodies.pop())["tools"]] == [f"f{n}" for n in range(50)]


def test_bug_43_control_characters_in_arguments_are_escaped() -> None:
    data = stream_of(tool(0), Arguments(0, b'{"a":\n"\\t"}'), BlockEnd(0), Finish(Stop.END), End())
    assert all(line.startswith((b"event: ", b"data: ")) for line in data.split(b"\n") if line)
    assert streamed(data).content[0].input == {"a": "\t"}


def test_bug_45_fields_of_other_dialects_do_not_leak() -> None:
    extra = {"openai_chat": {"stream_options": b"{}", "odd": b"1"}}
    body, made = written(extra=extra)
    assert set(body) == {"model", "max_tokens", "messages"}
    assert set(made.dropped) == {"stream_options", "odd"}


def test_the_pieces_of_a_stream_do_not_change_its_meaning() -> None:
    data = stream_of(*TEXT, Finish(Stop.END), End())
    decoder = DIALECT.decoder()
    events = [event for piece in split(data, 3) for event in decoder.feed(piece)]
    assert isinstance(events[-1], End)


def test_a_parse_fault_is_the_clients() -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.parse(Call("anthropic", "m", b'{"messages":3}'))
    assert caught.value.kind is Kind.INVALID_REQUEST
