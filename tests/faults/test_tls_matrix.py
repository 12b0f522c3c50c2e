"""What can be wrong with an upstream's TLS, over real sockets: each fault × {stream, plain} × {with, without another
channel} × {HTTP/2 offered, HTTP/1.1 only}.

Hidden where there is another channel; else told as 502 within seconds. In no case does a request get out.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest
import trio

from fastanchor.core.route import Route
from fastanchor.wire.listen import bind
from tests.faults.test_matrix import SHORT, chat, good, text
from tests.kit.demo import demos
from tests.kit.gateway import channel, running, world
from tests.kit.http import Got, post
from tests.kit.secure import Secure, secure

PATH = "/v1/chat/completions"
PROTOCOLS = ("h2", "http/1.1")
BELIEVED = secure(*PROTOCOLS)
HASTY = replace(SHORT, connect=0.4)
SOON = HASTY.connect + 20.0
"""Seconds for any of these faults to be seen and told, on a very busy machine."""

Asked = list[bytes]
Server = Callable[[Asked], AbstractAsyncContextManager[int]]
"""An upstream with a fault: its port, and what it gets to read of requests."""


def showing(make: Callable[[], Secure]) -> Server:
    """A demo provider with another certificate."""

    @asynccontextmanager
    async def server(asked: Asked) -> AsyncIterator[int]:
        async with demos(1, tls=make().server) as (one,):
            yield one.port
            asked += [b"a request"] * one.player.count

    return server


def saying(answer: Callable[[trio.SocketStream, Asked], Awaitable[None]]) -> Server:
    """A listener that does something else than TLS."""

    @asynccontextmanager
    async def server(asked: Asked) -> AsyncIterator[int]:
        async def one(stream: trio.SocketStream) -> None:
            async with stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await answer(stream, asked)

        with bind("127.0.0.1:0") as listener:
            taken = trio.SocketListener(trio.socket.from_stdlib_socket(listener.dup()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, one, [taken])
                yield listener.getsockname()[1]
                nursery.cancel_scope.cancel()

    return server


async def broken_off(stream: trio.SocketStream, asked: Asked) -> None:
    """The client's hello, and the end."""
    await stream.receive_some()


async def reset(stream: trio.SocketStream, asked: Asked) -> None:
    await stream.receive_some()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def half_a_hello(stream: trio.SocketStream, asked: Asked) -> None:
    await stream.receive_some()
    await stream.send_all(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03")


async def refused(stream: trio.SocketStream, asked: Asked) -> None:
    """A fatal alert: handshake_failure."""
    await stream.receive_some()
    await stream.send_all(b"\x15\x03\x03\x00\x02\x02\x28")


async def silent(stream: trio.SocketStream, asked: Asked) -> None:
    await trio.sleep_forever()


async def in_clear(stream: trio.SocketStream, asked: Asked) -> None:
    """A server that does not know TLS."""
    asked.append(await stream.receive_some())
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


FAULTS: dict[str, Server] = {
    "expired": showing(lambda: secure(*PROTOCOLS, expired=True)),
    "another name": showing(lambda: secure(*PROTOCOLS, name="other.example")),
    "unknown authority": showing(lambda: secure(*PROTOCOLS, known=False)),
    "broken off": saying(broken_off),
    "reset": saying(reset),
    "half a hello": saying(half_a_hello),
    "refused": saying(refused),
    "silent": saying(silent),
    "in clear": saying(in_clear),
}


@pytest.mark.parametrize("http2", ["auto", "off"])
@pytest.mark.parametrize("fallback", [True, False], ids=["fallback", "alone"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_tls_fault_lets_a_request_out(fault: str, stream: bool, fallback: bool, http2: str) -> None:
    asked: Asked = []
    async with demos(1) as (spare,), FAULTS[fault](asked) as port:
        channels = [channel(f"https://localhost:{port}", name="main", timeouts=HASTY, http2=http2)]
        channels += [spare.channel("spare", tier=1)] if fallback else []
        async with running(world(*channels, routes=(Route(),)), tls=BELIEVED) as gateway:
            with trio.fail_after(SOON):
                got = await post(gateway.port, PATH, chat(stream=stream), tls=BELIEVED.client)
            (receipt,) = await gateway.settled()
    check(got, stream=stream, fallback=fallback)
    assert receipt.attempts[0].outcome in ("tls_failed", "connect_timeout")
    assert sum(attempt.channel == "main" for attempt in receipt.attempts) == 1
    assert all(hello.startswith(b"\x16\x03") for hello in asked)  # TLS, and no word of the request


def check(got: Got, *, stream: bool, fallback: bool) -> None:
    if fallback:
        assert text(got, stream=stream) == good()
    else:
        assert (got.status, got.whole) == (502, True)
        error = got.json["error"]
        assert isinstance(error, dict)
        assert error["code"] == "model_unavailable"


async def test_an_origin_in_clear_that_expects_tls_is_a_failure_like_any() -> None:
    async with demos(1, tls=secure("http/1.1").server) as (one,), demos(1) as (spare,):
        wrong = channel(f"http://127.0.0.1:{one.port}", name="main", timeouts=SHORT)
        async with running(world(wrong, spare.channel("spare", tier=1))) as gateway:
            got = await post(gateway.port, PATH, chat(stream=True))
    assert text(got, stream=True) == good()


@pytest.mark.parametrize("clean", [True, False], ids=["close_notify", "FIN"])
async def test_a_body_that_ends_with_its_connection_is_whole_only_with_close_notify(clean: bool) -> None:
    body = b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
    server = secure("http/1.1").server.context

    async def one(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server, server_side=True, https_compatible=not clean)
        await tls.receive_some()
        await tls.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
        await (tls if clean else stream).aclose()

    with bind("127.0.0.1:0") as listener:
        taken = trio.SocketListener(trio.socket.from_stdlib_socket(listener.dup()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, one, [taken])
            origin = f"https://localhost:{listener.getsockname()[1]}"
            only = channel(origin, name="main", timeouts=SHORT, http2="off")
            async with running(world(only, routes=(Route(attempts=1),)), tls=BELIEVED) as gateway:
                got = await post(gateway.port, PATH, chat(stream=False), tls=BELIEVED.client)
                (receipt,) = await gateway.settled()
            nursery.cancel_scope.cancel()
    assert (got.status, receipt.ending) == ((200, "done") if clean else (500, "truncated"))
