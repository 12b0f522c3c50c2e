"""One request's life, from its first byte to its receipt.

The exchange is the only mutable thing that travels through the engine. Every step writes what it found out; at the end
it freezes into a `Receipt`, exactly once, whatever happened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fastanchor.core.call import Call
from fastanchor.core.model import ModelCard
from fastanchor.core.principal import ANYONE, Principal
from fastanchor.core.receipt import AttemptRecord, Receipt
from fastanchor.core.snapshot import Snapshot
from fastanchor.core.usage import Usage
from fastanchor.policy.pricing import cost
from fastanchor.providers import catalogue

if TYPE_CHECKING:
    from fastanchor.dialects.contract import Dialect
    from fastanchor.dialects.relay import Relay
    from fastanchor.dialects.splice import Transcript
    from fastanchor.engine.settling import Rest
    from fastanchor.engine.upstreams import Response
    from fastanchor.store.admission import Admission
    from fastanchor.store.limiter import Ticket
    from fastanchor.wire.message import Request


class Exchange:
    """Everything known of one request so far. Times are trio's clock unless a name says wall."""

    __slots__ = (
        "answer_bytes",
        "attempts",
        "began",
        "books",
        "call",
        "carrier",
        "channel",
        "cost",
        "deadline",
        "dialect",
        "dropped",
        "ending",
        "endpoint",
        "first_token",
        "half",
        "headers",
        "held_by",
        "lease",
        "limit_fields",
        "now",
        "priced",
        "principal",
        "provider",
        "public_model",
        "request",
        "request_id",
        "rest",
        "sent_upstream",
        "served_model",
        "status",
        "underway",
        "usage",
        "wall",
        "world",
    )

    def __init__(
        self, request: Request, world: Snapshot, request_id: str, endpoint: str, now: Callable[[], float]
    ) -> None:
        self.now = now
        self.request = request
        self.headers = {  # as text; repeated fields give the first value
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(request.headers)
        }
        self.world = world
        self.request_id = request_id
        self.endpoint = endpoint
        self.began = now()
        self.wall = time.time()
        self.principal: Principal = ANYONE
        self.dialect: Dialect | None = None
        self.call: Call | None = None
        self.lease: Ticket | None = None
        self.books: Admission | None = None  # who gave the lease, and will close it
        self.limit_fields: list[tuple[bytes, bytes]] = []  # response headers
        self.attempts: list[AttemptRecord] = []
        self.usage = Usage()
        self.cost = 0
        self.priced: Usage | None = None  # the usage that `cost` is for
        self.channel = ""
        self.provider = ""
        self.served_model = ""  # the upstream's name, and
        self.public_model = ""  # the public name under which it was found
        self.dropped: tuple[str, ...] = ()
        self.deadline = math.inf
        self.sent_upstream: float | None = None
        self.first_token: float | None = None
        self.status = 0
        self.ending = "done"
        self.answer_bytes = 0
        self.half: Transcript | None = None  # of a stream that broke: what its client has
        self.carrier: Relay | None = None  # what brings the streamed answer
        self.underway: Callable[..., Awaitable[Response]] | None = None  # hears an attempt that a lane has begun
        self.rest: Rest | None = None  # of an answer that its client left, to be read on before it is settled
        self.held_by = ""  # the channel that has the conversation's state, when only one can go on with it

    @property
    def asked(self) -> Call:
        """The call, once it has been read."""
        if self.call is None:
            raise RuntimeError("the call has not been read yet")
        return self.call

    @property
    def spoken(self) -> Dialect:
        """The client's dialect."""
        if self.dialect is None:
            raise RuntimeError("the endpoint has no dialect")
        return self.dialect

    def price(self) -> int:
        """Work out and note the cost of the usage so far, in micro-dollars, at the prices of the model that served."""
        if self.served_model and self.priced is not self.usage:
            self.priced = self.usage
            card = self.card(self.public_model, self.served_model, self.channel)
            self.cost = cost(card, self.usage, self.principal.plan.markup)
        return self.cost

    def card(self, public: str, model: str, channel: str) -> ModelCard | None:
        """What is known of a model by its public name, else by its upstream's; a channel's own prices come first."""
        cards = self.world.channel_cards.get(channel)
        own = cards and (cards.get(public) or cards.get(model))
        if own:
            return own
        cards = self.world.cards
        return cards.get(public) or cards.get(model) or catalogue.card(model)

    def settle(self) -> None:
        """Write into the books what the request used: once, and before its client can see that its answer is whole.

        So an answer that a client has had is paid even if the process dies in that moment.
        """
        self.price()
        books, self.books = self.books, None
        if books is not None and self.lease is not None:
            books.close(self.lease, self.receipt())
            if self.lease.metered:  # what is left of the credits is known now
                self.limit_fields = books.limiter.headers(self.lease, anthropic=self.spoken.name == "anthropic")

    def receipt(self) -> Receipt:
        """The record of this request, ended now."""
        call = self.call
        now = self.now()
        return Receipt(
            request_id=self.request_id,
            started=self.wall,
            dialect=self.dialect.name if self.dialect else "",
            endpoint=self.endpoint,
            client=self.request.peer,
            key_id=self.principal.key_id,
            organization=self.principal.organization,
            model=call.model if call else "",
            served_model=self.served_model,
            channel=self.channel,
            provider=self.provider,
            stream=call.stream if call else False,
            status=self.status,
            ending=self.ending,
            seconds=now - self.began,
            first_token=None if self.first_token is None else self.first_token - self.began,
            overhead=(now if self.sent_upstream is None else self.sent_upstream) - self.began,
            usage=self.usage,
            cost=self.cost,
            bytes_in=len(call.body) if call else 0,
            bytes_out=self.answer_bytes,
            attempts=tuple(self.attempts),
        )
