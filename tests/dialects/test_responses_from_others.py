"""Recorded answers of every other vendor, as a Responses stream that the official SDK reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastanchor.core.events import BlockEnd, BlockStart, Counted, End, Event, Failed, Finish, Refusal, Stop, Text
from fastanchor.dialects.registry import dialect
from tests.dialects.responses_sdk import check, encoded, read_stream

FOLDERS = {
    "openai-chat": "openai_chat", "openai-compat": "openai_chat", "anthropic": "anthropic", "gemini": "gemini",
    "openai-completions": "openai_completions",
}  # fmt: skip


def events_of(path: Path) -> list[Event]:
    decoder = dialect(FOLDERS[path.parent.name]).decoder()
    return decoder.feed(path.read_bytes()) + decoder.end()


def texts(events: list[Event], kind: type[Text | Refusal]) -> str:
    first = {event.block for event in events if isinstance(event, BlockStart) and event.choice == 0}
    return "".join(event.text for event in events if isinstance(event, kind) and event.block in first)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recording_reads_in_the_sdk(recordings: Path, folder: str) -> None:
    paths = sorted((recordings / folder).glob("*.sse"))
    assert paths
    for path in paths:
        events = events_of(path)
        told = check(encoded(events))
        kinds = [frame["type"] for frame in told]
        if isinstance(events[-1], Failed):
            assert kinds[-2:] == ["error", "response.failed"], path.name
            continue
        assert isinstance(events[-1], End)
        output = told[-1]["response"]["output"]
        parts = [part for item in output if item["type"] == "message" for part in item["content"]]
        assert "".join(part.get("text", "") for part in parts) == texts(events, Text), path.name
        assert "".join(part.get("refusal", "") for part in parts) == texts(events, Refusal), path.name
        counted = [event.usage for event in events if isinstance(event, Counted)]
        if counted and counted[-1].known:
            assert told[-1]["response"]["usage"]["total_tokens"] == counted[-1].total, path.name
        if kinds[-1] == "response.completed":
            assert read_stream(encoded(events)).output_text == texts(events, Text), path.name


@pytest.mark.parametrize(
    ("name", "stop", "ending"),
    [
        ("anthropic/max-tokens-partial-json", Stop.MAX_TOKENS, "response.incomplete"),
        ("anthropic/parallel-tool-use", Stop.TOOL_CALLS, "response.completed"),
        ("anthropic/refusal-stop-details", Stop.REFUSAL, "response.incomplete"),
        ("gemini/prompt-blocked", Stop.CONTENT_FILTER, "response.incomplete"),
        ("gemini/function-call-thought-signature", Stop.TOOL_CALLS, "response.completed"),
        ("openai-chat/finish-length", Stop.MAX_TOKENS, "response.incomplete"),
        ("openai-chat/refusal", Stop.REFUSAL, "response.completed"),
    ],
)
def test_bug_08_and_10_stops_of_other_vendors(recordings: Path, name: str, stop: Stop, ending: str) -> None:
    events = events_of(recordings / f"{name}.sse")
    assert [event.stop for event in events if isinstance(event, Finish)] == [stop]
    assert check(encoded(events))[-1]["type"] == ending
    assert any(isinstance(event, BlockEnd) for event in events) or stop in (Stop.CONTENT_FILTER, Stop.REFUSAL)
