"""The demo provider: the same words everywhere, exact usage, tools and structure when asked."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.providers.demo import CHAT, LANGUAGES, PROMPT, TEXT, ask, chat, deltas, events, plain, post, said, sent

TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
OTHER = {"name": "time", "parameters": {"type": "object", "properties": {}}}


# the same words everywhere


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("model", ["demo", "demo-fast", "demo-slow", "demo-n60-p1-ttft1", "gpt-4o"])
def test_a_prompt_has_one_text_in_every_dialect_from_every_model(language: str, model: str) -> None:
    assert said(language, plain(ask(language, model))) == TEXT
    assert "".join(deltas(language, sent(ask(language, model, stream=True)))) == TEXT


def test_texts_differ_by_prompt_and_variant() -> None:
    other = plain(post(CHAT, {"model": "demo", "messages": [{"role": "user", "content": "Something else"}]}))
    texts = {TEXT, said("chat", other), said("chat", plain(ask("chat", "demo-variant2")))}
    assert len(texts) == 3


def test_how_a_prompt_is_spread_over_messages_does_not_count() -> None:
    first, second = PROMPT.split(maxsplit=1)
    parts = [{"type": "text", "text": first}, {"type": "text", "text": second + "\n"}]
    spread = [
        chat(messages=[{"role": "system", "content": first}, {"role": "user", "content": second}]),
        chat(messages=[{"role": "user", "content": parts}]),
    ]
    for body in spread:
        assert said("chat", plain(post(CHAT, body))) == TEXT
    assert said("messages", plain(ask("messages", system=first, messages=[{"content": second}]))) == TEXT
    assert said("responses", plain(ask("responses", instructions=first, input=second))) == TEXT
    system = {"systemInstruction": {"parts": [{"text": first}]}, "contents": [{"parts": [{"text": second}]}]}
    assert said("gemini", plain(ask("gemini", **system))) == TEXT


def test_a_longer_answer_begins_with_the_shorter_one() -> None:
    long = said("chat", plain(ask("chat", "demo-n500")))
    assert long.startswith(TEXT)
    assert said("chat", plain(ask("chat", "demo-n500"))) == long


def test_a_text_reaches_beyond_ascii() -> None:
    text = said("chat", plain(ask("chat", "demo-n1000")))
    assert all(word in text for word in ("🙂", "日本", '"'))


def test_nothing_depends_on_the_number_but_ids() -> None:
    first, second = plain(ask("chat", number=1)), plain(ask("chat", number=2))
    assert first.pop("id") != second.pop("id")
    assert first == second


# usage


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("n", [1, 7, 60])
def test_usage_counts_the_pieces_of_the_stream(language: str, n: int) -> None:
    streamed = deltas(language, sent(ask(language, f"demo-n{n}", stream=True)))
    assert len(streamed) == n
    body = plain(ask(language, f"demo-n{n}"))
    usage = body.get("usage") or body["usageMetadata"]
    names = {
        "chat": ("prompt_tokens", "completion_tokens"),
        "completions": ("prompt_tokens", "completion_tokens"),
        "responses": ("input_tokens", "output_tokens"),
        "messages": ("input_tokens", "output_tokens"),
        "gemini": ("promptTokenCount", "candidatesTokenCount"),
    }[language]
    assert [usage[name] for name in names] == [4, n]


@pytest.mark.parametrize("language", ["chat", "completions"])
def test_a_chat_stream_has_usage_only_when_asked(language: str) -> None:
    assert all("usage" not in event for event in events(sent(ask(language, stream=True)))[:-1])
    asked = ask(language, stream=True, stream_options={"include_usage": True})
    *chunks, last, done = events(sent(asked))
    assert (last["choices"], last["usage"]["total_tokens"], done) == ([], 64, "[DONE]")
    assert all(not chunk.get("usage") for chunk in chunks)


def test_nousage_leaves_it_out() -> None:
    assert "usage" not in plain(ask("chat", "demo-nousage"))
    streamed = sent(ask("chat", "demo-nousage", stream=True, stream_options={"include_usage": True}))
    assert b'"usage"' not in streamed
    assert plain(ask("responses", "demo-nousage"))["usage"] is None
    assert "usageMetadata" not in plain(ask("gemini", "demo-nousage"))


# limits, stops, choices


@pytest.mark.parametrize(
    ("language", "fields", "finish"),
    [
        ("chat", {"max_tokens": 5}, lambda body: body["choices"][0]["finish_reason"] == "length"),
        ("chat", {"max_completion_tokens": 5}, lambda body: body["choices"][0]["finish_reason"] == "length"),
        ("completions", {"max_tokens": 5}, lambda body: body["choices"][0]["finish_reason"] == "length"),
        ("responses", {"max_output_tokens": 5}, lambda body: body["status"] == "incomplete"),
        ("messages", {"max_tokens": 5}, lambda body: body["stop_reason"] == "max_tokens"),
        (
            "gemini",
            {"generationConfig": {"maxOutputTokens": 5}},
            lambda body: body["candidates"][0]["finishReason"] == "MAX_TOKENS",
        ),
    ],
)
def test_a_limit_of_tokens_is_kept_and_told(language: str, fields: dict[str, Any], finish: Any) -> None:
    body = plain(ask(language, **fields))
    assert finish(body)
    assert len(said(language, body).split()) == 5
    assert TEXT.startswith(said(language, body))


def test_a_stop_sequence_ends_the_text_before_it() -> None:
    stop = TEXT.split()[3]
    body = plain(ask("messages", stop_sequences=["nowhere in it", stop]))
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", stop)
    assert said("messages", body) == TEXT[: TEXT.index(stop)]
    assert plain(ask("chat", stop=stop))["choices"][0]["finish_reason"] == "stop"


def test_choices_differ_and_come_in_turns() -> None:
    body = plain(ask("chat", "demo-n3", n=3))
    assert len({choice["message"]["content"] for choice in body["choices"]}) == 3
    assert body["usage"]["completion_tokens"] == 9
    order = [e["choices"][0]["index"] for e in events(sent(ask("chat", "demo-n3", n=3, stream=True)))[:-1]]
    assert order == [0, 1, 2] * 5


# tools and structure


def tools(language: str, **choice: Any) -> dict[str, Any]:
    match language:
        case "chat":
            return {"tools": [{"type": "function", "function": tool} for tool in (TOOL, OTHER)], **choice}
        case "responses":
            return {"tools": [{"type": "function", **tool} for tool in (TOOL, OTHER)], **choice}
        case "messages":
            schemas = [{"name": t["name"], "input_schema": t["parameters"]} for t in (TOOL, OTHER)]
            return {"tools": schemas, **choice}
        case _:
            return {"tools": [{"functionDeclarations": [TOOL, OTHER]}], **choice}


def calls(language: str, body: Any) -> list[tuple[str, Any]]:
    match language:
        case "chat":
            found = [call["function"] for call in body["choices"][0]["message"].get("tool_calls", [])]
            return [(call["name"], orjson.loads(call["arguments"])) for call in found]
        case "responses":
            found = [item for item in body["output"] if item["type"] == "function_call"]
            return [(item["name"], orjson.loads(item["arguments"])) for item in found]
        case "messages":
            return [(block["name"], block["input"]) for block in body["content"] if block["type"] == "tool_use"]
        case _:
            parts = body["candidates"][0]["content"]["parts"]
            found = [part["functionCall"] for part in parts if "functionCall" in part]
            return [(call["name"], call["args"]) for call in found]


FORCED = [
    ("chat", {"tool_choice": "required"}, "weather"),
    ("chat", {"tool_choice": {"type": "function", "function": {"name": "time"}}}, "time"),
    ("responses", {"tool_choice": "required"}, "weather"),
    ("responses", {"tool_choice": {"type": "function", "name": "time"}}, "time"),
    ("messages", {"tool_choice": {"type": "any"}}, "weather"),
    ("messages", {"tool_choice": {"type": "tool", "name": "time"}}, "time"),
    ("gemini", {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "weather"),
    ("gemini", {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["time"]}}}, "time"),
]
ARGUMENTS = {"weather": {"city": "lorem"}, "time": {}}


@pytest.mark.parametrize(("language", "choice", "name"), FORCED)
def test_a_forced_tool_is_called(language: str, choice: dict[str, Any], name: str) -> None:
    assert calls(language, plain(ask(language, **tools(language, **choice)))) == [(name, ARGUMENTS[name])]


def with_prompt(language: str, prompt: str) -> dict[str, Any]:
    match language:
        case "responses":
            return {"input": prompt}
        case "gemini":
            return {"contents": [{"parts": [{"text": prompt}]}]}
        case _:
            return {"messages": [{"role": "user", "content": prompt}]}


@pytest.mark.parametrize("language", ["chat", "responses", "messages", "gemini"])
@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("Please use the tool.", ["weather"]),
        ("USE THE TOOLS", ["weather", "time"]),
        ("What tools are there?", []),
    ],
)
def test_a_prompt_asks_for_tools_in_words(language: str, prompt: str, names: list[str]) -> None:
    body = plain(ask(language, **tools(language), **with_prompt(language, prompt)))
    assert [name for name, _ in calls(language, body)] == names


NONE = {
    "chat": {"tool_choice": "none"},
    "responses": {"tool_choice": "none"},
    "messages": {"tool_choice": {"type": "none"}},
    "gemini": {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
}


@pytest.mark.parametrize("language", sorted(NONE))
def test_tools_that_are_off_are_not_called(language: str) -> None:
    fields = {**tools(language, **NONE[language]), **with_prompt(language, "use the tool")}
    assert calls(language, plain(ask(language, **fields))) == []


RESULTS = {
    "chat": {
        "messages": [
            {"role": "user", "content": "use the tool"},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "c", "content": "use the tool"},
        ]
    },
    "responses": {"input": [{"type": "function_call_output", "call_id": "c", "output": "use the tool"}]},
    "messages": {
        "messages": [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "use the tool"}]}
        ]
    },
    "gemini": {
        "contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}, {"text": "use the tool"}]}]
    },
}


@pytest.mark.parametrize("language", sorted(RESULTS))
def test_after_a_tools_result_comes_text(language: str) -> None:
    body = plain(ask(language, **tools(language), **RESULTS[language]))
    assert calls(language, body) == []
    assert said(language, body)


SCHEMA = {
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 3}, "unit": {"enum": ["cm", "in"]}},
    "required": ["size", "unit"],
}
STRUCTURED = {
    "chat": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    "responses": {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
    "messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "gemini": {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}},
}


@pytest.mark.parametrize("language", sorted(STRUCTURED))
def test_structured_output_is_an_instance_of_the_schema(language: str) -> None:
    wanted = {"size": 3, "unit": "cm"}
    assert orjson.loads(said(language, plain(ask(language, **STRUCTURED[language])))) == wanted
    streamed = "".join(deltas(language, sent(ask(language, stream=True, **STRUCTURED[language]))))
    assert orjson.loads(streamed) == wanted
