"""Prompts as Gemini requests: each row of the mapping tables, round trips, the same call recorded in four formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from google.genai import types
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
    Part,
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
from fastanchor.dialects.contract import Target, Written
from fastanchor.dialects.gemini import DIALECT
from fastanchor.dialects.gemini.write_contents import PLACEHOLDER

FLASH = "gemini-2.5-flash"
FUNCTION = Tool("function", "f", "does", b'{"type":"object","properties":{"a":{"type":"integer"}}}')


def written(
    prompt: Prompt, model: str = FLASH, *, strict: bool = True, quirks: str = "", card: ModelCard | None = None
) -> Written:
    return DIALECT.write(prompt, Target(model, card, frozenset(quirks.split()), strict=strict))


def body(prompt: Prompt, model: str = FLASH, **options: Any) -> Any:
    return orjson.loads(written(prompt, model, **options).body)


def said(*parts: Part, **members: Any) -> Prompt:
    return Prompt(turns=[Turn("user", parts or (TextPart("hi"),))], **members)


def refused(prompt: Prompt, **options: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        written(prompt, **options)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value


def test_bug_30_leading_system_turns_are_the_instruction_and_later_ones_stay_in_place() -> None:
    prompt = Prompt(turns=[
        Turn("system", (TextPart("one"),)), Turn("system", (TextPart("two"),)),
        Turn("user", (TextPart("a"),)), Turn("assistant", (TextPart("b"),)),
        Turn("system", (TextPart("now"),)), Turn("user", (TextPart("c"),)),
    ])  # fmt: skip
    out = body(prompt)
    assert out["systemInstruction"] == {"parts": [{"text": "one"}, {"text": "two"}]}
    assert out["contents"] == [
        {"role": "user", "parts": [{"text": "a"}]},
        {"role": "model", "parts": [{"text": "b"}]},
        {"role": "user", "parts": [{"text": "<system-reminder>\nnow\n</system-reminder>"}, {"text": "c"}]},
    ]


def test_a_conversation_that_does_not_begin_with_the_user_gets_a_beginning() -> None:
    prompt = Prompt(turns=[Turn("system", (TextPart("s"),)), Turn("assistant", (TextPart("b"),))])
    assert body(prompt)["contents"][0] == {"role": "user", "parts": [{"text": "."}]}
    assert body(Prompt(turns=[Turn("system", (TextPart("s"),))]))["contents"] == [
        {"role": "user", "parts": [{"text": "."}]}
    ]


def inline(mime: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": data}}


GCS = {"fileData": {"fileUri": "gs://b/o", "mimeType": "image/png"}}
YOUTUBE = "https://www.youtube.com/watch?v=1"


@pytest.mark.parametrize(
    ("part", "wire"),
    [
        (MediaPart("image", data="iVBORw==", mime="image/jpg"), inline("image/jpeg", "iVBORw==")),
        (MediaPart("image", data="iVBORw0KGgo="), inline("image/png", "iVBORw0KGgo=")),
        (MediaPart("image", data="/9j/4AAQ"), inline("image/jpeg", "/9j/4AAQ")),
        (MediaPart("image", data="UklGRgAAAABXRUJQ"), inline("image/webp", "UklGRgAAAABXRUJQ")),
        (MediaPart("audio", data="UklGRgAAAABXQVZF"), inline("audio/wav", "UklGRgAAAABXQVZF")),
        (MediaPart("image", url="data:image/gif;base64,R0lGOA=="), inline("image/gif", "R0lGOA==")),
        (MediaPart("document", data="JVBERi0="), inline("application/pdf", "JVBERi0=")),
        (MediaPart("document", text="plain"), {"text": "plain"}),
        (MediaPart("image", url="gs://b/o", mime="image/png"), GCS),
        (MediaPart("video", url=YOUTUBE), {"fileData": {"fileUri": YOUTUBE}}),
        (RefusalPart("no"), {"text": "no"}),
        (HostedPart("gemini", b'{"executableCode":{"code":"1"}}'), {"executableCode": {"code": "1"}}),
    ],
)  # fmt: skip
def test_a_part_is_carried(part: Part, wire: Any) -> None:
    assert body(said(part))["contents"][0]["parts"] == [wire]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (MediaPart("image", url="https://example.com/a.png"), "no image by address"),
        (MediaPart("document", url="https://example.com/a.pdf"), "no document by address"),
        (MediaPart("document", file_id="file-123"), "no document by file id"),
        (MediaPart("image", data="????"), "type of an inline image"),
    ],
)
def test_media_by_address_is_refused_on_strict_and_lenient_routes(part: Part, reason: str) -> None:
    prompt = Prompt(turns=[Turn("user", (TextPart("go"), part), path="messages[3]")])
    for strict in (True, False):
        fault = refused(prompt, strict=strict)
        assert fault.param == "messages[3]"
        assert reason in fault.message


def conversation(*results: Part, signature: OpaqueSignature | None = None) -> Prompt:
    return Prompt(turns=[
        Turn("user", (TextPart("go"),)),
        Turn("assistant", (
            TextPart("ok"), ToolCallPart("c1", "f", b'{"n": 12345678901234567890123, "b": 1}', signature=signature),
            ToolCallPart("c2", "g", b""),
        )),
        Turn("user", results or (ToolResultPart("c2", (TextPart("two"),)), ToolResultPart("c1", (TextPart("one"),)))),
    ])  # fmt: skip


def test_bug_27_calls_and_results_keep_their_bytes_order_names_and_ids() -> None:
    out = written(conversation()).body
    assert b'"args":{"n": 12345678901234567890123, "b": 1}' in out
    contents = orjson.loads(out)["contents"]
    assert contents[1]["parts"][2] == {"functionCall": {"id": "c2", "name": "g", "args": {}}}
    assert contents[2] == {"role": "user", "parts": [
        {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "one"}}},
        {"functionResponse": {"id": "c2", "name": "g", "response": {"output": "two"}}},
    ]}  # fmt: skip


def test_bug_14_results_come_right_after_their_calls_before_what_else_was_said() -> None:
    prompt = conversation(TextPart("and then"), ToolResultPart("c2", ()), ToolResultPart("c1", ()))
    prompt.turns.insert(2, Turn("user", (TextPart("wait"),)))
    parts = body(prompt)["contents"][2]["parts"]
    assert [next(iter(part)) for part in parts] == ["functionResponse", "functionResponse", "text", "text"]


def test_bug_16_neighbours_of_one_role_are_one_content() -> None:
    prompt = Prompt(
        turns=[Turn("user", (TextPart("a"),)), Turn("user", (TextPart("b"),)), Turn("assistant", (TextPart("c"),))]
    )
    prompt.turns += [Turn("assistant", (TextPart("d"),)), Turn("user", (TextPart("e"),))]
    assert [content["role"] for content in body(prompt)["contents"]] == ["user", "model", "user"]


def test_bug_18_empty_texts_and_turns_are_left_out() -> None:
    prompt = said(TextPart(""), TextPart("a"))
    prompt.turns += [Turn("assistant", (TextPart(""),)), Turn("user", (TextPart("b"),))]
    assert body(prompt)["contents"] == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


def test_ids_are_left_out_where_the_upstream_takes_none() -> None:
    assert b'"id"' not in written(conversation(), quirks="no_call_ids").body


@pytest.mark.parametrize(
    ("result", "response"),
    [
        (ToolResultPart("c1", (TextPart('{"x": 1}'),)), {"output": {"x": 1}}),
        (ToolResultPart("c1", (TextPart("[1]"),)), {"output": [1]}),
        (ToolResultPart("c1", (TextPart("{broken"),)), {"output": "{broken"}),
        (ToolResultPart("c1", (TextPart("bad"),), is_error=True), {"error": "bad"}),
        (ToolResultPart("c1", ()), {"output": ""}),
    ],
)
def test_a_result_is_an_object(result: ToolResultPart, response: Any) -> None:
    out = body(conversation(result, ToolResultPart("c2", (TextPart("two"),))))
    assert out["contents"][2]["parts"][0]["functionResponse"]["response"] == response


def test_a_results_picture_stands_after_the_results_or_inside_its_own() -> None:
    result = ToolResultPart("c1", (TextPart("see"), MediaPart("image", data="iVBORw==", mime="image/png")))
    prompt = conversation(result, ToolResultPart("c2", ()))
    parts = body(prompt)["contents"][2]["parts"]
    assert [next(iter(part)) for part in parts] == ["functionResponse", "functionResponse", "inlineData"]
    parts = body(prompt, "gemini-3-pro")["contents"][2]["parts"]
    assert [next(iter(part)) for part in parts] == ["functionResponse", "functionResponse"]
    assert parts[0]["functionResponse"]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}]


def test_a_call_without_a_result_is_refused_or_answered_with_an_error() -> None:
    prompt = conversation(ToolResultPart("c1", (TextPart("one"),)))
    assert "c2" in refused(prompt).message
    assert "error" in body(prompt, strict=False)["contents"][2]["parts"][1]["functionResponse"]["response"]


def test_bug_21_own_signatures_go_back_and_foreign_ones_do_not() -> None:
    own, foreign = OpaqueSignature("gemini", "b3du"), OpaqueSignature("anthropic", "Zm9yZWlnbg==")
    assert body(conversation(signature=own))["contents"][1]["parts"][1]["thoughtSignature"] == "b3du"
    assert b"Zm9yZWlnbg" not in written(conversation(signature=foreign)).body
    prompt = said()
    prompt.turns += [Turn("assistant", (ThoughtPart("mine", own), ThoughtPart("theirs", foreign), TextPart("x")))]
    parts = body(prompt)["contents"][1]["parts"]
    assert parts == [{"text": "mine", "thought": True, "thoughtSignature": "b3du"}, {"text": "x"}]
    assert "messages.reasoning" in written(prompt).dropped


def test_generation_3_gets_a_placeholder_on_the_first_unsigned_call_of_a_step() -> None:
    parts = body(conversation(), "gemini-3-pro-preview")["contents"][1]["parts"]
    assert parts[1]["thoughtSignature"] == PLACEHOLDER
    assert "thoughtSignature" not in parts[2]
    own = OpaqueSignature("gemini", "b3du")
    assert body(conversation(signature=own), "gemini-3-pro")["contents"][1]["parts"][1]["thoughtSignature"] == "b3du"
    assert b"thoughtSignature" not in written(conversation(), FLASH).body


def test_schemas_go_as_json_schema_byte_for_byte_or_reduced() -> None:
    schema = b'{"$schema":"x","type":"object","properties":{"z":{"type":["string","null"]},"a":{"const":"k"}}}'
    tool = Tool("function", "f", "", schema)
    assert b'"parametersJsonSchema":' + schema in written(said(tools=[tool])).body
    declaration = body(said(tools=[tool]), quirks="no_json_schema")["tools"][0]["functionDeclarations"][0]
    assert declaration["parameters"] == {"type": "OBJECT", "properties": {
        "z": {"type": "STRING", "nullable": True}, "a": {"type": "STRING", "enum": ["k"], "format": "enum"},
    }}  # fmt: skip
    types.FunctionDeclaration.model_validate(declaration)


def test_a_custom_tool_is_a_function_of_its_input() -> None:
    tool = Tool("custom", "sh", "run")
    prompt = conversation()
    prompt.tools = [tool]
    declaration = body(said(tools=[tool]))["tools"][0]["functionDeclarations"][0]
    assert declaration["parametersJsonSchema"]["required"] == ["input"]
    call = ToolCallPart("c", "sh", b'say "hi"', custom=True)
    prompt = Prompt(turns=[Turn("user", (TextPart("x"),)), Turn("assistant", (call,)),
                           Turn("user", (ToolResultPart("c", (TextPart("ok"),), custom=True),))])  # fmt: skip
    assert body(prompt)["contents"][1]["parts"][0]["functionCall"]["args"] == {"input": 'say "hi"'}
    grammar = Tool("custom", "sh", data=b'{"type":"grammar"}', path="tools[0]")
    assert refused(said(tools=[grammar])).param == "tools[0].format"
    assert "tools[0].format" in written(said(tools=[grammar]), strict=False).dropped


def test_web_search_becomes_googles_and_other_hosted_tools_are_refused() -> None:
    searches = Tool("hosted", "web_search", data=b'{"type":"web_search_20250305"}', dialect="anthropic")
    own = Tool("hosted", "urlContext", data=b'{"urlContext":{}}', dialect="gemini")
    bash = Tool("hosted", "bash", data=b'{"type":"bash_20250124"}', dialect="anthropic", path="tools[2]")
    assert body(said(tools=[FUNCTION, searches, own]))["tools"][1:] == [{"googleSearch": {}}, {"urlContext": {}}]
    assert refused(said(tools=[bash])).param == "tools[2]"
    assert written(said(tools=[bash]), strict=False).dropped == ("tools[2]",)


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (None, None),
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("named", ("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice("allowed", ("f", "g"), required=True), {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}),
        (ToolChoice("allowed", ("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tool_choice_is_written(choice: ToolChoice | None, config: Any) -> None:
    out = body(said(tools=[FUNCTION], tool_choice=choice))
    assert out.get("toolConfig") == ({"functionCallingConfig": config} if config else None)
    assert "toolConfig" not in body(said(tool_choice=choice))


def test_strict_functions_are_validated() -> None:
    tool = Tool("function", "f", schema=b'{"type":"object"}', strict=True)
    assert body(said(tools=[tool]))["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}


def test_numbers_are_carried() -> None:
    prompt = said(
        temperature=1.5, top_p=0.5, top_k=7, choices=2, max_output=99, stop=("a", "b"), seed=3, presence_penalty=0.5,
        frequency_penalty=-0.5, logprobs=True, top_logprobs=4,
    )  # fmt: skip
    config = body(prompt)["generationConfig"]
    assert config == {
        "temperature": 1.5, "topP": 0.5, "topK": 7, "candidateCount": 2, "maxOutputTokens": 99,
        "stopSequences": ["a", "b"], "seed": 3, "presencePenalty": 0.5, "frequencyPenalty": -0.5,
        "responseLogprobs": True, "logprobs": 4,
    }  # fmt: skip
    types.GenerationConfig.model_validate(config)


@pytest.mark.parametrize(
    ("wanted", "config"),
    [
        (Format("text"), None),
        (Format("json_object"), {"responseMimeType": "application/json"}),
        (Format("json_schema", "n", b'{"type":"object"}', strict=True),
         {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}}),
    ],
)  # fmt: skip
def test_formats_are_carried(wanted: Format, config: Any) -> None:
    assert body(said(format=wanted)).get("generationConfig") == config


MINIMAL_2_5, OFF = Reasoning("on", "minimal"), Reasoning("off")


@pytest.mark.parametrize(
    ("model", "reasoning", "most", "config"),
    [
        ("gemini-2.5-flash", Reasoning("on", "low"), None, {"thinkingBudget": 2048}),
        ("gemini-2.5-flash", Reasoning("on", "medium"), None, {"thinkingBudget": 8192}),
        ("gemini-2.5-flash", Reasoning("on", "max"), None, {"thinkingBudget": 24_576}),
        ("gemini-2.5-pro", Reasoning("on", "max"), None, {"thinkingBudget": 32_768}),
        ("gemini-2.5-flash", Reasoning("on", budget=9999, include=True), None,
         {"thinkingBudget": 9999, "includeThoughts": True}),
        ("gemini-2.5-flash", Reasoning("on", budget=5000), 1000, {"thinkingBudget": 999}),
        ("gemini-2.5-flash", Reasoning("auto"), None, {"thinkingBudget": -1}),
        ("gemini-2.5-flash", OFF, None, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", Reasoning("on", "none"), None, {"thinkingBudget": 0}),
        ("gemini-2.5-pro", OFF, None, {"thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", Reasoning("on", budget=10), None, {"thinkingBudget": 512}),
        ("gemini-2.5-flash", Reasoning("on"), None, None),
        ("gemini-3-flash-preview", Reasoning("on", "minimal"), None, {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-flash-preview", Reasoning("on", "medium"), None, {"thinkingLevel": "MEDIUM"}),
        ("gemini-3-flash-preview", Reasoning("on", "xhigh"), None, {"thinkingLevel": "HIGH"}),
        ("gemini-3-flash-preview", OFF, None, {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro-preview", Reasoning("on", "minimal"), None, {"thinkingLevel": "LOW"}),
        ("gemini-3-pro-preview", Reasoning("on", "medium"), None, {"thinkingLevel": "HIGH"}),
        ("gemini-3.1-pro-preview", Reasoning("on", "medium"), None, {"thinkingLevel": "MEDIUM"}),
        ("gemini-3-flash-preview", Reasoning("on", budget=1000), None, {"thinkingLevel": "LOW"}),
        ("gemini-3-flash-preview", Reasoning("on", budget=9000), None, {"thinkingLevel": "MEDIUM"}),
        ("gemini-3-flash-preview", Reasoning("auto", include=True), None, {"includeThoughts": True}),
        ("gemini-2.0-flash", Reasoning("on", "high"), None, None),
    ],
)  # fmt: skip
def test_bug_23_thinking_keeps_to_the_bounds_of_the_model(
    model: str, reasoning: Reasoning, most: int | None, config: Any
) -> None:
    out = body(said(reasoning=reasoning, max_output=most), model).get("generationConfig", {})
    assert out.get("thinkingConfig") == config


def test_a_model_that_does_not_think_drops_reasoning_and_says_so() -> None:
    assert written(said(reasoning=Reasoning("on", "high")), "gemini-2.0-flash").dropped == ("reasoning",)
    assert written(said(reasoning=OFF), "gemini-2.0-flash").dropped == ()


def test_a_card_decides_for_an_unknown_name() -> None:
    level = ModelCard("x", traits=frozenset({"reasoning", "thinking_level"}))
    plain = ModelCard("x", traits=frozenset({"tools"}))
    asked = said(reasoning=Reasoning("on", "low"))
    assert body(asked, "x", card=level)["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "LOW"}
    assert "generationConfig" not in body(asked, "x", card=plain)


def test_what_tunes_labels_or_bills_is_dropped_and_named() -> None:
    prompt = said(
        TextPart("x", cache=CacheMark("5m"), citations=b"[1]"), logit_bias=b'{"1":2}', verbosity="low", user="u",
        metadata=b'{"a":1}', cache_key="k", store=True, service_tier="scale",
        extra={"openai_chat": {"prediction": b"{}"}},
    )  # fmt: skip
    assert set(written(prompt).dropped) == {
        "logit_bias", "verbosity", "user", "metadata", "prompt_cache_key", "store", "service_tier", "prediction",
        "cache_control", "citations",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "name"),
    [("openai_responses", "previous_response_id"), ("openai_responses", "conversation"),
     ("openai_responses", "background"), ("anthropic", "mcp_servers"), ("anthropic", "container")],
)  # fmt: skip
def test_state_that_is_elsewhere_is_refused(dialect: str, name: str) -> None:
    assert refused(said(extra={dialect: {name: b'"x"'}}), strict=False).param == name


def test_an_answer_in_sound_is_refused_on_strict_routes() -> None:
    prompt = said(extra={"openai_chat": {"audio": b"{}"}})
    assert refused(prompt).param == "audio"
    assert "audio" in written(prompt, strict=False).dropped


def test_more_stops_than_gemini_takes_are_refused() -> None:
    assert refused(said(stop=tuple("abcdef"))).param == "stop"
    assert body(said(stop=tuple("abcde")))["generationConfig"]["stopSequences"] == list("abcde")


def test_bug_29_parallel_false_is_dropped_where_it_means_something() -> None:
    assert "parallel_tool_calls" in written(said(tools=[FUNCTION], parallel_tools=False)).dropped
    assert written(said(parallel_tools=False)).dropped == ()
    assert written(said(tools=[FUNCTION], parallel_tools=True)).dropped == ()


@pytest.mark.parametrize(
    ("tier", "wire"),
    [("default", "standard"), ("flex", "flex"), ("priority", "priority"), ("auto", None), ("", None)],
)
def test_service_tiers_are_mapped(tier: str, wire: str | None) -> None:
    out = written(said(service_tier=tier))
    assert orjson.loads(out.body).get("serviceTier") == wire
    assert out.dropped == ()


def test_detail_is_a_resolution_where_the_images_agree() -> None:
    low, high = (MediaPart("image", data="iVBORw==", mime="image/png", detail=d) for d in ("low", "high"))
    assert body(said(low, low))["generationConfig"] == {"mediaResolution": "MEDIA_RESOLUTION_LOW"}
    assert written(said(low, high)).dropped == ("detail",)


def test_bug_28_names_are_sent_legal_and_told_back() -> None:
    prompt = said(
        tools=[Tool("function", "1 bad/name" + "x" * 80)], tool_choice=ToolChoice("named", ("1 bad/name" + "x" * 80,))
    )
    out = written(prompt)
    document = orjson.loads(out.body)
    sent = document["tools"][0]["functionDeclarations"][0]["name"]
    assert out.renamed == {sent: "1 bad/name" + "x" * 80}
    assert document["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == [sent]
    assert len(sent) <= 64


def test_bug_45_only_members_that_gemini_knows_are_sent() -> None:
    prompt = said(
        tools=[FUNCTION], temperature=1.0, reasoning=Reasoning("on", "low"), format=Format("json_object"),
        extra={"openai_chat": {"stream_options": b"{}", "top_a": b"1"}, "anthropic": {"context_management": b"{}"}},
    )  # fmt: skip
    document = body(prompt)
    assert set(document) <= {"contents", "tools", "generationConfig", "toolConfig", "systemInstruction"}
    types.GenerationConfig.model_validate(document["generationConfig"])  # refuses what it does not know


def test_bug_42_the_order_of_tools_is_the_clients() -> None:
    tools = [Tool("function", f"tool_{i}", schema=b'{"type":"object"}') for i in (3, 1, 2, 9, 0)]
    bodies = {written(said(tools=tools)).body for _ in range(1000)}
    assert len(bodies) == 1
    names = [one["name"] for one in orjson.loads(bodies.pop())["tools"][0]["functionDeclarations"]]
    assert names == ["tool_3", "tool_1", "tool_2", "tool_9", "tool_0"]


# round trips

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6,
)  # fmt: skip
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=3)


@st.composite
def exchanges(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Contents that alternate, with calls answered in order."""
    contents: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 3))):
        contents.append(
            {"role": "user", "parts": [{"text": text} for text in draw(st.lists(TEXTS, min_size=1, max_size=2))]}
        )
        names = draw(st.lists(NAMES, max_size=3))
        thought = [{"text": draw(TEXTS), "thought": True, "thoughtSignature": "c2ln"}] if draw(st.booleans()) else []
        if names:
            calls = [{"functionCall": {"name": name, "args": draw(OBJECTS)}} for name in names]
            contents.append({"role": "model", "parts": thought + calls})
            results = [{"functionResponse": {"name": name, "response": {"output": draw(TEXTS)}}} for name in names]
            contents.append({"role": "user", "parts": results})
        contents.append({"role": "model", "parts": [{"text": draw(TEXTS)}]})
    return contents


