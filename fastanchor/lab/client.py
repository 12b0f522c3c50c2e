"""The client's side of a request in memory: what it asks, and what reaches it, when, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from fastanchor.wire import errors as wire
from fastanchor.wire.message import Header, Headers


class MemoryRequest:
    """A request that has come whole (see `wire.message.Request`)."""

    def __init__(self, method: bytes, target: bytes, headers: Headers, body: bytes) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition(b"?")
        self.headers: list[Header] = list(headers)
        self.peer = "lab"
        self.version = b"1.1"
        self.secure = False
        self.max_body = len(body)
        self._body = body

    def get(self, name: bytes) -> bytes | None:
        return next((value for field, value in self.headers if field == name), None)

    async def body(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._body

    async def read(self) -> bytes:
        data, self._body = self._body, b""
        await trio.lowlevel.checkpoint()
        return data

    def hold(self, size: int) -> None:
        """Its body has been held from the start."""


@dataclass
class MemoryReply:
    """What a client has received (see `wire.message.Reply`). `pieces` are the sends with their times; `ended` is "",
    "whole" or "cut". A client whose `gone` is set is not there any more."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    ended: str = ""
    started: bool = False
    gone: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.pieces)

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        await self.start(status, headers, body)
        self.ended = "whole"

    async def start(self, status: int, headers: Headers, first: bytes = b"") -> None:
        if self.started:
            raise RuntimeError("the answer has already been started")
        self.started = True
        self.status = status
        self.headers = dict(headers)
        await self.send(first)

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.gone:
            raise wire.ClientGone("left")
        if data:
            self.pieces.append((trio.current_time(), data))

    async def finish(self, last: bytes = b"") -> None:
        await self.send(last)
        self.ended = "whole"

    def abort(self) -> None:
        if not self.ended:
            self.ended = "cut"
