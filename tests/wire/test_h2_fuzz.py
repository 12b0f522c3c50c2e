"""Any frames in any order: the server ends the connection or goes on, never crashes, and leaves nobody working."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from fastanchor.wire import Origin, Pool, Reply, Request, WireError
from tests.kit.h2_frames import GET, POST, PREFACE, block, frame, h2_served, headers, settings
from tests.kit.h2_upstream import Peer, h2_upstream
from tests.kit.wires import cut

Frames = list[bytes]

blocks = st.sampled_from(
    [
        block(GET), block(POST), block(((b":status", b"200"),)), block(((b":status", b"100"),)),
        block((*POST, (b"content-length", b"3"))), block(((b"a", b"b"),)),
        b"", b"\x82", b"\xff\xff\xff", b"\x20\x3f\xe1\x1f",
    ]
)  # fmt: skip
edges = st.sampled_from([0, 1, 2, 100, 16_384, 65_535, 2**31 - 1, 2**31, 2**32 - 1])
numbers = edges.map(lambda n: n.to_bytes(4, "big"))
payloads = st.one_of(
    blocks, st.binary(max_size=40), numbers, st.tuples(numbers, numbers).map(b"".join),
    st.tuples(st.integers(0, 9).map(lambda n: n.to_bytes(2, "big")), numbers).map(b"".join),
    st.just(bytes(8)), st.just(b"x" * 16_384),
)  # fmt: skip
ids = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 7, 2**31 - 1])
any_frame = st.builds(frame, st.integers(0, 11), st.integers(0, 255), ids, payloads)
requests = st.builds(headers, ids, st.sampled_from([GET, POST]), st.sampled_from([0x4, 0x5]))
conversations = st.lists(st.one_of(any_frame, any_frame, requests, st.binary(max_size=12)), max_size=25)


class Counting:
    """A handler that does a bit of everything, and counts itself."""

    def __init__(self) -> None:
        self.running = 0

    async def __call__(self, request: Request, reply: Reply) -> None:
        self.running += 1
        try:
            await self._work(request, reply)
        finally:
            self.running -= 1

    async def _work(self, request: Request, reply: Reply) -> None:
        if request.method == b"GET":
            await reply.start(200, [], b"x" * 1000)
            await trio.lowlevel.checkpoint()
            await reply.finish(b"y" * 70_000)
        else:
            await reply.respond(200, [], await request.body())


@given(conversations, st.sampled_from([1 << 20, 7]))
async def test_a_server_survives_any_client(sent: Frames, size: int) -> None:
    counting = Counting()
    async with h2_served(counting, greet=False) as client:
        for piece in cut(PREFACE + settings() + b"".join(sent), size):
            await client.write(piece)
        client.read()
        client.sock.close()
        await wait_all_tasks_blocked()
        assert counting.running == 0


@given(conversations)
async def test_a_client_survives_any_server(sent: Frames) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*sent)

    async with h2_upstream(script) as up:
        with Pool() as pool:
            async with trio.open_nursery() as nursery:
                await nursery.start(pool.run)
                with trio.fail_after(60):
                    await outcome_of(lambda: ask(pool, up.origin))
                nursery.cancel_scope.cancel()


async def ask(pool: Pool, origin: Origin) -> None:
    response = await pool.request(origin, b"GET", b"/", [], connect_timeout=2, first_byte_timeout=2)
    with response:
        response.idle_timeout = 2
        await response.read_all(1 << 20)


async def outcome_of(call: Callable[[], Awaitable[None]]) -> None:
    """A whole answer, or one of the wire's own errors."""
    try:
        await call()
    except WireError:
        return


@pytest.mark.parametrize("junk", [b"", b"\0", b"\xff" * 9, b"\x16\x03\x01\x02\x00", b"\r\n" * 20])
async def test_junk_behind_the_preface(junk: bytes) -> None:
    async with h2_served(Counting(), greet=False) as client:
        await client.write(PREFACE + junk)
        client.sock.close()
        await wait_all_tasks_blocked()
