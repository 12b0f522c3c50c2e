"""Gemini requests: what is read from the path and the body, and what google-genai sends is what is understood."""

from __future__ import annotations

from typing import Any

import httpx2
import orjson
import pytest
from google.genai import types

from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import (
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
from fastanchor.dialects.gemini import DIALECT, Gemini
from fastanchor.dialects.gemini.proto import camel
from tests.dialects import gemini_sdk

PATH = "/v1beta/models/gemini-2.5-pro:generateContent"
HI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def read(body: Any, path: str = PATH, query: str = "") -> Call:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return DIALECT.read(data, path, query, {})


def parse(**members: Any) -> Prompt:
    return DIALECT.parse(read({**HI, **members}))


def refused(body: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        DIALECT.parse(read(body))
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


@pytest.mark.parametrize(
    ("path", "model", "stream", "operation"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro", False, "chat"),
        ("/v1/models/gemini-2.5-pro:streamGenerateContent", "gemini-2.5-pro", True, "chat"),
        ("/v1alpha/models/m:streamGenerateContent", "m", True, "chat"),
        ("/v1beta/models/qwen3:8b:generateContent", "qwen3:8b", False, "chat"),
        ("/v1beta/models/openai/gpt-4o:generateContent", "openai/gpt-4o", False, "chat"),
        ("/v1beta/models/a%20b%3AgenerateContent", "a b", False, "chat"),
        ("/v1beta/models/gemini-2.5-pro:countTokens", "gemini-2.5-pro", False, "count_tokens"),
    ],
)
def test_the_model_and_the_verb_come_from_the_path(path: str, model: str, stream: bool, operation: str) -> None:
    call = read(HI, path)
    assert (call.model, call.stream, call.operation) == (model, stream, operation)


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/m",
        "/v1beta/models/m:predict",
        "/v1beta/models/:generateContent",
        "/v2/models/m:generateContent",
        "/v1beta/models//m:generateContent",
        "/",
    ],
)
def test_another_path_is_not_found(path: str) -> None:
    with pytest.raises(Fault) as caught:
        read(HI, path)
    assert caught.value.kind is Kind.NOT_FOUND


@pytest.mark.parametrize(
    ("query", "framing"),
    [("alt=sse", "sse"), ("key=k&alt=sse", "sse"), ("", "array"), ("alt=json", "array"), ("key=alt%3Dsse", "array")],
)
def test_the_framing_of_a_stream_is_remembered(query: str, framing: str) -> None:
    assert read(HI, PATH, query).options["framing"] == framing


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"{", ""),
        (b'{"contents":[]}', "contents"),
        (b'{"contents":"hi"}', "contents"),
        (b'{"contents":null}', "contents"),
        (b'{"prompt":1}', "contents"),
        (b'{"\xff":1}', ""),
        (b'{"contents":[{"parts":[{"text":"x"}]}],"\xff":1}', ""),
        (b'{"contents":[{"parts":[{"functionCall":{"name":"f","args":{"a":"\xff"}}}]}]}', ""),
        ({**HI, "generationConfig": 1}, "generationConfig"),
        ({**HI, "generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
        ({**HI, "generation_config": {"max_output_tokens": -1}}, "generationConfig.max_output_tokens"),
        ({**HI, "generationConfig": {"maxOutputTokens": 1.5}}, "generationConfig.maxOutputTokens"),
        ({**HI, "generationConfig": {"candidateCount": 999}}, "generationConfig.candidateCount"),
        ({**HI, "cachedContent": 5}, "cachedContent"),
    ],
)
def test_a_bad_body_is_refused_and_the_member_named(body: Any, param: str) -> None:
    fault = refused(body)
    assert fault.param == param


def test_facts_of_the_body_are_peeked_in_either_spelling() -> None:
    for config in ("generationConfig", "generation_config"):
        for limit, count in (("maxOutputTokens", "candidateCount"), ("max_output_tokens", "candidate_count")):
            call = read({**HI, config: {limit: "77", count: 2}, "cachedContent": "cachedContents/a"})
            assert (call.max_output, call.choices, call.affinity) == (77, 2, "cachedContents/a")


