"""A reply that remembers what was sent, for an operator who keeps bodies."""

from __future__ import annotations

from typing import Any

from fastanchor.wire.message import Headers, Reply


class Heard:
    """Another reply (see `wire.message.Reply`), and the first `most` bytes of its body and one more."""

    def __init__(self, reply: Reply, most: int) -> None:
        self._reply = reply
        self._most = most + 1
        self.body = b""

    @property
    def started(self) -> bool:
        return self._reply.started

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self._note(body)
        await self._reply.respond(status, headers, body)

    async def start(self, status: int, headers: Headers, first: bytes = b"") -> None:
        self._note(first)
        await self._reply.start(status, headers, first)

    async def send(self, data: bytes) -> None:
        self._note(data)
        await self._reply.send(data)

    async def finish(self, last: bytes = b"") -> None:
        self._note(last)
        await self._reply.finish(last)

    def abort(self) -> None:
        self._reply.abort()

    def __getattr__(self, name: str) -> Any:
        """What only some replies can do: upgrade, cancel."""
        return getattr(self._reply, name)

    def _note(self, data: bytes) -> None:
        room = self._most - len(self.body)
        if room > 0:
            self.body += data[:room]
