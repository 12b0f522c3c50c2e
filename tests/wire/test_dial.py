"""Getting a connection: addresses, names, unix sockets, TLS, and how each of them fails."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock

from fastanchor.wire import (
    ConnectFailed,
    ConnectTimeout,
    Origin,
    Pool,
    TLSFailed,
    Truncated,
    bind,
    dial,
    serve,
)
from tests.kit.raw_upstream import read_request
from tests.kit.wires import Recorder

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def tls_server(
    authority: trustme.CA, answer: bytes, *names: str, clean: bool = True
) -> AsyncIterator[tuple[int, list[str | None]]]:
    """(port, the server names that clients asked for); every connection gets `answer` and is ended."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def one(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True)
        try:
            await read_request(secured)
            await secured.send_all(answer)
            if clean:
                await secured.aclose()
            else:
                await stream.aclose()
        except trio.BrokenResourceError:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, one, listeners)
        yield listeners[0].socket.getsockname()[1], asked
        nursery.cancel_scope.cancel()


async def fetch(pool: Pool, origin: Origin, within: float = 5) -> bytes:
    response = await pool.request(origin, b"GET", b"/", [], connect_timeout=within, first_byte_timeout=5)
    with response:
        return await response.read_all(1 << 24)


class TestPlain:
    async def test_upstream_sockets_send_at_once(self) -> None:
        with bind("127.0.0.1:0") as listener:
            link = await dial.Dialer().dial(Origin("http", "127.0.0.1", listener.getsockname()[1]), 5)
            assert link.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            link.close()

    async def test_a_unix_socket(self, tmp_path: Path) -> None:
        path = str(tmp_path / "sock")
        with bind(f"unix:{path}") as listener, Pool() as pool:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener, Recorder(b"here"))
                assert await fetch(pool, Origin("http", path, 0)) == b"here"
                nursery.cancel_scope.cancel()

    async def test_a_unix_socket_that_is_not_there(self, tmp_path: Path) -> None:
        with Pool() as pool, pytest.raises(ConnectFailed):
            await fetch(pool, Origin("http", str(tmp_path / "sock"), 0))

    async def test_ipv6(self) -> None:
        with bind("[::1]:0") as listener, Pool() as pool:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener, Recorder(b"six"))
                assert await fetch(pool, Origin("http", "::1", listener.getsockname()[1])) == b"six"
                nursery.cancel_scope.cancel()

    async def test_a_connect_that_hangs(self, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
        async def hang(family: int, where: object) -> socket.socket:
            await trio.sleep_forever()
            raise AssertionError

        monkeypatch.setattr(dial, "connect", hang)
        with Pool() as pool:
            begun = trio.current_time()
            with pytest.raises(ConnectTimeout, match="within 3 s"):
                await fetch(pool, Origin("http", "127.0.0.1", 9), within=3)
            assert trio.current_time() - begun == pytest.approx(3)

    async def test_the_next_address_is_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with bind("127.0.0.1:0") as listener, Pool() as pool:
            port = listener.getsockname()[1]
            addresses = [(socket.AF_INET6, ("::1", port)), (socket.AF_INET, ("127.0.0.1", port))]
            monkeypatch.setattr(dial, "look_up", lambda host, port: addresses)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener, Recorder(b"four"))
                assert await fetch(pool, Origin("http", "two.example", port)) == b"four"
                nursery.cancel_scope.cancel()


