"""What clients go on from by `previous_response_id`: what is kept of each response, and how it comes back.

Of an answer that was translated the store has everything: a later call is completed with the items and can go to any
channel. Of a native one it has the channel's name: the state lives there, and later calls of the chain go there.

Rules:
- A response is kept before its client sees the end of it, so that the next call finds it whatever worker it meets.
- A response belongs to the key that asked for it.
- The database is only touched by the Responses API, in a thread, one call at a time. A response that cannot be kept is
  told in the log and fails nothing; one that cannot be looked up fails the call that needs it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from fastanchor.core.faults import Fault
from fastanchor.dialects.splice import Splice
from fastanchor.dialects.translation import Translation
from fastanchor.engine.attempt import Answer
from fastanchor.engine.exchange import Exchange
from fastanchor.store.responses import ResponseStore, StoredResponse

log = logging.getLogger("fastanchor")

NAME = "openai_responses"
MAX_ID = 256
"""Characters of an id that is looked up; nothing mints longer ones."""
EXPIRE_EVERY = 3600.0

_T = TypeVar("_T")


class Conversations:
    """The stored responses, as one worker sees them.

    Args:
        path: the database, made with its directory when the first response is kept or asked for.
        retention: seconds that a response is kept; 0: none is, and `previous_response_id` is the channels' affair.
    """

    def __init__(self, path: Path, retention: float) -> None:
        self.path = path
        self.retention = retention
        self._store: ResponseStore | None = None
        self._limiter = trio.CapacityLimiter(1)
        self._expired = 0.0

    def keeps(self, exchange: Exchange) -> bool:
        """Whether the answer to this call is to be kept."""
        call = exchange.asked
        return call.dialect == NAME and call.options.get("store") == "true" and self.retention > 0

    async def resume(self, exchange: Exchange) -> None:
        """Complete a call that goes on from an earlier response, or note which channel has that.

        Raises:
            Fault: INVALID_REQUEST for a response that is not there, SERVICE_UNAVAILABLE when that cannot be known.
        """
        previous = exchange.asked.options.get("previous_response_id", "")
        if not previous or self.retention <= 0:
            return
        from fastanchor.dialects.openai_responses import state  # this dialect is loaded when it is first spoken

        stored = await self.find(exchange, previous)
        if stored is None:
            raise state.missing(previous[:MAX_ID])
        if stored.items:
            exchange.call = state.resumed(exchange.asked, stored.items)
        else:
            exchange.held_by = stored.channel

    async def keep(self, exchange: Exchange, answer: Answer) -> None:
        """Keep a complete answer."""
        call, response, response_id = exchange.asked, *_told(answer)
        if not response_id:
            return
        from fastanchor.dialects.openai_responses import state

        items = state.continued(call, response) if response else b""
        channel, now = answer.candidate.channel.name, time.time()

        def save(store: ResponseStore) -> None:
            store.save(
                response_id, exchange.principal.key_id,
                model=call.model, channel=channel, items=items, response=response, created=now,
            )  # fmt: skip
            if now - self._expired > EXPIRE_EVERY:
                self._expired = now
                store.expire(now)

        try:
            await self._run(save)
        except Fault as fault:
            log.error("response %s is not kept: %s", response_id, fault.__cause__ or fault)

    async def find(self, exchange: Exchange, response_id: str) -> StoredResponse | None:
        """The response, if it is there for this key. Raises Fault(SERVICE_UNAVAILABLE)."""
        if len(response_id) > MAX_ID:
            return None
        return await self._run(lambda store: store.load(response_id, exchange.principal.key_id, time.time()))

    async def forget(self, exchange: Exchange, response_id: str) -> bool:
        """Delete the response. Returns whether it was there. Raises Fault(SERVICE_UNAVAILABLE)."""
        return await self._run(lambda store: store.delete(response_id, exchange.principal.key_id, time.time()))

    async def _run(self, work: Callable[[ResponseStore], _T]) -> _T:
        return await trio.to_thread.run_sync(lambda: work(self._opened()), limiter=self._limiter)

    def _opened(self) -> ResponseStore:
        if self._store is None:
            self._store = ResponseStore.at(self.path, retention=self.retention)
        self._store.retention = self.retention
        return self._store

    def close(self) -> None:
        """Close the database; no call may be under way."""
        if self._store is not None:
            self._store.close()
            self._store = None


def _told(answer: Answer) -> tuple[bytes, str]:
    """(response object, id) of an answer; the object is empty where the channel keeps it."""
    from fastanchor.dialects.openai_responses import state
    from fastanchor.dialects.openai_responses.observe import Observer

    relay = answer.relay
    if relay is None:
        native = answer.attempt.spoken == NAME
        return b"" if native else answer.body, state.id_of(answer.body)
    if isinstance(relay, Observer):
        return b"", relay.response_id
    final = relay.final if isinstance(relay, (Translation, Splice)) else b""
    return final, state.id_of(final)
