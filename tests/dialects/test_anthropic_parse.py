"""Messages requests as prompts, under both API versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
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
from fastanchor.dialects.anthropic import DIALECT

OLD, NEW = "2023-06-01", "2026-10-21"
CROSS = (
    "anthropicMidConversationSystemMessage", "instructionsParam", "jsonSchemaFormatParam", "parallelToolCallsRequest",
    "reasoningRequestTruncated", "toolCallRequest", "toolChoiceRequiredParam",
)  # fmt: skip
EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}


def parsed(version: str = OLD, **members: Any) -> Prompt:
    body = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}]} | members
    return DIALECT.parse(Call("anthropic", "m", orjson.dumps(body), headers={"anthropic-version": version}))


def part_of(block: dict[str, Any], role: str = "user") -> Any:
    prompt = parsed(messages=[{"role": role, "content": [block]}])
    assert len(prompt.turns) == 1
    (part,) = prompt.turns[0].parts
    return part


@pytest.mark.parametrize("name", CROSS)
def test_recorded_requests_parse(recordings: Path, name: str) -> None:
    body = (recordings / "cross" / name / "anthropic.request.json").read_bytes()
    call = DIALECT.read(body, "/v1/messages", "", {})
    prompt = DIALECT.parse(call)
    said = orjson.loads(body)
    assert prompt.max_output == said["max_tokens"]
    turns = [turn for turn in prompt.turns if turn.role != "system"]
    assert len(turns) + sum(m["role"] == "system" for m in said["messages"]) == len(said["messages"])
    assert [tool.name for tool in prompt.tools] == [tool["name"] for tool in said.get("tools", [])]
    assert prompt.extra == {"anthropic": {}}


BLOCKS: tuple[tuple[dict[str, Any], Any], ...] = (
    ({"type": "text", "text": "Hi"}, TextPart("Hi")),
    ({"type": "text", "text": "Hi", "cache_control": EPHEMERAL}, TextPart("Hi", CacheMark("1h"))),
    ({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}, TextPart("Hi", CacheMark(""))),
    (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
        MediaPart("image", data="AA", mime="image/png"),
    ),
    ({"type": "image", "source": {"type": "url", "url": "https://x/y"}}, MediaPart("image", url="https://x/y")),
    ({"type": "image", "source": {"type": "file", "file_id": "f_1"}}, MediaPart("image", file_id="f_1")),
    (
        {"type": "document", "title": "T", "source": {"type": "base64", "media_type": "application/pdf", "data": "A"}},
        MediaPart("document", data="A", mime="application/pdf", name="T"),
    ),
    (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
        MediaPart("document", text="words", mime="text/plain"),
    ),
    (
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
        MediaPart("document", text="a", mime="text/plain"),
    ),
    (
        {"type": "search_result", "source": "https://x", "title": "T", "content": [{"type": "text", "text": "a"}]},
        MediaPart("document", text="https://x\na", mime="text/plain", name="T"),
    ),
    ({"type": "thinking", "thinking": "hm", "signature": "s"}, ThoughtPart("hm", OpaqueSignature("anthropic", "s"))),
    ({"type": "thinking", "thinking": "hm", "signature": ""}, ThoughtPart("hm")),
    (
        {"type": "redacted_thinking", "data": "d"},
        ThoughtPart("", OpaqueSignature("anthropic", "d"), redacted=True),
    ),
    ({"type": "tool_use", "id": "t", "name": "f", "input": {}}, ToolCallPart("t", "f", b"{}")),
    ({"type": "tool_result", "tool_use_id": "t"}, ToolResultPart("t", ())),
    (
        {"type": "tool_result", "tool_use_id": "t", "content": "no", "is_error": True},
        ToolResultPart("t", (TextPart("no"),), is_error=True),
    ),
    (
        {"type": "tool_result", "tool_use_id": "t",
         "content": [{"type": "image", "source": {"type": "url", "url": "https://x"}}]},
        ToolResultPart("t", (MediaPart("image", url="https://x"),)),
    ),
)  # fmt: skip


@pytest.mark.parametrize(("block", "part"), BLOCKS)
def test_each_block_has_its_part(block: dict[str, Any], part: Any) -> None:
    assert part_of(block) == part


def test_a_document_context_goes_before_it() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "words"}
    prompt = parsed(messages=[{"role": "user", "content": [{"type": "document", "context": "C", "source": source}]}])
    assert prompt.turns[0].parts[0] == TextPart("C")


def test_what_only_anthropic_understands_stays_raw() -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"n": 9007199254740993}}
    assert part_of(block, "assistant") == HostedPart("anthropic", orjson.dumps(block))


def test_tool_input_and_schemas_keep_their_bytes() -> None:
    raw = b'{"z" : 9007199254740993123, "a":1}'
    body = (
        b'{"model":"m","max_tokens":8,"messages":[{"role":"assistant","content":'
        b'[{"type":"tool_use","id":"t","name":"f","input":%b}]}],"tools":[{"name":"f","input_schema":%b}]}' % (raw, raw)
    )
    prompt = DIALECT.parse(Call("anthropic", "m", body))
    assert prompt.turns[0].parts == (ToolCallPart("t", "f", raw),)
    assert prompt.tools[0].schema == raw


def test_system_turns_keep_their_place() -> None:
    prompt = parsed(
        system=[{"type": "text", "text": "A", "cache_control": EPHEMERAL}],
        messages=[{"role": "user", "content": "Hi"}, {"role": "system", "content": "B"}],
    )
    assert prompt.turns == [
        Turn("system", (TextPart("A", CacheMark("1h")),)), Turn("user", (TextPart("Hi"),)),
        Turn("system", (TextPart("B"),)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("members", "reasoning"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Reasoning("on", budget=2000, include=True)),
        ({"thinking": {"type": "adaptive"}}, Reasoning("auto", include=True)),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Reasoning("auto")),
        ({"thinking": {"type": "between_tools"}}, Reasoning("auto", include=True)),
        ({"thinking": {"type": "disabled"}}, Reasoning("off")),
        ({"output_config": {"effort": "max"}}, Reasoning("auto", "max")),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            Reasoning("auto", "low", include=True),
        ),
    ],
)
def test_thinking_and_effort(members: dict[str, Any], reasoning: Reasoning | None) -> None:
    assert parsed(**members).reasoning == reasoning


@pytest.mark.parametrize("name", ["output_config", "output_format"])
def test_structured_output_under_both_names(name: str) -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    prompt = parsed(**{name: {"format": wanted} if name == "output_config" else wanted})
    assert prompt.format == Format("json_schema", schema=b'{"type":"object"}', strict=True)


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, ToolChoice("named", ("f",)), True),
        ({"type": "none"}, ToolChoice("none"), None),
    ],
)
def test_tool_choice(choice: dict[str, Any], expected: ToolChoice, parallel: bool | None) -> None:
    prompt = parsed(tool_choice=choice)
    assert (prompt.tool_choice, prompt.parallel_tools) == (expected, parallel)


def test_tools_of_all_kinds() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    mine = {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True,
            "cache_control": EPHEMERAL, "defer_loading": True}  # fmt: skip
    prompt = parsed(tools=[mine, search])
    assert prompt.tools == [
        Tool("function", "f", "d", b'{"type":"object"}', True, cache=CacheMark("1h")),
        Tool("hosted", "web_search", data=orjson.dumps(search), dialect="anthropic"),
    ]
    assert prompt.extra["anthropic"] == {"tools[0].defer_loading": b"true"}


def test_labels_sampling_and_what_has_no_place() -> None:
    prompt = parsed(
        temperature=0.5, top_p=0.9, top_k=4, stop_sequences=["a", "b"], metadata={"user_id": "u"},
        service_tier="standard_only", container="c_1", stream=True, speed=None,
    )  # fmt: skip
    assert (prompt.temperature, prompt.top_p, prompt.top_k, prompt.stop) == (0.5, 0.9, 4, ("a", "b"))
    assert (prompt.user, prompt.service_tier) == ("u", "default")
    assert prompt.extra == {"anthropic": {"container": b'"c_1"'}}


DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
CITED = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"temperature": 1.0}, "temperature"),
        ({"top_p": 1}, "top_p"),
        ({"top_k": 5}, "top_k"),
        ({"messages": [{"role": "assistant", "content": [DOCUMENT]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [CITED]}]}, "messages[0].content[0].citations"),
    ],
)
def test_version_2026_10_21_refuses_what_2023_06_01_takes(members: dict[str, Any], param: str) -> None:
    parsed(OLD, **members)
    with pytest.raises(Fault) as caught:
        parsed(NEW, **members)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "members",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "citations": []}, DOCUMENT]}]},
        {"messages": [{"role": "assistant", "content": [CITED]}]},
        {"temperature": None},
    ],
)
def test_version_2026_10_21_takes_the_rest(members: dict[str, Any]) -> None:
    parsed(NEW, **members)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "ftp"}}]}]},
         "messages[0].content[0].source.type"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": 3}]}]},
         "messages[0].content[0].input"),
        ({"system": 3}, "system"),
        ({"system": [DOCUMENT]}, "system[0]"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1000}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"metadata": []}, "metadata"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named_by_its_path(members: dict[str, Any], param: str) -> None:
    with pytest.raises(Fault) as caught:
        parsed(**members)
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "user", "text", "auto"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "source", "input", "name", "id"]), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["messages", "system", "tools", "tool_choice", "thinking", "output_config", "metadata"]),
        JSON,
    )
)
def test_any_request_parses_or_is_a_fault(members: dict[str, Any]) -> None:
    told: Fault | None = None
    try:
        parsed(**members)
    except Fault as fault:
        told = fault
    assert told is None or (told.kind is Kind.INVALID_REQUEST and told.param)