class TestNames:
    async def test_a_name_that_does_not_resolve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(host: str, port: int) -> list[dial.Address]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(dial, "look_up", fail)
        with Pool() as pool, pytest.raises(ConnectFailed, match=r"cannot resolve no\.example: Name or service"):
            await fetch(pool, Origin("http", "no.example", 80))

    async def test_an_answer_is_kept_and_survives_a_failure_for_a_while(
        self, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = 0
        working = True

        def look_up(host: str, port: int) -> list[dial.Address]:
            nonlocal calls
            calls += 1
            if not working:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
            return [(socket.AF_INET, (f"127.0.0.{calls}", port))]

        monkeypatch.setattr(dial, "look_up", look_up)
        resolver = dial.Resolver()
        first = await resolver.resolve("h", 80)
        autojump_clock.jump(dial.FRESH_SECONDS - 1)
        assert await resolver.resolve("h", 80) == first
        assert calls == 1
        autojump_clock.jump(2)
        second = await resolver.resolve("h", 80)
        assert second != first
        working = False
        autojump_clock.jump(dial.FRESH_SECONDS + 1)
        assert await resolver.resolve("h", 80) == second
        autojump_clock.jump(dial.STALE_SECONDS)
        with pytest.raises(ConnectFailed):
            await resolver.resolve("h", 80)

    async def test_a_name_server_that_hangs_holds_up_no_other_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        release = threading.Event()

        def look_up(host: str, port: int) -> list[dial.Address]:
            if host.startswith("stuck"):
                release.wait(20)
            return [(socket.AF_INET, ("127.0.0.1", port))]

        monkeypatch.setattr(dial, "look_up", look_up)
        resolver = dial.Resolver()
        try:
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    for number in range(100):
                        nursery.start_soon(resolver.resolve, f"stuck-{number % 50}", 80)
                    await trio.sleep(0.05)
                    assert await resolver.resolve("free", 80)
                    nursery.cancel_scope.cancel()
        finally:
            release.set()


class TestTLS:
    async def test_a_trusted_server(self, authority: trustme.CA) -> None:
        async with tls_server(authority, OK, "localhost") as (port, asked):
            with Pool(ssl_context=trusting(authority)) as pool:
                assert await fetch(pool, Origin("https", "localhost", port)) == b"abc"
        assert asked == ["localhost"]

    async def test_a_large_body_both_ways(self, authority: trustme.CA) -> None:
        body = bytes(range(256)) * 20_000
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        async with tls_server(authority, answer, "localhost") as (port, _):
            with Pool(ssl_context=trusting(authority)) as pool, trio.fail_after(20):
                origin = Origin("https", "localhost", port)
                response = await pool.request(
                    origin, b"POST", b"/", [], b"y" * 300_000, connect_timeout=60, first_byte_timeout=60
                )
                with response:
                    assert await response.read_all(1 << 24) == body

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    async def test_the_wrong_name(self, authority: trustme.CA, host: str) -> None:
        async with tls_server(authority, OK, "other.example") as (port, _):
            with Pool(ssl_context=trusting(authority)) as pool, pytest.raises(TLSFailed, match="certificate of"):
                await fetch(pool, Origin("https", host, port))

    async def test_an_authority_that_is_not_trusted(self, authority: trustme.CA) -> None:
        async with tls_server(authority, OK, "localhost") as (port, _):
            with Pool() as pool, pytest.raises(TLSFailed, match="certificate of localhost"):
                await fetch(pool, Origin("https", "localhost", port))

    async def test_a_server_that_speaks_no_tls(self, authority: trustme.CA) -> None:
        with bind("127.0.0.1:0") as listener, Pool(ssl_context=trusting(authority)) as pool:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener, Recorder())
                with pytest.raises(TLSFailed):
                    await fetch(pool, Origin("https", "localhost", listener.getsockname()[1]))
                nursery.cancel_scope.cancel()

    async def test_a_handshake_that_hangs(self, authority: trustme.CA) -> None:
        with bind("127.0.0.1:0") as listener, Pool(ssl_context=trusting(authority)) as pool:
            origin = Origin("https", "127.0.0.1", listener.getsockname()[1])
            with pytest.raises(ConnectTimeout):
                await fetch(pool, origin, within=0.2)
            assert pool.counts(origin) == (0, 0, 0)

    @pytest.mark.parametrize("clean", [True, False])
    async def test_the_end_of_the_connection_counts_only_with_close_notify(
        self, authority: trustme.CA, clean: bool
    ) -> None:
        answer = b"HTTP/1.1 200 OK\r\n\r\nabc"
        async with tls_server(authority, answer, "localhost", clean=clean) as (port, _):
            with Pool(ssl_context=trusting(authority)) as pool:
                origin = Origin("https", "localhost", port)
                if clean:
                    assert await fetch(pool, origin) == b"abc"
                else:
                    with pytest.raises(Truncated):
                        await fetch(pool, origin)
