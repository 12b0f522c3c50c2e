"""The Messages decoder: recordings, faults of real upstreams, bounds."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.events import (
    CONTENT,
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
    Raw,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.anthropic import DIALECT
from fastanchor.dialects.anthropic.content import MAX_BLOCKS
from tests.kit.anthropic import block, decoded, delta, ending, message_start, split, sse, stop

STREAMS = (
    # name, text, tool names, stop, input, output
    ("cache-read", 1169, 221, Stop.END, ()),
    ("cache-write", 1169, 201, Stop.END, ()),
    ("compaction", 30, 8, Stop.END, ()),
    ("fallback-model-switch", 25, 8, Stop.END, ()),
    ("max-tokens-partial-json", 450, 124, Stop.MAX_TOKENS, ("make_file",)),
    ("parallel-tool-use", 542, 62, Stop.TOOL_CALLS, ("pelican_name_generator", "pelican_name_generator")),
    ("prefill-stop-sequence", 16, 28, Stop.STOP_SEQUENCE, ()),
    ("redacted-thinking", 92, 189, Stop.END, ()),
    ("refusal-stop-details", 20, 0, Stop.REFUSAL, ()),
    ("server-tool-refusal", 28, 106, Stop.REFUSAL, ()),
    ("server-tool-search", 1591, 175, Stop.TOOL_CALLS, ("get_exchange_rate",)),
    ("text", 10, 4, Stop.END, ()),
    ("thinking-text", 46, 133, Stop.END, ()),
    ("thinking-then-refusal", 28, 106, Stop.REFUSAL, ()),
    ("thinking-tool-use", 598, 92, Stop.TOOL_CALLS, ("fixed_version",)),
    ("tool-use", 543, 40, Stop.TOOL_CALLS, ("pelican_name_generator",)),
)


def kept_grammar(events: list[Event]) -> None:
    """Begin first, blocks opened once and closed, deltas in open blocks only, finish after blocks, one ending."""
    assert isinstance(events[0], Begin)
    assert sum(isinstance(event, (End, Failed)) for event in events) == 1
    assert isinstance(events[-1], (End, Failed))
    open_blocks: set[int] = set()
    opened = 0
    finished = False
    for event in events:
        if isinstance(event, BlockStart):
            assert event.block == opened
            assert not finished
            opened += 1
            open_blocks.add(event.block)
        elif isinstance(event, BlockEnd):
            open_blocks.remove(event.block)
        elif isinstance(event, Finish):
            assert not open_blocks
            finished = True
        elif isinstance(event, (Text, Thought, Signature, Arguments, Citation, Raw)):
            assert event.block in open_blocks
    assert finished or isinstance(events[-1], Failed)


@pytest.mark.parametrize(("name", "input_tokens", "output", "ended", "tools"), STREAMS)
def test_recording_gives_its_usage_stop_and_tools(
    recordings: Path, name: str, input_tokens: int, output: int, ended: Stop, tools: tuple[str, ...]
) -> None:
    events = decoded((recordings / "anthropic" / f"{name}.sse").read_bytes())
    kept_grammar(events)
    usage = Usage()
    for event in events:
        if isinstance(event, Counted):
            usage.update(event.usage)
    assert (usage.input, usage.output) == (input_tokens, output)
    assert [event.stop for event in events if isinstance(event, Finish)] == [ended]
    assert tuple(e.tool_name for e in events if isinstance(e, BlockStart) and e.kind is Block.TOOL) == tools
    assert isinstance(events[-1], End)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [row[0] for row in STREAMS] + ["spliced-message-start"])
def test_every_split_gives_the_same_events(recordings: Path, name: str, seed: int) -> None:
    data = (recordings / "anthropic" / f"{name}.sse").read_bytes()
    decoder = DIALECT.decoder()
    events: list[Event] = []
    for piece in split(data, seed):
        events += decoder.feed(piece)
    assert repr(events + decoder.end()) == repr(decoded(data))  # faults compare by identity


@pytest.mark.parametrize("name", ["text", "tool-use", "thinking-text"])
def test_a_stream_cut_anywhere_before_its_finish_is_truncated(recordings: Path, name: str) -> None:
    data = (recordings / "anthropic" / f"{name}.sse").read_bytes()
    finish = data.index(b"event: message_delta")
    for at in range(0, finish, 7):
        last = decoded(data[:at])[-1]
        assert isinstance(last, Failed)
        assert last.fault.kind is Kind.TRUNCATED


def test_a_stream_that_ends_after_its_finish_is_whole(recordings: Path) -> None:
    data = (recordings / "anthropic" / "text.sse").read_bytes()
    assert isinstance(decoded(data[: data.index(b"event: message_stop")])[-1], End)


def test_a_last_frame_without_its_blank_line_counts_when_its_json_is_whole() -> None:
    data = sse(message_start(), block(0, type="text", text=""), delta(0, "text_delta", text="Hi"), *ending("end_turn"))
    assert decoded(data.rstrip(b"\n")) == decoded(data)


@pytest.mark.parametrize("form", ["crlf", "cr", "bom", "no_space", "comments", "multi_line", "no_event"])
def test_framing_variants_mean_the_same(recordings: Path, form: str) -> None:
    data = (recordings / "anthropic" / "thinking-tool-use.sse").read_bytes()
    variants = {
        "crlf": data.replace(b"\n", b"\r\n"),
        "cr": data.replace(b"\n", b"\r"),
        "bom": b"\xef\xbb\xbf" + data,
        "no_space": data.replace(b"data: ", b"data:"),
        "comments": data.replace(b"event:", b": keep-alive\n\nevent:"),
        "multi_line": data.replace(b'{"type":"content_block_delta",', b'{"type":"content_block_delta",\ndata: '),
        "no_event": b"".join(line for line in data.splitlines(True) if not line.startswith(b"event:")),
    }
    events = decoded(variants[form])
    assert [e for e in events if not isinstance(e, Raw)] == [e for e in decoded(data) if not isinstance(e, Raw)]


def test_thinking_comes_with_its_signature(recordings: Path) -> None:
    events = decoded((recordings / "anthropic" / "thinking-text.sse").read_bytes())
    signatures = [event for event in events if isinstance(event, Signature)]
    assert len(signatures) == 1
    assert signatures[0].dialect == "anthropic"
    assert len(signatures[0].data) > 300


def test_redacted_and_hosted_blocks_keep_their_json(recordings: Path) -> None:
    events = decoded((recordings / "anthropic" / "server-tool-search.sse").read_bytes())
    hosted = [event for event in events if isinstance(event, BlockStart) and event.kind is Block.HOSTED]
    assert [orjson.loads(event.data)["type"] for event in hosted] == ["server_tool_use", "tool_search_tool_result"]
    events = decoded((recordings / "anthropic" / "redacted-thinking.sse").read_bytes())
    redacted = [event for event in events if isinstance(event, BlockStart) and event.kind is Block.REDACTED]
    assert len(redacted) == 2
    assert all(orjson.loads(event.data)["data"] for event in redacted)


def test_usage_of_a_compaction_and_refusal_has_thinking(recordings: Path) -> None:
    events = decoded((recordings / "anthropic" / "thinking-then-refusal.sse").read_bytes())
    counted = [event.usage for event in events if isinstance(event, Counted)]
    assert counted[-1].reasoning == 67
    finish = next(event for event in events if isinstance(event, Finish))
    assert orjson.loads(finish.detail)["type"] == "refusal"


def test_the_output_counter_of_message_start_is_not_a_count() -> None:
    events = decoded(sse(message_start(output_tokens=3)))
    assert next(event for event in events if isinstance(event, Counted)).usage.output is None


def test_integers_beyond_double_precision_and_key_order_survive_in_arguments() -> None:
    arguments = '{"z": 9007199254740993123, "a": 1}'
    pieces = [delta(0, "input_json_delta", partial_json=arguments[i : i + 3]) for i in range(0, len(arguments), 3)]
    start = block(0, type="tool_use", id="toolu_1", name="f", input={})
    events = decoded(sse(message_start(), start, *pieces, stop(0), *ending("tool_use")))
    assert b"".join(event.data for event in events if isinstance(event, Arguments)) == arguments.encode()


def test_citations_keep_their_json() -> None:
    citation = {"type": "char_location", "cited_text": "x", "document_index": 0, "start_char_index": 9007199254740993}
    events = decoded(
        sse(message_start(), block(0, type="text", text=""), delta(0, "citations_delta", citation=citation),
            delta(0, "text_delta", text="x"), stop(0), *ending("end_turn"))
    )  # fmt: skip
    assert [event.data for event in events if isinstance(event, Citation)] == [orjson.dumps(citation)]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("overloaded_error", Kind.UPSTREAM_OVERLOADED),
        ("rate_limit_error", Kind.UPSTREAM_RATE_LIMITED),
        ("api_error", Kind.UPSTREAM_ERROR),
        ("timeout_error", Kind.IN_BAND_ERROR),
        ("authentication_error", Kind.UPSTREAM_AUTH),
    ],
)
def test_an_error_event_ends_the_answer(kind: str, fault: Kind) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "no"}}
    events = decoded(sse(message_start(), block(0, type="text", text=""), delta(0, "text_delta", text="Hi"), error))
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind is fault
    assert Text(0, "Hi") in events


def test_bare_json_in_place_of_a_stream_is_read() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert isinstance(decoded(orjson.dumps(error))[-1], Failed)
    whole = {"type": "message", "id": "msg_1", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
    assert Text(0, "Hi") in decoded(orjson.dumps(whole))


def test_a_second_message_start_after_content_fails(recordings: Path) -> None:
    events = decoded((recordings / "anthropic" / "spliced-message-start.sse").read_bytes())
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind is Kind.MALFORMED_ANSWER


def test_a_second_message_start_before_content_starts_over() -> None:
    events = decoded(
        sse(message_start(), block(0, type="text", text=""), message_start(input_tokens=6),
            block(0, type="text", text=""), delta(0, "text_delta", text="Hi"), stop(0), *ending("end_turn"))
    )  # fmt: skip
    kept_grammar(events)
    assert Text(1, "Hi") in events
    assert isinstance(events[-1], End)


def test_data_that_is_no_json_fails_instead_of_being_lost() -> None:
    events = decoded(sse(message_start()) + b"event: content_block_delta\ndata: {oops\n\n")
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind is Kind.MALFORMED_ANSWER


def test_tool_input_without_a_tool_fails() -> None:
    events = decoded(sse(message_start(), delta(0, "input_json_delta", partial_json="{}")))
    assert isinstance(events[-1], Failed)


def test_text_without_a_block_start_opens_one() -> None:
    events = decoded(sse(message_start(), delta(0, "text_delta", text="Hi"), *ending("end_turn")))
    kept_grammar(events)
    assert Text(0, "Hi") in events


def test_unknown_events_and_deltas_are_tolerated() -> None:
    events = decoded(
        sse(message_start(), {"type": "new_thing"}, block(0, type="text", text=""),
            delta(0, "new_delta", x=1), delta(0, "text_delta", text="Hi"), stop(0), stop(4), *ending("end_turn"))
    )  # fmt: skip
    kept_grammar(events)
    assert isinstance(events[-1], End)


def test_an_unknown_stop_reason_is_told_as_native() -> None:
    events = decoded(sse(message_start(), *ending("new_reason")))
    finish = next(event for event in events if isinstance(event, Finish))
    assert (finish.stop, finish.native) == (Stop.UNKNOWN, "new_reason")


@pytest.mark.parametrize("late", [
    [block(0, type="text", text="x")], [delta(0, "text_delta", text="x")],
    [block(0, type="tool_use", id="t", name="f", input={}), stop(0)],
])  # fmt: skip
def test_content_after_the_end_of_the_answer_fails_it(late: list[dict[str, object]]) -> None:
    start = [block(0, type="text", text=""), delta(0, "text_delta", text="Hi"), stop(0)]
    events = decoded(sse(message_start(), *start, ending("end_turn")[0], *late, ending("end_turn")[1]))
    assert isinstance(events[-1], Failed)
    assert not any(isinstance(event, BlockStart) for event in events[events.index(finish_of(events)) :])


def finish_of(events: list[Event]) -> Event:
    return next(event for event in events if isinstance(event, Finish))


def test_too_many_blocks_fail() -> None:
    frames = [f for i in range(MAX_BLOCKS + 1) for f in (block(i, type="text", text=""), stop(i))]
    events = decoded(sse(message_start(), *frames))
    assert isinstance(events[-1], Failed)


def test_an_event_that_never_ends_fails_within_bounds() -> None:
    decoder = DIALECT.decoder()
    events: list[Event] = []
    for _ in range(200):
        events += decoder.feed(b"data: " + b"x" * 65536)
        if events:
            break
    assert isinstance(events[-1], Failed)
    assert decoder.feed(b"more") == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "id"]), inner),
    max_leaves=4,
)
FRAMES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
             "message_stop", "ping", "message", "other"]
        )
    },
    optional={"index": VALUES, "message": VALUES, "content_block": VALUES, "delta": VALUES, "usage": VALUES,
              "content": VALUES},
)


@given(st.lists(FRAMES, max_size=8))
def test_hostile_frames_never_raise_and_end_once(frames: list[dict[str, object]]) -> None:
    try:
        data = sse(*frames)
    except orjson.JSONEncodeError:  # integers beyond 64 bits, surrogates
        return
    events = decoded(data)
    assert sum(isinstance(event, (End, Failed)) for event in events) == 1
    assert isinstance(events[-1], (End, Failed))


@given(st.binary(max_size=200))
def test_hostile_bytes_never_raise(data: bytes) -> None:
    assert isinstance(decoded(data)[-1], (End, Failed))


def test_content_decides_the_commit_point(recordings: Path) -> None:
    decoder = DIALECT.decoder()
    data = (recordings / "anthropic" / "text.sse").read_bytes()
    first = data.index(b"event: content_block_delta")
    assert not any(isinstance(event, CONTENT) for event in decoder.feed(data[:first]))
    assert any(isinstance(event, CONTENT) for event in decoder.feed(data[first:]))
