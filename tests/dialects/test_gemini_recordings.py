"""Every Gemini recording: the same events however it is cut, what they say, what the SDK reads of their encoding."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from fastanchor.core.call import Call
from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockEnd,
    BlockStart,
    Citation,
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
from fastanchor.core.faults import Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.gemini import DIALECT
from tests.dialects import gemini_sdk

TEXTS = {
    # recording: (stop, native, text begins, tool calls, input, output)
    "cached-content.json": (Stop.END, "STOP", "Paris.", 0, 3520, 44),
    "citations.sse": (Stop.END, "STOP", "Okay", 0, 15, 1381),
    "code-execution.sse": (Stop.END, "STOP", "The result of $65465", 0, 507, 276),
    "function-call-thought-signature.sse": (Stop.TOOL_CALLS, "STOP", "", 1, 29, 212),
    "implicit-caching.json": (Stop.END, "STOP", "Red Riding Hood", 0, 12013, 88),
    "json-array-stream-tools.json": (Stop.TOOL_CALLS, "STOP", "", 1, 32, 54),
    "max-tokens-empty.json": (Stop.MAX_TOKENS, "MAX_TOKENS", "", 0, 15, 2),
    "parallel-function-calls.json": (Stop.TOOL_CALLS, "STOP", "", 3, 83, 220),
    "prompt-blocked.sse": (Stop.CONTENT_FILTER, "SAFETY", "", 0, None, None),
    "recitation.sse": (Stop.CONTENT_FILTER, "RECITATION", "text1", 0, 9, 261),
    "safety-finish.json": (Stop.CONTENT_FILTER, "SAFETY", "", 0, 14, 0),
    "text-crlf.sse": (Stop.END, "STOP", "1\n2\n3\n4", 0, 18, 115),
    "thinking-function-call.sse": (Stop.TOOL_CALLS, "STOP", "", 1, 38, 174),
    "thinking-thought-parts.sse": (Stop.END, "STOP", "This is a great question", 0, 34, 1256),
    "unknown-finish-enum.sse": (Stop.UNKNOWN, "FAKE_ENUM", "**Cats:**", 0, None, None),
    "utf8.sse": (Stop.END, "STOP", "秋风瑟瑟", 0, None, None),
    "vertex-logprobs.json": (Stop.END, "STOP", "2 + 2 = 4", 0, 7, 80),
    "vertex-partial-args-missing-terminal.sse": (Stop.TOOL_CALLS, "STOP", "", 1, 54, 195),
    "vertex-partial-args.sse": (Stop.TOOL_CALLS, "STOP", "", 2, 26, 155),
}
FAULTS = {
    "error-400-api-key.json": Kind.UPSTREAM_AUTH,
    "error-429-quota.json": Kind.UPSTREAM_RATE_LIMITED,
    "error-body-in-stream.json": Kind.PROVIDER_REJECTED,
    "error-mid-stream.sse": Kind.IN_BAND_ERROR,
}
ALL = sorted(TEXTS | FAULTS)


def decoded(body: bytes, cuts: list[int] | None = None) -> list[Event]:
    decoder = DIALECT.decoder()
    events = []
    edges = [0, *sorted(cuts or []), len(body)]
    for start, end in pairwise(edges):
        events += decoder.feed(body[start:end])
    return events + decoder.end()


def answering(framing: str = "sse") -> Answering:
    call = Call("gemini", "gemini-2.5-flash", b"{}", stream=True, options={"framing": framing})
    return Answering(call, "gemini-2.5-flash", "req1", 1_700_000_000)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def data_of(events: list[Event], kind: type[Arguments] | type[Signature]) -> list[bytes | str]:
    return [event.data for event in events if isinstance(event, kind)]


def usage_of(events: list[Event]) -> Usage:
    usage = Usage()
    for event in events:
        if isinstance(event, Counted):
            usage.update(event.usage)
    return usage


def check_grammar(events: list[Event]) -> None:
    """The grammar that core.events promises."""
    opened: dict[int, BlockStart] = {}
    started = 0
    assert isinstance(events[-1], End | Failed)
    assert sum(isinstance(event, End | Failed) for event in events) == 1
    if len(events) > 1:
        assert isinstance(events[0], Begin)
    finished = False
    for event in events:
        match event:
            case BlockStart():
                assert event.block == started
                assert not finished
                started += 1
                opened[event.block] = event
            case BlockEnd():
                del opened[event.block]
            case Text() | Thought() | Refusal() | Signature() | Arguments() | Citation():
                assert event.block in opened
            case Finish():
                finished = True
    if isinstance(events[-1], End):
        assert not opened
        assert finished


def test_every_recording_is_in_a_table(recordings: Path) -> None:
    assert sorted(path.name for path in (recordings / "gemini").iterdir()) == ALL


@pytest.mark.parametrize("name", ALL)
def test_events_are_the_same_for_every_split(recordings: Path, name: str) -> None:
    body = (recordings / "gemini" / name).read_bytes()
    whole = [repr(event) for event in decoded(body)]
    rng = random.Random(name)
    assert [repr(event) for event in decoded(body, list(range(1, len(body))))] == whole
    for size in range(2, 8):
        assert [repr(event) for event in decoded(body, list(range(size, len(body), size)))] == whole
    for _ in range(20):
        cuts = [rng.randrange(len(body)) for _ in range(rng.randrange(6))]
        assert [repr(event) for event in decoded(body, cuts)] == whole


@pytest.mark.parametrize("name", ALL)
def test_events_keep_to_the_grammar(recordings: Path, name: str) -> None:
    check_grammar(decoded((recordings / "gemini" / name).read_bytes()))


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_recording_says_what_it_says(recordings: Path, name: str) -> None:
    events = decoded((recordings / "gemini" / name).read_bytes())
    stop, native, text, calls, input_tokens, output_tokens = TEXTS[name]
    finish = next(event for event in events if isinstance(event, Finish))
    usage = usage_of(events)
    assert (finish.stop, finish.native) == (stop, native)
    assert text_of(events).startswith(text)
    assert sum(isinstance(event, BlockStart) and event.kind is Block.TOOL for event in events) == calls
    assert (usage.input, usage.output) == (input_tokens, output_tokens)
    assert isinstance(events[-1], End)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_an_error_is_a_fault_of_its_kind(recordings: Path, name: str) -> None:
    last = decoded((recordings / "gemini" / name).read_bytes())[-1]
    assert isinstance(last, Failed)
    assert last.fault.kind is FAULTS[name]


@pytest.mark.parametrize("name", sorted(set(TEXTS) - {"prompt-blocked.sse"}))
def test_the_sdk_reads_the_same_from_the_encoding_as_from_the_recording(recordings: Path, name: str) -> None:
    body = (recordings / "gemini" / name).read_bytes()
    encoder = DIALECT.encoder(answering())
    encoded = b"".join(encoder.feed([event]) for event in decoded(body))
    mine = gemini_sdk.summary(gemini_sdk.read_stream(encoded))
    if "partial-args" in name or "array" in name:  # forms that the SDK does not put together itself
        assert [call[1] for call in mine[0]["calls"]] == PUT_TOGETHER[name]
        return
    theirs = gemini_sdk.summary(
        gemini_sdk.read_stream(body) if name.endswith(".sse") else [gemini_sdk.read_answer(body)]
    )
    if name == "unknown-finish-enum.sse":
        theirs[0]["finish"] = "OTHER"
    assert mine == theirs


PUT_TOGETHER = {
    "vertex-partial-args.sse": [{"location": "Boston"}, {"location": "San Francisco"}],
    "vertex-partial-args-missing-terminal.sse": [{"operations": [
        {"action": "add", "description": "Fresh red apple", "itemid": "apple_001", "price": 0.5},
        {"action": "add", "description": "Ripe yellow banana", "itemid": "banana_001", "price": 0.3},
    ]}],
    "json-array-stream-tools.json": [{}],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_events_survive_their_own_encoding(recordings: Path, name: str) -> None:
    """Encoding loses names of finish reasons that are unknown, and hosted blocks' place, never content."""
    events = decoded((recordings / "gemini" / name).read_bytes())
    for framing in ("sse", "array"):
        encoder = DIALECT.encoder(answering(framing))
        again = decoded(b"".join(encoder.feed([event]) for event in events))
        check_grammar(again)
        assert text_of(again) == text_of(events)
        assert data_of(again, Arguments) == data_of(events, Arguments)
        assert data_of(again, Signature) == data_of(events, Signature)
        assert [e.stop for e in again if isinstance(e, Finish)] == [e.stop for e in events if isinstance(e, Finish)]
        assert usage_of(again) == usage_of(events)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_the_whole_answer_reads_as_the_stream_does(recordings: Path, name: str) -> None:
    events = decoded((recordings / "gemini" / name).read_bytes())
    again = DIALECT.read_answer(DIALECT.write_answer(events, answering()))
    check_grammar(again)
    assert text_of(again) == text_of(events)
    assert data_of(again, Arguments) == data_of(events, Arguments)
    assert [e.stop for e in again if isinstance(e, Finish)] == [e.stop for e in events if isinstance(e, Finish)]
    assert usage_of(again) == usage_of(events)


