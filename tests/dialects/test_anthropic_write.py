"""Prompts as Messages requests: fields, sampling, thinking, tools, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from fastanchor.core.model import ModelCard
from fastanchor.core.prompt import (
    Format,
    Prompt,
    Reasoning,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Turn,
)
from fastanchor.dialects.anthropic import DIALECT
from fastanchor.dialects.anthropic.capabilities import generation_of
from fastanchor.dialects.anthropic.write import JSON_OBJECT
from fastanchor.dialects.contract import Target
from tests.kit.anthropic_requests import ADAPTIVE, BUDGET, HI, NEWEST, OTHER, F, refused, written


def test_the_least_request() -> None:
    body, made = written()
    assert body == {
        "model": BUDGET, "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }  # fmt: skip
    assert made.dropped == ()
    assert made.headers == ((b"anthropic-version", b"2026-10-21"),)


@pytest.mark.parametrize(
    ("asked", "card", "expected"),
    [(None, None, 4096), (None, ModelCard("m", max_output=64_000), 64_000), (77, None, 77), (0, None, 0)],
)
def test_max_tokens_is_the_clients_the_cards_or_4096(asked: int | None, card: ModelCard | None, expected: int) -> None:
    assert written(max_output=asked, card=card)[0]["max_tokens"] == expected


def test_a_stream_is_asked_for() -> None:
    made = DIALECT.write(Prompt([HI]), Target(BUDGET, stream=True))
    assert orjson.loads(made.body)["stream"] is True


@pytest.mark.parametrize(
    ("model", "generation"),
    [
        ("claude-opus-4-5-20251101", (4, 5)), ("claude-sonnet-4-20250514", (4, 0)),
        ("claude-3-7-sonnet-20250219", (3, 7)),
        ("claude-3-haiku-20240307", (3, 0)), ("us.anthropic.claude-opus-4-7-v1:0", (4, 7)), ("claude-opus-5-5", (5, 5)),
        ("anthropic/claude-sonnet-4.6", (4, 6)), ("claude-fable-5", (5, 0)), ("kimi-k2", None),
    ],
)  # fmt: skip
def test_the_generation_stands_in_the_name(model: str, generation: tuple[int, int] | None) -> None:
    assert generation_of(model) == generation


# --- sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "members", "sent", "dropped"),
    [
        (BUDGET, {"temperature": 0.5}, {"temperature": 0.5}, ()),
        (BUDGET, {"temperature": 1.7}, {"temperature": 1.0}, ("temperature",)),
        (BUDGET, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ("top_p",)),
        (BUDGET, {"top_p": 0.9, "top_k": 3}, {"top_p": 0.9, "top_k": 3}, ()),
        (OTHER, {"temperature": 0.2}, {"temperature": 0.2}, ()),
        (NEWEST, {"temperature": 0.5, "top_p": 1.0, "top_k": 1}, {}, ("temperature", "top_p", "top_k")),
        (BUDGET, {"temperature": 0.5, "reasoning": Reasoning("on")}, {}, ("temperature",)),
    ],
)
def test_sampling(model: str, members: dict[str, Any], sent: dict[str, Any], dropped: tuple[str, ...]) -> None:
    body, made = written(model=model, **members)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == sent
    assert made.dropped == dropped
    version = b"2023-06-01" if sent else b"2026-10-21"
    assert made.headers == ((b"anthropic-version", version),)


# --- thinking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "limit", "thinking", "max_tokens"),
    [
        (Reasoning("on", budget=2000), 8000, 2000, 8000),
        (Reasoning("on", budget=2000), 2000, 1999, 2000),
        (Reasoning("on", budget=100), 8000, 1024, 8000),
        (Reasoning("on", "minimal"), 8000, 1024, 8000),
        (Reasoning("auto", "low"), 8000, 2048, 8000),
        (Reasoning("auto", "medium"), 20_000, 8192, 20_000),
        (Reasoning("auto", "high"), 20_000, 16_384, 20_000),
        (Reasoning("auto", "xhigh"), 64_000, 32_768, 64_000),
        (Reasoning("auto", "max"), 64_000, 32_768, 64_000),
        (Reasoning("on"), 1025, 1024, 1025),
        (Reasoning("auto", "high"), None, 16_384, 20_480),
    ],
)
def test_effort_and_budgets_on_models_with_budgets(
    wish: Reasoning, limit: int | None, thinking: int, max_tokens: int
) -> None:
    body, made = written(reasoning=wish, max_output=limit)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": thinking}
    assert body["max_tokens"] == max_tokens
    assert 1024 <= thinking < max_tokens
    assert made.dropped == ()


@pytest.mark.parametrize("limit", [1, 1024])
def test_thinking_without_room_is_left_out(limit: int) -> None:
    body, made = written(reasoning=Reasoning("on"), max_output=limit)
    assert "thinking" not in body
    assert made.dropped == ("reasoning",)


def test_a_raised_limit_stays_within_the_models() -> None:
    body, _ = written(reasoning=Reasoning("on", budget=8000), card=ModelCard("m", max_output=6000))
    assert body["max_tokens"] == 6000
    assert body["thinking"]["budget_tokens"] == 5999


@pytest.mark.parametrize(
    ("model", "wish", "thinking", "effort"),
    [
        (ADAPTIVE, Reasoning("auto", "minimal"), {"type": "adaptive"}, "low"),
        (ADAPTIVE, Reasoning("auto", "high", include=True), {"type": "adaptive", "display": "summarized"}, "high"),
        (ADAPTIVE, Reasoning("auto", "xhigh"), {"type": "adaptive"}, "high"),
        (NEWEST, Reasoning("auto", "xhigh"), {"type": "adaptive"}, "xhigh"),
        (NEWEST, Reasoning("on", budget=2000), {"type": "adaptive"}, "low"),
        (NEWEST, Reasoning("on", budget=9000), {"type": "adaptive"}, "medium"),
        (NEWEST, Reasoning("on", budget=20_000), {"type": "adaptive"}, "high"),
        (NEWEST, Reasoning("on", budget=60_000), {"type": "adaptive"}, "xhigh"),
        (NEWEST, Reasoning("auto"), {"type": "adaptive"}, None),
        (NEWEST, Reasoning("off"), None, None),
        ("claude-fable-5", Reasoning("off"), None, "low"),
    ],
)
def test_effort_on_models_that_measure_their_thinking(
    model: str, wish: Reasoning, thinking: dict[str, str] | None, effort: str | None
) -> None:
    body, _ = written(model=model, reasoning=wish)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


def test_traits_of_a_card_go_before_the_name() -> None:
    card = ModelCard("m", traits=frozenset({"thinking_adaptive", "effort", "mid_system"}))
    assert written(model=OTHER, card=card, reasoning=Reasoning("auto", "low"))[0]["thinking"] == {"type": "adaptive"}


def test_models_without_thinking_drop_the_wish() -> None:
    body, made = written(model="claude-3-haiku-20240307", reasoning=Reasoning("auto", "high"))
    assert "thinking" not in body
    assert made.dropped == ("reasoning",)


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("named", ("f",))])
@pytest.mark.parametrize("model", [BUDGET, ADAPTIVE])
def test_thinking_and_a_forced_tool_exclude_each_other(choice: ToolChoice, model: str) -> None:
    members: dict[str, Any] = {"model": model, "tools": [F], "tool_choice": choice}
    members["reasoning"] = Reasoning("auto", "high")
    refused("tool_choice", **members)
    body, made = written(strict=False, **members)
    assert body["tool_choice"] == {"type": "auto"}
    assert "thinking" in body
    assert made.dropped == ("tool_choice",)


# --- tools ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [None, True, False])
@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        (None, None), (ToolChoice("auto"), "auto"), (ToolChoice("none"), "none"), (ToolChoice("required"), "any"),
        (ToolChoice("named", ("f",)), "tool"), (ToolChoice("allowed", ("f",)), "auto"),
        (ToolChoice("allowed", ("f",), required=True), "any"),
    ],
)  # fmt: skip
def test_tool_choice_and_parallel_calls(choice: ToolChoice | None, kind: str | None, parallel: bool | None) -> None:
    body, _ = written(tools=[F, replace(F, name="g")], tool_choice=choice, parallel_tools=parallel)
    told = body.get("tool_choice")
    if kind is None and parallel is not False:
        assert told is None
        return
    assert told["type"] == (kind or "auto")
    assert told.get("name") == ("f" if kind == "tool" else None)
    assert told.get("disable_parallel_tool_use") == (True if parallel is False and kind != "none" else None)
    names = [tool["name"] for tool in body["tools"]]
    assert names == (["f"] if choice is not None and choice.mode == "allowed" else ["f", "g"])


def test_a_choice_without_tools_is_not_sent() -> None:
    assert "tool_choice" not in written(tool_choice=ToolChoice("auto"), parallel_tools=False)[0]


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (b"", b'{"type":"object","properties":{}}'),
        (b" {} ", b'{"type":"object","properties":{}}'),
        (b'{"properties":{"a":{"maximum":9007199254740993123}}}',
         b'{"type":"object","properties":{"a":{"maximum":9007199254740993123}}}'),
        (b'{"type": "object", "x":1}', b'{"type": "object", "x":1}'),
    ],
)  # fmt: skip
def test_schemas_keep_their_bytes_and_get_a_type(schema: bytes, sent: bytes) -> None:
    made = DIALECT.write(Prompt([HI], tools=[replace(F, schema=schema)]), Target(BUDGET))
    assert sent in made.body


@pytest.mark.parametrize("schema", [b"[]", b"{", b'"x"'])
def test_a_schema_that_is_none_is_refused(schema: bytes) -> None:
    refused("tools[0].parameters", tools=[replace(F, schema=schema)])


def test_a_custom_tool_is_a_function_with_one_string() -> None:
    tool = Tool("custom", "f", "d", data=b'{"type":"grammar"}', dialect="openai_chat")
    body, made = written(tools=[tool])
    assert body["tools"][0]["input_schema"]["required"] == ["input"]
    assert made.dropped == ("tools[0].format",)
    (call, _) = (Turn("assistant", (ToolCallPart("t", "f", b"free 'text'", custom=True),)), None)
    body, _ = written(HI, call, Turn("user", (ToolResultPart("t", (TextPart("r"),)),)))
    assert body["messages"][1]["content"][0]["input"] == {"input": "free 'text'"}


@pytest.mark.parametrize(
    "tool",
    [
        Tool("hosted", "web_search", dialect="openai_responses", data=b'{"type":"web_search","filters":'
             b'{"allowed_domains":["a.org"]},"user_location":{"type":"approximate","city":"Oslo"}}'),
        Tool("hosted", "googleSearch", dialect="gemini", data=b'{"googleSearch":{}}'),
    ],
)  # fmt: skip
def test_web_search_has_its_counterpart(tool: Tool) -> None:
    body, _ = written(tools=[tool])
    sent = body["tools"][0]
    assert (sent["type"], sent["name"]) == ("web_search_20250305", "web_search")
    if tool.dialect == "openai_responses":
        assert sent["allowed_domains"] == ["a.org"]
        assert sent["user_location"] == {"type": "approximate", "city": "Oslo"}


def test_hosted_tools_of_others_are_refused_or_dropped() -> None:
    tool = Tool("hosted", "code_interpreter", dialect="openai_responses", data=b'{"type":"code_interpreter"}')
    refused("tools[0]", tools=[tool])
    body, made = written(tools=[tool], strict=False)
    assert "tools" not in body
    assert made.dropped == ("tools[0]",)


def test_anthropics_own_hosted_tools_go_as_they_came() -> None:
    tool = Tool("hosted", "bash", dialect="anthropic", data=b'{"type":"bash_20250124","name":"bash"}')
    assert written(tools=[tool])[0]["tools"] == [{"type": "bash_20250124", "name": "bash"}]


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "dropped"),
    [
        ({"frequency_penalty": 1.0}, "frequency_penalty"), ({"presence_penalty": 1.0}, "presence_penalty"),
        ({"seed": 4}, "seed"), ({"logit_bias": b"{}"}, "logit_bias"), ({"verbosity": "low"}, "verbosity"),
        ({"metadata": b"{}"}, "metadata"), ({"cache_key": "k"}, "prompt_cache_key"), ({"store": True}, "store"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"extra": {"gemini": {"safetySettings": b"[]"}}}, "safetySettings"),
    ],
)  # fmt: skip
def test_what_only_tunes_is_dropped_and_named(members: dict[str, Any], dropped: str) -> None:
    body, made = written(**members)
    assert made.dropped == (dropped,)
    assert set(body) == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"logprobs": True}, "logprobs"), ({"top_logprobs": 3}, "logprobs"), ({"stop": (" ", "x")}, "stop"),
        ({"extra": {"openai_responses": {"truncation": b'"auto"'}}}, "truncation"),
        ({"extra": {"openai_chat": {"modalities": b'["audio"]'}}}, "modalities"),
        ({"extra": {"gemini": {"generationConfig.speechConfig": b"{}"}}}, "generationConfig.speechConfig"),
    ],
)  # fmt: skip
def test_what_changes_the_answer_is_refused_or_on_lenient_routes_dropped(members: dict[str, Any], param: str) -> None:
    refused(param, **members)
    assert written(strict=False, **members)[1].dropped == (param,)


@pytest.mark.parametrize(
    ("dialect", "name", "raw"),
    [
        ("openai_chat", "modalities", b'["text"]'), ("gemini", "generationConfig.responseModalities", b'["TEXT"]'),
        ("openai_responses", "background", b"false"), ("openai_responses", "truncation", b'"disabled"'),
    ],
)  # fmt: skip
def test_a_default_that_is_spelled_out_asks_for_nothing(dialect: str, name: str, raw: bytes) -> None:
    assert written(extra={dialect: {name: raw}})[1].dropped == ()


def test_several_choices_are_refused_everywhere() -> None:
    refused("n", choices=2)
    refused("n", choices=2, strict=False)


def test_labels() -> None:
    body, made = written(stop=("a",), user="u", service_tier="default", extra={"anthropic": {"container": b'"c"'}})
    assert body["stop_sequences"] == ["a"]
    assert body["metadata"] == {"user_id": "u"}
    assert body["service_tier"] == "standard_only"
    assert body["container"] == "c"
    assert made.dropped == ()


def test_a_schema_for_the_answer() -> None:
    wanted = Format("json_schema", "n", b'{"type":"object"}', strict=True)
    assert written(format=wanted)[0]["output_config"] == {
        "format": {"type": "json_schema", "schema": {"type": "object"}}
    }
    assert written(format=wanted, model=NEWEST, reasoning=Reasoning("auto", "low"))[0]["output_config"] == {
        "effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}},
    }  # fmt: skip
    assert written(format=wanted, model="claude-3-haiku-20240307")[0]["tool_choice"] == {"type": "tool", "name": "json"}
    loose, tools = replace(wanted, strict=None), [Tool("function", "f", schema=b'{"type":"object"}')]
    body, _ = written(format=loose, model="claude-3-haiku-20240307", tools=tools)
    assert '{"type":"object"}' in body["system"][-1]["text"]


def test_a_json_object_is_asked_for_in_words() -> None:
    body, _ = written(Turn("system", (TextPart("S"),)), HI, format=Format("json_object"))
    assert [block["text"] for block in body["system"]] == ["S", JSON_OBJECT]
