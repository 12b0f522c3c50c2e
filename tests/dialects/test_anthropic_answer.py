"""Whole Messages answers: read, written, looked at for usage."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockEnd,
    BlockStart,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Refusal,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.anthropic import DIALECT
from tests.kit.anthropic import answering, created, decoded

CROSS = (
    "instructionsParam", "jsonSchemaFormatParam", "parallelToolCallsRequest", "reasoningRequestTruncated",
    "toolCallRequest", "toolChoiceRequiredParam",
)  # fmt: skip
STREAMS = ("compaction", "parallel-tool-use", "redacted-thinking", "server-tool-search", "thinking-tool-use", "text")


@pytest.mark.parametrize("name", CROSS)
def test_recorded_answers_mean_the_same_when_written_again(recordings: Path, name: str) -> None:
    body = (recordings / "cross" / name / "anthropic.response.json").read_bytes()
    again = DIALECT.write_answer(DIALECT.read_answer(body), answering())
    ours, theirs = created(again), created(body)
    strip = {"content": {"__all__": {"caller"}}, "model": True, "usage": {"inference_geo"}}
    assert ours.model_dump(exclude=strip) == theirs.model_dump(exclude=strip)


def test_a_stop_sequence_is_named(recordings: Path) -> None:
    body = (recordings / "anthropic" / "nonstream-stop-sequence.json").read_bytes()
    events = DIALECT.read_answer(body)
    assert Finish(Stop.STOP_SEQUENCE, sequence="Paris", native="stop_sequence") in events
    assert orjson.loads(DIALECT.write_answer(events, answering()))["stop_sequence"] == "Paris"
    assert DIALECT.usage_of(body) == Usage(input=32, output=5)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_written_as_a_whole_answer_reads_back(recordings: Path, name: str) -> None:
    events = decoded((recordings / "anthropic" / f"{name}.sse").read_bytes())
    whole = DIALECT.write_answer(events, answering())
    assert created(whole).stop_reason
    again = DIALECT.read_answer(whole)
    assert _texts(again) == _texts(events)
    assert [e.stop for e in again if isinstance(e, Finish)] == [e.stop for e in events if isinstance(e, Finish)]


def _texts(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, (Text, Thought)))


@pytest.mark.parametrize("name", ["error-400.json", "error-404.json"])
def test_an_error_in_disguise_fails(recordings: Path, name: str) -> None:
    assert isinstance(DIALECT.read_answer((recordings / "anthropic" / name).read_bytes())[-1], Failed)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"content":3}', b'{"content":[3]}', b'{"content":[],"usage":3}', b"\xff"]
)
def test_what_is_no_message_fails(body: bytes) -> None:
    assert isinstance(DIALECT.read_answer(body)[-1], Failed)
    assert DIALECT.usage_of(body) == Usage()


def test_arguments_keep_their_bytes_both_ways() -> None:
    raw = b'{"z": 9007199254740993123, "a": 1e400}'.replace(b"1e400", b"1.10")
    body = b'{"type":"message","id":"msg_1","content":[{"type":"tool_use","id":"t","name":"f","input":%b}]}' % raw
    events = DIALECT.read_answer(body)
    assert Arguments(0, raw) in events
    assert raw in DIALECT.write_answer(events, answering())


@pytest.mark.parametrize(
    ("arguments", "written"),
    [(b"", {}), (b"{}", {}), (b'{"a":1}', {"a": 1}), (b"[1]", {"value": [1]}), (b'{"a":', {"_raw": '{"a":'})],
)
def test_arguments_become_an_object(arguments: bytes, written: dict[str, object]) -> None:
    events: list[Event] = [Begin("", ""), BlockStart(0, Block.TOOL, tool_id="t", tool_name="f"),
                           Arguments(0, arguments), BlockEnd(0), Finish(Stop.MAX_TOKENS), End()]  # fmt: skip
    message = created(DIALECT.write_answer(events, answering()))
    assert message.content[0].input == written
    assert message.stop_reason == "max_tokens"


def test_thinking_refusals_and_empty_texts() -> None:
    events: list[Event] = [
        Begin("", ""), BlockStart(0, Block.THOUGHT), Thought(0, "hm"), Signature(0, "anthropic", "sig"), BlockEnd(0),
        BlockStart(1, Block.TEXT), BlockEnd(1), BlockStart(2, Block.REFUSAL), Refusal(2, "No."), BlockEnd(2),
        Finish(Stop.END), Counted(Usage(input=3, output=4)), End(),
    ]  # fmt: skip
    message = created(DIALECT.write_answer(events, answering()))
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].signature == "sig"
    assert message.stop_reason == "refusal"
    assert message.usage.input_tokens == 3


def test_a_failed_answer_raises_its_fault() -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.write_answer([Begin("", ""), Failed(Fault(Kind.TRUNCATED))], answering())
    assert caught.value.kind is Kind.TRUNCATED
