"""What is left of an answer whose client has gone, at a channel whose `on_cancel` is `drain`.

The upstream is read on, for a while, and nobody gets what it says: so what is settled is what its provider counts, not
what was seen. The client's connection is free at once; the place at the channel is held, since the provider still
works, and so is what the request took of its key's limits, since a request is settled once. The tasks are the worker's:
when it ends it lets go of them, and they are settled by what was seen until then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from fastanchor.core.faults import Kind
from fastanchor.dialects.relay import Relay
from fastanchor.engine.attempt import Answer
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.relay import drain, relay

log = logging.getLogger("fastanchor")

DRAIN_SECONDS = 30.0
"""How long an answer is read on; never past its request's deadline."""
DRAIN_BYTES = 4 * 1024 * 1024
"""How much of it."""

Close = Callable[[Exchange], None]


class Rest:
    """A stream that its client left in the midst of; closed by whoever holds it."""

    __slots__ = ("answer", "carrier", "exchange", "scope", "size")

    def __init__(self, exchange: Exchange, answer: Answer, carrier: Relay) -> None:
        self.exchange = exchange
        self.answer = answer
        self.carrier = carrier
        self.size = 0
        self.scope = trio.CancelScope()

    async def read(self) -> None:
        """On to the end of the answer, or of what it may take."""
        exchange, response = self.exchange, self.answer.response
        response.patience = None
        deadline = min(exchange.deadline, exchange.now() + DRAIN_SECONDS)
        self.scope.deadline = deadline
        one_choice = exchange.asked.choices == 1
        with self.scope:
            fault = await relay(response, self.carrier, self._past, self._alive, deadline, one_choice=one_choice)
            if fault is None:
                await drain(response)

    def close(self) -> None:
        """Account for what the answer has come to, and let go of the upstream."""
        exchange, carrier = self.exchange, self.carrier
        exchange.usage = carrier.usage.completed(exchange.asked.prompt_tokens, carrier.output_estimate)
        self.answer.attempt.account(exchange.usage)
        self.answer.close()

    async def _past(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > DRAIN_BYTES:
            self.scope.cancel()
        await trio.lowlevel.checkpoint()

    async def _alive(self) -> None:
        """Nobody is there to be told."""


class Settling:
    """The rests of one worker's answers. Without `run` nothing is read on."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read on what is taken, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def settle(self, rest: Rest, close: Close) -> None:
        """Close the exchange when the rest of its answer has been read; at once where an operator ended it."""
        if self._nursery is None or rest.exchange.ending != Kind.CLIENT_GONE.value:
            rest.close()
            close(rest.exchange)
        else:
            self._nursery.start_soon(self._read_on, rest, close, name="drain")

    async def _read_on(self, rest: Rest, close: Close) -> None:
        try:
            await rest.read()
        except Exception:
            log.exception("request %s could not be read on", rest.exchange.request_id)
        finally:
            rest.close()
            close(rest.exchange)
