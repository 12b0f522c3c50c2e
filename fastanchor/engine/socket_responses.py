"""The session of the upgrade of `GET /v1/responses`: each lane answers its requests in their order, lanes side by side.

Every request is one of the Responses API over HTTP, streamed, so it is bridged to whatever channel has its model.
"""

from __future__ import annotations

from collections import deque

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import socket_responses as language
from fastanchor.dialects.openai_responses.dialect import DIALECT
from fastanchor.engine.permit import permit_model
from fastanchor.engine.socket_reply import Opened, SocketReply
from fastanchor.wire.errors import ClientGone

MOST_LANES = 16
"""Under way on one socket; a plan's own limits come on top."""
MOST_WAITING = 8
"""Requests behind the one that a lane is at."""


async def responses(opened: Opened) -> None:
    """Read messages until there are no more, and answer them."""
    async with trio.open_nursery() as nursery:
        session = _Responses(opened, nursery)
        while (text := await opened.socket.receive()) is not None:
            await session.take(text)
        if not opened.socket.leaving:
            nursery.cancel_scope.cancel()


class _Responses:
    def __init__(self, opened: Opened, nursery: trio.Nursery) -> None:
        self._opened = opened
        self._nursery = nursery
        self._memory = language.Memory()
        self._lanes: dict[str, deque[language.Create]] = {}  # that are under way: what waits in each

    async def take(self, text: str) -> None:
        """One message; whatever is wrong with it is told, and costs nothing else."""
        try:
            self._queue(language.read(text))
        except Fault as fault:
            await self._say(language.fault_message(fault, language.lane_of(text)))

    def _queue(self, create: language.Create) -> None:
        waiting = self._lanes.get(create.lane)
        if waiting is None:
            if len(self._lanes) >= MOST_LANES:
                raise Fault(Kind.RATE_LIMIT, f"{MOST_LANES} lanes are under way on this socket.", retry_after=1.0)
            self._lanes[create.lane] = deque((create,))
            self._nursery.start_soon(self._work, create.lane, name="socket.lane")
        elif len(waiting) >= MOST_WAITING:
            raise Fault(Kind.RATE_LIMIT, f"{MOST_WAITING} requests are waiting in this lane.", retry_after=1.0)
        else:
            waiting.append(create)

    async def _work(self, lane: str) -> None:
        """Answer what waits in a lane, until nothing does."""
        self._opened.socket.busy += 1
        try:
            while self._lanes[lane]:
                create = self._lanes[lane].popleft()
                try:
                    await self._answer(create)
                except Fault as fault:
                    await self._say(language.fault_message(fault, lane))
        except ClientGone:
            self._nursery.cancel_scope.cancel()
        finally:
            self._opened.socket.busy -= 1
            del self._lanes[lane]

    async def _answer(self, create: language.Create) -> None:
        opened = self._opened
        body = self._memory.completed(create)

        def ended(response: bytes) -> None:
            if not create.stored:
                self._memory.keep(body, response)

        telling = language.Telling(create.lane, ended)
        asked = opened.asked(body)
        exchange = opened.desk.open(asked, "responses", "openai_responses")
        if create.generate:
            try:
                await opened.desk.answer(exchange, SocketReply(opened.socket, telling, exchange, _nothing))
            finally:
                asked.give_back()
            return
        call = DIALECT.read(body, "", "", exchange.headers)
        permit_model(opened.desk.whoever(asked), call.model)
        for message in telling.stream(language.prepared(call, exchange.request_id, int(exchange.wall))):
            await opened.socket.send(message)

    async def _say(self, message: bytes) -> None:
        try:
            await self._opened.socket.send(message)
        except ClientGone:
            self._nursery.cancel_scope.cancel()


def _nothing() -> None:
    """A lane goes on with its next request only when the last has ended in every respect."""
