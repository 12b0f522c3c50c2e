"""Translation bugs that other gateways have shipped, seen from chat. Numbers and sources: reference wire-formats §3."""

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
from fastanchor.core.model import ModelCard
from fastanchor.core.prompt import (
    Format,
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
from fastanchor.dialects.contract import Target
from fastanchor.dialects.openai_chat import DIALECT
from fastanchor.dialects.openai_chat.decode import ChatDecoder
from fastanchor.dialects.openai_chat.observe import ChatObserver
from fastanchor.dialects.openai_chat.stops import write_stop
from tests.dialects.chat_kit import (
    answering,
    check_grammar,
    chunk,
    decoded,
    finishes,
    frames,
    observed,
    payloads,
    pieces,
    said,
    sdk_streamed,
    texts,
    tool,
)


def events_of(*chunks: dict[str, Any], done: bool = True) -> list[Event]:
    events = decoded(ChatDecoder(), [frames(*chunks, done=done)])
    check_grammar(events)
    return events


def stream(*events: Event, usage: bool = False) -> bytes:
    return DIALECT.encoder(answering(usage=usage)).feed(events)


def call(block: int, *arguments: bytes, choice: int = 0) -> list[Event]:
    start = BlockStart(block, Block.TOOL, choice, tool_id=f"c{block}", tool_name="f")
    return [start, *(Arguments(block, data) for data in arguments), BlockEnd(block)]


def written(prompt: Prompt, traits: str = "", **target: Any) -> dict[str, Any]:
    card = ModelCard("up", traits=frozenset(traits.split())) if traits else None
    document: dict[str, Any] = orjson.loads(DIALECT.write(prompt, Target("up", card, **target)).body)
    return document


USER = Turn("user", (TextPart("q"),))
BEGIN = Begin("x", "y")


def test_bug_01_parallel_calls_are_numbered_from_zero_in_each_choice() -> None:
    blocks = [call(0, b"{}"), call(1, b"{}"), call(2, b"{}", choice=1)]
    finish = [Finish(Stop.TOOL_CALLS), Finish(Stop.TOOL_CALLS, 1), End()]
    out = stream(BEGIN, *(event for block in blocks for event in block), *finish)
    deltas = [(c["choices"][0]["index"], c["choices"][0]["delta"]) for c in payloads(out)]
    numbers = [(at, d["tool_calls"][0]["index"]) for at, d in deltas if "id" in d.get("tool_calls", [{}])[0]]
    assert numbers == [(0, 0), (0, 1), (1, 0)]


def test_bug_01_index_zero_with_a_new_id_is_a_new_call() -> None:
    events = events_of(
        chunk(tool(0, '{"x":1}', id="a", name="f")), chunk(tool(0, '{"y":2}', id="b", name="f")),
        chunk(reason="tool_calls"),
    )  # fmt: skip
    assert said(events)[0]["tools"] == [("a", "f", b'{"x":1}'), ("b", "f", b'{"y":2}')]


def test_bug_01_calls_without_an_index_are_told_apart_by_id() -> None:
    events = events_of(
        chunk(tool(None, '{"x"', id="a", name="f")), chunk(tool(None, ":1}")),
        chunk(tool(None, "{}", id="b", name="g")), chunk(reason="tool_calls"),
    )  # fmt: skip
    assert said(events)[0]["tools"] == [("a", "f", b'{"x":1}'), ("b", "g", b"{}")]


@pytest.mark.parametrize(("name", "choices"), [("n2-interleaved-choices", 2), ("n3-json-schema", 3)])
def test_bug_02_choices_keep_their_index(recordings: Path, name: str, choices: int) -> None:
    data = (recordings / f"openai-chat/{name}.sse").read_bytes()
    again = sdk_streamed(stream(*decoded(ChatDecoder(), [data])))
    original = sdk_streamed(data)
    assert len(again.choices) == choices
    assert [c.message.content for c in again.choices] == [c.message.content for c in original.choices]


def test_bug_03_interleaved_fragments_go_to_their_call() -> None:
    events = events_of(
        chunk(tool(0, "", id="a", name="f")), chunk(tool(1, "", id="b", name="g")), chunk(tool(0, '{"x"')),
        chunk(tool(1, '{"y"')), chunk(tool(0, ":1}")), chunk(tool(1, ":2}")), chunk(reason="tool_calls"),
    )  # fmt: skip
    assert said(events)[0]["tools"] == [("a", "f", b'{"x":1}'), ("b", "g", b'{"y":2}')]
    calls = sdk_streamed(stream(*events)).choices[0].message.tool_calls
    assert [c.function.arguments for c in calls] == ['{"x":1}', '{"y":2}']


@pytest.mark.parametrize("name", ["azure-empty-first-choices", "text-include-usage"])
def test_bug_04_chunks_without_choices_are_understood(recordings: Path, name: str) -> None:
    events = decoded(ChatDecoder(), [(recordings / f"openai-chat/{name}.sse").read_bytes()])
    check_grammar(events)
    assert texts(events)
    assert any(isinstance(event, Counted) for event in events)


@pytest.mark.parametrize("choices", [[], None])
def test_bug_04_a_usage_chunk_may_lack_choices(choices: Any) -> None:
    usage = {"usage": {"prompt_tokens": 1, "completion_tokens": 2}, "choices": choices}
    events = events_of(chunk({"content": "x"}), chunk(reason="stop"), usage)
    assert Counted(Usage(input=1, output=2)) in events


def test_bug_06_a_clean_end_after_the_finish_is_whole() -> None:
    events = events_of(chunk({"content": "x"}), chunk(reason="stop"), done=False)
    assert isinstance(events[-1], End)
    assert stream(*events).endswith(b"data: [DONE]\n\n")


def test_bug_06_done_without_a_finish_reason_still_finishes() -> None:
    events = events_of(chunk({"content": "x"}))
    assert finishes(events)[0].stop is Stop.END


def test_bug_07_text_then_tools_ends_in_tool_calls() -> None:
    events = events_of(chunk({"content": "let me"}), chunk(tool(0, "{}", id="a", name="f")), chunk(reason="stop"))
    assert finishes(events)[0].stop is Stop.TOOL_CALLS


@pytest.mark.parametrize(("reason", "stop"), [("length", Stop.MAX_TOKENS), ("content_filter", Stop.CONTENT_FILTER)])
def test_bug_09_a_cut_answer_is_never_promoted(reason: str, stop: Stop) -> None:
    events = events_of(chunk(tool(0, '{"a', id="a", name="f")), chunk(reason=reason))
    assert finishes(events)[0].stop is stop
    assert sdk_streamed(stream(*events)).choices[0].finish_reason == reason


@pytest.mark.parametrize("stop", list(Stop))
def test_bug_10_every_stop_has_a_reason_and_refusals_are_not_plain_ends(stop: Stop) -> None:
    assert write_stop(stop)
    if stop in (Stop.REFUSAL, Stop.CONTENT_FILTER):
        assert write_stop(stop) == "content_filter"


def test_bug_11_a_full_answer_says_length(recordings: Path) -> None:
    events = decoded(ChatDecoder(), [(recordings / "openai-chat/finish-length.sse").read_bytes()])
    assert finishes(events)[0].stop is Stop.MAX_TOKENS
    assert payloads(stream(*events))[-1]["choices"][0]["finish_reason"] == "length"


def test_bug_12_arguments_are_the_same_streamed_and_whole() -> None:
    for arguments in ((), (b"{}",), (b'{"a"', b":1}")):
        events = [BEGIN, *call(0, *arguments), Finish(Stop.TOOL_CALLS), End()]
        streamed = sdk_streamed(stream(*events)).choices[0].message.tool_calls[0].function.arguments
        whole = orjson.loads(DIALECT.write_answer(events, answering()))["choices"][0]["message"]["tool_calls"]
        assert streamed == whole[0]["function"]["arguments"]


def test_bug_13_a_fragment_beside_the_name_is_kept() -> None:
    events = events_of(chunk(tool(0, '{"a":', id="a", name="f")), chunk(tool(0, "1}")), chunk(reason="tool_calls"))
    assert said(events)[0]["tools"] == [("a", "f", b'{"a":1}')]


def test_bug_14_results_follow_their_calls_at_once() -> None:
    prompt = Prompt(turns=[
        USER,
        Turn("assistant", (ToolCallPart("a", "f", b"{}"), ToolCallPart("b", "g", b"{}"))),
        Turn("user", (TextPart("by the way"), ToolResultPart("b", (TextPart("rb"),)))),
        Turn("system", (TextPart("note"),)),
        Turn("user", (ToolResultPart("a", (TextPart("ra"),)),)),
    ])  # fmt: skip
    messages = written(prompt)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user", "system"]
    assert [message.get("tool_call_id") for message in messages[2:4]] == ["a", "b"]


def test_bug_14_a_call_without_a_result_is_refused_and_answered_on_lenient_routes() -> None:
    prompt = Prompt(turns=[USER, Turn("assistant", (ToolCallPart("a", "f", b"{}"),)), USER])
    with pytest.raises(Fault, match="has no result"):
        written(prompt)
    assert written(prompt, strict=False)["messages"][2]["role"] == "tool"


def test_bug_15_call_ids_survive_the_round() -> None:
    prompt = Prompt(turns=[
        USER, Turn("assistant", (ToolCallPart("toolu_01", "f", b"{}"),)),
        Turn("user", (ToolResultPart("toolu_01", (TextPart("r"),)),)),
    ])  # fmt: skip
    messages = written(prompt)["messages"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == "toolu_01"


def test_bug_17_text_after_a_call_is_kept() -> None:
    parts = (TextPart("before"), ToolCallPart("a", "f", b"{}"), TextPart("after"))
    prompt = Prompt(turns=[USER, Turn("assistant", parts), Turn("user", (ToolResultPart("a", (TextPart("r"),)),))])
    message = written(prompt)["messages"][1]
    assert [part["text"] for part in message["content"]] == ["before", "after"]


def test_bug_18_content_is_null_beside_calls_and_empty_texts_vanish() -> None:
    events = [BEGIN, *call(0, b"{}"), Finish(Stop.TOOL_CALLS), End()]
    assert orjson.loads(DIALECT.write_answer(events, answering()))["choices"][0]["message"]["content"] is None
    assert payloads(stream(*events))[0]["choices"][0]["delta"]["content"] is None
    prompt = Prompt(turns=[USER, Turn("assistant", (TextPart(""),)), USER])
    assert [message["role"] for message in written(prompt)["messages"]] == ["user", "user"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_bug_19_both_names_of_the_limit_are_read(name: str) -> None:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], name: 5})
    prompt = DIALECT.parse(Call("openai_chat", "m", body))
    assert prompt.max_output == 5
    assert written(prompt)["max_completion_tokens"] == 5
    assert written(prompt, quirks=frozenset({"legacy_max_tokens"}))["max_tokens"] == 5