REQUESTS = st.fixed_dictionaries(
    {"contents": exchanges()},
    optional={
        "systemInstruction": TEXTS.map(lambda text: {"parts": [{"text": text}]}),
        "tools": st.lists(NAMES, min_size=1, max_size=3, unique=True).map(
            lambda names: [{"functionDeclarations": [
                {"name": name, "description": "d", "parametersJsonSchema": {"x": 2**60}} for name in names
            ]}]
        ),
        "safetySettings": st.just([{"category": "C", "threshold": "T"}]),
        "cachedContent": st.just("cachedContents/x"),
        "generationConfig": st.fixed_dictionaries({}, optional={
            "temperature": st.floats(0, 2), "topP": st.floats(0, 1), "topK": st.integers(1, 40),
            "candidateCount": st.integers(2, 8), "maxOutputTokens": st.integers(30_000, 60_000),
            "stopSequences": st.lists(TEXTS, min_size=1, max_size=5), "seed": st.integers(0, 2**31),
            "responseMimeType": st.just("application/json"), "speechConfig": st.just({"a": 1}),
            "thinkingConfig": st.fixed_dictionaries(
                {"thinkingBudget": st.sampled_from([-1, 0, 512, 24_576])}, optional={"includeThoughts": st.just(True)}
            ),
        }).filter(bool),
    },
)  # fmt: skip


