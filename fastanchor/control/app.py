"""The control plane's ASGI application: metrics, keys, usage, the log of requests, the state of channels.

It asks workers through `gather`, which is handed in: how it reaches them is not its business. Databases are asked in
threads. One that cannot be used costs its own pages a 503 and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from fastanchor.control import metrics
from fastanchor.control.accounts import Accounts
from fastanchor.control.credits import Credits
from fastanchor.control.keys import Keys
from fastanchor.control.memory import Memory
from fastanchor.control.request import Answer, Asked, Receive, Scope, Send, read, refused, told
from fastanchor.core.faults import Fault, Kind
from fastanchor.store.sqlite import StoreError

log = logging.getLogger("fastanchor")

Gather = Callable[[], Awaitable[list[dict[str, Any]]]]

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
THREADS = 8


class Control:
    """Routes control paths.

    Args:
        gather: the state of every worker that answers.
        keys, accounts, credits: called for each request; raise StoreError while their database cannot be used.
        standing: the books in numbers.
        lives: whether the worker of an epoch is still there.
        kill: ends a request by its id wherever it runs; tells whether it ran.
    """

    def __init__(
        self, gather: Gather, keys: Callable[[], Keys], accounts: Callable[[], Accounts],
        credits: Callable[[], Credits], standing: Callable[[], dict[str, int]], lives: Callable[[str], bool],
        kill: Callable[[str], Awaitable[bool]],
    ) -> None:
        self.gather = gather
        self.keys = keys
        self.accounts = accounts
        self.credits = credits
        self.standing = standing
        self.kill = kill
        self.memory = Memory(lives)
        self._threads: trio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI 3)."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive)
            headers = [(b"content-type", answer.kind), (b"content-length", b"%d" % len(answer.body))]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            return await self._route(await read(scope, receive))
        except Fault as fault:
            return refused(fault)
        except StoreError as error:
            log.error("%s cannot be answered: %s", scope["path"], error)
            return refused(Fault(Kind.SERVICE_UNAVAILABLE, "The database cannot be used at the moment."))
        except Exception:
            log.exception("%s failed", scope["path"])
            return refused(Fault(Kind.INTERNAL_ERROR))

    async def _route(self, asked: Asked) -> Answer:
        match asked.path:
            case ("metrics",):
                states = await self.gather()
                return Answer(200, METRICS_TYPE, metrics.render(states, self.standing(), self.memory.take(states)))
            case ("v1", "organizations", _, "api-keys", *_):
                return await self._in_thread(lambda: self.keys().answer(asked))
            case ("admin", "credits"):
                return await self._in_thread(lambda: self.credits().answer(asked))
            case ("v1", "usage"):
                return await self._in_thread(lambda: self.accounts().usage(asked))
            case ("v1", "credits"):
                return await self._in_thread(lambda: self.accounts().credits(asked))
            case ("admin", "requests", id) if asked.method == "DELETE":
                return await self._kill(asked, id)
            case ("admin", "requests") | ("admin", "requests", _):
                return await self._in_thread(lambda: self.accounts().requests(asked))
            case ("admin", "channels"):
                return await self._channels(asked)
        raise Fault(Kind.NOT_FOUND)

    async def _channels(self, asked: Asked) -> Answer:
        """What each worker knows of each channel, for the operator."""
        if not asked.who().operator:
            raise Fault(Kind.PERMISSION_DENIED, "Only the operator's admin key sees channels.")
        rows = [{"worker": state["slot"], **row} for state in await self.gather() for row in state["channels"]]
        return told({"object": "list", "data": rows})

    async def _kill(self, asked: Asked, id: str) -> Answer:
        """End a request that is under way."""
        if not asked.who().operator:
            raise Fault(Kind.PERMISSION_DENIED, "Only the operator's admin key ends requests.")
        if not id.isascii() or not await self.kill(id):
            raise Fault(Kind.NOT_FOUND, "There is no such request under way.")
        return told({"object": "request", "id": id, "killed": True})

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        if self._threads is None:
            self._threads = trio.CapacityLimiter(THREADS)
        return await trio.to_thread.run_sync(work, limiter=self._threads)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
