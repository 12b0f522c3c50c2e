"""Chat requests to prompts and back: every field, every quirk, what is dropped and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
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
from fastanchor.dialects.openai_chat import DIALECT
from fastanchor.providers import catalogue

USER = {"role": "user", "content": "hi"}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def parse(*messages: Any, **fields: Any) -> Prompt:
    body = orjson.dumps({"model": "m", "messages": list(messages) or [USER], **fields})
    return DIALECT.parse(Call("openai_chat", "m", body))


def written(prompt: Prompt, *quirks: str, traits: str = "", model: str = "up", **target: Any) -> Written:
    card = ModelCard(model, traits=frozenset(traits.split())) if traits else None
    return DIALECT.write(prompt, Target(model, card, frozenset(quirks), **target))


def body(prompt: Prompt, *quirks: str, **target: Any) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(written(prompt, *quirks, **target).body)
    return document


def ask(**fields: Any) -> Prompt:
    return Prompt(turns=[Turn("user", (TextPart("hi"),))], **fields)


def refusal(prompt: Prompt, *quirks: str, **target: Any) -> str:
    with pytest.raises(Fault) as caught:
        written(prompt, *quirks, **target)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value.param


@pytest.mark.parametrize("folder", [
    "instructionsParam", "jsonSchemaFormatParam", "parallelToolCallsRequest", "reasoningRequestTruncated",
    "toolCallRequest", "toolChoiceRequiredParam",
])  # fmt: skip
def test_recorded_requests_come_back_as_they_were(recordings: Path, folder: str) -> None:
    given_body = (recordings / "cross" / folder / "chat-completions.request.json").read_bytes()
    call = DIALECT.read(given_body, "", "", {})
    made = DIALECT.write(DIALECT.parse(call), Target(call.model, stream=call.stream))
    assert orjson.loads(made.body) == orjson.loads(given_body)
    assert made.dropped == ()


ROUND = [
    {"temperature": 0.5, "top_p": 0.9, "frequency_penalty": -1.0, "presence_penalty": 2.0, "seed": 7},
    {"max_completion_tokens": 9, "n": 3, "stop": ["a", "b"], "logit_bias": {"5": -100}},
    {"logprobs": True, "top_logprobs": 4},
    {"reasoning_effort": "high", "verbosity": "low"},
    {"store": True, "metadata": {"a": "b"}, "user": "u", "prompt_cache_key": "k", "service_tier": "flex"},
    {"response_format": {"type": "text"}},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {
        "name": "n", "description": "d", "schema": {"type": "object", "z": 1, "a": 2}, "strict": True}}},
    {"tools": [FUNCTION], "tool_choice": "none", "parallel_tool_calls": False},
    {"tools": [FUNCTION], "tool_choice": "required"},
    {"tools": [FUNCTION], "tool_choice": "auto"},
    {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"tools": [{"type": "function", "function": {"name": "f", "description": "d", "strict": True,
                                                 "parameters": {"type": "object", "properties": {}}}}]},
    {"tools": [{"type": "custom", "custom": {"name": "c", "description": "d", "format": {"type": "text"}}}],
     "tool_choice": {"type": "custom", "custom": {"name": "c"}}},
    {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "allowed_tools": {
        "mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}}},
    {"web_search_options": {"search_context_size": "low"}},
    {"prediction": {"type": "content", "content": "x"}, "made_up": [1, 2]},
    {"messages": [
        {"role": "system", "content": "s", "name": "n"},
        {"role": "user", "name": "bob", "content": [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "https://x/i.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
            {"type": "file", "file": {"file_id": "file-1"}},
        ]},
        {"role": "assistant", "content": "t", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"z": 9007199254740993, "a":1}'}},
            {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "free"}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "r1"},
        {"role": "tool", "tool_call_id": "c2", "content": [
            {"type": "text", "text": "r"}, {"type": "text", "text": "2"},
        ]},
        {"role": "system", "content": "mid"},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "user", "content": "go on"},
    ]},
]  # fmt: skip


@pytest.mark.parametrize("fields", ROUND)
def test_a_request_comes_back_as_it_was(fields: dict[str, Any]) -> None:
    document = {"model": "up", "messages": [USER], **fields}
    prompt = DIALECT.parse(Call("openai_chat", "up", orjson.dumps(document)))
    made = written(prompt, "top_k")
    assert orjson.loads(made.body) == document
    assert made.dropped == ()


ids = st.text("abcdefgh0123456789_", min_size=1, max_size=12)
texts = st.text(min_size=1, max_size=8)


arguments = st.dictionaries(texts, st.integers(-(2**60), 2**60), max_size=2).map(lambda d: orjson.dumps(d).decode())
numbers = st.floats(0, 1, allow_nan=False)
optional: dict[str, st.SearchStrategy[Any]] = {
    "temperature": numbers,
    "top_p": numbers,
    "seed": st.integers(0, 2**60),
    "n": st.integers(2, 5),
    "max_completion_tokens": st.integers(0, 9999),
    "stop": st.lists(texts, min_size=1, max_size=4),
}


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Conversations with tools whose every call is answered, and sampling fields."""
    messages: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["user", "system", "assistant", "tools"]))
        if kind != "tools":
            messages.append({"role": kind, "content": draw(texts)})
            if kind == "assistant":
                messages.append({"role": "user", "content": draw(texts)})
            continue
        calls = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
        messages.append({"role": "assistant", "content": draw(st.none() | texts), "tool_calls": [
            {"id": id, "type": "function", "function": {"name": "f", "arguments": draw(arguments)}} for id in calls
        ]})  # fmt: skip
        messages += [{"role": "tool", "tool_call_id": id, "content": draw(texts)} for id in calls]
    fields = draw(st.fixed_dictionaries({}, optional=optional))
    return {"model": "up", "messages": messages, "tools": [FUNCTION], **fields}


