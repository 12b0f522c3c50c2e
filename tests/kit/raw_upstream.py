"""An upstream on loopback that says exactly the bytes it is told, connection by connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from fastanchor.wire import Origin

Script = Callable[[trio.SocketStream], Awaitable[None]]
"""What happens on one connection; the connection is closed when it returns."""


@dataclass
class RawUpstream:
    origin: Origin
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    """What `says` has read, request by request."""


@asynccontextmanager
async def raw_upstream(*scripts: Callable[[RawUpstream], Script]) -> AsyncIterator[RawUpstream]:
    """The nth connection runs the nth script; further ones run the last again."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    up = RawUpstream(Origin("http", "127.0.0.1", listeners[0].socket.getsockname()[1]))

    async def serve_one(stream: trio.SocketStream) -> None:
        script = scripts[min(up.connections, len(scripts) - 1)]
        up.connections += 1
        async with stream:
            try:
                await script(up)(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the client under test may hang up at any point

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve_one, listeners)
        yield up
        nursery.cancel_scope.cancel()


def says(*answers: bytes, step: int = 0, hold: bool = False) -> Callable[[RawUpstream], Script]:
    """Read a request and send the answer, for each answer; `step` bytes per send, then close or `hold` open."""

    def bound(up: RawUpstream) -> Script:
        async def script(stream: trio.SocketStream) -> None:
            for answer in answers:
                request = await read_request(stream)
                if not request:
                    return
                up.requests.append(request)
                for at in range(0, len(answer), step or max(1, len(answer))):
                    await stream.send_all(answer[at : at + (step or len(answer))])
                    if step:
                        await trio.lowlevel.checkpoint()
            if hold:
                await stream.receive_some()

        return script

    return bound


async def read_request(stream: trio.abc.ReceiveStream) -> bytes:
    """A head and the body that its Content-Length promises; b"" when the client has ended."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        more = await stream.receive_some()
        if not more:
            return b""
        body += more
    return head + b"\r\n\r\n" + body
