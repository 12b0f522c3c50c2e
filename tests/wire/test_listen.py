"""Listening and accepting: addresses, socket options, caps, and a process without descriptors."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fastanchor.wire import Drain, Reply, Request, ServerLimits, bind, serve
from fastanchor.wire.hits import limit_hits
from fastanchor.wire.link import Link
from fastanchor.wire.listen import peer_name, split_address
from fastanchor.wire.reactor import reactor
from tests.kit.wires import Recorder

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def exchange(where: object, family: int = socket.AF_INET) -> bytes:
    """One request on a connection of its own; the whole answer."""
    with trio.socket.socket(family) as sock:
        await sock.connect(where)
        await sock.send(GET)
        return await sock.recv(65536)


class TestBind:
    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
    async def test_tcp(self, host: str) -> None:
        with bind(f"{host}:0") as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener, Recorder())
                answer = await exchange(listener.getsockname()[:2], listener.family)
                nursery.cancel_scope.cancel()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")

    async def test_unix(self, tmp_path: Path) -> None:
        path = str(tmp_path / "sock")
        peers: list[str] = []

        async def handler(request: Request, reply: Reply) -> None:
            peers.append(request.peer)
            await reply.respond(200, [], b"")

        with bind(f"unix:{path}") as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener, handler)
                assert b" 200 " in await exchange(path, socket.AF_UNIX)
                nursery.cancel_scope.cancel()
        assert peers == ["unix"]

    def test_a_unix_socket_that_nobody_listens_on_is_replaced(self, tmp_path: Path) -> None:
        address = f"unix:{tmp_path / 'sock'}"
        bind(address).close()
        bind(address).close()

    def test_a_unix_socket_in_use_is_not_taken(self, tmp_path: Path) -> None:
        address = f"unix:{tmp_path / 'sock'}"
        with bind(address), pytest.raises(OSError, match="in use"):
            bind(address)

    def test_a_file_is_not_taken(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("precious")
        with pytest.raises(OSError, match="in use"):
            bind(f"unix:{path}")
        assert path.read_text() == "precious"

    def test_a_port_in_use_is_an_error(self) -> None:
        with bind("127.0.0.1:0") as first, pytest.raises(OSError, match="in use"):
            bind(f"127.0.0.1:{first.getsockname()[1]}")

    @pytest.mark.parametrize(
        ("address", "split"),
        [("h:1", ("h", 1)), ("[::1]:80", ("::1", 80)), ("0.0.0.0:65535", ("0.0.0.0", 65535)), ("h:0", ("h", 0))],
    )  # fmt: skip
    def test_addresses(self, address: str, split: tuple[str, int]) -> None:
        assert split_address(address) == split

    @pytest.mark.parametrize(
        "address", ["", "h", ":80", "h:", "h:x", "h:-1", "h:+1", "h:1_0", "h:65536", "::1:80", "[::1]", "h:\u0661"]
    )
    def test_addresses_that_are_none(self, address: str) -> None:
        with pytest.raises(ValueError, match=r"expected host:port|needs brackets"):
            split_address(address)

    @pytest.mark.parametrize(
        ("family", "address", "name"),
        [
            (socket.AF_INET, ("1.2.3.4", 5), "1.2.3.4:5"),
            (socket.AF_INET6, ("::1", 5, 0, 0), "[::1]:5"),
            (socket.AF_UNIX, "", "unix"),
        ],
    )
    def test_names_of_peers(self, family: int, address: object, name: str) -> None:
        assert peer_name(family, address) == name


async def test_accepted_sockets_send_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP_NODELAY, without which a small answer may wait 40 ms for an acknowledgement; also for a client that
    connected before anybody accepted."""
    options: list[int] = []
    make = Link.__init__

    def noting(self: Link, sock: socket.socket) -> None:
        options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        make(self, sock)

    monkeypatch.setattr(Link, "__init__", noting)
    with bind("127.0.0.1:0") as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener, Recorder())
            await exchange(listener.getsockname())
            nursery.cancel_scope.cancel()
    assert options == [1]


async def test_connections_over_the_cap_wait_and_are_then_served() -> None:
    go_on = trio.Event()
    active = most = 0

    async def handler(request: Request, reply: Reply) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await go_on.wait()
        active -= 1
        await reply.respond(200, [(b"x-last", b"1")], b"")

    answers: list[bytes] = []

    async def one() -> None:
        answers.append(await exchange(listener.getsockname()))

    with bind("127.0.0.1:0") as listener, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(listener, handler, limits=ServerLimits(connections=3)))
            async with trio.open_nursery() as callers:
                for _ in range(9):
                    callers.start_soon(one)
                await wait_all_tasks_blocked(0.02)
                assert active == 3
                go_on.set()
            nursery.cancel_scope.cancel()
    assert most == 3
    assert len(answers) == 9
    assert all(b" 200 " in answer for answer in answers)


