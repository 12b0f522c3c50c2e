"""A flow between two socket pairs: what goes out, what wakes the reader, and where he then stands."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from fastanchor._speedups.http1 import BadMessage, ChunkDecoder, chunk
from fastanchor._speedups.pump import Flow
from fastanchor._speedups.reactor import Loop, Reactor

pytestmark = pytest.mark.skipif(Flow is None, reason="the pump is not built, or not wanted")

PLENTY = 1 << 30


def sleep(abort: object) -> Generator[object, Any, None]:
    yield abort


def through(data: bytes, odd: Callable[..., bytes]) -> bytes:
    """All is plain but what has a `!`."""
    return odd(data, None) if b"!" in data else data.upper()


class Rig:
    """A flow, the far ends of its sockets, and what it has done to its reader."""

    def __init__(self, *, chunked: bool = True, now: Callable[[], float] = lambda: 1.0) -> None:
        self.woken: list[object] = []
        self.odd: list[bytes] = []
        self.following: Any = None
        self.reactor: Any = Reactor(Loop(lambda: "me", self.woken.append, sleep, "aborted", RuntimeError))  # type: ignore[arg-type]
        self.provider, source = socket.socketpair()
        self.client, sink = socket.socketpair()
        self.sockets = [self.provider, source, self.client, sink]
        for one in self.sockets:
            one.setblocking(False)
        self.source: Any = self.reactor.add(source.fileno())
        self.sink: Any = self.reactor.add(sink.fileno())
        self.reactor.drain()
        self.kept: list[bytes] = []
        self.decoder = ChunkDecoder()
        self.flow = Flow(self.source, self.decoder, self.sink, chunked, lambda: self.following, now)

    def judge(self, data: bytes, _: object) -> bytes:
        self.odd.append(data)
        return b"<odd>"

    def open(self, room: int = PLENTY) -> None:
        self.flow.open((through, self.judge), self.kept, room)
        self.source.reader = "reader"

    def arrive(self, *raw: bytes) -> None:
        """Bytes come from the provider, one write each, and the reactor takes them."""
        for piece in raw:
            self.provider.send(piece)
            self.happen()

    def happen(self) -> None:
        while self.reactor.drain():
            pass

    def got(self) -> bytes:
        """What has arrived at the client."""
        data = b""
        try:
            while piece := self.client.recv(1 << 20):
                data += piece
        except BlockingIOError:
            pass
        return data

    def close(self) -> None:
        for handle in (self.source, self.sink):
            handle.forget()
        for one in self.sockets:
            one.close()
        self.reactor.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    one = Rig()
    yield one
    one.close()


def test_plain_bytes_are_carried_while_the_reader_sleeps_on(rig: Rig) -> None:
    rig.open()
    rig.arrive(chunk(b"one"), chunk(b"two") + chunk(b"three"))
    assert rig.got() == chunk(b"ONE") + chunk(b"TWOTHREE")
    assert (rig.woken, rig.kept, rig.flow.size) == ([], [b"ONE", b"TWOTHREE"], 11)


def test_a_body_that_is_not_chunked_goes_out_bare() -> None:
    rig = Rig(chunked=False)
    try:
        rig.open()
        rig.arrive(chunk(b"one"))
        assert rig.got() == b"ONE"
    finally:
        rig.close()


def test_bytes_that_make_nothing_send_nothing(rig: Rig) -> None:
    rig.open()
    rig.arrive(b"5", b"\r\n")
    assert (rig.got(), rig.woken) == (b"", [])
    rig.arrive(b"ab", b"cde\r\n")
    assert rig.got() == chunk(b"AB") + chunk(b"CDE")


def test_what_is_odd_is_judged_and_the_next_middle_asked_for(rig: Rig) -> None:
    rig.open()
    rig.following = (lambda data, odd: b"<" + data + b">", rig.judge)
    rig.arrive(chunk(b"a!"), chunk(b"b"))
    assert (rig.odd, rig.woken) == ([b"a!"], [])
    assert rig.got() == chunk(b"<odd>") + chunk(b"<b>")


def test_the_reader_wakes_where_no_middle_follows_and_the_flow_is_over(rig: Rig) -> None:
    rig.open()
    rig.arrive(chunk(b"a!"), chunk(b"b"))
    assert (rig.woken, rig.got()) == (["reader"], chunk(b"<odd>"))
    assert rig.source.recv() == chunk(b"b")


def test_the_reader_wakes_at_the_end_of_the_body(rig: Rig) -> None:
    rig.open()
    rig.arrive(chunk(b"a") + b"0\r\n\r\nmore")
    assert rig.woken == ["reader"]
    assert (rig.decoder.done, rig.decoder.rest) == (True, b"more")
    assert rig.got() == chunk(b"A")


@pytest.mark.parametrize("reset", [False, True])
def test_the_end_of_the_source_is_left_for_the_reader_to_find(rig: Rig, *, reset: bool) -> None:
    rig.open()
    if reset:  # a unix socket is reset when it is closed with something unread
        rig.source.send(b"unread")
    rig.provider.close()
    rig.happen()
    assert rig.woken == ["reader"]
    assert rig.source.readable
    assert rig.source.recv() == b""


def test_a_broken_framing_is_raised_when_the_flow_is_closed(rig: Rig) -> None:
    rig.open()
    rig.arrive(chunk(b"a"), b"zz\r\n")
    assert (rig.woken, rig.got()) == (["reader"], chunk(b"A"))
    with pytest.raises(BadMessage):
        rig.flow.close()
    rig.flow.close()


def test_a_mistake_in_the_judgement_is_raised_when_the_flow_is_closed(rig: Rig) -> None:
    rig.open()
    rig.following = None
    rig.flow.close()
    rig.flow.open((lambda data, odd: odd(data), rig.judge), None, PLENTY)  # one argument too few
    rig.arrive(chunk(b"a"))
    assert rig.woken == ["reader"]
    with pytest.raises(TypeError):
        rig.flow.close()


def test_what_the_client_does_not_take_is_the_readers(rig: Rig) -> None:
    rig.open()
    sent = b"x" * 50_000
    for _ in range(100):
        if not rig.woken:
            rig.arrive(chunk(sent))
    assert rig.woken == ["reader"]
    assert rig.flow.rest
    framed = b"".join(chunk(piece) for piece in rig.kept)
    assert rig.got() + rig.flow.rest == framed


def test_a_client_that_is_gone_leaves_all_to_the_reader(rig: Rig) -> None:
    rig.open()
    rig.client.close()
    rig.arrive(chunk(b"a"))
    assert (rig.woken, rig.flow.rest) == (["reader"], chunk(b"A"))


def test_the_reader_wakes_when_the_room_is_used_up(rig: Rig) -> None:
    rig.open(room=5)
    rig.arrive(chunk(b"abcde"))
    assert rig.woken == []
    rig.arrive(chunk(b"f"))
    assert (rig.woken, rig.flow.size, rig.got()) == (["reader"], 6, chunk(b"ABCDE") + chunk(b"F"))


def test_without_a_sleeping_reader_nothing_is_taken(rig: Rig) -> None:
    """Somebody else has woken him: what comes now is his."""
    rig.open()
    rig.source.reader = None
    rig.arrive(chunk(b"a"))
    assert (rig.got(), rig.woken) == (b"", [])
    assert rig.source.recv() == chunk(b"a")


def test_a_closed_flow_takes_nothing(rig: Rig) -> None:
    rig.open()
    rig.flow.close()
    rig.arrive(chunk(b"a"))
    assert (rig.woken, rig.got()) == (["reader"], b"")


def test_since_is_when_the_last_bytes_came() -> None:
    moments = iter(range(10))
    rig = Rig(now=lambda: float(next(moments)))
    try:
        rig.open()
        assert rig.flow.since == 0.0
        rig.arrive(chunk(b"a"))
        assert rig.flow.since == 1.0
        rig.sink.send(b"")
        rig.happen()
        assert rig.flow.since == 1.0
    finally:
        rig.close()


def test_a_fast_source_gets_one_receive_per_event(rig: Rig) -> None:
    """So that others have their turn between them."""
    data = chunk(b"x" * 300_000)
    rig.provider.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    rig.sockets[3].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    rig.open()
    assert rig.provider.send(data) == len(data)
    taken = [rig.reactor.drain()]
    while taken[-1]:
        taken.append(rig.reactor.drain())
    assert sum(taken) >= len(data) // 65536
    assert b"".join(rig.kept) == b"X" * 300_000


def test_a_number_that_was_given_out_again_is_another_socket(rig: Rig) -> None:
    """Events of a descriptor that was closed do not reach the flow of its successor."""
    rig.open()
    rig.provider.send(chunk(b"old"))
    number = rig.source.fd
    rig.source.forget()
    theirs, ours = socket.socketpair()
    with theirs, ours:
        os.dup2(ours.fileno(), number)  # closes the old one, and takes its number
        rig.source = rig.reactor.add(number)
        flow = Flow(rig.source, ChunkDecoder(), rig.sink, True, lambda: None, lambda: 1.0)
        flow.open((through, rig.judge), None, PLENTY)
        rig.source.reader = "successor"
        rig.happen()
        assert (rig.woken, rig.got()) == ([], b"")
        theirs.send(chunk(b"new"))
        rig.happen()
        assert rig.got() == chunk(b"NEW")


def test_lingering_carries_and_leaves_the_descriptor_readable_for_who_was_woken(rig: Rig) -> None:
    rig.open()
    rig.provider.send(chunk(b"a"))
    rig.reactor.linger()
    assert (rig.got(), rig.woken) == (chunk(b"A"), [])
    rig.happen()  # that the client has made room
    assert not select.select([rig.reactor.fileno()], [], [], 0)[0]
    rig.provider.send(chunk(b"b!"))
    rig.reactor.linger()
    assert (rig.got(), rig.woken) == (chunk(b"<odd>"), ["reader"])
    assert select.select([rig.reactor.fileno()], [], [], 0)[0]
    rig.happen()
    assert not select.select([rig.reactor.fileno()], [], [], 0)[0]


def test_one_event_is_nothing_to_linger_for_and_several_are(rig: Rig) -> None:
    rig.open()
    rig.provider.send(chunk(b"a"))
    rig.reactor.drain()
    assert (rig.got(), rig.reactor.flowing) == (chunk(b"A"), False)
    rig.happen()
    rig.provider.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    rig.provider.send(chunk(b"x" * 100_000))  # more than one receive takes
    rig.reactor.drain()
    assert rig.reactor.flowing
