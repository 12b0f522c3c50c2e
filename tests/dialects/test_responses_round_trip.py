"""The same request, in and out: recorded ones, generated ones, and nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import (
    Prompt,
)
from fastanchor.dialects.contract import Target
from fastanchor.dialects.openai_responses import DIALECT
from tests.dialects.responses_sdk import read

TARGET = Target("up")
LENIENT = Target("up", strict=False)


def write(prompt: Prompt, target: Target = TARGET) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(DIALECT.write(prompt, target).body)
    return document


def parse(**members: Any) -> Prompt:
    return DIALECT.parse(read({"model": "m", "input": "hi", **members}))


RECORDED = ("instructionsParam", "jsonSchemaFormatParam", "parallelToolCallsRequest", "reasoningRequestTruncated",
            "toolCallRequest", "toolChoiceRequiredParam")  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_request_is_written_as_it_was_read(recordings: Path, name: str) -> None:
    asked = orjson.loads((recordings / "cross" / name / "responses.request.json").read_bytes())
    written = write(DIALECT.parse(read(asked)), Target(asked["model"]))
    assert written.pop("store") is False  # a translated call leaves no copy
    if "reasoning" in asked:
        assert written.pop("include") == ["reasoning.encrypted_content"]
    assert written.pop("input") == [canonical(item) for item in asked.pop("input")]
    assert written == asked


def canonical(item: dict[str, Any]) -> dict[str, Any]:
    """An item in the form that is written: typed, content in parts, no status."""
    if item.get("type", "message") != "message":
        return {name: value for name, value in item.items() if name != "status"}
    content = item["content"]
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    return {"type": "message", "role": item["role"], "content": parts}


_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


def message(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def thought(text: str) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text}]
    return {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "gAAA"}


_USER = st.builds(message, st.just("user"), _TEXT)
_DEVELOPER = st.builds(message, st.just("developer"), _TEXT)
_SAID = st.builds(message, st.just("assistant"), _TEXT)
_THOUGHT = st.builds(thought, _TEXT)


@st.composite
def exchanges(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A user's words, perhaps reasoning, words or calls with their results, in the order that the API wants."""
    items: list[dict[str, Any]] = [draw(_USER)]
    for number in range(draw(st.integers(0, 3))):
        items += draw(st.lists(_THOUGHT, max_size=1)) + draw(st.lists(_SAID, max_size=1))
        calls = [f"call_{number}_{call}" for call in range(draw(st.integers(0, 3)))]
        items += [{"type": "function_call", "call_id": c, "name": "f", "arguments": '{"n":1}'} for c in calls]
        items += [{"type": "function_call_output", "call_id": c, "output": draw(_TEXT)} for c in calls]
        items += [draw(st.one_of(_USER, _DEVELOPER)), draw(_USER)]
    return items


@given(exchanges())
def test_request_to_prompt_to_request(items: list[dict[str, Any]]) -> None:
    assert write(parse(input=items))["input"] == items


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "role", "content", "call_id", "name", "arguments", "output", "summary"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.binary(max_size=60) | st.builds(
    lambda item: json.dumps({"model": "m", "input": [item], "tools": item, "text": item}).encode(), _ANYTHING
))  # fmt: skip
def test_nothing_a_client_sends_is_more_than_a_fault(body: bytes) -> None:
    kinds = []
    try:
        DIALECT.write(DIALECT.parse(DIALECT.read(body, "", "", {})), LENIENT)
    except Fault as fault:
        kinds.append(fault.kind)
    assert kinds in ([], [Kind.INVALID_REQUEST])
