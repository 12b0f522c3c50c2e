"""The Messages observer: byte-exact, commit point, endings, usage, in constant memory."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from fastanchor.core.events import Stop
from fastanchor.core.faults import Kind
from fastanchor.dialects.anthropic import DIALECT
from fastanchor.dialects.anthropic.observe import MessagesObserver
from tests.kit.anthropic import block, call, delta, ending, message_start, split, sse, stop, streamed

STREAMS = (
    "cache-read", "cache-write", "compaction", "fallback-model-switch", "max-tokens-partial-json", "parallel-tool-use",
    "prefill-stop-sequence", "redacted-thinking", "refusal-stop-details", "server-tool-refusal", "server-tool-search",
    "text", "thinking-text", "thinking-then-refusal", "thinking-tool-use", "tool-use",
)  # fmt: skip
OPEN = (message_start(), block(0, type="text", text=""))


def observed(data: bytes, *, done: bool = False) -> tuple[MessagesObserver, bytes]:
    observer = DIALECT.observer(call(options={"anthropic_done": "1" if done else "0"}))
    out = observer.feed(data)
    return observer, out + observer.end()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", STREAMS)
def test_recordings_pass_byte_for_byte_at_any_split(recordings: Path, name: str, seed: int) -> None:
    data = (recordings / "anthropic" / f"{name}.sse").read_bytes()
    observer = DIALECT.observer(call())
    out = b"".join(observer.feed(piece) for piece in split(data, seed)) + observer.end()
    assert out == data.rstrip(b"\n") + b"\n\n"  # the blank line that official clients need is supplied
    assert observer.complete
    assert observer.started
    assert observer.fault is None
    assert observer.usage.known


def test_usage_has_our_meaning(recordings: Path) -> None:
    observer, _ = observed((recordings / "anthropic" / "cache-read.sse").read_bytes())
    assert (observer.usage.input, observer.usage.cache_read, observer.usage.output) == (1169, 1165, 221)
    observer, _ = observed((recordings / "anthropic" / "max-tokens-partial-json.sse").read_bytes())
    assert observer.stop is Stop.MAX_TOKENS


def test_the_commit_point_is_the_first_content() -> None:
    observer = DIALECT.observer(call())
    observer.feed(sse(*OPEN, {"type": "ping"}, delta(0, "text_delta", text="")))
    assert not observer.started
    observer.feed(sse(delta(0, "text_delta", text="Hi")))
    assert observer.started


@pytest.mark.parametrize("piece", [delta(0, "thinking_delta", thinking="hm"),
                                   delta(0, "input_json_delta", partial_json="{"),
                                   ending("end_turn")[0]])  # fmt: skip
def test_thinking_tool_input_and_a_finish_are_content(piece: dict[str, object]) -> None:
    observer = DIALECT.observer(call())
    observer.feed(sse(message_start(), piece))
    assert observer.started


def test_a_signature_alone_is_no_content() -> None:
    observer = DIALECT.observer(call())
    observer.feed(sse(message_start(), delta(0, "signature_delta", signature="x")))
    assert not observer.started


def test_an_error_is_not_forwarded_and_what_came_before_it_is() -> None:
    good = sse(*OPEN, delta(0, "text_delta", text="Hi"))
    error = sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    observer, out = observed(good + error + sse(*ending("end_turn")))
    assert out == good
    assert observer.fault is not None
    assert observer.fault.kind is Kind.UPSTREAM_OVERLOADED
    assert not observer.complete


def test_an_error_before_content_leaves_the_answer_uncommitted() -> None:
    observer, _ = observed(sse(message_start(), {"type": "error", "error": {"type": "api_error", "message": "x"}}))
    assert not observer.started
    assert observer.fault is not None


def test_the_word_error_in_a_text_is_no_error() -> None:
    said = 'event: error {"type":"error"} message_stop [DONE]'
    data = sse(*OPEN, delta(0, "text_delta", text="a"), delta(0, "text_delta", text=said), stop(0), *ending("end_turn"))
    observer, out = observed(data)
    assert out == data
    assert observer.complete


@pytest.mark.parametrize("at", range(0, 700, 9))
def test_a_cut_before_the_finish_is_truncated(recordings: Path, at: int) -> None:
    data = (recordings / "anthropic" / "text.sse").read_bytes()
    observer, out = observed(data[: min(at, data.index(b"event: message_delta"))])
    assert observer.fault is not None
    assert observer.fault.kind in (Kind.TRUNCATED, Kind.EMPTY_ANSWER)
    assert data.startswith(out.rstrip(b"\n"))


def test_an_end_after_the_finish_is_whole_and_gets_its_message_stop() -> None:
    data = sse(*OPEN, delta(0, "text_delta", text="Hi"), stop(0), ending("end_turn")[0])
    observer, out = observed(data)
    assert observer.complete
    assert streamed(out).stop_reason == "end_turn"
    assert out.endswith(b'data: {"type":"message_stop"}\n\n')


@pytest.mark.parametrize("own", [b"", b"data: [DONE]\n\n"])
@pytest.mark.parametrize("done", [True, False])
def test_done_stands_once_when_it_is_set(own: bytes, done: bool) -> None:
    data = sse(*OPEN, delta(0, "text_delta", text="Hi"), stop(0), *ending("end_turn"))
    observer, out = observed(data + own, done=done)
    assert out == data + (b"data: [DONE]\n\n" if done else b"")
    assert observer.complete


def test_nothing_is_forwarded_after_message_stop() -> None:
    data = sse(message_start(), *ending("end_turn"))
    observer = DIALECT.observer(call())
    assert observer.feed(data + sse({"type": "ping"})) == data
    assert observer.feed(sse({"type": "ping"})) == b""


def test_a_second_message_start_is_a_fault(recordings: Path) -> None:
    observer, out = observed((recordings / "anthropic" / "spliced-message-start.sse").read_bytes())
    assert observer.fault is not None
    assert observer.fault.kind is Kind.MALFORMED_ANSWER
    assert b"msg_second" not in out


def test_a_body_that_is_no_stream_is_a_fault() -> None:
    observer, out = observed(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    assert out == b""
    assert observer.fault is not None
    assert observer.fault.kind is Kind.UPSTREAM_OVERLOADED
    observer, out = observed(b'{"type":"message","content":[]}')
    assert observer.fault is not None


def test_nothing_at_all_is_an_empty_answer() -> None:
    observer, _ = observed(b"")
    assert observer.fault is not None
    assert observer.fault.kind is Kind.EMPTY_ANSWER


@pytest.mark.parametrize("kind", ["text", "thinking", "partial_json"])
@pytest.mark.parametrize("whole", [True, False])
def test_the_output_estimate_counts_all_kinds_of_content(kind: str, whole: bool) -> None:
    name = {"text": "text_delta", "thinking": "thinking_delta", "partial_json": "input_json_delta"}[kind]
    pieces = [delta(0, name, **{kind: "word " * 20}) for _ in range(20)]
    data = sse(*OPEN, *pieces, delta(0, "signature_delta", signature="s" * 4000))
    observer = DIALECT.observer(call())
    for piece in [data] if whole else split(data, 1):
        observer.feed(piece)
    size = 20 * 20 * 5 / 4
    assert size * 0.8 <= observer.output_estimate <= size * (3.5 if whole else 1.2)


def test_memory_does_not_grow_with_the_stream() -> None:
    observer = DIALECT.observer(call())
    observer.feed(sse(*OPEN, delta(0, "text_delta", text="Hi")))
    for _ in range(200):
        piece = sse(delta(0, "text_delta", text="x" * 1000))
        assert observer.feed(piece) == piece
    assert observer._scanner.tail() == b""


def test_an_event_without_end_is_a_fault() -> None:
    observer = DIALECT.observer(call())
    while observer.fault is None:
        observer.feed(b"data: " + b"x" * 1_000_000)
    assert observer.fault.kind is Kind.MALFORMED_ANSWER


def test_marked_frames_that_are_no_json_are_a_fault() -> None:
    observer, out = observed(sse(message_start()) + b'data: {"type":"message_delta",\n\n')
    assert observer.fault is not None
    assert out == sse(message_start())
    assert orjson.loads(out.split(b"data: ")[1])["type"] == "message_start"
