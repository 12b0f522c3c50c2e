"""Clients that mean harm, as a process of their own: `python -m tests.kit.attackers NAME PORT SECONDS`.

Each attack goes on for so many seconds, as hard as the machine lets a process of the lowest priority, and says in one
line what it came to. The key is `sk-test`; `calm` streams slowly and `flood` fast (see `tests.faults.test_sieges`).
Which ones there are is what `shared/reliability.md` asks for where an attack on it makes sense here: connections,
heads, bodies, readers, JSON, multipart, codings, keys, HTTP/2 frames and WebSocket frames.
"""

from __future__ import annotations

import gzip
import os
import resource
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count

import orjson
import trio

from tests.kit import h2_frames as h2
from tests.kit import websocket as ws

KEY = b"Host: h\r\nAuthorization: Bearer sk-test\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n" + KEY
MIB = 1024 * 1024
BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)

came: Counter[str] = Counter()
"""What the attack came to, by name."""


def asking(model: str, *, stream: bool = True, content: str = "Hello") -> bytes:
    return orjson.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": content}]})


def chat(body: bytes, *fields: bytes) -> bytes:
    more = b"".join(field + b"\r\n" for field in fields)
    return CHAT + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def connected(port: int, *, host: str = "127.0.0.1", small: bool = False) -> AsyncIterator[trio.SocketStream]:
    """A connection that ends with a reset, so that no port is left in TIME_WAIT; `small`: that takes little at once."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    try:
        await sock.connect((host, port))
        came["connected"] += 1
        yield trio.SocketStream(sock)
    finally:
        sock.close()


async def many(number: int, one: Callable[[], Awaitable[None]], ramp: float = 0.002) -> None:
    """So many at a time, each begun again when it has ended."""

    async def again() -> None:
        while True:
            try:
                await one()
            except BROKEN:
                came["cut off"] += 1
            await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(again)
            await trio.sleep(ramp)


async def answered(stream: trio.SocketStream) -> bytes:
    """The status line of an answer, counted; b"" at the end."""
    data = bytes(await stream.receive_some(65536))
    came[data[9:12].decode("latin-1") if data.startswith(b"HTTP/1.1 ") else "closed"] += 1
    return data


# -- connections ------------------------------------------------------------------------------------------------------


async def connect_only(port: int) -> None:
    """From an address that is not loopback's, where there is one: connections of such an address are counted."""

    async def one() -> None:
        async with connected(port, host=own_address()) as stream:
            await answered(stream)

    await many(2000, one)


