"""Heads, chunks and the writers of heads, on both halves."""

from __future__ import annotations

import time
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor._speedups.http1 import (
    LAST_CHUNK,
    BadMessage,
    HeadLimits,
    RequestHead,
    ResponseHead,
    UnsafeHeader,
)
from tests.speedups.halves import KINDS, Kind, both, halves

REQUEST = (
    b"POST /v1/x?y=z HTTP/1.1\r\nHost: h:80\r\nContent-Type:application/json\r\n"
    b"Content-Length: 2\r\nX-A: \t b c \t\r\n\r\n"
)
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CODED = b'3\r\nabc\r\n1;a="b"\r\nd\r\n0\r\nX: y\r\n\r\nrest'


@pytest.fixture(params=halves("http1"))
def half(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


class TestRequests:
    def test_everything_a_head_says(self, half: ModuleType, kind: Kind) -> None:
        assert half.parse_request(kind(REQUEST + b"{}")) == RequestHead(
            method=b"POST",
            target=b"/v1/x?y=z",
            path=b"/v1/x",
            query=b"y=z",
            version=b"1.1",
            headers=[
                (b"host", b"h:80"),
                (b"content-type", b"application/json"),
                (b"content-length", b"2"),
                (b"x-a", b"b c"),
            ],
            content_length=2,
            chunked=False,
            keep_alive=True,
            expect_continue=False,
            size=len(REQUEST),
        )

    def test_results_are_plain_bytes(self, half: ModuleType, kind: Kind) -> None:
        head = half.parse_request(kind(REQUEST))
        parts = [head.method, head.target, head.path, head.query, head.version, *sum(head.headers, ())]
        assert {type(part) for part in parts} == {bytes}

    def test_a_head_that_has_not_ended_is_none(self, half: ModuleType) -> None:
        for end in range(len(REQUEST)):
            assert half.parse_request(REQUEST[:end]) is None

    @pytest.mark.parametrize("step", [1, 2, 3, 7])
    def test_scanning_goes_on_where_it_stopped(self, half: ModuleType, step: int) -> None:
        scanned = 0
        for end in range(step, len(REQUEST), step):
            assert half.parse_request(REQUEST[:end], scanned=scanned) is None
            scanned = end
        assert half.parse_request(REQUEST, scanned=scanned) == half.parse_request(REQUEST)

    def test_blank_lines_before_the_head_count_into_its_size(self, half: ModuleType) -> None:
        assert half.parse_request(b"\r\n\r\n" + REQUEST + b"{}").size == len(REQUEST) + 4

    def test_the_authority_of_the_target_replaces_host(self, half: ModuleType) -> None:
        head = half.parse_request(b"GET http://other:81/a?b HTTP/1.1\r\nX: y\r\nHost: h\r\n\r\n")
        assert head.headers == [(b"host", b"other:81"), (b"x", b"y")]
        assert (head.path, head.query) == (b"/a", b"b")

    def test_absolute_form_without_path_asks_for_the_root(self, half: ModuleType) -> None:
        head = half.parse_request(b"GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (head.path, head.query) == (b"/", b"q")

    def test_limits_are_the_callers(self, half: ModuleType) -> None:
        tight = HeadLimits(line=30, field=30, head=60, fields=2)
        good = b"GET /aaaaaaaaaaaaa HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n"
        assert half.parse_request(good, tight) == half.parse_request(good)
        for bad, status in [
            (b"GET /aaaaaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: h\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nA: b\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\nHost: h\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n", 431),
            (b"GET /aaaaaaaaaaaaa HTTP/1.1\r\nHost: h\r\nA: bbbbbbbbbbbbbbbbbb\r\n\r\n", 431),
        ]:
            with pytest.raises(BadMessage) as refusal:
                half.parse_request(bad, tight)
            assert refusal.value.status == status
            assert half.parse_request(bad) is not None

    def test_expectation_is_noted(self, half: ModuleType) -> None:
        head = half.parse_request(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        assert head.expect_continue


class TestResponses:
    def test_everything_a_head_says(self, half: ModuleType, kind: Kind) -> None:
        assert half.parse_response(kind(RESPONSE + b"0\r\n")) == ResponseHead(
            status=200,
            reason=b"OK",
            version=b"1.1",
            headers=[(b"content-type", b"text/event-stream"), (b"transfer-encoding", b"chunked")],
            content_length=None,
            chunked=True,
            keep_alive=True,
            size=len(RESPONSE),
        )

    def test_a_head_that_has_not_ended_is_none(self, half: ModuleType) -> None:
        for end in range(len(RESPONSE)):
            assert half.parse_response(RESPONSE[:end]) is None

    @pytest.mark.parametrize(
        "line",
        [b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 200 \xc3\x84 so\tso", b"HTTP/1.0 599 X", b"HTTP/1.1 103 E"],
    )
    def test_status_lines_that_are_taken(self, half: ModuleType, line: bytes) -> None:
        assert half.parse_response(line + b"\r\n\r\n").status == int(line[9:12])

    @pytest.mark.parametrize(
        "line",
        [
            b"HTTP/1.1 099 X", b"HTTP/1.1 600 X", b"HTTP/1.1 999 X", b"HTTP/1.1 2x0 X", b"HTTP/1.1 20 X",
            b"HTTP/1.1 2000 X", b"HTTP/1.1  200 X", b"HTTP/1.1\t200 X", b"HTTP/1.1 +20 X", b"HTTP/1.1 200\tX",
            b"HTTP/2.0 200 X", b"HTTP/1.2 200 X", b"HTTP/1 200 X", b"http/1.1 200 X", b"ICY 200 OK", b"<html>",
            b"HTTP/1.1 200 \0", b"HTTP/1.1 200 \x7f", b"HTTP/1.1 \xb2\xb9\xb9 X", b"\r\nHTTP/1.1 200 OK",
            b" HTTP/1.1 200", b"HTTP/1.1 101 Switching Protocols",
        ],
    )  # fmt: skip
    def test_status_lines_that_are_refused(self, half: ModuleType, line: bytes) -> None:
        with pytest.raises(BadMessage):
            half.parse_response(line + b"\r\n\r\n")

    @pytest.mark.parametrize(
        "fields",
        [
            b"A: b\r\n c\r\n", b" A: b\r\n", b"A : b\r\n", b"A\r\n", b": b\r\n", b"A: \0\r\n", b"A: b\nC: d\r\n",
            b"A: b\rC: d\r\n", b"A: \x01\r\n", b"A\xff: b\r\n", b"Content-Length: +1\r\n", b"Content-Length: 1, 1\r\n",
            b"Content-Length: 1\r\nContent-Length: 1\r\n", b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Content-Length: \r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 1111111111111111111\r\n",
        ],
    )  # fmt: skip
    def test_fields_that_are_refused(self, half: ModuleType, fields: bytes) -> None:
        with pytest.raises(BadMessage):
            half.parse_response(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")

    def test_chunks_in_http_1_0_are_refused(self, half: ModuleType) -> None:
        with pytest.raises(BadMessage):
            half.parse_response(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 " + b"a" * 9000,
            b"HTTP/1.1 200 OK\r\n" + b"a" * 40000,
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300,
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 201 + b"\r\n",
            b"HTTP/1.1 200 OK\r\n" + (b"A:" + b"b" * 9000 + b"\r\n") * 8,
        ],
    )
    def test_heads_are_bounded(self, half: ModuleType, data: bytes) -> None:
        with pytest.raises(BadMessage):
            half.parse_response(data)

    @pytest.mark.parametrize(
        ("version", "connection", "keeps"),
        [
            (b"1.1", b"", True), (b"1.1", b"close", False), (b"1.1", b"Keep-Alive", True), (b"1.1", b"x, Close", False),
            (b"1.0", b"", False), (b"1.0", b"keep-alive", True), (b"1.0", b"keep-alive, close", False),
        ],
    )  # fmt: skip
    def test_whether_the_connection_persists(
        self, half: ModuleType, version: bytes, connection: bytes, keeps: bool
    ) -> None:
        head = half.parse_response(b"HTTP/%b 200 OK\r\nConnection: %b\r\n\r\n" % (version, connection))
        assert head.keep_alive is keeps


class TestChunks:
    def test_decoded_whole(self, half: ModuleType, kind: Kind) -> None:
        decoder = half.ChunkDecoder()
        assert (decoder.feed(kind(CODED)), decoder.done, decoder.rest) == (b"abcd", True, b"rest")

    def test_decoded_at_every_split(self, half: ModuleType) -> None:
        for at in range(len(CODED) + 1):
            decoder = half.ChunkDecoder()
            body = decoder.feed(CODED[:at]) + decoder.feed(CODED[at:])
            assert (body, decoder.done, decoder.rest) == (b"abcd", True, b"rest")

    def test_decoded_byte_by_byte(self, half: ModuleType, kind: Kind) -> None:
        decoder = half.ChunkDecoder()
        body = b"".join(decoder.feed(kind(CODED[i : i + 1])) for i in range(len(CODED)))
        assert (body, decoder.done, decoder.rest) == (b"abcd", True, b"rest")

    def test_nothing_is_held_back(self, half: ModuleType) -> None:
        decoder = half.ChunkDecoder()
        assert [decoder.feed(piece) for piece in (b"5\r\nab", b"cd", b"e", b"\r\n")] == [b"ab", b"cd", b"e", b""]

    def test_the_bound_is_exact(self, half: ModuleType) -> None:
        assert half.ChunkDecoder(4).feed(CODED) == b"abcd"
        with pytest.raises(BadMessage) as refusal:
            half.ChunkDecoder(3).feed(CODED)
        assert refusal.value.status == 413

    def test_a_huge_chunk_is_refused_before_its_data(self, half: ModuleType) -> None:
        with pytest.raises(BadMessage) as refusal:
            half.ChunkDecoder(1 << 40).feed(b"ffffffffffffffff\r\n")
        assert refusal.value.status == 413

    def test_no_bytes_change_nothing(self, half: ModuleType) -> None:
        decoder = half.ChunkDecoder()
        assert decoder.feed(b"") == b""
        assert decoder.feed(b"3\r\nabc") == b"abc"
        assert decoder.feed(b"") == b""
        assert not decoder.done

    @given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 30))
    def test_what_chunk_writes_the_decoder_reads(self, pieces: list[bytes], step: int) -> None:
        for half in both("http1"):
            coded = b"".join(half.chunk(piece) for piece in pieces) + LAST_CHUNK
            decoder = half.ChunkDecoder()
            body = b"".join(decoder.feed(coded[i : i + step]) for i in range(0, len(coded), step))
            assert (body, decoder.done, decoder.rest) == (b"".join(pieces), True, b"")


class TestWriters:
    def test_response_head(self, half: ModuleType) -> None:
        head = half.response_head(404, [(b"a", b"b"), (b"c-d", b"e\tf g")])
        assert head == b"HTTP/1.1 404 Not Found\r\na: b\r\nc-d: e\tf g\r\n\r\n"

    def test_response_head_of_an_unlisted_status(self, half: ModuleType) -> None:
        assert half.response_head(529, ()) == b"HTTP/1.1 529 \r\n\r\n"

    def test_request_head(self, half: ModuleType) -> None:
        head = half.request_head(b"GET", b"/a?b", ((b"host", b"h"),))
        assert head == b"GET /a?b HTTP/1.1\r\nhost: h\r\n\r\n"

    def test_own_lines_come_last(self, half: ModuleType) -> None:
        head = half.response_head(200, [(b"a", b"b")], b"date: x\r\ncontent-length: 3\r\n")
        assert head == b"HTTP/1.1 200 OK\r\na: b\r\ndate: x\r\ncontent-length: 3\r\n\r\n"
        head = half.request_head(b"GET", b"/", [(b"a", b"b")], b"h:1", b"content-length: 3\r\n")
        assert head == b"GET / HTTP/1.1\r\nhost: h:1\r\na: b\r\ncontent-length: 3\r\n\r\n"

    def test_a_host_among_the_fields_stays(self, half: ModuleType) -> None:
        head = half.request_head(b"GET", b"/", [(b"a", b"b"), (b"host", b"other")], b"h")
        assert head == b"GET / HTTP/1.1\r\na: b\r\nhost: other\r\n\r\n"

    def test_a_host_is_a_value_like_any_other(self, half: ModuleType) -> None:
        with pytest.raises(UnsafeHeader):
            half.request_head(b"GET", b"/", [], b"h\r\nx: y")

    def test_reserved_names_are_refused(self, half: ModuleType) -> None:
        reserved = frozenset((b"content-length", b"date"))
        for name in reserved:
            with pytest.raises(ValueError, match=f"{name.decode()} is written by the wire"):
                half.response_head(200, [(b"a", b"b"), (name, b"1")], b"", reserved)
            with pytest.raises(ValueError, match=f"{name.decode()} is written by the wire"):
                half.request_head(b"GET", b"/", [(name, b"1")], b"h", b"", reserved)
        assert half.response_head(200, [(b"dat", b"1")], b"", reserved) == b"HTTP/1.1 200 OK\r\ndat: 1\r\n\r\n"

    @pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
    def test_no_value_can_break_a_head(self, half: ModuleType, byte: int) -> None:
        value = b"sec%bret" % bytes([byte])
        for write, *start in ((half.response_head, 200), (half.request_head, b"GET", b"/")):
            with pytest.raises(UnsafeHeader) as error:
                write(*start, [(b"x", value)])
            assert "sec" not in str(error.value)

    @pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r", b"a\n", b"a\0", b"\xff", b"a(", b"a\t"])
    def test_no_name_can_break_a_head(self, half: ModuleType, name: bytes) -> None:
        with pytest.raises(UnsafeHeader):
            half.response_head(200, [(name, b"x")])

    @pytest.mark.parametrize(
        ("method", "target"),
        [(b"", b"/"), (b"GET ", b"/"), (b"G\r\nET", b"/"), (b"GET", b""), (b"GET", b"/ "), (b"GET", b"/\r\n"),
         (b"GET", b"/\xff"), (b"GET", b"/\0"), (b"GET", b"/\x7f")],
    )  # fmt: skip
    def test_no_request_line_can_break_a_head(self, half: ModuleType, method: bytes, target: bytes) -> None:
        with pytest.raises(UnsafeHeader):
            half.request_head(method, target, [])

    @pytest.mark.parametrize("status", [0, 99, 600, -200, 1000])
    def test_status_out_of_range(self, half: ModuleType, status: int) -> None:
        with pytest.raises(ValueError, match="out of range"):
            half.response_head(status, [])

    @pytest.mark.parametrize("field", [("a", b"b"), (b"a", "b"), (b"a", bytearray(b"b")), (b"a", None)])
    def test_fields_are_bytes(self, half: ModuleType, field: object) -> None:
        with pytest.raises(TypeError):
            half.response_head(200, [field])

    def test_chunk(self, half: ModuleType, kind: Kind) -> None:
        assert half.chunk(kind(b"x" * 26)) == b"1a\r\n" + b"x" * 26 + b"\r\n"
        assert half.chunk(kind(b"")) == b""

    @given(st.integers(0, 70000))
    def test_the_halves_write_the_same_chunk(self, size: int) -> None:
        pure, compiled = both("http1")
        assert pure.chunk(b"x" * size) == compiled.chunk(b"x" * size)

    @given(st.integers(200, 599), st.lists(st.tuples(st.sampled_from([b"a", b"x-y"]), st.binary(max_size=9))))
    def test_a_head_that_is_written_is_read_back(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        pure, compiled = both("http1")
        try:
            written = compiled.response_head(status, fields)
        except UnsafeHeader:
            with pytest.raises(UnsafeHeader):
                pure.response_head(status, fields)
            return
        assert written == pure.response_head(status, fields)
        head = compiled.parse_response(written)
        assert (head.status, head.headers) == (status, [(name, value.strip(b" \t")) for name, value in fields])


class TestCost:
    """Bounds that only a parser of more than linear time would pass, with room for a busy machine."""

    def test_a_head_of_one_byte_reads(self, half: ModuleType) -> None:
        head = b"GET / HTTP/1.1\r\nHost: h\r\n" + (b"X: " + b"y" * 15000 + b"\r\n") * 2 + b"\r\n"
        begun = time.process_time()
        parsed = None
        for end in range(1, len(head) + 1):
            parsed = half.parse_request(head[:end], scanned=end - 1)
        assert parsed is not None
        assert time.process_time() - begun < 5

    @pytest.mark.parametrize("filling", [b"a", b":", b" ", b"\t", b"\r", b"X:y\r\n", b"%", b"a b", b"\x80"])
    def test_a_mebibyte_of_anything(self, half: ModuleType, filling: bytes) -> None:
        data = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + filling * ((1 << 20) // len(filling)) + b"\r\n\r\n"
        begun = time.process_time()
        with pytest.raises(BadMessage):
            half.parse_request(data)
        assert time.process_time() - begun < 1

    def test_20_000_chunks_of_one_byte(self, half: ModuleType) -> None:
        begun = time.process_time()
        assert half.ChunkDecoder().feed(b"1\r\nx\r\n" * 20_000 + LAST_CHUNK) == b"x" * 20_000
        assert time.process_time() - begun < 2
