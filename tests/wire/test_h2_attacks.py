"""Clients that mean harm, frame by frame: what each may cost before its connection ends, and that it ends in time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fastanchor.wire import Reply, Request, ServerLimits
from fastanchor.wire.hits import limit_hits
from fastanchor.wire.limits import H2Limits
from tests.kit.h2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    GET,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    SETTINGS,
    Fields,
    block,
    data,
    frame,
    h2_served,
    headers,
    reset,
    settings,
    window,
)
from tests.kit.wires import Recorder, cut

OPEN = END_HEADERS
PRIORITY_PAYLOAD = bytes(4) + b"\x10"


class Working:
    """A handler that works until it is cancelled, and counts."""

    def __init__(self) -> None:
        self.started = 0
        self.running = 0

    async def __call__(self, request: Request, reply: Reply) -> None:
        self.started += 1
        self.running += 1
        try:
            await trio.sleep_forever()
        finally:
            self.running -= 1


def streams(most: int) -> Iterator[int]:
    return iter(range(1, 2 * most, 2))


class TestRapidReset:
    @pytest.mark.parametrize("batch", [1, 50])
    async def test_by_the_client(self, batch: int) -> None:
        """CVE-2023-44487."""
        working, sent = Working(), 0
        async with h2_served(working) as client:
            numbers = streams(100_000)
            while client.goodbye is None:
                pairs = [headers(n) + reset(n) for n, _ in zip(numbers, range(batch), strict=False)]
                await client.write(b"".join(pairs))
                sent += batch
            assert client.goodbye == ENHANCE_YOUR_CALM
        assert sent <= 150
        assert working.started <= 100
        assert working.running == 0
        assert limit_hits()["h2_rapid_reset"] == 1

    @pytest.mark.parametrize(
        "offence",
        [
            lambda n: window(n, 2**31 - 1) + window(n, 2**31 - 1),
            lambda n: data(n, b"late"),
            lambda n: headers(n, ((b"a", b"b"),)),
        ],
        ids=["window overflow", "data behind the end", "headers behind the end"],
    )
    async def test_by_making_us_reset(self, offence: object) -> None:
        """CVE-2025-8671: handlers end, and the connection with them, before more than a few have run."""
        working, sent = Working(), 0
        async with h2_served(working) as client:
            for n in streams(1000):
                await client.write(headers(n))
                await client.write(offence(n))  # type: ignore[operator]
                sent += 1
                assert working.running == 0
                if client.goodbye is not None:
                    break
        assert sent <= 101
        assert client.ended or client.goodbye is not None

    @pytest.mark.parametrize(
        "offence",
        [
            lambda n: window(n, 0),
            lambda n: frame(PRIORITY, 0, n, bytes(4)),
            lambda n: frame(PRIORITY, 0, n, n.to_bytes(4, "big") + b"\0"),
        ],
        ids=["increment 0", "priority of 4 bytes", "priority on itself"],
    )
    async def test_offences_that_cost_the_connection(self, offence: object) -> None:
        working = Working()
        async with h2_served(working) as client:
            await client.write(headers(1) + headers(3))
            assert working.running == 2
            await client.write(offence(1))  # type: ignore[operator]
            assert client.goodbye is not None
            assert working.running == 0

    async def test_half_of_the_last_two_hundred(self, autojump_clock: MockClock) -> None:
        """Slowly enough for no rate."""

        async def handler(request: Request, reply: Reply) -> None:
            if request.method == b"GET":
                await reply.respond(200, [], b"")
            else:
                await trio.sleep_forever()

        numbers = streams(10_000)
        async with h2_served(handler, ServerLimits(requests=10_000)) as client:
            ended = 0
            while client.goodbye is None:
                good, bad = next(numbers), next(numbers)
                await client.write(headers(good) + headers(bad, POST))
                await client.write(reset(bad))
                ended += 2
                await trio.sleep(1)
        assert 200 <= ended <= 202
        assert limit_hits()["h2_rapid_reset"] == 1

    async def test_a_client_that_changes_its_mind_now_and_then(self, autojump_clock: MockClock) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            if request.method == b"GET":
                await reply.respond(200, [], b"")
            else:
                await trio.sleep_forever()

        async with h2_served(handler) as client:
            for i, n in enumerate(streams(300)):
                await client.write(headers(n, POST if i % 3 == 0 else GET))
                if i % 3 == 0:
                    await client.write(reset(n))
                await trio.sleep(0.1)
            assert client.goodbye is None


FLOODS = [
    # bytes of one frame, how many are allowed at least and at most, the bound that is hit
    ("ping", frame(PING, 0, 0, bytes(8)), 50, 51, "h2_ping"),
    ("settings", settings(), 19, 20, "h2_settings"),
    ("settings-with-changes", settings((4, 1), (4, 2)), 19, 20, "h2_settings"),
    ("empty-data", data(1), 1000, 1001, "h2_glitches"),
    ("padding-only", data(1, b"\x05" + bytes(5), PADDED), 1000, 1001, "h2_glitches"),
    ("priority", frame(PRIORITY, 0, 7, PRIORITY_PAYLOAD), 1000, 1001, "h2_glitches"),
    ("unknown-frames", frame(0xFA, 0, 0, b"x"), 1000, 1001, "h2_glitches"),
    ("ping-acks", frame(PING, 1, 0, bytes(8)), 1000, 1001, "h2_glitches"),
    ("settings-acks", frame(SETTINGS, 1), 1000, 1001, "h2_glitches"),
    ("window-updates", window(0, 1), 1000, 1001, "h2_window_update"),
    ("window-updates-of-a-stream", window(1, 1), 1000, 1001, "h2_window_update"),
]


@pytest.mark.parametrize(("one", "least", "most", "bound"), [row[1:] for row in FLOODS], ids=[row[0] for row in FLOODS])
async def test_floods(one: bytes, least: int, most: int, bound: str) -> None:
    working = Working()
    async with h2_served(working) as client:
        await client.write(headers(1, POST, OPEN))
        await client.write(one * (least - 1))
        assert client.goodbye in (None, NO_ERROR)
        assert working.running == 1
        await client.write(one * (most - least + 2))
        assert client.goodbye == ENHANCE_YOUR_CALM
        assert working.running == 0
    assert limit_hits()[bound] == 1


async def test_pings_at_a_human_pace_are_answered(autojump_clock: MockClock) -> None:
    async with h2_served(Working()) as client:
        await client.write(headers(1))
        for i in range(200):
            await client.write(frame(PING, 0, 0, i.to_bytes(8, "big")))
            await trio.sleep(0.25)
        assert [f.payload for f in client.frames(PING)] == [i.to_bytes(8, "big") for i in range(200)]


async def test_three_quarters_of_the_glitches_part_as_friends() -> None:
    async with h2_served(Recorder()) as client:
        await client.write(headers(1))
        await client.write(frame(0xFA, 0, 0, b"x") * 900)
        assert client.goodbye == NO_ERROR
        await client.write(headers(3))
        assert client.answers()[3].status == 200


class TestHeaderBlocks:
    @pytest.mark.parametrize("piece", [b"", b"\x82"], ids=["empty", "one byte each"])
    async def test_continuation_flood(self, piece: bytes) -> None:
        """CVE-2024-27316 and its kin."""
        async with h2_served(Recorder()) as client:
            await client.write(frame(HEADERS, END_STREAM, 1, block(GET)))
            await client.write(frame(CONTINUATION, 0, 1, piece) * 8)
            assert client.goodbye is None
            await client.write(frame(CONTINUATION, 0, 1, piece))
            assert client.goodbye == ENHANCE_YOUR_CALM
        assert limit_hits()["h2_continuation"] == 1

    async def test_eight_continuations_are_a_request(self) -> None:
        whole = block((*GET, (b"x", b"y" * 800)))
        first, *rest = cut(whole, len(whole) // 8)
        async with h2_served(Recorder()) as client:
            await client.write(frame(HEADERS, END_STREAM, 1, first))
            for i, piece in enumerate(rest):
                await client.write(frame(CONTINUATION, END_HEADERS if i == len(rest) - 1 else 0, 1, piece))
            assert client.answers()[1].status == 200

    async def test_a_block_is_bounded_by_its_frames_headers(self) -> None:
        async with h2_served(Recorder()) as client:
            await client.write(frame(HEADERS, END_STREAM, 1, block(((b"x", b"y" * 16_000),))))
            await client.write(frame(CONTINUATION, 0, 1, b"z" * 16_000))
            assert client.goodbye is None
            await client.write(frame(CONTINUATION, 0, 1, bytes(16_000))[:9])  # nothing behind the frame's header
            assert client.goodbye == ENHANCE_YOUR_CALM
        assert limit_hits()["h2_header_block"] == 1

    @pytest.mark.parametrize("again", [False, True])
    async def test_a_block_that_never_ends(self, again: bool, autojump_clock: MockClock) -> None:
        async with h2_served(Recorder()) as client:
            await client.write(frame(HEADERS, END_STREAM, 1, block(GET)))
            for _ in range(6):
                await trio.sleep(1)
                if again:
                    await client.write(frame(CONTINUATION, 0, 1, b"\x82"))
            assert client.goodbye == ENHANCE_YOUR_CALM
        assert limit_hits()["h2_header_block_timeout"] == 1

    async def test_hpack_bomb(self) -> None:
        """CVE-2016-6581: one large entry, referred to again and again."""
        large = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000  # literal with indexing, then 62 = the entry just made
        async with h2_served(Recorder()) as client:
            get = b"\x82\x86\x84\x01\x01h"
            await client.write(frame(HEADERS, OPEN | END_STREAM, 1, get + large + b"\xbe" * 12_000))
            assert client.goodbye == ENHANCE_YOUR_CALM
        assert limit_hits()["h2_header_list"] == 1

    @pytest.mark.parametrize("name", [b"x", b"cookie"])
    async def test_many_small_fields(self, name: bytes) -> None:
        """CVE-2026-49975: fields of one byte on the wire; crumbs of a Cookie count each."""
        async with h2_served(Recorder()) as client:
            await client.write(headers(1, (*GET, *((name, b""),) * 100)))
            await client.write(headers(3, (*GET, *((name, b""),) * 101)))
            assert client.answers()[1].status == 200
            assert client.answers()[3].status == 431

    async def test_a_field_over_its_limit(self) -> None:
        async with h2_served(Recorder()) as client:
            whole = block((*GET, (b"x", b"y" * 16_384)))
            await client.write(frame(HEADERS, END_STREAM, 1, whole[:16_000]))
            await client.write(frame(CONTINUATION, END_HEADERS, 1, whole[16_000:]))
            assert client.answers()[1].status == 431

    @pytest.mark.parametrize("table", [b"", b"\x3f\xe1\x1f" * 3])
    async def test_varints_are_read_in_bounded_time(self, table: bytes) -> None:
        """CVE-2026-59980."""
        async with h2_served(Recorder()) as client:
            await client.write(frame(HEADERS, OPEN | END_STREAM, 1, table + b"\x7f" + b"\xff" * 16_000))
            assert client.goodbye is not None


class TestFrames:
    @pytest.mark.parametrize("length", [16_385, 2**24 - 1])
    @pytest.mark.parametrize("kind", [DATA, HEADERS, SETTINGS, 0xFA])
    async def test_an_announced_giant_is_refused_by_its_header(self, kind: int, length: int) -> None:
        async with h2_served(Recorder()) as client:
            await client.write(length.to_bytes(3, "big") + bytes((kind, 0)) + (1).to_bytes(4, "big"))
            assert client.goodbye == FRAME_SIZE_ERROR
        assert limit_hits()["h2_frame_size"] == 1

    async def test_a_held_frame_is_not_buffered_beyond_its_size(self) -> None:
        async with h2_served(Recorder()) as client:
            await client.write(headers(1, POST, OPEN))
            tracemalloc.start()
            await client.write(frame(DATA, 0, 1, bytes(16_384))[:-1])
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert size < 200_000

    @pytest.mark.parametrize(
        "first",
        [frame(PING, 0, 0, bytes(8)), headers(1), frame(SETTINGS, 1), window(0, 1)],
        ids=["ping", "headers", "settings ack", "window update"],
    )
    async def test_settings_come_first(self, first: bytes) -> None:
        async with h2_served(Recorder(), greet=False) as client:
            await client.write(PREFACE + first)
            assert client.goodbye == PROTOCOL_ERROR

    async def test_a_preface_that_goes_wrong(self) -> None:
        async with h2_served(Recorder(), greet=False) as client:
            await client.write(PREFACE[:18] + b"XX\r\n\r\n")
            client.read()
            assert client.ended


class TestSlowness:
    async def test_no_settings(self, autojump_clock: MockClock) -> None:
        async with h2_served(Recorder(), greet=False) as client:
            await client.write(PREFACE)
            await trio.sleep(6)
            assert client.goodbye == ENHANCE_YOUR_CALM
        assert limit_hits()["h2_preface_timeout"] == 1

    async def test_half_a_preface(self, autojump_clock: MockClock) -> None:
        async with h2_served(Recorder(), greet=False) as client:
            await client.write(PREFACE[:10])
            await trio.sleep(11)
            client.read()
            assert client.ended

    async def test_a_frame_that_never_ends_is_no_activity(self, autojump_clock: MockClock) -> None:
        async with h2_served(Recorder(), ServerLimits(idle=20)) as client:
            for _ in range(30):
                await client.write(b"\0")
                await trio.sleep(1)
            client.read()
            assert client.ended

    async def test_zero_windows_hold_no_handler_for_ever(self, autojump_clock: MockClock) -> None:
        """CVE-2019-9517: answers asked for and not taken."""
        async with h2_served(Recorder(b"x" * 10_000)) as client:
            await client.write(settings((4, 0)) + b"".join(headers(n) for n in streams(100)))
            assert sum(len(a.body) for a in client.answers().values()) == 0
            await trio.sleep(31)
            assert {a.code for n, a in client.answers().items() if n} == {8}
        assert limit_hits()["h2_window_stall"] == 100

    async def test_a_client_that_reads_nothing_at_all(self, autojump_clock: MockClock) -> None:
        limits = ServerLimits(h2=H2Limits(window_stall=1000))
        async with h2_served(Recorder(b"x" * (1 << 20)), limits) as client:
            client.sock.send(settings((4, 2**31 - 1)) + window(0, 2**30) + b"".join(headers(n) for n in streams(100)))
            await wait_all_tasks_blocked()
            await trio.sleep(61)
            client.read()
            assert client.ended
        assert limit_hits()["write_stall"] == 1

    async def test_what_waits_for_a_socket_is_bounded(self) -> None:
        tracemalloc.start()
        async with h2_served(Recorder(b"x" * 100_000)) as client:
            client.sock.send(settings((4, 2**31 - 1)) + window(0, 2**30) + b"".join(headers(n) for n in streams(100)))
            await wait_all_tasks_blocked()
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert size < 3_000_000


PSEUDO = dict(GET)


def request(**changes: bytes | None) -> Fields:
    """A GET with changed pseudo-header fields; None takes one out."""
    fields = {**PSEUDO, **{b":" + name.encode(): value for name, value in changes.items()}}
    return tuple((name, value) for name, value in fields.items() if value is not None)


MALFORMED: dict[str, Fields] = {
    "path-without-slash": request(path=b"x"),
    "path-empty": request(path=b""),
    "path-absent": request(path=None),
    "path-with-space": request(path=b"/a b"),
    "path-with-fragment": request(path=b"/a#b"),
    "path-with-control": request(path=b"/a\x01"),
    "path-with-crlf": request(path=b"/ HTTP/1.1\r\nhost: evil"),
    "path-with-utf8": request(path="/ä".encode()),
    "path-is-a-url": request(path=b"http://evil/"),
    "path-star-for-get": request(path=b"*"),
    "method-with-space": request(method=b"GET /evil HTTP/1.1"),
    "method-empty": request(method=b""),
    "method-lower-case": request(method=b"get"),
    "method-absent": request(method=None),
    "method-with-crlf": request(method=b"GET\r\n"),
    "scheme-is-a-url": request(scheme=b"http://evil/?x="),
    "scheme-absent": request(scheme=None),
    "scheme-ftp": request(scheme=b"ftp"),
    "authority-empty": request(authority=b""),
    "authority-absent": request(authority=None),
    "authority-with-slash": request(authority=b"h/x"),
    "authority-with-userinfo": request(authority=b"user@h"),
    "authority-with-port-too-high": request(authority=b"h:65536"),
    "authority-unlike-host": (*GET, (b"host", b"other")),
    "two-hosts": (*GET, (b"host", b"h"), (b"host", b"h")),
    "two-paths": (*GET, (b":path", b"/")),
    "pseudo-behind-a-field": (*GET[:3], (b"a", b"b"), GET[3]),
    "pseudo-unknown": (*GET, (b":evil", b"1")),
    "pseudo-of-responses": (*GET, (b":status", b"200")),
    "connect-with-protocol": (*request(method=b"CONNECT"), (b":protocol", b"websocket")),
    "protocol": (*GET, (b":protocol", b"websocket")),
    "name-in-upper-case": (*GET, (b"Accept", b"*")),
    "name-empty": (*GET, (b"", b"x")),
    "name-with-parentheses": (*GET, (b"a(b)", b"x")),
    "name-with-space": (*GET, (b"a b", b"x")),
    "name-with-colon": (*GET, (b"a:b", b"x")),
    "name-with-nul": (*GET, (b"a\0", b"x")),
    "name-with-high-byte": (*GET, (b"\xe4", b"x")),
    "value-with-cr": (*GET, (b"a", b"b\rc")),
    "value-with-lf": (*GET, (b"a", b"b\nc")),
    "value-with-nul": (*GET, (b"a", b"b\0c")),
    "value-with-escape": (*GET, (b"a", b"\x1b[2J")),
    "value-with-delete": (*GET, (b"a", b"\x7f")),
    "value-with-space-before": (*GET, (b"a", b" b")),
    "value-with-tab-behind": (*GET, (b"a", b"b\t")),
    "connection": (*GET, (b"connection", b"close")),
    "keep-alive": (*GET, (b"keep-alive", b"1")),
    "proxy-connection": (*GET, (b"proxy-connection", b"close")),
    "transfer-encoding": (*GET, (b"transfer-encoding", b"chunked")),
    "upgrade": (*GET, (b"upgrade", b"h2c")),
    "te-gzip": (*GET, (b"te", b"gzip")),
    "two-authorizations": (*GET, (b"authorization", b"a"), (b"authorization", b"b")),
    "two-api-keys": (*GET, (b"x-api-key", b"a"), (b"x-api-key", b"b")),
    "two-content-types": (*GET, (b"content-type", b"a"), (b"content-type", b"b")),
    "two-lengths": (*GET, (b"content-length", b"0"), (b"content-length", b"0")),
    "length-without-body": (*GET, (b"content-length", b"1")),
    "length-with-sign": (*GET, (b"content-length", b"+0")),
    "length-with-underscore": (*GET, (b"content-length", b"1_0")),
    "length-in-arabic": (*GET, (b"content-length", "٠".encode())),
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_requests_reach_no_handler(fields: Fields) -> None:
    recorder = Recorder()
    async with h2_served(recorder) as client:
        await client.write(headers(1, fields) + headers(3))
        answers = client.answers()
        if client.goodbye is None:  # the stream alone pays
            assert answers[1].code == PROTOCOL_ERROR
            assert answers[3].status == 200
    assert len(recorder.requests) <= 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (((b":method", b"CONNECT"), (b":authority", b"h:443")), 501),
        (request(path=b"/" + b"x" * 8192), 414),
        ((*GET, (b"expect", b"200-ok")), 417),
    ],
)
async def test_requests_that_have_an_answer(fields: Fields, status: int) -> None:
    recorder = Recorder()
    async with h2_served(recorder) as client:
        await client.write(headers(1, fields, OPEN) + headers(3))
        answers = client.answers()
        assert (answers[1].status, answers[1].ended, answers[1].code) == (status, True, NO_ERROR)
        assert answers[3].status == 200


@pytest.mark.parametrize("offset", range(40))
@pytest.mark.parametrize("byte", [b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x7f", b"\xff"])
async def test_a_byte_anywhere_in_a_field_makes_no_second_request(byte: bytes, offset: int) -> None:
    recorder = Recorder()
    spelt = b"".join(name + b"\x01" + value + b"\x02" for name, value in (*GET, (b"x-a", b"value")))
    changed = spelt[:offset] + byte + spelt[offset:]
    pairs = [line.partition(b"\x01")[::2] for line in changed.split(b"\x02") if line]
    async with h2_served(recorder) as client:
        await client.write(headers(1, pairs))
    assert len(recorder.requests) <= 1
    for _, target, _ in recorder.requests:
        assert not set(target) & set(b"\r\n\0 \t\x7f\xff")