def own_address() -> str:
    """An address of this machine that is not loopback, where there is one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.254", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


async def connect_and_close(port: int) -> None:
    async def one() -> None:
        async with connected(port):
            pass

    async with trio.open_nursery() as nursery:
        while True:
            for _ in range(20):
                nursery.start_soon(one)
            await trio.sleep(0.01)


async def half_handshakes(port: int) -> None:
    """A TLS record that never ends."""

    async def one() -> None:
        async with connected(port) as stream:
            await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00")
            await answered(stream)

    await many(2000, one)


async def hoard(port: int) -> None:
    """Connections that are kept for a next request which never comes."""

    async def one() -> None:
        async with connected(port) as stream:
            await stream.send_all(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
            await answered(stream)
            await stream.receive_some()

    await many(7000, one)


# -- slow ones --------------------------------------------------------------------------------------------------------


async def slow_heads(port: int) -> None:
    await many(5000, partial(trickle, port, b"GET / HTTP/1.1\r\nHost: h\r\nX-"), 0.001)


async def slow_bodies(port: int) -> None:
    await many(2000, partial(trickle, port, CHAT + b"Content-Length: 100000\r\n\r\n{"))


async def trickle(port: int, start: bytes) -> None:
    """Send `start`, and a byte every five seconds until the server has had enough."""
    async with connected(port) as stream:
        await stream.send_all(start)
        while True:
            with trio.move_on_after(5):
                await answered(stream)
                return
            await stream.send_all(b"x")


async def slow_readers(port: int) -> None:
    """Streams of which nothing is read after the first bytes."""

    async def one() -> None:
        async with connected(port, small=True) as stream:
            await stream.send_all(chat(asking("flood")))
            while True:
                await trio.sleep(10)
                if not await stream.receive_some(1):
                    return

    await many(2000, one, 0.02)


# -- requests that cost -----------------------------------------------------------------------------------------------


async def repeated(port: int, requests: list[bytes], clients: int) -> None:
    """These requests, over and over, on connections of so many clients."""

    async def one() -> None:
        for request in requests:
            async with connected(port) as stream:
                with suppress(*BROKEN):
                    await stream.send_all(request)
                await answered(stream)

    await many(clients, one)


async def large_bodies(port: int) -> None:
    """Good requests, each as large as the server takes, sent side by side at one pace."""
    body = asking("calm", stream=False, content="x" * (32 * MIB - 200))
    head = CHAT + b"Content-Length: %d\r\n\r\n" % len(body)

    async def one() -> None:
        async with connected(port) as stream:
            with suppress(*BROKEN):
                await stream.send_all(head)
                for at in range(0, len(body), MIB):
                    await stream.send_all(body[at : at + MIB])
            await answered(stream)

    await many(64, one)


async def hostile_json(port: int) -> None:
    start = b'{"model":"calm","messages":['
    bodies = [
        start + b"[" * 500_000 + b"]" * 500_000 + b"]}",
        start + b"]," + b",".join(b'"k%d":1' % i for i in range(100_000)) + b"}",
        start + b'],"n":' + b"9" * MIB + b"}",
        start + b'{"role":"user","content":"' + b"\\u0041" * (MIB // 6) + b'"}',
        start + b"1e999," * 10_000 + b"1]}",
    ]
    await repeated(port, [chat(body) for body in bodies], 16)


async def many_messages(port: int) -> None:
    messages = [{"role": "user", "content": "x"}] * 10_000
    await repeated(port, [chat(orjson.dumps({"model": "calm", "messages": messages}))], 4)


async def hostile_forms(port: int) -> None:
    """Ten thousand parts, a boundary of a mebibyte, a file name of one."""
    part = b'--b\r\nContent-Disposition: form-data; name="n%d"\r\n\r\nx\r\n'
    forms = [
        (b"b", b"".join(part % i for i in range(10_000)) + b"--b--\r\n"),
        (b"b" * 8000, b"--" + b"b" * MIB + b"\r\n\r\n"),
        (b"b", b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + b"x" * MIB + b'"\r\n\r\n--b--'),
    ]
    head = b"POST /v1/files HTTP/1.1\r\n" + KEY + b"Content-Type: multipart/form-data; boundary=%b\r\n"
    requests = [head % name + b"Content-Length: %d\r\n\r\n" % len(body) + body for name, body in forms]
    await repeated(port, requests, 8)


async def bombs(port: int) -> None:
    """Coded bodies that grow a thousandfold."""
    bomb = gzip.compress(bytes(16 * MIB))
    await repeated(port, [chat(bomb, b"Content-Encoding: gzip")], 16)


async def bad_requests(port: int) -> None:
    """What is no HTTP, on a connection each, and what is, on kept ones."""
    broken = [b"GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", b"\x16\x03\x01" + bytes(200), CHAT + b"\r\n{"]
    await repeated(port, broken, 32)


async def guessed_keys(port: int) -> None:
    numbers = count()

    async def one() -> None:
        async with connected(port) as stream:
            while True:
                key = b"Host: h\r\nAuthorization: Bearer sk-%d\r\n" % next(numbers)
                await stream.send_all(b"POST /v1/chat/completions HTTP/1.1\r\n" + key + b"Content-Length: 2\r\n\r\n{}")
                if not await answered(stream):
                    return

    await many(16, one)


# -- HTTP/2 -----------------------------------------------------------------------------------------------------------


async def h2_flood(port: int, connections: int, batch: Callable[[int], bytes], kind: str, most: int = 0) -> None:
    """`batch(n)`, fifty of `kind`, over and over, on so many connections until each is ended; `most` of them in all."""

    async def one() -> None:
        async with connected(port) as stream:
            await stream.send_all(h2.PREFACE + h2.settings())
            for number in count():
                if most and came[kind] >= most:
                    await trio.sleep_forever()
                await stream.send_all(batch(number))
                came[kind] += 50
                await trio.lowlevel.checkpoint()

    await many(connections, one)


def fifty(one: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Batches of fifty, made with the number of a stream of the client's each."""
    return lambda number: b"".join(one(2 * (50 * number + i) + 1) for i in range(50))


async def rapid_resets(port: int) -> None:
    await h2_flood(port, 10, fifty(lambda n: h2.headers(n) + h2.reset(n)), "resets", 1_000_000)


async def made_resets(port: int) -> None:
    await h2_flood(port, 10, fifty(lambda n: h2.headers(n) + h2.window(n, 2**31 - 1) * 2), "resets by the server")


