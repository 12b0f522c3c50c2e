"""The session of `/v1/ws`: inferences side by side, each a chat request of its own, each to be cancelled by its id.

A client that closes or leaves cancels all of them; one whose server drains gets their ends.
"""

from __future__ import annotations

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import socket as language
from fastanchor.engine.socket_reply import Opened, SocketReply
from fastanchor.wire.errors import ClientGone

MOST_AT_ONCE = 32
"""Inferences under way on one socket; a plan's own limits come on top."""


async def chat(opened: Opened) -> None:
    """Read messages until there are no more, and answer them."""
    async with trio.open_nursery() as nursery:
        session = _Chat(opened, nursery)
        while (text := await opened.socket.receive()) is not None:
            await session.take(text)
        if not opened.socket.leaving:
            nursery.cancel_scope.cancel()


class _Chat:
    def __init__(self, opened: Opened, nursery: trio.Nursery) -> None:
        self._opened = opened
        self._nursery = nursery
        self._running: dict[language.Id, trio.CancelScope] = {}

    async def take(self, text: str) -> None:
        """One message; whatever is wrong with it is told, and costs nothing else."""
        try:
            message = language.read(text)
            if isinstance(message, language.Inference):
                self._begin(message)
            elif isinstance(message, language.Cancel):
                self._scope(message).cancel()
            else:
                await self._again(message)
        except Fault as fault:
            await self._say(language.fault_message(fault, language.id_of(text)))

    def _scope(self, message: language.Cancel) -> trio.CancelScope:
        scope = self._running.get(message.id)
        if scope is None:
            raise Fault(Kind.NOT_FOUND, "No inference with this id is under way.", param="id")
        return scope

    async def _again(self, message: language.Auth) -> None:
        """A client that is known already says who it is: nobody else, or it is refused."""
        more = (b"x-api-key", message.api_key.encode())
        self._opened.desk.whoever(self._opened.asked(b"", more))
        await self._say(language.AUTHENTICATED)

    def _begin(self, message: language.Inference) -> None:
        if message.id in self._running:
            raise language.duplicate(message.id)
        if len(self._running) >= MOST_AT_ONCE:
            raise Fault(Kind.RATE_LIMIT, f"{MOST_AT_ONCE} inferences are under way on this socket.", retry_after=1.0)
        scope = self._running[message.id] = trio.CancelScope()
        self._nursery.start_soon(self._answer, message, scope, name="socket.inference")

    async def _answer(self, message: language.Inference, scope: trio.CancelScope) -> None:
        opened = self._opened
        asked = opened.asked(message.body)
        exchange = opened.desk.open(asked, "ws.inference", "openai_chat")
        telling = language.Telling(message.id, exchange.request_id)
        reply = SocketReply(opened.socket, telling, exchange, lambda: self._forget(message.id, scope))
        opened.socket.busy += 1
        try:
            with scope:
                await opened.desk.answer(exchange, reply)
        except ClientGone:
            self._nursery.cancel_scope.cancel()
        finally:
            asked.give_back()
            opened.socket.busy -= 1
            self._forget(message.id, scope)
        if scope.cancelled_caught:
            await self._say(*telling.cancelled())

    def _forget(self, given: language.Id, scope: trio.CancelScope) -> None:
        """The inference has ended: its id may be used again."""
        if self._running.get(given) is scope:
            del self._running[given]

    async def _say(self, *messages: bytes) -> None:
        try:
            for message in messages:
                await self._opened.socket.send(message)
        except ClientGone:
            self._nursery.cancel_scope.cancel()