def test_bug_20_models_that_refuse_sampling_are_not_sent_it() -> None:
    made = written(Prompt(turns=[USER], temperature=0.5, top_p=0.5), traits="no_sampling")
    assert made.keys() == {"model", "messages"}


def test_bug_21_foreign_thinking_is_never_sent_as_text() -> None:
    prompt = Prompt(turns=[USER, Turn("assistant", (ThoughtPart("secret"), TextPart("x"))), USER])
    made = DIALECT.write(prompt, Target("up"))
    assert b"secret" not in made.body
    assert made.dropped == ("messages[1].reasoning",)


def test_bug_23_budgets_become_efforts_at_the_documented_bounds() -> None:
    for budget, effort in ((0, "none"), (2048, "low"), (2049, "medium"), (10_241, "high"), (24_577, "xhigh")):
        made = written(Prompt(turns=[USER], reasoning=Reasoning("on", budget=budget)))
        assert made["reasoning_effort"] == effort


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 40}}, (100, 9, 40)),
        ({"prompt_tokens": 100, "completion_tokens": 9, "prompt_cache_hit_tokens": 40}, (100, 9, 40)),
        ({"prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 129,
          "completion_tokens_details": {"reasoning_tokens": 20}}, (100, 29, 0)),
    ],
)  # fmt: skip
def test_bug_24_cached_and_reasoning_tokens_are_counted_once(usage: dict[str, Any], tokens: tuple[int, ...]) -> None:
    events = events_of({**chunk({"content": "x"}, reason="stop"), "usage": usage})
    counted = next(event.usage for event in events if isinstance(event, Counted))
    assert (counted.input, counted.output, counted.cache_read) == tokens
    made = payloads(stream(*events, usage=True))[-1]["usage"]
    assert (made["prompt_tokens"], made["prompt_tokens_details"]["cached_tokens"]) == (tokens[0], tokens[2])
    assert made["total_tokens"] == tokens[0] + tokens[1]


