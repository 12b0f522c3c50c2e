"""Requests over HTTP/2: many on one connection, sent again where that is safe, ended without ending the connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hpack import Decoder
from trio.testing import MockClock, wait_all_tasks_blocked

from fastanchor.wire import (
    BadResponse,
    ConnectFailed,
    ConnectTimeout,
    Origin,
    Pool,
    ReadTimeout,
    Reply,
    Request,
    ResetBeforeResponse,
    ResponseTimeout,
    Truncated,
    WireError,
    bind,
    serve,
)
from fastanchor.wire.errors import NothingYet
from fastanchor.wire.hits import limit_hits
from fastanchor.wire.response_h2 import H2Response
from tests.kit.h2_frames import (
    ACK,
    CANCEL,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    PING,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    block,
    data,
    frame,
    goaway,
    headers,
    reset,
    settings,
    window,
)
from tests.kit.h2_upstream import OK, OPEN, WHOLE, Peer, h2_upstream
from tests.kit.wires import Recorder


@asynccontextmanager
async def pool(**options: float) -> AsyncIterator[Pool]:
    with Pool(**options) as one:  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run)
            yield one
            nursery.cancel_scope.cancel()


async def ask(
    one: Pool, origin: Origin, body: bytes = b"", method: bytes = b"POST", *, within: float = 5.0, path: bytes = b"/"
) -> H2Response:
    response = await one.request(
        origin, method, path, [(b"x-api-key", b"secret")], body, connect_timeout=within, first_byte_timeout=within
    )
    assert isinstance(response, H2Response)
    response.idle_timeout = within
    return response


async def fetch(one: Pool, origin: Origin, body: bytes = b"", method: bytes = b"POST") -> bytes:
    with await ask(one, origin, body, method) as response:
        return await response.read_all(1 << 24)


async def hold(peer: Peer) -> None:
    """Read until the client hangs up."""
    while True:
        await peer.next()


@asynccontextmanager
async def ours(handler: Callable[[Request, Reply], Awaitable[None]]) -> AsyncIterator[Origin]:
    with bind("127.0.0.1:0") as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, listener, handler)
            yield Origin("http", "127.0.0.1", listener.getsockname()[1], "on")
            nursery.cancel_scope.cancel()


class TestRequest:
    async def test_what_goes_out(self) -> None:
        seen: list[tuple[bytes, bytes]] = []

        async def script(peer: Peer) -> None:
            head = await peer.until(HEADERS)
            fields = Decoder().decode(head.payload, raw=True)
            seen.extend((bytes(name), bytes(value)) for name, value in fields)
            assert not next(f for f in fields if f[0] == b"x-api-key").indexable
            await peer.until(DATA)
            await peer.answer(head.stream, b"abc", (b"x", b"y"))
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            with await ask(one, up.origin, b"body") as response:
                assert (response.status, response.headers, response.get(b"x")) == (200, [(b"x", b"y")], b"y")
                assert (await response.read(), await response.read(), response.complete) == (b"abc", b"", True)
        authority = b"127.0.0.1:%d" % up.origin.port
        assert seen == [
            (b":method", b"POST"), (b":scheme", b"http"), (b":authority", authority), (b":path", b"/"),
            (b"x-api-key", b"secret"), (b"content-length", b"4"),
        ]  # fmt: skip

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 3_000_000])
    async def test_bodies_of_any_size_both_ways(self, size: int) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(200, [], await request.body())

        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        async with ours(handler) as origin, pool() as one:
            assert await fetch(one, origin, body) == body

    async def test_many_on_one_connection(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            body = await request.body()
            await trio.sleep(0.05)
            await reply.respond(200, [], body)

        async with ours(handler) as origin, pool() as one:
            await fetch(one, origin)

            async def check(i: int) -> None:
                assert await fetch(one, origin, b"%d" % i) == b"%d" % i

            async with trio.open_nursery() as nursery:
                for i in range(100):
                    nursery.start_soon(check, i)
            assert one._multiplexer is not None
            assert one._multiplexer.counts(origin) == (1, 0)

    async def test_head(self) -> None:
        async with ours(Recorder(b"hello")) as origin, pool() as one:
            with await ask(one, origin, method=b"HEAD") as response:
                assert (response.get(b"content-length"), await response.read(), response.complete) == (b"5", b"", True)

    async def test_interim_responses_are_skipped(self) -> None:
        async def script(peer: Peer) -> None:
            n = await peer.request()
            for status in (b"100", b"103"):
                await peer.send(frame(HEADERS, OPEN, n, block(((b":status", status),))))
            await peer.answer(n, b"abc")
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            assert await fetch(one, up.origin) == b"abc"

    async def test_trailers_end_the_body(self) -> None:
        async def script(peer: Peer) -> None:
            n = await peer.request()
            await peer.send(headers(n, OK, OPEN), data(n, b"abc"), headers(n, ((b"grpc-status", b"0"),)))
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            assert await fetch(one, up.origin) == b"abc"

    async def test_an_answer_before_the_body_is_sent(self) -> None:
        ended = trio.Event()

        async def script(peer: Peer) -> None:
            n = await peer.request()
            await peer.answer(n, b"enough", (b"x", b"y"))
            rst = await peer.until(RST_STREAM)
            assert (rst.stream, rst.code) == (n, CANCEL)
            ended.set()
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            assert await fetch(one, up.origin, b"x" * 1_000_000) == b"enough"
            with trio.fail_after(60):
                await ended.wait()

    async def test_fields_of_the_wire_are_refused(self) -> None:
        async with ours(Recorder()) as origin, pool() as one:
            with pytest.raises(ValueError, match="written by the wire"):
                await one.request(
                    origin, b"GET", b"/", [(b"connection", b"close")], connect_timeout=60, first_byte_timeout=60
                )

    async def test_without_a_nursery_insisting_is_an_error(self) -> None:
        with Pool() as one, pytest.raises(ConnectFailed):
            await fetch(one, Origin("http", "127.0.0.1", 1, "on"))

    async def test_in_clear_auto_is_http1(self) -> None:
        seen: list[bytes] = []

        async def handler(request: Request, reply: Reply) -> None:
            seen.append(request.version)
            await reply.respond(200, [], b"")

        async with ours(handler) as origin, pool() as one:
            for http2 in ("auto", "off", "on"):
                response = await one.request(
                    origin._replace(http2=http2), b"GET", b"/", [], connect_timeout=60, first_byte_timeout=60
                )
                response.close()
        assert seen == [b"1.1", b"1.1", b"2"]


class TestFlowControl:
    async def test_a_response_that_nobody_reads_holds_up_itself_only(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(200, [], b"x" * 3_000_000)

        async with ours(handler) as origin, pool() as one:
            with await ask(one, origin) as slow:
                for _ in range(10):
                    assert len(await fetch(one, origin)) == 3_000_000
                held = sum(map(len, slow._pieces))
                assert held <= 256 * 1024
                assert len(await slow.read_all(1 << 24)) == 3_000_000

    async def test_a_body_waits_for_the_window(self) -> None:
        async def script(peer: Peer) -> None:
            n = await peer.request()
            got = 0
            while got < 10:
                got += len((await peer.until(DATA)).payload)
            await peer.send(window(n, 5))
            while got < 15:
                got += len((await peer.until(DATA)).payload)
            await peer.answer(n, b"%d" % got)
            await hold(peer)

        async with h2_upstream(script, greet=settings((4, 10))) as up, pool() as one:
            with await ask(one, up.origin, b"x" * 15) as response:
                assert int(await response.read_all(100)) >= 15


class TestConcurrency:
    async def test_the_servers_limit_is_kept_and_a_full_connection_gets_a_sister(self) -> None:
        release = trio.Event()

        async def script(peer: Peer) -> None:
            first, second = await peer.request(), await peer.request()
            await release.wait()
            await peer.answer(first, b"a")
            await peer.answer(second, b"b")
            await hold(peer)

        async with h2_upstream(script, greet=settings((3, 2))) as up, pool() as one:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetch, one, up.origin)
                await wait_all_tasks_blocked(0.02)  # the server's SETTINGS have come
                for _ in range(3):
                    nursery.start_soon(fetch, one, up.origin)
                while up.connections < 2:  # noqa: ASYNC110 - a plain counter
                    await trio.sleep(0.01)
                release.set()
            assert up.connections == 2

    async def test_waiting_for_a_place_ends_in_time(self) -> None:
        async with h2_upstream(hold, greet=settings((3, 1))) as up, pool(max_per_origin=1) as one:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ignoring, ask, one, up.origin)
                await wait_all_tasks_blocked(0.02)
                with pytest.raises(ConnectTimeout):
                    await ask(one, up.origin, within=0.2)
                nursery.cancel_scope.cancel()

    async def test_a_place_that_comes_free_is_taken(self) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(2):
                await peer.answer(await peer.request(), b"a")
            await hold(peer)

        async with h2_upstream(script, greet=settings((3, 1))) as up, pool(max_per_origin=1) as one:
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(fetch, one, up.origin)
            assert up.connections == 1

    async def test_first_requests_share_one_handshake(self) -> None:
        async with ours(Recorder(b"x")) as origin, pool() as one:
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(fetch, one, origin)
            assert one._multiplexer is not None
            assert one._multiplexer.counts(origin)[0] == 1


async def ignoring(call: Callable[..., Awaitable[object]], *args: object) -> None:
    try:
        await call(*args)
    except WireError:
        return


class TestSentAgain:
    async def test_a_refused_stream(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.send(reset(await peer.request(), REFUSED_STREAM))
            await peer.answer(await peer.request(), b"second")
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            assert await fetch(one, up.origin, b"body") == b"second"
            assert up.connections == 1

    async def test_refused_for_ever(self) -> None:
        asked: list[int] = []

        async def script(peer: Peer) -> None:
            while True:
                asked.append(await peer.request())
                await peer.send(reset(asked[-1], REFUSED_STREAM))

        async with h2_upstream(script) as up, pool() as one:
            with pytest.raises(ResetBeforeResponse):
                await fetch(one, up.origin)
        assert len(asked) == 3

    async def test_behind_a_goaway(self) -> None:
        async def leaving(peer: Peer) -> None:
            first, second = await peer.request(), await peer.request()
            await peer.send(goaway(first), headers(first, OK, OPEN))
            assert second > first
            await trio.sleep(0.05)
            await peer.send(data(first, b"first", END_STREAM))
            await hold(peer)

        async def fresh(peer: Peer) -> None:
            await peer.answer(await peer.request(), b"second")
            await hold(peer)

        got: list[bytes] = []

        async with h2_upstream(leaving, fresh) as up, pool() as one:

            async def keep() -> None:
                got.append(await fetch(one, up.origin))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep)
                nursery.start_soon(keep)
            assert sorted(got) == [b"first", b"second"]
            assert up.connections == 2

    async def test_on_a_connection_that_the_server_had_given_up(self) -> None:
        async def once(peer: Peer) -> None:
            await peer.answer(await peer.request(), b"once")
            await peer.request()  # and closes

        async def again(peer: Peer) -> None:
            await peer.answer(await peer.request(), b"again")
            await hold(peer)

        async with h2_upstream(once, again) as up, pool() as one:
            assert await fetch(one, up.origin) == b"once"
            assert await fetch(one, up.origin) == b"again"

    async def test_not_what_may_have_been_processed(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()

        async with h2_upstream(script) as up, pool() as one:
            with pytest.raises(ResetBeforeResponse):
                await fetch(one, up.origin)
            assert up.connections == 1

    async def test_not_behind_a_goaway_that_includes_it(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.send(goaway(await peer.request()))

        async with h2_upstream(script) as up, pool() as one:
            with pytest.raises(ResetBeforeResponse):
                await fetch(one, up.origin)
            assert up.connections == 1


class TestEnding:
    @pytest.mark.parametrize("begun", [False, True])
    async def test_a_cancelled_request_resets_its_stream_and_keeps_the_connection(self, begun: bool) -> None:
        async def script(peer: Peer) -> None:
            n = await peer.request()
            if begun:
                await peer.send(headers(n, OK, OPEN), data(n, b"first"))
            await wait_all_tasks_blocked(0.02)
            scope.cancel()
            rst = await peer.until(RST_STREAM)
            assert (rst.stream, rst.code) == (n, CANCEL)
            await peer.answer(await peer.request(), b"next")
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            with trio.CancelScope() as scope:
                await fetch(one, up.origin)
            assert await fetch(one, up.origin) == b"next"
            assert up.connections == 1

    async def test_closing_early_resets_the_stream(self) -> None:
        cancelled = trio.Event()

        async def handler(request: Request, reply: Reply) -> None:
            try:
                await reply.start(200, [], b"first")
                await trio.sleep_forever()
            finally:
                cancelled.set()

        async with ours(handler) as origin, pool() as one:
            with await ask(one, origin) as response:
                assert await response.read() == b"first"
            with trio.fail_after(60):
                await cancelled.wait()
            with pytest.raises(Truncated):
                await response.read()

    @pytest.mark.parametrize(
        ("ending", "error"),
        [
            (lambda n: reset(n, INTERNAL_ERROR), ResetBeforeResponse),
            (lambda n: reset(n, NO_ERROR), ResetBeforeResponse),
            (lambda n: headers(n, ((b":status", b"abc"),)), BadResponse),
            (lambda n: headers(n, ((b"a", b"b"),)), BadResponse),
            (lambda n: headers(n, (*OK, (b"connection", b"close"))), BadResponse),
            (lambda n: headers(n, (*OK, (b"a", b"b\0"))), BadResponse),
            (lambda n: headers(n, (*OK, (b"A", b"b"))), BadResponse),
            (lambda n: headers(n, (*OK, *((b"a", b"b"),) * 300)), BadResponse),
            (lambda n: headers(n, ((b":status", b"103"),), OPEN) * 11, BadResponse),
            (lambda n: frame(PUSH_PROMISE, OPEN, n, (2).to_bytes(4, "big") + block(OK)), ResetBeforeResponse),
            (lambda n: frame(DATA, 0, n, b"x"), ResetBeforeResponse),
            (lambda n: b"HTTP/1.1 400 Bad Request\r\n\r\n", ResetBeforeResponse),
            (lambda n: (2**24 - 1).to_bytes(3, "big") + bytes(6), ResetBeforeResponse),
            (lambda n: frame(HEADERS, 0, n, b"") + frame(9, 0, n, b"\x88") * 20, ResetBeforeResponse),
            (lambda n: frame(PING, 0, 0, bytes(8)) * 600, ResetBeforeResponse),
            (lambda n: settings() * 30, ResetBeforeResponse),
        ],
        ids=[
            "reset", "reset-politely", "status", "no-status", "connection-field", "nul", "upper-case", "many-fields",
            "interim-flood", "push", "data-first", "http1", "giant", "continuation-flood", "ping-flood",
            "settings-flood",
        ],
    )  # fmt: skip
    async def test_what_is_no_answer(self, ending: Callable[[int], bytes], error: type[WireError]) -> None:
        async def script(peer: Peer) -> None:
            await peer.send(ending(await peer.request()))
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            with trio.fail_after(60), pytest.raises(error):
                await fetch(one, up.origin)

    @pytest.mark.parametrize(
        ("ending", "error"),
        [
            (lambda n: reset(n, INTERNAL_ERROR), Truncated),
            (lambda n: data(n, b"c", END_STREAM), Truncated),
            (lambda n: data(n, b"cdef"), BadResponse),
            (lambda n: headers(n, ((b":status", b"200"),)), BadResponse),
            (lambda n: goaway(n), Truncated),
            (lambda n: b"", Truncated),
        ],
        ids=["reset", "short", "long", "second head", "goaway and close", "close"],
    )
    async def test_a_body_that_is_cut(self, ending: Callable[[int], bytes], error: type[WireError]) -> None:
        async def script(peer: Peer) -> None:
            n = await peer.request()
            await peer.send(headers(n, (*OK, (b"content-length", b"5")), OPEN), data(n, b"ab"), ending(n))
            await trio.sleep(0.05)

        async with h2_upstream(script) as up, pool() as one:
            with await ask(one, up.origin) as response:
                with pytest.raises(error):
                    await response.read_all(100)
                assert not response.complete

    async def test_one_bad_answer_costs_its_stream_only(self) -> None:
        async def script(peer: Peer) -> None:
            good, bad = await peer.request(), await peer.request()
            await peer.send(headers(good, OK, OPEN), headers(bad, (*OK, (b"content-length", b"1")), OPEN))
            await peer.send(data(bad, b"too long"))
            await peer.send(data(good, b"good", END_STREAM))
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            got: list[bytes] = []

            async def keep() -> None:
                got.append(await fetch(one, up.origin))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ignoring, keep)
                nursery.start_soon(ignoring, keep)
            assert got == [b"good"]

    async def test_an_answer_to_head_with_a_body(self) -> None:
        async def script(peer: Peer) -> None:
            n = await peer.request()
            await peer.send(headers(n, OK, OPEN), data(n, b"x"))
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            with await ask(one, up.origin, method=b"HEAD") as response, pytest.raises(BadResponse):
                await response.read()


class TestTime:
    async def test_no_head_in_time(self) -> None:
        async with h2_upstream(hold) as up, pool() as one:
            with pytest.raises(ResponseTimeout):
                await ask(one, up.origin, within=0.3)

    async def test_a_body_that_stands_still(self) -> None:
        async def script(peer: Peer) -> None:
            n = await peer.request()
            await peer.send(headers(n, OK, OPEN), data(n, b"ab"))
            rst = await peer.until(RST_STREAM)
            assert rst.code == CANCEL
            await peer.answer(await peer.request(), b"next")
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            with await ask(one, up.origin) as response:
                response.idle_timeout = 0.3
                assert await response.read() == b"ab"
                with pytest.raises(ReadTimeout):
                    await response.read()
            assert await fetch(one, up.origin) == b"next"

    async def test_patience_is_not_the_end(self) -> None:
        async def script(peer: Peer) -> None:
            n = await peer.request()
            await peer.send(headers(n, OK, OPEN))
            await trio.sleep(0.6)
            await peer.send(data(n, b"late", END_STREAM))
            await hold(peer)

        async with h2_upstream(script) as up, pool() as one:
            with await ask(one, up.origin) as response:
                response.patience = 0.1
                with pytest.raises(NothingYet):
                    await response.read()
                response.patience = None
                assert await response.read() == b"late"

    async def test_a_silent_connection_is_asked_and_given_up(self, autojump_clock: MockClock) -> None:
        pings: list[float] = []

        async def handler(stream: trio.abc.Stream) -> None:
            await stream.send_all(settings())
            async for piece in stream:
                if frame(PING, 0, 0, b"alive?\0\0") in piece:
                    pings.append(trio.current_time())

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        origin = Origin("http", "127.0.0.1", listeners[0].socket.getsockname()[1], "on")
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, handler, listeners)
            async with pool() as one:
                with pytest.raises(ResetBeforeResponse):
                    await ask(one, origin, within=1000)
                assert 30 <= trio.current_time() < 35
                assert len(pings) == 1
                assert limit_hits()["upstream_h2_ping_timeout"] == 1
            nursery.cancel_scope.cancel()

    async def test_idle_connections_are_closed_politely(self, autojump_clock: MockClock) -> None:
        ended: list[int] = []

        async def script(peer: Peer) -> None:
            await peer.answer(await peer.request(), b"x")
            ended.append((await peer.until(GOAWAY)).code)
            await hold(peer)

        async with h2_upstream(script) as up, pool(idle_seconds=10) as one:
            assert await fetch(one, up.origin) == b"x"
            await trio.sleep(15)
            assert one._multiplexer is not None
            assert one._multiplexer.counts(up.origin) == (0, 0)
        assert ended == [NO_ERROR]


async def test_settings_that_shrink_a_window_below_zero() -> None:
    async def script(peer: Peer) -> None:
        n = await peer.request()
        await peer.send(settings((4, 1)), window(0, 200_000))
        got, acknowledged = 0, False
        while got < 100_000:
            one = await peer.next()
            got += len(one.payload) if one.kind == DATA else 0
            if one.kind == SETTINGS and one.flags & ACK and not acknowledged and got:
                acknowledged = True
                assert got == 65_535
                await peer.send(window(n, 200_000))
        await peer.answer(n, b"ok")
        await hold(peer)

    async with h2_upstream(script) as up, pool() as one:
        with trio.fail_after(60):
            assert await fetch(one, up.origin, b"x" * 100_000) == b"ok"


def test_frames_of_the_kit() -> None:
    assert WHOLE == OPEN | END_STREAM