async def h2_pings(port: int) -> None:
    await h2_flood(port, 10, fifty(lambda _: h2.frame(h2.PING, 0, 0, bytes(8))), "pings")


async def h2_settings(port: int) -> None:
    await h2_flood(port, 10, fifty(lambda _: h2.settings((3, 100))), "settings")


async def h2_empty_frames(port: int) -> None:
    head = h2.headers(1, h2.POST, h2.END_HEADERS)
    await h2_flood(port, 10, lambda n: (head if n == 0 else b"") + h2.data(1) * 50, "empty frames")


async def h2_continuations(port: int) -> None:
    start = h2.headers(1, h2.GET, 0)
    more = h2.frame(h2.CONTINUATION, 0, 1)
    await h2_flood(port, 10, lambda n: (start if n == 0 else b"") + more * 50, "continuations")


async def h2_bombs(port: int) -> None:
    """One long field, and then four thousand names of it in a header block."""
    field = b"\x40\x01a\x7f\x81\x1e" + b"x" * 4000
    block = h2.block(h2.GET) + field + b"\xbe" * 4000

    def bomb(number: int) -> bytes:
        return h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 2 * number + 1, block)

    await h2_flood(port, 10, bomb, "bombs")


async def h2_idle_streams(port: int) -> None:
    """A hundred requests on each connection, whose bodies never come."""
    head = (*h2.POST[:3], (b":path", b"/v1/chat/completions"), (b"authorization", b"Bearer sk-test"))
    opened = b"".join(h2.headers(2 * i + 1, head, h2.END_HEADERS) for i in range(100))

    async def one() -> None:
        async with connected(port) as stream:
            await stream.send_all(h2.PREFACE + h2.settings() + opened)
            came["streams"] += 100
            while await stream.receive_some(65536):
                pass

    await many(50, one)


async def h2_zero_windows(port: int) -> None:
    """Streams without a window to be sent through."""
    body = asking("flood")
    head = (*h2.POST[:3], (b":path", b"/v1/chat/completions"), (b"authorization", b"Bearer sk-test"))
    asked = b"".join(
        h2.headers(2 * i + 1, head, h2.END_HEADERS) + h2.data(2 * i + 1, body, h2.END_STREAM) for i in range(20)
    )

    async def one() -> None:
        async with connected(port) as stream:
            await stream.send_all(h2.PREFACE + h2.settings((4, 0)) + asked)
            came["streams"] += 20
            while await stream.receive_some(65536):
                pass

    await many(20, one)


# -- WebSocket --------------------------------------------------------------------------------------------------------


async def ws_flood(port: int, frames: bytes, kind: str) -> None:
    hello = ws.handshake(b"/v1/ws", b"authorization: Bearer sk-test")

    async def one() -> None:
        async with connected(port) as stream:
            await stream.send_all(hello)
            await answered(stream)
            while True:
                await stream.send_all(frames)
                came[kind] += 50
                await trio.lowlevel.checkpoint()

    await many(20, one)


async def ws_pings(port: int) -> None:
    await ws_flood(port, ws.frame(ws.PING) * 50, "pings")


async def ws_fragments(port: int) -> None:
    await ws_flood(port, ws.frame(ws.TEXT, fin=False) + ws.frame(ws.CONTINUATION, fin=False) * 49, "fragments")


async def ws_idle(port: int) -> None:
    hello = ws.handshake(b"/v1/ws", b"authorization: Bearer sk-test")

    async def one() -> None:
        async with connected(port) as stream:
            await stream.send_all(hello)
            await answered(stream)
            while await stream.receive_some(65536):
                pass

    await many(2000, one)


ATTACKS: tuple[Callable[[int], Awaitable[None]], ...] = (
    slow_heads, slow_bodies, slow_readers, connect_only, connect_and_close, half_handshakes, hoard, large_bodies,
    hostile_json, many_messages, hostile_forms, bombs, bad_requests, guessed_keys,
    rapid_resets, made_resets, h2_pings, h2_settings, h2_empty_frames, h2_continuations, h2_bombs, h2_idle_streams,
    h2_zero_windows, ws_pings, ws_fragments, ws_idle,
)  # fmt: skip


async def attack(one: Callable[[int], Awaitable[None]], port: int, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await one(port)


if __name__ == "__main__":
    os.nice(19)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = {one.__name__: one for one in ATTACKS}[sys.argv[1]]
    trio.run(attack, chosen, int(sys.argv[2]), float(sys.argv[3]))
    print(", ".join(f"{number} {name}" for name, number in sorted(came.items())))
