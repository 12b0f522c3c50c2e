"""Event framing, marks, measures and parsing on both halves, at every split offset."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.speedups.halves import KINDS, Kind, halves, pieces

BOM = b"\xef\xbb\xbf"
NEEDLES = (b'"usage":{', b"[DONE]")

# stream, events as (name, data), unterminated rest
STREAMS = {
    "lf": (b"data: a\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")], b""),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", [(b"", b"a"), (b"", b"b")], b""),
    "lone cr": (b"data: a\r\rdata: b\r\r", [(b"", b"a"), (b"", b"b")], b""),
    "mixed ends": (b"data: a\r\ndata: b\ndata: c\r\r\ndata: d\n\r\n", [(b"", b"a\nb\nc"), (b"", b"d")], b""),
    "cr then lf is one end": (b"data: a\r\ndata: b\r\n\r\n", [(b"", b"a\nb")], b""),
    "blank lines between": (b"\n\r\n\rdata: a\n\n\n\n\rdata: b\n\n", [(b"", b"a"), (b"", b"b")], b""),
    "byte order mark": (BOM + b"data: a\n\n", [(b"", b"a")], b""),
    "only the first mark is one": (BOM + BOM + b"data: a\n\ndata: b\n\n", [(b"", b"b")], b""),
    "mark before a blank line": (BOM + b"\r\ndata: a\r\n\r\n", [(b"", b"a")], b""),
    "half a mark": (b"\xef\xbb", [], b"\xef\xbb"),
    "no mark after all": (b"\xef\ndata: a\n\n", [(b"", b"a")], b""),
    "comments": (b": ping\n\n:\n:x\ndata: a\n: y\ndata: b\n\n", [(b"", b"a\nb")], b""),
    "no space after the colon": (b"data:a\n\nevent:e\ndata:b\n\n", [(b"", b"a"), (b"e", b"b")], b""),
    "one space is taken": (b"data:  a \nevent:  e\n\n", [(b" e", b" a ")], b""),
    "name": (b"event: e\ndata: a\n\ndata: b\n\n", [(b"e", b"a"), (b"", b"b")], b""),
    "last name wins": (b"event: e\ndata: a\nevent: f\n\n", [(b"f", b"a")], b""),
    "name without data": (b"event: e\n\ndata: a\n\n", [(b"", b"a")], b""),
    "empty data": (b"data:\n\ndata\n\ndata: \n\nevent: e\ndata\n\n", [], b""),
    "empty lines of data": (b"data\ndata: a\ndata:\n\n", [(b"", b"\na\n")], b""),
    "colons in the value": (b"data: a:b: c\n\n", [(b"", b"a:b: c")], b""),
    "ignored fields": (b"id: 1\nretry: 2\nid\nretry\nfoo: 3\nbar\ndata: a\n\n", [(b"", b"a")], b""),
    "names that only begin so": (b"database: a\nDATA: b\n data: c\nevents: e\ndata: d\n\n", [(b"", b"d")], b""),
    "rest": (b"data: a\n\nevent: e\r\ndata: b\r", [(b"", b"a"), (b"e", b"b")], b"event: e\r\ndata: b\r"),
    "rest without a line end": (b"data: a\n\ndata: [DO", [(b"", b"a"), (b"", b"[DO")], b"data: [DO"),
    "nul and high bytes": (b"data: \x00\xff\xc2\x85\x0b\x0c\n\n", [(b"", b"\x00\xff\xc2\x85\x0b\x0c")], b""),
    "bare json": (b'data: a\n\n{\n  "error": {\n    "code": 1\n  }\n}\n\ndata: b\n\n',
                  [(b"", b"a"), (b"", b'{\n  "error": {\n    "code": 1\n  }\n}'), (b"", b"b")], b""),
    "bare json at the end": (b'data: a\r\n\r\n{\r\n  "error": 1\r\n}',
                             [(b"", b"a"), (b"", b'{\n  "error": 1\n}')], b'{\r\n  "error": 1\r\n}'),
    "bare json, indented": (b' \t[{"a": 1}\n,\n]\n\n', [(b"", b' \t[{"a": 1}\n,\n]')], b""),
    "bare json behind data": (b"data: a\n{}\nevent: e\n\n", [(b"e", b"a"), (b"", b"{}")], b""),
    "bare json before data": (b"{\n: ping\n}\nid: 1\nretry: 2\ndata: a\n\n", [(b"", b"a"), (b"", b"{\n}")], b""),
    "no json before its bracket": (b'  "a": 1\n}\n{\n]\n\n', [(b"", b"{\n]")], b""),
}


@pytest.fixture(params=halves("sse"))
def sse(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def decode(sse: Any, reads: list[bytes], kind: Kind = bytes) -> list[Any]:
    decoder = sse.Decoder()
    events = [event for read in reads for event in decoder.feed(kind(read))]
    last = decoder.end()
    return events if last is None else [*events, last]


@pytest.mark.parametrize("name", STREAMS)
class TestEverySplit:
    def test_decoder_gives_the_same_events(self, sse: Any, kind: Kind, name: str) -> None:
        stream, expected, _ = STREAMS[name]
        for at in range(len(stream) + 1):
            assert decode(sse, [stream[:at], stream[at:]], kind) == expected, at

    def test_decoder_reads_byte_by_byte(self, sse: Any, kind: Kind, name: str) -> None:
        stream, expected, _ = STREAMS[name]
        assert decode(sse, list(pieces(stream, 1)), kind) == expected

    def test_scanner_forwards_every_byte(self, sse: Any, kind: Kind, name: str) -> None:
        stream, _, rest = STREAMS[name]
        for at in range(len(stream) + 1):
            scanner = sse.Scanner()
            sent = [scanner.feed(kind(read))[0] for read in (stream[:at], b"", stream[at:])]
            assert b"".join(sent) + scanner.tail() == stream, at
            assert scanner.tail() == rest, at

    def test_scanner_finds_the_events_of_the_decoder(self, sse: Any, kind: Kind, name: str) -> None:
        stream, _, _ = STREAMS[name]
        expected = decode(sse, [stream])
        for size in range(1, len(stream) + 1):
            scanner, seen = sse.Scanner((b"data", b"[", b"{")), []
            for read in pieces(stream, size):
                whole, marks = scanner.feed(kind(read))
                seen += [sse.parse(whole[start:end]) for start, end, mask in marks if mask & 1]
            seen.append(sse.parse(scanner.tail()))
            named = [event for event in expected if event.data[:1] not in (b"{", b" ")]
            assert [e for e in seen if e.data and e.data[:1] not in (b"{", b" ")] == named, size


class TestScanner:
    def test_a_read_of_whole_events_is_not_copied(self, sse: Any) -> None:
        data = b"data: a\n\ndata: b\r\n\r\n"
        assert sse.Scanner().feed(data)[0] is data

    def test_marks_name_the_needles_by_bit(self, sse: Any, kind: Kind) -> None:
        scanner = sse.Scanner(NEEDLES)
        stream = b'data: {}\n\ndata: {"usage":{}}\n\ndata: [DONE]\n\n: [DONE]"usage":{\n\n'
        whole, marks = scanner.feed(kind(stream))
        assert [(whole[start:end], mask) for start, end, mask in marks] == [
            (b'data: {"usage":{}}\n\n', 1),
            (b"data: [DONE]\n\n", 2),
            (b': [DONE]"usage":{\n\n', 3),
        ]
        assert whole == stream

    def test_a_needle_across_two_events_is_none(self, sse: Any) -> None:
        assert sse.Scanner((b"a\n\nb", b"ab")).feed(b"a\n\nb\n\n")[1] == []

    def test_a_needle_cut_by_a_read_is_found(self, sse: Any) -> None:
        stream = b"data: [DONE]\n\n"
        for at in range(1, len(stream)):
            scanner = sse.Scanner(NEEDLES)
            assert scanner.feed(stream[:at]) == (b"", [])
            assert scanner.feed(stream[at:]) == (stream, [(0, len(stream), 2)])

    def test_a_line_feed_that_completes_the_last_event_goes_out_alone(self, sse: Any) -> None:
        scanner = sse.Scanner((b"x",))
        assert scanner.feed(b"data: x\r\n\r") == (b"data: x\r\n\r", [(0, 10, 1)])
        assert scanner.feed(b"\n") == (b"\n", [])
        assert scanner.feed(b"data: x\r\n\r") == (b"data: x\r\n\r", [(0, 10, 1)])
        assert scanner.feed(b"\ndata: x\n\n") == (b"\ndata: x\n\n", [(1, 10, 1)])
        assert scanner.events == 3

    def test_the_byte_order_mark_is_in_no_event(self, sse: Any) -> None:
        assert sse.Scanner((b"x",)).feed(BOM + b"data: x\n\n") == (BOM + b"data: x\n\n", [(3, 12, 1)])

    def test_events_counts_those_with_a_data_line(self, sse: Any) -> None:
        stream = b": ping\n\n\nevent: e\n\ndata\n\nevent: e\ndata: a\ndata: b\n\ndatabase: 1\n\n{}\n\ndata: open"
        for size in range(1, len(stream) + 1):
            scanner = sse.Scanner()
            for read in pieces(stream, size):
                scanner.feed(read)
            assert scanner.events == 2, size

    @pytest.mark.parametrize(("stream", "measured"), [
        (b'data: {"content":"hello"}\n\n', 5),
        (b'data: {"content" : \t"hello"}\n\n', 5),
        (b'data: {"content":"a\\"b\\\\"}\n\n', 6),
        (b'data: {"content":"\\u00e9"}\n\n', 6),
        (b'data: {"content":""}\n\n', 0),
        (b'data: {"content":null,"x":"y"}\n\n', 0),
        (b'data: {"content":["a"]}\n\n', 0),
        (b'data: {"text":"\\"content\\":\\"aaa\\""}\n\n', 0),
        (b'data: {"xcontent":"aaa"}\n\n', 0),
        (b'data: {"content":"ab"},{"content":"cde"}\n\ndata: {"content":"f"}\n\n', 6),
        (b'data: {"content":"ab\ndata: cd"}\n\n', 2),
        (b'data: {"content":"ab\\\n\n', 2),
        (b'data: {"content"\n\ndata: {"content":\n\ndata: {"content":"\n\n', 0),
        (b'data: {"content":"held back', 0),
    ])
    def test_measured_sums_the_strings_of_a_key(self, sse: Any, stream: bytes, measured: int) -> None:
        for measure in (b'"content":"', b'"content"', (b'"content"',), (b'"other"', b'"content":"')):
            for size in (1, 7, len(stream)):
                scanner = sse.Scanner(measure=measure)
                for read in pieces(stream, size):
                    scanner.feed(read)
                assert scanner.measured == measured

    def test_measured_sums_over_several_keys(self, sse: Any) -> None:
        scanner = sse.Scanner(measure=(b'"content"', b'"arguments"'))
        scanner.feed(b'data: {"content":"ab","arguments":"cde","other":"fghi"}\n\n')
        assert scanner.measured == 5

    @pytest.mark.parametrize("measure", [b"content", b'"content', b'"a\\"b"', b'""', b'"a": "', (b'"a"', b"b")])
    def test_a_measure_that_is_no_key_is_refused(self, sse: Any, measure: Any) -> None:
        with pytest.raises(ValueError, match="measure"):
            sse.Scanner(measure=measure)

    @pytest.mark.parametrize("needles", [(b"",), (b"a", b""), tuple(b"%d" % i for i in range(63))])
    def test_needles_that_cannot_be_marked_are_refused(self, sse: Any, needles: tuple[bytes, ...]) -> None:
        with pytest.raises(ValueError, match="needles"):
            sse.Scanner(needles)

    def test_the_last_of_62_needles_has_its_bit(self, sse: Any) -> None:
        scanner = sse.Scanner(tuple(b"<%d>" % i for i in range(62)))
        assert scanner.feed(b"data: <0><61>\n\n")[1] == [(0, 15, 1 | 1 << 61)]

    def test_what_was_returned_does_not_change_with_the_buffer(self, sse: Any) -> None:
        buffer = bytearray(b"data: a\n\ndata: b")
        scanner = sse.Scanner((b"a",))
        whole, marks = scanner.feed(buffer)
        buffer[:] = b"x" * len(buffer)
        assert (whole, marks, scanner.tail()) == (b"data: a\n\n", [(0, 9, 1)], b"data: b")

    @pytest.mark.parametrize("data", ["text", None, 5, [1]])
    def test_what_is_no_bytes_is_a_type_error(self, sse: Any, data: Any) -> None:
        with pytest.raises(TypeError):
            sse.Scanner().feed(data)
        with pytest.raises(TypeError):
            sse.Decoder().feed(data)


class TestDecoder:
    def test_a_bare_error_that_ends_the_stream_goes_before_the_data_it_follows(self, sse: Any) -> None:
        decoder = sse.Decoder()
        assert decoder.feed(b'data: a\n{"error": 1}') == []
        assert decoder.end() == (b"", b'{"error": 1}')

    def test_the_end_of_a_stream_that_ended_well_is_none(self, sse: Any) -> None:
        decoder = sse.Decoder()
        assert decoder.feed(b"data: a\n\n: ping\nevent: e\n") == [(b"", b"a")]
        assert decoder.end() is None
        assert sse.Decoder().end() is None


class TestCap:
    def test_an_event_of_the_cap_passes_and_one_more_byte_does_not(self, sse: Any, kind: Kind) -> None:
        event = b"data: 12345\r\n\n"
        for at in range(len(event) + 1):
            scanner = sse.Scanner(max_event=len(event))
            sent = scanner.feed(kind(event[:at]))[0] + scanner.feed(kind(event[at:]))[0]
            assert sent == event
            scanner, decoder = (make(max_event=len(event) - 1) for make in (sse.Scanner, sse.Decoder))
            for reader in (scanner, decoder):
                with pytest.raises(sse.EventTooLarge, match="longer than 13 bytes"):
                    [reader.feed(kind(read)) for read in (event[:at], event[at:])]

    def test_an_event_without_an_end_is_refused_once_it_is_too_long(self, sse: Any) -> None:
        scanner = sse.Scanner(max_event=1000)
        for _ in range(10):
            scanner.feed(b"x" * 100)
        with pytest.raises(sse.EventTooLarge):
            scanner.feed(b"x")

    def test_the_cap_is_per_event(self, sse: Any) -> None:
        scanner, decoder = sse.Scanner(max_event=10), sse.Decoder(max_event=10)
        stream = b"data: 1\n\n" * 1000
        for size in (7, 9, len(stream)):
            assert b"".join(scanner.feed(read)[0] for read in pieces(stream, size)) == stream
            assert sum(len(decoder.feed(read)) for read in pieces(stream, size)) == 1000

    def test_a_too_large_event_is_a_value_error(self, sse: Any) -> None:
        assert issubclass(sse.EventTooLarge, ValueError)

    @pytest.mark.parametrize("cap", [0, -1])
    def test_a_cap_below_one_is_refused(self, sse: Any, cap: int) -> None:
        with pytest.raises(ValueError, match="max_event"):
            sse.Scanner(max_event=cap)
        with pytest.raises(ValueError, match="max_event"):
            sse.Decoder(max_event=cap)


class TestParse:
    @pytest.mark.parametrize(("raw", "event", "data"), [
        (b"", b"", b""),
        (b"\n", b"", b""),
        (b": comment\n\n", b"", b""),
        (b"event: e\n\n", b"e", b""),
        (b"data: a", b"", b"a"),
        (b"data", b"", b""),
        (b"event", b"", b""),
        (b"event: e\r\ndata: a\r\ndata:b\r\n\r\n", b"e", b"a\nb"),
        (b"event: e\rdata: a\r\r", b"e", b"a"),
        (b'{"error": 1}\n\n', b"", b""),
    ])
    def test_one_raw_event(self, sse: Any, kind: Kind, raw: bytes, event: bytes, data: bytes) -> None:
        assert sse.parse(kind(raw)) == (event, data)
        assert sse.data_of(kind(raw)) == data

    def test_the_parts_of_an_event_have_names(self, sse: Any) -> None:
        event = sse.parse(b"event: e\ndata: d\n\n")
        assert isinstance(event, sse.Event)
        assert (event.event, event.data) == (b"e", b"d")


class TestSize:
    """Bounds that a quadratic reader misses by far: the linear one needs well under a tenth of them."""

    def test_a_line_of_8_mib_in_small_reads(self, sse: Any) -> None:
        stream = b'data: {"content":"' + b"x" * 8 * 1024 * 1024 + b'"}\r\n\r\ndata: [DONE]\r\n\r\n'
        began = time.process_time()
        scanner = sse.Scanner(NEEDLES, measure=b'"content"', max_event=len(stream))
        decoder = sse.Decoder(max_event=len(stream))
        sent = []
        events = []
        for read in pieces(stream, 4096):
            sent.append(scanner.feed(read)[0])
            events += decoder.feed(read)
        assert b"".join(sent) == stream
        assert (scanner.events, scanner.measured) == (2, 8 * 1024 * 1024)
        assert [len(event.data) for event in events] == [8 * 1024 * 1024 + 14, 6]
        assert time.process_time() - began < 10

    @pytest.mark.parametrize("unit", [b"\r", b"\r\n", b"data\r", b"data: x\n", b": x\r", b"{\n", b"data: x\r\r",
                                      b'"content":"', b'"content":"\\', b'\\"', b"data:\n\n"])
    def test_a_hostile_stream(self, sse: Any, unit: bytes) -> None:
        stream = unit * (128 * 1024 // len(unit))
        began = time.process_time()
        for size in (len(stream), 1000):
            scanner, decoder = sse.Scanner(NEEDLES, measure=b'"content"'), sse.Decoder()
            sent = []
            for read in pieces(stream, size):
                sent.append(scanner.feed(read)[0])
                decoder.feed(read)
            decoder.end()
            assert b"".join(sent) + scanner.tail() == stream
        assert time.process_time() - began < 10


UNCLOSED = [
    (b'data: {"a":1}\n\n', False),
    (b'data: {"a":1} \t\r\n\r\n', False),
    (b'event: e\ndata: {"a":"lor\n\n', True),
    (b'data: {"a":[1]\r\n\r\n', True),
    (b"data: [DONE]\n\n", True),
    (b'data: {"a":1}\nid: 7\n\n', True),
    (b": comment\n\n", False),
    (b"event: e\n\n", False),
]


@pytest.mark.parametrize(("event", "marked"), UNCLOSED)
def test_events_that_are_cut_off_are_marked_where_that_is_asked(sse: Any, event: bytes, marked: bool) -> None:
    for size in range(1, len(event) + 1):
        scanner = sse.Scanner((b"never there",), unclosed=True)
        marks = [mark for piece in pieces(event, size) for mark in scanner.feed(piece)[1]]
        assert [mask for _, _, mask in marks] == ([1 << 62] if marked else [])
    assert sse.Scanner((b"never there",)).feed(event)[1] == []
