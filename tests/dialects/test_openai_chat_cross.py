"""The same calls in four formats, recorded: what each becomes as a chat request, field by field.

The four were written by people, so they differ in more than form; every difference is named here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Target

FORMS = {"anthropic": "anthropic", "google": "gemini", "responses": "openai_responses"}
CALLS = (
    "instructionsParam", "jsonSchemaFormatParam", "parallelToolCallsRequest", "reasoningRequestTruncated",
    "toolCallRequest", "toolChoiceRequiredParam",
)  # fmt: skip
PATH = "/v1beta/models/gemini-2.5-flash:generateContent"
EXPLAINED: dict[tuple[str, str], dict[str, str]] = {
    ("instructionsParam", "anthropic"): {
        "messages": "the recorded system text is another one",
        "max_completion_tokens": "Messages requires max_tokens",
    },
    ("instructionsParam", "responses"): {"messages": "the recorded system text is another one"},
    ("jsonSchemaFormatParam", "anthropic"): {
        "response_format": "output_config has no name for the schema",
        "max_completion_tokens": "Messages requires max_tokens",
    },
    ("jsonSchemaFormatParam", "google"): {
        "response_format": "responseJsonSchema has neither name nor strict",
        "max_completion_tokens": "asked in this recording only",
        "temperature": "asked in this recording only",
    },
    ("parallelToolCallsRequest", "anthropic"): {
        "messages": "other call ids, and arguments with line breaks",
        "max_completion_tokens": "Messages requires max_tokens",
        "tool_choice": "auto is said in this recording only",
    },
    ("parallelToolCallsRequest", "google"): {"messages": "ids minted by place, and arguments with line breaks"},
    ("parallelToolCallsRequest", "responses"): {"tools": "strict is said, for its default is another one there"},
    ("reasoningRequestTruncated", "responses"): {"reasoning_effort": "asked in this recording only"},
    ("toolCallRequest", "anthropic"): {"max_completion_tokens": "Messages requires max_tokens"},
    ("toolCallRequest", "responses"): {"tools": "strict is said, for its default is another one there"},
    ("toolChoiceRequiredParam", "anthropic"): {
        "tools": "strict and additionalProperties are asked in chat only",
        "max_completion_tokens": "Messages requires max_tokens",
    },
    ("toolChoiceRequiredParam", "google"): {"tools": "strict and additionalProperties are asked in chat only"},
}


def chat(recordings: Path, folder: str) -> dict[str, Any]:
    body = (recordings / "cross" / folder / "chat-completions.request.json").read_bytes()
    document: dict[str, Any] = orjson.loads(body)
    return document


def translated(recordings: Path, folder: str, form: str, model: str) -> dict[str, Any]:
    body = (recordings / "cross" / folder / f"{form}.request.json").read_bytes()
    client = registry.dialect(FORMS[form])
    call = client.read(body, PATH, "", {"anthropic-version": "2023-06-01"})
    made = relay.request(client, registry.dialect("openai_chat"), call, Target(model, stream=call.stream))
    assert made.dropped == ()
    document: dict[str, Any] = orjson.loads(made.body)
    return document


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("folder", CALLS)
def test_a_call_in_another_format_is_the_same_chat_request(recordings: Path, folder: str, form: str) -> None:
    recorded = chat(recordings, folder)
    made = translated(recordings, folder, form, recorded["model"])
    differing = {name for name in recorded.keys() | made.keys() if recorded.get(name) != made.get(name)}
    assert differing == EXPLAINED.get((folder, form), {}).keys()


@pytest.mark.parametrize("form", ["anthropic", "google"])
def test_parallel_calls_keep_their_order_and_pairing(recordings: Path, form: str) -> None:
    messages = translated(recordings, "parallelToolCallsRequest", form, "m")["messages"]
    recorded = chat(recordings, "parallelToolCallsRequest")["messages"]
    assert [message["role"] for message in messages] == [message["role"] for message in recorded]
    for one, other in zip(messages[1]["tool_calls"], recorded[1]["tool_calls"], strict=True):
        assert orjson.loads(one["function"]["arguments"]) == orjson.loads(other["function"]["arguments"])
    assert [m["content"] for m in messages[2:]] == [m["content"] for m in recorded[2:]]
    assert [m["tool_call_id"] for m in messages[2:]] == [c["id"] for c in messages[1]["tool_calls"]]


def test_a_system_message_in_mid_conversation_keeps_its_place(recordings: Path) -> None:
    body = (recordings / "cross/anthropicMidConversationSystemMessage/anthropic.request.json").read_bytes()
    client = registry.dialect("anthropic")
    call = client.read(body, "/v1/messages", "", {"anthropic-version": "2023-06-01"})
    made = orjson.loads(relay.request(client, registry.dialect("openai_chat"), call, Target("m")).body)
    asked = [message["role"] for message in orjson.loads(body)["messages"]]
    roles = [message["role"] for message in made["messages"]]
    assert roles[-len(asked):] == asked
    assert "system" in asked


def test_a_replayed_thought_signature_is_not_sent_to_a_stranger(recordings: Path) -> None:
    body = (recordings / "cross/googleToolCallThoughtSignatureReplayParam/google.request.json").read_bytes()
    client = registry.dialect("gemini")
    made = relay.request(client, registry.dialect("openai_chat"), client.read(body, PATH, "", {}), Target("m"))
    assert b"ignature" not in made.body
    assert [message["role"] for message in orjson.loads(made.body)["messages"]][-1] == "tool"
