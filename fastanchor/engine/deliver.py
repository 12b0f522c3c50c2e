"""Race, relay, and what to do when a stream breaks after its client has seen a part of it.

After the first byte there is no way back, but there may be a way on. The ladder, by the route's `rescue`:

- `splice`: the next candidate answers the same request; what the client has is withheld, the rest follows. Needs the
  bytes that were sent: they are kept up to `MOST_KEPT`, only for as long as another candidate could use them.
- `restart`: the client gets nothing but keep-alive bytes until the answer is complete, so it can always begin anew.
- At the end of the ladder: the dialect's own in-stream error with the cause, and an aborted body. Never a clean end.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import splice
from fastanchor.engine.attempt import Answer
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.headers import answer_headers
from fastanchor.engine.race import race
from fastanchor.engine.relay import drain, relay
from fastanchor.engine.traffic import Traffic
from fastanchor.policy.plan import Plan
from fastanchor.wire.message import Reply
from fastanchor.wire.pool import Pool

MOST_KEPT = 1024 * 1024
RESCUABLE = frozenset(
    (Kind.TRUNCATED, Kind.STALLED, Kind.IN_BAND_ERROR, Kind.MALFORMED_ANSWER, Kind.UPSTREAM_ERROR,
     Kind.UPSTREAM_OVERLOADED, Kind.UPSTREAM_RATE_LIMITED, Kind.EMPTY_ANSWER)
)  # fmt: skip


class Delivery:
    """Brings one request's answer to its client."""

    __slots__ = ("exchange", "held", "kept", "plan", "pool", "reply", "rescue", "size", "told_alive", "traffic")

    def __init__(self, exchange: Exchange, plan: Plan, pool: Pool, traffic: Traffic, reply: Reply) -> None:
        self.exchange = exchange
        self.plan = plan
        self.pool = pool
        self.traffic = traffic
        self.reply = reply
        self.rescue = plan.route.rescue if exchange.asked.stream else "off"
        self.kept: list[bytes] | None = [] if self.rescue == "splice" else None  # what the client has
        self.held: list[bytes] = []  # what it does not have yet, under `restart`
        self.size = 0
        self.told_alive = 0.0

    async def run(self) -> None:
        """Deliver.

        Raises:
            Fault: nothing has been sent, or what was sent cannot be continued.
            wire.ClientGone: the client left.
        """
        first: Fault | None = None
        while True:
            try:
                fault = await self._try()
            except Fault as last:
                raise first or last from last
            if fault is None:
                return
            first = first or fault
            if not self._can_go_on(fault):
                raise first

    async def _try(self) -> Fault | None:
        """One race and its winner's answer. Returns the fault of a stream that broke."""
        exchange = self.exchange
        async with race(exchange, self.plan, self.pool, self.traffic) as answer:
            if answer.relay is None:
                await self._whole(answer)
                return None
            deadline = min(exchange.deadline, exchange.began + answer.candidate.channel.timeouts.total)
            try:
                await self._begin(answer)
                fault = await relay(answer, answer.relay, self._out, deadline)
            finally:
                call = exchange.asked
                exchange.usage = answer.relay.usage.completed(call.prompt_tokens, answer.relay.output_estimate)
            if fault is None:
                await self._end()
                await drain(answer.response)
            else:
                self._broke(answer, fault)
            return fault

    async def _whole(self, answer: Answer) -> None:
        exchange = self.exchange
        exchange.status = 200
        exchange.answer_bytes = len(answer.body)
        exchange.price()
        await self.reply.respond(200, answer_headers(exchange, b"application/json"), answer.body)

    async def _begin(self, answer: Answer) -> None:
        """The head, with the bytes that are ready."""
        if self.reply.started:
            await self._out(answer.body)
            return
        exchange = self.exchange
        exchange.status = 200
        first = answer.body
        self._keep(first)
        if self.rescue == "restart":
            self.held, first = [first], exchange.spoken.keep_alive
            self.told_alive = trio.current_time()
        exchange.answer_bytes = len(first)
        await self.reply.start(200, answer_headers(exchange, exchange.spoken.stream_type), first)

    async def _out(self, data: bytes) -> None:
        self.exchange.answer_bytes += len(data)
        if self.rescue == "restart":
            self.held.append(data)
            await self._tell_alive()
            return
        if self.kept is not None:
            self._keep(data)
        if data:
            await self.reply.send(data)

    def _keep(self, data: bytes) -> None:
        if self.kept is None:
            return
        self.size += len(data)
        if self.size > MOST_KEPT:
            self.kept = None
        else:
            self.kept.append(data)

    async def _tell_alive(self) -> None:
        """Bytes that clients ignore, now and then, while their answer is held back."""
        now, every = trio.current_time(), self.exchange.world.keep_alive
        if every and now - self.told_alive >= every and self.exchange.spoken.keep_alive:
            self.told_alive = now
            await self.reply.send(self.exchange.spoken.keep_alive)

    async def _end(self) -> None:
        if self.rescue == "restart":
            await self.reply.send(b"".join(self.held))
        await self.reply.finish()

    def _broke(self, answer: Answer, fault: Fault) -> None:
        """Note the break in the channel's health and in the attempt's record."""
        now = trio.current_time()
        self.traffic.health.broke(answer.candidate.channel, fault, now)
        records = self.exchange.attempts
        for at in range(len(records) - 1, -1, -1):
            if records[at].outcome == "won":
                records[at] = replace(records[at], outcome=fault.kind.value, usage=self.exchange.usage)
                break
        self.plan.broke(answer.candidate, fault, now)

    def _can_go_on(self, fault: Fault) -> bool:
        """Whether another answer could take over, and if so, set the exchange up for it."""
        if self.rescue == "off" or fault.kind not in RESCUABLE:
            return False
        if self.rescue == "restart":
            self.held = []
            return True
        if self.kept is None or self.exchange.asked.choices > 1:
            return False
        half = splice.transcript(self.exchange.spoken, b"".join(self.kept))
        self.exchange.half = half
        return half is not None
