"""Requests parsed: items as turns, settings, and what cannot be parsed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import (
    CacheMark,
    Format,
    HostedPart,
    MediaPart,
    OpaqueSignature,
    Prompt,
    Reasoning,
    RefusalPart,
    TextPart,
    ThoughtPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Turn,
)
from fastanchor.dialects.openai_responses import DIALECT, parse_items
from tests.dialects.responses_sdk import read


def parse(**members: Any) -> Prompt:
    return DIALECT.parse(read({"model": "m", "input": "hi", **members}))


def turns(*items: dict[str, Any]) -> list[Turn]:
    return parse_items(orjson.dumps(items))


def test_text_input_is_one_user_turn() -> None:
    assert parse(input="hi").turns == [Turn("user", (TextPart("hi"),))]


def test_instructions_come_first_and_mid_conversation_system_stays_in_place() -> None:
    prompt = parse(instructions="A", input=[
        {"role": "developer", "content": "B"}, {"role": "user", "content": "u"}, {"role": "system", "content": "C"}
    ])  # fmt: skip
    assert [(turn.role, turn.parts[0].text) for turn in prompt.turns] == [  # type: ignore[union-attr]
        ("system", "A"), ("system", "B"), ("user", "u"), ("system", "C")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "input_text", "text": "a"}, TextPart("a")),
        ({"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
         TextPart("a", CacheMark("12h"))),
        ({"type": "input_image", "image_url": "https://h/i.png", "detail": "low"},
         MediaPart("image", url="https://h/i.png", detail="low")),
        ({"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
         MediaPart("image", data="AAAA", mime="image/png", detail="auto")),
        ({"type": "input_image", "file_id": "file-1"}, MediaPart("image", file_id="file-1")),
        ({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
         MediaPart("document", data="AAAA", mime="application/pdf", name="a.pdf")),
        ({"type": "input_file", "filename": "a.pdf", "file_data": "AAAA"},
         MediaPart("document", data="AAAA", mime="application/pdf", name="a.pdf")),
        ({"type": "input_file", "file_url": "https://h/a.pdf"}, MediaPart("document", url="https://h/a.pdf")),
        ({"type": "input_file", "file_id": "file-1"}, MediaPart("document", file_id="file-1")),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
         MediaPart("audio", data="AAAA", mime="audio/wav")),
    ],
)  # fmt: skip
def test_content_parts(part: dict[str, Any], expected: Any) -> None:
    assert turns({"role": "user", "content": [part]}) == [Turn("user", (expected,))]


def test_what_the_assistant_did_in_a_row_is_one_turn_and_so_are_the_results() -> None:
    told = turns(
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}],
         "encrypted_content": "gAAA"},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "let me", "annotations": []},
                     {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"n": 12345678901234567890}'},
        {"type": "custom_tool_call", "call_id": "b", "name": "g", "input": "free text"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "2"}]},
        {"role": "user", "content": "and?"},
    )  # fmt: skip
    assert told == [
        Turn("assistant", (
            ThoughtPart("hm", OpaqueSignature("openai_responses", "gAAA"), id="rs_1"),
            TextPart("let me"), RefusalPart("no"),
            ToolCallPart("a", "f", b'{"n": 12345678901234567890}'),
            ToolCallPart("b", "g", b"free text", custom=True),
        )),
        Turn("user", (ToolResultPart("a", (TextPart("1"),)), ToolResultPart("b", (TextPart("2"),), custom=True))),
        Turn("user", (TextPart("and?"),)),
    ]  # fmt: skip


def test_reasoning_that_only_its_vendor_reads_is_redacted_and_empty_reasoning_is_nothing() -> None:
    told = turns({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
                 {"type": "reasoning", "id": "rs_2", "summary": []})  # fmt: skip
    signature = OpaqueSignature("openai_responses", "gAAA")
    assert told == [Turn("assistant", (ThoughtPart("", signature, redacted=True, id="rs_1"),))]


def test_hosted_items_stay_raw_on_the_side_that_made_them() -> None:
    call = b'{"type": "shell_call", "call_id": "s", "action": {"n": 12345678901234567890}}'
    result = b'{"type":"shell_call_output","call_id":"s","output":[]}'
    assert parse_items(b"[%b,%b]" % (call, result)) == [
        Turn("assistant", (HostedPart("openai_responses", call),)),
        Turn("user", (HostedPart("openai_responses", result),)),
    ]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (5, "input[0]"),
        ({"role": "narrator", "content": "x"}, "input[0].role"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "user", "content": 5}, "input[0].content"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
        ({"role": "user", "content": [{"text": "x"}]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"type": "hologram"}]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_image"}]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"type": "input_file"}]}, "input[0].content[0]"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "input[0].call_id"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "input[0].name"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
        ({"type": "item_reference", "id": "msg_1"}, "input[0]"),
        ({"id": "msg_1"}, "input[0]"),
    ],
)
def test_bad_items_name_their_place(item: Any, param: str) -> None:
    with pytest.raises(Fault) as told:
        parse(input=[item])
    assert (told.value.kind, told.value.param) == (Kind.INVALID_REQUEST, param)


@pytest.mark.parametrize(
    ("members", "field", "expected"),
    [
        ({"max_output_tokens": 5}, "max_output", 5),
        ({"temperature": 1}, "temperature", 1.0),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"parallel_tool_calls": False}, "parallel_tools", False),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 3}, "logprobs", True),
        ({"top_logprobs": 3}, "top_logprobs", 3),
        ({"text": {"format": {"type": "text"}}}, "format", Format("text")),
        ({"text": {"format": {"type": "json_object"}}}, "format", Format("json_object")),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {"b": 1, "a": 2}, "strict": True}}},
         "format", Format("json_schema", "n", b'{"b":1,"a":2}', True)),
        ({"text": {"verbosity": "low"}}, "verbosity", "low"),
        ({"reasoning": {"effort": "high", "summary": "auto"}}, "reasoning",
         Reasoning("on", "high", None, "auto", True)),
        ({"reasoning": {"effort": "none"}}, "reasoning", Reasoning("off")),
        ({"reasoning": {}}, "reasoning", None),
        ({"metadata": {"b": "1", "a": "2"}}, "metadata", b'{"b":"1","a":"2"}'),
        ({"user": "u"}, "user", "u"),
        ({"user": "u", "safety_identifier": "s"}, "user", "s"),
        ({"prompt_cache_key": "k"}, "cache_key", "k"),
        ({"service_tier": "flex"}, "service_tier", "flex"),
        ({"store": False}, "store", False),
        ({"tool_choice": "none"}, "tool_choice", ToolChoice("none")),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice", ToolChoice("named", ("f",))),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice", ToolChoice("named", ("web_search",))),
        ({"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}},
         "tool_choice", ToolChoice("allowed", ("f",), True)),
        ({"tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"z": 1, "a": 2}}]},
         "tools", [Tool("function", "f", "d", b'{"z":1,"a":2}')]),
        ({"tools": [{"type": "custom", "name": "g", "format": {"type": "text"}}]},
         "tools", [Tool("custom", "g", data=b'{"type":"text"}', dialect="openai_responses")]),
        ({"tools": [{"type": "web_search", "x": 1}]},
         "tools", [Tool("hosted", "web_search", data=b'{"type":"web_search","x":1}', dialect="openai_responses")]),
        ({"truncation": "disabled"}, "extra", {}),
        ({"truncation": "auto", "max_tool_calls": 3}, "extra",
         {"openai_responses": {"max_tool_calls": b"3", "truncation": b'"auto"'}}),
        ({"include": ["reasoning.encrypted_content"]}, "extra", {}),
        ({"include": ["web_search_call.results"]}, "extra",
         {"openai_responses": {"include": b'["web_search_call.results"]'}}),
    ],
)  # fmt: skip
def test_settings(members: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(parse(**members), field) == expected


def test_tools_that_the_input_adds_are_tools() -> None:
    item = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "late"}]}
    prompt = parse(input=[item, {"role": "user", "content": "hi"}])
    assert [tool.name for tool in prompt.tools] == ["late"]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"temperature": "warm"}, "temperature"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]}, "tools[0].tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": 5}]}, "tools[0].tools"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"instructions": []}, "instructions"),
    ],
)
def test_what_cannot_be_parsed_names_the_field(members: dict[str, Any], param: str) -> None:
    with pytest.raises(Fault) as told:
        parse(**members)
    assert (told.value.kind, told.value.param) == (Kind.INVALID_REQUEST, param)
