"""Plain requests of the usual kind, served within the reactor's drain: no task, no coroutine, the same outcome.

A request that was served in the ordinary way teaches its connection a `Lane`: everything about it that stays the same
for the next one with the same head and model. A lane serves a request only while nothing has to be decided: the
configuration and the key are what they were, one candidate stands first and is in good health, a connection to it is
idle. Every other request is served by its connection's task, and so is one whose answer is odd or late (`go_on`): with
the place, the lease and the upstream connection that it already has.

What the books, the log, the metrics and the client see of a request does not tell which way it went.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import orjson

from fastanchor._speedups.express import chat_facts
from fastanchor._speedups.http1 import request_head, response_head
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.receipt import AttemptRecord, Receipt
from fastanchor.core.usage import Usage
from fastanchor.dialects.openai_chat.read import BYTES_PER_TOKEN
from fastanchor.engine.attempt import check_whole, origin
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.headers import dollars, id_headers
from fastanchor.engine.identify import digest
from fastanchor.policy.limits import plain_demand
from fastanchor.policy.pricing import cost
from fastanchor.providers.contract import Provider
from fastanchor.providers.registry import provider
from fastanchor.wire.date import date_line
from fastanchor.wire.exchange_h1 import H1Request
from fastanchor.wire.message import OWN_FIELDS, Handler, Reply, Request
from fastanchor.wire.pool import Pool

if TYPE_CHECKING:
    from fastanchor._speedups.express import Guest
    from fastanchor.core.channel import Channel
    from fastanchor.core.route import Route
    from fastanchor.engine.gateway import Gateway
    from fastanchor.policy.asked import Candidate
    from fastanchor.store.admission import Admission
    from fastanchor.store.limiter import Ticket
    from fastanchor.wire.client_h1 import ClientConnection

NO_COST = dollars(0)
PATIENCE = 5.0
"""Seconds after which a request goes on in its task, which knows what to do about a late answer."""
DIALECT = "openai_chat"
TELLING = frozenset((b"x-fastanchor-timeout", b"content-encoding", b"idempotency-key"))
"""Request fields that make a request one of its own."""


class Ride:
    """One request on a lane, for as long as it lasts. Times are trio's clock unless a name says wall."""

    __slots__ = ("began", "connection", "request_id", "sent", "ticket", "wall")

    def __init__(self, connection: ClientConnection, ticket: Ticket | None, request_id: str, began: float) -> None:
        self.connection = connection
        self.ticket = ticket
        self.request_id = request_id
        self.began = self.sent = began
        self.wall = time.time()


