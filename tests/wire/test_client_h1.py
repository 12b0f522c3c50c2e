"""Responses as upstreams send them: what is taken, what is refused, when a body is complete, what is pooled."""

from __future__ import annotations

from types import ModuleType

import pytest
import trio

from fastanchor.wire import (
    BadResponse,
    Origin,
    Pool,
    ReadTimeout,
    ResetBeforeResponse,
    Response,
    ResponseTimeout,
    Truncated,
    WireError,
)
from fastanchor.wire.client_h1 import compose
from tests.kit.raw_upstream import RawUpstream, raw_upstream, says

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 3\r\n\r\nabc"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ABC = b"3\r\nabc\r\n"
END = b"0\r\n\r\n"


async def ask(pool: Pool, up: RawUpstream, method: bytes = b"GET", body: bytes = b"") -> Response:
    return await pool.request(up.origin, method, b"/", [], body, connect_timeout=60, first_byte_timeout=60)


TAKEN = [
    ("length", SIZED, b"abc", True),
    ("length-zero", OK + b"Content-Length: 0\r\n\r\n", b"", True),
    ("chunks", CHUNKED + ABC + ABC + END, b"abcabc", True),
    ("chunks-with-extension-and-trailer", CHUNKED + b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n", b"abc", True),
    ("until-close", OK + b"\r\nabc", b"abc", False),
    ("until-close-empty", OK + b"\r\n", b"", False),
    ("no-reason", b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", b"abc", True),
    ("http-1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
    ("http-1.0-keep-alive", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", b"abc", True),
    ("connection-close", OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
    ("204", b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    ("304-with-length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", b"", True),
    ("interim", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SIZED, b"abc", True),
    ("ten-interim", b"HTTP/1.1 102 P\r\n\r\n" * 10 + SIZED, b"abc", True),
    ("longer-than-its-length", SIZED + b"d", b"abc", False),
    ("more-behind-chunks", CHUNKED + END + b"d", b"", False),
    ("another-response-behind", SIZED + SIZED, b"abc", False),
    ("more-behind-204", b"HTTP/1.1 204 No Content\r\n\r\nabc", b"", False),
]  # fmt: skip


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(("answer", "body", "pooled"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN])
async def test_taken(answer: bytes, body: bytes, pooled: bool, step: int, half: ModuleType) -> None:
    held = not (answer.startswith((OK + b"\r\n", b"HTTP/1.0")) and b"Length" not in answer)
    async with raw_upstream(says(answer, step=step, hold=held)) as up:
        with Pool() as pool, trio.fail_after(60):
            response = await ask(pool, up)
            assert await response.read_all(1000) == body
            assert response.complete
            assert await response.read() == b""
            if step and not pooled and b"Connection" not in answer and b"HTTP/1.0" not in answer:
                return  # what came behind may still be on its way; the check before reuse is for that
            assert pool.counts(up.origin) == (0, int(pooled), 0)


REFUSED = [
    ("not-http", b"hello\r\n\r\n"),
    ("html", b"<html><body>Bad Gateway</body></html>"),
    ("http-0.9", b"data"),
    ("http-2-settings", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    ("tls-alert", b"\x15\x03\x01\x00\x02\x02\x0a"),
    ("length-and-coding", OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + ABC + END),
    ("length-twice", OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    ("length-list", OK + b"Content-Length: 3, 3\r\n\r\nabc"),
    ("length-signed", OK + b"Content-Length: +3\r\n\r\nabc"),
    ("length-not-a-number", OK + b"Content-Length: three\r\n\r\nabc"),
    ("coding-unknown", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + ABC + END),
    ("coding-in-1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ABC + END),
    ("folded-field", OK + b"X: a\r\n b\r\n\r\n"),
    ("space-before-colon", OK + b"Content-Length : 3\r\n\r\nabc"),
    ("bare-lf", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"),
    ("nul-in-field", OK + b"X: \0\r\n\r\n"),
    ("status-999", b"HTTP/1.1 999 X\r\n\r\n"),
    ("switching-protocols", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    ("eleven-interim", b"HTTP/1.1 102 P\r\n\r\n" * 11 + SIZED),
    ("head-over-64-kib", OK + (b"X: " + b"y" * 8000 + b"\r\n") * 9 + b"\r\n"),
    ("head-that-never-ends", OK + b"X: " + b"y" * 70000),
    ("over-200-fields", OK + b"X: y\r\n" * 201 + b"\r\n"),
]
REFUSED_IN_BODY = [
    ("chunk-size-bad", CHUNKED + b"x\r\nabc\r\n" + END),
    ("chunk-size-lf", CHUNKED + b"3\nabc\r\n" + END),
    ("chunk-too-long", CHUNKED + b"3\r\nabcd\r\n" + END),
    ("chunk-size-huge", CHUNKED + b"fffffffffffffffff\r\n"),
    ("trailer-bad", CHUNKED + ABC + b"0\r\nX : y\r\n\r\n"),
]


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("answer", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_refused_heads(answer: bytes, step: int, half: ModuleType) -> None:
    async with raw_upstream(says(answer, step=step if len(answer) < 1000 else 0, hold=True)) as up:
        with Pool() as pool, trio.fail_after(60):
            with pytest.raises(BadResponse):
                await ask(pool, up)
            assert pool.counts(up.origin) == (0, 0, 0)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("answer", [row[1] for row in REFUSED_IN_BODY], ids=[row[0] for row in REFUSED_IN_BODY])
async def test_refused_bodies(answer: bytes, step: int, half: ModuleType) -> None:
    async with raw_upstream(says(answer, step=step, hold=True)) as up:
        with Pool() as pool, trio.fail_after(60):
            response = await ask(pool, up)
            with pytest.raises(BadResponse):
                await response.read_all(1000)
            assert not response.complete
            assert pool.counts(up.origin) == (0, 0, 0)


CUT = {"length": SIZED, "chunks": CHUNKED + ABC + ABC + END}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT.keys())
async def test_cut_at_every_byte_is_never_complete(answer: bytes, half: ModuleType) -> None:
    """Wherever the peer ends the connection before the end of the message, the caller is told."""
    for end in range(len(answer)):
        async with raw_upstream(says(answer[:end])) as up:
            with Pool() as pool:
                with pytest.raises(ResetBeforeResponse if end == 0 else Truncated):
                    await (await ask(pool, up)).read_all(1000)
                assert pool.counts(up.origin) == (0, 0, 0)


async def test_an_end_behind_an_interim_response_is_truncation() -> None:
    """Something was processed: this must not look like a stale connection."""
    async with raw_upstream(says(b"HTTP/1.1 100 Continue\r\n\r\n")) as up:
        with Pool() as pool:
            with pytest.raises(Truncated):
                await ask(pool, up)


async def test_a_reset_in_the_body_is_truncation() -> None:
    def script(up: RawUpstream) -> object:
        async def run(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(CHUNKED + ABC)
            await trio.sleep(0.02)
            stream.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: reset on close

        return run

    async with raw_upstream(script) as up:  # type: ignore[arg-type]
        with Pool() as pool:
            response = await ask(pool, up)
            assert await response.read() == b"abc"
            with pytest.raises(Truncated):
                await response.read()


async def test_pieces_come_as_they_are_received(half: ModuleType) -> None:
    def script(up: RawUpstream) -> object:
        async def run(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            for piece in (CHUNKED, ABC + ABC, b"3\r\nab", b"c\r\n", END):
                await stream.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            await stream.receive_some()

        return run

    async with raw_upstream(script) as up:  # type: ignore[arg-type]
        with Pool() as pool:
            response = await ask(pool, up)
            assert [await response.read() for _ in range(4)] == [b"abcabc", b"ab", b"c", b""]
            assert response.complete


async def test_a_body_that_is_complete_says_so_with_its_last_piece() -> None:
    async with raw_upstream(says(CHUNKED + ABC + END, hold=True)) as up:
        with Pool() as pool:
            response = await ask(pool, up)
            assert not response.complete
            assert await response.read() == b"abc"
            assert response.complete


@pytest.mark.parametrize("answer", [SIZED[:-3], CHUNKED])
async def test_head_has_no_body(answer: bytes) -> None:
    async with raw_upstream(says(answer, SIZED, hold=True)) as up:
        with Pool() as pool, trio.fail_after(60):
            response = await ask(pool, up, b"HEAD")
            assert response.complete
            assert await response.read_all(10) == b""
            assert await (await ask(pool, up)).read_all(10) == b"abc"
            assert up.connections == 1


async def test_read_all_is_bounded() -> None:
    async with raw_upstream(says(SIZED, hold=True)) as up:
        with Pool() as pool:
            with pytest.raises(BadResponse, match="over 2 bytes"):
                await (await ask(pool, up)).read_all(2)


async def test_a_response_that_is_closed_early_closes_its_connection() -> None:
    closed = trio.Event()

    def script(up: RawUpstream) -> object:
        async def run(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(CHUNKED + ABC)
            assert await stream.receive_some() == b""
            closed.set()

        return run

    async with raw_upstream(script) as up:  # type: ignore[arg-type]
        with Pool() as pool, trio.fail_after(60):
            response = await ask(pool, up)
            response.close()
            response.close()
            await closed.wait()
            assert await response.read() == b"abc"  # had come with the head
            with pytest.raises(Truncated):
                await response.read()
            assert pool.counts(up.origin) == (0, 0, 0)


class TestTimeouts:
    async def test_no_head(self, autojump_clock: object) -> None:
        async with raw_upstream(says(b"HTTP/1.1 200", hold=True)) as up:
            with Pool() as pool:
                begun = trio.current_time()
                with pytest.raises(ResponseTimeout):
                    await ask(pool, up)
                assert trio.current_time() - begun == pytest.approx(60, abs=0.5)
                assert pool.counts(up.origin) == (0, 0, 0)

    async def test_no_body(self, autojump_clock: object) -> None:
        async with raw_upstream(says(CHUNKED + ABC, hold=True)) as up:
            with Pool() as pool:
                response = await ask(pool, up)
                response.idle_timeout = 30
                assert await response.read() == b"abc"
                begun = trio.current_time()
                with pytest.raises(ReadTimeout):
                    await response.read()
                assert trio.current_time() - begun == pytest.approx(30, abs=0.5)
                assert pool.counts(up.origin) == (0, 0, 0)

    async def test_none_is_for_ever(self, autojump_clock: object) -> None:
        async with raw_upstream(says(CHUNKED + ABC, hold=True)) as up:
            with Pool() as pool:
                response = await ask(pool, up)
                await response.read()
                with trio.move_on_after(1000) as scope:
                    await response.read()
                assert scope.cancelled_caught
                response.close()

    async def test_a_cancelled_request_gives_its_place_back(self, autojump_clock: object) -> None:
        async with raw_upstream(says(b"", hold=True)) as up:
            with Pool() as pool:
                with trio.move_on_after(1):
                    await ask(pool, up)
                assert pool.counts(up.origin) == (0, 0, 0)


class TestRequests:
    async def test_what_goes_out(self, half: ModuleType) -> None:
        async with raw_upstream(says(SIZED)) as up:
            with Pool() as pool:
                response = await pool.request(
                    up.origin, b"POST", b"/x?y", [(b"a", b"b")], b"body", connect_timeout=60, first_byte_timeout=60
                )
                response.close()
        port = b"%d" % up.origin.port
        assert up.requests == [
            b"POST /x?y HTTP/1.1\r\nhost: 127.0.0.1:" + port + b"\r\na: b\r\ncontent-length: 4\r\n\r\nbody"
        ]

    async def test_a_large_body_goes_out_whole(self) -> None:
        body = bytes(range(256)) * 40_000
        async with raw_upstream(says(SIZED)) as up:
            with Pool() as pool, trio.fail_after(20):
                assert await (await ask(pool, up, b"POST", body)).read_all(10) == b"abc"
        assert up.requests[0].endswith(b"\r\n\r\n" + body)

    async def test_an_answer_before_the_end_of_the_request_is_heard(self) -> None:
        def script(up: RawUpstream) -> object:
            async def run(stream: trio.SocketStream) -> None:
                await stream.receive_some(100)
                await stream.send_all(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
                await stream.send_eof()
                while await stream.receive_some():
                    pass

            return run

        async with raw_upstream(script) as up:  # type: ignore[arg-type]
            with Pool() as pool, trio.fail_after(60):
                response = await ask(pool, up, b"POST", b"x" * 20_000_000)
                assert (response.status, await response.read_all(10)) == (413, b"abc")

    @pytest.mark.parametrize(
        ("method", "body", "lines"),
        [(b"GET", b"", 1), (b"DELETE", b"", 1), (b"POST", b"", 2), (b"PUT", b"x", 2), (b"GET", b"x", 2)],
    )  # fmt: skip
    def test_a_length_is_said_where_a_body_is_meant(self, method: bytes, body: bytes, lines: int) -> None:
        head = compose(Origin("http", "h", 80), method, b"/", [], body)
        assert (b"content-length: %d" % len(body) in head) == (lines == 2)

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            (Origin("http", "h", 80), b"h"), (Origin("https", "h", 443), b"h"), (Origin("https", "h", 80), b"h:80"),
            (Origin("http", "::1", 8080), b"[::1]:8080"), (Origin("http", "/run/x.sock", 0), b"localhost"),
        ],
    )  # fmt: skip
    def test_host_names_the_origin(self, origin: Origin, host: bytes) -> None:
        assert b"\r\nhost: " + host + b"\r\n" in compose(origin, b"GET", b"/", [], b"")

    def test_a_host_that_is_given_is_kept(self) -> None:
        head = compose(Origin("http", "h", 80), b"GET", b"/", [(b"host", b"other")], b"")
        assert head.count(b"host:") == 1
        assert b"host: other" in head

    @pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding", b"connection"])
    def test_framing_is_not_the_callers(self, name: bytes) -> None:
        with pytest.raises(ValueError, match="written by the wire"):
            compose(Origin("http", "h", 80), b"GET", b"/", [(name, b"x")], b"")

    @pytest.mark.parametrize("field", [(b"x", b"a\r\nb: c"), (b"x\n", b"a"), (b"x", b"\0")])
    async def test_a_field_cannot_break_the_head(self, field: tuple[bytes, bytes]) -> None:
        async with raw_upstream(says(SIZED)) as up:
            with Pool() as pool:
                with pytest.raises(ValueError, match="unsafe"):
                    await pool.request(
                        up.origin, b"GET", b"/", [field], connect_timeout=60, first_byte_timeout=60
                    )
            assert up.connections == 0


def test_every_error_is_a_wire_error() -> None:
    assert issubclass(BadResponse, WireError)
    assert issubclass(ResetBeforeResponse, WireError)