def test_bug_28_tool_names_are_renamed_reversibly() -> None:
    name = "mcp.server/tool with spaces " + "x" * 80
    prompt = Prompt(
        turns=[USER, Turn("assistant", (ToolCallPart("a", name, b"{}"),)), Turn("user", (ToolResultPart("a", ()),))],
        tools=[Tool("function", name)], tool_choice=ToolChoice("named", (name,)),
    )  # fmt: skip
    made = DIALECT.write(prompt, Target("up"))
    body = orjson.loads(made.body)
    sent = body["tools"][0]["function"]["name"]
    assert len(sent) <= 64
    assert made.renamed == {sent: name}
    assert body["tool_choice"]["function"]["name"] == sent
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == sent


@pytest.mark.parametrize("choice", [None, "auto", "none", "required", "named", "allowed"])
@pytest.mark.parametrize("parallel", [None, True, False])
def test_bug_29_choice_and_parallel_flag_are_independent(choice: Any, parallel: bool | None) -> None:
    names = ("f",) if choice in ("named", "allowed") else ()
    prompt = Prompt(
        turns=[USER], tools=[Tool("function", "f")], parallel_tools=parallel,
        tool_choice=None if choice is None else ToolChoice(choice, names),
    )  # fmt: skip
    made = written(prompt)
    assert made.get("parallel_tool_calls") is parallel
    assert ("tool_choice" in made) == (choice is not None)
    if choice == "allowed":
        assert made["tool_choice"]["allowed_tools"]["tools"] == [{"type": "function", "function": {"name": "f"}}]