@given(requests())
def test_request_to_prompt_to_request_is_the_identity(document: dict[str, Any]) -> None:
    prompt = DIALECT.parse(Call("openai_chat", "up", orjson.dumps(document)))
    assert body(prompt) == document


@given(requests())
def test_writing_is_the_same_every_time(document: dict[str, Any]) -> None:
    call = Call("openai_chat", "up", orjson.dumps(document))
    assert written(DIALECT.parse(call)).body == written(DIALECT.parse(call)).body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x,y"}}]}]},
         "messages[0].content[0].image_url"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
         "messages[0].content[0].file.file_data"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
         "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "function"}]}]},
         "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "messages[0].audio"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"seed": 1.5}, "seed"),
        ({"stop": [1]}, "stop"),
        ({"logit_bias": []}, "logit_bias"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": 5}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
         "tools[0].function.parameters"),
        ({"tools": [FUNCTION], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "teapot"}}, "tool_choice.type"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"reasoning_effort": "heroic"}, "reasoning_effort"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "v"}}, "audio"),
        ({"metadata": "x"}, "metadata"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.parse(Call("openai_chat", "m", orjson.dumps({"model": "m", "messages": [USER], **fields})))
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.param == param


def test_messages_become_turns() -> None:
    prompt = parse(
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "text", "text": "t", "cache_control": {"ttl": "1h"}}]},
        {"role": "assistant", "content": None, "reasoning_content": "th",
         "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    )  # fmt: skip
    assert prompt.turns == [
        Turn("system", (TextPart("d"),)),
        Turn("user", (TextPart("t", CacheMark("1h")),)),
        Turn("assistant", (ThoughtPart("th"), ToolCallPart("c", "f", b""))),
        Turn("user", (ToolResultPart("c", (TextPart("r"),)),)),
    ]


def test_replayed_proofs_are_read_from_their_entries() -> None:
    prompt = parse(USER, {"role": "assistant", "content": "x", "reasoning_content": "th", "reasoning_details": [
        {"type": "reasoning.text", "text": "th", "signature": "s", "format": "anthropic-claude-v1"},
        {"type": "reasoning.encrypted", "data": "z", "format": "google-gemini-v1"},
    ]})  # fmt: skip
    assert prompt.turns[1].parts[:2] == (
        ThoughtPart("th", OpaqueSignature("anthropic", "s")),
        ThoughtPart("", OpaqueSignature("gemini", "z"), redacted=True),
    )


def test_deprecated_functions_are_tools_with_minted_ids() -> None:
    call = Call("openai_chat", "m", orjson.dumps({
        "model": "m", "functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}, "messages": [
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "r"},
        ],
    }))  # fmt: skip
    prompt = DIALECT.parse(call)
    assert prompt.tools[0].name == "f"
    assert prompt.tool_choice == ToolChoice("named", ("f",), required=True)
    assert prompt.parallel_tools is False
    assert "functions" in call.options
    messages = body(prompt)["messages"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == "call_1"


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({"reasoning_effort": "none"}, Reasoning("off")),
        ({"reasoning_effort": "low"}, Reasoning("on", "low")),
        ({"reasoning": {"effort": "high"}}, Reasoning("on", "high", include=True)),
        ({"reasoning": {"max_tokens": 2000, "exclude": True}}, Reasoning("on", "", 2000)),
        ({"reasoning": {"enabled": False}}, Reasoning("off")),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, Reasoning("on", "", 1024, include=True)),
        ({"thinking": {"type": "disabled"}}, Reasoning("off")),
        ({"thinking": {"type": "adaptive"}, "reasoning_effort": "max"}, Reasoning("auto", "max", include=True)),
        ({}, None),
    ],
)
def test_reasoning_in_every_vendors_words(fields: dict[str, Any], reasoning: Reasoning | None) -> None:
    assert parse(**fields).reasoning == reasoning