@pytest.mark.parametrize("name", ALL)
def test_the_observer_agrees_with_the_decoder(recordings: Path, name: str) -> None:
    body = (recordings / "gemini" / name).read_bytes()
    for size in (1, 7, 100, len(body)):
        observer = DIALECT.observer(answering().call)
        out = b"".join(observer.feed(body[at : at + size]) for at in range(0, len(body), size)) + observer.end()
        if name in FAULTS:
            assert observer.fault is not None
            assert observer.fault.kind is FAULTS[name]
            assert body.startswith(out)
            assert b'"error"' not in out
            continue
        assert observer.fault is None
        assert observer.complete
        assert observer.started
        assert out == body
        assert observer.stop is TEXTS[name][0]
        seen, told = observer.usage, usage_of(decoded(body))
        assert (seen.input, seen.output or 0, seen.cache_read) == (told.input, told.output or 0, told.cache_read)


@pytest.mark.parametrize("name", sorted(n for n in ALL if n.endswith(".sse") and n not in FAULTS))
def test_a_stream_cut_before_its_finish_is_truncated(recordings: Path, name: str) -> None:
    body = (recordings / "gemini" / name).read_bytes()
    first = body.find(b'"finishReason"')
    if name == "prompt-blocked.sse":
        first = body.find(b'"blockReason"')
    rng = random.Random(name)
    for cut in [rng.randrange(1, first) for _ in range(15)]:
        events = decoded(body[:cut])
        last = events[-1]
        assert isinstance(last, Failed)
        assert last.fault.kind in (Kind.TRUNCATED, Kind.EMPTY_ANSWER)
        observer = DIALECT.observer(answering().call)
        observer.feed(body[:cut])
        observer.end()
        assert observer.fault is not None
        assert observer.fault.kind in (Kind.TRUNCATED, Kind.EMPTY_ANSWER)
