"""A client that does not read stops the handler, and with it what the handler reads from."""

from __future__ import annotations

import socket

import trio

from fastanchor.wire import Origin, Pool, Reply, Request, bind, serve

PIECE = b"x" * 16_384


async def test_a_slow_client_holds_up_the_upstream() -> None:
    """Between a fast upstream and a client that does not read, only kernel buffers fill."""
    sent = 0

    async def upstream(request: Request, reply: Reply) -> None:
        nonlocal sent
        await reply.start(200, [])
        while True:
            await reply.send(PIECE)
            sent += len(PIECE)
            await trio.lowlevel.checkpoint()

    async def gateway(request: Request, reply: Reply) -> None:
        with await pool.request(origin, b"GET", b"/", [], connect_timeout=60, first_byte_timeout=60) as response:
            await reply.start(200, [])
            while piece := await response.read():
                await reply.send(piece)

    with bind("127.0.0.1:0") as below, bind("127.0.0.1:0") as above, Pool() as pool, trio.fail_after(20):
        origin = Origin("http", "127.0.0.1", below.getsockname()[1])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, below, upstream)
            nursery.start_soon(serve, above, gateway)
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(above.getsockname())
                client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                client.setblocking(False)
                stopped_at = await settled(lambda: sent)
                taken = 0
                while taken < 1 << 20:
                    await trio.lowlevel.wait_readable(client)
                    taken += len(client.recv(65536))
                assert await settled(lambda: sent) > stopped_at
            nursery.cancel_scope.cancel()


async def settled(read: object) -> int:
    """The value that `read` has once it has stopped changing for a while."""
    last = -1
    while (value := read()) != last or value == 0:  # type: ignore[operator]
        last = value
        await trio.sleep(0.1)
    return last