@pytest.mark.parametrize(
    ("wanted", "quirks", "traits", "fields"),
    [
        (Reasoning("on", "high"), "", "", {"reasoning_effort": "high"}),
        (Reasoning("on", budget=2048), "", "", {"reasoning_effort": "low"}),
        (Reasoning("on", budget=2049), "", "", {"reasoning_effort": "medium"}),
        (Reasoning("on", budget=24_577), "", "", {"reasoning_effort": "xhigh"}),
        (Reasoning("on", "high"), "", "tools", {}),
        (Reasoning("off"), "", "", {}),
        (Reasoning("off"), "", "reasoning effort", {"reasoning_effort": "none"}),
        (Reasoning("on", "high"), "reasoning_details", "", {"reasoning": {"effort": "high"}}),
        (Reasoning("on", budget=9), "reasoning_details", "", {"reasoning": {"max_tokens": 9}}),
        (Reasoning("off"), "reasoning_details", "", {"reasoning": {"enabled": False}}),
        (Reasoning("on", "high"), "thinking_toggle", "", {"thinking": {"type": "enabled"}}),
        (Reasoning("off"), "thinking_toggle", "", {"thinking": {"type": "disabled"}}),
        (Reasoning("on", budget=9), "enable_thinking", "", {"enable_thinking": True, "thinking_budget": 9}),
        (Reasoning("on", "high"), "replays_reasoning", "", {}),
        (Reasoning("auto"), "", "", {}),
    ],
)
def test_reasoning_is_asked_in_the_upstreams_way(
    wanted: Reasoning, quirks: str, traits: str, fields: dict[str, Any]
) -> None:
    made = body(ask(reasoning=wanted), *quirks.split(), traits=traits)
    names = ("reasoning_effort", "reasoning", "thinking", "enable_thinking", "thinking_budget")
    assert {name: made[name] for name in names if name in made} == fields


@pytest.mark.parametrize(("model", "effort"), [("o3", "low"), ("gpt-5-mini", "minimal"), ("gpt-5.2", "none")])
def test_the_least_effort_of_a_model_stands_for_none(model: str, effort: str) -> None:
    made = body(ask(reasoning=Reasoning("off")), model=model, traits="reasoning effort")
    assert made["reasoning_effort"] == effort


def test_reasoning_models_are_not_sent_sampling() -> None:
    prompt = ask(temperature=1.0, top_p=0.5, seed=3)
    made = written(prompt, traits="no_sampling")
    assert orjson.loads(made.body) == {"model": "up", "messages": [USER], "seed": 3}
    assert made.dropped == ("temperature", "top_p")
    assert refusal(ask(logprobs=True), traits="no_sampling") == "logprobs"


