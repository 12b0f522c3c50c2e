"""The same calls in four formats, recorded: what each becomes as a Messages or a Responses request, field by field.

(`test_openai_chat_cross` and `test_gemini_write` have the other two targets.) Text in a list of one part is the same as
text, call ids are compared by their order, and arguments as documents; every other difference is named here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Target
from fastanchor.providers import catalogue

FORMS = {
    "chat-completions": "openai_chat", "responses": "openai_responses", "anthropic": "anthropic", "google": "gemini",
}  # fmt: skip
CALLS = (
    "instructionsParam", "jsonSchemaFormatParam", "parallelToolCallsRequest", "reasoningRequestTruncated",
    "toolCallRequest", "toolChoiceRequiredParam",
)  # fmt: skip
PAIRS = [(source, target) for target in ("anthropic", "responses") for source in FORMS if source != target]
PATH = "/v1beta/models/gemini-2.5-flash:generateContent"

REQUIRED = "Messages requires max_tokens: the model's most, where the client has no limit"
ASKED = "asked in the recording of this source only"
NOT_ASKED = "asked in the recording of the target only"
ANOTHER = "another text in this recording"
STRICT = "strict and additionalProperties are asked in some of the recordings only"
EXPLAINED: dict[tuple[str, str], dict[str, dict[str, str]]] = {
    ("instructionsParam", "anthropic"): {"*": {"max_tokens": REQUIRED, "system": ANOTHER}},
    ("instructionsParam", "responses"): {"*": {"instructions": ANOTHER}, "anthropic": {"max_output_tokens": ASKED}},
    ("jsonSchemaFormatParam", "anthropic"): {
        "*": {"max_tokens": REQUIRED},
        "google": {"output_config": STRICT, "temperature": ASKED},
    },
    ("jsonSchemaFormatParam", "responses"): {
        "anthropic": {"text": "Messages has no name for a schema", "max_output_tokens": ASKED},
        "google": {"text": "Gemini has neither a name for a schema nor strict", "max_output_tokens": ASKED},
    },
    ("parallelToolCallsRequest", "anthropic"): {"*": {"max_tokens": REQUIRED, "tool_choice": NOT_ASKED}},
    ("parallelToolCallsRequest", "responses"): {"anthropic": {"max_output_tokens": ASKED, "tool_choice": ASKED}},
    ("reasoningRequestTruncated", "responses"): {"*": {"reasoning": NOT_ASKED}},
    ("toolCallRequest", "anthropic"): {"*": {"max_tokens": REQUIRED}},
    ("toolCallRequest", "responses"): {"anthropic": {"max_output_tokens": ASKED}},
    ("toolChoiceRequiredParam", "anthropic"): {
        "*": {"max_tokens": REQUIRED},
        "chat-completions": {"tools": STRICT},
        "responses": {"tools": STRICT},
    },
    ("toolChoiceRequiredParam", "responses"): {
        "anthropic": {"tools": STRICT, "max_output_tokens": ASKED},
        "google": {"tools": STRICT},
    },
}


def recorded(recordings: Path, folder: str, form: str) -> bytes:
    return (recordings / "cross" / folder / f"{form}.request.json").read_bytes()


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """A request in one spelling."""
    ids: dict[str, str] = {}
    told = {name: _plain(value, ids) for name, value in document.items() if name != "store"}  # never at the provider
    return {name: _texts(value) if name in ("system", "instructions") else value for name, value in told.items()}


def _plain(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_plain(one, ids) for one in value]
    if not isinstance(value, dict):
        return value
    told = {name: _plain(one, ids) for name, one in value.items() if name != "status"}
    for name in ("id", "call_id", "tool_use_id"):
        if name in told:
            told[name] = ids.setdefault(told[name], f"call {len(ids)}")
    if "arguments" in told:
        told["arguments"] = orjson.loads(told["arguments"])
    if "content" in told:
        told["content"] = _texts(told["content"])
    if told.get("type") == "message":
        del told["type"]
    return told


def _texts(value: Any) -> Any:
    """Parts that are nothing but text, as the text."""
    if isinstance(value, list) and all(part.get("type") in ("text", "input_text") for part in value):
        return "".join(part["text"] for part in value)
    return value


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("folder", CALLS)
def test_a_call_in_another_format_is_the_same_request(
    recordings: Path, folder: str, source: str, target: str
) -> None:
    wanted = orjson.loads(recorded(recordings, folder, target))
    client = registry.dialect(FORMS[source])
    call = client.read(recorded(recordings, folder, source), PATH, "", {"anthropic-version": "2023-06-01"})
    model = wanted["model"]
    to = Target(model, card=catalogue.card(model), stream=call.stream)
    made = orjson.loads(relay.request(client, registry.dialect(FORMS[target]), call, to).body)
    one, other = plain(wanted), plain(made)
    differing = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    reasons = EXPLAINED.get((folder, target), {})
    assert differing == reasons.get("*", {}).keys() | reasons.get(source, {}).keys()
