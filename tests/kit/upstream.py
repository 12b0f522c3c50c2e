"""A scripted upstream: a real HTTP/1.1 server on loopback that answers what a test tells it to, split as told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from fastanchor.wire.limits import ServerLimits
from fastanchor.wire.listen import bind, serve
from fastanchor.wire.message import Reply, Request

SSE = (b"content-type", b"text/event-stream")
JSON = (b"content-type", b"application/json")

@dataclass
class Seen:
    """A request as the upstream saw it."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def get(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


Answer = Callable[[Seen, Reply], Awaitable[None]]
PATIENT = ServerLimits(head_deadline=60.0, handshake=60.0)
"""For servers whose clients run in the same process: a thousand of them take a while to say something."""


@dataclass
class Upstream:
    """`answer` replies to every request; `seen` lists them; `left` counts the answers that a peer walked away from."""

    answer: Answer
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    left: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __call__(self, request: Request, reply: Reply) -> None:
        body = await request.body()
        seen = Seen(request.method, request.target, list(request.headers), body)
        self.seen.append(seen)
        try:
            await self.answer(seen, reply)
        except trio.Cancelled:
            self.left += 1
            raise


@asynccontextmanager
async def upstream(answer: Answer) -> AsyncIterator[Upstream]:
    """Run a scripted upstream on a free port."""
    listener = bind("127.0.0.1:0")
    stub = Upstream(answer, listener.getsockname()[1])
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, listener, stub, limits=PATIENT))
            yield stub
            nursery.cancel_scope.cancel()
    finally:
        listener.close()


def whole(body: bytes, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = (JSON,)) -> Answer:
    """A plain answer."""

    async def answer(seen: Seen, reply: Reply) -> None:
        await reply.respond(status, headers, body)

    return answer


def stream(pieces: Sequence[bytes], *, cut: bool = False, pause: float = 0.0) -> Answer:
    """A streamed answer, piece by piece; `cut` ends it without the last chunk."""

    async def answer(seen: Seen, reply: Reply) -> None:
        await reply.start(200, [SSE])
        for piece in pieces:
            await reply.send(piece)
            await trio.sleep(pause)
        if cut:
            reply.abort()
        else:
            await reply.finish()

    return answer


def in_turn(*answers: Answer) -> Answer:
    """The first answer to the first request, and so on; the last one repeats."""
    left = list(answers)

    async def answer(seen: Seen, reply: Reply) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(seen, reply)

    return answer


def silent() -> Answer:
    """Never answers."""

    async def answer(seen: Seen, reply: Reply) -> None:
        await trio.sleep_forever()

    return answer