@pytest.mark.parametrize(
    ("quirks", "traits", "name"),
    [("", "", "max_completion_tokens"), ("legacy_max_tokens", "", "max_tokens"),
     ("legacy_max_tokens", "max_completion_tokens", "max_completion_tokens")],
)  # fmt: skip
def test_the_name_of_the_output_limit(quirks: str, traits: str, name: str) -> None:
    made = body(ask(max_output=5), *quirks.split(), traits=traits)
    assert {key for key in made if "tokens" in key} == {name}


def test_small_quirks() -> None:
    assert body(ask(seed=3), "random_seed")["random_seed"] == 3
    assert body(ask(top_k=3), "top_k")["top_k"] == 3
    assert written(ask(top_k=3)).dropped == ("top_k",)
    assert body(ask(), stream=True)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in body(ask(), "no_stream_options", stream=True)
    labels = written(ask(store=True, metadata=b"{}", cache_key="k", user="u"), "no_labels")
    assert labels.dropped == ("user", "metadata", "prompt_cache_key", "store")
    assert written(ask(user="u" * 65)).dropped == ("user",)


CALLS = [
    Turn("user", (TextPart("q"),)),
    Turn("assistant", (ThoughtPart("th", OpaqueSignature("anthropic", "s")), ToolCallPart("toolu_1", "f", b"{}"))),
    Turn("user", (ToolResultPart("toolu_1", (TextPart("r"),)),)),
]


def test_short_tool_ids_are_the_same_for_call_and_result() -> None:
    messages = body(Prompt(turns=CALLS), "short_tool_ids")["messages"]
    id = messages[1]["tool_calls"][0]["id"]
    assert len(id) == 9
    assert id.isalnum()
    assert messages[2]["tool_call_id"] == id
    call, result = ToolCallPart("x" * 64, "f", b"{}"), ToolResultPart("x" * 64, ())
    messages = body(Prompt(turns=[CALLS[0], Turn("assistant", (call,)), Turn("user", (result,))]))["messages"]
    assert len(messages[1]["tool_calls"][0]["id"]) <= 40
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]


def test_thinking_is_replayed_to_those_who_want_it() -> None:
    assert body(Prompt(turns=CALLS), "replays_reasoning")["messages"][1]["reasoning_content"] == "th"
    row = {"type": "reasoning.text", "index": 0, "text": "th", "signature": "s", "format": "anthropic-claude-v1"}
    assert body(Prompt(turns=CALLS), "reasoning_details")["messages"][1]["reasoning_details"] == [row]
    plain = written(Prompt(turns=CALLS))
    assert orjson.loads(plain.body)["messages"][1].keys() == {"role", "content", "tool_calls"}
    assert plain.dropped == ("messages[1].reasoning",)


def test_errors_and_media_of_tool_results() -> None:
    result = ToolResultPart("toolu_1", (TextPart("r"), MediaPart("image", data="AA", mime="image/jpg")), is_error=True)
    messages = body(Prompt(turns=[*CALLS[:2], Turn("user", (TextPart("and"), result))]))["messages"]
    assert messages[2] == {"role": "tool", "tool_call_id": "toolu_1", "content": "Error: r"}
    assert messages[3]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AA"}}, {"type": "text", "text": "and"}
    ]  # fmt: skip