def test_bug_30_system_messages_stay_where_they_stand() -> None:
    first, middle = Turn("system", (TextPart("s"),)), Turn("system", (TextPart("m"),))
    turns = [first, USER, Turn("assistant", (TextPart("a"),)), middle, USER]
    roles = [message["role"] for message in written(Prompt(turns=turns))["messages"]]
    assert roles == ["system", "user", "assistant", "system", "user"]


def test_bug_31_unknown_fields_pass_to_the_same_dialect() -> None:
    part = b'{"type":"text","text":"x","cache_control":{"z":1}}'
    body = b'{"model":"m","messages":[{"role":"user","content":[%b]}],"q":1}' % part
    assert DIALECT.edit(DIALECT.read(body, "", "", {}), "m") == body


def test_bug_32_a_stream_cut_at_any_byte_is_never_a_success(recordings: Path) -> None:
    data = (recordings / "openai-chat/parallel-tool-calls.sse").read_bytes()
    finish = data.index(b'"finish_reason":"tool_calls"')
    whole = data.index(b"}\n\n", finish) + 1  # from here on every choice has finished
    for at in range(len(data)):
        events = decoded(ChatDecoder(), [data[:at]])
        observer = ChatObserver(asked=True)
        observed(observer, [data[:at]])
        assert isinstance(events[-1], End) == observer.complete == (at >= whole), at


def test_bug_33_nothing_counts_as_an_answer_before_content() -> None:
    observer = ChatObserver(asked=True)
    observer.feed(frames(chunk({"role": "assistant", "content": ""}), done=False))
    observer.feed(b'data: {"error":{"message":"x"}}\n\n')
    assert not observer.started
    assert observer.fault is not None


def test_bug_34_comments_stay_comments_and_no_ids_are_sent(recordings: Path) -> None:
    data = (recordings / "openai-compat/openrouter-reasoning.sse").read_bytes()
    out = observed(ChatObserver(asked=True), pieces(data, 9))
    assert out.count(b": OPENROUTER PROCESSING\n\n") == data.count(b": OPENROUTER PROCESSING\n\n")
    translated = stream(*decoded(ChatDecoder(), [data]))
    assert b"OPENROUTER" not in translated
    assert b"\nid:" not in translated


