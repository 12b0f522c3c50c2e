"""Race, relay, and what to do when a stream breaks after its client has seen a part of it.

After the first byte there is no way back, but there may be a way on. The ladder, by the
route's `rescue`, or by what the client says in `x-fastanchor-rescue`:

- `splice`: the next candidate answers the same request; what the client has is withheld, the rest follows. Needs the
  bytes that were sent: they are kept up to `MOST_KEPT`, only for as long as another candidate could use them. An answer
  that says something else is of no use; then a model that is able to is asked to go on from what the client has.
- `restart`: the client gets nothing but keep-alive bytes until the answer is complete, so it can always begin anew.
  An answer over `MOST_HELD` is let go, and cannot be begun anew any more.
- At the end of the ladder: the dialect's own in-stream error with the cause, and an aborted body. Never a clean end.

Whenever a client that has the head of its answer gets nothing for a while (the upstream is silent, a rescue is under
way, the answer is held back), it is sent the bytes that its dialect ignores.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.route import Rescue, Route
from fastanchor.dialects import splice
from fastanchor.engine.attempt import Answer
from fastanchor.engine.begun import can_be_continued
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.headers import answer_headers
from fastanchor.engine.nursery import unwrapped
from fastanchor.engine.race import race
from fastanchor.engine.relay import drain, look, relay
from fastanchor.engine.settling import Rest
from fastanchor.engine.traffic import Traffic
from fastanchor.engine.upstreams import Upstreams
from fastanchor.policy.plan import Plan
from fastanchor.wire import errors as wire
from fastanchor.wire.message import Reply
from fastanchor.wire.pump import pump

if TYPE_CHECKING:
    from fastanchor.engine.conversations import Conversations

MOST_KEPT = 1024 * 1024
MOST_HELD = 16 * 1024 * 1024
RESCUABLE = frozenset(
    (Kind.TRUNCATED, Kind.STALLED, Kind.IN_BAND_ERROR, Kind.MALFORMED_ANSWER, Kind.UPSTREAM_ERROR,
     Kind.UPSTREAM_OVERLOADED, Kind.UPSTREAM_RATE_LIMITED, Kind.EMPTY_ANSWER)
)  # fmt: skip


RESCUES: tuple[Rescue, ...] = ("off", "splice", "restart")


def chosen_rescue(exchange: Exchange, route: Route) -> Rescue:
    """Raises Fault(INVALID_REQUEST) for a word that the client has made up."""
    asked = exchange.headers.get("x-fastanchor-rescue")
    if asked is None:
        return route.rescue
    for word in RESCUES:
        if asked == word:
            return word
    raise Fault(Kind.INVALID_REQUEST, f"Expected one of {', '.join(RESCUES)}.", param="x-fastanchor-rescue")


class Delivery:
    """Brings one request's answer to its client."""

    __slots__ = (
        "conversations", "every", "exchange", "held", "kept", "plan", "pool", "reply", "rescue", "size", "told_alive",
        "traffic",
    )  # fmt: skip

    def __init__(
        self, exchange: Exchange, plan: Plan, pool: Upstreams, traffic: Traffic, reply: Reply,
        conversations: Conversations | None = None,
    ) -> None:
        self.conversations = conversations  # where the answer must be kept before its client has the end of it
        self.exchange = exchange
        self.plan = plan
        self.pool = pool
        self.traffic = traffic
        self.reply = reply
        self.rescue = chosen_rescue(exchange, plan.route) if exchange.asked.stream else "off"
        self.kept: list[bytes] | None = [] if self.rescue == "splice" else None  # what the client has
        self.held: list[bytes] = []  # what it does not have yet, under `restart`
        self.size = 0  # bytes kept or held
        self.told_alive = 0.0
        self.every = exchange.world.keep_alive if exchange.spoken.keep_alive else 0.0

    async def run(self) -> None:
        """Deliver.

        Raises:
            Fault: nothing has been sent, or what was sent cannot be continued.
            wire.ClientGone: the client left.
        """
        first: Fault | None = None
        while True:
            try:
                answer = await self._next()
            except Fault as last:
                raise first or last from last
            try:
                fault = await self._deliver(answer)
            finally:
                if self.exchange.rest is None:
                    answer.close()
            if fault is None:
                return
            first = first or fault
            if not self._can_go_on(fault):
                raise first

    async def _next(self) -> Answer:
        """The answer that wins, while a client that waits for more is kept alive."""
        if not (self.reply.started and self.every):
            return await race(self.exchange, self.plan, self.pool, self.traffic)
        found: list[Answer] = []
        try:
            with unwrapped():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._keep_alive, name="keep-alive")
                    found.append(await race(self.exchange, self.plan, self.pool, self.traffic))
                    nursery.cancel_scope.cancel()
        except BaseException:
            for answer in found:  # the client left in the very moment of the win
                answer.close()
            raise
        return found[0]

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep_until(self.told_alive + self.every)
            await self._tell_alive()

    async def _deliver(self, answer: Answer) -> Fault | None:
        """Bring one answer to the client. Returns the fault of a stream that broke."""
        exchange, carrier, response = self.exchange, answer.relay, answer.response
        channel = answer.candidate.channel
        if carrier is None:
            await self._whole(answer)
            return None
        call = exchange.asked
        deadline = min(exchange.deadline, exchange.began + channel.timeouts.total)
        response.patience = self.every or None
        exchange.carrier = carrier
        out = self._out if self.conversations is None else partial(self._kept_out, answer)
        try:
            await self._begin(answer)
            one_choice = call.choices == 1
            straight = self.conversations is None and self.rescue != "restart" and not carrier.complete
            flow = pump(response, self.reply, self, look(carrier, one_choice=one_choice)) if straight else None
            fault = await relay(
                response, carrier, out, self._tell_alive, deadline, one_choice=one_choice, pump=flow
            )
        except (wire.ClientGone, trio.Cancelled):
            if channel.on_cancel == "drain" and not carrier.complete and carrier.fault is None:
                exchange.rest = Rest(exchange, answer, carrier)
            raise
        finally:
            exchange.usage = carrier.usage.completed(call.prompt_tokens, carrier.output_estimate)
            answer.attempt.account(exchange.usage)
        if fault is not None:
            self._broke(answer, fault)
            return fault
        self.traffic.health.completed(channel)
        await self._end()
        await drain(response)
        return None

    async def _remember(self, answer: Answer) -> None:
        if self.conversations is not None and (answer.relay is None or answer.relay.complete):
            await self.conversations.keep(self.exchange, answer)

    async def _kept_out(self, answer: Answer, data: bytes) -> None:
        await self._remember(answer)
        await self._out(data)

    async def _whole(self, answer: Answer) -> None:
        await self._remember(answer)
        exchange = self.exchange
        self.traffic.health.completed(answer.candidate.channel)
        answer.attempt.account(answer.usage)
        exchange.status = 200
        exchange.answer_bytes = len(answer.body)
        exchange.price()
        exchange.settle()
        await self.reply.respond(200, answer_headers(exchange, b"application/json"), answer.body)

    async def _begin(self, answer: Answer) -> None:
        """The head, with the bytes that are ready."""
        await self._remember(answer)
        if self.reply.started:
            await self._out(answer.body)
            return
        exchange = self.exchange
        exchange.status = 200
        first = answer.body
        self._keep(first)
        if self.rescue == "restart":
            self.held, first = [first], exchange.spoken.keep_alive
        self.told_alive = self.exchange.now()
        exchange.answer_bytes = len(first)
        stream_type = exchange.spoken.stream_type(exchange.asked)
        await self.reply.start(200, answer_headers(exchange, stream_type), first)

    async def _out(self, data: bytes) -> None:
        self.exchange.answer_bytes += len(data)
        if self.rescue == "restart":
            await self._hold(data)
            return
        if self.kept is not None:
            self._keep(data)
        if data:
            await self.reply.send(data)

    @property
    def room(self) -> int:
        """Bytes that may still be kept; see `wire.pump.Tally`."""
        return sys.maxsize if self.kept is None else MOST_KEPT - self.size

    def carried(self, size: int) -> None:
        """So many bytes went out past `_out`, and were kept if they are to be."""
        self.exchange.answer_bytes += size
        if self.kept is not None:
            self.size += size
            if self.size > MOST_KEPT:
                self.kept = None

    def _keep(self, data: bytes) -> None:
        if self.kept is None:
            return
        self.size += len(data)
        if self.size > MOST_KEPT:
            self.kept = None
        else:
            self.kept.append(data)

    async def _hold(self, data: bytes) -> None:
        self.held.append(data)
        self.size += len(data)
        if self.size > MOST_HELD:
            self.rescue = "off"
            await self._let_go()
        elif self.every and self.exchange.now() - self.told_alive >= self.every:
            await self._tell_alive()

    async def _let_go(self) -> None:
        held, self.held = b"".join(self.held), []
        await self.reply.send(held)

    async def _tell_alive(self) -> None:
        """Bytes that clients ignore."""
        self.told_alive = self.exchange.now()
        await self.reply.send(self.exchange.spoken.keep_alive)

    async def _end(self) -> None:
        if self.held:
            await self._let_go()
        self.exchange.settle()
        await self.reply.finish()

    def _broke(self, answer: Answer, fault: Fault) -> None:
        """Note the break in the channel's health and in the attempt's record."""
        now = self.exchange.now()
        self.traffic.health.broke(answer.candidate.channel, fault, now)
        answer.attempt.account(self.exchange.usage, outcome=fault.kind.value)
        self.plan.broke(answer.candidate, fault, now)

    def _can_go_on(self, fault: Fault) -> bool:
        """Whether another answer could take over, and if so, set the exchange up for it."""
        if self.rescue == "off" or fault.kind not in RESCUABLE:
            return False
        if self.rescue == "restart":
            self.held, self.size = [], 0
            self.exchange.carrier = None  # the client has nothing of its stream
            return True
        if self.kept is None or self.exchange.asked.choices > 1:
            return False
        half = splice.transcript(self.exchange.spoken, b"".join(self.kept))
        self.exchange.half = half
        self.plan.continuable = half is not None and can_be_continued(self.exchange, half)
        return half is not None
