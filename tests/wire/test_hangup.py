"""Clients that leave: the handler is cancelled at once, whatever it waits for, and the connection is closed."""

from __future__ import annotations

import socket
import struct

import pytest
import trio

from fastanchor.wire import ClientGone, Reply, Request, ServerLimits, bind, serve
from tests.kit.wires import Recorder, served

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
TOLERANT = ServerLimits(half_close_aborts=False)


class Waiter:
    """A handler that waits for what never comes, and says whether it was cancelled."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.cancelled = trio.Event()

    async def __call__(self, request: Request, reply: Reply) -> None:
        self.begun.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.set()
            raise


@pytest.mark.parametrize("how", ["close", "half", "reset"])
async def test_a_client_that_leaves_cancels_its_handler(how: str) -> None:
    waiter = Waiter()
    listener = bind("127.0.0.1:0")
    with listener, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener, waiter)
            client = socket.create_connection(listener.getsockname())
            client.sendall(GET)
            await waiter.begun.wait()
            if how == "half":
                client.shutdown(socket.SHUT_WR)
            else:
                if how == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            await waiter.cancelled.wait()
            client.close()
            nursery.cancel_scope.cancel()


async def test_a_client_that_leaves_in_mid_stream_cancels_its_handler() -> None:
    cancelled = trio.Event()

    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, [], b"one")
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with served(handler) as client:
        await client.write(GET)
        client.sock.close()
        with trio.fail_after(60):
            await cancelled.wait()


async def test_sending_to_a_client_that_left_is_client_gone() -> None:
    raised: list[Exception] = []

    async def handler(request: Request, reply: Reply) -> None:
        with trio.CancelScope(shield=True):
            await reply.start(200, [])
            client.sock.close()
            try:
                for _ in range(100):
                    await reply.send(b"x" * 1000)
            except ClientGone as error:
                raised.append(error)
                raise

    async with served(handler) as client:
        client.sock.send(GET)
        with trio.fail_after(60):
            while not raised:  # noqa: ASYNC110 - the handler ends by itself
                await trio.sleep(0.001)


async def test_a_request_that_was_followed_by_fin_is_not_waited_for() -> None:
    """A handler that waits is cancelled; one that answered before the hang-up was noticed has answered."""
    waiter = Waiter()
    async with served(waiter) as client:
        client.sock.send(GET)
        client.sock.shutdown(socket.SHUT_WR)
        with trio.fail_after(60):
            await client.read_to_end()
        assert client.received == b""
    assert waiter.begun.is_set() == waiter.cancelled.is_set()


class TestHalfCloseTolerated:
    async def test_a_request_that_was_followed_by_fin_is_answered(self) -> None:
        recorder = Recorder()
        async with served(recorder, TOLERANT) as client:
            client.sock.send(GET)
            client.sock.shutdown(socket.SHUT_WR)
            await client.read_to_end()
            assert client.statuses() == (200,)

    async def test_fin_during_the_answer_changes_nothing(self) -> None:
        go_on = trio.Event()

        async def handler(request: Request, reply: Reply) -> None:
            await go_on.wait()
            await reply.respond(200, [], b"")

        async with served(handler, TOLERANT) as client:
            await client.write(GET)
            client.sock.shutdown(socket.SHUT_WR)
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
            await client.read_to_end()
            assert client.statuses() == (200,)

    async def test_a_full_close_still_cancels(self) -> None:
        waiter = Waiter()
        async with served(waiter, TOLERANT) as client:
            await client.write(GET)
            client.sock.close()
            with trio.fail_after(60):
                await waiter.cancelled.wait()

    async def test_a_body_cut_short_is_answered(self) -> None:
        async with served(Recorder(), TOLERANT) as client:
            await client.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
            client.sock.shutdown(socket.SHUT_WR)
            await client.read_to_end()
            assert client.statuses() == (400,)


@pytest.mark.parametrize("data", [b"", b"\r\n", GET[:10], GET + GET[:10]])
async def test_a_client_that_ends_between_or_within_heads_gets_nothing_more(data: bytes) -> None:
    recorder = Recorder()
    async with served(recorder) as client:
        await client.write(data)
        client.sock.shutdown(socket.SHUT_WR)
        await client.read_to_end()
        assert client.statuses() == (200,) * len(recorder.requests)
