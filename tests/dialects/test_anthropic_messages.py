"""The turns and parts of a prompt as messages, and round trips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
from fastanchor.core.model import ModelCard
from fastanchor.core.prompt import (
    CacheMark,
    Format,
    HostedPart,
    MediaPart,
    OpaqueSignature,
    Part,
    Prompt,
    RefusalPart,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Turn,
)
from fastanchor.dialects.anthropic import DIALECT
from fastanchor.dialects.contract import Target
from tests.kit.anthropic_requests import BUDGET, HI, NEWEST, F, refused, written

PNG = "iVBORw0KGgoAAAA"


def content(*parts: Part, role: Any = "user", **options: Any) -> list[dict[str, Any]]:
    """The blocks that parts become in a turn of their own, after the user's opening."""
    body, _ = written(HI, Turn("assistant", (TextPart("ok"),)), Turn(role, parts), **options)
    blocks: list[dict[str, Any]] = body["messages"][-1]["content"]
    return blocks



@pytest.mark.parametrize(
    ("part", "source"),
    [
        (MediaPart("image", data=PNG, mime="image/png"), {"type": "base64", "media_type": "image/png", "data": PNG}),
        (MediaPart("image", data=PNG, mime="image/jpg"), {"type": "base64", "media_type": "image/png", "data": PNG}),
        (MediaPart("image", data="AA", mime="image/jpg"), {"type": "base64", "media_type": "image/jpeg", "data": "AA"}),
        (MediaPart("image", url=f"data:image/webp;base64,{PNG}"),
         {"type": "base64", "media_type": "image/png", "data": PNG}),
        (MediaPart("image", url="https://x/y.png", detail="high"), {"type": "url", "url": "https://x/y.png"}),
        (MediaPart("image", file_id="file_1"), {"type": "file", "file_id": "file_1"}),
        (MediaPart("document", data="JVBERi0x", mime=""),
         {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"}),
        (MediaPart("document", text="words"), {"type": "text", "media_type": "text/plain", "data": "words"}),
        (MediaPart("document", data="aGk=", mime="text/csv"),
         {"type": "text", "media_type": "text/plain", "data": "hi"}),
        (MediaPart("document", url="https://x/y.pdf"), {"type": "url", "url": "https://x/y.pdf"}),
    ],
)  # fmt: skip
def test_media(part: MediaPart, source: dict[str, str]) -> None:
    assert content(part) == [{"type": part.kind, "source": source}]


@pytest.mark.parametrize(
    "part",
    [
        MediaPart("audio", data="AA", mime="audio/wav"), MediaPart("video", url="https://x"),
        MediaPart("image", url="http://x/y.png"), MediaPart("image", url="data:text/plain,hi"),
        MediaPart("image", data="AA", mime="image/bmp"), MediaPart("document", data="AA", mime="application/msword"),
        MediaPart("document", data="!!", mime="text/plain"),
    ],
)  # fmt: skip
def test_media_without_a_place_are_refused(part: MediaPart) -> None:
    refused("messages[2]", HI, Turn("assistant", (TextPart("ok"),)), Turn("user", (part,), path="messages[2]"))


def test_media_of_the_assistant_are_refused() -> None:
    picture = MediaPart("image", data=PNG, mime="image/png")
    refused("messages[1]", HI, Turn("assistant", (picture,), path="messages[1]"), HI)


# --- turns ------------------------------------------------------------------------------------------------------------


def roles(body: dict[str, Any]) -> list[str]:
    return [message["role"] for message in body["messages"]]


def test_neighbours_merge_and_the_first_turn_is_the_users() -> None:
    body, _ = written(Turn("assistant", (TextPart("Hello"),)), HI, HI)
    assert roles(body) == ["user", "assistant", "user"]
    assert body["messages"][0]["content"][0]["text"] == "."
    assert [block["text"] for block in body["messages"][2]["content"]] == ["Hi", "Hi"]


def test_a_prompt_without_turns_is_refused() -> None:
    refused("messages", Turn("system", (TextPart("S"),)))


@pytest.mark.parametrize("card", [None, ModelCard(BUDGET, traits=frozenset({"mid_system", "effort"}))])
def test_a_later_system_turn_stays_in_place(card: ModelCard | None) -> None:
    later = Turn("system", (TextPart("Now be brief."),))
    body, _ = written(Turn("system", (TextPart("S"),)), HI, later, card=card)
    assert body["system"] == [{"type": "text", "text": "S"}]
    if card is None:
        assert roles(body) == ["user"]
        told = body["messages"][0]["content"][1]["text"]
        assert told == "<system-reminder>\nNow be brief.\n</system-reminder>"
    else:
        assert roles(body) == ["user", "system"]
        assert body["messages"][1]["content"][0]["text"] == "Now be brief."


def test_a_system_turn_where_the_role_is_not_taken_is_a_reminder() -> None:
    card = ModelCard(BUDGET, traits=frozenset({"mid_system", "effort"}))
    later = Turn("system", (TextPart("B"),))
    body, _ = written(HI, Turn("assistant", (TextPart("ok"),)), later, HI, card=card)
    assert roles(body) == ["user", "assistant", "user"]
    assert body["messages"][2]["content"][0]["text"] == "<system-reminder>\nB\n</system-reminder>"


def test_a_prefill_where_it_is_taken_and_where_it_is_not() -> None:
    last = Turn("assistant", (TextPart("The answer is \n"),))
    body, _ = written(HI, last)
    assert body["messages"][1]["content"][0]["text"] == "The answer is"
    refused("messages", HI, last, model=NEWEST)
    body, made = written(HI, last, model=NEWEST, strict=False)
    assert roles(body) == ["user", "assistant", "user"]
    assert made.dropped == ("messages",)


def test_thinking_is_replayed_only_with_our_own_signature() -> None:
    own = ThoughtPart("hm", OpaqueSignature("anthropic", "s"))
    parts = (own, ThoughtPart("x", OpaqueSignature("gemini", "g")), ThoughtPart("y"),
             ThoughtPart("", OpaqueSignature("anthropic", "d"), redacted=True), RefusalPart("No."))  # fmt: skip
    body, made = written(HI, Turn("assistant", parts), HI)
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "No."},
    ]  # fmt: skip
    assert made.dropped == ("messages[1].reasoning",)


