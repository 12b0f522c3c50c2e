"""Recorded streams and generated ones: any split gives the same events, on both halves, and a naive reader agrees."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.speedups.halves import KINDS, both, halves

NEEDLES = (b'"usage"', b'"finish_reason":"', b'"error"', b"[DONE]", b"event: ")
MEASURE = (b'"content":"', b'"text"')
LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n)")


@pytest.fixture(params=halves("sse"))
def sse(request: pytest.FixtureRequest) -> Any:
    return request.param


def naive_events(stream: bytes) -> list[bytes]:
    """The complete raw events, from the whole stream at once, without their blank line."""
    events, lines = [], []
    for line, _ in LINE.findall(stream.removeprefix(b"\xef\xbb\xbf")):
        lines.append(line)
        if not line:
            events.append(b"\n".join(lines))
            lines = []
    return events


def naive_data(event: bytes) -> bytes:
    lines = [line[5:] for line in (event + b"\n").split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(line[1:] if line.startswith(b" ") else line for line in lines)


def cut(stream: bytes, rnd: random.Random, longest: int) -> Iterator[bytes]:
    at = 0
    while at < len(stream):
        size = rnd.randint(1, longest)
        yield stream[at : at + size]
        at += size


@pytest.fixture(scope="module")
def streams(recordings: Path) -> dict[str, bytes]:
    found = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in sorted(recordings.glob("*/*.sse"))}
    assert len(found) > 50
    return found


@pytest.mark.parametrize("longest", [3, 40, 400, 5000])
def test_recordings_come_out_byte_equal_with_the_right_marks(sse: Any, streams: dict[str, bytes], longest: int) -> None:
    rnd = random.Random(longest)
    for name, stream in streams.items():
        scanner, sent, seen = sse.Scanner(NEEDLES, measure=MEASURE), [], []
        for read in cut(stream, rnd, longest):
            whole, marks = scanner.feed(rnd.choice(KINDS)(read))
            sent.append(whole)
            seen += [(b"\n".join(LINE.sub(rb"\1\n", whole[start:end]).split(b"\n")).rstrip(b"\n"), mask)
                     for start, end, mask in marks]
        assert b"".join(sent) + scanner.tail() == stream, name
        expected = [(event.rstrip(b"\n"), sum(1 << i for i, needle in enumerate(NEEDLES) if needle in event))
                    for event in naive_events(stream)]
        assert seen == [(event, mask) for event, mask in expected if mask], name


@pytest.mark.parametrize("longest", [3, 40, 5000])
def test_recordings_decode_as_a_naive_reader_does(sse: Any, streams: dict[str, bytes], longest: int) -> None:
    rnd = random.Random(longest)
    for name, stream in streams.items():
        decoder = sse.Decoder()
        events = [event for read in cut(stream, rnd, longest) for event in decoder.feed(rnd.choice(KINDS)(read))]
        framed = [event.data for event in events if not event.data.startswith(b"{\n")]
        assert framed == [data for event in naive_events(stream) if (data := naive_data(event))], name


@pytest.mark.parametrize("longest", [1, 7, 5000])
def test_an_error_between_the_events_of_a_recording_is_found(sse: Any, streams: dict[str, bytes], longest: int) -> None:
    stream = streams["gemini/error-mid-stream.sse"]
    decoder = sse.Decoder()
    events = [event for read in cut(stream, random.Random(1), longest) for event in decoder.feed(read)]
    last = decoder.end()
    events += [last] if last else []
    assert orjson.loads(events[-1].data)["error"]["code"] == 499
    assert all(orjson.loads(event.data) for event in events)


def test_a_whole_body_of_json_is_one_event(sse: Any, recordings: Path) -> None:
    for name in ("error-body-in-stream.json", "json-array-stream-tools.json"):
        body = (recordings / "gemini" / name).read_bytes()
        decoder = sse.Decoder()
        assert decoder.feed(body) == []
        assert orjson.loads(decoder.end().data) == orjson.loads(body)


FRAGMENTS = st.sampled_from([
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"data: ", b"data:", b"data", b":", b" ", b"event: e", b"id: 1",
    b"retry:2", b"{", b"[", b'  "a": {', b"}", b'"content":"', b'"content" : "ab\\"c"', b'"text":"', b'"', b"\\",
    b"[DONE]", b"x" * 40,
    b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xbf", b"\x00", b"\xc3\xa9",
])
STREAM = st.lists(FRAGMENTS, max_size=40).map(b"".join)
SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=10)


def reads(stream: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = turn = 0
    while at < len(stream):
        yield stream[at : at + sizes[turn % len(sizes)]]
        at += sizes[turn % len(sizes)]
        turn += 1


def outcome(call: Any, *arguments: Any) -> Any:
    """What a call gives, or the type and text of what it raises."""
    try:
        return call(*arguments)
    except ValueError as error:
        return type(error), str(error)


@given(STREAM, SIZES, st.sampled_from([15, 60, 10_000]), st.sampled_from(KINDS), st.booleans())
def test_both_halves_scan_alike(stream: bytes, sizes: list[int], cap: int, kind: Any, unclosed: bool) -> None:
    scanners = [half.Scanner(NEEDLES, measure=MEASURE, unclosed=unclosed, max_event=cap) for half in both("sse")]
    for read in reads(stream, sizes):
        pure, compiled = (outcome(scanner.feed, kind(read)) for scanner in scanners)
        assert pure == compiled
        if isinstance(pure[0], type):
            return
    pure, compiled = ((scanner.tail(), scanner.events, scanner.measured) for scanner in scanners)
    assert pure == compiled


@given(STREAM, SIZES, st.sampled_from([15, 60, 10_000]), st.sampled_from(KINDS))
def test_both_halves_decode_alike(stream: bytes, sizes: list[int], cap: int, kind: Any) -> None:
    decoders = [half.Decoder(max_event=cap) for half in both("sse")]
    for read in reads(stream, sizes):
        pure, compiled = (outcome(decoder.feed, kind(read)) for decoder in decoders)
        assert pure == compiled
        if isinstance(pure, tuple):
            return
    pure, compiled = (decoder.end() for decoder in decoders)
    assert pure == compiled


@given(STREAM)
def test_both_halves_parse_alike(raw: bytes) -> None:
    pure, compiled = both("sse")
    assert pure.parse(raw) == compiled.parse(raw)
    assert pure.data_of(raw) == compiled.data_of(raw) == pure.parse(raw).data


@given(STREAM, SIZES)
def test_a_split_changes_nothing(stream: bytes, sizes: list[int]) -> None:
    for half in both("sse"):
        split, whole = half.Decoder(), half.Decoder()
        events = [event for read in reads(stream, sizes) for event in split.feed(read)]
        assert (events, split.end()) == (whole.feed(stream), whole.end())
        scanner, at_once = (half.Scanner(NEEDLES, measure=MEASURE) for _ in range(2))
        sent = b"".join(scanner.feed(read)[0] for read in reads(stream, sizes))
        at_once.feed(stream)
        assert sent + scanner.tail() == stream
        assert (scanner.tail(), scanner.events, scanner.measured) == (
            at_once.tail(), at_once.events, at_once.measured)