@given(REQUESTS)
def test_a_request_survives_the_way_through_a_prompt(request: dict[str, Any]) -> None:
    call = DIALECT.read(orjson.dumps(request), f"/v1beta/models/{FLASH}:generateContent", "", {})
    expected = orjson.loads(orjson.dumps(request))
    for content in expected["contents"]:  # one that looks like JSON becomes JSON
        for part in content["parts"]:
            if "functionResponse" in part:
                part["functionResponse"]["response"]["output"] = as_json(part["functionResponse"]["response"]["output"])
    assert body(DIALECT.parse(call), quirks="no_call_ids") == expected


def as_json(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, dict | list) else text


# the same call in four formats

CROSS = ("toolCallRequest", "parallelToolCallsRequest", "jsonSchemaFormatParam", "toolChoiceRequiredParam",
         "instructionsParam", "reasoningRequestTruncated", "googleToolCallThoughtSignatureReplayParam")  # fmt: skip


@pytest.mark.parametrize("name", CROSS)
def test_a_recorded_request_comes_out_as_it_went_in(recordings: Path, name: str) -> None:
    recorded = orjson.loads((recordings / "cross" / name / "google.request.json").read_bytes())
    call = Call("gemini", FLASH, orjson.dumps(recorded), options={"verb": "generateContent"})
    out = body(DIALECT.parse(call), quirks="no_call_ids no_json_schema")
    recorded.pop("model", None)  # some clients name the model in the body again; its place is the path
    for content in recorded["contents"]:
        for part in content["parts"]:
            if "functionResponse" in part:  # a result's wrapper is told as `output`, whatever it was called
                response = part["functionResponse"]["response"]
                part["functionResponse"]["response"] = {"output": next(iter(response.values()))}
    config = recorded.get("generationConfig", {})
    if "responseJsonSchema" in config:  # reduced, since this target takes no JSON Schema
        config["responseSchema"] = config.pop("responseJsonSchema")
        config["responseSchema"] = upper(config["responseSchema"])
    assert out == recorded


