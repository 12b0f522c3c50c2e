"""The pool on real sockets: reuse, stale connections, caps, expiry."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fastanchor.wire import (
    ConnectFailed,
    ConnectTimeout,
    Origin,
    Pool,
    Reply,
    Request,
    ResetBeforeResponse,
    Response,
    bind,
    serve,
)
from tests.kit.raw_upstream import RawUpstream, raw_upstream, says

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


async def ask(pool: Pool, origin: Origin, *, within: float = 5) -> Response:
    return await pool.request(
        origin, b"POST", b"/", [], b"body", connect_timeout=within, first_byte_timeout=60
    )


async def test_a_connection_is_used_again() -> None:
    async with raw_upstream(says(SIZED, SIZED, SIZED)) as up:
        with Pool() as pool:
            for reused in (False, True, True):
                response = await ask(pool, up.origin)
                assert await response.read_all(10) == b"abc"
                assert response.reused is reused
            assert (up.connections, pool.counts(up.origin)) == (1, (0, 1, 0))


async def test_a_connection_is_free_as_soon_as_its_body_is_whole() -> None:
    async with raw_upstream(says(SIZED, SIZED)) as up:
        with Pool(max_per_origin=1) as pool, trio.fail_after(60):
            first = await ask(pool, up.origin)
            assert await first.read() == b"abc"
            second = await ask(pool, up.origin)
            first.close()
            assert await second.read() == b"abc"


@pytest.mark.parametrize("left", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"])
async def test_what_arrives_on_an_idle_connection_discards_it(left: bytes) -> None:
    """An end, or a response that nobody asked for, must never meet the next request."""

    def script(up: RawUpstream) -> object:
        async def run(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(SIZED)
            await idle.wait()
            if left:
                await stream.send_all(left)
                await stream.receive_some()

        return run

    idle = trio.Event()
    async with raw_upstream(script, says(SIZED)) as up:  # type: ignore[arg-type]
        with Pool() as pool, trio.fail_after(60):
            await (await ask(pool, up.origin)).read_all(10)
            idle.set()
            await wait_all_tasks_blocked(0.02)
            response = await ask(pool, up.origin)
            assert await response.read_all(10) == b"abc"
            assert not response.reused
            assert up.connections == 2


class TestStale:
    async def test_a_connection_that_ends_as_it_is_used_is_replaced_once(self) -> None:
        def ends_on_second(up: RawUpstream) -> object:
            async def run(stream: trio.SocketStream) -> None:
                await stream.receive_some()
                await stream.send_all(SIZED)
                await stream.receive_some()

            return run

        async with raw_upstream(ends_on_second, says(SIZED)) as up:  # type: ignore[arg-type]
            with Pool() as pool, trio.fail_after(60):
                await (await ask(pool, up.origin)).read_all(10)
                response = await ask(pool, up.origin)
                assert await response.read_all(10) == b"abc"
                assert (up.connections, response.reused) == (2, False)
                assert pool.counts(up.origin) == (0, 1, 0)

    async def test_a_fresh_connection_that_ends_is_an_error(self) -> None:
        async with raw_upstream(says(b"")) as up:
            with Pool() as pool, trio.fail_after(60):
                with pytest.raises(ResetBeforeResponse):
                    await ask(pool, up.origin)
                assert (up.connections, pool.counts(up.origin)) == (1, (0, 0, 0))

    async def test_there_is_no_third_time(self) -> None:
        async with raw_upstream(says(SIZED, b""), says(b"")) as up:
            with Pool() as pool, trio.fail_after(60):
                await (await ask(pool, up.origin)).read_all(10)
                with pytest.raises(ResetBeforeResponse):
                    await ask(pool, up.origin)
                assert (up.connections, pool.counts(up.origin)) == (2, (0, 0, 0))

    async def test_one_byte_of_a_response_is_enough_to_never_retry(self) -> None:
        async with raw_upstream(says(SIZED, b"H"), says(SIZED)) as up:
            with Pool() as pool, trio.fail_after(60):
                await (await ask(pool, up.origin)).read_all(10)
                with pytest.raises(Exception, match="within the response head"):
                    await ask(pool, up.origin)
                assert up.connections == 1


class TestCap:
    async def test_callers_over_the_cap_wait_their_turn(self) -> None:
        order: list[int] = []
        active = most = 0

        async def handler(request: Request, reply: Reply) -> None:
            nonlocal active, most
            active += 1
            most = max(most, active)
            await trio.sleep(0.01)
            active -= 1
            await reply.respond(200, [], b"x")

        with bind("127.0.0.1:0") as listener:
            origin = Origin("http", "127.0.0.1", listener.getsockname()[1])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener, handler)

                async def one(number: int) -> None:
                    await (await ask(pool, origin)).read_all(10)
                    order.append(number)

                with Pool(max_per_origin=2) as pool, trio.fail_after(60):
                    async with trio.open_nursery() as callers:
                        for number in range(8):
                            callers.start_soon(one, number)
                            await trio.testing.wait_all_tasks_blocked()
                        assert pool.counts(origin)[2] > 0
                    assert pool.counts(origin) == (0, 2, 0)
                nursery.cancel_scope.cancel()
        assert most == 2
        assert all(abs(place - number) <= 1 for place, number in enumerate(order))

    async def test_the_wait_is_bounded(self, autojump_clock: MockClock) -> None:
        async with raw_upstream(says(SIZED)) as up:
            with Pool(max_per_origin=1) as pool:
                held = await ask(pool, up.origin)
                with pytest.raises(ConnectTimeout, match="no free connection"):
                    await ask(pool, up.origin, within=3)
                assert pool.counts(up.origin) == (1, 0, 0)
                held.close()
                assert pool.counts(up.origin) == (0, 0, 0)

    async def test_a_caller_that_is_cancelled_leaves_the_queue(self) -> None:
        async with raw_upstream(says(SIZED)) as up:
            with Pool(max_per_origin=1) as pool:
                held = await ask(pool, up.origin)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, pool, up.origin)
                    await trio.testing.wait_all_tasks_blocked()
                    assert pool.counts(up.origin) == (1, 0, 1)
                    nursery.cancel_scope.cancel()
                assert pool.counts(up.origin) == (1, 0, 0)
                held.close()

    async def test_a_caller_that_is_cancelled_as_it_is_granted_passes_the_place_on(self) -> None:
        async with raw_upstream(says(SIZED, SIZED)) as up:
            with Pool(max_per_origin=1) as pool:
                held = await ask(pool, up.origin)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, pool, up.origin)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel()
                    assert await held.read() == b"abc"  # without a wait, so before the other one runs
                assert pool.counts(up.origin) == (0, 1, 0)


class TestIdle:
    async def test_idle_connections_are_closed_in_time(self, autojump_clock: MockClock) -> None:
        ended: list[float] = []

        def script(up: RawUpstream) -> object:
            async def run(stream: trio.SocketStream) -> None:
                await stream.receive_some()
                await stream.send_all(SIZED)
                await stream.receive_some()
                ended.append(trio.current_time())

            return run

        async with raw_upstream(script) as up:  # type: ignore[arg-type]
            with Pool(idle_seconds=20) as pool:
                await (await ask(pool, up.origin)).read_all(10)
                begun = trio.current_time()
                await trio.sleep(19)
                assert pool.counts(up.origin) == (0, 1, 0)
                await trio.sleep(2)
                assert pool.counts(up.origin) == (0, 0, 0)
                assert ended[0] - begun == pytest.approx(20, abs=0.5)

    async def test_a_closed_pool_keeps_nothing(self) -> None:
        async with raw_upstream(says(SIZED), says(SIZED)) as up:
            pool = Pool()
            response = await ask(pool, up.origin)
            await (await ask(pool, up.origin)).read_all(10)
            pool.close()
            assert pool.counts(up.origin) == (1, 0, 0)
            await response.read_all(10)
            assert pool.counts(up.origin) == (0, 0, 0)


async def test_a_failed_connect_gives_the_place_back() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        origin = Origin("http", "127.0.0.1", closed.getsockname()[1])
        with Pool(max_per_origin=1) as pool:
            for _ in range(3):
                with pytest.raises(ConnectFailed, match="refused"):
                    await ask(pool, origin)
            assert pool.counts(origin) == (0, 0, 0)
