"""One server connection: answers, keep-alive, bodies, broken answers and endings."""

from __future__ import annotations

import contextlib
import logging
from types import ModuleType

import pytest
import trio

from fastanchor.wire import BodyTooLarge, ClientGone, Drain, Reply, Request, ServerLimits
from tests.kit.wires import Recorder, served

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"


def post(length: int, *fields: bytes) -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: h", b"Content-Length: %d" % length, *fields, b"", b""])


def without_date(raw: bytes) -> bytes:
    return b"\r\n".join(line for line in raw.split(b"\r\n") if not line.startswith(b"date: "))


class TestRequest:
    async def test_what_a_handler_sees(self, half: ModuleType) -> None:
        seen: list[Request] = []

        async def handler(request: Request, reply: Reply) -> None:
            seen.append(request)
            await reply.respond(200, [], b"")

        async with served(handler, peer="1.2.3.4:5", secure=True) as client:
            await client.write(b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-Y: 1\r\nx-y: 2\r\n\r\n")
        [request] = seen
        assert (request.method, request.target, request.path, request.query) == (b"GET", b"/a?b=c", b"/a", b"b=c")
        assert (request.peer, request.version, request.secure) == ("1.2.3.4:5", b"1.1", True)
        assert request.headers == [(b"host", b"h"), (b"x-y", b"1"), (b"x-y", b"2")]
        assert (request.get(b"x-y"), request.get(b"z")) == (b"1", None)

    async def test_body_is_streamed_as_it_comes(self, half: ModuleType) -> None:
        pieces: list[bytes] = []

        async def handler(request: Request, reply: Reply) -> None:
            while piece := await request.read():
                pieces.append(piece)
            assert await request.read() == b""
            await reply.respond(200, [], b"")

        async with served(handler) as client:
            await client.write_pieces([post(5) + b"ab", b"cd", b"e" + GET])
            assert client.statuses() == (200, 200)
        assert pieces == [b"ab", b"cd", b"e"]

    async def test_repr_shows_no_query_and_no_field(self) -> None:
        shown: list[str] = []

        async def handler(request: Request, reply: Reply) -> None:
            shown.append(repr(request))
            await reply.respond(200, [], b"")

        async with served(handler) as client:
            await client.write(b"GET /p?key=secret HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer secret\r\n\r\n")
        assert shown == ["<GET /p from unix>"]


class TestRespond:
    async def test_an_answer_is_one_send(self, half: ModuleType) -> None:
        async with served(Recorder(b"hello")) as client:
            await client.write(GET)
            assert without_date(client.read()) == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"

    async def test_date_is_there(self) -> None:
        async with served(Recorder()) as client:
            await client.write(GET)
            assert b"\r\ndate: " in client.read()

    async def test_head_has_the_length_and_no_body(self, half: ModuleType) -> None:
        async with served(Recorder(b"hello")) as client:
            await client.write(HEAD + GET)
            received = without_date(client.read())
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
        assert received == answer + answer + b"hello"

    @pytest.mark.parametrize("status", [204, 304])
    async def test_statuses_without_body_have_no_framing(self, half: ModuleType, status: int) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(status, [(b"etag", b'"x"')], b"")

        async with served(handler) as client:
            await client.write(GET + GET)
            received = client.read()
            assert client.statuses() == (status, status)
        assert b"content-length" not in received
        assert b"transfer-encoding" not in received

    async def test_keep_alive_is_said_to_http_1_0(self) -> None:
        async with served(Recorder()) as client:
            await client.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
            assert client.read().count(b"\r\nconnection: keep-alive\r\n") == 2
            assert not client.ended

    async def test_close_is_said_and_done(self) -> None:
        async with served(Recorder()) as client:
            await client.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert b"\r\nconnection: close\r\n" in client.read()
            assert client.ended

    async def test_the_last_request_of_a_connection(self) -> None:
        async with served(Recorder(), ServerLimits(requests=3)) as client:
            await client.write(GET * 5)
            assert client.statuses() == (200, 200, 200)
            assert client.read().count(b"connection: close") == 1
            assert client.ended

    @pytest.mark.parametrize(
        "field",
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked"), (b"connection", b"x"), (b"x\r\n", b"y"),
         (b"x", b"y\r\nz: 1"), (b"x", b"\0")],
    )  # fmt: skip
    async def test_a_handler_cannot_frame_or_split(
        self, half: ModuleType, field: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(200, [field], b"body")

        async with served(handler) as client:
            await client.write(GET)
            assert client.statuses() == (500,)
            assert client.ended
        assert "handler failed" in caplog.text

    async def test_answering_twice_is_an_error(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(200, [], b"one")
            with pytest.raises(RuntimeError):
                await reply.respond(200, [], b"two")

        async with served(handler) as client:
            await client.write(GET)
            assert client.read().endswith(b"one")
            assert not client.ended


async def stream(request: Request, reply: Reply) -> None:
    await reply.start(200, [(b"x", b"y")], b"one")
    await reply.send(b"")
    await reply.send(b"two")
    await reply.finish()


class TestStream:
    async def test_chunks_to_http_1_1(self, half: ModuleType) -> None:
        async with served(stream) as client:
            await client.write(GET)
            assert without_date(client.read()) == (
                b"HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
            )
            assert not client.ended

    async def test_the_end_of_the_connection_to_http_1_0(self, half: ModuleType) -> None:
        async with served(stream) as client:
            await client.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert without_date(client.read()) == b"HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\n\r\nonetwo"
            assert client.ended

    async def test_no_body_to_head(self, half: ModuleType) -> None:
        async with served(stream) as client:
            await client.write(HEAD + HEAD)
            received = client.read()
        assert received.count(b"\r\n\r\n") == 2
        assert received.endswith(b"\r\n\r\n")

    async def test_last_data_and_last_chunk_in_one(self, half: ModuleType) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.start(200, [])
            assert reply.started
            await reply.finish(b"end")

        async with served(handler) as client:
            await client.write(GET)
            assert client.read().endswith(b"\r\n\r\n3\r\nend\r\n0\r\n\r\n")

    async def test_an_aborted_stream_has_no_last_chunk(self, half: ModuleType) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.start(200, [], b"one")
            reply.abort()

        async with served(handler) as client:
            await client.write(GET + GET)
            assert client.read().endswith(b"3\r\none\r\n")
            assert client.ended
            assert client.statuses() == (200,)

    async def test_an_aborted_answer_that_never_began(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            reply.abort()

        async with served(handler) as client:
            await client.write(GET)
            assert client.read() == b""
            assert client.ended


    @pytest.mark.parametrize("finished", [False, True])
    async def test_nothing_is_sent_outside_a_stream(self, finished: bool) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            if finished:
                await reply.start(200, [])
                await reply.finish()
            with pytest.raises(RuntimeError):
                await reply.send(b"x")
            with pytest.raises(RuntimeError):
                await reply.finish(b"x")
            if not finished:
                await reply.respond(200, [], b"")

        async with served(handler) as client:
            await client.write(GET + GET)
            assert client.statuses() == (200, 200)
            assert not client.ended


class TestFailures:
    async def test_a_failing_handler_is_a_500_and_closes(self, caplog: pytest.LogCaptureFixture) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            raise RuntimeError("boom")

        async with served(handler) as client:
            await client.write(GET + GET)
            assert client.statuses() == (500,)
            assert client.ended
            assert b"boom" not in client.received
        assert "boom" in caplog.text

    async def test_a_handler_that_fails_in_its_stream_breaks_it_off(self, caplog: pytest.LogCaptureFixture) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.start(200, [], b"one")
            raise RuntimeError("boom")

        async with served(handler) as client:
            await client.write(GET)
            assert client.read().endswith(b"3\r\none\r\n")
            assert client.ended

    async def test_a_handler_that_shrugs_off_a_client_that_left(self, caplog: pytest.LogCaptureFixture) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            with trio.CancelScope(shield=True), contextlib.suppress(ClientGone):
                client.sock.close()
                await reply.start(200, [], b"one")

        async with served(handler) as client:
            await client.write(GET)
        assert caplog.text == ""

    @pytest.mark.parametrize("begin", [False, True])
    async def test_a_handler_that_leaves_its_answer_unfinished(
        self, begin: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            if begin:
                await reply.start(200, [], b"one")

        async with served(handler) as client:
            await client.write(GET)
            assert client.statuses() == ((200,) if begin else (500,))
            assert not client.received.endswith(b"0\r\n\r\n")
            assert client.ended
        assert "unfinished" in caplog.text

    async def test_errors_of_the_body_are_answered_where_the_handler_does_not(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            async with trio.open_nursery():  # nurseries wrap errors in groups
                await request.body()

        async with served(handler, ServerLimits(body=4)) as client:
            await client.write(post(5))
            assert client.statuses() == (413,)
            assert client.ended
        assert caplog.text == ""

    async def test_the_shape_of_errors_is_the_callers(self) -> None:
        async with served(Recorder(), on_error=lambda status, reason: ([(b"x", b"y")], b"{%d}" % status)) as client:
            await client.write(b"GET / HTTP/1.1\r\n\r\n")
            assert client.read() == (
                b"HTTP/1.1 400 Bad Request\r\nx: y\r\nconnection: close\r\ncontent-length: 5\r\n\r\n{400}"
            )

    async def test_the_plain_shape(self) -> None:
        async with served(Recorder()) as client:
            await client.write(b"GET / HTTP/1.1\r\n\r\n")
            assert client.read().endswith(b"400 missing Host\n")


class TestUnreadBodies:
    async def test_a_small_body_is_skipped(self, half: ModuleType) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(404, [], b"")

        async with served(handler) as client:
            await client.write_pieces([post(4) + b"ab", b"cd" + GET])
            assert client.statuses() == (404, 404)
            assert not client.ended

    @pytest.mark.parametrize(
        "request_", [post(1 << 20), post(4, b"Expect: 100-continue"),
                     b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"]
    )  # fmt: skip
    async def test_any_other_closes(self, request_: bytes, half: ModuleType) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(404, [], b"")

        async with served(handler) as client:
            await client.write(request_ + GET)
            assert client.statuses() == (404,)
            assert b"connection: close" in client.received
            assert client.ended

    async def test_a_refusal_reaches_a_client_that_is_still_sending(self) -> None:
        """The server reads on for a while behind its last answer, so that no reset overtakes it."""

        async def handler(request: Request, reply: Reply) -> None:
            await reply.respond(413, [], b"too large")

        async with served(handler) as client:
            await client.write(post(1 << 20) + b"x" * 1000)
            await client.write(b"x" * 30_000)
            assert client.read().endswith(b"too large")


class TestExpect:
    async def test_100_is_sent_when_the_body_is_wanted(self, half: ModuleType) -> None:
        async with served(Recorder()) as client:
            await client.write(post(3, b"Expect: 100-continue"))
            assert client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.write(b"abc")
            assert client.statuses() == (200,)
            assert not client.ended

    async def test_100_is_not_sent_when_the_body_is_there(self, half: ModuleType) -> None:
        async with served(Recorder()) as client:
            await client.write(post(3, b"Expect: 100-continue") + b"abc")
            assert b"100 Continue" not in client.read()
            assert client.statuses() == (200,)

    async def test_a_body_that_is_too_large_is_not_asked_for(self, half: ModuleType) -> None:
        async with served(Recorder(), ServerLimits(body=4)) as client:
            await client.write(post(5, b"Expect: 100-continue"))
            assert b"100 Continue" not in client.read()
            assert client.statuses() == (413,)


class TestBodyLimit:
    async def test_a_handler_may_move_it(self, half: ModuleType) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            request.max_body = 10 if request.path == b"/large" else 2
            try:
                body = await request.body()
            except BodyTooLarge as error:
                await reply.respond(error.status, [], b"")
            else:
                await reply.respond(200, [], body)

        async with served(handler, ServerLimits(body=5)) as client:
            await client.write(post(9).replace(b"/", b"/large", 1) + b"123456789")
            await client.write(post(3))
            assert client.statuses() == (200, 413)
            assert client.ended


class TestDrain:
    async def test_idle_connections_are_closed(self) -> None:
        drain = Drain()
        async with served(Recorder(), drain=drain) as client:
            await client.write(GET)
            drain.start()
            await client.read_to_end()
            assert client.statuses() == (200,)

    async def test_an_answer_is_finished_and_is_the_last(self) -> None:
        drain = Drain()
        go_on = trio.Event()

        async def handler(request: Request, reply: Reply) -> None:
            await go_on.wait()
            await reply.respond(200, [], b"whole")

        async with served(handler, drain=drain) as client:
            await client.write(GET + GET)
            drain.start()
            go_on.set()
            received = await client.read_to_end()
            assert client.statuses() == (200,)
            assert b"connection: close" in received
            assert received.endswith(b"whole")

    async def test_a_head_that_has_begun_is_served(self) -> None:
        drain = Drain()
        async with served(Recorder(), drain=drain) as client:
            await client.write(GET[:9])
            drain.start()
            await client.write(GET[9:])
            await client.read_to_end()
            assert client.statuses() == (200,)


async def test_pipelined_requests_let_others_run() -> None:
    turns: list[str] = []

    async def handler(request: Request, reply: Reply) -> None:
        turns.append("request")
        await reply.respond(200, [], b"")

    async def other() -> None:
        while True:
            turns.append("other")
            await trio.lowlevel.checkpoint()

    async with served(handler) as client, trio.open_nursery() as nursery:
        nursery.start_soon(other)
        client.sock.send(GET * 20)
        while turns.count("request") < 20:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    first = turns.index("request")
    assert "other" in turns[first : first + 4]


async def test_no_request_is_logged_when_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(Recorder()) as client:
        await client.write(GET + b"nonsense")
    assert caplog.text == ""
