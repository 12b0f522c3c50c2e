"""WebSocket against peers that are rude, slow, silent or gone; and handshakes that are none."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from fastanchor.wire import ClientGone, Drain, Reply, Request, ServerLimits
from fastanchor.wire.hits import limit_hits
from fastanchor.wire.limits import WSLimits
from fastanchor.wire.server_ws import BadHandshake, WebSocket, websocket
from fastanchor.wire.ws_frames import Meter
from fastanchor.wire.ws_session import Session
from tests.kit.websocket import CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame, frames, handshake, text
from tests.kit.wires import RawClient, cut, served

HUGE = 1 << 62


async def echo(request: Request, reply: Reply) -> None:
    try:
        async with websocket(request, reply) as one:
            while (message := await one.receive()) is not None:
                await one.send(message.encode())
    except BadHandshake as bad:
        await reply.respond(bad.status, bad.headers, bad.reason.encode())


@asynccontextmanager
async def opened(limits: WSLimits | None = None, handler: object = echo, **options: object) -> AsyncIterator[RawClient]:
    """A client whose hand is shaken."""
    server = dataclasses.replace(ServerLimits(), ws=limits or WSLimits())
    async with served(handler, server, **options) as client:  # type: ignore[arg-type]
        await client.write(handshake())
        head, _, client.received = client.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        yield client


def code(client: RawClient) -> int:
    """The code of the close frame that came last."""
    *_, last = frames(client.read())
    assert last.opcode == CLOSE
    return last.code


def over(client: RawClient) -> bool:
    """Whether the server has ended the connection."""
    client.read()
    return client.ended


class TestBounds:
    async def test_a_frame_is_refused_by_its_head(self) -> None:
        async with opened() as client:
            await client.write(frame(TEXT, length=1024 * 1024 + 1))
            assert (code(client), client.ended) == (1009, True)
            assert limit_hits()["ws_frame"] == 1

    async def test_a_message_is_refused_by_the_head_of_one_fragment_too_many(self) -> None:
        async with opened(WSLimits(message=10)) as client:
            await client.write(frame(TEXT, b"123456", fin=False))
            assert not client.read()
            await client.write(frame(CONTINUATION, length=5))
            assert code(client) == 1009
            assert limit_hits()["ws_message"] == 1

    async def test_an_absurd_length_at_once(self) -> None:
        async with opened() as client:
            await client.write(frame(TEXT, length=HUGE, size=8))
            assert code(client) == 1009

    async def test_what_came_before_is_served(self) -> None:
        async with opened() as client:
            await client.write(text("good"))
            await client.write(frame(TEXT, length=HUGE, size=8) + text("late"))
            assert [one.payload[:4] for one in frames(client.read())] == [b"good", (1009).to_bytes(2, "big") + b"ws"]

    async def test_empty_fragments_are_counted(self) -> None:
        async with opened() as client:
            await client.write(frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 255)
            assert not client.read()
            await client.write(frame(CONTINUATION, fin=False) * 1000)
            assert code(client) == 1008
            assert limit_hits()["ws_fragments"] == 1

    async def test_fragments_are_counted_by_message(self) -> None:
        async with opened() as client:
            for _ in range(3):
                await client.write(frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 254 + frame(CONTINUATION))
            assert len(list(frames(client.read()))) == 3

    @pytest.mark.parametrize("opcode", [PING, PONG])
    async def test_a_flood_of_control_frames(self, opcode: int, mock_clock: MockClock) -> None:
        async with opened() as client:
            await client.write(frame(opcode) * 50)
            mock_clock.jump(10.1)
            await client.write(frame(opcode) * 50)
            assert not any(one.opcode == CLOSE for one in frames(client.read()))
            await client.write(frame(opcode))
            assert code(client) == 1008
            assert limit_hits()["ws_control_frames"] == 1

    async def test_a_hundred_thousand_fragments_cost_no_memory(self) -> None:
        flood = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 100_000
        session = Session(WSLimits())
        pieces = cut(flood, 65_536)
        tracemalloc.start()
        for piece in pieces:
            session.feed(piece, 0.0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert session.close_code == 1008
        assert peak < 4 * 65_536


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    """Frames of all kinds, and where to cut them."""
    sizes = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536])
    opcodes = st.sampled_from([CONTINUATION, TEXT, CLOSE, PING, 3, 15])
    parts = draw(st.lists(st.tuples(opcodes, sizes, st.booleans(), st.booleans()), max_size=6))
    data = b"".join(frame(opcode, b"p" * size, fin=fin, mask=mask) for opcode, size, fin, mask in parts)
    return data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))


@given(streams())
def test_cuts_make_no_difference(case: tuple[bytes, list[int]]) -> None:
    data, cuts = case
    limits = WSLimits(frame=65_535, message=65_600, fragments=3, control_frames=2)
    at_once = Session(limits)
    messages = at_once.feed(data, 0.0)
    by_pieces = Session(limits)
    found: list[str | bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        found += by_pieces.feed(data[start:end], 0.0)
    assert found == messages
    assert (by_pieces.close_code, by_pieces.excess, by_pieces.out) == (at_once.close_code, at_once.excess, at_once.out)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_session(data: bytes) -> None:
    session = Session(WSLimits())
    session.feed(data, 0.0)
    assert session.close_code in (None, 1002, 1007, 1008, 1009) or session.peer_closed


def test_the_meter_passes_on_every_byte_that_it_allows() -> None:
    meter = Meter(WSLimits())
    data = text("x" * 70_000) + frame(PING, b"12") + frame(TEXT, length=HUGE, size=8) + b"behind"
    passed, excess = meter.feed(data, 0.0)
    assert data.startswith(passed)
    assert len(data) - len(passed) == len(b"behind")
    assert excess is not None


class TestTime:
    async def test_a_silent_client_is_pinged_and_cut_off(self, mock_clock: MockClock) -> None:
        async with opened() as client:
            await pass_time(mock_clock, 26)
            assert [one.opcode for one in frames(client.read())] == [PING]
            assert not over(client)
            await pass_time(mock_clock, 20)
            assert over(client)
            assert limit_hits()["ws_pong"] == 1

    async def test_a_client_that_answers_stays_until_it_is_idle(self, mock_clock: MockClock) -> None:
        async with opened() as client:
            for _ in range(11):
                await pass_time(mock_clock, 26)
                await client.write(frame(PONG))
            assert not over(client)
            await pass_time(mock_clock, 30)
            assert code(client) == 1001
            assert limit_hits()["ws_idle"] == 1

    async def test_who_waits_for_an_answer_is_not_idle(self, mock_clock: MockClock) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            async with websocket(request, reply) as one:
                one.busy = 1
                await one.receive()

        async with opened(handler=handler) as client:
            for _ in range(15):
                await pass_time(mock_clock, 26)
                await client.write(frame(PONG))
            assert not over(client)

    async def test_a_client_without_its_half_of_the_close_is_cut_off(self, mock_clock: MockClock) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            async with websocket(request, reply) as one:
                await one.receive()

        async with opened(handler=handler) as client:
            await client.write(text("enough"))
            assert code(client) == 1000
            assert not over(client)
            await pass_time(mock_clock, 6)
            assert over(client)
            assert limit_hits()["ws_close"] == 1

    async def test_messages_behind_our_close_are_read_by_nobody(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            async with websocket(request, reply) as one:
                await one.receive()

        async with opened(handler=handler) as client:
            await client.write(text("enough"))
            await client.write(text("late") + frame(PING) + close(1000))
            assert [one.opcode for one in frames(client.read())] == [CLOSE]
            assert over(client)


async def pass_time(clock: MockClock, seconds: float) -> None:
    """In steps, so that everybody who sleeps has a turn."""
    for _ in range(round(seconds)):
        clock.jump(1.0)
        await wait_all_tasks_blocked()


class TestHolder:
    async def test_a_slow_reader_makes_the_sender_wait(self) -> None:
        sent = 0

        async def handler(request: Request, reply: Reply) -> None:
            nonlocal sent
            async with websocket(request, reply) as one:
                while True:
                    await one.send(b"x" * 65_536)
                    sent += 1

        async with opened(handler=handler) as client:
            await wait_all_tasks_blocked()
            stuck = sent
            assert stuck * 65_536 < 4 * 1024 * 1024
            while sent < stuck + 20:
                client.read()
                await wait_all_tasks_blocked()

    async def test_a_reader_that_never_reads_is_cut_off(self, mock_clock: MockClock) -> None:
        ended: list[type[Exception]] = []

        async def handler(request: Request, reply: Reply) -> None:
            async with websocket(request, reply) as one:
                try:
                    while True:
                        await one.send(b"x" * 65_536)
                except ClientGone as gone:
                    ended.append(type(gone))
                    raise

        async with opened(WSLimits(pong_within=1000), handler=handler):
            await pass_time(mock_clock, 65)
            assert ended == [ClientGone]

    async def test_a_holder_that_fails_is_told_without_detail(self) -> None:
        async def handler(request: Request, reply: Reply) -> None:
            async with websocket(request, reply):
                raise RuntimeError("secret")

        async with opened(handler=handler) as client:
            assert code(client) == 1011
            assert b"secret" not in client.read()

    async def test_a_client_that_leaves_cancels_the_holder(self) -> None:
        cancelled = False

        async def handler(request: Request, reply: Reply) -> None:
            nonlocal cancelled
            async with websocket(request, reply):
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    cancelled = True
                    raise

        async with opened(handler=handler) as client:
            client.sock.close()
            await wait_all_tasks_blocked()
            assert cancelled

    async def test_a_drain_lets_what_is_under_way_end(self) -> None:
        drain = Drain()
        held: list[WebSocket] = []

        async def handler(request: Request, reply: Reply) -> None:
            async with websocket(request, reply) as one:
                held.append(one)
                while await one.receive() is not None:
                    raise AssertionError("nothing may begin")
                await one.send(b"the rest")

        async with opened(handler=handler, drain=drain) as client:
            drain.start()
            await wait_all_tasks_blocked()
            told = list(frames(client.read()))
            assert [one.payload for one in told[:-1]] == [b"the rest"]
            assert code(client) == 1001
            await client.write(close(1001))
            assert over(client)
        assert not drain.connections


KEY = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (handshake().replace(b"sec-websocket-version: 13", b"sec-websocket-version: 8"), 426),
        (handshake().replace(b"sec-websocket-version: 13\r\n", b""), 426),
        (handshake(b"/", b"sec-websocket-version: 13"), 426),
        (handshake().replace(b"connection: Upgrade", b"connection: keep-alive"), 426),
        (handshake().replace(b"upgrade: websocket\r\n", b""), 426),
        (handshake().replace(b"upgrade: websocket", b"upgrade: websocket2"), 426),
        (handshake().replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\ncontent-length: 0\r\n\r\n"), 426),
        (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
        (handshake().replace(KEY + b"\r\n", b""), 400),
        (handshake().replace(KEY, b"sec-websocket-key: "), 400),
        (handshake().replace(KEY, b"sec-websocket-key: dGhlIHNhbXBsZSBub25j"), 400),
        (handshake().replace(KEY, b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ"), 400),
        (handshake().replace(KEY, b"sec-websocket-key: !!!!IHNhbXBsZSBub25jZQ=="), 400),
        (handshake(b"/", KEY), 400),
    ],
)
async def test_what_is_no_handshake(request_: bytes, status: int) -> None:
    async with served(echo) as client:
        await client.write(request_)
        assert client.statuses() == (status,)
        head = client.read().lower()
        assert (b"\r\nupgrade: websocket\r\n" in head) == (status == 426)
        assert (b"\r\nsec-websocket-version: 13\r\n" in head) == (status == 426)


async def test_a_handshake_with_a_body_is_no_handshake() -> None:
    async with served(echo) as client:
        await client.write(handshake(b"/", b"content-length: 4") + b"body")
        assert client.statuses() == (400,)
