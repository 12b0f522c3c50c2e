"""A strict schema for a model without structured output: asked for as the call of a tool, answered as text."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastanchor.core.call import Call
from fastanchor.core.events import Stop, Text
from fastanchor.core.faults import Fault
from fastanchor.core.prompt import Format, Prompt, Reasoning, TextPart, Tool, ToolCallPart, ToolResultPart, Turn
from fastanchor.dialects import registry, relay
from fastanchor.dialects.anthropic.write import ANSWER
from fastanchor.dialects.contract import Answering, Target
from fastanchor.dialects.stop_sequences import cut, decoder
from tests.dialects.chat_kit import check_grammar, said
from tests.kit.anthropic import block, delta, ending, message_start, sse, stop

ANTHROPIC, CHAT = registry.dialect("anthropic"), registry.dialect("openai_chat")
SCHEMA = b'{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'
OLD = Target("claude-3-5-haiku-latest")
HI = Turn("user", (TextPart("Hi"),))


def asked(target: Target = OLD, **fields: Any) -> Prompt:
    return Prompt(turns=[HI], format=Format("json_schema", "city", SCHEMA, True), **fields)


def answering(**options: Any) -> Answering:
    call = Call("openai_chat", "m", b"{}", stream=True, include_usage=True)
    return Answering(call, "m", "req_1", 1, renamed={ANSWER: ""}, **options)


def test_the_schema_is_that_of_a_tool_which_must_be_called() -> None:
    made = ANTHROPIC.write(asked(), OLD)
    body = orjson.loads(made.body)
    assert [tool["name"] for tool in body["tools"]] == [ANSWER]
    assert body["tools"][0]["input_schema"] == orjson.loads(SCHEMA)
    assert body["tool_choice"] == {"type": "tool", "name": ANSWER}
    assert (made.renamed, made.dropped) == ({ANSWER: ""}, ())


def test_newer_models_have_an_own_field_for_it() -> None:
    made = ANTHROPIC.write(asked(), Target("claude-sonnet-4-5"))
    assert "tools" not in orjson.loads(made.body)
    assert made.renamed == {}


CALLED = [HI, Turn("assistant", (ToolCallPart("c", "f", b"{}"),)), Turn("user", (ToolResultPart("c", ()),))]


@pytest.mark.parametrize("prompt", [
    asked(tools=[Tool("function", "f", schema=SCHEMA)]),
    Prompt(turns=CALLED, format=Format("json_schema", "city", SCHEMA, True)),
    Prompt(turns=[HI], format=Format("json_schema", "list", b'{"type":"array"}', True)),
])  # fmt: skip
def test_where_it_has_no_room_it_is_refused(prompt: Prompt) -> None:
    with pytest.raises(Fault) as caught:
        ANTHROPIC.write(prompt, OLD)
    assert caught.value.param == "response_format"


def test_thinking_leaves_no_room_for_it() -> None:
    with pytest.raises(Fault) as caught:
        ANTHROPIC.write(asked(reasoning=Reasoning("on", budget=2000)), Target("claude-3-7-sonnet-latest"))
    assert caught.value.param == "response_format"


STREAM = sse(
    message_start(), block(0, type="tool_use", id="t", name=ANSWER, input={}),
    *(delta(0, "input_json_delta", partial_json=piece) for piece in ('{"n": ', "9007199254740993", "}")), stop(0),
    *ending("tool_use"),
)  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_the_call_comes_back_as_text_and_a_plain_end(size: int) -> None:
    reader = decoder(ANTHROPIC, answering())
    events = [event for at in range(0, len(STREAM), size) for event in reader.feed(STREAM[at : at + size])]
    check_grammar(events)
    (choice,) = said(events)
    assert (choice["text"], choice["tools"], choice["stop"]) == ('{"n": 9007199254740993}', [], Stop.END)


def test_a_client_is_streamed_the_answer_and_no_tool() -> None:
    told = answering()
    carrier = relay.translate(ANTHROPIC, CHAT, told.call, told)
    out = b"".join(carrier.feed(STREAM[at : at + 99]) for at in range(0, len(STREAM), 99))
    assert carrier.complete
    assert b"tool_calls" not in out
    assert b"9007199254740993" in out


def test_a_whole_answer_too() -> None:
    body = {"id": "m", "type": "message", "model": "m", "stop_reason": "tool_use", "usage": {"input_tokens": 1},
            "content": [{"type": "tool_use", "id": "t", "name": ANSWER, "input": {"n": 1}}]}  # fmt: skip
    answer = orjson.loads(relay.whole(ANTHROPIC, CHAT, orjson.dumps(body), answering()))
    choice = answer["choices"][0]
    assert orjson.loads(choice["message"]["content"]) == {"n": 1}
    assert choice["finish_reason"] == "stop"
    assert "tool_calls" not in choice["message"]


def test_an_answer_that_was_cut_short_stays_cut_short() -> None:
    parts = [message_start(), block(0, type="tool_use", id="t", name=ANSWER, input={}),
             delta(0, "input_json_delta", partial_json='{"n'), stop(0), *ending("max_tokens")]  # fmt: skip
    (choice,) = said(decoder(ANTHROPIC, answering()).feed(sse(*parts)))
    assert (choice["text"], choice["stop"]) == ('{"n', Stop.MAX_TOKENS)


def test_no_arguments_are_an_empty_object() -> None:
    parts = [message_start(), block(0, type="tool_use", id="t", name=ANSWER, input={}), stop(0), *ending("tool_use")]
    events = cut(ANTHROPIC.decoder().feed(sse(*parts)), answering())
    assert "".join(event.text for event in events if isinstance(event, Text)) == "{}"