class Lane:
    """What requests of one head and model have in common, in one configuration."""

    def __init__(self, gateway: Gateway, pool: Pool, exchange: Exchange, candidate: Candidate) -> None:
        call = exchange.asked
        channel = candidate.channel
        self.gateway = gateway
        self.pool = pool
        self.world = exchange.world
        self.principal = exchange.principal
        self.digest = digest(exchange.request, gateway.pepper)
        self.issued = gateway.ring is not None and self.digest in gateway.ring.keys
        self.request = exchange.request
        self.endpoint = exchange.endpoint
        self.dialect = exchange.spoken
        self.model = call.model
        self.written = call.body[slice(*call.model_span)] if call.model_span else b""
        self.candidate = candidate
        self.channel = channel
        self.renamed = b"" if candidate.model == call.model else orjson.dumps(candidate.model)
        self.origin = origin(channel.base_url, channel.http2, channel.verify_tls)
        self.upstream = _head(provider(channel.provider), candidate, exchange, self.origin.authority)
        self.state = gateway.traffic.health.of(channel)
        self.hedges = gateway.traffic.hedges(exchange.world.route(call.model))
        self.card = exchange.card(candidate.public_model, candidate.model, channel.name)
        self.asked_card = exchange.card(call.model, call.model, "")
        self.terms = None if gateway.books is None else gateway.books.limiter.terms(exchange.principal)
        self.now = exchange.now
        self.client = exchange.request.peer
        self.patience = patience(exchange.world.route(call.model), channel)
        self.fixed = _lines(
            (b"content-type", b"application/json"), (b"x-fastanchor-channel", channel.name.encode("latin-1", "replace"))
        )
        self.won = f"1; {channel.name}=won (first, ".encode("latin-1", "replace")  # as `attempts` has it

    # -- in ---------------------------------------------------------------------------------------------------------

    def begin(self, guest: Guest, body: bytes) -> bool:
        """Take a request on; False, and nothing has happened, when it is to be served in the ordinary way."""
        asked = chat_facts.asked(body)
        if asked is None or body[asked.model_start : asked.model_end] != self.written:
            return False
        now = self.now()
        connection = self.pool.idle(self.origin) if self._holds(guest, now) else None
        if connection is None:
            return False
        prompt_tokens = max(1, -(-asked.text // BYTES_PER_TOKEN))
        request_id = self.gateway.mint()
        try:
            ticket = self._admitted(prompt_tokens, asked.max_tokens, request_id)
        except Fault:  # whoever asks in the ordinary way is told why
            self.pool.take_back(connection, reusable=True)
            return False
        self.state.concurrency.in_flight += 1
        self.gateway.in_flight += 1
        guest.ride = Ride(connection, ticket, request_id, now)
        guest.host.idle = False
        guest.host.link.deadline = now + self.patience
        if self.renamed:
            body = body[: asked.model_start] + self.renamed + body[asked.model_end :]
        guest.ride.sent = self.now()
        guest.go(connection.link.handle, self.upstream + b"content-length: %d\r\n\r\n" % len(body), body)
        return True

    def _holds(self, guest: Guest, now: float) -> bool:
        """Whether everything is as it was, and nothing has to be decided."""
        gateway, state, host = self.gateway, self.state, guest.host
        return (
            gateway.world is self.world
            and not (host.last or host.gone or host.served + 1 >= host.limits.requests)
            and self._known()
            and state.breaker.open_until is None
            and state.usable_at(self.candidate.key, now) <= now
            and not state.concurrency.full
            and not gateway.traffic.room
        )

    def _known(self) -> bool:
        """Whether the key is still its holder's."""
        principal, ring = self.principal, self.gateway.ring
        if principal.expires is not None and principal.expires <= time.time():
            return False
        if self.issued:
            return ring is not None and ring.keys.get(self.digest) is principal
        return not (self.world.auto_auth and ring is not None and ring.keys)

    def _admitted(self, prompt_tokens: int, max_tokens: int, request_id: str) -> Ticket | None:
        """The lease, in the journal. Raises Fault."""
        books = self.gateway.books
        if books is None or self.terms is None:
            return None
        need = plain_demand(prompt_tokens, max_tokens, self.terms, self.asked_card)
        ticket = books.admit(self.principal, need, request_id, self.model)
        try:
            books.attempt(ticket, self.channel.name, self.candidate.model)
        except Fault:
            ticket.release()
            raise
        return ticket

    # -- out --------------------------------------------------------------------------------------------------------

    def end(self, guest: Guest, body: bytes, keep_alive: bool) -> bool:
        """Answer the request; False, and nothing has happened, when its answer is to be judged in the ordinary way."""
        usage = self._used(body)
        if usage is None:
            return False
        ride, gateway, books = guest.ride, self.gateway, self.gateway.books
        now = self.now()
        seconds = now - ride.began
        channel, key = self.channel, self.candidate.key
        self.state.answered(key, seconds, now)
        self.state.breaker.completed()
        self.hedges.deposit()  # as a plan does for those that go on in their task
        price = cost(self.card, usage)
        record = AttemptRecord(
            channel.name, self.candidate.model, key, "first", "won", 0, 0.0, seconds, seconds, usage, price
        )
        markup = self.principal.plan.markup
        receipt = self._receipt(
            ride, usage, cost(self.card, usage, markup) if markup else price, seconds, guest.body or b"", body, record
        )
        fields = [
            *id_headers(ride.request_id),
            (b"x-fastanchor-attempts", b"%b%.0f ms)" % (self.won, seconds * 1000)),
            (b"x-fastanchor-overhead-ms", b"%.2f" % (receipt.overhead * 1000)),
            (b"x-fastanchor-cost-usd", dollars(receipt.cost) if receipt.cost else NO_COST),
        ]
        if books is not None and ride.ticket is not None:
            fields += books.limiter.headers(ride.ticket, anthropic=False)
            books.close(ride.ticket, receipt)
        own = b"%b%bcontent-length: %d\r\n" % (self.fixed, date_line(), len(body))
        host = guest.host
        host.served += 1
        host.idle = True
        host.link.deadline = now + host.limits.idle
        if not guest.answer(response_head(200, fields, own, OWN_FIELDS), body) and guest.rest is None:
            receipt.ending = Kind.CLIENT_GONE.value
        gateway.traffic.ended(channel, key)
        self.pool.take_back(ride.connection, reusable=keep_alive)
        gateway.in_flight -= 1
        for sink in gateway.sinks:
            sink(receipt)
        return True

    def _used(self, body: bytes) -> Usage | None:
        """What a good answer says that it used; None when it is no good, or does not say."""
        counted = chat_facts.answer(body)
        if counted is not None:
            return Usage(*counted)
        try:
            check_whole(body)
        except Fault:
            return None
        usage = self.dialect.usage_of(body)
        return usage if usage.known else None

    def _receipt(
        self, ride: Ride, usage: Usage, price: int, seconds: float, asked: bytes, body: bytes, record: AttemptRecord
    ) -> Receipt:
        principal = self.principal
        return Receipt(
            ride.request_id, ride.wall, self.dialect.name, self.endpoint, self.client, principal.key_id,
            principal.organization, self.model, self.candidate.model, self.channel.name, self.channel.provider, False,
            200, "done", seconds, seconds, ride.sent - ride.began, usage, price, len(asked), len(body), (record,),
        )  # fmt: skip

    # -- aside ------------------------------------------------------------------------------------------------------

    def go_on(self, guest: Guest) -> Handler:
        """Who serves the request that the guest was at, in its connection's task."""
        return partial(self._go_on, guest)

    async def _go_on(self, guest: Guest, request: Request, reply: Reply) -> None:
        exchange = self._exchange(guest, request)
        pool, connection = self.pool, guest.ride.connection
        guest.over()
        try:
            await self.gateway.go_on(exchange, reply)
        finally:
            if exchange.underway is not None:  # nobody came to hear the answer
                connection.link.close()
                pool.take_back(connection, reusable=False)

    def abandon(self, guest: Guest) -> None:
        """The connection's task is cancelled: the request ends with it."""
        exchange = self._exchange(guest, self.request)
        connection = guest.ride.connection
        guest.over()
        connection.link.close()
        self.pool.take_back(connection, reusable=False)
        exchange.ending = Kind.CLIENT_GONE.value
        self.gateway.close(exchange)

    def _exchange(self, guest: Guest, request: Request) -> Exchange:
        """The exchange as it would stand. The place at the channel is given back: whoever goes on takes it again."""
        ride: Ride = guest.ride
        exchange = Exchange(request, self.world, ride.request_id, self.endpoint, self.now)
        exchange.began, exchange.wall = ride.began, ride.wall
        exchange.sent_upstream = ride.sent
        exchange.dialect, exchange.principal = self.dialect, self.principal
        exchange.call = self.dialect.read(guest.body or b"", "", "", exchange.headers)
        if self.gateway.books is not None and ride.ticket is not None:
            exchange.lease, exchange.books = ride.ticket, self.gateway.books
            exchange.limit_fields = self.gateway.books.limiter.headers(ride.ticket, anthropic=False)
        exchange.underway = partial(self.pool.go_on, ride.connection, guest.unsent)
        self.gateway.in_flight -= 1
        self.gateway.traffic.ended(self.channel, self.candidate.key)
        return exchange


def teach(gateway: Gateway, pool: Pool, exchange: Exchange, found: list[Candidate]) -> None:
    """Let the connection of a request that was served serve the next like it on a lane, where that can be."""
    request = exchange.request
    if type(request) is not H1Request or not request.teachable or not _plain(exchange):
        return
    best = min(candidate.rank for candidate in found)
    first = [candidate for candidate in found if candidate.rank == best]
    books = gateway.books
    if len(first) != 1 or not _usual(first[0]) or (books is not None and not _countable(exchange, books)):
        return
    route = exchange.world.route(exchange.asked.model)
    if route.race == 1 and route.hedge.percentile is None:
        request.learn(Lane(gateway, pool, exchange, first[0]))


def _lines(*fields: tuple[bytes, bytes]) -> bytes:
    """Fields that are the same in every head, looked at once."""
    return response_head(200, fields).partition(b"\r\n")[2][:-2]


def patience(route: Route, channel: Channel) -> float:
    """Seconds until a plan would do something about an answer that has not come."""
    late = PATIENCE if route.hedge.after is None else route.hedge.after
    return min(PATIENCE, late, channel.timeouts.first_token, channel.timeouts.total, route.deadline) * 0.9


def _plain(exchange: Exchange) -> bool:
    """Whether it was a chat request for one whole answer, which came from the first channel that was asked."""
    call, request = exchange.call, exchange.request
    return (
        call is not None
        and call.dialect == DIALECT
        and not (call.stream or call.model_span is None or call.choices != 1)
        and exchange.status == 200
        and len(exchange.attempts) == 1
        and not any(name in TELLING for name, _ in request.headers)
    )


def _usual(candidate: Candidate) -> bool:
    """Whether a request to it needs no signature, no rate and no HTTP/2."""
    channel = candidate.channel
    speaker = provider(channel.provider)
    return (
        candidate.dialect == DIALECT
        and type(speaker).signed is Provider.signed
        and channel.scheme == "http"
        and channel.http2 != "on"
        and not (channel.requests_per_minute or channel.key_concurrency or channel.key_requests_per_minute)
    )


def _countable(exchange: Exchange, books: Admission) -> bool:
    """Whether admission needs neither credits, nor a bound on the answer, nor to wait for the disk."""
    terms = books.limiter.terms(exchange.principal)
    return not (terms.metered or terms.max_tokens or exchange.world.channel_cards or books.durable is not None)


def _head(speaker: Provider, candidate: Candidate, exchange: Exchange, authority: bytes) -> bytes:
    """The head of the request to the upstream, but for the length of its body and the blank line."""
    channel = candidate.channel
    key = channel.keys[candidate.key] if candidate.key >= 0 else None
    upstream = speaker.upstream(channel, key, DIALECT, exchange.asked, candidate.model, b"", exchange.headers)
    return request_head(upstream.method, upstream.target, upstream.headers, authority, b"", OWN_FIELDS)[:-2]