async def test_hoarders_of_kept_connections_make_room() -> None:
    """All places are taken by clients who only might ask again: a newcomer is served when their time is up."""
    limits = ServerLimits(connections=10, pressed_idle=0.2)
    with bind("127.0.0.1:0") as listener, trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(listener, Recorder(), limits=limits))
            hoard = [await trio.open_tcp_stream(*listener.getsockname()) for _ in range(10)]
            for stream in hoard:
                await stream.send_all(GET)
                assert b" 200 " in await stream.receive_some()
            assert b" 200 " in await exchange(listener.getsockname())
            nursery.cancel_scope.cancel()
        for stream in hoard:
            await stream.aclose()
    assert limit_hits()["pressed_idle"] >= 1


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """A process that may open only a few more descriptors than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def no_descriptors() -> Iterator[list[socket.socket]]:
    """Take every descriptor that is left; they are given back at the end."""
    hoard: list[socket.socket] = []
    with contextlib.suppress(OSError):
        while True:
            hoard.append(socket.socket())
    yield hoard
    for sock in hoard:
        sock.close()


async def test_running_out_of_descriptors(few_descriptors: None, caplog: pytest.LogCaptureFixture) -> None:
    """Newcomers are told, those who are served go on, the log stays quiet, and accepting resumes when it can."""
    with bind("127.0.0.1:0") as listener, trio.fail_after(30):
        where = listener.getsockname()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener, Recorder())
            first = socket.create_connection(where)
            first.sendall(GET)
            await wait_all_tasks_blocked(0.02)
            turned_away = 0
            with no_descriptors() as spare:
                for _ in range(20):
                    spare.pop().close()
                    with socket.create_connection(where) as late:  # in the last place there was
                        late.sendall(GET)
                        late.setblocking(False)
                        await trio.lowlevel.wait_readable(late)
                        answer = late.recv(65536)
                    spare.append(socket.socket())
                    turned_away += answer.startswith(b"HTTP/1.1 503 ") and b"\r\nconnection: close\r\n" in answer
                assert b"\r\nretry-after: 1\r\n" in answer
                first.sendall(GET)
                await wait_all_tasks_blocked(0.02)
                assert first.recv(65536).count(b"HTTP/1.1 200") == 2
            assert turned_away == limit_hits()["descriptors"] == 20
            assert b" 200 " in await exchange(where)
            first.close()
            nursery.cancel_scope.cancel()
    records = [record for record in caplog.records if "cannot accept" in record.message]
    assert 1 <= len(records) <= 3
    assert all(record.levelno == logging.ERROR and record.exc_info is None for record in records)


async def test_a_drain_lets_a_newcomer_say_what_is_on_its_way(autojump_clock: MockClock) -> None:
    drain = Drain()
    with bind("127.0.0.1:0") as listener, socket.socket() as talker, socket.socket() as silent:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(listener, Recorder(), drain=drain))
            for newcomer in (talker, silent):
                newcomer.connect(listener.getsockname())
                newcomer.setblocking(False)
            while len(drain.connections) < 2:  # noqa: ASYNC110 - until they have been accepted
                await trio.sleep(0.001)
            drain.start()
            talker.sendall(GET)
        assert talker.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert silent.recv(1) == b""


async def test_a_drained_listener_ends_with_its_last_connection() -> None:
    begun = trio.Event()
    go_on = trio.Event()

    async def handler(request: Request, reply: Reply) -> None:
        begun.set()
        await go_on.wait()
        await reply.respond(200, [], b"whole")

    drain = Drain()
    answers: list[bytes] = []

    async def one() -> None:
        answers.append(await exchange(listener.getsockname()))

    with bind("127.0.0.1:0") as listener, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(listener, handler, drain=drain))
            nursery.start_soon(one)
            await begun.wait()
            drain.start()
            go_on.set()
    assert len(answers) == 1
    assert b"connection: close" in answers[0]
    assert answers[0].endswith(b"whole")


async def test_a_cancelled_server_leaves_no_descriptor() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    with bind("127.0.0.1:0") as listener:
        reactor()  # has descriptors of its own, from its first use on
        before = count()
        for _ in range(3):
            clients: list[socket.socket] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener, Recorder())
                for _ in range(20):
                    client = socket.create_connection(listener.getsockname())
                    client.sendall(GET[:9])
                    clients.append(client)
                await trio.sleep(0.02)
                nursery.cancel_scope.cancel()
            for client in clients:
                client.close()
        assert count() == before
