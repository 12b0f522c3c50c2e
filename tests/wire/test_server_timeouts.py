"""What a slow client is given, on a clock that jumps: deadlines fire in time, and not for what is fast enough."""

from __future__ import annotations

import contextlib

import pytest
import trio
from trio.testing import MockClock

from fastanchor.wire import ClientGone, Drain, Reply, Request, ServerLimits
from fastanchor.wire.hits import limit_hits
from fastanchor.wire.sweep import PERIOD
from tests.kit.h2_frames import NO_ERROR, h2_served, headers
from tests.kit.wires import Recorder, served

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
LIMITS = ServerLimits(
    head_deadline=10, body_stall=30, body_rate=1000, body_grace=10, idle=75, write_stall=60, linger=2
)


async def seconds_until_end(client: object) -> float:
    begun = trio.current_time()
    await client.read_to_end()  # type: ignore[attr-defined]
    return trio.current_time() - begun


def about(seconds: float) -> object:
    """That long, plus at most two walks of the sweeper."""
    return pytest.approx(seconds + PERIOD, abs=PERIOD)


async def test_a_connection_that_says_nothing(autojump_clock: MockClock) -> None:
    async with served(Recorder(), LIMITS) as client:
        assert await seconds_until_end(client) == about(10)
        assert client.received == b""


async def test_a_head_that_never_ends(autojump_clock: MockClock) -> None:
    async with served(Recorder(), LIMITS) as client:
        await client.write(GET[:20])
        assert await seconds_until_end(client) == about(10)
        assert client.statuses() == (408,)


async def test_a_head_that_trickles_is_timed_from_its_first_byte(autojump_clock: MockClock) -> None:
    async with served(Recorder(), LIMITS) as client:
        begun = trio.current_time()
        for i in range(20):
            await client.write(GET[i : i + 1])
            await trio.sleep(0.6)
        await client.read_to_end()
        assert trio.current_time() - begun <= 12.1
        assert client.statuses() == (408,)


async def test_a_kept_connection_may_be_idle_for_longer(autojump_clock: MockClock) -> None:
    async with served(Recorder(), LIMITS) as client:
        await client.write(GET)
        await trio.sleep(70)
        await client.write(GET)
        assert client.statuses() == (200, 200)
        assert await seconds_until_end(client) == about(75)
        assert client.statuses() == (200, 200)


async def test_a_body_that_stalls(autojump_clock: MockClock) -> None:
    async with served(Recorder(), LIMITS) as client:
        await client.write(POST + b"x" * 50_000)
        assert await seconds_until_end(client) == about(30)
        assert client.statuses() == (408,)


async def test_a_body_slower_than_the_lowest_rate(autojump_clock: MockClock) -> None:
    async with served(Recorder(), LIMITS) as client:
        await client.write(POST)
        begun = trio.current_time()
        while not client.ended:
            await client.write(b"x")
            await trio.sleep(1)
            client.read()
        assert trio.current_time() - begun == pytest.approx(10, abs=2)
        assert client.statuses() == (408,)


async def test_a_slow_body_above_the_lowest_rate(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with served(recorder, LIMITS) as client:
        await client.write(POST)
        for _ in range(50):
            await client.write(b"x" * 2000)
            await trio.sleep(1)
        assert client.statuses() == (200,)


async def test_a_slow_handler_is_not_the_clients_fault(autojump_clock: MockClock) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        while await request.read():  # noqa: ASYNC110 - a slow reader
            await trio.sleep(100)
        await reply.respond(200, [], b"")

    async with served(handler, LIMITS) as client:
        await client.write(POST + b"x" * 10)
        await trio.sleep(101)
        await client.write(b"x" * 99_990)
        await trio.sleep(1000)
        assert client.statuses() == (200,)


async def test_a_handler_may_take_its_time(autojump_clock: MockClock) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await trio.sleep(1000)
        await reply.respond(200, [], b"")

    async with served(handler, LIMITS) as client:
        await client.write(GET)
        await trio.sleep(1001)
        assert client.statuses() == (200,)
        assert not client.ended


async def test_a_client_that_does_not_read(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def handler(request: Request, reply: Reply) -> None:
        begun = trio.current_time()
        await reply.start(200, [])
        with contextlib.suppress(ClientGone):
            while True:
                await reply.send(b"x" * 65536)
        ended.append(trio.current_time() - begun)

    async with served(handler, LIMITS) as client:
        await client.write(GET)
        await trio.sleep(70)
        assert ended == [about(60)]


async def test_a_client_that_reads_slowly_is_waited_for(autojump_clock: MockClock) -> None:
    """The write stall starts again with every byte taken."""
    sent = b"x" * (1 << 20)

    async with served(Recorder(sent), LIMITS) as client:
        await client.write(GET)
        begun = trio.current_time()
        size = 0
        while size < len(sent):
            await trio.sleep(50)
            size += len(client.sock.recv(65536))
            assert trio.current_time() - begun < 5000
        assert client.statuses() == ()  # nothing but the rest of the body


async def test_the_lingering_read_ends(autojump_clock: MockClock) -> None:
    async with served(Recorder(), LIMITS) as client:
        await client.write(b"nonsense\r\n\r\n")
        assert client.statuses() == (400,)
        begun = trio.current_time()
        while True:
            try:
                client.sock.send(b"x")
            except BrokenPipeError:
                break
            await trio.sleep(0.1)
        assert trio.current_time() - begun <= 2 + 3 * PERIOD
    assert limit_hits()["linger"] == 1


async def test_the_lingering_read_is_bounded_in_bytes() -> None:
    async with served(Recorder(), LIMITS) as client:
        await client.write(b"nonsense\r\n\r\n")
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 200_000:
                sent += client.sock.send(b"x" * 10_000)
                await trio.testing.wait_all_tasks_blocked()
        assert 64 * 1024 <= sent < 100_000
    assert limit_hits()["linger"] == 1


async def test_an_idle_connection_is_kept_shortly_when_places_are_wanted(autojump_clock: MockClock) -> None:
    drain = Drain()
    async with served(Recorder(), LIMITS, drain=drain) as client:
        await client.write(GET)
        drain.hurry(5)
        await trio.sleep(1)
        drain.hurry(5)  # says it again, gives no more time
        assert await seconds_until_end(client) == about(4)
    assert limit_hits()["pressed_idle"] == 1


async def test_a_request_under_way_has_all_its_time_when_places_are_wanted(autojump_clock: MockClock) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await trio.sleep(50)
        await reply.respond(200, [], b"")

    drain = Drain()
    async with served(handler, LIMITS, drain=drain) as client:
        await client.write(GET)
        drain.hurry(5)
        await trio.sleep(51)
        assert client.statuses() == (200,)
        assert await seconds_until_end(client) == about(74)
    assert "pressed_idle" not in limit_hits()


async def test_an_idle_http2_connection_is_kept_shortly_when_places_are_wanted(autojump_clock: MockClock) -> None:
    drain = Drain()
    async with h2_served(Recorder(), drain=drain) as client:
        await client.write(headers(1))
        drain.hurry(5)
        await trio.sleep(4)
        assert client.goodbye is None
        await trio.sleep(2)
        assert client.goodbye == NO_ERROR
        assert client.answers()[1].status == 200
    assert limit_hits()["pressed_idle"] == 1
