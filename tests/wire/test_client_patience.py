"""A reader's patience: a read that is given up can be taken up again, and the idle timeout still counts from the last
bytes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from fastanchor._speedups.http1 import parse_response
from fastanchor.wire.client_h1 import ClientConnection, Response
from fastanchor.wire.dial import Origin
from fastanchor.wire.errors import NothingYet, ReadTimeout
from fastanchor.wire.link import Link

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Owner:
    def __init__(self) -> None:
        self.back: list[bool] = []

    def take_back(self, connection: ClientConnection, *, reusable: bool) -> None:
        self.back.append(reusable)
        if not reusable:
            connection.link.close()


@asynccontextmanager
async def response() -> AsyncIterator[tuple[Response, socket.socket, Owner]]:
    ours, theirs = socket.socketpair()
    owner = Owner()
    head = parse_response(HEAD)
    assert head is not None
    with ours, theirs:
        connection = ClientConnection(Origin("http", "h", 80), Link(ours))
        got = Response(owner, connection, head, b"", reused=False, for_head=False)
        yield got, theirs, owner
        got.close()


async def test_a_read_that_was_given_up_is_taken_up_again(autojump_clock: MockClock) -> None:
    async with response() as (got, peer, owner):
        got.idle_timeout, got.patience = 60.0, 0.05
        peer.send(b"5\r\nhello\r\n3\r\nwo")
        assert await got.read() == b"hellowo"
        with pytest.raises(NothingYet):
            await got.read()
        with pytest.raises(NothingYet):
            await got.read()
        assert not owner.back
        peer.send(b"r\r\n0\r\n\r\n")
        assert await got.read() == b"r"
        assert await got.read() == b""
        assert owner.back == [True]


async def test_patience_does_not_lengthen_the_idle_timeout(autojump_clock: MockClock) -> None:
    async with response() as (got, _, owner):
        got.idle_timeout, got.patience = 0.7, 0.2
        began = trio.current_time()
        given_up = 0
        with pytest.raises(ReadTimeout):  # noqa: PT012
            while True:
                try:
                    await got.read()
                except NothingYet:
                    given_up += 1
        assert given_up >= 1
        assert 0.7 <= trio.current_time() - began < 2.0
        assert owner.back == [False]


async def test_bytes_start_the_idle_timeout_anew(autojump_clock: MockClock) -> None:
    async with response() as (got, peer, _):
        got.idle_timeout, got.patience = 0.6, 0.3
        with pytest.raises(NothingYet):
            await got.read()
        peer.send(b"1\r\na\r\n")
        assert await got.read() == b"a"
        began = trio.current_time()
        with pytest.raises(NothingYet):
            await got.read()
        with pytest.raises(ReadTimeout):
            await got.read()
        assert trio.current_time() - began >= 0.6
