"""Hostile clients beside good ones: every good stream comes whole and in order, and the memory comes back.

The instance is a process of its own with short limits. Run with `-s` to see the figures.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson
import pytest
import trio

from fastanchor.lab.judge import text_of
from tests.kit.binary import Binary, fastanchor
from tests.kit.fire import children, until

CONFIG = """
[server]
auth = true
access_log = "off"

[server.limits]
head_seconds = 1.0
body_seconds = 1.0
body_grace_seconds = 1.0
write_stall_seconds = 1.0

[[keys]]
name = "dev"
key = "sk-test"

[[channels]]
name = "calm"
provider = "demo"
models = ["calm"]
headers = { x-demo-pace = "p25, ttft5", x-demo-fault = "n100" }

[[channels]]
name = "flood"
provider = "demo"
models = ["flood"]
headers = { x-demo-pace = "p0, ttft0", x-demo-fault = "n20000" }
"""
GOOD = 50
SPARE_BYTES = 16 * 1024 * 1024
"""What a process may keep of an attack, beside a tenth of what it had: arenas and caches."""
KEY = b"Host: h\r\nAuthorization: Bearer sk-test\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n" + KEY
HOSTILE_SIZES = (
    b"ffffffffffffffff", b"fffffffffffffffff", b"-1", b"+5", b"0x5", b" 5", b"5 ", b"", b"g", b"1_0", b"\xb2",
    b"80000000", b"5;" + b"x" * 300, b"0" * 400, b"7fffffff",
)  # fmt: skip


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Binary]:
    with fastanchor(tmp_path_factory.mktemp("attacked"), CONFIG) as binary:
        yield binary


@dataclass
class Good:
    """What the good clients got: bodies, and the longest wait for an event of each."""

    bodies: list[bytes] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


def asking(model: str) -> bytes:
    body = orjson.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
    return CHAT + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def good_client(port: int, good: Good) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(asking("calm"))
        got = b""
        longest = 0.0
        before = time.perf_counter()
        async for data in stream:
            now = time.perf_counter()
            longest = max(longest, now - before)
            before = now
            got += data
    good.bodies.append(unchunked(got))
    good.waits.append(longest)


def unchunked(answer: bytes) -> bytes:
    """The body of an answer in chunks, read strictly."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    body = b""
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line, 16)
        assert rest[size : size + 2] == b"\r\n"
        if not size:
            return body
        body += rest[:size]
        rest = rest[size + 2 :]


async def trickle(port: int, start: bytes, seen: list[bytes]) -> None:
    """Send `start`, then a byte now and then, until the server has had enough; then it is in `seen` what that said."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        try:
            await stream.send_all(start)
            while True:
                await stream.send_all(b"x")
                with trio.move_on_after(0.2):
                    seen.append(await stream.receive_some())
                    return
        except trio.BrokenResourceError:
            seen.append(b"")  # a client that is late itself finds a reset


def told(seen: list[bytes], count: int) -> str:
    """All `count` of them were cut off, with 408 where they listened."""
    listened = [said for said in seen if said]
    assert len(seen) == count
    assert len(listened) > count / 2
    assert all(said.startswith(b"HTTP/1.1 408 ") for said in listened)
    return f"{count} cut off, {len(listened)} read 408"


async def slow_heads(port: int) -> str:
    seen: list[bytes] = []
    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(trickle, port, b"GET / HTTP/1.1\r\nHost: ", seen)
    return told(seen, 500)


async def slow_bodies(port: int) -> str:
    seen: list[bytes] = []
    async with trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(trickle, port, CHAT + b"Content-Length: 100000\r\n\r\n{", seen)
    return told(seen, 300)


async def slow_readers(port: int) -> str:
    async def one() -> None:
        sock = trio.socket.socket()
        with sock:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await sock.connect(("127.0.0.1", port))
            await sock.send(asking("flood"))
            await trio.sleep(4)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one)
    return "20 readers of nothing"


async def connect_and_close(port: int) -> str:
    async def some() -> None:
        for _ in range(200):
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(some)
    return "2000 connections"


async def hostile_chunks(port: int) -> str:
    refused = 0

    async def one(size: bytes) -> None:
        nonlocal refused
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(CHAT + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n{")
            said = await stream.receive_some()
            assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")), (size, said)
            refused += 1

    for _ in range(20):
        async with trio.open_nursery() as nursery:
            for size in HOSTILE_SIZES:
                nursery.start_soon(one, size)
    return f"{refused} refused"


async def unknown_paths_and_keys(port: int) -> str:
    """4xx on kept connections, over and over."""
    bad = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-%d\r\nContent-Length: 2\r\n\r\n{}"
    refused = 0

    async def one(client: int) -> None:
        nonlocal refused
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for number in range(100):
                await stream.send_all(b"GET /v1/none/%d HTTP/1.1\r\n" % number + KEY + b"\r\n")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 404 ")
                await stream.send_all(bad % (client * 1000 + number))
                assert (await stream.receive_some()).startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 429 "))
                refused += 2

    async with trio.open_nursery() as nursery:
        for client in range(20):
            nursery.start_soon(one, client)
    return f"{refused} refused"


ATTACKS = [slow_heads, slow_bodies, slow_readers, connect_and_close, hostile_chunks, unknown_paths_and_keys]


def memory(instance: Binary) -> int:
    """Resident bytes of the workers."""
    return sum(
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in children(instance, "fa worker")
    )


async def good_ones(port: int, attack: Callable[[int], Awaitable[str]] | None) -> tuple[Good, str]:
    """The good clients' answers, with an attack beside them; what it came to."""
    good = Good()
    came_to = ""

    async def attacking() -> None:
        nonlocal came_to
        if attack is not None:
            came_to = await attack(port)

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for _ in range(GOOD):
                nursery.start_soon(good_client, port, good)
            await trio.sleep(0.1)
            nursery.start_soon(attacking)
    return good, came_to


@pytest.fixture(scope="module")
def calm(instance: Binary) -> tuple[Good, int]:
    """What good clients get when nobody attacks, and what the instance then holds."""
    return trio.run(good_ones, instance.port, None)[0], memory(instance)


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.__name__ for attack in ATTACKS])
def test_good_streams_come_whole_beside(
    attack: Callable[[int], Awaitable[str]], instance: Binary, calm: tuple[Good, int]
) -> None:
    undisturbed, before = calm
    text = text_of(undisturbed.bodies[0], stream=True)
    worker = children(instance, "fa worker")
    good, came_to = trio.run(partial(good_ones, instance.port, attack))
    peak = memory(instance)
    assert len(good.bodies) == GOOD
    assert text
    assert all(text_of(body, stream=True) == text and body.endswith(b"data: [DONE]\n\n") for body in good.bodies)
    until(lambda: memory(instance) <= before * 1.1 + SPARE_BYTES, "memory does not come back")
    assert children(instance, "fa worker") == worker
    print(
        f"\n{attack.__name__}: {came_to}; longest wait {max(good.waits):.3f} s, alone {max(undisturbed.waits):.3f} s;"
        f" MiB before {before >> 20}, right after {peak >> 20}, then {memory(instance) >> 20}"
    )


def test_the_limits_that_were_hit_are_on_the_page(instance: Binary, calm: tuple[Good, int]) -> None:
    """Behind the attacks above, or behind its own."""
    trio.run(hostile_chunks, instance.port)
    page = instance.get("/metrics")[1]
    assert b'fastanchor_limit_hits_total{limit="bad_request"}' in page
    assert b'fastanchor_limit_hits_total{limit="body"}' in page