def test_inline_data_does_not_count_as_prompt_tokens() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo" * 10_000}}
    call = read({"contents": [{"parts": [{"text": "what is this? " * 10}, picture]}]})
    assert 30 < call.prompt_tokens < 200


def test_single_objects_stand_for_lists_as_in_vendor_examples() -> None:
    prompt = DIALECT.parse(read({
        "system_instruction": {"parts": {"text": "You are Neko."}},
        "contents": {"parts": {"text": "Hello"}},
        "tools": {"google_search": {}},
    }))  # fmt: skip
    assert prompt.turns == [Turn("system", (TextPart("You are Neko."),)), Turn("user", (TextPart("Hello"),))]
    assert prompt.tools == [Tool("hosted", "googleSearch", data=b'{"googleSearch":{}}', dialect="gemini")]


def test_parts_become_parts() -> None:
    prompt = DIALECT.parse(read({"contents": [
        {"role": "user", "parts": [
            {"text": "look"},
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
            {"inline_data": {"mime_type": "application/pdf", "data": "JVBERg=="}},
            {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v.mp4"}},
            {"fileData": {"fileUri": "https://example.com/a.pdf"}},
        ]},
        {"role": "model", "parts": [
            {"text": "thinking", "thought": True, "thoughtSignature": "c2ln"},
            {"text": "answer"},
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"text": "", "thoughtSignature": "ZW1wdHk="},
        ]},
    ]}))  # fmt: skip
    assert prompt.turns[0].parts == (
        TextPart("look"),
        MediaPart("image", data="iVBORw==", mime="image/png"),
        MediaPart("document", data="JVBERg==", mime="application/pdf"),
        MediaPart("audio", data="UklGRg==", mime="audio/wav"),
        MediaPart("video", file_id="gs://b/v.mp4", mime="video/mp4"),
        MediaPart("document", url="https://example.com/a.pdf"),
    )
    assert prompt.turns[1].role == "assistant"
    assert prompt.turns[1].parts == (
        ThoughtPart("thinking", OpaqueSignature("gemini", "c2ln")),
        TextPart("answer"),
        HostedPart("gemini", b'{"executableCode":{"language":"PYTHON","code":"1"}}'),
        ThoughtPart("", OpaqueSignature("gemini", "ZW1wdHk=")),
    )


def test_results_find_their_calls_by_id_or_by_name_in_order() -> None:
    prompt = DIALECT.parse(
        read(b"""{"contents": [
        {"role": "user", "parts": [{"text": "weather?"}]},
        {"role": "model", "parts": [
            {"functionCall": {"name": "w", "args": {"n": 12345678901234567890123, "b": 1, "a": 2}},
             "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "w"}},
            {"functionCall": {"id": "own", "name": "v", "args": {}}}
        ]},
        {"role": "function", "parts": [
            {"functionResponse": {"id": "own", "name": "v", "response": {"result": "third"}}},
            {"functionResponse": {"name": "w", "response": {"output": {"x": 1}}}},
            {"functionResponse": {"name": "w", "response": {"error": "no such place"}}}
        ]}
    ]}""")
    )
    calls, results = prompt.turns[1].parts, prompt.turns[2].parts
    assert calls[0] == ToolCallPart(
        "call_0", "w", b'{"n": 12345678901234567890123, "b": 1, "a": 2}', signature=OpaqueSignature("gemini", "c2ln")
    )
    assert calls[1:] == (ToolCallPart("call_1", "w", b"{}"), ToolCallPart("own", "v", b"{}"))
    assert results == (
        ToolResultPart("own", (TextPart("third"),), "v"),
        ToolResultPart("call_0", (TextPart('{"x": 1}'),), "w"),
        ToolResultPart("call_1", (TextPart("no such place"),), "w", is_error=True),
    )


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice("auto")),
        ({"mode": "VALIDATED"}, ToolChoice("auto")),
        ({"mode": "NONE"}, ToolChoice("none")),
        ({"mode": "ANY"}, ToolChoice("required")),
        ({"mode": "any", "allowedFunctionNames": ["f"]}, ToolChoice("named", ("f",), required=True)),
        ({"mode": "ANY", "allowed_function_names": ["f", "g"]}, ToolChoice("allowed", ("f", "g"), required=True)),
        ({"mode": "AUTO", "allowedFunctionNames": ["f"]}, ToolChoice("allowed", ("f",))),
        ({}, None),
    ],
)
def test_tool_choice_is_read(config: dict[str, Any], choice: ToolChoice | None) -> None:
    assert parse(toolConfig={"functionCallingConfig": config}).tool_choice == choice