def test_bug_35_characters_cut_by_a_read_arrive_whole() -> None:
    data = frames(chunk({"content": "naïve 日本語 😀"}), chunk(reason="stop"))
    for size in range(1, 8):
        assert texts(decoded(ChatDecoder(), pieces(data, size))) == "naïve 日本語 😀"


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_bug_36_every_line_end_and_missing_spaces_are_understood(end: bytes) -> None:
    data = frames(chunk({"content": "x"}), chunk(reason="stop")).replace(b"data: ", b"data:").replace(b"\n", end)
    for size in (1, 3, 1000):
        assert texts(decoded(ChatDecoder(), pieces(data, size))) == "x"
        observer = ChatObserver(asked=True)
        assert observed(observer, pieces(data, size)).rstrip(end) == data.rstrip(end)
        assert observer.complete


def test_bug_36_a_byte_order_mark_is_no_part_of_the_stream() -> None:
    data = b"\xef\xbb\xbf" + frames(chunk({"content": "x"}), chunk(reason="stop"))
    assert texts(decoded(ChatDecoder(), pieces(data, 2))) == "x"


def test_bug_37_long_lines_are_whole() -> None:
    long = "x" * (2 * 1024 * 1024)
    data = frames(chunk({"content": long}), chunk(reason="stop"))
    assert texts(decoded(ChatDecoder(), pieces(data, 65_536))) == long
    observer = ChatObserver(asked=True)
    assert observed(observer, pieces(data, 65_536)) == data


def test_bug_38_usage_is_known_when_done_is_seen() -> None:
    observer = ChatObserver(asked=False)
    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    observer.feed(frames(chunk({"content": "x"}), chunk(reason="stop"), usage))
    assert observer.complete
    assert observer.usage.known


def test_bug_41_arguments_and_schemas_keep_their_bytes() -> None:
    arguments = '{"z": 9007199254740993, "a": 1.0, "e": 1e2}'
    schema = b'{"type":"object", "maximum": 12345678901234567890123, "a":1, "z" : 2}'
    body = b'{"model":"m","messages":%b,"tools":[{"type":"function","function":{"name":"f","parameters":%b}}]}' % (
        orjson.dumps([
            {"role": "user", "content": "q"},
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": arguments}}]},
            {"role": "tool", "tool_call_id": "a", "content": "r"},
        ]),
        schema,
    )  # fmt: skip
    prompt = DIALECT.parse(Call("openai_chat", "m", body))
    made = DIALECT.write(prompt, Target("up")).body
    assert schema in made
    assert orjson.loads(made)["messages"][1]["tool_calls"][0]["function"]["arguments"] == arguments
    prompt.format = Format("json_schema", schema=schema)
    assert made.count(schema) + 1 == DIALECT.write(prompt, Target("up")).body.count(schema)


def test_bug_42_tools_keep_their_order() -> None:
    names = [f"t{at}" for at in range(50)]
    prompt = Prompt(turns=[USER], tools=[Tool("function", name) for name in names])
    bodies = {DIALECT.write(prompt, Target("up")).body for _ in range(50)}
    assert len(bodies) == 1
    assert [tool["function"]["name"] for tool in orjson.loads(bodies.pop())["tools"]] == names


def test_bug_43_control_characters_are_escaped() -> None:
    tricky = 'a\n\r\t\x00\x1f"\\ \u2028 b'
    events = [
        BEGIN, BlockStart(0, Block.TEXT), Text(0, tricky), BlockEnd(0), *call(1, orjson.dumps({"a": tricky})),
        Finish(Stop.TOOL_CALLS), End(),
    ]  # fmt: skip
    out = stream(*events)
    assert all(line.startswith(b"data: ") for line in out.split(b"\n") if line)
    answer = sdk_streamed(out).choices[0].message
    assert answer.content == tricky
    assert orjson.loads(answer.tool_calls[0].function.arguments) == {"a": tricky}


def test_an_in_band_error_before_content_is_a_fault_of_its_kind() -> None:
    events = decoded(ChatDecoder(), [b'data: {"error":{"code":"rate_limit_exceeded","message":"slow down"}}\n\n'])
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind is Kind.UPSTREAM_RATE_LIMITED