def upper(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: value.upper() if key == "type" else upper(value) for key, value in schema.items()}
    return schema


FOREIGN = {"chat-completions": "openai_chat", "anthropic": "anthropic", "responses": "openai_responses"}


@pytest.mark.parametrize("form", sorted(FOREIGN))
@pytest.mark.parametrize("name", ["toolCallRequest", "parallelToolCallsRequest", "toolChoiceRequiredParam"])
def test_the_same_call_in_another_format_becomes_the_recorded_one(recordings: Path, name: str, form: str) -> None:
    from fastanchor.dialects.registry import dialect

    folder = recordings / "cross" / name
    recorded = orjson.loads((folder / "google.request.json").read_bytes())
    source = dialect(FOREIGN[form])
    call = source.read((folder / f"{form}.request.json").read_bytes(), "/", "", {"anthropic-version": "2023-06-01"})
    prompt = source.parse(call)
    prompt.store, prompt.parallel_tools = None, None  # on by default in Responses; Gemini knows neither
    out = body(prompt, quirks="no_call_ids no_json_schema", strict=False)
    for content in recorded["contents"]:
        for part in content["parts"]:
            if "functionResponse" in part:
                part["functionResponse"]["response"] = {"output": part["functionResponse"]["response"]["result"]}
    if name == "parallelToolCallsRequest":  # asked of another city first in some formats
        assert {c["role"] for c in out["contents"]} == {"user", "model"}
        recorded["contents"][0] = out["contents"][0]
    assert out["contents"] == recorded["contents"]
    assert out["tools"] == recorded["tools"]
    if "toolConfig" in recorded and form != "anthropic":
        assert out["toolConfig"] == recorded["toolConfig"]