def test_hosted_items() -> None:
    item = b'{"type":"server_tool_use","id":"s","name":"web_search","input":{"n":9007199254740993123}}'
    made = DIALECT.write(Prompt([HI, Turn("assistant", (HostedPart("anthropic", item),)), HI]), Target(BUDGET))
    assert item in made.body
    foreign = Turn("assistant", (HostedPart("openai_responses", b"{}"), TextPart("ok")))
    refused("messages[1]", HI, foreign, HI)
    assert written(HI, foreign, HI, strict=False)[1].dropped == ("messages[1]",)


def test_results_keep_errors_images_and_marks() -> None:
    call = Turn("assistant", (ToolCallPart("t", "f", b'{"a":1}', cache=CacheMark("1h")),))
    picture = MediaPart("image", data=PNG, mime="image/png")
    result = ToolResultPart("t", (TextPart("bad"), TextPart(""), picture), is_error=True, cache=CacheMark())
    body, _ = written(HI, call, Turn("user", (result,)))
    assert body["messages"][1]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    told = body["messages"][2]["content"][0]
    assert (told["tool_use_id"], told["is_error"]) == ("t", True)
    assert [block["type"] for block in told["content"]] == ["text", "image"]
    assert told["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("5m", "5m"), ("1h", "1h"), ("30m", "1h"), ("12h", "1h"), ("", None), ("odd", None)],
)
def test_cache_lifetimes(asked: str, sent: str | None) -> None:
    assert content(TextPart("x", CacheMark(asked)))[0]["cache_control"].get("ttl") == sent


def test_at_most_four_cache_marks_the_last_and_long_ones_first() -> None:
    marks = [CacheMark(ttl) for ttl in ("1h", "1h", "1h", "5m", "1h", "")]
    body, made = written(Turn("user", tuple(TextPart(str(n), mark) for n, mark in enumerate(marks))))
    controls = [block.get("cache_control") for block in body["messages"][0]["content"]]
    assert [control and control.get("ttl", "-") for control in controls] == [None, None, "1h", "5m", "-", "-"]
    assert made.dropped == ("cache_control",)


# --- round trips ------------------------------------------------------------------------------------------------------

CROSS = (
    "anthropicMidConversationSystemMessage", "instructionsParam", "jsonSchemaFormatParam", "parallelToolCallsRequest",
    "reasoningRequestTruncated", "toolCallRequest", "toolChoiceRequiredParam",
)  # fmt: skip


def parse(body: bytes) -> Prompt:
    return DIALECT.parse(Call("anthropic", "m", body))


@pytest.mark.parametrize("name", CROSS)
def test_a_recorded_request_is_written_as_it_was_read(recordings: Path, name: str) -> None:
    prompt = parse((recordings / "cross" / name / "anthropic.request.json").read_bytes())
    card = ModelCard("m", traits=frozenset({"mid_system", "effort", "json_schema"}))
    again = parse(DIALECT.write(prompt, Target(BUDGET, card=card)).body)
    assert again == prompt


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(str.strip)
MARKS = st.none() | st.just(CacheMark("1h"))


@st.composite
def conversations(draw: st.DrawFn) -> list[Turn]:
    """Conversations that Anthropic takes as they are."""
    turns = [Turn("user", (TextPart(draw(WORDS)),))]
    for step in range(draw(st.integers(0, 3))):
        thought = ThoughtPart(draw(WORDS), OpaqueSignature("anthropic", draw(WORDS)))
        arguments = b'{"b":9007199254740993123,"a":1}'
        calls = [ToolCallPart(f"t{step}_{n}", "f", arguments) for n in range(draw(st.integers(0, 2)))]
        turns.append(Turn("assistant", (thought, TextPart(draw(WORDS)), *calls)))
        results = [ToolResultPart(c.id, (TextPart(draw(WORDS)),), "", draw(st.booleans())) for c in calls]
        turns.append(Turn("user", (*results, TextPart(draw(WORDS)))))
    return turns


def _unnamed(turns: list[Turn]) -> list[Turn]:
    """Results without the names that Messages does not carry."""
    return [
        replace(turn, parts=tuple(replace(p, name="") if isinstance(p, ToolResultPart) else p for p in turn.parts))
        for turn in turns
    ]


@given(
    conversations(),
    st.fixed_dictionaries(
        {},
        optional={
            "max_output": st.integers(1, 9), "stop": st.tuples(WORDS), "user": WORDS,
            "temperature": st.floats(0, 1), "parallel_tools": st.just(False),
            "format": st.just(Format("json_schema", schema=b'{"type":"object"}', strict=True)),
        },
    ),
)  # fmt: skip
def test_a_prompt_that_anthropic_can_say_comes_back(turns: list[Turn], members: dict[str, Any]) -> None:
    prompt = Prompt(turns, tools=[F], tool_choice=ToolChoice("auto"), **members)
    prompt.max_output = prompt.max_output or 16
    prompt.extra["anthropic"] = {}
    again = parse(DIALECT.write(prompt, Target(BUDGET)).body)
    assert _unnamed(again.turns) == _unnamed(turns)
    assert replace(again, turns=[]) == replace(prompt, turns=[])
