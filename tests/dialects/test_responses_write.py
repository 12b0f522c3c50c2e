"""Prompts written as requests: what is carried, dropped and refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.model import ModelCard
from fastanchor.core.prompt import (
    CacheMark,
    Format,
    HostedPart,
    MediaPart,
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
from fastanchor.dialects.contract import Target, Written
from fastanchor.dialects.openai_responses import DIALECT

TARGET = Target("up")
LENIENT = Target("up", strict=False)


def write(prompt: Prompt, target: Target = TARGET) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(DIALECT.write(prompt, target).body)
    return document


def said(*parts: Any) -> Prompt:
    return Prompt(turns=[Turn("user", parts or (TextPart("hi"),))])


def test_a_translated_call_leaves_no_copy_and_says_what_strict_is() -> None:
    prompt = said()
    prompt.tools = [Tool("function", "f", schema=b'{"type":"object"}')]
    document = write(prompt, Target("up", stream=True))
    assert document["store"] is False
    assert document["stream"] is True
    assert document["tools"] == [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}]


@pytest.mark.parametrize(
    ("change", "name", "expected"),
    [
        ({"max_output": 5}, "max_output_tokens", 16),
        ({"max_output": 99}, "max_output_tokens", 99),
        ({"temperature": 0.5}, "temperature", 0.5),
        ({"verbosity": "low"}, "text", {"verbosity": "low"}),
        ({"format": Format("json_schema", "", b'{"z":1}')}, "text",
         {"format": {"type": "json_schema", "name": "answer", "schema": {"z": 1}, "strict": False}}),
        ({"reasoning": Reasoning("off")}, "reasoning", {"effort": "none"}),
        ({"reasoning": Reasoning("on", budget=5000)}, "reasoning", {"effort": "medium"}),
        ({"reasoning": Reasoning("on", budget=50000, include=True)}, "reasoning",
         {"effort": "xhigh", "summary": "auto"}),
        ({"reasoning": Reasoning("on", "low")}, "include", ["reasoning.encrypted_content"]),
        ({"logprobs": True, "top_logprobs": 50}, "top_logprobs", 20),
        ({"logprobs": True}, "include", ["message.output_text.logprobs"]),
        ({"user": "u"}, "safety_identifier", "u"),
        ({"metadata": b'{"a":"b"}'}, "metadata", {"a": "b"}),
        ({"cache_key": "k"}, "prompt_cache_key", "k"),
        ({"service_tier": "flex"}, "service_tier", "flex"),
        ({"extra": {"openai_responses": {"truncation": b'"auto"'}}}, "truncation", "auto"),
    ],
)  # fmt: skip
def test_settings_written(change: dict[str, Any], name: str, expected: Any) -> None:
    prompt = said()
    for field, value in change.items():
        setattr(prompt, field, value)
    written = DIALECT.write(prompt, TARGET)
    assert orjson.loads(written.body)[name] == expected
    assert written.dropped == ()


@pytest.mark.parametrize(
    ("change", "dropped"),
    [
        ({"top_k": 5}, "top_k"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"seed": 5}, "seed"),
        ({"logit_bias": b'{"1":2}'}, "logit_bias"),
        ({"service_tier": "standard_only"}, "service_tier"),
        ({"extra": {"gemini": {"safetySettings": b"[]"}}}, "safetySettings"),
        ({"turns": [Turn("user", (TextPart("u"),)),
                    Turn("assistant", (ThoughtPart("t", OpaqueSignature("anthropic", "s")), TextPart("a"))),
                    Turn("user", (TextPart("u"),))]}, "messages.reasoning"),
    ],
)  # fmt: skip
def test_what_only_tunes_is_dropped_and_named(change: dict[str, Any], dropped: str) -> None:
    prompt = said()
    for field, value in change.items():
        setattr(prompt, field, value)
    assert DIALECT.write(prompt, TARGET).dropped == (dropped,)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tools": [Tool("hosted", "computer", data=b"{}", dialect="anthropic")]}, "tools"),
        ({"turns": [Turn("user", (MediaPart("video", url="u"),))]}, "messages"),
        ({"turns": [Turn("user", (HostedPart("anthropic", b"{}"),))]}, "messages"),
    ],
)
def test_what_changes_the_answer_is_refused_and_lenient_targets_drop_it(change: dict[str, Any], param: str) -> None:
    prompt = said()
    for field, value in change.items():
        setattr(prompt, field, value)
    with pytest.raises(Fault) as told:
        DIALECT.write(prompt, TARGET)
    assert (told.value.kind, told.value.param) == (Kind.INVALID_REQUEST, param)
    assert DIALECT.write(prompt, LENIENT).dropped == (param,)


@pytest.mark.parametrize("target", [TARGET, LENIENT])
def test_several_choices_are_always_refused(target: Target) -> None:
    with pytest.raises(Fault) as told:
        DIALECT.write(Prompt(turns=said().turns, choices=2), target)
    assert told.value.param == "n"


def test_a_reasoning_model_gets_no_sampling_and_another_model_no_reasoning() -> None:
    prompt = said()
    prompt.temperature, prompt.reasoning = 0.5, Reasoning("on", "high")
    thinker = Target("up", ModelCard("up", traits=frozenset({"reasoning", "effort"})))
    assert DIALECT.write(prompt, thinker).dropped == ("temperature",)
    assert write(prompt, thinker)["reasoning"] == {"effort": "high"}
    talker = Target("up", ModelCard("up", traits=frozenset({"tools"})))
    assert DIALECT.write(prompt, talker).dropped == ("reasoning",)
    assert write(prompt, talker)["temperature"] == 0.5


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (MediaPart("image", url="https://h/i"), {"type": "input_image", "image_url": "https://h/i", "detail": "auto"}),
        (MediaPart("image", data="AA", mime="image/jpeg", detail="low"),
         {"type": "input_image", "image_url": "data:image/jpeg;base64,AA", "detail": "low"}),
        (MediaPart("image", file_id="f"), {"type": "input_image", "file_id": "f", "detail": "auto"}),
        (MediaPart("document", data="AA", mime="application/pdf", name="a.pdf"),
         {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}),
        (MediaPart("document", data="AA"),
         {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,AA"}),
        (MediaPart("document", url="https://h/a"), {"type": "input_file", "file_url": "https://h/a"}),
        (MediaPart("document", file_id="f"), {"type": "input_file", "file_id": "f"}),
        (MediaPart("document", text="plain", name="a.txt"), {"type": "input_text", "text": "a.txt\n\nplain"}),
        (MediaPart("audio", data="AA", mime="audio/mp3"),
         {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}}),
    ],
)  # fmt: skip
def test_content_written(part: Any, expected: dict[str, Any]) -> None:
    assert write(said(part))["input"] == [{"type": "message", "role": "user", "content": [expected]}]


def test_cache_marks_only_go_where_they_are_known() -> None:
    marked = TextPart("s", CacheMark()), TextPart("a", CacheMark("1h"))
    prompt = Prompt(turns=[Turn("system", marked[:1]), Turn("user", marked[1:])])
    knows = Target("up", quirks=frozenset({"prompt_cache_breakpoint"}))
    developer, user = write(prompt, knows)["input"]
    assert developer["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert user["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit", "ttl": "30m"}
    written = DIALECT.write(prompt, TARGET)
    assert written.dropped == ("cache_control",)
    assert orjson.loads(written.body)["instructions"] == "s"
    assert b"prompt_cache_breakpoint" not in written.body


def test_a_conversation_with_tools_written() -> None:
    call = ToolCallPart("c" * 100, "f", b' {"n": 12345678901234567890}')
    prompt = Prompt(turns=[
        Turn("system", (TextPart("A"), TextPart("B"))),
        Turn("user", (TextPart("u"),)),
        Turn("assistant", (ThoughtPart("hm", OpaqueSignature("openai_responses", "gAAA"), id="rs_1"),
                           TextPart("let me"), call)),
        Turn("user", (ToolResultPart("c" * 100, (TextPart("boom"),), is_error=True), TextPart("go on"))),
        Turn("system", (TextPart("C"),)),
    ])  # fmt: skip
    document = write(prompt)
    assert document["instructions"] == "A\n\nB"
    kinds = [item.get("type") for item in document["input"]]
    assert kinds == ["message", "reasoning", "message", "function_call", "function_call_output", "message", "message"]
    asked, answered = document["input"][3], document["input"][4]
    assert asked["arguments"] == '{"n": 12345678901234567890}'
    assert asked["call_id"] == answered["call_id"]
    assert len(asked["call_id"]) <= 64
    assert answered["output"] == "Error: boom"
    assert document["input"][-1]["role"] == "developer"
    assert document["input"][2]["content"] == [{"type": "output_text", "text": "let me"}]


def test_an_image_in_a_result_stays_in_the_result() -> None:
    prompt = Prompt(turns=[Turn("assistant", (ToolCallPart("c", "f", b""),)),
                           Turn("user", (ToolResultPart("c", (MediaPart("image", url="https://h"),)),))])  # fmt: skip
    call, result = write(prompt)["input"]
    assert call["arguments"] == "{}"
    assert result["output"] == [{"type": "input_image", "image_url": "https://h", "detail": "auto"}]


def test_names_that_the_api_refuses_are_renamed_and_told() -> None:
    prompt = said()
    prompt.tools, prompt.tool_choice = [Tool("function", "ns.tool")], ToolChoice("named", ("ns.tool",))
    written: Written = DIALECT.write(prompt, TARGET)
    document = orjson.loads(written.body)
    sent = document["tools"][0]["name"]
    assert written.renamed == {sent: "ns.tool"}
    assert document["tool_choice"] == {"type": "function", "name": sent}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("named", ("f",)), {"type": "function", "name": "f"}),
        (ToolChoice("named", ("g",)), {"type": "custom", "name": "g"}),
        (ToolChoice("named", ("web_search",)), {"type": "web_search"}),
        (ToolChoice("allowed", ("f", "g"), True), {"type": "allowed_tools", "mode": "required", "tools": [
            {"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]}),
    ],
)  # fmt: skip
def test_tool_choice_written(choice: ToolChoice, expected: Any) -> None:
    prompt = said()
    prompt.tools = [Tool("function", "f"), Tool("custom", "g"), Tool("hosted", "web_search", dialect="anthropic")]
    prompt.tool_choice = choice
    assert write(prompt)["tool_choice"] == expected


def test_the_grammar_of_a_chat_tool_loses_its_nesting() -> None:
    prompt = said()
    data = b'{"type":"grammar","grammar":{"syntax":"regex","definition":"a+"}}'
    prompt.tools = [Tool("custom", "g", data=data, dialect="openai_chat")]
    assert write(prompt)["tools"][0]["format"] == {"type": "grammar", "syntax": "regex", "definition": "a+"}