@pytest.mark.parametrize(
    ("config", "reasoning"),
    [
        ({"thinkingBudget": 0}, Reasoning("off")),
        ({"thinkingBudget": -1, "includeThoughts": True}, Reasoning("auto", include=True)),
        ({"thinkingBudget": 1024}, Reasoning("on", budget=1024)),
        ({"thinkingLevel": "LOW"}, Reasoning("on", "low")),
        ({"thinking_level": "high", "include_thoughts": True}, Reasoning("on", "high", include=True)),
        ({"includeThoughts": True}, Reasoning("auto", include=True)),
    ],
)
def test_thinking_is_read(config: dict[str, Any], reasoning: Reasoning) -> None:
    assert parse(generationConfig={"thinkingConfig": config}).reasoning == reasoning


def test_what_only_gemini_knows_stays_raw() -> None:
    prompt = parse(
        safetySettings=[{"category": "X", "threshold": "Y"}], labels={"a": "b"}, service_tier="SERVICE_TIER_FLEX",
        generationConfig={"speechConfig": {"v": 1}, "temperature": 0.5}, toolConfig={"retrievalConfig": {"l": 1}},
    )  # fmt: skip
    assert prompt.extra == {"gemini": {
        "toolConfig.retrievalConfig": b'{"l":1}', "safetySettings": b'[{"category":"X","threshold":"Y"}]',
        "labels": b'{"a":"b"}', "generationConfig.speechConfig": b'{"v":1}',
    }}  # fmt: skip
    assert prompt.service_tier == "flex"
    assert prompt.temperature == 0.5


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": [{"role": "system", "parts": [{"text": "x"}]}]}, "contents[0].role"),
        ({"contents": [{"parts": []}]}, "contents[0].parts"),
        ({"contents": ["hi"]}, "contents[0]"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"inline_data": {"data": "x"}}]}]}, "contents[0].parts[0].inline_data"),
        ({"contents": [{"parts": [{"functionCall": {}}]}]}, "contents[0].parts[0].functionCall.name"),
        ({"contents": [{"parts": [{"functionCall": {"name": "f", "args": []}}]}]},
         "contents[0].parts[0].functionCall.args"),
        ({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
         "contents[0].parts[0].functionResponse.name"),
        ({**HI, "tools": [{"functionDeclarations": [{"description": "d"}]}]}, "tools[0].functionDeclarations[0].name"),
        ({**HI, "tools": [{"functionDeclarations": [{"name": "f", "parameters": 3}]}]},
         "tools[0].functionDeclarations[0].parameters"),
        ({**HI, "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({**HI, "generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({**HI, "generationConfig": {"stopSequences": [1]}}, "generationConfig.stopSequences"),
        ({**HI, "generationConfig": {"responseMimeType": "image/png"}}, "generationConfig.responseMimeType"),
        ({**HI, "generationConfig": {"thinkingConfig": {"thinkingBudget": -2}}},
         "generationConfig.thinkingConfig.thinkingBudget"),
        ({**HI, "toolConfig": {"functionCallingConfig": {"mode": "SOMETIMES"}}},
         "toolConfig.functionCallingConfig.mode"),
    ],
)  # fmt: skip
def test_a_wrong_member_is_named_by_its_path(body: Any, param: str) -> None:
    assert refused(body).param == param


def test_a_body_that_is_too_deep_is_refused() -> None:
    refused(b'{"contents":' + b"[" * 5000 + b"]" * 5000 + b"}")


@pytest.mark.parametrize("version", [None, "v1beta", "v1", "v1alpha"])
def test_what_the_sdk_sends_is_understood(version: str | None) -> None:
    seen: list[Call] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        url = request.url
        seen.append(DIALECT.read(request.content, url.path, url.query.decode(), dict(request.headers)))
        return httpx2.Response(200, json={"candidates": [{"content": {"parts": [{"text": "x"}]}}]})

    client = gemini_sdk.client(handler, version)
    client.models.generate_content(model="gemini-3-pro", contents=RICH_CONTENTS, config=RICH)
    list(client.models.generate_content_stream(model="gemini-3-pro", contents="hi"))
    whole, streamed = seen
    assert (whole.model, whole.stream, whole.choices, whole.max_output) == ("gemini-3-pro", False, 2, 9)
    assert (streamed.stream, streamed.options["framing"]) == (True, "sse")
    assert DIALECT.parse(whole) == RICH_PROMPT


RICH_CONTENTS: Any = ["hi", types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")]
RICH = types.GenerateContentConfig(
    system_instruction="sys", temperature=0.5, top_p=0.25, top_k=3, max_output_tokens=9, candidate_count=2,
    stop_sequences=["x"], seed=1, response_logprobs=True, logprobs=2, presence_penalty=0.5, frequency_penalty=0.25,
    tools=[types.Tool(function_declarations=[types.FunctionDeclaration(
        name="f", description="d", parameters=types.Schema(
            type=types.Type.OBJECT, required=["a"], properties={
                "a": types.Schema(type=types.Type.STRING, nullable=True, min_length=2),
                "b": types.Schema(type=types.Type.ARRAY, items=types.Schema(type=types.Type.INTEGER), max_items=3),
            },
        ),
    ), types.FunctionDeclaration(name="g", parameters_json_schema={"type": "object"})])],
    tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(
        mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["f"],
    )),
    thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW),
    response_mime_type="application/json",
    response_schema=types.Schema(type=types.Type.OBJECT, properties={
        "x": types.Schema(type=types.Type.STRING, enum=["p", "q"]),
    }),
    safety_settings=[types.SafetySetting(
        category=types.HarmCategory.HARM_CATEGORY_HATE_SPEECH, threshold=types.HarmBlockThreshold.BLOCK_NONE,
    )],
)  # fmt: skip
RICH_PROMPT = Prompt(
    turns=[
        Turn("system", (TextPart("sys"),)),
        Turn("user", (TextPart("hi"), MediaPart("image", data="iVBORw==", mime="image/png"))),
    ],
    tools=[
        Tool("function", "f", "d", orjson.dumps({
            "properties": {
                "a": {"minLength": 2, "type": ["string", "null"]},
                "b": {"items": {"type": "integer"}, "maxItems": 3, "type": "array"},
            },
            "required": ["a"], "type": "object",
        })),
        Tool("function", "g", "", b'{"type": "object"}'),
    ],
    tool_choice=ToolChoice("named", ("f",), required=True),
    max_output=9, stop=("x",), temperature=0.5, top_p=0.25, top_k=3, frequency_penalty=0.25, presence_penalty=0.5,
    seed=1, choices=2, logprobs=True, top_logprobs=2,
    format=Format("json_schema", "response", orjson.dumps({
        "properties": {"x": {"enum": ["p", "q"], "type": "string"}}, "type": "object",
    })),
    reasoning=Reasoning("on", "low", include=True),
    extra={"gemini": {
        "safetySettings": b'[{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]',
    }},
)  # fmt: skip


def test_a_token_count_is_answered_by_the_estimate() -> None:
    call = read({"generateContentRequest": HI}, "/v1beta/models/m:countTokens")
    assert orjson.loads(Gemini().count_tokens_answer(call)) == {"totalTokens": call.prompt_tokens}
    assert DIALECT.parse(call).turns == [Turn("user", (TextPart("hi"),))]


def test_the_body_of_a_pass_through_keeps_its_bytes() -> None:
    body = b'{ "contents" : [ {"parts":[{"text":"a \\u00e9"}]} ], "unknown": 12345678901234567890123 }'
    call = read(body)
    assert DIALECT.edit(call, "other") == body
    named = read(b'{"model": "models/gemini-2.5-pro", ' + body[1:])
    assert DIALECT.edit(named, "other") == b'{"model": "models/other", ' + body[1:]
    assert DIALECT.edit(named, "gemini-2.5-pro") == named.body


@pytest.mark.parametrize(
    ("name", "camelled"),
    [("max_output_tokens", "maxOutputTokens"), ("mimeType", "mimeType"), ("_x", "_x"), ("a_1", "a1"), ("", "")],
)
def test_names_are_camelled(name: str, camelled: str) -> None:
    assert camel(name) == camelled