def test_cache_marks_are_sent_where_they_are_taken() -> None:
    prompt = Prompt(turns=[Turn("user", (TextPart("hi", CacheMark("1h")),))])
    assert written(prompt).dropped == ("cache_control",)
    part = body(prompt, "cache_control")["messages"][0]["content"][0]
    assert part["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(("model", "taken"), [("gpt-5.5", False), ("gpt-5.6", True), ("gpt-5.6-mini", True)])
def test_cache_marks_become_breakpoints_where_the_model_takes_them(model: str, taken: bool) -> None:
    prompt = Prompt(turns=[Turn("user", (TextPart("hi", CacheMark("1h")),))])
    made = DIALECT.write(prompt, Target(model, catalogue.card(model)))
    content = orjson.loads(made.body)["messages"][0]["content"]
    mark = {"mode": "explicit", "ttl": "30m"}
    assert content == ([{"type": "text", "text": "hi", "prompt_cache_breakpoint": mark}] if taken else "hi")
    assert made.dropped == (() if taken else ("cache_control",))


@pytest.mark.parametrize(("model", "known"), [("gpt-4.1", True), ("my-own-llama", False)])
def test_a_prefill_is_refused_where_the_model_is_known_not_to_go_on_with_it(model: str, known: bool) -> None:
    turns = [Turn("user", (TextPart("hi"),)), Turn("assistant", (TextPart("Well"),), path="messages[1]")]
    prompt = Prompt(turns=turns, prefill=True)
    if known:
        with pytest.raises(Fault) as caught:
            DIALECT.write(prompt, Target(model, catalogue.card(model)))
        assert caught.value.param == "messages[1]"
    made = DIALECT.write(prompt, Target(model, catalogue.card(model), strict=not known))
    assert orjson.loads(made.body)["messages"][1] == {"role": "assistant", "content": "Well"}
    assert made.dropped == (("messages[1]",) if known else ())


@pytest.mark.parametrize(
    "part",
    [
        MediaPart("video", url="https://x/v.mp4"),
        MediaPart("image", file_id="file_1"),
        MediaPart("audio", data="AA", mime="audio/ogg"),
        MediaPart("document", url="https://x/a.pdf"),
        MediaPart("document", file_id="file_1"),
        HostedPart("anthropic", b"{}"),
    ],
)
def test_parts_without_a_place_are_refused_or_on_lenient_routes_dropped(part: Any) -> None:
    prompt = Prompt(turns=[Turn("user", (TextPart("hi"), part))])
    assert refusal(prompt) == "messages[0]"
    lenient = written(prompt, strict=False)
    assert lenient.dropped == ("messages[0]",)
    assert orjson.loads(lenient.body)["messages"] == [USER]


def test_a_document_given_as_text_is_text() -> None:
    prompt = Prompt(turns=[Turn("user", (MediaPart("document", text="words", name="a.txt"),))])
    assert body(prompt)["messages"][0]["content"] == "a.txt\n\nwords"


def test_hosted_tools_of_others_are_refused() -> None:
    prompt = ask(tools=[Tool("hosted", "bash", data=b'{"type":"bash_20250124"}', dialect="anthropic")])
    assert refusal(prompt) == "tools[0]"
    assert "tools" not in body(prompt, strict=False)


@pytest.mark.parametrize(
    ("dialect", "name"),
    [("anthropic", "mcp_servers"), ("openai_responses", "previous_response_id"), ("gemini", "cachedContent")],
)
def test_state_kept_elsewhere_is_always_refused(dialect: str, name: str) -> None:
    assert refusal(ask(extra={dialect: {name: b'"x"'}}), strict=False) == name


def test_what_only_another_dialect_knows_is_dropped_by_name() -> None:
    made = written(ask(extra={"gemini": {"safetySettings": b"[]"}, "anthropic": {"speed": b'"fast"'}}))
    assert made.dropped == ("safetySettings", "speed")
    assert orjson.loads(made.body) == {"model": "up", "messages": [USER]}


def test_more_than_four_stops() -> None:
    prompt = ask(stop=("a", "b", "c", "d", "e"))
    assert refusal(prompt) == "stop"
    assert body(prompt, strict=False)["stop"] == ["a", "b", "c", "d"]


def test_a_schema_without_a_name_gets_one() -> None:
    form = body(ask(format=Format("json_schema", schema=b'{"type":"object"}')))["response_format"]
    assert form == {"type": "json_schema", "json_schema": {"name": "response", "schema": {"type": "object"}}}


def test_a_choice_without_tools_is_left_out() -> None:
    made = body(ask(tool_choice=ToolChoice("auto"), parallel_tools=False))
    assert "tool_choice" not in made
    assert "parallel_tool_calls" not in made


def test_nothing_to_say_is_refused() -> None:
    assert refusal(Prompt(turns=[Turn("user", (TextPart(""),))])) == "messages"
