"""Who is counted for what, and when one address has enough; and the same on a listener."""

from __future__ import annotations

import socket

import pytest
import trio

from fastanchor.wire import Drain, ServerLimits, bind, serve
from fastanchor.wire.crowd import TRACKED, Crowd, origin
from fastanchor.wire.hits import limit_hits
from tests.kit.wires import Recorder

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
A, B = b"aaaa", b"bbbb"


@pytest.mark.parametrize(
    ("family", "host", "who"),
    [
        (socket.AF_INET, "192.0.2.1", bytes((192, 0, 2, 1))),
        (socket.AF_INET, "127.0.0.1", b""),
        (socket.AF_INET, "127.8.9.10", b""),
        (socket.AF_INET6, "::1", b""),
        (socket.AF_INET6, "2001:db8:1:2:3:4:5:6", bytes.fromhex("20010db800010002")),
        (socket.AF_INET6, "2001:db8:1:2::", bytes.fromhex("20010db800010002")),
        (socket.AF_INET6, "fe80::1%lo", bytes.fromhex("fe80000000000000")),
        (socket.AF_UNIX, "", b""),
    ],
)
def test_whom_a_peer_counts_for(family: int, host: str, who: bytes) -> None:
    assert origin(family, host) == who


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")])
def test_loopback_can_be_counted(family: int, host: str) -> None:
    assert origin(family, host, loopback_exempt=False)


def test_so_many_at_once_and_one_more_when_one_leaves() -> None:
    crowd = Crowd(at_once=3, per_second=0)
    assert [crowd.enter(A, 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert crowd.enter(B, 0.0)
    crowd.leave(A)
    assert [crowd.enter(A, 0.0) for _ in range(2)] == [True, False]


def test_so_many_in_one_second_whether_they_stay_or_not() -> None:
    crowd = Crowd(at_once=0, per_second=2)
    for second in (5.0, 6.5):
        for _ in range(2):
            assert crowd.enter(A, second)
            crowd.leave(A)
        assert not crowd.enter(A, second)
        assert crowd.enter(B, second)


def test_no_bounds() -> None:
    crowd = Crowd(at_once=0, per_second=0)
    assert all(crowd.enter(A, 0.0) for _ in range(1000))


def test_who_is_exempt_is_never_counted() -> None:
    crowd = Crowd(at_once=1, per_second=1)
    assert all(crowd.enter(b"", 0.0) for _ in range(10))
    crowd.leave(b"")
    assert len(crowd) == 0


def test_nothing_is_kept_of_those_who_left() -> None:
    crowd = Crowd(at_once=3, per_second=64)
    for number in range(1000):
        who = number.to_bytes(4, "big")
        assert crowd.enter(who, number / 10)
        crowd.leave(who)
    assert len(crowd) == 0


def test_a_second_with_very_many_addresses_is_remembered_in_part() -> None:
    crowd = Crowd(at_once=0, per_second=1)
    early = b"early"
    assert crowd.enter(early, 0.0)
    assert all(crowd.enter(number.to_bytes(4, "big"), 0.0) for number in range(2 * TRACKED))
    assert not crowd.enter(early, 0.0)
    assert crowd.enter((2 * TRACKED - 1).to_bytes(4, "big"), 0.0)


async def answered(where: tuple[str, int], source: str) -> tuple[socket.socket, bool]:
    """A connection from `source`, and whether a request on it was answered."""
    sock = socket.create_connection(where, source_address=(source, 0))
    sock.setblocking(False)
    try:
        sock.send(GET)
        await trio.lowlevel.wait_readable(sock)
        return sock, b" 200 " in sock.recv(65536)
    except OSError:
        return sock, False


async def test_one_address_has_enough_and_others_come_in() -> None:
    limits = ServerLimits(connections_per_address=3, connections_per_address_per_second=0, loopback_exempt=False)
    recorder = Recorder()
    drain = Drain()
    with bind("127.0.0.1:0") as listener, trio.fail_after(60):
        where = listener.getsockname()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(listener, recorder, limits=limits, drain=drain))
            some = [await answered(where, "127.0.0.2") for _ in range(5)]
            other = await answered(where, "127.0.0.3")
            assert [ok for _, ok in some] == [True, True, True, False, False]
            assert other[1]
            assert len(recorder.requests) == 4
            assert limit_hits()["connections_per_address"] == 2
            some[0][0].close()
            while len(drain.connections) > 3:  # noqa: ASYNC110 - until the server has seen that
                await trio.sleep(0.001)
            again = await answered(where, "127.0.0.2")
            assert again[1]
            nursery.cancel_scope.cancel()
        for sock, _ in (*some, other, again):
            sock.close()


async def test_loopback_is_let_in_uncounted() -> None:
    limits = ServerLimits(connections_per_address=1, connections_per_address_per_second=1)
    with bind("127.0.0.1:0") as listener, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(listener, Recorder(), limits=limits))
            some = [await answered(listener.getsockname(), "127.0.0.1") for _ in range(5)]
            assert all(ok for _, ok in some)
            nursery.cancel_scope.cancel()
        for sock, _ in some:
            sock.close()
